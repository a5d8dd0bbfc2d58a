//! The flags of `inkgrad classify`, and which of them go together.

use super::*;
use crate::cli::outputs::{NewFolders, ensure_free, ensure_png, format_of};
use crate::pictures::Preparation;
use crate::pictures::pattern::Pattern;
use crate::pictures::prepare::{Invert, Mode};
use crate::pictures::walk::is_named_like_a_picture;
use crate::words::shell;

const EXAMPLES: &str = r##"Examples:
  inkgrad classify scans                            every picture below a folder, to standard output
  inkgrad classify scans --out scans.csv            the same in a file, which --resume can continue
  inkgrad classify 'scans/**/*_digit.png' a.jpg     patterns and single files
  find . -name '*.png' -print0 | inkgrad classify -0 -
  inkgrad classify scans --threshold 0.7 --sort-into sorted --sheet sheet.png
  inkgrad classify scans --model runs/0001-fast --top 3 --out scans.parquet
  inkgrad classify scans --show-input seen          save what the network saw as pictures
  inkgrad classify test.csv --model runs/0001-standard --format kaggle --out submission.csv
  inkgrad classify scans --shard $SLURM_ARRAY_TASK_ID/100 --out part$SLURM_ARRAY_TASK_ID.csv --resume

Pictures: PNG, JPEG, BMP, TIFF (first page; the note says of how many), WebP, GIF (first frame),
PGM and its kin, recognized by their bytes; rows of a CSV file of pixels (.csv, or gzipped as
.csv.gz). Below a folder, files are chosen by their ending, and hidden files and folders are
skipped, as they are by patterns; links to files are followed, links to folders are not.

Preparation does what MNIST's makers did: ink becomes light on black, is cropped, scaled to fit
20x20 with its aspect ratio kept, and centred in 28x28 by its centre of mass (for other networks, in
proportion). A picture of exactly the network's size with a dark border counts as already prepared.
A model that was trained on other pictures as they are, or on IDX files or tables of images of which
more than 2 in 100 have a light border, gets pictures as they are, fitted to its size; --prepare
overrides this.

If at least two folders directly below the one given are named after classes (07 is 7), they are
taken as the true classes, and accuracy and confusion are reported as well; a note says if the model
has learned from this very place (from copies elsewhere it may have, too).

In CSV, text that a spreadsheet would run as a formula, like a class named -dash or =1, gets a
leading quote: '-dash. JSON lines and Parquet keep it as it is.

Exit code: 0 if all went well, 3 if some files could not be read, 130 if it was stopped."##;

