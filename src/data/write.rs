//! Writes labelled images as they come: pairs of IDX files, as [`super::load_folder`] reads them, and safetensors.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use super::numbered::{all_numbers, number};
use crate::data::{DataError, listed};
use crate::files::{Existing, Unfinished, WriteError};
use crate::pictures::visible;

/// Which half of a data set a pair of IDX files is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    Train,
    Test,
}

/// The names of a part's files, images first; where pixels have several channels, the images have one more dimension.
pub fn idx_names(part: Part, channels: usize) -> [String; 2] {
    let (part, rank) = (if part == Part::Train { "train" } else { "t10k" }, if channels == 1 { 3 } else { 4 });
    [format!("{part}-images-idx{rank}-ubyte"), format!("{part}-labels-idx1-ubyte")]
}

/// As many labels as IDX files can tell apart.
pub const ALL_LABELS: usize = 256;

/// The labels that IDX files, which have no names for classes, hold for them: the numbers that classes are named after
/// if all are, each after another one that a byte holds; else their places in `class_names`.
pub fn idx_labels(class_names: &[String]) -> Vec<u32> {
    let fit = |numbers: &Vec<u32>| numbers.iter().all(|number| (*number as usize) < ALL_LABELS);
    all_numbers(class_names).filter(fit).unwrap_or_else(|| (0..class_names.len() as u32).collect())
}

/// Which label stands for which class, `0 is cat, 1 is dog`, for `most` classes; `None` where each class is named after
/// its label.
pub fn legend(class_names: &[String], labels: impl IntoIterator<Item = u32>, most: usize) -> Option<String> {
    let classes: Vec<(u32, &String)> = labels.into_iter().zip(class_names).collect();
    let is_named = classes.iter().all(|(label, name)| number(name) == Some(*label));
    let pair = |(label, name): (u32, &String)| format!("{label} is {}", visible(name));
    (!is_named).then(|| listed(&classes.into_iter().map(pair).collect::<Vec<_>>(), most))
}

/// The images that a file's header promises.
struct Promised {
    /// Bytes of an image.
    size: u64,
    count: u64,
    /// Images that have not come yet.
    left: u64,
}

impl Promised {
    fn new(count: u64, image: [u32; 3]) -> Promised {
        let size = image.into_iter().fold(1u64, |size, side| size.saturating_mul(side.into()));
        Promised { size, count, left: count }
    }

    /// Counts an image for the file at `path`.
    ///
    /// # Errors
    /// If it has another size, or is one more than there were to be.
    fn take(&mut self, image: &[u8], path: &Path) -> Result<(), DataError> {
        let (found, Promised { size, count, .. }) = (image.len(), &*self);
        if found as u64 != *size {
            return Err(wrong(path, format!("an image has {found} bytes; it was begun for images of {size}")));
        }
        if self.left == 0 {
            return Err(wrong(path, format!("it was begun for {count} images; there are more")));
        }
        self.left -= 1;
        Ok(())
    }

    /// # Errors
    /// If images are missing.
    fn kept(&self, path: &Path) -> Result<(), DataError> {
        match self.left {
            0 => Ok(()),
            left => Err(wrong(path, format!("{left} of the {} images that it was begun for are missing", self.count))),
        }
    }
}

/// Two IDX files that take their images one by one, and get their names once they are whole.
pub struct IdxWriter {
    images: Unfinished,
    labels: Unfinished,
    promised: Promised,
}

impl IdxWriter {
    /// For exactly `count` images of `[height, width, channels]`.
    ///
    /// # Errors
    /// [`DataError::Write`] with what the system says.
    pub fn create(folder: &Path, part: Part, count: u32, image: [u32; 3]) -> Result<IdxWriter, DataError> {
        let (channels, promised) = (image[2] as usize, Promised::new(count.into(), image));
        let [images, labels] = idx_names(part, channels).map(|name| folder.join(name));
        let image = if channels == 1 { &image[..2] } else { &image };
        Ok(IdxWriter {
            images: started(&images, &idx_header(&[&[count], image].concat()))?,
            labels: started(&labels, &idx_header(&[count]))?,
            promised,
        })
    }

    /// The next image and its label.
    ///
    /// # Errors
    /// As [`IdxWriter::create`], for an image of another size, and for one more than were to come; a label above 255
    /// has no place in IDX.
    pub fn push(&mut self, image: &[u8], label: u32) -> Result<(), DataError> {
        let unfit = |_| wrong(self.labels.path(), format!("label {label} does not fit a byte"));
        let label = u8::try_from(label).map_err(unfit)?;
        self.promised.take(image, self.images.path())?;
        put(&mut self.images, image)?;
        put(&mut self.labels, &[label])
    }

