//! What a table was begun with, as a user types it, and how that differs from what a command is given.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::args::Args;
use super::sorting::How;
use super::table::Format;
use crate::cli::is_one_place;
use crate::files::{DASH, in_the_way};
use crate::hash::hash;
use crate::models::ModelFile;
use crate::pictures::source::Shard;
use crate::pictures::{path_text, text_path, visible};
use crate::words::shell;

/// The form of the journals that are written and read. A first line that does not say it is of an older one.
const FORM: u32 = 2;

/// Files that are made at the end, of all that is in the journal: they may also be asked for, or put elsewhere, when a
/// table is continued, but not where another file is. It is an error to leave them out.
const MADE_LAST: [&str; 2] = ["--sheet", "--errors"];

/// Everything that decides a table's rows, and which files are made besides; a journal's first line. Another one follows
/// when a run continues the table that is to make other files at the end.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Begun {
    form: u32,
    model: Model,
    pictures: Vec<String>,
    /// Flags with their values, in the help's order. A switch has an empty one; a flag that may be left out and means a
    /// value then has that value.
    flags: Vec<(String, String)>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Model {
    /// Only people read it: the digest decides whether a model is the same.
    name: String,
    digest: String,
}

/// A path as it was typed.
fn typed(path: &Path) -> String {
    // The text of a file's path never is this one.
    if path.as_os_str() == DASH { DASH.into() } else { path_text(path) }
}

/// The word that a user types for a value.
fn word(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or(String::new(), |value| value.get_name().into())
}

/// The flags that are compared, and what was typed or is meant; `None` for those that were left out.
fn flags(args: &Args, file: &ModelFile, format: Format) -> Vec<(&'static str, Option<String>)> {
    // Each has its name here, so that a new one does not compile before it is decided whether it is compared.
    let Args {
        pictures: _,
        null_data,
        shard,
        prepare: _,
        views,
        invert,
        no_contrast,
        no_thicken,
        no_crop,
        no_margin,
        no_center,
        show_input,
        out: _,
        format: _,
        top: _,
        probabilities,
        threshold,
        sort_into,
        sort,
        sheet,
        errors,
        resume: _,
        force: _,
        model: _,
        device: _,
        quiet: _,
    } = args;
    let switch = |is_on: &bool| is_on.then(String::new);
    vec![
        ("--null-data", switch(null_data)),
        ("--shard", shard.map(|Shard { index, of }| format!("{index}/{of}"))),
        ("--prepare", Some(word(args.prepare_when(file)))),
        ("--views", Some(views.to_string())),
        ("--invert", Some(word(*invert))),
        ("--no-contrast", switch(no_contrast)),
        ("--no-thicken", switch(no_thicken)),
        ("--no-crop", switch(no_crop)),
        ("--no-margin", switch(no_margin)),
        ("--no-center", switch(no_center)),
        ("--show-input", show_input.as_deref().map(typed)),
        ("--format", Some(word(format))),
        ("--top", Some(args.top().to_string())),
        ("--probabilities", switch(probabilities)),
        ("--threshold", threshold.map(|threshold| threshold.to_string())),
        ("--sort-into", sort_into.as_deref().map(typed)),
        ("--sort", sort.filter(|how| *how != How::Copy).map(word)),
        ("--sheet", sheet.as_deref().map(typed)),
        ("--errors", errors.as_deref().map(typed)),
    ]
}

impl Begun {
    /// What a command begins a table in this format with, to be answered by this model.
    pub fn of(args: &Args, file: &ModelFile, format: Format) -> anyhow::Result<Begun> {
        let digest = format!("{:016x}", hash(&file.to_bytes(&file.name)?));
        let name = typed(args.model.as_deref().unwrap_or(Path::new("judge")));
        let given = |(flag, value): (&str, Option<String>)| Some((flag.to_owned(), value?));
        Ok(Begun {
            form: FORM,
            model: Model { name, digest },
            pictures: args.pictures.iter().map(|path| typed(path)).collect(),
            flags: flags(args, file, format).into_iter().filter_map(given).collect(),
        })
    }

    /// What the first line of a journal says.
    ///
    /// # Errors
    /// If the journal has another form, or the line is damaged.
    pub fn read(line: serde_json::Value) -> anyhow::Result<Begun> {
        ensure!(
            line["form"] == FORM,
            "was begun by another version of this program, and cannot be continued by this one. Finish it with that \
             version, or start over with --force"
        );
        serde_json::from_value(line).context("line 1: has been altered or damaged")
    }