const WHAT: &str = "Input";
const HOW: &str = "Preparation";
const PLACE: &str = "Output";
/// Endings of packed files.
const PACKED: [&str; 8] = ["gz", "bz2", "xz", "zst", "lz4", "br", "zip", "7z"];
/// Endings of the tables that are written.
const TABLES: [&str; 3] = ["csv", "jsonl", "parquet"];

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Folders, pictures, patterns like 'a/**/*.png', CSV files of pixels; - reads a list of them from standard input
    #[arg(required = true, value_name = "FOLDER|FILE|-")]
    pub pictures: Vec<PathBuf>,
    /// Names on standard input end with a zero byte, as written by find -print0
    #[arg(long, short = '0', help_heading = WHAT)]
    pub null_data: bool,
    /// Classify only part I of N, counted from 1, by a hash of each path below its folder; the parts together cover
    /// everything
    #[arg(long, value_name = "I/N", help_heading = WHAT, allow_hyphen_values = true, value_parser = shard)]
    pub shard: Option<Shard>,

    /// Whether to prepare pictures: auto leaves those of the network's size with a dark border as they are [default:
    /// auto; never for a model that was trained on pictures that were not, or on images with a light border]
    #[arg(long, value_enum, value_name = "WHEN", help_heading = HOW)]
    pub prepare: Option<When>,
    /// Average the outputs for N views of each picture, slightly turned and shifted
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = HOW, allow_negative_numbers = true,
        value_parser = crate::cli::numbers::whole::<u8>(1..=255))]
    pub views: u8,
    /// Whether ink is darker than paper: auto compares with the border
    #[arg(long, value_enum, default_value = "auto", value_name = "WHEN", help_heading = HOW)]
    pub invert: When,
    /// Keep grey levels as they are, tinted paper included
    #[arg(long, help_heading = HOW)]
    pub no_contrast: bool,
    /// Keep thin strokes as they are
    #[arg(long, help_heading = HOW)]
    pub no_thicken: bool,
    /// Keep margins as they are
    #[arg(long, help_heading = HOW)]
    pub no_crop: bool,
    /// Scale to the network's whole input, not to the middle 20 of 28 pixels
    #[arg(long, help_heading = HOW)]
    pub no_margin: bool,
    /// Centre pictures by their middle, not by their centre of mass
    #[arg(long, help_heading = HOW)]
    pub no_center: bool,
    /// Write what the network saw of each picture, under its own name with .png appended; several inputs get a folder
    /// each
    #[arg(long, value_name = "DIR", help_heading = HOW)]
    pub show_input: Option<PathBuf>,

    /// Table to write: a .csv, .jsonl or .parquet file, or - for standard output [default: CSV on standard output]
    #[arg(long, short, value_name = "FILE", help_heading = PLACE)]
    pub out: Option<PathBuf>,
    /// Format to write, if the file's name does not say; kaggle: ImageId,Label for the rows of a CSV file
    #[arg(long, help_heading = PLACE)]
    pub format: Option<Format>,
    /// Number of likeliest classes in the table [default: 2, the answer and the runner-up]
    #[arg(long, value_name = "N", help_heading = PLACE, allow_negative_numbers = true,
        value_parser = crate::cli::numbers::whole::<u16>(1..=1000))]
    pub top: Option<u16>,
    /// Add the probability of every class to the table
    #[arg(long, help_heading = PLACE)]
    pub probabilities: bool,
    /// Label pictures "unsure" if their answer is less probable than this, from 0 to 1. The default model, judge, is
    /// underconfident: 0.7 suits it and leaves 2 of 100 digits unsure, while 0.9 leaves 15; for best, use 0.9
    #[arg(long, value_name = "P", help_heading = PLACE, value_parser = probability, allow_negative_numbers = true)]
    pub threshold: Option<f64>,
    /// Put each file into a folder of its class below this one, never over another file, and not again if an earlier
    /// run has already put it there
    #[arg(long, value_name = "DIR", help_heading = PLACE)]
    pub sort_into: Option<PathBuf>,
    /// What --sort-into does with each file [default: copy]
    #[arg(long, value_enum, value_name = "HOW", help_heading = PLACE, requires = "sort_into")]
    pub sort: Option<How>,
    /// A contact sheet in PNG: pictures by class, the least certain of each class first
    #[arg(long, value_name = "FILE", help_heading = PLACE)]
    pub sheet: Option<PathBuf>,
    /// A CSV of all files that could not be read, and why
    #[arg(long, value_name = "FILE", help_heading = PLACE)]
    pub errors: Option<PathBuf>,
    /// Continue --out where a run was stopped or killed, with everything that it was begun with: only --device,
    /// --threads and --quiet may differ, and --sheet and --errors may be added or put elsewhere. Start it if there is
    /// nothing to continue, and do nothing if the table is complete and all else that is asked for is there. A table with
    /// other pictures or answers than it would get is an error
    #[arg(long, help_heading = PLACE, requires = "out", conflicts_with = "force")]
    pub resume: bool,
    /// Overwrite --out, what a stopped run left of it, --sheet and --errors
    #[arg(long, help_heading = PLACE)]
    pub force: bool,

    /// A trained classifier: a shipped model's name (`inkgrad models`), a model file, or a run's folder [default:
    /// judge]
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// auto, cpu, a number or part of a name from `inkgrad devices`; several separated by commas, or all for every GPU
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub device: String,
    /// Print no progress and no summary
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum When {
    Auto,
    Always,
    Never,
}

