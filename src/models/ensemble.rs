//! Several classifiers joined into one, whose logits are the mean of theirs.
//!
//! An ensemble is an ordinary network: its members are branches from the same image, each with the last layer's
//! weights divided by their number, and an `add` joins them. So whatever takes a model takes an ensemble.

use std::path::{Path, PathBuf};

use super::container::Words;
use super::error::{At, ModelError};
use super::file::{ModelFile, refuse};
use super::layer::{Kind, Layer};
use super::spec::{Architecture, INPUT, MAX_LAYERS};
use crate::data::Pictures;
use crate::graph::Store;

/// Metadata that only an ensemble has: what its members were called.
const MEMBERS: &str = "members";
/// Metadata that members must have in common, since the ensemble has each but once.
const SHARED: &[&str] = &["input", "classes", "class_names", "mean", "std"];
/// Metadata about the training, which are kept where all members agree on them.
const AGREED: &[&str] = &["data", "data_digest", "hold_out", Pictures::KEY, "device", "driver", "precision"];

impl ModelFile {
    /// Joins trained classifiers; paths are what errors call them.
    ///
    /// # Errors
    /// Fewer than two members, generators, ensembles, networks that do not end in a dense layer, and members that
    /// differ in image size, classes or normalization.
    pub fn ensemble(members: &[(PathBuf, ModelFile)]) -> Result<ModelFile, ModelError> {
        let [(first_path, first), _, ..] = members else {
            let path = members.first().map_or_else(|| "an ensemble".into(), |(path, _)| path.clone());
            return Err(refuse(&path, "an ensemble has two members or more"));
        };
        for (path, member) in members {
            // What is no classifier has not the metadata that are compared below.
            member.architecture(path)?;
            if let Some(own) = member.metadata.get(MEMBERS) {
                return Err(refuse(path, format!("is an ensemble already; name its members in its place: {own}")));
            }
        }
        let mut file = ModelFile::default();
        file.set("version", env!("CARGO_PKG_VERSION"));
        for key in SHARED {
            file.set(key, shared(members, key)?);
        }
        for key in AGREED {
            if let Some(value) = first.metadata.get(*key)
                && members.iter().all(|(_, member)| member.metadata.get(*key) == Some(value))
            {
                file.set(key, value);
            }
        }
        let names: Vec<String> = members.iter().map(|(path, _)| path.display().to_string()).collect();
        file.set(MEMBERS, serde_json::Value::from(names));

        let mut layers = Vec::new();
        let mut ends = Vec::new();
        for (i, (path, member)) in members.iter().enumerate() {
            let branch = Branch::new(path, member, i + 1, members.len())?;
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
            return Err(refuse(first_path, problem));
        }
        let about = format!("{} classifiers, whose logits are averaged", members.len());
        file.set("architecture", Architecture::from_layers("ensemble", &about, layers)?.text());
        // What a reader would refuse is refused by the writer.
        let path = Path::new("the ensemble");
        let mut store = Store::default();
        let (_, parameters) = file.network(path, &mut store, "ensemble")?;
        file.values(&parameters, path)?;
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
    fn new(path: &Path, member: &ModelFile, number: usize, of: usize) -> Result<Branch, ModelError> {
        let mut store = Store::default();
        let (network, parameters) = member.network(path, &mut store, "member")?;
        let (weights, running) = member.values(&parameters, path)?;
        let prefix = |name: &str| format!("m{number}-{name}");

        let mut layers = network.architecture.layers.clone();
        let names: Vec<String> = network.layers().into_iter().map(|layer| layer.name).collect();
        for (i, layer) in layers.iter_mut().enumerate() {
            let joins = !layer.sources().is_empty();
            layer.sources_mut().filter(|name| *name != INPUT).for_each(|name| *name = prefix(name));
            if i == 0 && !joins {
                layer.from = Some(INPUT.into());
            }
            layer.name = Some(prefix(&names[i]));
        }
        let (Some(last), Some(end)) = (layers.last(), names.last()) else {
            return Err(refuse(path, "has no layers"));
        };
        if !matches!(last.kind, Kind::Dense { .. }) || last.activation.is_some() {
            let problem = format!("ends in `{last}`; a member of an ensemble ends in a dense layer without activation");
            return Err(refuse(path, problem));
        }

        let mut part = ModelFile::default();
        part.add_flat(&prefix(""), parameters.trainable(), &weights);
        part.add_flat(&prefix(""), parameters.running(), &running);
        let own = format!("{}.", prefix(end));
        for tensor in part.tensors.iter_mut().filter(|tensor| tensor.name.starts_with(&own)) {
            if let Words::F32(words) = &mut tensor.words {
                words.iter_mut().for_each(|word| *word /= of as f32);
            }
        }
        Ok(Branch { layers, tensors: part.tensors, end: prefix(end) })
    }
}

/// The value that all members have.
fn shared(members: &[(PathBuf, ModelFile)], key: &str) -> Result<String, ModelError> {
    let mut value: Option<(&Path, String)> = None;
    for (path, member) in members {
        let own = match key {
            "class_names" => serde_json::Value::from(member.class_names(path)?).to_string(),
            _ => member.get(key, path)?.to_string(),
        };
        match &value {
            None => value = Some((path, own)),
            Some((first, common)) if *common != own => {
                let problem = format!(
                    "its {key} is {own}, that of {} is {common}; members must agree. Train them on the same images, \
                     with the same --data, --hold-out and --extend, or all at once: `inkgrad train --members N`",
                    first.display()
                );
                return Err(refuse(path, problem));
            }
            Some(_) => {}
        }
    }
    Ok(value.map_or_else(String::new, |(_, value)| value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::HoldOut;
    use crate::models::builtin;

    /// An untrained classifier of digits.
    fn member(name: &str, seed: u32) -> (PathBuf, ModelFile) {
        let mut store = Store::default();
        let declared = builtin(name).unwrap().declare([28, 28, 1], 10, &mut store, "classifier");
        let (network, parameters) = declared.unwrap();
        let (weights, running) = (parameters.initial(seed), parameters.initial_state());
        let mut file = ModelFile::new(&network, &parameters, &weights, &running);
        file.set("mean", 0.13);
        file.set("std", 0.31);
        (format!("{name}-{seed}").into(), file)
    }

    #[test]
    fn an_ensemble_takes_pictures_as_its_members_do() {
        let [mut first, mut second] = [member("dense", 1), member("dense", 2)];
        assert!(!ModelFile::ensemble(&[first.clone(), second.clone()]).unwrap().takes_pictures_as_they_are());
        first.1.set("pictures", "raw");
        second.1.set("pictures", "raw");
        assert!(ModelFile::ensemble(&[first, second]).unwrap().takes_pictures_as_they_are());
    }

    #[test]
    fn an_ensemble_knows_the_hold_out_that_all_its_members_have() {
        let [mut first, mut second] = [member("dense", 1), member("dense", 2)];
        first.1.set_hold_out(Some(HoldOut::Count(10)));
        second.1.set_hold_out(Some(HoldOut::Count(10)));
        let hold_out = |members: &[(PathBuf, ModelFile)]| ModelFile::ensemble(members).unwrap().hold_out();
        assert_eq!(hold_out(&[first.clone(), second.clone()]), Some(HoldOut::Count(10)));
        second.1.set_hold_out(Some(HoldOut::Count(20)));
        assert_eq!(hold_out(&[first, second]), None);
    }

    #[test]
    fn members_that_do_not_belong_together_are_refused_by_name() {
        let message = |members: &[(PathBuf, ModelFile)]| ModelFile::ensemble(members).unwrap_err().to_string();
        let mut other = member("dense", 2);
        other.1.set("mean", 0.5);
        let found = message(&[member("dense", 1), other]);
        assert!(found.starts_with("dense-2: its mean is 0.5, that of dense-1 is 0.13"), "{found}");
        assert!(found.contains("the same --data, --hold-out") && found.ends_with("--members N`"), "{found}");
        assert!(message(&[member("dense", 1)]).contains("two members or more"));
        let joined = ("joined".into(), ModelFile::ensemble(&[member("dense", 1), member("dense", 2)]).unwrap());
        let found = message(&[member("dense", 3), joined]);
        assert!(found.starts_with("joined: is an ensemble already"), "{found}");
        assert!(found.ends_with(r#"["dense-1","dense-2"]"#), "{found}");
        let gan = ("gan".into(), ModelFile::shipped("gan").unwrap());
        let found = message(&[member("dense", 1), gan]);
        assert!(found.starts_with("gan: holds a generator and no classifier"), "{found}");
    }
}
