//! What is said of a flag's value that begins with a dash, which is taken for a flag of its own.

use std::ffi::OsString;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Error};

use crate::pictures::visible;
use crate::words::in_quotes;

/// An error of parsing `words`, which says of an unknown flag that stands where the flag before it takes a value how it
/// is given as that. clap's own advice, to write `--` before it, makes no value of it. Where the first letter of such a
/// value is a flag, clap only says that the flag before it lacks a value.
pub fn advised(mut error: Error, command: &Command, words: &[OsString]) -> Error {
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let Some(ContextValue::String(told)) = error.get(ContextKind::InvalidArg) else { return error };
    let command = words.iter().fold(command, |command, word| command.find_subcommand(word).unwrap_or(command));
    let is_letters = |word: &str| word.starts_with('-') && !word.starts_with("--") && word.len() > 2;
    let is_taken = |pair: &&[String]| {
        let mut flags = command.get_arguments().filter(|arg| takes_value(arg, &pair[0]));
        flags.any(|flag| match error.kind() {
            // The flag is told with a name for its value.
            ErrorKind::InvalidValue => is_letters(&pair[1]) && told.split(' ').next() == written(flag).as_deref(),
            _ => pair[1].starts_with(told.as_str()),
        })
    };
    let Some([flag, value]) = words.windows(2).find(is_taken) else { return error };
    let value = visible(value);
    let tip = format!("to pass '{value}' as the value of '{flag}', use {flag}={}", in_quotes(&value));
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
    error
}

/// A flag as it is written out. Its own text is there only once clap has built its command.
fn written(flag: &Arg) -> Option<String> {
    flag.get_long().map(|long| format!("--{long}"))
}

/// Whether a word is this flag, by any of its names, and a value comes after it.
fn takes_value(arg: &Arg, word: &str) -> bool {
    let is_called = match word.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long) || arg.get_all_aliases().is_some_and(|all| all.contains(&long)),
        None => arg.get_short().is_some_and(|short| word == format!("-{short}")),
    };
    is_called && arg.get_action().takes_values() && !arg.is_require_equals_set()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ArgAction;

    fn told(line: &[&str]) -> String {
        let flags = [
            Arg::new("resume").long("resume"),
            Arg::new("out").long("out").short('o').alias("output"),
            Arg::new("quiet").long("quiet").short('q').action(ArgAction::SetTrue),
            Arg::new("norm").long("norm").num_args(0..=1).require_equals(true),
            Arg::new("model"),
        ];
        let command = Command::new("inkgrad").subcommand(Command::new("train").args(flags));
        let words: Vec<OsString> = ["inkgrad", "train"].iter().chain(line).map(OsString::from).collect();
        let error = command.clone().try_get_matches_from(&words).unwrap_err();
        advised(error, &command, &words).to_string()
    }

    #[test]
    fn a_value_that_begins_with_a_dash_is_to_be_joined_to_its_flag() {
        let told_of = |value: &str| told(&["--quiet", "--resume", value]);
        let tip = "tip: to pass '-run' as the value of '--resume', use --resume=-run\n";
        assert!(told_of("-run").contains(tip) && !told_of("-run").contains("-- -r"), "{}", told_of("-run"));
        assert!(told_of("--other").contains("use --resume=--other\n"), "{}", told_of("--other"));
        for flag in ["--out", "--output", "-o"] {
            let told = told(&[flag, "-run"]);
            assert!(told.contains(&format!("as the value of '{flag}', use {flag}=-run\n")), "{told}");
        }
    }

    #[test]
    fn a_value_that_begins_with_a_dash_and_the_letter_of_a_flag_is_told_in_the_same_way() {
        let lacks = |value: &str| told(&["--resume", value]);
        assert!(lacks("-quiet").contains("a value is required for '--resume"), "{}", lacks("-quiet"));
        assert!(lacks("-quiet").contains("use --resume=-quiet\n"), "{}", lacks("-quiet"));
        for flag in ["-q", "--quiet"] {
            assert!(!lacks(flag).contains("as the value of"), "{}", lacks(flag));
        }
    }

    #[test]
    fn what_stands_where_no_flag_takes_a_value_is_answered_as_before() {
        for line in [&["-run"][..], &["--quiet", "-run"], &["--norm", "-run"], &["--resume", "a", "-run"]] {
            let told = told(line);
            assert!(told.contains("use '-- -r'") && !told.contains("as the value of"), "{told}");
        }
    }
}