fn shard(text: &str) -> Result<Shard, String> {
    let parts = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
    match parts {
        Some((index, of)) if (1..=of).contains(&index) => Ok(Shard { index, of }),
        _ => Err("expected a part and how many there are, counted from 1: 1/8 to 8/8".into()),
    }
}

fn probability(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "expected a number from 0 to 1, like 0.9".into())
}

impl Args {
    /// What the run writes besides the table, files and folders, with their flags.
    pub fn besides(&self) -> Vec<(&'static str, &Path)> {
        let all = [
            ("--sort-into", &self.sort_into),
            ("--sheet", &self.sheet),
            ("--errors", &self.errors),
            ("--show-input", &self.show_input),
        ];
        all.into_iter().filter_map(|(flag, path)| Some((flag, path.as_deref()?))).collect()
    }

    /// Number of likeliest classes in the table, of which there may be fewer.
    pub fn top(&self) -> u16 {
        self.top.unwrap_or(2)
    }

    /// When pictures are prepared for a model's file.
    pub fn prepare_when(&self, file: &ModelFile) -> When {
        let default = if file.takes_pictures_as_they_are() { When::Never } else { When::Auto };
        self.prepare.unwrap_or(default)
    }

    /// The preparation of pictures for a model's file.
    pub fn preparation(&self, file: &ModelFile) -> Preparation {
        Preparation {
            mode: match self.prepare_when(file) {
                When::Auto => Mode::Auto,
                When::Always => Mode::Always,
                When::Never => Mode::Never,
            },
            invert: match self.invert {
                When::Auto => Invert::Auto,
                When::Always => Invert::Always,
                When::Never => Invert::Never,
            },
            contrast: !self.no_contrast,
            thicken: !self.no_thicken,
            crop: !self.no_crop,
            margin: !self.no_margin,
            center: !self.no_center,
        }
    }

    /// Refuses flags for a preparation that does not take place with a model's file, whose images have these sides.
    ///
    /// # Errors
    /// If there is one: which, and why it would change nothing.
    pub fn check_preparation(&self, file: &ModelFile, [.., channels]: [usize; 3]) -> anyhow::Result<()> {
        if !self.preparation(file).only_fits(channels) {
            return Ok(());
        }
        let flags = [
            (self.prepare == Some(When::Always), "--prepare always"),
            (self.invert == When::Always, "--invert always"),
            (self.invert == When::Never, "--invert never"),
            (self.no_contrast, "--no-contrast"),
            (self.no_thicken, "--no-thicken"),
            (self.no_crop, "--no-crop"),
            (self.no_margin, "--no-margin"),
            (self.no_center, "--no-center"),
        ];
        let Some((_, flag)) = flags.into_iter().find(|(given, _)| *given) else { return Ok(()) };
        let reason = match self.prepare {
            _ if channels != 1 => format!("the model takes images of {channels} channels, which are not prepared"),
            Some(When::Never) => "--prepare never prepares nothing".into(),
            _ => "this model takes pictures as they are, unless --prepare auto or always is given".into(),
        };
        bail!("{flag} would change nothing: {reason}. Leave it out")
    }

