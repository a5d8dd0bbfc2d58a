//! How the bytes of an image become what a network sees, and what it sees beside the image.

use super::error::ModelError;
use super::file::ModelFile;
use crate::data::ImageSet;
use crate::ops::Window;

/// How bytes become the numbers a network sees: `(byte / 255 - mean) / std`; and the byte that stands for what lies
/// outside an image, which comes in where one is shifted or turned.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Normalization {
    pub mean: f32,
    pub std: f32,
    /// 0 for light ink on black, else the grey level of the paper.
    pub background: u8,
}

impl Normalization {
    /// The key of the background in the metadata of files.
    pub(crate) const BACKGROUND: &str = "background";

    /// Bytes as numbers from 0 to 1, on black.
    pub const UNIT: Normalization = Normalization { mean: 0.0, std: 1.0, background: 0 };

    /// Whether the mean is that of light pictures, as ink on paper is: of light ink on black it is far below. It is about a
    /// half for light and dark ones together, and in networks of pixels from -1 to 1, whatever their pictures.
    pub(crate) fn is_of_light_pictures(&self) -> bool {
        self.mean > 0.6
    }

    /// That of a training set; if all its pixels are equal, they are only shifted.
    pub fn of(set: &ImageSet) -> Normalization {
        Normalization::of_extended(set, None)
    }

    /// That of a training set whose images are seen through a window, at each of its places: bit for bit that of a set
    /// that holds them all.
    pub fn of_extended(set: &ImageSet, window: Option<Window>) -> Normalization {
        let (mean, std) = window.map_or_else(|| set.mean_std(), |window| set.mean_std_extended(window));
        Normalization { mean, std: if std > 0.0 { std } else { 1.0 }, background: set.background() }
    }

    /// What a network sees of a byte.
    pub fn of_byte(self, byte: u8) -> f32 {
        (f32::from(byte) / 255.0 - self.mean) / self.std
    }

    /// Says in a model's file that its pixels are normalised like this, where [`Normalization::read`] finds it.
    pub fn store(self, file: &mut ModelFile) {
        file.set("mean", self.mean);
        file.set("std", self.std);
        if self.background > 0 {
            file.set(Normalization::BACKGROUND, self.background);
        }
    }

    /// The normalization that a model was trained with.
    ///
    /// # Errors
    /// [`ModelError::File`] if the file does not say, or has numbers that pixels cannot be normalised by.
    pub fn read(file: &ModelFile) -> Result<Normalization, ModelError> {
        let (mean, std): (f32, f32) = (file.number("mean")?, file.number("std")?);
        if !(mean.is_finite() && std.is_finite() && std > 0.0) {
            let problem = format!(
                "pixels are normalised with a mean of {mean} and a deviation of {std}; expected finite numbers, the \
                 deviation above 0. Train or copy it again"
            );
            return Err(file.refuse(problem));
        }
        // Files from before it was stored have none.
        let stored = file.metadata.contains_key(Normalization::BACKGROUND);
        let background = if stored { file.number(Normalization::BACKGROUND)? } else { 0 };
        Ok(Normalization { mean, std, background })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_whose_pixels_cannot_be_normalised_is_refused() {
        let mut file = ModelFile::shipped("dense").unwrap();
        assert!(Normalization::read(&file).is_ok());
        // Not a round number in binary.
        let own = Normalization { mean: 0.1307, std: 0.3081, background: 243 };
        own.store(&mut file);
        assert_eq!(Normalization::read(&file).unwrap(), own);
        let unfit = [("std", "0"), ("std", "-1"), ("std", "inf"), ("mean", "NaN"), ("background", "300")];
        for (key, value) in unfit {
            let before = file.metadata.insert(key.into(), value.into()).unwrap();
            assert!(Normalization::read(&file).is_err(), "{key} {value}");
            file.metadata.insert(key.into(), before);
        }
    }

    #[test]
    fn a_model_of_dark_images_says_nothing_of_its_background() {
        let mut file = ModelFile::default();
        Normalization::UNIT.store(&mut file);
        assert!(!file.metadata.contains_key(Normalization::BACKGROUND));
        assert_eq!(Normalization::read(&file).unwrap(), Normalization::UNIT);
        assert_eq!(Normalization { mean: 0.5, std: 0.25, background: 255 }.of_byte(255), 2.0);
    }
}
