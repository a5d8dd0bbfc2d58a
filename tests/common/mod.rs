//! What whole-program tests share: small data sets on disk, and the program's run with all that it said.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use inkgrad::data::ImageSet;
use inkgrad::models::ModelFile;
use tempfile::TempDir;

pub const NAMES: [&str; 4] =
    ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

/// A GAN of dense layers: learns in a second, and draws blurs.
pub const TINY_GAN: &str = r#"
name = "tiny"

[generator]
noise = 8
noise_width = 8
label_width = 8
layers = [
  { dense = "noise_width", activation = "relu", name = "noise" },
  { dense = "label_width", activation = "relu", from = "label", name = "class" },
  { concat = ["class", "noise"] },
  { dense = 64 },
  { batch_norm = true, activation = "relu", momentum = 0.9 },
  { dense = 784, activation = "sigmoid" },
  { reshape = [28, 28, 1] },
]

[discriminator]
layers = [
  { flatten = true, name = "pixels" },
  { concat = ["pixels", "label"] },
  { dense = 32, activation = "leaky_relu" },
  { dense = 1 },
]
"#;

/// A folder that tests work in, with small data sets and runs below it.
pub struct Place {
    folder: TempDir,
    cache: TempDir,
}

/// What the program said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Place {
    pub fn new() -> Place {
        Place { folder: TempDir::new().unwrap(), cache: TempDir::new().unwrap() }
    }

    /// With the first `train` and `test` digits of MNIST in `data`.
    pub fn with_digits(train: usize, test: usize) -> Place {
        let place = Place::new();
        place.digits("data", train, test);
        place
    }

    pub fn digits(&self, name: &str, train: usize, test: usize) {
        let mnist = inkgrad::data::mnist::embedded().unwrap();
        let first = |set: &ImageSet, n| set.select(&(0..n).collect::<Vec<_>>());
        self.write_set(name, &first(&mnist.train, train), &first(&mnist.test, test));
    }

    /// Bars whose place tells their class, on images of any size.
    pub fn bars(&self, name: &str, [height, width]: [usize; 2], classes: usize, [train, test]: [usize; 2]) {
        let set = |count: usize| {
            let labels: Vec<u32> = (0..count).map(|i| (i % classes) as u32).collect();
            let mut images = vec![0; count * height * width];
            for (i, image) in images.chunks_mut(height * width).enumerate() {
                let row = height * (i % classes) / classes;
                let bar = height.div_ceil(classes * 2) * width;
                image[row * width..][..bar].fill(200 + (i % 50) as u8);
            }
            ImageSet { height, width, channels: 1, classes, images: images.into(), labels }
        };
        self.write_set(name, &set(train), &set(test));
    }

    fn write_set(&self, name: &str, train: &ImageSet, test: &ImageSet) {
        let folder = self.path(name);
        std::fs::create_dir_all(&folder).unwrap();
        for (i, set) in [train, test].into_iter().enumerate() {
            let labels: Vec<u8> = set.labels.iter().map(|label| *label as u8).collect();
            let images = idx(&[set.len(), set.height, set.width], &set.images);
            std::fs::write(folder.join(NAMES[i * 2]), images).unwrap();
            std::fs::write(folder.join(NAMES[i * 2 + 1]), idx(&[set.len()], &labels)).unwrap();
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }
    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }

    /// Every file below, with its length, and every folder.
    pub fn contents(&self) -> BTreeMap<PathBuf, Option<u64>> {
        fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, Option<u64>>) {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                let length = entry.metadata().ok().filter(|m| m.is_file()).map(|m| m.len());
                found.insert(entry.path(), length);
                if length.is_none() {
                    walk(&entry.path(), found);
                }
            }
        }
        let mut found = BTreeMap::new();
        walk(self.folder.path(), &mut found);
        found
    }

    /// The names in a folder, sorted.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap().flatten();
        let mut names: Vec<String> = entries.map(|e| e.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_inkgrad"));
        command.current_dir(self.folder.path()).args(line.split_whitespace());
        // What the program caches must not outlive the test, nor be among the files that the test looks at.
        command.env("INKGRAD_CACHE", self.cache.path());
        command.env_remove("RUST_LOG").env("RUST_BACKTRACE", "1");
        #[cfg(unix)]
        heed_signals(&mut command);
        command
    }

    /// Runs the program with arguments that have no spaces in them.
    pub fn run(&self, line: &str) -> Said {
        said(self.command(line).output().unwrap())
    }

    /// The same on a device, whose name may have spaces, with a driver's fault in it.
    pub fn run_on(&self, line: &str, device: &str, fault: &str) -> Said {
        said(self.command(line).args(["--device", device]).env("INKGRAD_FAULT", fault).output().unwrap())
    }

    /// The same, for a command that must succeed.
    pub fn works(&self, line: &str) -> Said {
        let said = self.run(line);
        assert_eq!(said.code, Some(0), "inkgrad {line}: {said:#?}");
        said
    }

    /// Whether the software GPU is there. Fails if it is missing but required; otherwise says that it is missing.
    pub fn has_software_gpu(&self) -> bool {
        let found = self.works("devices").out.contains("llvmpipe");
        if !found {
            let required = std::env::var_os("INKGRAD_REQUIRE_GPU").is_some_and(|v| v == "1");
            assert!(!required, "INKGRAD_REQUIRE_GPU=1: no llvmpipe");
            eprintln!("\n*** SKIPPED: no llvmpipe adapter here; the software GPU was not tested ***\n");
        }
        found
    }

    /// A command that must fail with all of `words` in its error, and leave nothing behind.
    pub fn refused(&self, line: &str, words: &[&str]) {
        let before = self.contents();
        let said = self.run(line);
        assert!(matches!(said.code, Some(1 | 2)), "inkgrad {line}: {said:#?}");
        assert!(said.err.contains("error: "), "inkgrad {line}: {said:#?}");
        for word in words {
            assert!(said.err.contains(word), "inkgrad {line}: no {word:?} in {said:#?}");
        }
        for word in ["panicked", "RUST_BACKTRACE", "stack backtrace", "Err(", "unwrap"] {
            assert!(!said.err.contains(word), "inkgrad {line}: {word:?} in {said:#?}");
        }
        assert_eq!(said.out, "", "inkgrad {line}");
        assert_eq!(self.contents(), before, "inkgrad {line} left something behind");
    }

    pub fn start(&self, line: &str) -> Child {
        self.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Starts a run and kills it ten times, each time so many milliseconds after it has begun or resumed; then it ends.
    pub fn ends_after_kills(&self, line: &str, run: &str, after: Range<u64>) {
        let (mut kills, mut random) = (0, 12345u32);
        let mut next = line.to_string();
        while kills < 10 {
            let mut child = self.start(&next);
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let wait = after.start + u64::from(random >> 16) % (after.end - after.start);
            std::thread::sleep(Duration::from_millis(wait));
            child.kill().unwrap();
            child.wait().unwrap();
            // A run that has only started can be killed before its folder can be resumed; then it is begun again.
            if !self.path(run).join("config.toml").exists() {
                let _ = std::fs::remove_dir_all(self.path(run));
                continue;
            }
            kills += 1;
            for name in self.names(run).iter().filter(|name| name.ends_with(".safetensors")) {
                ModelFile::load(self.path(run).join(name)).unwrap();
            }
            next = format!("train --resume {run}");
        }
        self.works(&next);
    }
}

