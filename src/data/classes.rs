//! Data sets from pictures in folders, one folder for each class.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader};
use rayon::prelude::*;

use super::beside::loose;
use super::folder::{display_name, summary};
use super::idx::MAX_BYTES;
use super::parts::Parts;
use super::source::{Pictures, Reading, Watch};
use super::{DataError, DataSet, ImageSet, MAX_CLASSES, cache};
use crate::pictures::walk::{Place, not_read};
use crate::pictures::{self, Found, Preparation, fit, walk};
use crate::run_files::{self, ARCHITECTURE, BEST, LAST};

/// Height and width that pictures are resized to where they differ in size and nobody asks for a size.
const COMMON: usize = 28;
/// Pictures that are all of one size keep it if no side is longer than this.
const LARGEST: usize = 256;
/// The most pictures that are looked at for colour.
const SAMPLED: usize = 200;
/// The label of a picture that a network is not sure of, and the folder where `classify --sort-into` puts it.
pub const UNSURE: &str = "unsure";
/// Pictures have the same shape if their proportions differ by at most one part in this many.
const SHAPES: usize = 50;

/// The pictures of one part, class by class, in the order of their names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Listing {
    pub paths: Vec<PathBuf>,
    pub labels: Vec<u32>,
    /// The number of files that are not named like pictures, by their endings.
    pub kinds: BTreeMap<String, usize>,
    /// Folders that cannot be read, and why.
    pub unreadable: Vec<String>,
}

/// Loads a folder with a subfolder of pictures for each class, or with two such folders, one to train and one to test
/// with.
///
/// The two are called `train` or `training`, and `test` or `testing`, in any letter case. Where there is no folder to
/// test with, `val`, `valid` or `validation` is used instead. Without any of these, a folder called `train` or
/// `training` counts as one to train with only if it contains folders of classes: two, or one where no other folder has
/// pictures. What lies beside the two is ignored, and so are pictures in no class's folder. Remarks say so; they also
/// name folders that have no pictures other than those of runs, and files of kinds that are not read.
///
/// Classes are named after their folders, in numerical order where the names are numbers. All pictures are resized to
/// one size: their own where they share one, else 28x28, or what `reading` says; pictures of another shape are
/// stretched. They become grey where none of those looked at has colours. A picture that cannot be read is left out,
/// and so is a folder below the one that is given; remarks say so.
///
/// Decoded pictures are kept on disk, and taken from there as long as no file's name, length or time has changed.
/// `watch` is told of pictures as they are decoded.
///
/// # Errors
/// A folder without such folders, several folders that may be the same part, fewer than two classes (one is enough to
/// test on), two classes of the same name, a class without readable pictures or without any to train with, and more
/// unreadable pictures than readable ones.
pub fn load(folder: &Path, reading: &Reading, watch: Watch) -> Result<DataSet, DataError> {
    let parts = Parts::of(folder)?;
    let root = parts.as_ref().map_or(folder, |parts| parts.train.as_path());
    let classes = Classes::of(root)?;
    let is_one = matches!(&classes.folders[..], [(_, only)] if holding_classes(only).is_none());
    let least = if is_one && reading.tests_on_all() { 1 } else { 2 };
    if !(least..=MAX_CLASSES).contains(&classes.folders.len()) {
        return Err(DataError::UnknownSource { path: root.into(), found: classes.misfit() });
    }
    let train = list(classes.folders.iter().map(|(_, path)| path.as_path()).zip(0..));
    let mut left_out: Vec<String> = parts.iter().filter_map(Parts::left_out).collect();
    left_out.extend(parts.as_ref().and_then(|_| loose(folder)));
    left_out.extend(classes.left_out(root, &train));
    left_out.extend(classes.unsure());
    let mut test = Listing::default();
    if let Some(Parts { test: Some(folder), .. }) = &parts {
        let labels: HashMap<&str, u32> = classes.folders.iter().map(|(name, _)| name.as_str()).zip(0..).collect();
        let tested = Classes::of(folder)?;
        if let Some((_, other)) = tested.folders.iter().find(|(name, _)| !labels.contains_key(name.as_str())) {
            return Err(DataError::NotTrained { folder: other.clone(), train: root.into() });
        }
        test = list(tested.folders.iter().map(|(name, path)| (path.as_path(), labels[name.as_str()])));
        left_out.extend(tested.left_out(folder, &test));
    }
    let kept = cache::Entry::of(folder, reading, [&train, &test]);
    let began = Instant::now();
    let known = kept.as_ref().and_then(cache::Entry::load);
    let is_new = known.is_none();
    let mut set = match known {
        Some(set) => set,
        None => read(folder, [train, test], classes.folders.len(), reading, watch)?,
    };
    set.class_names = classes.names();
    classes.refuse_empty(&set)?;
    if let Some(entry) = kept.filter(|_| is_new && began.elapsed().as_secs_f64() > cache::WORTHWHILE) {
        match entry.save(&set) {
            Ok(()) => {
                let (count, seconds) = (set.train.len() + set.test.len(), began.elapsed().as_secs_f64());
                let kept = entry.path().display();
                set.remarks.push(format!("{count} pictures were decoded in {seconds:.1} s and are kept in {kept}"));
            }
            Err(error) => log::warn!("{}: decoded pictures are not kept: {error}", entry.path().display()),
        }
    }
    // Not cached: what lies beside the two parts may change while their pictures stay the same.
    set.remarks.extend(left_out);
    Ok(set)
}

