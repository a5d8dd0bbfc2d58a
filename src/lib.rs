//! Small image networks, trained and run on any GPU.
//!
//! # From images to answers
//!
//! [`data`] provides the images, [`models`] a network with the recipe for its training, and [`check::open`] a device. A
//! [`train::Run`] turns them into a model file, and an [`infer::Classifier`] answers with it. All of this is in
//! `examples/train_and_classify.rs`:
//!
//! ```ignore
#![doc = include_str!("../examples/train_and_classify.rs")]
//! ```
//!
//! [`train::Live`] trains interactively, a few steps at a time and without a folder. [`train::GanRun`] trains a
//! conditional GAN, and an [`infer::Sampler`] draws with it.
//!
//! # A step of one's own
//!
//! On the lower level a step is a fixed piece of work, which is written down once and replayed:
//!
//! 1. A [`graph::Store`] names the buffers that outlive a step: weights, images, results. [`graph::Store::place`] adds
//!    one.
//! 2. A [`graph::Graph`] reads them and applies [`ops`], or a whole [`models::Network`]; [`grad::grad`] adds derivatives.
//!    What a step leaves behind is assigned to the buffers, or an op updates them in place.
//! 3. [`plan::Plan::new`] turns the graph into dispatches.
//! 4. A [`device::Device`] allocates the store; `write` fills its buffers, and `prepare` makes plans ready.
//! 5. `run` replays the plans as often as it is told, and `read` waits for the results.
//!
//! An op of one's own ([`ops::Op`]) runs on the CPU device alone: shaders are files of this crate. CONTRIBUTING.md says
//! how to add one here.
//!
//! `tests/networks/optimizers.rs` does this with a single op, and [`train::ClassifierSteps`] with a network.
//!
//! # Rooms
//!
//! Each uses those below it. ARCHITECTURE.md describes them in full.
//!
//! | | |
//! |---|---|
//! | [`cli`], `app` | the program: its commands, and its window (feature `app`) |
//! | [`interchange`] | models from Keras, ONNX and PyTorch, and out to the latter two |
//! | [`train`], [`infer`] | runs and their steps; networks at work, and the quality of generated pictures |
//! | [`models`] | architectures from TOML, their parameters, model files |
//! | [`data`], [`pictures`], [`report`] | sets of images; pictures found, decoded, prepared; tables and pictures of results |
//! | [`check`] | whether a device is right, and how fast it is |
//! | [`device`] | what replays plans: a GPU, the CPU, several as one |
//! | [`plan`] | from a graph to dispatches |
//! | [`graph`], [`grad`], [`ops`], [`tensor`], [`shaders`] | what a step is written in |
//! | [`parallel`], [`files`], [`faults`] | threads, files that are there whole or not at all, faults on purpose |

#![deny(unsafe_code)]

#[cfg(feature = "app")]
pub mod app;
mod cache;
pub mod check;
pub mod cli;
// To map files of images that are too large to be read.
#[allow(unsafe_code)]
pub mod data;
// To hand wgpu shaders whose loops it need not bound.
#[allow(unsafe_code)]
pub mod device;
pub mod faults;
pub mod files;
mod fonts;
pub mod grad;
pub mod graph;
mod hash;
pub mod infer;
pub mod interchange;
// To prefetch memory before it is needed.
#[allow(unsafe_code)]
mod lines;
pub mod models;
pub mod ops;
pub mod parallel;
pub mod pictures;
pub mod plan;
pub mod report;
mod run_files;
pub mod shaders;
// To ask operating systems for what the standard library does not offer.
#[allow(unsafe_code)]
mod system;
pub mod tensor;
pub mod train;
mod words;
