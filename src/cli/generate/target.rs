//! Where the pictures go: which flags name which kind of file, and which existing files are in the way.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::Args;
use crate::cli::outputs::format_of;
use crate::data::write::{Part, idx_names};
use crate::files;
use crate::infer::scene::{Cell, Scene};

/// The formats that can be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Format {
    Png,
    Gif,
    Idx,
    Safetensors,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// All pictures on one sheet.
    Png(PathBuf),
    Gif(PathBuf),
    Safetensors(PathBuf),
    /// A PNG for each picture, in a folder.
    Files(PathBuf),
    /// IDX files, in a folder.
    Idx(PathBuf),
}

impl Target {
    /// # Errors
    /// If flags contradict each other: which, and what would work.
    pub fn of(args: &Args) -> anyhow::Result<Target> {
        let target = Target::named(args.out.as_deref(), args.out_dir.as_deref(), args.format)?;
        let unused = |given: bool, flag: &str, only: &str| {
            anyhow::ensure!(!given, "{flag} is for {only}; leave it out, or choose another --format or --out");
            Ok(())
        };
        let drawn = [
            (args.scale.is_some(), "--scale"),
            (args.ink.is_some(), "--ink"),
            (args.paper.is_some(), "--paper"),
            (args.invert, "--invert"),
        ];
        let data_set = matches!(target, Target::Idx(_) | Target::Safetensors(_));
        for (given, flag) in drawn {
            unused(given && data_set, flag, "pictures; a data set holds the digits as they are")?;
        }
        let sheet = matches!(target, Target::Png(_) | Target::Gif(_));
        unused(args.gap.is_some() && !sheet, "--gap", "pictures on one sheet")?;
        unused(args.fps.is_some() && !matches!(target, Target::Gif(_)), "--fps", "a GIF")?;
        unused(args.test.is_some() && !matches!(target, Target::Idx(_)), "--test", "IDX files")?;
        let mixed = args.between_digits.is_some();
        anyhow::ensure!(
            !(mixed && data_set),
            "--between-digits: what lies between two digits has no label for a data set"
        );
        Ok(target)
    }

    fn named(out: Option<&Path>, folder: Option<&Path>, format: Option<Format>) -> anyhow::Result<Target> {
        if let Some(folder) = folder {
            let folder = folder.to_owned();
            return match format {
                None | Some(Format::Png) => Ok(Target::Files(folder)),
                Some(Format::Idx) => Ok(Target::Idx(folder)),
                Some(Format::Gif) => anyhow::bail!("a GIF is one file: name it with --out instead of --out-dir"),
                Some(Format::Safetensors) => {
                    anyhow::bail!("a safetensors data set is one file: name it with --out instead of --out-dir")
                }
            };
        }
        let endings = [("png", Format::Png), ("gif", Format::Gif), ("safetensors", Format::Safetensors)];
        let format = match out {
            None => format.unwrap_or(Format::Png),
            Some(out) => format_of(out, format, &endings)?.with_context(|| {
                format!(
                    "--out {}: expected a name that ends in .png, .gif or .safetensors; folders go with --out-dir",
                    out.display()
                )
            })?,
        };
        let file = |default: &str| out.map_or_else(|| PathBuf::from(default), Path::to_owned);
        match format {
            Format::Png => Ok(Target::Png(file("digits.png"))),
            Format::Gif => Ok(Target::Gif(file("digits.gif"))),
            Format::Safetensors => Ok(Target::Safetensors(file("digits.safetensors"))),
            Format::Idx => anyhow::bail!("an IDX data set is several files: name their folder with --out-dir"),
        }
    }

    pub fn path(&self) -> &Path {
        match self {
            Target::Png(path) | Target::Gif(path) | Target::Safetensors(path) => path,
            Target::Files(path) | Target::Idx(path) => path,
        }
    }

    /// Whether existing files are kept unless --force is given. A sheet is a view that can be drawn again, and is
    /// replaced like the pictures of other commands.
    pub fn keeps(&self) -> bool {
        !matches!(self, Target::Png(_) | Target::Gif(_))
    }

    /// The first existing file that would be in the way.
    pub fn in_the_way(&self, scene: &Scene, class_names: &[String], channels: usize) -> Option<PathBuf> {
        match self {
            Target::Png(_) | Target::Gif(_) => None,
            Target::Safetensors(path) => files::in_the_way(path).then(|| path.clone()),
            Target::Idx(folder) => [Part::Train, Part::Test]
                .into_iter()
                .flat_map(|part| idx_names(part, channels))
                .map(|name| folder.join(name))
                .find(|path| path.exists()),
            // In a folder that does not exist nothing is in the way, and many names need not be looked up.
            Target::Files(folder) if !folder.exists() => None,
            Target::Files(folder) => {
                let names = Names::new(scene, class_names);
                scene
                    .all()
                    .filter_map(|(i, cell)| Some(folder.join(names.name(i, cell.as_ref()?))))
                    .find(|p| p.exists())
            }
        }
    }
}

/// The names of single files: the number of the cell and its class, `000123_7.png`.
pub struct Names {
    digits: usize,
    classes: Vec<String>,
}

impl Names {
    pub fn new(scene: &Scene, class_names: &[String]) -> Names {
        let last = scene.stills().saturating_mul(scene.cells()).saturating_sub(1);
        // All of one length, so that they sort as they were drawn.
        Names { digits: last.to_string().len().max(6), classes: in_file_names(class_names) }
    }