    /// The table's format.
    ///
    /// # Errors
    /// If flags contradict each other, or an input does not exist: which, and what would work.
    pub fn check(&self) -> anyhow::Result<Format> {
        let csv = self.pictures.iter().any(|path| is_csv(path));
        let listed = self.pictures.iter().any(|path| path.as_os_str() == DASH);
        ensure!(listed || !self.null_data, "-0 is for names on standard input: give - as well");
        self.check_packed()?;
        let format = self.format_of()?;
        if format == Format::Kaggle {
            let one = self.pictures.len() == 1 && csv;
            ensure!(one, "--format kaggle numbers images by their rows; give one CSV file of pixels, like test.csv");
            ensure!(
                self.threshold.is_none() && self.top.is_none() && !self.probabilities,
                "--format kaggle has a class for each image and nothing else; leave out --threshold, --top, --probabilities"
            );
        }
        ensure!(!csv || self.sort_into.is_none(), "--sort-into sorts files, and cannot sort the rows of a CSV file");
        let to_stdout = self.out.as_deref().is_none_or(|out| out.as_os_str() == DASH);
        ensure!(
            format != Format::Parquet || !to_stdout,
            "--format parquet: Parquet cannot go to standard output; name a file with --out"
        );
        self.check_not_meant_for_out()?;
        if let [path] = self.pictures.as_slice()
            && path.as_os_str() != DASH
            && !path.to_string_lossy().contains(['*', '?', '['])
        {
            path.metadata().with_context(|| format!("cannot read {}", visible(&path.to_string_lossy())))?;
        }
        if let Some(folder) = &self.show_input {
            self.ensure_apart("--show-input", folder, std::slice::from_ref(folder), Pattern::finds_below)?;
        }
        self.check_written()?;
        Ok(format)
    }

    /// Refuses a table that is not there beside other inputs, where none is written: it is probably the one to write.
    fn check_not_meant_for_out(&self) -> anyhow::Result<()> {
        if self.out.is_some() || self.pictures.len() < 2 {
            return Ok(());
        }
        let is_meant = |path: &&PathBuf| {
            let is_table = path.extension().is_some_and(|ending| TABLES.iter().any(|table| ending == *table));
            // One of several tables is one to read.
            let is_apart = !is_csv(path) || !self.pictures.iter().any(|other| other != *path && is_csv(other));
            is_table && is_apart && Pattern::of(path).is_none() && !path.exists()
        };
        if let Some(table) = self.pictures.iter().find(is_meant) {
            let table = visible(&table.to_string_lossy());
            bail!("cannot read {table}: it is not there; to write it, use --out {}", shell(&table));
        }
        Ok(())
    }

    /// Whether there is something to continue: the table, or what a stopped run has left of it.
    fn goes_on(&self) -> bool {
        let is_begun = |out: &Path| out.exists() || journal::path_of(out).exists();
        self.resume && self.out.as_deref().is_some_and(is_begun)
    }

    /// The files that are written once, with their flags. Streams are not among them: they lose nothing, and may be
    /// named twice.
    fn written(&self) -> Vec<(&'static str, &Path)> {
        let all = [("--out", &self.out), ("--sheet", &self.sheet), ("--errors", &self.errors)];
        let named = all.into_iter().filter_map(|(flag, path)| Some((flag, path.as_deref()?)));
        named.filter(|(_, path)| files::stream(path).is_none()).collect()
    }

    /// Refuses names of packed files: what is written is not packed.
    fn check_packed(&self) -> anyhow::Result<()> {
        for (flag, path) in self.written() {
            let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
            ensure!(
                !PACKED.contains(&ending.as_str()),
                "{flag} {}: is the name of a packed file, and what is written is not packed; leave .{ending} out, and \
                 pack the file when it is there",
                path.display()
            );
        }
        Ok(())
    }

    /// Refuses to write two outputs into one file, and to overwrite inputs and existing files.
    fn check_written(&self) -> anyhow::Result<()> {
        let written = self.written();
        for (flag, path) in &written {
            ensure!(!path.is_dir(), "{flag} {}: is a folder; name a file", path.display());
        }
        if let Some(path) = &self.sheet {
            ensure_png("--sheet", path)?;
        }
        // A stopped run may have left some of these files, as its journal says.
        let replaces = self.force || self.goes_on();
        for (i, (flag, path)) in written.iter().enumerate() {
            if let Some((other, _)) = written[..i].iter().find(|(_, other)| resolved(other) == resolved(path)) {
                bail!("{other} and {flag} name the same file, {}; name two different ones", path.display());
            }
            if let Some(given) = self.that_holds(path) {
                let given = visible(&given.to_string_lossy());
                bail!("{flag} {}: is part of the input, {given}; name another place", path.display());
            }
            // For the table there is more to say if a run was stopped; it is checked later.
            if *flag != "--out" {
                ensure_free(path, replaces)?;
            }
        }
        Ok(())
    }

