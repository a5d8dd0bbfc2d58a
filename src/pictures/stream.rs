//! Turns tasks into batches of prepared pictures, ahead of the consumer: one thread finds files, one gathers them, all
//! cores decode a batch while the previous one is worked on, and there are never more than a few batches in memory.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use image::codecs::png::PngEncoder;
use image::{DynamicImage, ExtendedColorType, GrayImage, ImageEncoder};
use rayon::prelude::*;

use super::decode::read;
use super::prepare::{Preparation, Prepared, prepare};
use super::source::{Source, Task};
use super::walk::{ENDINGS, Place};
use crate::files::{Existing, Unfinished};

/// Pictures in a batch: enough to keep all cores and a device busy, few enough that nobody waits for a stop.
pub const BATCH: usize = 256;
/// Tasks that may be found before they are gathered.
const AHEAD: usize = 32;
/// How long a batch that is not full waits for the next task, and how long until a stop is noticed.
const PATIENCE: Duration = Duration::from_millis(100);

/// What became of a task.
#[derive(Clone, PartialEq, Debug)]
pub struct Item {
    pub name: String,
    /// The file; a row of a CSV file has none.
    pub path: Option<PathBuf>,
    /// A row of a CSV file, counted from 1.
    pub row: Option<u64>,
    pub truth: Option<usize>,
    /// Whether the file has another format's name.
    pub misnamed: bool,
    /// Pages of a TIFF file that are not looked at.
    pub further_pages: u32,
    /// What the network is to see, or why there is nothing to see.
    pub prepared: Result<Prepared, String>,
}

/// Items in the order of their tasks, and what was passed over on the way to them.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Batch {
    pub items: Vec<Item>,
    /// How many pictures in formats that are not read have each ending.
    pub not_read: BTreeMap<&'static str, u64>,
    pub other_files: u64,
    pub folder_links: u64,
}

impl Batch {
    /// Whether it only signals that nothing has come for a while.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.not_read.is_empty() && self.other_files == 0 && self.folder_links == 0
    }
}

/// A file's picture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// What the network is to see.
    pub prepared: Prepared,
    /// Whether its name is another format's.
    pub misnamed: bool,
    /// Pages of a TIFF file after this one.
    pub further_pages: u32,
}

/// How pictures become what a network sees.
#[derive(Clone, Debug)]
pub struct Work {
    /// Height, width and channels.
    pub input: [usize; 3],
    pub preparation: Preparation,
    /// A folder in which to show what the network sees.
    pub show: Option<PathBuf>,
}

impl Work {
    /// Decodes and prepares one file, as a batch does.
    ///
    /// # Errors
    /// A message that says why it cannot be read.
    pub fn file(&self, path: &Path) -> Result<Seen, String> {
        let picture = read(path).map_err(|error| error.to_string())?;
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_lowercase();
        let said = image::ImageFormat::from_extension(&ending);
        let misnamed = ENDINGS.contains(&ending.as_str()) && said.is_some_and(|said| said != picture.format);
        let prepared = prepare(&picture.image, self.input, &self.preparation);
        Ok(Seen { prepared, misnamed, further_pages: picture.further_pages })
    }

    /// The same for a row of pixels: as many as the network takes, or a grey square.
    ///
    /// # Errors
    /// A message that says how many they are, if they are neither.
    pub fn row(&self, pixels: Vec<u8>) -> Result<Prepared, String> {
        let ([height, width, channels], found) = (self.input, pixels.len());
        if channels != 1 && found == height * width * channels {
            return Ok(Prepared { pixels, as_is: true, inverted: false, cropped: false, blank: false });
        }
        let [height, width] = sides(found, self.input)?;
        let image = GrayImage::from_raw(width as u32, height as u32, pixels).ok_or("is no image")?;
        Ok(prepare(&DynamicImage::from(image), self.input, &self.preparation))
    }

    /// Decodes and prepares the picture of a task.
    ///
    /// # Errors
    /// A message, if what is to be shown cannot be written.
    pub fn item(&self, task: Task) -> Result<Item, String> {
        let of_row = |prepared| Seen { prepared, misnamed: false, further_pages: 0 };
        let (name, path, row, truth, seen, shown) = match task {
            Task::File { name, place, truth, input } => {
                let (seen, shown) = (self.file(&place.path), below(input.as_deref()).join(shown_as(&place)));
                (name, Some(place.path), None, truth, seen, shown)
            }
            Task::Row { name, row, pixels, truth, input } => {
                let shown = below(input.as_deref()).join(format!("{row:06}"));
                (name, None, Some(row), truth, self.row(pixels).map(of_row), shown)
            }
            Task::Failed { name, row, reason } => (name, None, row, None, Err(reason), PathBuf::new()),
            Task::NotRead(_) | Task::OtherFile | Task::FolderLink => {
                (String::new(), None, None, None, Err(String::new()), PathBuf::new())
            }
        };
        if let (Some(folder), Ok(seen)) = (&self.show, &seen) {
            show(&folder.join(shown), &seen.prepared, self.input)?;
        }
        let (misnamed, further_pages) = seen.as_ref().map_or((false, 0), |seen| (seen.misnamed, seen.further_pages));
        Ok(Item { name, path, row, truth, misnamed, further_pages, prepared: seen.map(|seen| seen.prepared) })
    }
}

