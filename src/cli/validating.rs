//! Which images a run that starts from a model validates on, and which of them the model knows.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::learner::{Learner, TrainedOn};
use crate::data::{DataSet, ImageSet, Reading, digest};
use crate::models::{Aside, Learned, ModelFile};
use crate::train::Settings;

/// Whether a model knows an image. What comes later counts for more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    /// It does not, as far as can be told.
    No,
    /// It has learned from what was read at the same place, which has changed since.
    FromBefore,
    /// A training was given it that does not say whether it has set it aside.
    Perhaps,
    /// It has learned from it.
    Yes,
}

/// Has a run that starts from a model of the same images validate on those that the model was validated on. `set` has
/// the model's classes, and was read at `place`. Returns a warning where the model has learned from some of these all
/// the same, in its own training or in one before that, or may have.
pub fn validate_as_before(
    file: &ModelFile,
    place: Option<&Path>,
    set: &DataSet,
    settings: &mut Settings,
) -> Option<String> {
    let trainings = file.learned();
    if settings.validation == 0 || trainings.is_empty() {
        return None;
    }
    let own = Some(digest(&set.train));
    let mut same = trainings.iter().filter(|learned| learned.digest == own);
    let newest = same.find_map(|learned| learned.aside).filter(|aside| aside.images > 0);
    settings.validation_seed = newest.map(|aside| aside.seed);

    let known = known(&mut Learner::new(file, place), trainings, set, &settings.reading);
    if settings.members > 1 && settings.validation_seed.is_none() && known.iter().any(|known| *known != Known::No) {
        // What is said holds for every member then.
        settings.validation_seed = Some(settings.seed);
    }
    let known_of = |count: usize| -> Vec<Known> {
        // More than there are is refused later.
        let set_aside = set.train.held_out(count, settings.drawn_by()).unwrap_or_default();
        set_aside.into_iter().zip(&known).filter_map(|(is_aside, known)| is_aside.then_some(*known)).collect()
    };
    let (validated, model) = (known_of(settings.validation), file.name.display());
    let wanted = validated.len();
    let mut remedy = String::new();
    let doubt = match validated.iter().max()? {
        Known::No => return None,
        Known::FromBefore => format!(
            "{model} has learned from {} as it was read then, and may know some of these {wanted} validation images",
            set.name
        ),
        Known::Perhaps => format!(
            "{model} has learned from these images in a training of which it is not known what was set aside, and may \
             know some of these {wanted} validation images"
        ),
        Known::Yes => {
            let count = validated.iter().filter(|known| **known == Known::Yes).count();
            let were = if count == 1 { "was" } else { "were" };
            let is_new = |count: &usize| {
                let fewer = known_of(*count);
                !fewer.is_empty() && fewer.iter().all(|known| *known == Known::No)
            };
            if let Some(fewer) = newest.map(|aside| aside.images).filter(is_new) {
                remedy = format!("; none would be with --validation {fewer}");
            }
            format!("{count} of the {wanted} validation images {were} among those that {model} was trained on")
        }
    };
    Some(format!("warning: {doubt}, so validation accuracy may be too high{remedy}"))
}

/// Whether a model that has had these trainings knows an image, for each image to train with.
fn known(learner: &mut Learner, trainings: Vec<Learned>, set: &DataSet, reading: &Reading) -> Vec<Known> {
    let train = &set.train;
    let mut known = vec![Known::No; train.len()];
    // By all that they have in common: an ensemble's members have set aside others of the same images, which are read once.
    let mut asides: HashMap<Learned, HashSet<Option<Aside>>> = HashMap::new();
    for learned in trainings {
        let aside = learned.aside;
        asides.entry(Learned { aside: None, ..learned }).or_default().insert(aside);
    }
    for (learned, asides) in asides {
        let by_these = match learner.trained_on(set, reading, &learned) {
            TrainedOn::Same => learned_from(train, &asides),
            TrainedOn::Images(given) => among(train, &given, &learned_from(&given, &asides)),
            // Files of older versions do not say what the images were.
            TrainedOn::Changed if learned.digest.is_none() => vec![Known::Perhaps; train.len()],
            TrainedOn::Changed => vec![Known::FromBefore; train.len()],
            TrainedOn::Others => continue,
        };
        known.iter_mut().zip(by_these).for_each(|(known, by_these)| *known = by_these.max(*known));
    }
    known
}