    /// The given picture, folder or pattern that a file is, or would be found in.
    fn that_holds(&self, path: &Path) -> Option<&PathBuf> {
        let path = resolved(path);
        self.pictures.iter().find(|given| match Pattern::of(given) {
            Some(Ok(pattern)) => {
                path.exists() && pattern.matches().filter_map(Result::ok).any(|found| holds(&found, &path))
            }
            _ => holds(given, &path),
        })
    }

    /// Makes the folders of the files to be written.
    pub fn make_folders(&self) -> anyhow::Result<Vec<NewFolders>> {
        let made = self.written().into_iter().map(|(_, path)| NewFolders::of(path));
        let mut made: Vec<NewFolders> = made.collect::<Result<_, _>>()?;
        // What was made last goes first: it may lie in what was made before.
        made.reverse();
        Ok(made)
    }

    /// Like [`Args::check`], for the folders that files are sorted into, which depend on the model's classes.
    pub fn check_sorting(&self, sorting: &Sorting) -> anyhow::Result<()> {
        self.ensure_apart("--sort-into", &sorting.folder, &sorting.folders, Pattern::finds_in)
    }

    /// Refuses the folder that a flag names if pictures put into `folders` would be found in the inputs.
    fn ensure_apart(
        &self,
        flag: &str,
        named: &Path,
        folders: &[PathBuf],
        finds: fn(&Pattern, &Path) -> bool,
    ) -> anyhow::Result<()> {
        let folders: Vec<PathBuf> = folders.iter().map(|folder| resolved(folder)).collect();
        for given in &self.pictures {
            ensure!(
                !would_find(given, &folders, finds),
                "{flag} {}: pictures put there would be found in {} as well; name a folder beside it",
                named.display(),
                given.display()
            );
        }
        Ok(())
    }

    fn format_of(&self) -> anyhow::Result<Format> {
        let Some(out) = &self.out else { return Ok(self.format.unwrap_or(Format::Csv)) };
        // Kaggle's is a CSV file.
        let csv = if self.format == Some(Format::Kaggle) { Format::Kaggle } else { Format::Csv };
        let (jsonl, parquet) = (Format::Jsonl, Format::Parquet);
        let endings = [("csv", csv), ("jsonl", jsonl), ("ndjson", jsonl), ("parquet", parquet)];
        match format_of(out, self.format, &endings)? {
            Some(format) => Ok(format),
            None if files::stream(out).is_some() => Ok(Format::Csv),
            None => {
                bail!("--out {}: expected a name that ends in .csv, .jsonl or .parquet, or a --format", out.display())
            }
        }
    }
}

/// Whether a file is the given one, or a picture below the given folder.
fn holds(given: &Path, path: &Path) -> bool {
    match given.is_dir() {
        true => is_named_like_a_picture(path) && path.starts_with(resolved(given)),
        false => given.file_name() == path.file_name() && resolved(given) == path,
    }
}

/// Whether pictures put into one of the folders would be found in the given input, or one of the folders contains it.
fn would_find(given: &Path, folders: &[PathBuf], finds: fn(&Pattern, &Path) -> bool) -> bool {
    let (root, pattern) = match Pattern::of(given) {
        _ if given.is_dir() => (resolved(given), None),
        Some(Ok(pattern)) => (resolved(pattern.root()), Some(pattern)),
        _ => return false,
    };
    let is_found = |below: &Path| pattern.as_ref().is_none_or(|pattern| finds(pattern, below));
    folders.iter().any(|folder| root.starts_with(folder) || folder.strip_prefix(&root).is_ok_and(is_found))
}

/// A path with its links resolved, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = path.ancestors().find_map(|there| Some((there, there.canonicalize().ok()?)));
    let Some((there, real)) = there else { return path };
    match path.strip_prefix(there) {
        // Joining an empty path would make a file's name end like a folder's.
        Ok(rest) if rest != Path::new("") => real.join(rest),
        _ => real,
    }
}
