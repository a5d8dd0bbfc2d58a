//! How the settings that a table was begun with differ from those of a command, in the words that a user types. A
//! journal holds them in the form that is compared, which for flags is that of `Debug`: journals on disk stay readable.

use super::journal::Settings;
use crate::pictures::visible;
use crate::words::shell;

/// Key of the model's name. Only people read it: the model's digest decides whether it is the same.
pub const MODEL_NAME: &str = "model's name";

/// Key of what decides the views of a picture: `alike`, the same for all pictures.
pub const VIEWS: &str = "views";

/// Key of the folder in which it is shown what the network sees. Older versions did not write whether there was one.
pub const SHOW_INPUT: &str = "--show-input";

/// Key of where files are put and how, which are one setting.
pub const SORT_INTO: &str = "--sort-into";

/// The first difference, worded to follow "was begun": `without --views, not with --views 8`.
pub fn difference(was: &Settings, is: &Settings) -> Option<String> {
    let is_compared = |key: &String| key != MODEL_NAME && (key != SHOW_INPUT || was.contains_key(SHOW_INPUT));
    let keys = is.keys().chain(was.keys()).filter(|key| is_compared(key));
    let values = |key: &String| [was, is].map(|settings| settings.get(key).map_or("None", String::as_str));
    let mut differing = keys.map(|key| (key, values(key))).filter(|(key, [before, now])| match key.as_str() {
        // What is meant without --sort may also be said.
        SORT_INTO => sorting(before) != sorting(now),
        _ => before != now,
    });
    let (key, [before, now]) = differing.next()?;
    Some(match key.as_str() {
        "model" => models(was.get(MODEL_NAME), is.get(MODEL_NAME)),
        "list of pictures" => lists(before, now),
        "preparation" => preparations(before, now),
        VIEWS => "by a version of this program whose views of a picture depended on the pictures beside it".into(),
        flag => format!("{}, not {}", given(flag, before), given(flag, now)),
    })
}

/// Whether a flag was given, and with what value.
fn given(flag: &str, value: &str) -> String {
    match flag {
        SORT_INTO => return sorting(value),
        SHOW_INPUT => {
            return folder(value).map_or(format!("without {flag}"), |folder| format!("with {flag} {folder}"));
        }
        _ => {}
    }
    match value.strip_prefix("Some(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(value) {
        "None" | "none" | "false" => format!("without {flag}"),
        "true" => format!("with {flag}"),
        value => format!("with {flag} {value}"),
    }
}

/// Like [`given`], for where files are put and how: `Some("sorted") Some(Move)`. Copies, the default, are not said.
fn sorting(value: &str) -> String {
    let (place, how) = value.rsplit_once(' ').unwrap_or((value, "None"));
    let Some(folder) = folder(place) else { return "without --sort-into".into() };
    let how = within(how).map(str::to_lowercase).filter(|how| how != "copy");
    let how = how.map_or(String::new(), |how| format!(" --sort {how}"));
    format!("with --sort-into {folder}{how}")
}

/// The folder of `Some("sorted")`, as a user types it.
fn folder(value: &str) -> Option<String> {
    let name = within(value)?;
    // Text that is not JSON is a name that is not UTF-8.
    Some(serde_json::from_str(name).map_or(name.to_owned(), |name: String| shell(&name)))
}

fn within(value: &str) -> Option<&str> {
    value.strip_prefix("Some(")?.strip_suffix(')')
}