pub fn said(output: Output) -> Said {
    let text = |bytes| {
        let text = String::from_utf8(bytes).unwrap();
        // Paths as tests write them.
        if cfg!(windows) { text.replace('\\', "/") } else { text }
    };
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Has the program heed signals as one that was started at a terminal, however the tests were started: it goes on
/// ignoring those that `nohup` or a script's `&` had the tests ignore.
#[cfg(unix)]
fn heed_signals(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    let heed = || {
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
            // SAFETY: it takes numbers, and no handler is set that could run at the wrong time.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: between fork and exec it does nothing but what may be done there.
    unsafe { command.pre_exec(heed) };
}

/// Ctrl-C.
#[cfg(unix)]
pub fn interrupt(child: &Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}

/// An IDX file of unsigned bytes.
pub fn idx(sizes: &[usize], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, sizes.len() as u8];
    file.extend(sizes.iter().flat_map(|size| (*size as u32).to_be_bytes()));
    file.extend(bytes);
    file
}

/// The accuracy in a line like `test accuracy 96.39 % ± 0.19 ...`.
pub fn accuracy(text: &str) -> &str {
    let after = text.split("accuracy ").nth(1).unwrap_or_else(|| panic!("no accuracy in {text}"));
    after.lines().next().unwrap()
}

/// How many were right, of a text with a line like `test accuracy 91.50 % (95 % interval ..), 183 of 200 right`.
pub fn right(text: &str) -> usize {
    let line = text.lines().rfind(|line| line.ends_with(" right")).unwrap_or_else(|| panic!("{text}"));
    let words: Vec<&str> = line.split_whitespace().collect();
    words[words.len() - 4].parse().unwrap()
}
