//! What the window remembers from one day to the next: a small file in the user's settings folder, and what was kept.

use std::io::{Cursor, ErrorKind};
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageFormat};
use serde::{Deserialize, Serialize};

use super::canvas::{RADII, RADIUS};
use super::field::Drawing;
use crate::files::write_whole;
use crate::infer::look::FIELD;

/// A larger file is not one of ours.
const MOST: u64 = 64 * 1024;

/// What was kept: a drawing, or else a picture.
const DRAWN: &str = "field.png";
const PICTURE: &str = "picture.png";

/// Width and height of the smallest window in which everything has room, in points.
pub(super) const SMALLEST: [f32; 2] = [720.0, 480.0];

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Panel {
    #[default]
    Draw,
    Inside,
    Dream,
    Train,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    #[default]
    System,
    Light,
    Dark,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Remembered {
    pub panel: Panel,
    pub theme: Theme,
    /// The model that reads, by name or path.
    pub model: Option<PathBuf>,
    /// The second model, which reads beside it.
    pub second: Option<PathBuf>,
    /// The generator that draws.
    pub generator: Option<PathBuf>,
    pub prepared: bool,
    pub radius: f32,
    /// Width and height of the window, in points.
    pub size: [f32; 2],
}

impl Default for Remembered {
    fn default() -> Remembered {
        Remembered {
            panel: Panel::Draw,
            theme: Theme::System,
            model: None,
            second: None,
            generator: None,
            prepared: true,
            radius: RADIUS,
            size: [1024.0, 700.0],
        }
    }
}

/// Where the settings are kept; nowhere on systems without a folder for them.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub folder: Option<PathBuf>,
}

impl Memory {
    /// The user's own settings folder.
    pub fn of_user() -> Memory {
        Memory { folder: dirs::config_dir().map(|folder| folder.join("inkgrad")) }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(name))
    }

    /// What was remembered, with defaults for what is missing or cannot be read.
    pub fn load(&self) -> Remembered {
        let text = self.path("window.toml").and_then(|path| read(&path));
        let text = text.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let mut remembered: Remembered = toml::from_str(&text).unwrap_or_default();
        if !RADII.contains(&remembered.radius) {
            remembered.radius = RADIUS;
        }
        let sane = |size: f32| (300.0..20_000.0).contains(&size);
        if !remembered.size.iter().all(|size| sane(*size)) {
            remembered.size = Remembered::default().size;
        }
        // Some screens make a window smaller than it asks for.
        remembered.size = [0, 1].map(|side| remembered.size[side].max(SMALLEST[side]));
        remembered
    }

    /// # Errors
    /// What the system says, with the path.
    pub fn save(&self, remembered: &Remembered) -> Result<(), String> {
        let mut said = remembered.clone();
        for path in [&mut said.model, &mut said.second, &mut said.generator] {
            // Such a path cannot be written as text, and everything else would be lost with it.
            if path.as_ref().is_some_and(|path| path.to_str().is_none()) {
                *path = None;
            }
        }
        let text = toml::to_string(&said).map_err(|error| error.to_string())?;
        self.write("window.toml", text.as_bytes())
    }

    /// Saves what is kept as a PNG that any program can open. Of a picture that is the picture itself, which networks
    /// read, and not what the field shows of it.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub fn save_drawing(&self, drawing: &Drawing) -> Result<(), String> {
        match drawing.picture() {
            Some(picture) => self.write(PICTURE, &png(picture)?),
            None => {
                self.write(DRAWN, &png(&drawing.image().into())?)?;
                self.remove(PICTURE)
            }
        }
    }

    /// What was kept last, if anything.
    pub fn load_drawing(&self) -> Option<Drawing> {
        let load = |name: &str| self.path(name).and_then(|path| crate::pictures::read(&path).ok());
        if let Some(picture) = load(PICTURE) {
            return Some(Drawing::of(picture.image));
        }
        let drawn = load(DRAWN)?.image.to_luma8();
        (drawn.dimensions() == (FIELD as u32, FIELD as u32)).then(|| Drawing::of_pixels(drawn.into_raw()))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let Some(path) = self.path(name) else { return Ok(()) };
        let written = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| write_whole(&path, bytes));
        written.map_err(|error| format!("{}: {error}", path.display()))
    }

    fn remove(&self, name: &str) -> Result<(), String> {
        let Some(path) = self.path(name) else { return Ok(()) };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(format!("{}: {error}", path.display())),
            _ => Ok(()),
        }
    }
}

