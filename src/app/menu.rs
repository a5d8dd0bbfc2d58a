//! The models that can be chosen: those shipped with the program, and those in a folder.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use crate::interchange::{self, Wishes};
use crate::models::{ModelFile, SHIPPED, is_foreign_name};
use crate::run_files::SNAPSHOTS;
use crate::train::Folder;

/// How many files and runs of a folder are listed at most.
const MOST: usize = 500;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What the menu shows.
    pub name: String,
    /// What opens it.
    pub path: PathBuf,
}

pub struct Menu {
    folder: PathBuf,
    /// Those shipped with the program.
    pub shipped: Vec<Entry>,
    /// Those in the folder: model files, runs, and files of Keras and ONNX.
    pub found: Vec<Entry>,
    /// Those that draw instead: the shipped ones, and those of `found`. Filled by [`Menu::look_for_generators`].
    pub generators: [Vec<Entry>; 2],
    /// How many models there are that are older than those of `found`.
    pub more: usize,
    /// Why the folder shows nothing.
    pub problem: Option<String>,
}

impl Menu {
    /// The menu of a folder, which need not exist.
    pub fn of(folder: &Path) -> Menu {
        let shipped = shipped().filter(|entry| !is_generator(&entry.path)).collect();
        let (folder, generators) = (folder.to_owned(), <_>::default());
        let mut menu = Menu { folder, shipped, found: Vec::new(), generators, more: 0, problem: None };
        menu.refresh();
        menu
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Looks again at what is in the folder.
    pub fn refresh(&mut self) {
        self.found.clear();
        (self.more, self.problem) = (0, None);
        let listed = match std::fs::read_dir(&self.folder) {
            Ok(listed) => listed,
            // Before the first run there is no folder.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => {
                let folder = self.folder.display();
                self.problem = Some(format!("{folder}: {error}. To list another folder: inkgrad app --models DIR"));
                return;
            }
        };
        // Runs are numbered, so the newest come last by name; a huge folder is not searched to its end.
        let mut paths: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths.into_iter().rev().take(10 * MOST) {
            let is_model = is_model(&path);
            if is_model && self.found.len() < MOST {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                self.found.push(Entry { name, path });
            } else if is_model {
                self.more += 1;
            }
        }
        self.found.reverse();
    }

    /// Looks again for generators. It looks into every file, so it is called only where generators are listed.
    pub fn look_for_generators(&mut self) {
        self.refresh();
        let draws = |entry: &Entry| is_generator(&entry.path);
        self.generators =
            [shipped().filter(draws).collect(), self.found.iter().filter(|entry| draws(entry)).cloned().collect()];
    }

    /// The name that the menu gives a path.
    pub fn name(&self, path: &Path) -> String {
        let last = |path: &Path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        if let Some((run, step)) = snapshot(path) {
            // The step comes first: a long name is cut at its end.
            return format!("step {step} of {}", last(run));
        }
        let entry = self.shipped.iter().chain(&self.found).find(|entry| entry.path == path);
        entry.map_or_else(|| last(path), |entry| entry.name.clone())
    }
}

/// All models that ship with the program.
fn shipped() -> impl Iterator<Item = Entry> {
    SHIPPED.iter().map(|(name, _)| Entry { name: (*name).into(), path: (*name).into() })
}

/// Whether a path is that of a model, as far as its name tells: a model file, a run, or a file of Keras or ONNX.
pub fn is_model(path: &Path) -> bool {
    let is_own = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors"));
    match path.is_dir() {
        true => Folder::best_of(path).is_file(),
        false => is_own || is_foreign_name(path),
    }
}

/// Whether a model is a generator, as far as the first bytes of its file tell.
pub fn is_generator(path: &Path) -> bool {
    if let Some((_, bytes)) = SHIPPED.iter().find(|(name, _)| Path::new(name) == path) {
        return ModelFile::promises_gan(*bytes);
    }
    let file = if path.is_dir() { File::open(Folder::best_of(path)) } else { File::open(path) };
    file.is_ok_and(|file| ModelFile::promises_gan(BufReader::new(file)))
}

/// The run that a snapshot's path belongs to, and the step.
pub fn snapshot(path: &Path) -> Option<(&Path, usize)> {
    let folder = path.parent().filter(|folder| folder.ends_with(SNAPSHOTS))?;
    Some((folder.parent()?, path.file_stem()?.to_str()?.parse().ok()?))
}

