//! The window without a screen: its controls are found by their names, and used as a person would use them.
#![cfg(feature = "app")]

mod draw;
mod dream;
mod dropped;
mod harness;
mod inside;
mod pictures;
mod train;
