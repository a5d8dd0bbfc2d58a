//! Several classifiers joined into one, whose logits are the mean of theirs.
//!
//! An ensemble is an ordinary network: its members are branches from the same image, each with its last layer's weights
//! divided by the number of members, and an `add` joins them. So whatever takes a model takes an ensemble.

use super::container::Words;
use super::error::{At, ModelError};
use super::file::ModelFile;
use super::layer::{Kind, Layer};
use super::learned::Learned;
use super::normalization::Normalization;
use super::reader::MAX_NAME;
use super::spec::{Architecture, INPUT, MAX_LAYERS};
use crate::data::{HoldOut, Pictures};
use crate::graph::Store;
use crate::words::shell;

/// Metadata that only an ensemble has: what its members were called. Those of a run's are called by their places in its
/// folder.
const MEMBERS: &str = "members";
/// Metadata that members must have in common, since the ensemble has only one value of each.
const SHARED: &[&str] = &["input", "classes", "class_names", "mean", "std"];
/// Metadata about the training that is kept if all members agree on it.
const AGREED: &[&str] = &["data", Pictures::KEY, "device", "driver", "precision"];

impl ModelFile {
    /// Joins trained classifiers.
    ///
    /// # Errors
    /// Fewer than two members, generators, ensembles, networks that do not end in a dense layer, and members that
    /// differ in image size, classes or normalization.
    pub fn ensemble(members: &[ModelFile]) -> Result<ModelFile, ModelError> {
        let mut file = ModelFile { name: "the ensemble".into(), ..ModelFile::default() };
        let [first, _, ..] = members else {
            return Err(members.first().unwrap_or(&file).refuse("an ensemble has two members or more"));
        };
        for member in members {
            // Only classifiers have the metadata that is compared below.
            member.architecture()?;
            if let Some(own) = member.metadata.get(MEMBERS) {
                let names: Vec<String> = serde_json::from_str(own).unwrap_or_default();
                let found = names.iter().map(|name| match member.name.with_file_name(name) {
                    beside if beside.exists() => beside,
                    _ => name.into(),
                });
                // The message puts them into a command.
                let names: Vec<String> = found.map(|name| shell(&name.to_string_lossy())).collect();
                let problem = format!("is an ensemble already; name its members instead: {}", names.join(" "));
                return Err(member.refuse(problem));
            }
        }
        file.set("version", env!("CARGO_PKG_VERSION"));
        for key in SHARED {
            file.set(key, shared(members, key)?);
        }
        for key in AGREED {
            if let Some(value) = first.metadata.get(*key)
                && members.iter().all(|member| member.metadata.get(*key) == Some(value))
            {
                file.set(key, value);
            }
        }
        if let Some(background) = background(members) {
            file.set(Normalization::BACKGROUND, background);
        }
        file.set_learned_before(&learned(members));
        let names: Vec<String> = members.iter().map(|member| member.name.display().to_string()).collect();
        file.set(MEMBERS, serde_json::Value::from(names));

        let mut layers = Vec::new();
        let mut ends = Vec::new();
        for (i, member) in members.iter().enumerate() {
            let branch = Branch::new(member, i + 1, members.len())?;
            ends.push(branch.end);
            layers.extend(branch.layers);
            file.tensors.extend(branch.tensors);
        }
        layers.push(Layer {
            kind: Kind::Add { from: ends },
            activation: None,
            name: None,
            from: None,
            at: At::default(),
        });
        if layers.len() > MAX_LAYERS {
            let problem = format!("together the members have {} layers; {MAX_LAYERS} is the most", layers.len());
            return Err(first.refuse(problem));
        }
        let about = format!("{} classifiers, whose logits are averaged", members.len());
        file.set("architecture", Architecture::from_layers("ensemble", &about, layers)?.text());
        // The writer refuses what a reader would refuse.
        let mut store = Store::default();
        let (_, parameters) = file.network(&mut store, "ensemble")?;
        file.values("", &parameters)?;
        Ok(file)
    }
}

/// A member as a part of the whole: layers and tensors under names of its own.
struct Branch {
    layers: Vec<Layer>,
    tensors: Vec<super::SavedTensor>,
    /// The name of its last layer.
    end: String,
}

