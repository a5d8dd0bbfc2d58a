//! Numbers and sizes as they are given on the command line, and what is answered to anything else.

use std::ops::RangeInclusive;

use crate::data::ImageSize;

/// A parser of whole numbers from one to another, both included.
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

/// Parses a seed.
pub fn seed(text: &str) -> Result<u32, String> {
    whole::<u32>(0..=u32::MAX)(text)
}

/// Parses a number of which only its setting knows whether it will do.
pub fn number(text: &str) -> Result<f32, String> {
    text.parse().map_err(|_| "expected a number, like 0.5".into())
}

/// Parses the size of a network's input, which has one channel where no number of them is said.
pub fn input_size(text: &str) -> Result<[usize; 3], String> {
    let ImageSize { height, width, channels } = size(text, 1 << 16, 1 << 16)?;
    Ok([height, width, channels.unwrap_or(1)])
}

/// Parses the size that pictures are brought to.
pub fn picture_size(text: &str) -> Result<ImageSize, String> {
    size(text, 4096, 4)
}

fn size(text: &str, most: usize, most_channels: usize) -> Result<ImageSize, String> {
    let numbers: Option<Vec<usize>> = text.split(['x', 'X']).map(|n| n.parse::<usize>().ok()).collect();
    let is_side = |n: usize| (1..=most).contains(&n);
    match numbers.as_deref() {
        Some(&[height, width]) if is_side(height) && is_side(width) => Ok(ImageSize { height, width, channels: None }),
        Some(&[height, width, channels])
            if is_side(height) && is_side(width) && (1..=most_channels).contains(&channels) =>
        {
            Ok([height, width, channels].into())
        }
        _ => Err(format!(
            "expected height x width, each from 1 to {most}, like 28x28, or with 1 to {most_channels} channels, like \
             28x28x1"
        )),
    }
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
        // No wider than the type.
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
    fn a_size_has_two_numbers_or_three_with_either_x_between_them() {
        for text in ["28x20", "28X20"] {
            assert_eq!(input_size(text), Ok([28, 20, 1]));
            assert_eq!(picture_size(text), Ok(ImageSize { height: 28, width: 20, channels: None }));
        }
        assert_eq!(input_size("448x448X3"), Ok([448, 448, 3]));
        assert_eq!(picture_size("448X448x3"), Ok([448, 448, 3].into()));
    }

    #[test]
    fn a_size_that_will_not_do_is_answered_with_the_limits() {
        for text in ["100000x28", "28x0", "-1x3", "28", "28x28x1x1", "28by28", "x", ""] {
            assert!(input_size(text).unwrap_err().contains("each from 1 to 65536"), "{text:?}");
            assert!(picture_size(text).unwrap_err().contains("each from 1 to 4096"), "{text:?}");
        }
        assert!(picture_size("28x28x5").unwrap_err().contains("1 to 4 channels"));
        assert_eq!(input_size("28x28x5"), Ok([28, 28, 5]));
    }

    #[test]
    fn pictures_are_brought_to_any_size_that_a_run_can_write_down_and_to_no_other() {
        for text in ["4096x4096", "4097x1", "1x4097", "28x28x4", "28x28x5", "0x3"] {
            assert_eq!(picture_size(text).ok(), text.parse::<ImageSize>().ok(), "{text}");
        }
    }
}