/// The set of the pictures to train and to test with, without the names of its classes.
fn read(
    folder: &Path,
    mut listings: [Listing; 2],
    classes: usize,
    reading: &Reading,
    watch: Watch,
) -> Result<DataSet, DataError> {
    let decoded = |[train, test]: &mut [Listing; 2], image: [usize; 3]| -> Result<_, DataError> {
        let (done, all) = (AtomicUsize::new(0), train.paths.len() + test.paths.len());
        let tell = || watch(1 + done.fetch_add(1, Ordering::Relaxed), all);
        let part = |listing: &mut Listing| decode(folder, listing, image, classes, reading.prepare, &tell);
        Ok([part(train)?, part(test)?])
    };
    let (image, mut chosen) = image_of(&listings, reading);
    let [(mut train, of_train), (mut test, of_test)] = decoded(&mut listings, image)?;
    let mut left_out: Vec<String> = of_train.into_iter().chain(of_test).collect();
    if !left_out.is_empty() {
        // A picture that breaks off tells its size nevertheless: the others alone may share one.
        let (of_others, remark) = image_of(&listings, reading);
        if of_others != image {
            // Two sets at once may be more than there is room for.
            drop((train, test));
            let [(again, of_train), (tested, of_test)] = decoded(&mut listings, of_others)?;
            (train, test) = (again, tested);
            left_out.extend(of_train.into_iter().chain(of_test));
        }
        chosen = remark;
    }
    Ok(DataSet {
        name: display_name(folder),
        train,
        test,
        class_names: Vec::new(),
        remarks: chosen.into_iter().chain(left_out).collect(),
        pictures: Some(if reading.prepare { Pictures::Prepared } else { Pictures::Fitted }),
        held_out: false,
    })
}

/// How many folders of classes a folder contains.
pub(super) fn classes_in(folder: &Path) -> usize {
    Classes::of(folder).map_or(0, |classes| classes.folders.len())
}

/// The folders directly below `root`, by name and path, in the order of their names; hidden ones are skipped.
pub(super) fn folders(root: &Path) -> Result<Vec<(String, PathBuf)>, DataError> {
    let cannot_read = |reason| DataError::CannotRead { path: root.into(), reason };
    let mut folders = Vec::new();
    for entry in root.read_dir().map_err(cannot_read)? {
        let entry = entry.map_err(cannot_read)?;
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        if !name.starts_with('.') && path.is_dir() {
            folders.push((name, path));
        }
    }
    folders.sort();
    Ok(folders)
}

/// The subfolders of a folder, grouped by the pictures in them.
#[derive(Default)]
struct Classes {
    /// The classes, by name and path, in the order of their labels.
    folders: Vec<(String, PathBuf)>,
    /// Folders without pictures.
    without: Vec<(String, PathBuf)>,
    /// Folders whose pictures all belong to runs.
    runs: Vec<String>,
    /// Folders that cannot be read, and why, where nothing beside them is a picture.
    unreadable: Vec<String>,
}

