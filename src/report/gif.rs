//! Frames written to an animated GIF as they come.

use std::path::{Path, PathBuf};

use gif::{Encoder, EncodingError, Frame, Repeat};

use crate::files::{Existing, Unfinished, WriteError};
use crate::report::{Colours, ReportError};

/// The longest side that the format allows.
pub const MAX_SIDE: u32 = u16::MAX as u32;

/// Bytes that a frame may take.
const MAX_FRAME: u64 = 1 << 30;

/// An animation that repeats forever. Its file gets its name once it is complete.
pub struct GifWriter {
    encoder: Encoder<Unfinished>,
    path: PathBuf,
    size: [u16; 2],
    channels: usize,
    delay: u16,
    is_empty: bool,
}

impl GifWriter {
    /// Frames of `[width, height]`, each shown for `delay` hundredths of a second. Frames of 1 channel are shown in the
    /// two colours, exactly; frames of 3 channels in the 256 colours that suit each frame best.
    ///
    /// # Errors
    /// For other numbers of channels, for frames without pixels, beyond [`MAX_SIDE`] or too large for memory, and
    /// whatever the system says about the file.
    pub fn create(
        path: &Path,
        [width, height]: [u32; 2],
        channels: usize,
        colours: Colours,
        delay: u16,
    ) -> Result<GifWriter, ReportError> {
        let side = |pixels: u32| u16::try_from(pixels).ok().filter(|side| *side > 0);
        let (Some(w), Some(h)) = (side(width), side(height)) else {
            return Err(ReportError::BeyondFormat {
                format: "GIF",
                width: width.into(),
                height: height.into(),
                limit: MAX_SIDE.into(),
                remedy: "take fewer pictures in a frame, or a smaller scale".into(),
            });
        };
        let bytes = u64::from(width) * u64::from(height) * channels as u64;
        if bytes > MAX_FRAME {
            return Err(ReportError::FrameTooLarge { bytes, limit: MAX_FRAME });
        }
        let palette = match channels {
            1 => colours.palette(),
            3 => Vec::new(),
            other => return Err(ReportError::WrongChannels(other)),
        };
        let path = path.to_owned();
        let file = Unfinished::create(&path).map_err(WriteError::of(&path))?;
        let encoder = Encoder::new(file, w, h, &palette).and_then(|mut encoder| {
            encoder.set_repeat(Repeat::Infinite)?;
            Ok(encoder)
        });
        match encoder {
            Ok(encoder) => Ok(GifWriter { encoder, path, size: [w, h], channels, delay, is_empty: true }),
            Err(error) => Err(failed(path, error)),
        }
    }

    /// Adds the next frame, `[height, width, channels]`.
    ///
    /// # Errors
    /// For a frame of another size, and whatever the system says about the file.
    pub fn push(&mut self, pixels: &[u8]) -> Result<(), ReportError> {
        let [width, height] = self.size;
        let expected = usize::from(width) * usize::from(height) * self.channels;
        if pixels.len() != expected {
            let (expected, found) = (expected as u64, pixels.len() as u64);
            return Err(ReportError::WrongPixels { item: 0, expected, found });
        }
        let mut frame = if self.channels == 1 {
            Frame { width, height, buffer: pixels.into(), ..Frame::default() }
        } else {
            Frame::from_rgb_speed(width, height, pixels, 10)
        };
        frame.delay = self.delay;
        self.is_empty = false;
        self.encoder.write_frame(&frame).map_err(|error| failed(self.path.clone(), error))
    }

    /// Whether no frame has come yet.
    pub fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Ends the animation and gives its file its name.
    ///
    /// # Errors
    /// For an animation without frames, and whatever the system says about the file.
    pub fn finish(self, existing: Existing) -> Result<(), ReportError> {
        if self.is_empty {
            return Err(ReportError::NoFrames { path: self.path });
        }
        let file = self.encoder.into_inner().map_err(|error| failed(self.path.clone(), error))?;
        Ok(file.finish(existing).map_err(WriteError::of(&self.path))?)
    }
}

fn failed(path: PathBuf, error: EncodingError) -> ReportError {
    match error {
        EncodingError::Io(source) => WriteError { path, source }.into(),
        other => ReportError::Encoder { path, reason: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Colour;

    fn frames(path: &Path) -> Vec<(Vec<u8>, u16)> {
        let mut options = gif::DecodeOptions::new();
        options.set_color_output(gif::ColorOutput::RGBA);
        let mut decoder = options.read_info(std::fs::File::open(path).unwrap()).unwrap();
        assert_eq!((decoder.width(), decoder.height()), (2, 1));
        assert_eq!(decoder.repeat(), Repeat::Infinite);
        let mut frames = Vec::new();
        while let Some(frame) = decoder.read_next_frame().unwrap() {
            frames.push((frame.buffer.to_vec(), frame.delay));
        }
        frames
    }

    #[test]
    fn grey_frames_read_back_in_exactly_their_colours() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.gif");
        let colours = Colours { ink: Colour([0, 0, 255]), paper: Colour([255, 0, 0]) };
        let mut gif = GifWriter::create(&path, [2, 1], 1, colours, 8).unwrap();
        gif.push(&[0, 255]).unwrap();
        gif.push(&[51, 0]).unwrap();
        assert!(!path.exists());
        gif.finish(Existing::Keep).unwrap();
        let (red, blue) = ([255, 0, 0, 255], [0, 0, 255, 255]);
        let fifth = [204, 0, 51, 255];
        assert_eq!(frames(&path), [([red, blue].concat(), 8), ([fifth, red].concat(), 8)]);
    }

    #[test]
    fn coloured_frames_of_few_colours_read_back_exactly() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.gif");
        let mut gif = GifWriter::create(&path, [2, 1], 3, Colours::default(), 50).unwrap();
        gif.push(&[1, 2, 3, 200, 100, 50]).unwrap();
        gif.finish(Existing::Keep).unwrap();
        assert_eq!(frames(&path), [(vec![1, 2, 3, 255, 200, 100, 50, 255], 50)]);
    }

    #[test]
    fn frames_that_cannot_be_are_refused_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.gif");
        let create = |size, channels| GifWriter::create(&path, size, channels, Colours::default(), 8);
        let message = create([70_000, 1], 1).err().unwrap().to_string();
        assert!(message.contains("a GIF has at most 65535 a side"), "{message}");
        let message = create([40_000, 40_000], 1).err().unwrap().to_string();
        assert!(message.contains("a frame takes 1600000000 bytes"), "{message}");
        assert!(create([0, 1], 1).is_err());
        assert!(create([1, 1], 4).is_err());
        let mut gif = create([2, 2], 1).unwrap();
        assert!(gif.push(&[1]).is_err());
        let message = gif.finish(Existing::Keep).unwrap_err().to_string();
        assert!(message.contains("there are no frames"), "{message}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
