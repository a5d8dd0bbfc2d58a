//! Decoded pictures, kept on disk for the next time.
//!
//! An entry is a safetensors file in the user's cache folder. It is used only if the pictures' names, lengths and times
//! are unchanged, they are the same files under these names, and its own bytes are as they were written; if anything is
//! wrong with it, the pictures are decoded anew.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::json;

use super::classes::Listing;
use super::digest::digest;
use super::idx::MAX_BYTES;
use super::source::{Pictures, Reading};
use super::{DataSet, ImageSet};
use crate::cache;
use crate::files::write_whole;
use crate::hash::mix;

/// Raised when the way in which pictures are read changes: those kept until then are decoded anew.
const READ: u64 = 5;

/// Pictures that are decoded in fewer seconds are not kept.
pub(super) const WORTHWHILE: f64 = 1.0;

/// Where the pictures of one folder are kept, and what identifies them.
pub(super) struct Entry {
    path: PathBuf,
    listed: String,
}

impl Entry {
    /// An entry in [`cache::folder`]. `None` where there is no such folder, or where a file cannot be looked at.
    pub fn of(folder: &Path, reading: &Reading, parts: [&Listing; 2]) -> Option<Entry> {
        Entry::at(&cache::folder()?.join("pictures"), folder, reading, parts)
    }