impl Branch {
    fn new(member: &ModelFile, number: usize, of: usize) -> Result<Branch, ModelError> {
        let mut store = Store::default();
        let (network, parameters) = member.network(&mut store, "member")?;
        let values = member.values("", &parameters)?;

        let mut layers = network.architecture.layers.clone();
        let names: Vec<String> = network.layers().into_iter().map(|layer| layer.name).collect();
        let own = renamed(number, &names);
        let new = |name: &str| names.iter().zip(&own).find(|(old, _)| *old == name).map(|(_, new)| new.clone());
        for (i, layer) in layers.iter_mut().enumerate() {
            let joins = !layer.sources().is_empty();
            layer.sources_mut().for_each(|name| *name = new(name).unwrap_or_else(|| INPUT.into()));
            if i == 0 && !joins {
                layer.from = Some(INPUT.into());
            }
            layer.name = Some(own[i].clone());
        }
        let (Some(last), Some(end)) = (layers.last(), own.last().cloned()) else {
            return Err(member.refuse("has no layers"));
        };
        if !matches!(last.kind, Kind::Dense { .. }) || last.activation.is_some() {
            let problem = format!("ends in `{last}`; a member of an ensemble ends in a dense layer without activation");
            return Err(member.refuse(problem));
        }

        let mut part = ModelFile::default();
        part.add_values("", &parameters, &values);
        for tensor in &mut part.tensors {
            // The names of layers have no dots.
            let Some((layer, suffix)) = tensor.name.split_once('.') else { continue };
            let Some(layer) = new(layer) else { continue };
            tensor.name = format!("{layer}.{suffix}");
            if layer == end
                && let Words::F32(words) = &mut tensor.words
            {
                words.iter_mut().for_each(|word| *word /= of as f32);
            }
        }
        Ok(Branch { layers, tensors: part.tensors, end })
    }
}

/// What a member's layers are called in the whole: their names behind the member's number, and behind their own number
/// where they are to be cut short, as several may begin alike.
fn renamed(number: usize, names: &[String]) -> Vec<String> {
    let new = |(i, name): (usize, &String)| match format!("m{number}-{name}") {
        long if long.len() > MAX_NAME => format!("m{number}_{}-{name}", i + 1).chars().take(MAX_NAME).collect(),
        whole => whole,
    };
    names.iter().enumerate().map(new).collect()
}

/// Everything that the members have learned from, so that `evaluate` can tell whether they know the images that they are
/// tested with. First comes what the member with the fewest images set aside has learned from: `evaluate` sets those
/// aside again, and a larger number sets nearly the same ones aside and some more.
fn learned(members: &[ModelFile]) -> Vec<Learned> {
    let mut files: Vec<&ModelFile> = members.iter().collect();
    files.sort_by_key(|member| match member.hold_out() {
        Some(HoldOut::Count(count)) => count,
        // A tenth of an unknown number.
        _ => usize::MAX,
    });
    Learned::all(files)
}

/// The background of members that agree on how pictures become images: the mean of those that know theirs. One from before
/// it was stored has none.
fn background(members: &[ModelFile]) -> Option<u32> {
    let pictures = |member: &ModelFile| member.metadata.get(Pictures::KEY).cloned();
    let first = pictures(members.first()?);
    if members.iter().any(|member| pictures(member) != first) {
        return None;
    }
    let known = members.iter().filter_map(|member| member.metadata.get(Normalization::BACKGROUND)?.parse().ok());
    let known: Vec<u32> = known.collect();
    let count = known.len() as u32;
    (count > 0).then(|| (known.iter().sum::<u32>() + count / 2) / count)
}

/// The value that all members share.
fn shared(members: &[ModelFile], key: &str) -> Result<String, ModelError> {
    let mut value: Option<(&ModelFile, String)> = None;
    for member in members {
        let own = match key {
            "class_names" => serde_json::Value::from(member.class_names()?).to_string(),
            _ => member.get(key)?.to_string(),
        };
        match &value {
            None => value = Some((member, own)),
            Some((first, common)) if *common != own => {
                let (what, own, common) = apart(key, &own, common);
                let problem = format!(
                    "its {what} is {own}, but in {} it is {common}; members must agree. Train them on the same images, \
                     with the same --data, --hold-out and --extend, or all at once: `inkgrad train --members N`",
                    first.name.display()
                );
                return Err(member.refuse(problem));
            }
            Some(_) => {}
        }
    }
    Ok(value.map_or_else(String::new, |(_, value)| value))
}

