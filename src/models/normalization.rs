//! How the bytes of an image become what a network sees.

use std::path::Path;

use super::error::ModelError;
use super::file::ModelFile;
use crate::data::ImageSet;
use crate::ops::Window;

/// How bytes become the numbers a network sees: `(byte / 255 - mean) / std`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Normalization {
    pub mean: f32,
    pub std: f32,
}

impl Normalization {
    /// That of a training set; if all its pixels are equal, they are only shifted.
    pub fn of(set: &ImageSet) -> Normalization {
        Normalization::of_extended(set, None)
    }

    /// That of a training set whose images are seen through a window, at each of its places: bit for bit that of a set
    /// that holds them all.
    pub fn of_extended(set: &ImageSet, window: Option<Window>) -> Normalization {
        let (mean, std) = window.map_or_else(|| set.mean_std(), |window| set.mean_std_extended(window));
        Normalization { mean, std: if std > 0.0 { std } else { 1.0 } }
    }

    /// Says in a model's file that its pixels are normalised like this, where [`Normalization::read`] finds it.
    pub fn store(self, file: &mut ModelFile) {
        file.set("mean", self.mean);
        file.set("std", self.std);
    }

    /// The normalization that a model was trained with; `path` is for the error.
    ///
    /// # Errors
    /// [`ModelError::File`] if the file does not say, or has numbers that pixels cannot be normalised by.
    pub fn read(file: &ModelFile, path: &Path) -> Result<Normalization, ModelError> {
        let (mean, std): (f32, f32) = (file.number("mean", path)?, file.number("std", path)?);
        if !(mean.is_finite() && std.is_finite() && std > 0.0) {
            let problem = format!(
                "pixels are normalised with a mean of {mean} and a deviation of {std}; expected finite numbers, the \
                 deviation above 0. Train or copy it again"
            );
            return Err(ModelError::File { path: path.into(), problem });
        }
        Ok(Normalization { mean, std })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_whose_pixels_cannot_be_normalised_is_refused() {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/models/dense.safetensors"));
        let mut file = ModelFile::load(path).unwrap();
        assert!(Normalization::read(&file, path).is_ok());
        // Not a round number in binary.
        let own = Normalization { mean: 0.1307, std: 0.3081 };
        own.store(&mut file);
        assert_eq!(Normalization::read(&file, path).unwrap(), own);
        for (key, value) in [("std", "0"), ("std", "-1"), ("std", "inf"), ("mean", "NaN")] {
            let before = file.metadata.insert(key.into(), value.into()).unwrap();
            assert!(Normalization::read(&file, path).is_err(), "{key} {value}");
            file.metadata.insert(key.into(), before);
        }
    }
}
