//! What the window remembers from one day to the next: a small file in the user's settings folder, and the drawing.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::canvas::{RADII, RADIUS};
use crate::files::write_whole;
use crate::infer::look::FIELD;

/// A larger file is not one of ours.
const MOST: u64 = 64 * 1024;

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
        self.write("window.toml", text.as_bytes()).map(|_| ())
    }

    /// Saves the drawing as a PNG that any program can open; returns where.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub fn save_field(&self, field: &image::GrayImage) -> Result<Option<PathBuf>, String> {
        let mut png = std::io::Cursor::new(Vec::new());
        field.write_to(&mut png, image::ImageFormat::Png).map_err(|error| error.to_string())?;
        self.write("field.png", png.get_ref())
    }

    /// The drawing that was kept, if any.
    pub fn load_field(&self) -> Option<Vec<u8>> {
        let path = self.path("field.png")?;
        let picture = crate::pictures::read(&path).ok()?.image.to_luma8();
        (picture.dimensions() == (FIELD as u32, FIELD as u32)).then(|| picture.into_raw())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<Option<PathBuf>, String> {
        let Some(path) = self.path(name) else { return Ok(None) };
        let written = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| write_whole(&path, bytes));
        match written {
            Ok(()) => Ok(Some(path)),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }
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
        let own = Remembered { theme: Theme::Dark, second: Some("dense".into()), ..Remembered::default() };
        memory.save(&Remembered { model: Some(odd), ..own.clone() }).unwrap();
        assert_eq!(memory.load(), own);
    }

    #[test]
    fn a_drawing_comes_back_to_the_byte() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory { folder: Some(folder.path().to_owned()) };
        assert!(memory.load_field().is_none());
        let drawing = image::GrayImage::from_fn(448, 448, |x, y| image::Luma([(x * y % 251) as u8]));
        assert!(memory.save_field(&drawing).unwrap().unwrap().ends_with("field.png"));
        assert_eq!(memory.load_field().unwrap(), drawing.into_raw());
    }
}