impl Classes {
    /// # Errors
    /// A folder that cannot be read, and two classes that cannot be told apart.
    fn of(root: &Path) -> Result<Classes, DataError> {
        let mut classes = Classes::default();
        for (name, path) in folders(root)? {
            if has_pictures(&path) {
                classes.folders.push((name, path));
            } else if walk(&path).any(|found| matches!(found, Found::File(_))) {
                classes.runs.push(name);
            } else {
                let unreadable = list(std::iter::once((path.as_path(), 0))).unreadable;
                if unreadable.is_empty() {
                    classes.without.push((name, path));
                }
                classes.unreadable.extend(unreadable);
            }
        }
        // 10 comes after 9.
        let number = |name: &str| name.parse::<u64>().map_or(u64::MAX, |number| number);
        classes.folders.sort_by_cached_key(|(name, _)| (number(name), name.clone()));
        if let Some([(name, _), _]) = classes.folders.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let found = format!("two folders that are both {name}, as their names are not UTF-8");
            return Err(DataError::UnknownSource { path: root.into(), found });
        }
        Ok(classes)
    }

    fn names(&self) -> Vec<String> {
        self.folders.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Why too few or too many folders make no classes, and what may have been meant.
    fn misfit(&self) -> String {
        let (found, only) = match &self.folders[..] {
            [] => ("no folders with pictures, no IDX files and no train.csv".to_owned(), None),
            [(name, path)] => (format!("pictures of one class only, {name}"), Some(path)),
            many => return format!("{} folders, but at most {MAX_CLASSES} classes are allowed", many.len()),
        };
        if let Some(inside) = only.and_then(|path| holding_classes(path)) {
            return format!("{found}; did you mean {}?", inside.display());
        }
        if let Some(remark) = unread(&self.unreadable) {
            return format!("{found}; {remark}");
        }
        let kinds = list(self.without.iter().map(|(_, path)| (path.as_path(), 0))).kinds;
        match kinds.keys().any(|kind| not_read(kind).is_some()) {
            true => format!("{found}, but files of kinds that are not read: {}. {CONVERT}", listed(&kinds)),
            false => found,
        }
    }

    /// Remarks on pictures in no class's folder; on folders without pictures, which are no classes, though somebody may
    /// have meant them to be; on folders of runs; on folders that cannot be read; and on files in the classes that are not
    /// read. The classes' own are in their `listing`.
    fn left_out(&self, root: &Path, listing: &Listing) -> Vec<String> {
        let mut remarks: Vec<String> = loose(root).into_iter().collect();
        let root = display_name(root);
        if !self.without.is_empty() {
            let names = summary(&self.without.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
            remarks.push(format!(
                "folders in {root} without a file that ends in .png, .jpg, .gif or the like are ignored: {names}"
            ));
        }
        if !self.runs.is_empty() {
            let names = summary(&self.runs);
            remarks.push(format!("folders in {root} whose pictures were made by runs are ignored: {names}"));
        }
        remarks.extend(unread(&[&self.unreadable[..], &listing.unreadable].concat()));
        let kinds = &listing.kinds;
        if !kinds.is_empty() {
            let convert = kinds.keys().any(|kind| not_read(kind).is_some());
            let advice = if convert { format!(". {CONVERT}") } else { String::new() };
            remarks.push(format!("files of other kinds in {root} are left out: {}{advice}", listed(kinds)));
        }
        remarks
    }

    /// A remark on a folder that counts as a class but may only be left from sorting by a model's answers.
    fn unsure(&self) -> Option<String> {
        self.folders.iter().any(|(name, _)| name == UNSURE).then(|| {
            format!(
                "the folder {UNSURE} is taken as a class, though `classify --sort-into` puts pictures there that it \
                 is not sure of; move it away to leave it out"
            )
        })
    }

    /// Refuses a class with nothing to learn from: none of its pictures can be read.
    fn refuse_empty(&self, set: &DataSet) -> Result<(), DataError> {
        match set.train.counts().iter().position(|count| *count == 0) {
            Some(empty) => Err(DataError::EmptyClass { folder: self.folders[empty].1.clone() }),
            None => Ok(()),
        }
    }
}

/// What to do about pictures of other kinds.
const CONVERT: &str = "Convert pictures to JPEG or PNG";

/// What is said after the first of several that cannot be read.
const MORE: &str = ", and more; `inkgrad classify` lists them all";

/// A remark on folders that cannot be read, each given with the reason.
fn unread(folders: &[String]) -> Option<String> {
    let first = folders.first()?;
    let (are, more) = if folders.len() == 1 { ("folder is", "") } else { ("folders are", MORE) };
    Some(format!("{} {are} left out: {first}{more}", folders.len()))
}

/// The folder itself if it holds several folders with pictures, or the only one below it that does: the contents of an
/// archive often lie in a folder of their own.
fn holding_classes(folder: &Path) -> Option<PathBuf> {
    match &Classes::of(folder).ok()?.folders[..] {
        [] => None,
        [(_, only)] => holding_classes(only),
        _ => Some(folder.into()),
    }
}

/// The ending of a file that is not named like a picture.
fn kind(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_lowercase()
}

/// `12 .heic, 1 .txt`.
fn listed(kinds: &BTreeMap<String, usize>) -> String {
    let kind = |(ending, count): (&String, &usize)| match ending.as_str() {
        "" => format!("{count} without an ending"),
        ending => format!("{count} .{ending}"),
    };
    summary(&kinds.iter().map(kind).collect::<Vec<_>>())
}

/// Whether a folder belongs to a run or to a sweep, whose curves, snapshots and sheets are no pictures to learn from.
fn is_output(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).is_file();
    let is_sweep = has("sweep.csv") && has("sweep.md");
    let kept = [ARCHITECTURE, LAST, BEST];
    is_sweep || run_files::is_run(folder) && kept.into_iter().any(has)
}

