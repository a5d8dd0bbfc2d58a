//! What numbers a network receives for an image's bytes.

use crate::models::Normalization;

/// `x = (byte / 255 - mean) / std`: what a foreign network takes for a byte.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Scale {
    pub mean: f64,
    pub std: f64,
}

impl Scale {
    /// Bytes divided by 255, as in most examples of Keras and in PyTorch's `ToTensor`.
    pub const UNIT: Scale = Scale { mean: 0.0, std: 1.0 };
    /// Bytes as they are.
    pub const BYTES: Scale = Scale { mean: 0.0, std: 1.0 / 255.0 };

    /// This scaling, and then the network's own `(x - mean) / std`.
    pub fn then(self, own: Scale) -> Scale {
        Scale { mean: self.mean + self.std * own.mean, std: self.std * own.std }
    }

    /// What a network expects that first scales its input by `own`: one that divides by a large number is given bytes.
    pub fn expected_before(own: Scale) -> Scale {
        if own.std.abs() > 32.0 { Scale::BYTES } else { Scale::UNIT }
    }

    /// In words.
    pub fn describe(self) -> String {
        match self {
            Scale::UNIT => "0 to 1 (byte / 255)".into(),
            Scale::BYTES => "0 to 255 (bytes as they are)".into(),
            Scale { mean, std } => format!("(byte / 255 - {mean}) / {std}"),
        }
    }

    /// # Errors
    /// What is wrong with it, if no usable numbers can come of it.
    pub fn normalization(self) -> Result<Normalization, String> {
        let (mean, std) = (self.mean as f32, self.std as f32);
        if !mean.is_finite() || !std.is_finite() || std == 0.0 {
            return Err(format!("bytes cannot be scaled by mean {mean} and standard deviation {std}"));
        }
        Ok(Normalization { mean, std, ..Normalization::UNIT })
    }

    /// The same for all that is done to a model's pixels. Augmentation scales its noise by the deviation too, so that
    /// every model of this program has one above 0.
    ///
    /// # Errors
    /// The same, and a deviation below 0.
    pub fn of_model(self) -> Result<Normalization, String> {
        let found = self.normalization()?;
        if found.std < 0.0 {
            return Err(format!(
                "takes pixels as (byte / 255 - {}) / {}, and models of this program divide by a number above 0. Where \
                 it was made, give its first layer's weights the opposite sign and divide by {}",
                found.mean, found.std, -found.std
            ));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_scalings_are_one() {
        // keras.layers.Rescaling(1 / 127.5, offset=-1), on bytes.
        let own = Scale { mean: 127.5, std: 127.5 };
        assert_eq!(Scale::expected_before(own), Scale::BYTES);
        let Scale { mean, std } = Scale::BYTES.then(own);
        for byte in [0.0, 51.0, 255.0] {
            assert!(((byte / 255.0 - mean) / std - (byte / 127.5 - 1.0)).abs() < 1e-12);
        }
        assert_eq!(Scale::UNIT.then(Scale { mean: 0.25, std: 0.5 }), Scale { mean: 0.25, std: 0.5 });
    }

    #[test]
    fn nothing_is_divided_by_zero() {
        assert!(Scale { mean: 0.0, std: 0.0 }.normalization().is_err());
        assert!(Scale { mean: f64::NAN, std: 1.0 }.normalization().is_err());
        assert!(Scale { mean: 0.0, std: 1e-300 }.normalization().is_err());
    }

    #[test]
    fn a_model_divides_by_a_number_above_0_and_a_part_of_its_scaling_need_not() {
        // keras.layers.Rescaling(-1 / 255, offset=1), on bytes.
        let inverts = Scale { mean: 255.0, std: -255.0 };
        let once = Scale::BYTES.then(inverts);
        let error = once.of_model().unwrap_err();
        assert!(error.contains("(byte / 255 - 1) / -1,") && error.ends_with("sign and divide by 1"), "{error}");
        assert!(once.normalization().is_ok());
        let twice = once.then(Scale { mean: 1.0, std: -1.0 }).of_model().unwrap();
        assert_eq!(twice, Normalization::UNIT);
    }
}
