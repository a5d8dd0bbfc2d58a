//! Small image networks, trained and run on any GPU.
//!
//! A training step is written down once as a [`graph::Graph`], extended by its derivatives ([`grad`]), turned
//! into a [`plan::Plan`] and replayed on a [`device`], step after step. ARCHITECTURE.md tells the whole story.

#![deny(unsafe_code)]

#[cfg(feature = "app")]
pub mod app;
pub mod check;
pub mod cli;
// To map files of images that are too large to be read.
#[allow(unsafe_code)]
pub mod data;
// To hand wgpu shaders whose loops it need not watch, and to leave a device that hangs.
#[allow(unsafe_code)]
pub mod device;
pub mod faults;
pub mod files;
pub mod grad;
pub mod graph;
pub mod infer;
pub mod interchange;
// To ask for memory before it is wanted.
#[allow(unsafe_code)]
mod lines;
pub mod models;
pub mod ops;
pub mod parallel;
pub mod pictures;
pub mod plan;
pub mod report;
pub mod shaders;
pub mod tensor;
pub mod train;
