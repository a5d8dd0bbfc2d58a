//! How the settings or the network of a run differ from those that it was begun with.

use serde::Serialize;
use toml::{Table, Value};

use super::settings::text_of;

/// The first difference between the settings that a run was begun with and those that it is to go on with, apart from
/// the keys in `aside`: `with epochs = 1, not with epochs = 2`.
pub fn difference<T: Serialize>(was: &T, is: &T, aside: &[&str]) -> Option<String> {
    // By way of their text, in which a number has no more digits than it was given.
    between([was, is].map(text_of), aside)
}

/// The same for two texts in TOML. Items of lists are counted from 1: `layers.2.activation`.
pub(super) fn between(texts: [impl AsRef<str>; 2], aside: &[&str]) -> Option<String> {
    let [was, is] = texts.map(|text| {
        let mut table: Table = text.as_ref().parse().unwrap_or_default();
        table.retain(|key, _| !aside.contains(&key));
        Value::Table(table)
    });
    let (key, [was, is]) = first(String::new(), [Some(&was), Some(&is)])?;
    let said = |value: Option<&Value>| match value {
        Some(value) => format!("with {key} = {value}"),
        None => format!("without {key}"),
    };
    Some(format!("{}, not {}", said(was), said(is)))
}

/// What the two sides have under one key.
type Both<'a> = [Option<&'a Value>; 2];

/// The first key at or below `key` under which the two sides differ.
fn first<'a>(key: String, both: Both<'a>) -> Option<(String, Both<'a>)> {
    let below = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
    match both {
        [was, is] if was == is => None,
        [Some(Value::Table(was)), Some(Value::Table(is))] => {
            was.keys().chain(is.keys()).find_map(|name| first(below(name), [was.get(name), is.get(name)]))
        }
        [Some(Value::Array(was)), Some(Value::Array(is))] => {
            (0..was.len().max(is.len())).find_map(|i| first(below(&(i + 1).to_string()), [was.get(i), is.get(i)]))
        }
        _ => Some((key, both)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Recipe;
    use crate::train::Settings;

    #[test]
    fn a_difference_is_told_by_its_key_with_both_values_and_places_may_differ() {
        let was = Settings::from_recipe("net", &Recipe::default());
        let differs = |change: &dyn Fn(&mut Settings)| {
            let mut is = was.clone();
            change(&mut is);
            difference(&was, &is, &["device"])
        };
        assert_eq!(differs(&|is| is.device = "cpu".into()), None);
        let rate = differs(&|is| is.learning_rate = 0.1).unwrap();
        assert_eq!(rate, "with learning_rate = 0.001, not with learning_rate = 0.1");
        let data = differs(&|is| is.data = Some("here".into())).unwrap();
        assert_eq!(data, "without data, not with data = \"here\"");
    }

    #[test]
    fn a_layer_that_differs_is_counted_from_one() {
        let was = "name = \"a\"\nlayers = [\"flatten\", { dense = 9, activation = \"relu\" }]";
        let of = |is: &str| between([was, is], &["name"]);
        assert_eq!(of(&was.replace("\"a\"", "\"b\" # a remark")), None);
        let tanh = of(&was.replace("relu", "tanh")).unwrap();
        assert_eq!(tanh, "with layers.2.activation = \"relu\", not with layers.2.activation = \"tanh\"");
        let fewer = of("layers = [\"flatten\"]").unwrap();
        assert!(fewer.starts_with("with layers.2 = {") && fewer.ends_with(", not without layers.2"), "{fewer}");
    }
}