    /// How what a command is given `now` differs, worded to follow "was begun": `with --views 1, not with --views 8`.
    /// `None` if the table may be continued.
    pub fn difference(&self, now: &Begun) -> Option<String> {
        if self.model.digest != now.model.digest {
            return Some(models(&self.model.name, &now.model.name));
        }
        if self.pictures != now.pictures {
            return Some(lists(&self.pictures, &now.pictures));
        }
        let is_given = |flag: &str| now.flags.iter().any(|(given, _)| given == flag);
        let may_differ = |flag: &str| MADE_LAST.contains(&flag) && is_given(flag);
        let only = |one: &Begun, other: &Begun| -> Vec<(String, String)> {
            let differs = |flag: &&(String, String)| !other.flags.contains(flag) && !may_differ(&flag.0);
            one.flags.iter().filter(differs).cloned().collect()
        };
        let (was, is) = (only(self, now), only(now, self));
        let said = |given: &[(String, String)], other: &[(String, String)]| match given.is_empty() {
            true => format!("without {}", joined(other, " and ", |(flag, _)| flag.clone())),
            false => format!("with {}", joined(given, " ", words)),
        };
        (was != is).then(|| format!("{}, not {}", said(&was, &is), said(&is, &was)))
    }

    /// A file that this run is to make at the end, that is there already, and that is not one which the `earlier` runs on
    /// the table were to make.
    pub fn would_overwrite(&self, earlier: &[Begun]) -> Option<PathBuf> {
        let is_own = |file: &Path| earlier.iter().flat_map(Begun::made_last).any(|own| is_one_place(&own, file));
        self.made_last().find(|file| in_the_way(file) && !is_own(file))
    }

    /// The files that are made at the end.
    pub fn made_last(&self) -> impl Iterator<Item = PathBuf> {
        let made = self.flags.iter().filter(|(flag, _)| MADE_LAST.contains(&flag.as_str()));
        made.map(|(_, file)| text_path(file))
    }
}

fn joined(flags: &[(String, String)], by: &str, say: impl FnMut(&(String, String)) -> String) -> String {
    flags.iter().map(say).collect::<Vec<_>>().join(by)
}

/// A flag as it is typed.
fn words((flag, value): &(String, String)) -> String {
    if value.is_empty() { flag.clone() } else { format!("{flag} {}", shown(value)) }
}

fn shown(word: &str) -> String {
    shell(&visible(word))
}

fn models(was: &str, is: &str) -> String {
    match was == is {
        true => format!("with {}, which has changed since", shown(is)),
        false => format!("with --model {}, not with --model {}", shown(was), shown(is)),
    }
}

/// Two different lists of inputs: the first entry that only one of them has in its place.
fn lists(was: &[String], is: &[String]) -> String {
    let place = was.iter().zip(is).take_while(|(was, is)| was == is).count();
    match (was.get(place), is.get(place)) {
        (Some(was), Some(is)) => format!("with {} where {} is given now", shown(was), shown(is)),
        (Some(more), None) => format!("with {} as well, which is not given now", shown(more)),
        (None, less) => format!("without {}, which is given now", less.map_or(String::new(), |less| shown(less))),
    }
}

#[cfg(test)]
pub mod tests {
    use std::collections::BTreeSet;

    use clap::{Args as _, Command, FromArgMatches};

    use super::*;

    /// The flags that are not compared, and may be others when a table is continued.
    const FREE: [&str; 2] = ["device", "quiet"];

    fn command() -> Command {
        Args::augment_args(Command::new("classify"))
    }

    fn args(line: &str) -> Args {
        let typed = ["classify"].into_iter().chain(line.split_whitespace());
        Args::from_arg_matches(&command().try_get_matches_from(typed).unwrap()).unwrap()
    }

    /// What a table in CSV is begun with, by a model without layers.
    pub fn begun(line: &str) -> Begun {
        Begun::of(&args(line), &ModelFile::default(), Format::Csv).unwrap()
    }

    fn difference(was: &str, is: &str) -> Option<String> {
        begun(was).difference(&begun(is))
    }

    #[test]
    fn every_flag_is_compared_but_for_those_that_change_nothing_that_is_written() {
        let compared = flags(&args("in"), &ModelFile::default(), Format::Csv).into_iter();
        let compared = compared.map(|(flag, _)| flag.trim_start_matches("--"));
        // Inputs and the model are compared besides, and a journal is found by the name in --out.
        let others = ["pictures", "model", "out", "resume", "force"].into_iter().chain(FREE);
        let known: BTreeSet<String> = compared.chain(others).map(String::from).collect();
        let name = |arg: &clap::Arg| arg.get_long().unwrap_or(arg.get_id().as_str()).to_owned();
        assert_eq!(command().get_arguments().map(name).collect::<BTreeSet<_>>(), known);
    }

    #[test]
    fn the_help_names_the_flags_that_may_differ_when_a_table_is_continued_and_no_others() {
        let command = command();
        let resume = command.get_arguments().find(|arg| arg.get_id() == "resume").unwrap();
        let help = resume.get_help().unwrap().to_string();
        let words = help.split([' ', ',', ':', '.']);
        let named: BTreeSet<&str> = words.filter_map(|word| word.strip_prefix("--")).collect();
        let made_last = MADE_LAST.map(|flag| flag.trim_start_matches("--"));
        // Every command has --threads.
        let meant = FREE.into_iter().chain(made_last).chain(["out", "threads"]);
        assert_eq!(named, meant.collect::<BTreeSet<_>>());
    }