/// `Preparation { mode: Auto, invert: Auto, contrast: true, ... }` for each, as the flags that would turn one into the
/// other.
fn preparations(was: &str, is: &str) -> String {
    let [was, is] = [was, is].map(|text| {
        let fields = text.split_once('{').map_or("", |(_, fields)| fields.trim_end_matches(['}', ' ']));
        fields.split(',').filter_map(|field| field.trim().split_once(": ")).collect::<Vec<_>>()
    });
    let flag = |(name, value): &(&str, &str)| match (*name, *value) {
        ("mode", when) => format!("with --prepare {}", when.to_lowercase()),
        ("invert", when) => format!("with --invert {}", when.to_lowercase()),
        (name, "true") => format!("without --no-{name}"),
        (name, _) => format!("with --no-{name}"),
    };
    let differ = was.iter().zip(&is).filter(|(was, is)| was != is);
    let (was, is): (Vec<String>, Vec<String>) = differ.map(|(was, is)| (flag(was), flag(is))).unzip();
    match was.is_empty() {
        true => "with pictures prepared in another way".into(),
        false => format!("{}, not {}", was.join(" and "), is.join(" and ")),
    }
}

fn models(was: Option<&String>, is: Option<&String>) -> String {
    match (was, is) {
        (Some(was), Some(is)) if was == is => format!("with {}, which has changed since", shell(is)),
        (Some(was), Some(is)) => format!("with --model {}, not with --model {}", shell(was), shell(is)),
        (None, Some(is)) => format!("with another model than {}", shell(is)),
        _ => "with another model".into(),
    }
}

