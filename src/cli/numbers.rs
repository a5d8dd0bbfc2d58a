//! Numbers and sizes as given on the command line, and the errors for anything else.

use std::ops::RangeInclusive;

use crate::data::ImageSize;

/// A parser of whole numbers in a range, both ends included.
pub fn whole<N>(range: RangeInclusive<u32>) -> impl Fn(&str) -> Result<N, String> + Clone + Send + Sync + 'static
where
    N: TryFrom<u32> + 'static,
{
    move |text: &str| {
        let number = text.parse::<u32>().ok().filter(|number| range.contains(number));
        let number = number.and_then(|number| N::try_from(number).ok());
        number.ok_or_else(|| format!("expected a whole number from {} to {}", range.start(), range.end()))
    }
}

/// Parses a count.
pub fn count(text: &str) -> Result<usize, String> {
    // Counts end up in 32 bits on the device.
    whole::<usize>(0..=u32::MAX)(text)
}

/// Parses a count of at least one.
pub fn positive(text: &str) -> Result<usize, String> {
    whole::<usize>(1..=u32::MAX)(text)
}

/// Parses a seed.
pub fn seed(text: &str) -> Result<u32, String> {
    whole::<u32>(0..=u32::MAX)(text)
}

/// Parses a number; only its setting knows whether it is valid.
pub fn number(text: &str) -> Result<f32, String> {
    text.parse().map_err(|_| "expected a number, like 0.5".into())
}

/// Parses the size of a network's input, with one channel if no number of channels is given.
pub fn input_size(text: &str) -> Result<[usize; 3], String> {
    let ImageSize { height, width, channels } = ImageSize::parse(text, 1 << 16, 1 << 16)?;
    Ok([height, width, channels.unwrap_or(1)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_is_in_its_range_or_answered_with_it() {
        let threads = whole::<u16>(1..=1024);
        assert_eq!((threads("1"), threads("1024")), (Ok(1), Ok(1024)));
        for text in ["0", "1025", "-1", "70000", "abc", "", "1.5"] {
            assert_eq!(threads(text).unwrap_err(), "expected a whole number from 1 to 1024", "{text:?}");
        }
        // The range is no wider than the type.
        assert!(whole::<u8>(0..=300)("256").is_err());
    }

    #[test]
    fn what_is_no_number_is_answered_in_words() {
        assert_eq!(number("-1e-3"), Ok(-1e-3));
        for text in ["", "abc", "1,5"] {
            assert!(number(text).unwrap_err().contains("a number, like 0.5"), "{text:?}");
        }
    }

    #[test]
    fn an_input_has_one_channel_where_none_is_said_and_sides_up_to_a_limit() {
        for (text, size) in [("28x20", [28, 20, 1]), ("28X20", [28, 20, 1]), ("448x448X3", [448, 448, 3])] {
            assert_eq!(input_size(text), Ok(size));
        }
        assert_eq!(input_size("65536x1x5"), Ok([65_536, 1, 5]));
        for text in ["65537x28", "28x0", "-1x3", "28", "28x28x1x1", "28by28", "x", ""] {
            assert!(input_size(text).unwrap_err().contains("each from 1 to 65536"), "{text:?}");
        }
    }
}