/// What differs between two values of a key, and what it is in each. Of class names, which may be hundreds, these are
/// the first that differ.
fn apart(key: &str, own: &str, common: &str) -> (String, String, String) {
    let names = |text: &str| serde_json::from_str::<Vec<String>>(text).ok().filter(|_| key == "class_names");
    if let (Some(own), Some(common)) = (names(own), names(common))
        && let Some(class) = own.iter().zip(&common).position(|(own, common)| own != common)
    {
        let quoted = |name: &String| format!("{name:?}");
        return (format!("class {class}, counted from 0,"), quoted(&own[class]), quoted(&common[class]));
    }
    let what = if key == "classes" { "number of classes" } else { key };
    (what.into(), own.into(), common.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{DATA_DIGEST, builtin};

    /// An untrained classifier of digits.
    fn member(name: &str, seed: u32) -> ModelFile {
        untrained(&builtin(name).unwrap(), seed)
    }

    fn untrained(architecture: &Architecture, seed: u32) -> ModelFile {
        let mut store = Store::default();
        let (network, parameters) = architecture.declare([28, 28, 1], 10, &mut store, "classifier").unwrap();
        let mut file = ModelFile::new(&network, &parameters, &parameters.initial(seed));
        file.set("mean", 0.13);
        file.set("std", 0.31);
        ModelFile { name: format!("{}-{seed}", architecture.name).into(), ..file }
    }

    #[test]
    fn only_the_last_layers_of_members_are_divided_by_their_number_whatever_layers_are_called() {
        // The longest names, and such as begin with the last layer's.
        for end in ["out", &"o".repeat(MAX_NAME - 1)] {
            let layers = format!("{{ dense = 6, name = \"{end}2\" }}, {{ dense = 5, name = \"{end}3\" }}");
            let text = format!("layers = [\"flatten\", {layers}, {{ dense = \"classes\", name = \"{end}\" }}]");
            let architecture = Architecture::parse(&text, "net.toml").unwrap();
            let members = [1, 2].map(|seed| untrained(&architecture, seed));
            let joined = ModelFile::ensemble(&members).unwrap();
            let own: Vec<_> = members.iter().flat_map(|member| &member.tensors).collect();
            assert_eq!((own.len(), joined.tensors.len()), (12, 12));
            for (joined, own) in joined.tensors.iter().zip(own) {
                let (Words::F32(found), Words::F32(numbers)) = (&joined.words, &own.words) else { panic!("{end}") };
                let by = if own.name.starts_with(&format!("{end}.")) { 2.0 } else { 1.0 };
                let wanted: Vec<f32> = numbers.iter().map(|number| number / by).collect();
                assert_eq!(*found, wanted, "{} as {}", own.name, joined.name);
            }
        }
    }

    #[test]
    fn an_ensemble_takes_pictures_as_its_members_do() {
        let [mut first, mut second] = [member("dense", 1), member("dense", 2)];
        assert!(!ModelFile::ensemble(&[first.clone(), second.clone()]).unwrap().takes_pictures_as_they_are());
        first.set("pictures", "raw");
        let joined = ModelFile::ensemble(&[first.clone(), second.clone()]).unwrap();
        assert!(!joined.takes_pictures_as_they_are(), "the members do not agree");
        second.set("pictures", "raw");
        assert!(ModelFile::ensemble(&[first, second]).unwrap().takes_pictures_as_they_are());
    }

    #[test]
    fn an_ensemble_knows_the_paper_that_some_members_are_too_old_to_tell_of() {
        let joined = |backgrounds: [Option<u8>; 3]| {
            let members = backgrounds.into_iter().zip(1..).map(|(background, seed)| {
                let mut member = member("dense", seed);
                if let Some(grey) = background {
                    member.set(Normalization::BACKGROUND, grey);
                }
                member
            });
            let file = ModelFile::ensemble(&members.collect::<Vec<_>>()).unwrap();
            Normalization::read(&file).unwrap().background
        };
        assert_eq!(joined([Some(243), Some(243), Some(243)]), 243);
        assert_eq!(joined([None, Some(243), None]), 243);
        assert_eq!(joined([Some(243), None, Some(200)]), 222, "of other paper");
        assert_eq!(joined([None, None, None]), 0);
        let mut members = [member("dense", 1), member("dense", 2)];
        members[0].set(Normalization::BACKGROUND, 243);
        members[0].set_pictures(Some(Pictures::Raw));
        let file = ModelFile::ensemble(&members).unwrap();
        assert!(!file.metadata.contains_key(Normalization::BACKGROUND), "the other one gets pictures prepared");
    }

    #[test]
    fn an_ensemble_has_learned_from_whatever_its_members_have_first_from_the_most_images() {
        let trained = |seed: u32, digest: &str, hold_out: Option<usize>, before: &[Learned]| {
            let mut member = member("dense", seed);
            member.set(DATA_DIGEST, digest);
            member.set_hold_out(hold_out.map(HoldOut::Count));
            member.set_learned_before(before);
            member
        };
        let joined = |members: [ModelFile; 2]| {
            let learned = ModelFile::ensemble(&members).unwrap().learned().into_iter();
            learned.map(|learned| (learned.digest.unwrap(), learned.hold_out)).collect::<Vec<_>>()
        };
        let known = |digest: &str, hold_out: Option<usize>| (digest.to_owned(), hold_out.map(HoldOut::Count));
        let tenth = || trained(1, "a", None, &[]);
        assert_eq!(joined([tenth(), trained(2, "a", None, &[])]), [known("a", None)]);
        let [fewer, more] = [trained(1, "a", Some(20), &[]), trained(2, "b", Some(10), &[])];
        assert_eq!(joined([fewer, more]), [known("b", Some(10)), known("a", Some(20))]);
        let all = trained(2, "b", Some(0), &[]);
        assert_eq!(joined([tenth(), all.clone()]), [known("b", Some(0)), known("a", None)]);
        // Before its own training, a member had learned from all images.
        let later = trained(3, "c", Some(10), &all.learned());
        assert_eq!(joined([tenth(), later]), [known("c", Some(10)), known("b", Some(0)), known("a", None)]);
    }

    #[test]
    fn members_that_do_not_belong_together_are_refused_by_name() {
        let message = |members: &[ModelFile]| ModelFile::ensemble(members).unwrap_err().to_string();
        let mut other = member("dense", 2);
        other.set("mean", 0.5);
        let found = message(&[member("dense", 1), other]);
        assert!(found.starts_with("dense-2: its mean is 0.5, but in dense-1 it is 0.13"), "{found}");
        assert!(found.contains("the same --data, --hold-out") && found.ends_with("--members N`"), "{found}");
        let mut fewer = member("dense", 2);
        fewer.set("classes", 3);
        let found = message(&[member("dense", 1), fewer]);
        assert!(found.starts_with("dense-2: its number of classes is 3, but in dense-1 it is 10;"), "{found}");
        assert!(message(&[member("dense", 1)]).contains("two members or more"));
        let joined = ModelFile::ensemble(&[member("dense", 1), member("dense", 2)]).unwrap();
        let joined = ModelFile { name: "joined".into(), ..joined };
        let found = message(&[member("dense", 3), joined]);
        assert!(found.starts_with("joined: is an ensemble already"), "{found}");
        assert!(found.ends_with(": dense-1 dense-2"), "{found}");
        let [mut one, mut other] = [member("dense", 1), member("dense", 2)];
        one.set_class_names(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(|i| i.to_string()));
        other.set_class_names(&["0", "1", "6 \"q\"", "3", "4", "5", "6", "7", "8", "9"].map(String::from));
        let found = message(&[one, other]);
        let words = r#"dense-2: its class 2, counted from 0, is "6 \"q\"", but in dense-1 it is "2"; members"#;
        assert!(found.starts_with(words), "{found}");
        let found = message(&[member("dense", 1), ModelFile::shipped("gan").unwrap()]);
        assert!(found.starts_with("gan: holds a generator and no classifier"), "{found}");
    }
}