/// Two lists of inputs, as JSON: the first entry that only one of them has in its place.
fn lists(was: &str, is: &str) -> String {
    let [was, is] = [was, is].map(|list| serde_json::from_str::<Vec<String>>(list).unwrap_or_default());
    let place = was.iter().zip(&is).take_while(|(was, is)| was == is).count();
    let shown = |name: &String| shell(&visible(name));
    match (was.get(place), is.get(place)) {
        (Some(was), Some(is)) => format!("with {} where {} is given now", shown(was), shown(is)),
        (Some(more), None) => format!("with {} as well, which is not given now", shown(more)),
        (None, Some(less)) => format!("without {}, which is given now", shown(less)),
        (None, None) => "with other pictures".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The message for a setting that has changed.
    fn said(key: &str, was: &str, is: &str) -> String {
        let [was, is] = [was, is].map(|value| Settings::from([(key.to_owned(), value.to_owned())]));
        difference(&was, &is).unwrap()
    }

    #[test]
    fn a_table_of_views_that_depended_on_their_neighbours_is_not_continued() {
        let settings = |views: &str, alike: &[(&str, &str)]| {
            let all = [("--views", views)].into_iter().chain(alike.iter().copied());
            all.map(|(key, value)| (key.to_owned(), value.to_owned())).collect::<Settings>()
        };
        let alike = [(VIEWS, "alike")];
        let said = difference(&settings("4", &[]), &settings("4", &alike)).unwrap();
        assert!(said.starts_with("by a version of this program"), "{said}");
        let said = difference(&settings("4", &alike), &settings("1", &[])).unwrap();
        assert_eq!(said, "with --views 4, not with --views 1");
        assert_eq!(difference(&settings("1", &[]), &settings("1", &[])), None);
    }

    #[test]
    fn a_journal_that_does_not_say_where_the_input_is_shown_goes_on_with_any_such_folder() {
        let shown = |folder: &str| Settings::from([(SHOW_INPUT.to_owned(), folder.to_owned())]);
        for folder in ["None", "Some(\"seen\")"] {
            assert_eq!(difference(&Settings::new(), &shown(folder)), None);
            let said = difference(&shown(folder), &shown("Some(\"other\")")).unwrap();
            assert!(said.ends_with(", not with --show-input other"), "{said}");
        }
    }

    #[test]
    fn copies_are_the_same_whether_they_are_asked_for_or_left_to_the_default() {
        let sorted = |how: &str| Settings::from([(SORT_INTO.to_owned(), format!("Some(\"sy\") {how}"))]);
        for (was, is) in [("None", "Some(Copy)"), ("Some(Copy)", "None"), ("Some(Move)", "Some(Move)")] {
            assert_eq!(difference(&sorted(was), &sorted(is)), None, "{was}, {is}");
        }
        let said = difference(&sorted("Some(Copy)"), &sorted("Some(Move)"));
        assert_eq!(said.as_deref(), Some("with --sort-into sy, not with --sort-into sy --sort move"));
        let neither = Settings::from([(SORT_INTO.to_owned(), "None None".to_owned())]);
        assert!(difference(&neither, &sorted("Some(Copy)")).is_some());
    }

    #[test]
    fn flags_that_differ_are_said_as_a_person_types_them() {
        for (key, was, is, words) in [
            ("--threshold", "None", "Some(0.9)", "without --threshold, not with --threshold 0.9"),
            ("--top", "5", "2", "with --top 5, not with --top 2"),
            ("--shard", "1/8", "none", "with --shard 1/8, not without --shard"),
            ("--probabilities", "true", "false", "with --probabilities, not without --probabilities"),
            ("--show-input", "Some(\"a\")", "Some(\"b\")", "with --show-input a, not with --show-input b"),
            ("--sort-into", "None None", "Some(\"sy\") None", "without --sort-into, not with --sort-into sy"),
            (
                "--sort-into",
                r#"Some("a \"b\"") Some(Move)"#,
                "Some(\"sy\") None",
                if cfg!(windows) {
                    "with --sort-into \"a \"b\"\" --sort move, not with --sort-into sy"
                } else {
                    "with --sort-into 'a \"b\"' --sort move, not with --sort-into sy"
                },
            ),
        ] {
            assert_eq!(said(key, was, is), words);
        }
    }

    #[test]
    fn preparations_differ_by_the_flags_that_make_them() {
        use crate::pictures::Preparation;
        use crate::pictures::prepare::Mode;
        let prepared = |preparation: Preparation| format!("{preparation:?}");
        let never = Preparation { mode: Mode::Never, ..Preparation::default() };
        assert_eq!(
            said("preparation", &prepared(Preparation::default()), &prepared(never)),
            "with --prepare auto, not with --prepare never"
        );
        let uncropped = Preparation { crop: false, ..never };
        assert_eq!(
            said("preparation", &prepared(uncropped), &prepared(Preparation::default())),
            "with --prepare never and with --no-crop, not with --prepare auto and without --no-crop"
        );
        assert_eq!(said("preparation", "another", "one"), "with pictures prepared in another way");
    }

    #[test]
    fn a_model_is_called_by_its_name_where_the_journal_has_one() {
        let with = |digest: &str, name: Option<&str>| {
            let name = name.map(|name| (MODEL_NAME.to_owned(), name.to_owned()));
            Settings::from_iter([("model".to_owned(), digest.to_owned())].into_iter().chain(name))
        };
        let said = |was: &Settings, is: &Settings| difference(was, is);
        let is = with("1", Some("judge"));
        assert_eq!(said(&with("1", None), &is), None, "a journal of an older version has none");
        assert_eq!(said(&with("1", Some("copy")), &is), None, "it is the same under another name");
        assert_eq!(said(&with("2", None), &is).as_deref(), Some("with another model than judge"));
        let words = "with --model best, not with --model judge";
        assert_eq!(said(&with("2", Some("best")), &is).as_deref(), Some(words));
        let words = "with judge, which has changed since";
        assert_eq!(said(&with("2", Some("judge")), &is).as_deref(), Some(words));
    }

    #[test]
    fn lists_of_pictures_differ_by_the_first_that_is_not_in_both() {
        let said = |was: &str, is: &str| said("list of pictures", was, is);
        assert_eq!(said(r#"["a","b"]"#, r#"["a","c"]"#), "with b where c is given now");
        assert_eq!(said(r#"["a","b"]"#, r#"["a"]"#), "with b as well, which is not given now");
        assert_eq!(said("[]", r#"["a"]"#), "without a, which is given now");
        assert_eq!(said("?", "??"), "with other pictures");
    }
}
