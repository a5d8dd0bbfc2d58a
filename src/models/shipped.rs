//! The trained models that ship with the program, and how a model is found by what a user calls it.

use std::path::{Path, PathBuf};

use super::error::ModelError;
use super::file::ModelFile;
use crate::run_files::{BEST, is_run};
use crate::words::shell;

/// Trained models by name; `models/NAME.md` describes how each was made and how good it is.
pub static SHIPPED: &[(&str, &[u8])] = &[
    ("fast", include_bytes!("../../models/fast.safetensors")),
    ("standard", include_bytes!("../../models/standard.safetensors")),
    ("best", include_bytes!("../../models/best.safetensors")),
    ("dense", include_bytes!("../../models/dense.safetensors")),
    ("cnn", include_bytes!("../../models/cnn.safetensors")),
    ("avgcnn", include_bytes!("../../models/avgcnn.safetensors")),
    ("gan", include_bytes!("../../models/gan.safetensors")),
    ("judge", include_bytes!("../../models/judge.safetensors")),
];

impl ModelFile {
    /// A model that ships with the program.
    ///
    /// # Errors
    /// [`ModelError::Unknown`] for any other name.
    pub fn shipped(name: &str) -> Result<ModelFile, ModelError> {
        match SHIPPED.iter().find(|(known, _)| *known == name) {
            Some((_, bytes)) => ModelFile::from_bytes(bytes, Path::new(name)),
            None => Err(ModelError::Unknown { name: name.into(), builtins: names(), hint: hint(name) }),
        }
    }

    /// Opens the model that is meant: a shipped one by its name, a file, or a run's folder, whose best model is taken.
    /// A file with a shipped model's name is given as `./fast`.
    ///
    /// # Errors
    /// Those of [`ModelFile::load`]; for a name or a folder without a model, the message says what would do.
    pub fn open(wanted: &Path) -> Result<ModelFile, ModelError> {
        if let Some((name, _)) = SHIPPED.iter().find(|(name, _)| Path::new(name) == wanted) {
            return ModelFile::shipped(name);
        }
        let path = model_path(wanted)?;
        match ModelFile::load(&path) {
            // A single word is meant as a name.
            Err(ModelError::Read { reason, .. })
                if reason.kind() == std::io::ErrorKind::NotFound
                    && wanted.components().count() == 1
                    && wanted.extension().is_none() =>
            {
                let hint = hint(&wanted.to_string_lossy());
                let problem =
                    format!("there is no such file, and no trained model of that name (there are {}){hint}", names());
                Err(ModelError::File { path, problem })
            }
            loaded => loaded,
        }
    }
}

/// A path that opens the same model from any folder: a shipped one's name, or the absolute path of a file or a run.
pub fn lasting(path: &Path) -> PathBuf {
    let is_shipped = SHIPPED.iter().any(|(name, _)| Path::new(name) == path);
    if is_shipped { path.to_owned() } else { std::path::absolute(path).unwrap_or_else(|_| path.to_owned()) }
}

/// Which of the names a word resembles, if any.
fn hint(name: &str) -> String {
    super::hint(name, &SHIPPED.iter().map(|(name, _)| *name).collect::<Vec<_>>())
}

fn names() -> String {
    SHIPPED.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// The model file that a path refers to.
fn model_path(path: &Path) -> Result<PathBuf, ModelError> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let (best, run) = (path.join(BEST), shell(&path.to_string_lossy()));
    let refuse = |path: &Path, problem: String| Err(ModelError::File { path: path.to_owned(), problem });
    if best.exists() {
        Ok(best)
    } else if is_run(path) {
        refuse(&best, format!("the run has no best model yet; resume it: inkgrad train --resume {run}"))
    } else {
        let wanted = match latest_run(path) {
            Some(inside) => format!("did you mean {}?", inside.display()),
            None => "expected a model file or a folder like runs/0001-fast".into(),
        };
        refuse(path, format!("no run's folder, as it has no {BEST}; {wanted}"))
    }
}

/// The latest of the runs in a folder that have a model: their names begin with numbers.
fn latest_run(folder: &Path) -> Option<PathBuf> {
    let inside = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    inside.filter(|path| path.join(BEST).is_file()).max()
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::run_files::CONFIG;

    #[test]
    fn every_shipped_model_is_whole_and_its_card_has_its_hash() {
        for (name, bytes) in SHIPPED {
            let file = ModelFile::shipped(name).unwrap();
            assert!(!file.class_names().unwrap().is_empty(), "{name}");
            let card = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("models/{name}.md"));
            let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(std::fs::read_to_string(card).unwrap().contains(&hash), "{name}: {hash}");
        }
    }

    #[test]
    fn what_is_kept_of_a_model_opens_it_from_any_folder() {
        assert_eq!(lasting(Path::new("best")), Path::new("best"));
        let here = std::env::current_dir().unwrap();
        for path in ["./best", "runs/0001-fast", "mine.safetensors"] {
            assert_eq!(lasting(Path::new(path)), here.join(path));
        }
    }

    #[test]
    fn a_folder_of_runs_is_answered_with_its_latest() {
        let place = tempfile::tempdir().unwrap();
        let message = || ModelFile::open(place.path()).unwrap_err().to_string();
        assert!(message().contains("expected a model file"), "{}", message());
        for (run, file) in [("0001-fast", BEST), ("0002-cnn", BEST), ("0003-best", CONFIG)] {
            std::fs::create_dir(place.path().join(run)).unwrap();
            std::fs::write(place.path().join(run).join(file), "").unwrap();
        }
        let latest = place.path().join("0002-cnn");
        assert!(message().contains(&format!("did you mean {}?", latest.display())), "{}", message());
    }

    #[test]
    fn a_word_that_is_no_model_is_answered_with_the_names_there_are() {
        let message = ModelFile::open(Path::new("fsat")).unwrap_err().to_string();
        assert!(message.contains("judge") && message.contains("no such file"), "{message}");
        assert!(message.ends_with("; did you mean \"fast\"?"), "{message}");
        let message = super::super::load_any("denze").unwrap_err().to_string();
        assert!(message.ends_with("; did you mean \"dense\"?"), "{message}");
    }
}
