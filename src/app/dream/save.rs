//! Views as PNG files, each under a name of its own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::wish::Wish;
use crate::app::post::Post;
use crate::files::Existing;
use crate::report::grid::Grid;
use crate::report::png::PngGrid;
use crate::report::{Colours, ReportError};

/// The highest number that is tried.
const MOST: u32 = 9999;

/// A view to be written.
pub struct Job {
    pictures: Vec<u8>,
    grid: Grid,
    folder: PathBuf,
}

impl Job {
    /// From a wish's pictures, the current digit first; `None` if they do not fit the wish.
    pub fn of(wish: &Wish, pictures: &[u8], image: [usize; 3], scale: u32, folder: &Path) -> Option<Job> {
        let size: usize = image.iter().product();
        let [rows, columns] = wish.layout().map(|n| n as u64);
        let view = pictures.get(size..).filter(|view| size > 0 && view.len() == wish.count() * size)?;
        let grid = Grid { rows, columns, picture: image, scale: scale.max(1), gap: 0 };
        Some(Job { pictures: view.to_vec(), grid, folder: folder.to_owned() })
    }
}

/// Saves one view at a time, in a thread of its own.
#[derive(Default)]
pub struct Saver {
    post: Arc<Post<Option<Result<PathBuf, String>>>>,
    saving: bool,
    saved: Option<PathBuf>,
}

impl Saver {
    /// Begins to save; `wake` is called when that is done.
    pub fn save(&mut self, job: Job, wake: impl Fn() + Send + 'static) {
        self.saving = true;
        let post = Arc::clone(&self.post);
        let started = std::thread::Builder::new().name("save".into()).spawn(move || {
            let saved = numbered(&job);
            post.send(|mail| *mail = Some(saved));
            wake();
        });
        if let Err(error) = started {
            self.post.send(|mail| *mail = Some(Err(format!("cannot start a thread to save the view: {error}"))));
        }
    }

    /// Takes in what has come; returns what went wrong.
    pub fn poll(&mut self) -> Option<String> {
        let saved = self.post.mail().take()?;
        self.saving = false;
        match saved {
            Ok(path) => {
                self.saved = Some(path);
                None
            }
            Err(problem) => Some(problem),
        }
    }

    /// Waits until what is being saved is saved, but no longer than `patience`; returns why it is not.
    pub fn finish(&mut self, patience: Duration) -> Option<String> {
        if self.saving {
            self.post.wait_while(patience, Option::is_none);
        }
        let problem = self.poll();
        let seconds = patience.as_secs();
        let late = || format!("the view may not be saved: that took longer than {seconds} seconds. Save it again");
        problem.or_else(|| self.saving.then(late))
    }

    /// The file that was written last.
    pub fn saved(&self) -> Option<&Path> {
        self.saved.as_deref()
    }
    pub fn is_saving(&self) -> bool {
        self.saving
    }
}

/// Writes `dream-0001.png`, or the next number that is free; returns the path.
///
/// # Errors
/// The system's error, and what to do about it.
pub fn numbered(job: &Job) -> Result<PathBuf, String> {
    for number in 1..=MOST {
        let path = job.folder.join(format!("dream-{number:04}.png"));
        // A name that is taken after this check is found when the file is written.
        if path.symlink_metadata().is_ok() {
            continue;
        }
        match write(job, &path) {
            Ok(()) => return Ok(std::path::absolute(&path).unwrap_or(path)),
            Err(ReportError::Write(error)) if error.source.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error @ ReportError::Write(_)) => {
                return Err(format!("{error}. Start `inkgrad app` in a folder that you may write to"));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    let folder = job.folder.display();
    Err(format!("{folder} already holds dream-0001.png to dream-{MOST}.png; move some of them away"))
}

fn write(job: &Job, path: &Path) -> Result<(), ReportError> {
    let mut png = PngGrid::create(path, job.grid, Colours::default())?;
    let size: usize = job.grid.picture.iter().product();
    job.pictures.chunks_exact(size.max(1)).try_for_each(|picture| png.push(Some(picture)))?;
    png.finish(Existing::Keep)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::dream::wish::View;

    #[test]
    fn what_is_to_be_saved_is_there_once_the_window_has_waited_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let wish = Wish { view: View::One, ..Wish::new(4, 2) };
        let mut saver = Saver::default();
        for name in ["dream-0001.png", "dream-0002.png"] {
            saver.save(Job::of(&wish, &[0, 1], [1, 1, 1], 3, folder.path()).unwrap(), || {});
            assert!(saver.is_saving());
            assert_eq!(saver.finish(Duration::from_secs(60)), None);
            assert!(folder.path().join(name).is_file());
            assert!(!saver.is_saving() && saver.saved().unwrap().ends_with(name));
        }
        saver.save(Job::of(&wish, &[0, 1], [1, 1, 1], 3, Path::new("no/such/folder")).unwrap(), || {});
        assert!(saver.finish(Duration::from_secs(60)).unwrap().contains("no/such/folder"));
        assert!(saver.saved().unwrap().ends_with("dream-0002.png"), "the last one that was written");
    }

    #[test]
    fn what_is_not_saved_in_time_is_told() {
        let mut saver = Saver { saving: true, ..Saver::default() };
        assert!(saver.finish(Duration::ZERO).unwrap().contains("may not be saved"));
        assert_eq!(Saver::default().finish(Duration::ZERO), None);
    }

    #[test]
    fn every_save_has_a_name_of_its_own_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("dream-0002.png"), b"mine").unwrap();
        let wish = Wish { view: View::Between, steps: 9, ..Wish::new(4, 2) };
        let pictures: Vec<u8> = (0..10).flat_map(|i| [i; 6]).collect();
        let job = Job::of(&wish, &pictures, [2, 3, 1], 2, folder.path()).unwrap();
        for name in ["dream-0001.png", "dream-0003.png"] {
            assert!(numbered(&job).unwrap().ends_with(name));
        }
        assert_eq!(std::fs::read(at("dream-0002.png")).unwrap(), b"mine");
        let saved = image::open(at("dream-0003.png")).unwrap().to_luma8();
        assert_eq!(saved.dimensions(), (8 * 3 * 2, 2 * 2 * 2), "two rows of eight");
        assert_eq!([saved.get_pixel(0, 0).0, saved.get_pixel(5, 7).0, saved.get_pixel(6, 7).0], [[1], [9], [0]]);
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_named_with_the_remedy() {
        let wish = Wish { view: View::One, ..Wish::new(4, 2) };
        let job = |folder: &Path| Job::of(&wish, &[0, 1], [1, 1, 1], 1, folder);
        let problem = numbered(&job(Path::new("no/such/folder")).unwrap()).unwrap_err();
        assert!(problem.contains("no/such/folder") && problem.contains("may write to"), "{problem}");
        assert!(Job::of(&wish, &[0], [1, 1, 1], 1, Path::new(".")).is_none(), "one picture too few");
    }
}