    /// # Errors
    /// As [`IdxWriter::create`], when images are missing, and when files exist that are to be kept.
    pub fn finish(self, existing: Existing) -> Result<(), DataError> {
        self.promised.kept(self.images.path())?;
        // Labels last: whoever sees them sees both.
        end(self.images, existing)?;
        end(self.labels, existing)
    }
}

fn idx_header(sizes: &[u32]) -> Vec<u8> {
    let unsigned_bytes = [0, 0, 8, sizes.len() as u8];
    unsigned_bytes.into_iter().chain(sizes.iter().flat_map(|size| size.to_be_bytes())).collect()
}

/// A safetensors file of `labels` U32 `[n]` and `images` U8 `[n, height, width, channels]`.
pub struct SafetensorsWriter {
    file: Unfinished,
    promised: Promised,
}

impl SafetensorsWriter {
    /// Begins a file with `about`, texts about it, and all labels, which are stored before the images.
    ///
    /// # Errors
    /// [`DataError::Write`] with what the system says, and for other than `count` labels.
    pub fn create(
        path: &Path,
        about: &BTreeMap<String, String>,
        image: [u32; 3],
        count: u64,
        labels: impl Iterator<Item = u32>,
    ) -> Result<SafetensorsWriter, DataError> {
        let [height, width, channels] = image.map(u64::from);
        let (middle, bytes) = (count * 4, count * height * width * channels);
        let header = serde_json::json!({
            "__metadata__": about,
            "images": { "dtype": "U8", "shape": [count, height, width, channels], "data_offsets": [middle, middle + bytes] },
            "labels": { "dtype": "U32", "shape": [count], "data_offsets": [0, middle] },
        });
        let mut header = header.to_string();
        // So that the tensors begin at a multiple of eight bytes.
        header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
        let mut file = started(path, &(header.len() as u64).to_le_bytes())?;
        put(&mut file, header.as_bytes())?;
        let mut given = 0;
        for label in labels {
            put(&mut file, &label.to_le_bytes())?;
            given += 1;
        }
        if given != count {
            return Err(wrong(path, format!("it was begun for {count} images; there are {given} labels")));
        }
        Ok(SafetensorsWriter { file, promised: Promised::new(count, image) })
    }

    /// The next image.
    ///
    /// # Errors
    /// As [`SafetensorsWriter::create`], for an image of another size, and for one more than were to come.
    pub fn push(&mut self, image: &[u8]) -> Result<(), DataError> {
        self.promised.take(image, self.file.path())?;
        put(&mut self.file, image)
    }

    /// # Errors
    /// As [`SafetensorsWriter::create`], when images are missing, and when a file exists that is to be kept.
    pub fn finish(self, existing: Existing) -> Result<(), DataError> {
        self.promised.kept(self.file.path())?;
        end(self.file, existing)
    }
}

fn started(path: &Path, header: &[u8]) -> Result<Unfinished, DataError> {
    let mut file = Unfinished::create(path).map_err(WriteError::of(path))?;
    put(&mut file, header)?;
    Ok(file)
}

fn put(file: &mut Unfinished, bytes: &[u8]) -> Result<(), DataError> {
    Ok(file.write_all(bytes).map_err(WriteError::of(file.path()))?)
}

fn end(file: Unfinished, existing: Existing) -> Result<(), DataError> {
    let refused = WriteError::of(file.path());
    Ok(file.finish(existing).map_err(refused)?)
}

