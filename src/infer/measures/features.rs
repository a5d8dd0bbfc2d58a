//! Feature vectors of a set of pictures, checked once, so that no measure has to.

/// Why a measure could not be computed.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum MeasureError {
    #[error("{numbers} numbers are no rows of {width} features")]
    NoRows { numbers: usize, width: usize },
    #[error(
        "{count} pictures are too few to measure: at least {needed} are needed; generate more, or give more with --data"
    )]
    TooFew { count: usize, needed: usize },
    #[error("the features of picture {row} are not finite; the network that gave them, or the picture, went wrong")]
    NotFinite { row: usize },
    #[error("features {left} wide cannot be compared with features {right} wide: both must come from the same judge")]
    Widths { left: usize, right: usize },
    #[error("{pictures} pictures have {labels} labels, or one that is not below {classes}")]
    Labels { pictures: usize, labels: usize, classes: usize },
}

/// Features `[count, width]`, row-major, one row per picture: at least two rows, every number finite.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Features<'a> {
    values: &'a [f32],
    width: usize,
}

impl<'a> Features<'a> {
    pub fn new(values: &'a [f32], width: usize) -> Result<Features<'a>, MeasureError> {
        if width == 0 || !values.len().is_multiple_of(width) {
            return Err(MeasureError::NoRows { numbers: values.len(), width });
        }
        let features = Features { values, width };
        features.at_least(2)?;
        match values.iter().position(|x| !x.is_finite()) {
            Some(at) => Err(MeasureError::NotFinite { row: at / width }),
            None => Ok(features),
        }
    }

    pub fn count(self) -> usize {
        self.values.len() / self.width
    }
    pub fn width(self) -> usize {
        self.width
    }
    pub fn rows(self) -> impl Iterator<Item = &'a [f32]> {
        self.values.chunks_exact(self.width)
    }

    pub(super) fn at_least(self, needed: usize) -> Result<(), MeasureError> {
        let count = self.count();
        if count < needed { Err(MeasureError::TooFew { count, needed }) } else { Ok(()) }
    }

    /// Mean of each feature, summed in f64.
    pub(super) fn mean(self) -> Vec<f64> {
        let mut mean = vec![0.0; self.width];
        for row in self.rows() {
            mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += f64::from(*x));
        }
        mean.iter_mut().for_each(|mean| *mean /= self.count() as f64);
        mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_measured_is_refused_with_its_reason() {
        let refused = |values: &[f32], width| Features::new(values, width).unwrap_err();
        assert_eq!(refused(&[], 3), MeasureError::TooFew { count: 0, needed: 2 });
        assert_eq!(refused(&[1.0; 3], 3), MeasureError::TooFew { count: 1, needed: 2 });
        assert_eq!(refused(&[1.0; 7], 3), MeasureError::NoRows { numbers: 7, width: 3 });
        assert_eq!(refused(&[1.0; 7], 0), MeasureError::NoRows { numbers: 7, width: 0 });
        assert_eq!(refused(&[0.0, 1.0, 2.0, f32::NAN], 1), MeasureError::NotFinite { row: 3 });
        assert_eq!(refused(&[0.0, 1.0, f32::INFINITY, 0.0], 2), MeasureError::NotFinite { row: 1 });
    }
}