fn png(picture: &DynamicImage) -> Result<Vec<u8>, String> {
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png).map_err(|error| error.to_string())?;
    Ok(png.into_inner())
}

fn read(path: &Path) -> Option<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(MOST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_comes_back_and_nonsense_is_as_at_first() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory { folder: Some(folder.path().join("deep/er")) };
        assert_eq!(memory.load(), Remembered::default());
        let own = Remembered { panel: Panel::Dream, model: Some("best".into()), radius: 9.0, ..Remembered::default() };
        memory.save(&own).unwrap();
        assert_eq!(memory.load(), own);
        for text in ["panel = 7", "radius = nan\nsize = [0.0, -3.0]", "\u{0}", "panel = \"attic\""] {
            std::fs::write(memory.path("window.toml").unwrap(), text).unwrap();
            assert_eq!(memory.load(), Remembered::default(), "{text}");
        }
    }

    #[test]
    fn a_window_that_was_smaller_than_it_should_be_opens_in_the_smallest_size_again() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory { folder: Some(folder.path().to_owned()) };
        for (size, opened) in [([500.0, 400.0], SMALLEST), ([900.0, 400.0], [900.0, SMALLEST[1]])] {
            memory.save(&Remembered { size, ..Remembered::default() }).unwrap();
            assert_eq!(memory.load().size, opened);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_no_text_is_left_out_and_all_else_is_kept() {
        use std::os::unix::ffi::OsStrExt;

        let folder = tempfile::tempdir().unwrap();
        let memory = Memory { folder: Some(folder.path().to_owned()) };
        let odd = PathBuf::from(std::ffi::OsStr::from_bytes(b"/models/\xff.safetensors"));
        for which in 0..3 {
            let with = |path: Option<&PathBuf>| {
                let text = Some(PathBuf::from("dense"));
                let [model, second, generator] =
                    [0, 1, 2].map(|i| if i == which { path.cloned() } else { text.clone() });
                Remembered { theme: Theme::Dark, model, second, generator, ..Remembered::default() }
            };
            memory.save(&with(Some(&odd))).unwrap();
            assert_eq!(memory.load(), with(None));
        }
    }

    #[test]
    fn a_drawing_comes_back_to_the_byte() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory { folder: Some(folder.path().to_owned()) };
        assert!(memory.load_drawing().is_none());
        let drawing = Drawing::of_pixels((0..FIELD * FIELD).map(|i| (i / FIELD * i % 251) as u8).collect());
        memory.save_drawing(&drawing).unwrap();
        assert!(folder.path().join("field.png").is_file());
        let loaded = memory.load_drawing().unwrap();
        assert!(loaded.picture().is_none() && loaded.image() == drawing.image());
    }

    #[test]
    fn a_picture_that_was_kept_comes_back_as_it_was_until_a_drawing_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory { folder: Some(folder.path().to_owned()) };
        let drawing = Drawing::of_pixels(vec![200; FIELD * FIELD]);
        memory.save_drawing(&drawing).unwrap();
        let picture: DynamicImage =
            image::RgbImage::from_fn(30, 20, |x, y| image::Rgb([(x * 8) as u8, (y * 12) as u8, 240])).into();
        memory.save_drawing(&Drawing::of(picture.clone())).unwrap();
        assert!(**memory.load_drawing().unwrap().picture().unwrap() == picture);
        memory.save_drawing(&drawing).unwrap();
        let loaded = memory.load_drawing().unwrap();
        assert!(loaded.picture().is_none() && loaded.image() == drawing.image());
    }
}