/// The error for a file that what was given for it would spoil.
fn wrong(path: &Path, problem: String) -> DataError {
    WriteError::of(path)(io::Error::new(io::ErrorKind::InvalidInput, problem)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::load_folder;
    use safetensors::{Dtype, SafeTensors};

    fn write(folder: &Path, part: Part, channels: u32, labels: &[u32]) -> Result<(), DataError> {
        let mut pair = IdxWriter::create(folder, part, labels.len() as u32, [2, 1, channels])?;
        for label in labels {
            pair.push(&vec![*label as u8 + 100; 2 * channels as usize], *label)?;
        }
        pair.finish(Existing::Keep)
    }

    #[test]
    fn two_pairs_of_idx_files_are_a_data_set() {
        for channels in [1, 3] {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), Part::Train, channels, &[0, 2, 1]).unwrap();
            write(folder.path(), Part::Test, channels, &[1]).unwrap();
            let set = load_folder(folder.path()).unwrap();
            assert_eq!((set.train.labels.as_slice(), set.test.labels.as_slice()), (&[0, 2, 1][..], &[1][..]));
            assert_eq!((set.train.height, set.train.width, set.train.channels), (2, 1, channels as usize));
            assert_eq!(set.train.image(1), vec![102; 2 * channels as usize]);
        }
    }

    #[test]
    fn classes_named_after_numbers_have_these_as_labels_and_others_their_places_which_is_told() {
        let found = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
            let labels = idx_labels(&names);
            (labels.clone(), legend(&names, labels, ALL_LABELS))
        };
        assert_eq!(found(&["0", "1", "2"]), (vec![0, 1, 2], None));
        assert_eq!(found(&["3", "5", "7"]), (vec![3, 5, 7], None));
        assert_eq!(found(&["01", "02", "255"]), (vec![1, 2, 255], None));
        assert_eq!(found(&["cat", "dog"]), (vec![0, 1], Some("0 is cat, 1 is dog".into())));
        for names in [["1", "two"], ["7", "07"], ["1", "256"], ["1", "-1"], ["1", "+2"], ["+0", "+1"]] {
            assert_eq!(found(&names), (vec![0, 1], Some(format!("0 is {}, 1 is {}", names[0], names[1]))));
        }
    }

    #[test]
    fn a_pair_never_finished_leaves_nothing_and_a_finished_one_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        drop(IdxWriter::create(folder.path(), Part::Test, 1, [1, 1, 1]).unwrap());
        let message = write(folder.path(), Part::Train, 1, &[256]).unwrap_err().to_string();
        assert!(message.contains("train-labels-idx1-ubyte") && message.contains("256"), "{message}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        write(folder.path(), Part::Train, 1, &[1]).unwrap();
        let message = write(folder.path(), Part::Train, 1, &[2]).unwrap_err().to_string();
        assert!(message.contains("train-images-idx3-ubyte"), "{message}");
        assert_eq!(std::fs::read(folder.path().join("train-labels-idx1-ubyte")).unwrap().last(), Some(&1));
    }

    #[test]
    fn a_file_that_would_not_hold_what_its_header_promises_is_refused_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let (path, about) = (folder.path().join("a.safetensors"), BTreeMap::new());
        let idx = || IdxWriter::create(folder.path(), Part::Train, 2, [2, 3, 1]).unwrap();
        let file = |labels: u32| SafetensorsWriter::create(&path, &about, [2, 3, 1], 2, 0..labels);
        let says = |result: Result<(), DataError>, said: &str| {
            let refused = result.unwrap_err().to_string();
            assert!(refused.contains(said), "{refused}");
        };
        let (mut pair, mut one) = (idx(), file(2).unwrap());
        for size in [5, 7, 12] {
            says(pair.push(&vec![0; size], 1), &format!("an image has {size} bytes; it was begun for images of 6"));
            says(one.push(&vec![0; size]), &format!("an image has {size} bytes; it was begun for images of 6"));
        }
        pair.push(&[0; 6], 1).unwrap();
        one.push(&[0; 6]).unwrap();
        says(pair.finish(Existing::Keep), "1 of the 2 images that it was begun for are missing");
        says(one.finish(Existing::Keep), "1 of the 2 images that it was begun for are missing");
        let (mut pair, mut one) = (idx(), file(2).unwrap());
        for _ in 0..2 {
            pair.push(&[0; 6], 1).unwrap();
            one.push(&[0; 6]).unwrap();
        }
        says(pair.push(&[0; 6], 1), "it was begun for 2 images; there are more");
        says(one.push(&[0; 6]), "it was begun for 2 images; there are more");
        drop((pair, one));
        says(file(3).map(drop), "it was begun for 2 images; there are 3 labels");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_safetensors_file_holds_images_labels_and_what_was_said_about_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let about = BTreeMap::from([("made by".to_string(), "a \"test\"".to_string())]);
        let mut file = SafetensorsWriter::create(&path, &about, [1, 3, 1], 2, [7, 300].into_iter()).unwrap();
        file.push(&[1, 2, 3]).unwrap();
        file.push(&[4, 5, 6]).unwrap();
        file.finish(Existing::Keep).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(metadata.metadata().as_ref().unwrap()["made by"], "a \"test\"");
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let (images, labels) = (tensors.tensor("images").unwrap(), tensors.tensor("labels").unwrap());
        assert_eq!(
            (images.dtype(), images.shape(), images.data()),
            (Dtype::U8, &[2, 1, 3, 1][..], &[1, 2, 3, 4, 5, 6][..])
        );
        assert_eq!((labels.dtype(), labels.shape()), (Dtype::U32, &[2][..]));
        assert_eq!(labels.data(), [7u32, 300].map(u32::to_le_bytes).concat());
    }
}