pub(super) fn has_pictures(folder: &Path) -> bool {
    below(folder).any(|found| matches!(found, Found::File(_)))
}

/// All files below a folder, and folders that cannot be read, except those of runs, which `train` and `sweep` create
/// wherever they are started.
pub(super) fn below(folder: &Path) -> impl Iterator<Item = Found> {
    // Files of one folder come one after another.
    let mut newest: Option<(PathBuf, bool)> = None;
    walk(folder).filter(move |found| {
        let (Found::File(Place { path, .. }) | Found::OtherFile(path) | Found::Failed(path, _)) = found else {
            return false;
        };
        let Some(parent) = path.parent() else { return false };
        let known = newest.as_ref().filter(|(path, _)| path == parent).map(|(_, in_run)| *in_run);
        let in_run = known.unwrap_or_else(|| {
            let in_run = parent.ancestors().take_while(|above| above.starts_with(folder)).any(is_output);
            newest = Some((parent.into(), in_run));
            in_run
        });
        !in_run
    })
}

/// The files below `folders`, each of which is given with the label of its pictures.
fn list<'a>(folders: impl Iterator<Item = (&'a Path, u32)>) -> Listing {
    let mut listing = Listing::default();
    for (folder, label) in folders {
        for found in below(folder) {
            match found {
                Found::File(place) => listing.paths.push(place.path),
                Found::OtherFile(path) => *listing.kinds.entry(kind(&path)).or_default() += 1,
                Found::Failed(path, reason) => {
                    listing.unreadable.push(format!("{} {reason}", pictures::visible(&path.to_string_lossy())));
                }
                Found::FolderLink => {}
            }
        }
        listing.labels.resize(listing.paths.len(), label);
    }
    listing
}

/// The size that pictures are resized to, which those to train with decide, and a remark on it where there is something
/// to say.
fn image_of(listings: &[Listing; 2], reading: &Reading) -> ([usize; 3], Option<String>) {
    let of = |listing: &Listing| -> Vec<Head> { listing.paths.par_iter().filter_map(|path| head(path)).collect() };
    let heads = listings.each_ref().map(of);
    let channels = || {
        let coloured = heads[0].iter().any(|(_, _, coloured)| *coloured) && !reading.prepare;
        if coloured && is_coloured(&listings[0].paths) { 3 } else { 1 }
    };
    let of_other_shape = |size| if reading.prepare { None } else { stretched(&heads, size) };
    if let Some(size) = reading.image_size {
        let shape = [size.height, size.width];
        return ([size.height, size.width, size.channels.unwrap_or_else(channels)], of_other_shape(shape));
    }
    let sides = |heads: &[Head], pick: fn(&Head) -> usize| {
        let least = heads.iter().map(pick).min().unwrap_or(COMMON);
        (least, heads.iter().map(pick).max().unwrap_or(COMMON))
    };
    let (heights, widths) = (sides(&heads[0], |head| head.0), sides(&heads[0], |head| head.1));
    let same = heights.0 == heights.1 && widths.0 == widths.1;
    if same && heights.1.max(widths.1) <= LARGEST && !reading.prepare {
        return ([heights.0, widths.0, channels()], of_other_shape([heights.0, widths.0]));
    }
    let text = |(least, most)| if least == most { format!("{least}") } else { format!("{least} to {most}") };
    let is_stretched = of_other_shape([COMMON, COMMON]).is_some();
    let stretched = if is_stretched { ", stretched where they are not square" } else { "" };
    let all = heads.concat();
    let remark = format!(
        "pictures {} pixels high and {} wide are brought to {COMMON}x{COMMON}{stretched}; --image-size sets another \
         size",
        text(sides(&all, |head| head.0)),
        text(sides(&all, |head| head.1))
    );
    ([COMMON, COMMON, channels()], Some(remark))
}