    #[test]
    fn what_is_left_out_is_the_same_as_its_default() {
        let line = "in --prepare auto --views 1 --invert auto --top 2 --format csv --model judge";
        assert_eq!(begun(line), begun("in"));
        assert_eq!(begun("in --sort-into sy --sort copy"), begun("in --sort-into sy"));
        assert_eq!(begun("in --threshold 0.90"), begun("in --threshold .9"));
    }

    #[test]
    fn a_journal_keeps_it_all_and_one_of_another_form_is_refused() {
        for line in ["in", "- 'a b' -0 --no-crop --shard 2/3 --sort-into sy --sort move --threshold 0.7 --top 3"] {
            let begun = begun(line);
            let written = serde_json::to_value(&begun).unwrap();
            assert_eq!(Begun::read(written.clone()).unwrap(), begun);
            let mut later = written;
            later["form"] = (FORM + 1).into();
            assert!(Begun::read(later).unwrap_err().to_string().contains("another version of this program"));
        }
        let earlier = serde_json::json!({"--top": "2", "preparation": "Preparation { mode: Auto }"});
        for other in [earlier, serde_json::json!([1]), serde_json::Value::Null] {
            assert!(Begun::read(other).unwrap_err().to_string().contains("start over with --force"));
        }
        let damaged = Begun::read(serde_json::json!({"form": FORM, "flags": []})).unwrap_err();
        assert!(damaged.to_string().contains("line 1: has been altered or damaged"), "{damaged}");
    }

    #[test]
    fn flags_that_differ_are_said_as_a_person_types_them() {
        for (was, is, said) in [
            ("", "--threshold 0.9", "without --threshold, not with --threshold 0.9"),
            ("--top 5", "", "with --top 5, not with --top 2"),
            ("--shard 1/8", "", "with --shard 1/8, not without --shard"),
            ("--probabilities", "", "with --probabilities, not without --probabilities"),
            ("--show-input a", "--show-input b", "with --show-input a, not with --show-input b"),
            ("", "--sort-into sy", "without --sort-into, not with --sort-into sy"),
            ("--sort-into a;b --sort move", "--sort-into sy", MOVED),
            ("--sort-into sy", "--sort-into sy --sort link", "without --sort, not with --sort link"),
            ("", "--prepare never", "with --prepare auto, not with --prepare never"),
            ("--prepare never --no-crop", "", "with --prepare never --no-crop, not with --prepare auto"),
            ("--no-crop", "--threshold 1", "with --no-crop, not with --threshold 1"),
            ("", "--no-crop --no-margin", "without --no-crop and --no-margin, not with --no-crop --no-margin"),
        ] {
            assert_eq!(difference(&format!("in {was}"), &format!("in {is}")).as_deref(), Some(said));
        }
    }

    const MOVED: &str = if cfg!(windows) {
        "with --sort-into \"a;b\" --sort move, not with --sort-into sy"
    } else {
        "with --sort-into 'a;b' --sort move, not with --sort-into sy"
    };

    #[test]
    fn what_is_made_at_the_end_may_be_added_or_put_elsewhere_but_not_left_out() {
        for flag in MADE_LAST {
            let [none, one, other] = ["in".to_owned(), format!("in {flag} a"), format!("in {flag} b")];
            assert_eq!((difference(&none, &one), difference(&one, &other)), (None, None));
            let left_out = difference(&one, &none);
            assert_eq!(left_out, Some(format!("with {flag} a, not without {flag}")));
        }
    }

    #[test]
    fn a_model_is_the_same_by_its_bytes_and_called_by_its_name() {
        let with = |name: &str, digest: &str| {
            let model = Model { name: name.into(), digest: digest.into() };
            Begun { model, ..begun("in") }
        };
        let said = |was: Begun| was.difference(&with("judge", "1"));
        assert_eq!(said(with("copy", "1")), None);
        assert_eq!(said(with("best", "2")).as_deref(), Some("with --model best, not with --model judge"));
        assert_eq!(said(with("judge", "2")).as_deref(), Some("with judge, which has changed since"));
    }

    #[test]
    fn lists_of_pictures_differ_by_the_first_that_is_not_in_both() {
        let said = |was: &str, is: &str| difference(was, is).unwrap();
        assert_eq!(said("a b", "a c"), "with b where c is given now");
        assert_eq!(said("a b", "a"), "with b as well, which is not given now");
        assert_eq!(said("a", "a b"), "without b, which is given now");
        assert_eq!(said("-", "./-"), "with - where ./- is given now");
    }
}