    fn at(place: &Path, folder: &Path, reading: &Reading, parts: [&Listing; 2]) -> Option<Entry> {
        let folder = folder.canonicalize().ok()?;
        let mut name = mix(text(0, env!("CARGO_PKG_VERSION")), READ);
        name = text(name, &folder.to_string_lossy());
        name = text(name, &format!("{:?} {}", reading.image_size, reading.prepare));
        let mut listed = 0;
        for part in parts {
            listed = mix(listed, part.paths.len() as u64);
            for (path, label) in part.paths.iter().zip(&part.labels) {
                let about = path.metadata().ok()?;
                let changed = about.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
                listed = text(listed, &path.to_string_lossy());
                let [which, since] = identity(&about);
                for number in [u64::from(*label), about.len(), changed.as_nanos() as u64, which, since] {
                    listed = mix(listed, number);
                }
            }
        }
        Some(Entry { path: place.join(format!("{name:016x}.safetensors")), listed: format!("{listed:016x}") })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The set that was kept, without the names of its classes.
    pub fn load(&self) -> Option<DataSet> {
        if fs::metadata(&self.path).ok()?.len() > MAX_BYTES + (1 << 30) {
            return None;
        }
        decode(&fs::read(&self.path).ok()?, &self.listed)
    }

    /// # Errors
    /// What the system says.
    pub fn save(&self, set: &DataSet) -> std::io::Result<()> {
        let mut about = HashMap::from([
            ("listed".to_owned(), self.listed.clone()),
            ("name".to_owned(), set.name.clone()),
            ("classes".to_owned(), set.train.classes.to_string()),
            ("remarks".to_owned(), json!(set.remarks).to_string()),
            ("train_digest".to_owned(), digest(&set.train)),
            ("test_digest".to_owned(), digest(&set.test)),
        ]);
        about.extend(set.pictures.map(|how| (Pictures::KEY.to_owned(), how.to_string())));
        let mut tensors = Vec::new();
        for (part, set) in [("train", &set.train), ("test", &set.test)] {
            let shape = vec![set.len(), set.height, set.width, set.channels];
            tensors.push((format!("{part}.images"), TensorView::new(Dtype::U8, shape, &set.images)));
            let labels: &[u8] = bytemuck::cast_slice(&set.labels);
            tensors.push((format!("{part}.labels"), TensorView::new(Dtype::U32, vec![set.len()], labels)));
        }
        let other = |error: safetensors::SafeTensorError| std::io::Error::other(error.to_string());
        let tensors = tensors.into_iter().map(|(name, view)| view.map(|view| (name, view)));
        let tensors = tensors.collect::<Result<Vec<_>, _>>().map_err(other)?;
        let bytes = safetensors::serialize(tensors, Some(about)).map_err(other)?;
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        write_whole(&self.path, &bytes)
    }
}

/// The set that an entry's bytes hold, if it was made from the pictures that are `listed` and nothing is wrong with the
/// bytes.
pub fn decode(bytes: &[u8], listed: &str) -> Option<DataSet> {
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    let about = header.metadata().as_ref()?;
    if *about.get("listed")? != listed {
        return None;
    }
    let tensors = SafeTensors::deserialize(bytes).ok()?;
    let [train, test] = ["train", "test"].map(|part| {
        let set = set(&tensors, part, about.get("classes")?.parse().ok()?)?;
        (digest(&set) == *about.get(&format!("{part}_digest"))?).then_some(set)
    });
    Some(DataSet {
        name: about.get("name")?.clone(),
        train: train?,
        test: test?,
        class_names: Vec::new(),
        remarks: serde_json::from_str(about.get("remarks")?).ok()?,
        pictures: about.get(Pictures::KEY).map(|how| how.parse::<Pictures>()).transpose().ok()?,
        held_out: false,
    })
}

fn set(tensors: &SafeTensors, part: &str, classes: usize) -> Option<ImageSet> {
    let images = tensors.tensor(&format!("{part}.images")).ok()?;
    let labels = tensors.tensor(&format!("{part}.labels")).ok()?;
    let &[count, height, width, channels] = images.shape() else { return None };
    if (images.dtype(), labels.dtype()) != (Dtype::U8, Dtype::U32) {
        return None;
    }
    let labels: Vec<u32> = bytemuck::pod_collect_to_vec(labels.data());
    let fits = labels.len() == count && labels.iter().all(|label| (*label as usize) < classes);
    fits.then(|| ImageSet { height, width, channels, classes, images: images.data().to_vec().into(), labels })
}

/// What tells a file from another one of the same length and time that has got its name: its number on the disk, and
/// the time of its last change, renaming included.
#[cfg(unix)]
pub(crate) fn identity(about: &fs::Metadata) -> [u64; 2] {
    use std::os::unix::fs::MetadataExt;
    [about.ino(), (about.ctime() as u64).wrapping_mul(1_000_000_000).wrapping_add(about.ctime_nsec() as u64)]
}

/// What tells a file from another one of the same length and time that has got its name: the time of its creation.
#[cfg(not(unix))]
pub(crate) fn identity(about: &fs::Metadata) -> [u64; 2] {
    let created = about.created().ok().and_then(|created| created.duration_since(UNIX_EPOCH).ok());
    [0, created.map_or(0, |created| created.as_nanos() as u64)]
}

fn text(hash: u64, text: &str) -> u64 {
    text.bytes().fold(mix(hash, text.len() as u64), |hash, byte| mix(hash, u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::image_set;

    /// A folder of two files, a set that stands for them, and where it is kept.
    struct Kept {
        folder: tempfile::TempDir,
        listing: Listing,
        set: DataSet,
    }

    impl Kept {
        fn new() -> Kept {
            let folder = tempfile::tempdir().unwrap();
            let paths: Vec<PathBuf> = ["a.png", "b.png"].map(|name| folder.path().join(name)).into();
            paths.iter().for_each(|path| fs::write(path, "picture").unwrap());
            let mut set = DataSet::new("x", image_set(2, 3, 1, &[0, 1]), image_set(2, 3, 1, &[1]), Vec::new());
            set.remarks.push("a remark".into());
            set.pictures = Some(Pictures::Fitted);
            Kept { folder, listing: Listing { paths, labels: vec![0, 1], ..Listing::default() }, set }
        }

        fn entry(&self, reading: &Reading) -> Entry {
            let place = self.folder.path().join("kept");
            Entry::at(&place, self.folder.path(), reading, [&self.listing, &Listing::default()]).unwrap()
        }
    }

    #[test]
    fn what_was_kept_is_what_is_loaded() {
        let kept = Kept::new();
        let entry = kept.entry(&Reading::default());
        assert_eq!(entry.load(), None);
        entry.save(&kept.set).unwrap();
        assert_eq!(kept.entry(&Reading::default()).load(), Some(kept.set));
    }

    #[test]
    fn a_changed_file_another_reading_or_a_damaged_entry_is_decoded_anew() {
        let kept = Kept::new();
        let entry = kept.entry(&Reading::default());
        entry.save(&kept.set).unwrap();
        assert_eq!(kept.entry(&Reading { image_size: Some([9, 9, 1].into()), ..Reading::default() }).load(), None);
        assert_eq!(kept.entry(&Reading { prepare: true, ..Reading::default() }).load(), None);
        let bytes = fs::read(entry.path()).unwrap();
        // The labels and the pixels of both parts.
        for at in bytes.len() - (3 * 4 + 3 * 6)..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            fs::write(entry.path(), &bytes).unwrap();
            assert_eq!(entry.load(), None, "a bit of byte {at} turned over");
        }
        fs::write(entry.path(), &bytes[..bytes.len() / 2]).unwrap();
        assert_eq!(entry.load(), None, "cut off");
        entry.save(&kept.set).unwrap();
        fs::write(kept.folder.path().join("b.png"), "another picture").unwrap();
        assert_eq!(kept.entry(&Reading::default()).load(), None, "a file has changed");
    }

    #[cfg(unix)]
    #[test]
    fn files_of_one_length_and_time_that_have_changed_names_or_folders_are_decoded_anew() {
        let kept = Kept::new();
        let at = |name: &str| kept.folder.path().join(name);
        let time = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        let paths: Vec<PathBuf> = ["0/a.png", "1/a.png"].map(at).into();
        for path in &paths {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "picture").unwrap();
            fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
        }
        let swap = |one: PathBuf, other: PathBuf| {
            fs::rename(&one, at("between")).unwrap();
            fs::rename(&other, one).unwrap();
            fs::rename(at("between"), other).unwrap();
        };
        let (files, folders) = ([at("0/a.png"), at("1/a.png")], [at("0"), at("1")]);
        for [one, other] in [files, folders] {
            let listing = Listing { paths: paths.clone(), labels: vec![0, 1], ..Listing::default() };
            let place = at("kept");
            let entry = || {
                let folder = kept.folder.path();
                Entry::at(&place, folder, &Reading::default(), [&listing, &Listing::default()]).unwrap()
            };
            entry().save(&kept.set).unwrap();
            assert!(entry().load().is_some());
            swap(one, other);
            assert_eq!(entry().load(), None);
        }
    }
}