/// A remark on pictures, to train and to test with, of another shape than `[height, width]`, to which they are resized
/// nevertheless.
fn stretched([train, test]: &[Vec<Head>; 2], [height, width]: [usize; 2]) -> Option<String> {
    let is_other = |(high, wide, _): &&Head| {
        let (own, wanted) = (high.saturating_mul(width), wide.saturating_mul(height));
        own.abs_diff(wanted) > own.max(wanted) / SHAPES
    };
    let [of_train, of_test] = [train, test].map(|heads| heads.iter().filter(is_other).count());
    let counts = match test.len() {
        0 => format!("{of_train} of {}", train.len()),
        tested => format!("{of_train} of {} to train with, {of_test} of {tested} to test with", train.len()),
    };
    (of_train + of_test > 0)
        .then(|| format!("pictures of another shape than {height}x{width} are stretched to it: {counts}"))
}

/// Height and width of a picture as it is shown, and whether it may have colours.
type Head = (usize, usize, bool);

/// Those of a picture that can be read, without decoding it.
fn head(path: &Path) -> Option<Head> {
    // Opening a pipe would wait for its writer.
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut decoder = ImageReader::open(path).ok()?.with_guessed_format().ok()?.into_decoder().ok()?;
    let (width, height) = decoder.dimensions();
    let (height, width) = match decoder.orientation().ok()? {
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => {
            (width, height)
        }
        _ => (height, width),
    };
    Some((height as usize, width as usize, decoder.color_type().has_color()))
}

/// Whether any picture in a sample, spread over all, shows more than greys: many grey scans are stored in colour.
fn is_coloured(paths: &[PathBuf]) -> bool {
    let every = paths.len().div_ceil(SAMPLED).max(1);
    let coloured = |image: &DynamicImage| {
        image.to_rgb8().pixels().any(|pixel| {
            let [r, g, b] = pixel.0;
            r.max(g).max(b) - r.min(g).min(b) > 16
        })
    };
    let sample: Vec<&PathBuf> = paths.iter().step_by(every).collect();
    sample.into_par_iter().any(|path| pictures::read(path).is_ok_and(|picture| coloured(&picture.image)))
}

/// All pictures of a listing as one set, without those that cannot be read, which leave the listing, and a remark on
/// these. Calls `tell` after each.
fn decode(
    folder: &Path,
    listing: &mut Listing,
    image @ [height, width, channels]: [usize; 3],
    classes: usize,
    prepare: bool,
    tell: &(dyn Fn() + Sync),
) -> Result<(ImageSet, Option<String>), DataError> {
    let size = height * width * channels;
    if (size as u64).saturating_mul(listing.paths.len() as u64) > MAX_BYTES {
        let shape = format!("{} x {height} x {width} x {channels}", listing.paths.len());
        return Err(DataError::TooLarge { path: folder.into(), shape, limit: MAX_BYTES });
    }
    let pixels = |path: &PathBuf| {
        let pixels = pictures::read(path).map(|picture| match prepare {
            true => pictures::prepare(&picture.image, image, &Preparation::default()).pixels,
            false => fit(&picture.image, image),
        });
        tell();
        pixels
    };
    let decoded: Vec<Result<Vec<u8>, pictures::PictureError>> = listing.paths.par_iter().map(pixels).collect();
    let mut set = ImageSet { height, width, channels, classes, ..ImageSet::default() };
    let (paths, labels) = (std::mem::take(&mut listing.paths), std::mem::take(&mut listing.labels));
    let count = paths.len();
    let mut images = Vec::with_capacity(count * size);
    let mut failed: Vec<String> = Vec::new();
    for ((pixels, label), path) in decoded.into_iter().zip(labels).zip(paths) {
        match pixels {
            Ok(pixels) => {
                images.extend_from_slice(&pixels);
                set.labels.push(label);
                listing.paths.push(path);
            }
            Err(error) => failed.push(format!("{} {error}", pictures::visible(&path.to_string_lossy()))),
        }
    }
    set.images = images.into();
    listing.labels.clone_from(&set.labels);
    let Some(first) = failed.first() else { return Ok((set, None)) };
    let are = if failed.len() == 1 { "is" } else { "are" };
    let remark = format!("{} of {count} pictures {are} left out: {first}", failed.len());
    if failed.len() > set.len() {
        return Err(DataError::UnknownSource { path: folder.into(), found: remark });
    }
    let more = if failed.len() > 1 { MORE } else { "" };
    Ok((set, Some(remark + more)))
}

#[cfg(test)]
#[path = "classes_tests.rs"]
mod tests;
