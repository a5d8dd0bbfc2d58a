//! The files of a run's folder by their names. `train` writes them; whoever is given a folder tells by them what it is.

use std::path::Path;

/// Every setting. It comes last when a run begins: a folder that has settings can be resumed.
pub const CONFIG: &str = "config.toml";
pub const ARCHITECTURE: &str = "architecture.toml";
/// A copy of the model that the run starts from, if any.
pub const ORIGIN: &str = "from.safetensors";
/// The checkpoint that a run resumes from, and the one before it, which exists until the run is finished.
pub const LAST: &str = "last.safetensors";
pub const PREVIOUS: &str = "previous.safetensors";
/// The model of the best epoch.
pub const BEST: &str = "best.safetensors";
/// What a classifier's run records.
pub const METRICS: &str = "metrics.csv";
/// What a GAN's run records, and its test.
pub const LOSSES: &str = "losses.csv";
pub const MEASURES: &str = "measures.csv";
pub const TEST: &str = "test.csv";
pub const CURVES: &str = "curves.png";
/// The folder of snapshots: a classifier's models or a GAN's pictures.
pub const SNAPSHOTS: &str = "snapshots";
/// On which images a run was tested, and a classifier's scores. A classifier's last file.
pub const RESULT: &str = "result.toml";
/// A GAN's last file.
pub const ANIMATION: &str = "snapshots.gif";

/// Whether a folder is that of a run: it has settings.
pub fn is_run(folder: &Path) -> bool {
    folder.join(CONFIG).is_file()
}