/// Height and width of the image that a row of `pixels` pixels makes: the network's, or a square's.
///
/// # Errors
/// A message that says how many they are, if they make neither.
pub(super) fn sides(pixels: usize, [height, width, channels]: [usize; 3]) -> Result<[usize; 2], String> {
    let side = pixels.isqrt();
    if pixels == height * width * channels {
        Ok([height, width])
    } else if pixels == side * side {
        Ok([side, side])
    } else {
        Err(format!("has {pixels} pixels, which are neither a square nor the network's {height}x{width}x{channels}"))
    }
}

/// The folder in which an input's pictures are shown: its name, if there are several inputs.
fn below(input: Option<&Path>) -> &Path {
    input.unwrap_or(Path::new(""))
}

/// The path below the given folder, without anything that would lead out of another one.
fn shown_as(place: &Place) -> PathBuf {
    place.within().components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

/// Writes what the network sees, with `.png` appended to the picture's own name.
fn show(path: &Path, prepared: &Prepared, [height, width, channels]: [usize; 3]) -> Result<(), String> {
    let mut name = path.to_owned().into_os_string();
    name.push(".png");
    let path = PathBuf::from(name);
    let colour = match channels {
        1 => ExtendedColorType::L8,
        2 => ExtendedColorType::La8,
        3 => ExtendedColorType::Rgb8,
        _ => ExtendedColorType::Rgba8,
    };
    let cannot = |error: String| format!("--show-input: cannot write {}: {error}", path.display());
    let mut bytes = Vec::new();
    let encoded = PngEncoder::new(&mut bytes).write_image(&prepared.pixels, width as u32, height as u32, colour);
    encoded.map_err(|error| cannot(error.to_string()))?;
    let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    folder.and_then(|()| put(&path, &bytes)).map_err(|error| cannot(error.to_string()))
}

/// Writes a picture whole or not at all: if closing the file were left to write the last bytes, nobody would be told of
/// a full disk.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = Unfinished::create(path)?;
    file.write_all(bytes)?;
    file.finish_soon(Existing::Replace)
}

/// Starts the threads, which end when the stream is dropped, or soon after `stop` is set.
///
/// Each item is a batch; an error ends the stream. If a source takes its time, like a list that somebody is still
/// writing, what has come forms a batch that is not full, and then there is an empty one now and then, so that the
/// consumer can attend to what is done. After `stop` a batch may have fewer items than it began with, always the first
/// ones.
pub fn stream(source: Source, work: Work, stop: Arc<AtomicBool>) -> Receiver<Result<Batch, String>> {
    let (found_out, found) = sync_channel(AHEAD);
    let (tasks_out, tasks_in) = sync_channel::<(Vec<Task>, Batch)>(1);
    let (out, batches) = sync_channel(1);
    let input = work.input;
    thread::spawn(move || find(source, input, &found_out));
    let stops = Arc::clone(&stop);
    thread::spawn(move || gather(&found, &tasks_out, &stops));
    thread::spawn(move || {
        for (tasks, batch) in tasks_in {
            let decoded = decode(tasks, batch, &work, &stop);
            let last = decoded.is_err() || stop.load(Ordering::Relaxed);
            if out.send(decoded).is_err() || last {
                return;
            }
        }
    });
    batches
}

/// Finds tasks until nobody wants more. It may wait for a list without end, so nobody waits for this thread.
fn find(source: Source, input: [usize; 3], out: &SyncSender<Task>) {
    for task in source.tasks(Some(input)) {
        if out.send(task).is_err() {
            return;
        }
    }
}

/// Makes batches of tasks as they come, until there are no more or `stop` is set.
fn gather(found: &Receiver<Task>, out: &SyncSender<(Vec<Task>, Batch)>, stop: &AtomicBool) {
    let (mut tasks, mut batch, mut begun) = (Vec::new(), Batch::default(), false);
    loop {
        let next = found.recv_timeout(PATIENCE);
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let nothing_came = next == Err(RecvTimeoutError::Timeout);
        match next {
            Ok(Task::NotRead(ending)) => *batch.not_read.entry(ending).or_default() += 1,
            Ok(Task::OtherFile) => batch.other_files += 1,
            Ok(Task::FolderLink) => batch.folder_links += 1,
            Ok(task) => tasks.push(task),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let _ = out.send((tasks, batch));
                return;
            }
        }
        if tasks.len() == BATCH || nothing_came && (begun || !tasks.is_empty()) {
            begun = true;
            if out.send((std::mem::take(&mut tasks), std::mem::take(&mut batch))).is_err() {
                return;
            }
        }
    }
}