/// Loads a model of either kind from any file that the menu lists; files of other programs are imported.
///
/// # Errors
/// What is wrong with the file, in words.
pub fn load_any(path: &Path) -> Result<ModelFile, String> {
    if is_foreign_name(path) {
        let imported = interchange::import(path, None, &Wishes::default()).map_err(|error| error.to_string())?;
        return Ok(ModelFile { name: path.to_owned(), ..imported.file });
    }
    ModelFile::open(path).map_err(|error| error.to_string())
}

/// Loads a classifier as [`load_any`] does.
///
/// # Errors
/// What is wrong with the file, in words; a generator reads nothing.
pub fn load(path: &Path) -> Result<ModelFile, String> {
    let file = load_any(path)?;
    if file.is_gan() {
        let name = file.name.display();
        return Err(format!("{name} holds a generator, which reads nothing; the Dream panel draws with it"));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_lists_models_runs_and_foreign_files_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for run in ["0001-fast", "0002-begun"] {
            std::fs::create_dir(at(run)).unwrap();
        }
        for file in ["0001-fast/best.safetensors", "mine.safetensors", "theirs.H5", "notes.txt", "x.keras"] {
            std::fs::write(at(file), b"").unwrap();
        }
        let menu = Menu::of(folder.path());
        let names: Vec<&str> = menu.found.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["0001-fast", "mine.safetensors", "theirs.H5", "x.keras"]);
        assert!(menu.shipped.iter().any(|entry| entry.name == "best"));
        assert!(!menu.shipped.iter().any(|entry| entry.name == "gan"), "it classifies nothing");
        assert_eq!(menu.name(&at("mine.safetensors")), "mine.safetensors");
        assert_eq!(menu.name(&at("0001-fast/snapshots/000187.safetensors")), "step 187 of 0001-fast");
        assert_eq!(menu.name(&at("snapshots/mine.safetensors")), "mine.safetensors");
    }

    #[test]
    fn of_many_models_the_last_are_listed_and_the_others_counted() {
        let folder = tempfile::tempdir().unwrap();
        for i in 0..MOST + 7 {
            std::fs::write(folder.path().join(format!("{i:04}.onnx")), b"").unwrap();
        }
        let menu = Menu::of(folder.path());
        assert_eq!((menu.found.len(), menu.more), (MOST, 7));
        assert_eq!((menu.found[0].name.as_str(), menu.found[MOST - 1].name.as_str()), ("0007.onnx", "0506.onnx"));
    }

    #[test]
    fn generators_are_told_from_classifiers_by_what_their_files_say_of_themselves() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("0001-gan")).unwrap();
        ModelFile::shipped("gan").unwrap().save(at("0001-gan/best.safetensors")).unwrap();
        ModelFile::shipped("gan").unwrap().save(at("draws.safetensors")).unwrap();
        ModelFile::shipped("fast").unwrap().save(at("reads.safetensors")).unwrap();
        std::fs::write(at("damaged.safetensors"), u64::MAX.to_le_bytes()).unwrap();
        std::fs::write(at("empty.safetensors"), b"").unwrap();
        let mut menu = Menu::of(folder.path());
        menu.look_for_generators();
        let names = |list: &[Entry]| list.iter().map(|entry| entry.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&menu.generators[0]), ["gan"]);
        assert_eq!(names(&menu.generators[1]), ["0001-gan", "draws.safetensors"]);
        menu.look_for_generators();
        assert_eq!(menu.generators[1].len(), 2);
    }

    #[test]
    fn a_folder_that_is_not_there_yet_has_no_models_and_one_that_cannot_be_read_is_a_message() {
        let mut menu = Menu::of(Path::new("no/such/folder"));
        menu.refresh();
        assert!(menu.found.is_empty() && !menu.shipped.is_empty() && menu.problem.is_none());
        let file = tempfile::NamedTempFile::new().unwrap();
        let problem = Menu::of(file.path()).problem.unwrap();
        assert!(problem.contains(&*file.path().to_string_lossy()) && problem.contains("--models DIR"), "{problem}");
    }

    #[test]
    fn what_is_no_model_is_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.safetensors", "a.h5", "a.keras", "a.onnx"] {
            let path = folder.path().join(name);
            std::fs::write(&path, b"nothing of the kind").unwrap();
            assert!(load(&path).unwrap_err().contains(name));
        }
        let problem = load(Path::new("gan")).unwrap_err();
        assert!(problem.contains("gan") && problem.contains("the Dream panel draws with it"), "{problem}");
    }
}
