//! What the training thread tells the window.

use std::path::PathBuf;
use std::sync::Arc;

use crate::data::ImageSet;
use crate::models::Filters;
use crate::train::Mistake;

/// Where a run stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Phase {
    #[default]
    Opening,
    Running,
    Paused,
    Done,
    Failed,
}

/// What is known of a run once it is open.
#[derive(Clone)]
pub struct Began {
    pub network: String,
    pub device: String,
    pub parameters: u64,
    /// Steps and epochs of the whole run.
    pub total: usize,
    pub epochs: usize,
    pub rate: f32,
    /// Of the labels that it learns from.
    pub label_smoothing: f32,
    pub watched: Arc<ImageSet>,
    pub class_names: Vec<String>,
}

/// A run at one moment.
#[derive(Clone, Copy, Default, Debug)]
pub struct Now {
    pub step: usize,
    pub epoch: f64,
    pub images_per_second: f64,
}

/// How it did on the watched images after a step.
#[derive(Clone, Copy, Debug)]
pub struct Watched {
    pub step: usize,
    pub loss: f64,
    pub accuracy: f64,
}

/// What has happened since the window asked last.
#[derive(Default)]
pub struct News {
    pub phase: Phase,
    pub began: Option<Began>,
    pub now: Option<Now>,
    /// Loss and accuracy of each step, in order.
    pub steps: Vec<[f32; 2]>,
    pub watched: Vec<Watched>,
    pub mistakes: Option<Vec<Mistake>>,
    pub filters: Option<Filters>,
    pub kept: Option<Result<PathBuf, String>>,
    /// What was written without being asked for.
    pub spare: Option<Result<PathBuf, String>>,
    /// Such a file of an earlier run, which had to make way for this run's first: its old path, and its new one.
    pub moved: Option<[PathBuf; 2]>,
    /// Why it ended,
    pub failed: Option<String>,
    /// and whether that was because of the device, which will hardly do better next time.
    pub lost: bool,
}