    pub fn name(&self, number: u64, cell: &Cell) -> String {
        let class = |class: u32| self.classes.get(class as usize).cloned().unwrap_or_else(|| by_number(class as usize));
        let label = cell.label;
        let mixed = if label.from == label.to { String::new() } else { format!("-{}", class(label.to)) };
        format!("{number:0digits$}_{}{mixed}.png", class(label.from), digits = self.digits)
    }
}

/// The longest text, in bytes, for a class in a file's name: two of them and a number are well below what a file system
/// accepts.
const LONGEST: usize = 40;

/// The texts for classes in file names, all distinct. A class name comes from a file, and could be anything.
fn in_file_names(class_names: &[String]) -> Vec<String> {
    let text = |(class, name): (usize, &String)| {
        let short = name.char_indices().take_while(|(at, c)| at + c.len_utf8() <= LONGEST);
        let text: String = short.map(|(_, c)| if c.is_alphanumeric() || c == '-' { c } else { '_' }).collect();
        if text.contains(char::is_alphanumeric) { text } else { by_number(class) }
    };
    let mut texts: Vec<String> = class_names.iter().enumerate().map(text).collect();
    // The number given to one class may be the name of another, which then needs a number too.
    loop {
        let mut count: HashMap<&str, usize> = HashMap::new();
        texts.iter().for_each(|text| *count.entry(text).or_default() += 1);
        let shared = |class: &usize| count[texts[*class].as_str()] > 1 && texts[*class] != by_number(*class);
        let shared: Vec<usize> = (0..texts.len()).filter(shared).collect();
        if shared.is_empty() {
            return texts;
        }
        shared.into_iter().for_each(|class| texts[class] = by_number(class));
    }
}

/// The text for a class that has no distinct text left. A bare number would be taken for the name of a digit.
fn by_number(class: usize) -> String {
    format!("class{class}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::scene::{Between, Labels, Seeds};

    fn named(out: Option<&str>, folder: Option<&str>, format: Option<Format>) -> Result<Target, String> {
        Target::named(out.map(Path::new), folder.map(Path::new), format).map_err(|error| error.to_string())
    }

    #[test]
    fn the_format_is_that_of_the_name_or_the_one_asked_for() {
        assert_eq!(named(None, None, None), Ok(Target::Png("digits.png".into())));
        assert_eq!(named(Some("a.GIF"), None, None), Ok(Target::Gif("a.GIF".into())));
        assert_eq!(named(Some("a"), None, Some(Format::Png)), Ok(Target::Png("a".into())));
        assert_eq!(named(None, None, Some(Format::Safetensors)), Ok(Target::Safetensors("digits.safetensors".into())));
        assert_eq!(named(None, Some("a"), None), Ok(Target::Files("a".into())));
        assert_eq!(named(None, Some("a"), Some(Format::Idx)), Ok(Target::Idx("a".into())));
    }

    #[test]
    fn contradictions_are_answered_with_what_would_do() {
        for (out, folder, format, word) in [
            (Some("a.jpg"), None, None, ".png, .gif or .safetensors"),
            (Some("a.png"), None, Some(Format::Gif), "does not match --format"),
            (None, None, Some(Format::Idx), "--out-dir"),
            (None, Some("a"), Some(Format::Gif), "--out instead"),
            (None, Some("a"), Some(Format::Safetensors), "--out instead"),
        ] {
            let message = named(out, folder, format).unwrap_err();
            assert!(message.contains(word), "{message}");
        }
    }

    #[test]
    fn a_class_name_stays_in_a_file_name_but_for_what_should_not_be_in_one() {
        let called = |names: &[&str]| in_file_names(&names.iter().map(|name| name.to_string()).collect::<Vec<_>>());
        let digits: Vec<String> = (0..10).map(|digit| digit.to_string()).collect();
        assert_eq!(in_file_names(&digits), digits);
        let kept = called(&["=4", "eins ñ", "数字", "t-shirt", "../etc"]);
        assert_eq!(kept, ["_4", "eins_ñ", "数字", "t-shirt", "___etc"]);
        assert_eq!(called(&["a b", "a+b", "+", "", "c"]), ["class0", "class1", "class2", "class3", "c"]);
        let long = "é".repeat(30);
        assert_eq!(called(&[&long, "z"]), ["é".repeat(20), "z".into()]);
        assert_eq!(called(&[&long, &(long.clone() + "z")]), ["class0", "class1"]);
        // Names that look like the numbers of other classes.
        assert_eq!(called(&["class1", "class2"]), ["class1", "class2"]);
        assert_eq!(called(&["class1", "+", "class0"]), ["class0", "class1", "class2"]);
    }

    #[test]
    fn a_file_is_named_by_its_cell_and_its_class_or_the_two_that_it_lies_between() {
        let class_names = ["7", "../../etc", "é", ""].map(String::from);
        let scene =
            Scene { rows: 1, columns: 9, labels: Labels::InTurn(vec![0]), seeds: Seeds::One(0), one_hand: false };
        let names = Names::new(&scene, &class_names);
        let name = |from, to| {
            let label = Between { from, to, share: 0.5 };
            names.name(12, &Cell { seed: Between { from: 0, to: 0, share: 0.0 }, index: 0, label })
        };
        assert_eq!(name(0, 0), "000012_7.png");
        assert_eq!(name(1, 2), "000012_______etc-é.png");
        assert_eq!(name(3, 3), "000012_class3.png");
    }
}
