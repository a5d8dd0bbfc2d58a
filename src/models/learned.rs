//! What a model has learned from: in its own training, and before that in the model that it started from, or in the
//! members that were joined into it.

use serde::{Deserialize, Serialize};

use super::file::{DATA_DIGEST, ModelFile};
use crate::data::HoldOut;

/// Metadata: how many images were set aside for testing.
const HOLD_OUT: &str = "hold_out";
/// Metadata: a run's settings.
const TRAINED: &str = "trained";
/// Metadata: what was learned from before the model's own training.
const LEARNED_BEFORE: &str = "learned_before";

/// The images of one training.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Learned {
    /// What identifies them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// How many others were set aside for testing, if a number was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_out: Option<HoldOut>,
    /// The path that they were read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Which of them were set aside to validate on, if that is known: the training has not learned from these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aside: Option<Aside>,
}

/// Images that a training set aside to validate on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Aside {
    pub images: usize,
    /// By which they were drawn; 0 where there are none.
    pub seed: u32,
}

impl Learned {
    /// All that several models have learned from, in their order, each once.
    pub fn all<'a>(files: impl IntoIterator<Item = &'a ModelFile>) -> Vec<Learned> {
        let mut all = Vec::new();
        for learned in files.into_iter().flat_map(ModelFile::learned) {
            if !all.contains(&learned) {
                all.push(learned);
            }
        }
        all
    }
}

impl ModelFile {
    /// Stores how many images of its data were set aside for testing, if a number was asked for. Another number sets
    /// other images aside, some of which the model has learned from.
    pub fn set_hold_out(&mut self, hold_out: Option<HoldOut>) {
        if let Some(HoldOut::Count(count)) = hold_out {
            self.set(HOLD_OUT, count);
        }
    }

    /// What [`ModelFile::set_hold_out`] has stored.
    pub fn hold_out(&self) -> Option<HoldOut> {
        self.metadata.get(HOLD_OUT)?.parse().ok().map(HoldOut::Count)
    }

    /// Stores what the model had learned from before its own training.
    pub fn set_learned_before(&mut self, before: &[Learned]) {
        // Texts and numbers, which JSON always has a form for.
        if let (false, Ok(text)) = (before.is_empty(), serde_json::to_string(before)) {
            self.set(LEARNED_BEFORE, text);
        }
    }

    /// What the model has learned from: in its own training, and before that. Text that is no such list counts as none.
    pub fn learned(&self) -> Vec<Learned> {
        let before = self.metadata.get(LEARNED_BEFORE).and_then(|text| serde_json::from_str(text).ok());
        let own = Learned {
            digest: self.metadata.get(DATA_DIGEST).cloned(),
            hold_out: self.hold_out(),
            place: self.place(),
            aside: self.aside(),
        };
        let mut learned: Vec<Learned> = before.unwrap_or_default();
        learned.retain(|before| *before != own);
        if own.digest.is_some() || own.place.is_some() {
            learned.insert(0, own);
        }
        learned
    }

    fn place(&self) -> Option<String> {
        self.setting("data")
    }

    fn aside(&self) -> Option<Aside> {
        let settings = self.settings()?;
        let number = |key: &str| settings.get(key)?.as_integer();
        let images = usize::try_from(number("validation")?).ok()?;
        let seed = if images > 0 { number("validation_seed").or_else(|| number("seed"))? } else { 0 };
        Some(Aside { images, seed: u32::try_from(seed).ok()? })
    }

    /// A text among the settings of the model's own training.
    pub(super) fn setting(&self, key: &str) -> Option<String> {
        Some(self.settings()?.get(key)?.as_str()?.to_owned())
    }

    fn settings(&self) -> Option<toml::Table> {
        self.metadata.get(TRAINED)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trained(digest: &str, hold_out: Option<usize>, before: &[Learned]) -> ModelFile {
        let mut file = ModelFile::default();
        file.set(DATA_DIGEST, digest);
        file.set_hold_out(hold_out.map(HoldOut::Count));
        file.set(TRAINED, "epochs = 1\ndata = 'a \"b\".csv'");
        file.set_learned_before(before);
        file
    }

    #[test]
    fn a_model_knows_what_it_has_learned_from_itself_and_what_those_before_it_have() {
        let first = trained("a", Some(0), &[]);
        let second = trained("b", None, &first.learned());
        let third = trained("c", Some(18), &second.learned());
        let of = |digest: &str, hold_out: Option<usize>| Learned {
            digest: Some(digest.into()),
            hold_out: hold_out.map(HoldOut::Count),
            place: Some("a \"b\".csv".into()),
            aside: None,
        };
        let all = [of("c", Some(18)), of("b", None), of("a", Some(0))];
        assert_eq!(third.learned(), all);
        // Each is told once, however often a model goes on with the same images.
        assert_eq!(trained("c", Some(18), &third.learned()).learned(), all);
        assert_eq!(Learned::all([&third, &second, &first]), all);
    }

    #[test]
    fn a_model_knows_which_images_it_has_validated_on() {
        let aside = |settings: &str| {
            let mut file = trained("a", None, &[]);
            file.set(TRAINED, settings);
            let mut after = trained("b", None, &[]);
            after.set_learned_before(&file.learned());
            assert_eq!(after.learned()[1..], file.learned());
            file.learned()[0].aside.map(|aside| (aside.images, aside.seed))
        };
        assert_eq!(aside("seed = 7\nvalidation = 10"), Some((10, 7)));
        assert_eq!(aside("seed = 7\nvalidation = 10\nvalidation_seed = 3"), Some((10, 3)));
        assert_eq!(aside("seed = 7\nvalidation = 0"), Some((0, 0)));
        assert_eq!(aside("seed = 7"), None);
    }

    #[test]
    fn a_file_that_says_nothing_of_its_training_tells_nothing() {
        let mut file = ModelFile::default();
        assert!(file.learned().is_empty());
        file.set(LEARNED_BEFORE, "not a list");
        assert!(file.learned().is_empty());
    }
}
