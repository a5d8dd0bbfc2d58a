//! Training a GAN: its settings, the two steps' graphs, what they keep on a device, and the run around them.

mod graphs;
mod groups;
pub mod metrics;
pub mod run;
pub mod settings;
mod steps;

pub use groups::{check_room, grouped};
pub use run::{GanEvent, GanOutcome, GanRun};
pub use settings::GanSettings;
pub use steps::{GanState, GanSteps, RING, RoundLoss};