fn decode(tasks: Vec<Task>, batch: Batch, work: &Work, stop: &AtomicBool) -> Result<Batch, String> {
    let decoded = tasks.into_par_iter().with_max_len(8).map(|task| match stop.load(Ordering::Relaxed) {
        true => None,
        false => Some(work.item(task)),
    });
    let decoded: Vec<Option<Result<Item, String>>> = decoded.collect();
    // What comes after the first task that was skipped is left for another time as well.
    let items = decoded.into_iter().map_while(|item| item).collect::<Result<_, _>>()?;
    Ok(Batch { items, ..batch })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(names: &[PathBuf], stop: bool) -> Vec<Batch> {
        let source = Source { given: names.into(), ..Source::default() };
        let work = Work { input: [4, 4, 1], preparation: Preparation::default(), show: None };
        stream(source, work, Arc::new(AtomicBool::new(stop))).into_iter().map(Result::unwrap).collect()
    }

    #[test]
    fn items_come_in_the_order_of_their_tasks_and_none_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        for i in 0..BATCH * 2 + 10 {
            let side = 4 + i as u32 % 60;
            GrayImage::new(side, side).save(folder.path().join(format!("{i:04}.png"))).unwrap();
        }
        std::fs::write(folder.path().join("0100.png"), "no picture").unwrap();
        let batches = run(&[folder.path().into()], false);
        let items: Vec<Item> = batches.into_iter().flat_map(|batch| batch.items).collect();
        assert_eq!(items.len(), BATCH * 2 + 10);
        for (i, item) in items.iter().enumerate() {
            assert!(item.name.ends_with(&format!("/{i:04}.png")), "{}", item.name);
            assert_eq!(item.prepared.is_err(), i == 100);
        }
    }

    #[test]
    fn a_batch_does_not_wait_until_it_is_full_and_a_stop_does_not_wait_for_the_source() {
        let (found_out, found) = sync_channel(8);
        let (out, batches) = sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let task = |name: &str| Task::Failed { name: name.into(), row: None, reason: String::new() };
        for found in [task("a"), Task::OtherFile, task("b")] {
            found_out.send(found).unwrap();
        }
        let stops = Arc::clone(&stop);
        let gathers = thread::spawn(move || gather(&found, &out, &stops));
        let long = Duration::from_secs(60);
        let (tasks, batch) = batches.recv_timeout(long).unwrap();
        assert_eq!((tasks, batch.other_files), (vec![task("a"), task("b")], 1));
        let (tasks, batch) = batches.recv_timeout(long).unwrap();
        assert!(tasks.is_empty() && batch.is_empty());
        // The source is still there.
        stop.store(true, Ordering::Relaxed);
        while batches.recv_timeout(long).is_ok() {}
        gathers.join().unwrap();
        assert!(found_out.send(task("c")).is_err());
    }

    #[test]
    fn a_stream_that_is_stopped_ends() {
        let folder = tempfile::tempdir().unwrap();
        GrayImage::new(4, 4).save(folder.path().join("a.png")).unwrap();
        assert!(run(&[folder.path().into()], true).iter().all(|batch| batch.items.is_empty()));
    }

    #[test]
    fn a_batch_that_is_stopped_has_its_first_items_without_a_gap() {
        let work = Work { input: [4, 4, 1], preparation: Preparation::default(), show: None };
        let task = |i: usize| Task::Failed { name: i.to_string(), row: None, reason: String::new() };
        let tasks: Vec<Task> = (0..BATCH).map(task).collect();
        let (stop, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
        let batches: Vec<Result<Batch, String>> = thread::scope(|scope| {
            // Now this task is skipped, now that one.
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    stop.fetch_xor(true, Ordering::Relaxed);
                }
            });
            let batches = (0..50).map(|_| decode(tasks.clone(), Batch::default(), &work, &stop)).collect();
            is_over.store(true, Ordering::Relaxed);
            batches
        });
        for batch in batches {
            for (i, item) in batch.unwrap().items.iter().enumerate() {
                assert_eq!(item.name, i.to_string());
            }
        }
    }

    #[test]
    fn a_picture_under_another_formats_name_is_read_as_what_it_is_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jpg");
        GrayImage::new(4, 4).save_with_format(&path, image::ImageFormat::Png).unwrap();
        assert!(run(&[path], false)[0].items[0].misnamed);
    }

    #[test]
    fn a_row_is_the_networks_size_or_a_square() {
        let work = Work { input: [2, 8, 1], preparation: Preparation::default(), show: None };
        assert_eq!(work.row(vec![0; 16]).unwrap().pixels.len(), 16);
        assert_eq!(work.row(vec![0; 25]).unwrap().pixels.len(), 16);
        assert!(work.row(vec![0; 24]).unwrap_err().contains("24 pixels"));
        let (work, colours) = (Work { input: [1, 2, 3], ..work }, vec![1, 2, 3, 4, 5, 6]);
        assert_eq!(work.row(colours.clone()).unwrap().pixels, colours);
    }
}