/// Whether trainings that were given these images, and have set some aside, have learned from an image, for each.
fn learned_from(given: &ImageSet, asides: &HashSet<Option<Aside>>) -> Vec<Known> {
    let mut known = vec![Known::No; given.len()];
    for aside in asides {
        let held_out = aside.and_then(|aside| given.held_out(aside.images, u64::from(aside.seed)).ok());
        let by_this = |i: usize| match &held_out {
            Some(held_out) if held_out[i] => Known::No,
            Some(_) => Known::Yes,
            // Files of older versions do not say what was set aside before their own training, and others may say what
            // cannot be.
            None => Known::Perhaps,
        };
        known.iter_mut().enumerate().for_each(|(i, known)| *known = by_this(i).max(*known));
    }
    known
}

/// What is known of images, for each, by the same pixels among others of which it is known.
fn among(images: &ImageSet, others: &ImageSet, known: &[Known]) -> Vec<Known> {
    let mut by_pixels: HashMap<&[u8], Known> = HashMap::new();
    for (i, known) in known.iter().enumerate() {
        let most = by_pixels.entry(others.image(i)).or_insert(*known);
        *most = (*most).max(*known);
    }
    (0..images.len()).map(|i| by_pixels.get(images.image(i)).copied().unwrap_or(Known::No)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::learner::testing::*;
    use super::*;
    use crate::data::HoldOut;
    use crate::models::{DATA_DIGEST, Recipe};

    /// The file of a model that has learned from a table's images, of which it has set some aside by a seed.
    fn validated(set: &DataSet, images: usize, seed: u32, before: &[Learned]) -> ModelFile {
        let mut file = ModelFile::default();
        file.set("classes", 2);
        file.set(DATA_DIGEST, digest(&set.train));
        file.set("trained", format!("seed = {seed}\nvalidation = {images}"));
        file.set_learned_before(before);
        file
    }

    /// The seed of the images that a run from a model validates on, and what is said of them. The run reads the table
    /// at `place` with a hold-out.
    fn told(file: &ModelFile, place: &Path, hold_out: usize, validation: usize) -> (Option<u32>, String) {
        let (set, reading) = (read(place, Some(hold_out)), asked(Some(hold_out)));
        let mut settings =
            Settings { seed: 9, validation, reading, ..Settings::from_recipe("dense", &Recipe::default()) };
        let told = validate_as_before(file, Some(place), &set, &mut settings);
        (settings.validation_seed, told.unwrap_or_default())
    }

    #[test]
    fn validation_images_that_a_model_has_learned_from_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = table(folder.path());
        let set = read(&path, Some(0));
        let of = |file: &ModelFile, validation: usize| told(file, &path, 0, validation);
        let first = validated(&set, 10, 4, &[]);
        assert_eq!([0, 10, 6].map(|count| of(&first, count)), [None, Some(4), Some(4)].map(|seed| (seed, "".into())));
        let (seed, told) = of(&first, 16);
        assert!(seed == Some(4) && told.contains("6 of the 16 validation images were among those that "), "{told}");
        assert!(told.ends_with("; none would be with --validation 10"), "{told}");
        // Of other images nothing is to be said.
        assert_eq!(of(&validated(&read(&path, Some(2)), 0, 0, &[]), 10), (None, "".into()));

        // All images have been learned from: in the model's own training, or in that of one before.
        for file in
            [validated(&set, 0, 4, &first.learned()), validated(&set, 10, 4, &validated(&set, 0, 0, &[]).learned())]
        {
            assert!(of(&file, 10).1.contains(": 10 of the 10 validation images"), "{:?}", of(&file, 10));
            assert!(!of(&file, 10).1.contains("none would be"));
        }
        // Two that have set others aside have learned from nearly all together.
        let (_, told) = of(&validated(&set, 10, 5, &first.learned()), 10);
        assert!(told.contains(" of the 10 validation images"), "{told}");
    }

    #[test]
    fn validation_images_are_counted_that_a_model_has_learned_from_with_another_hold_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = table(folder.path());
        let by_seed = |hold_out: usize, validation: usize, seed: u32| {
            let mut file = validated(&read(&path, Some(hold_out)), validation, seed, &[]);
            file.set_hold_out(Some(HoldOut::Count(hold_out)));
            file
        };
        let after = |hold_out: usize, validation: usize| by_seed(hold_out, validation, 4);
        // It knows all of them.
        let (seed, doubt) = told(&after(0, 0), &path, 10, 8);
        assert!(seed.is_none() && doubt.contains(": 8 of the 8 validation images were among those that "), "{doubt}");
        // Each image is known, or was set aside to validate on or to test with.
        let (was, now) = (read(&path, Some(4)), read(&path, Some(10)));
        let (_, validated_on) = now.train.split(8, 9).unwrap();
        let known_after = |seeds: &[u64]| {
            let learned_from = seeds.iter().map(|seed| was.train.split(20, *seed).unwrap().0).collect::<Vec<_>>();
            let has = |set: &ImageSet, i: usize| (0..set.len()).any(|j| set.image(j) == validated_on.image(i));
            (0..8).filter(|i| learned_from.iter().any(|set| has(set, *i))).count()
        };
        let [first, both] = [&[4][..], &[4, 5]].map(known_after);
        assert!(0 < first && first < both && both < 8, "{first}, {both}");
        let (_, doubt) = told(&after(4, 20), &path, 10, 8);
        assert!(doubt.contains(&format!(": {first} of the 8 validation images ")), "{first}: {doubt}");
        // The members of an ensemble have set others aside.
        let mut joined = ModelFile::default();
        joined.set("classes", 2);
        joined.set_learned_before(&Learned::all([&by_seed(4, 20, 4), &by_seed(4, 20, 5)]));
        let (_, doubt) = told(&joined, &path, 10, 8);
        assert!(doubt.contains(&format!(": {both} of the 8 validation images ")), "{both}: {doubt}");
        // So are those of one before, with whatever hold-out.
        let mut later = after(10, 8);
        later.set_learned_before(&after(0, 0).learned());
        assert!(told(&later, &path, 10, 8).1.contains(": 8 of the 8 validation images were"));
        assert!(told(&later, &path, 4, 8).1.contains(": 8 of the 8 validation images were"));
        assert_eq!(told(&after(10, 8), &path, 10, 8).1, "");
    }

    #[test]
    fn members_validate_on_the_same_images_where_the_model_knows_some() {
        let folder = tempfile::tempdir().unwrap();
        let path = table(folder.path());
        let after = |learned_from: &Path, hold_out: usize| {
            let mut file = validated(&read(learned_from, Some(hold_out)), 0, 4, &[]);
            file.set_hold_out(Some(HoldOut::Count(hold_out)));
            let recipe = Settings::from_recipe("dense", &Recipe::default());
            let mut settings = Settings { seed: 9, validation: 8, members: 3, reading: asked(Some(10)), ..recipe };
            let told = validate_as_before(&file, Some(&path), &read(&path, Some(10)), &mut settings);
            (settings.validation_seed, told.is_some())
        };
        assert_eq!(after(&path, 0), (Some(9), true));
        // Of other images each draws its own.
        let other = folder.path().join("other.csv");
        std::fs::write(&other, std::fs::read_to_string(&path).unwrap().replace("255", "254")).unwrap();
        assert_eq!(after(&other, 10), (None, false));
    }

    #[test]
    fn a_model_may_know_validation_images_where_one_before_it_does_not_say_what_it_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = table(folder.path());
        let without_a_word = |hold_out: usize| {
            let mut before = validated(&read(&path, Some(hold_out)), 10, 4, &[]);
            before.set_hold_out(Some(HoldOut::Count(hold_out)));
            before.metadata.remove("trained");
            before.learned()
        };
        let may =
            "what was set aside, and may know some of these 10 validation images, so validation accuracy may be too";
        for hold_out in [0, 4] {
            let file = validated(&read(&path, Some(0)), 10, 4, &without_a_word(hold_out));
            let (seed, doubt) = told(&file, &path, 0, 10);
            assert!(seed == Some(4) && doubt.contains(may), "{hold_out}: {doubt}");
        }
        // What is known for certain counts.
        let file = validated(&read(&path, Some(0)), 0, 4, &without_a_word(0));
        assert!(told(&file, &path, 0, 10).1.contains(": 10 of the 10 validation images were"));
    }

    #[test]
    fn a_model_may_know_validation_images_of_a_place_that_has_changed_since_it_learned() {
        let folder = tempfile::tempdir().unwrap();
        let path = table(folder.path());
        let mut file = validated(&read(&path, Some(10)), 8, 4, &[]);
        let place = toml::Value::from(path.display().to_string());
        file.set("trained", format!("seed = 4\nvalidation = 8\ndata = {place}"));
        file.set_hold_out(Some(HoldOut::Count(10)));
        assert_eq!(told(&file, &path, 10, 8), (Some(4), "".into()), "nothing has changed");
        let rows = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{rows}1,77,0,255,9\n")).unwrap();
        let (seed, doubt) = told(&file, &path, 10, 8);
        assert!(seed.is_none() && doubt.contains("as it was read then, and may know some of these 8 valid"), "{doubt}");
        assert!(doubt.ends_with("so validation accuracy may be too high"), "{doubt}");
        let elsewhere = folder.path().join("b.csv");
        std::fs::copy(&path, &elsewhere).unwrap();
        assert_eq!(told(&file, &elsewhere, 10, 8).1, "", "other images");
    }
}
