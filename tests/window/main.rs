//! The window, without a screen: found by what its controls are called, used as a person would.
#![cfg(feature = "app")]

mod draw;
mod dream;
mod harness;
mod inside;
mod pictures;
mod train;
