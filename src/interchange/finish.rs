//! From a draft to a model file: where it ends, what is merged, what it is called.

use std::collections::HashSet;

use super::draft::{Draft, From, Step};
use super::order::{Order, Piece, orders, rows_to_own, to_own};
use super::scale::Scale;
use crate::data::{MAX_CHANNELS, MAX_CLASSES, Pictures};
use crate::graph::Store;
use crate::models::{
    Architecture, INPUT, Kind, LABEL, Layer, MAX_SIZE, ModelFile, Nonlinearity, Normalization, Parameter, Units, by,
};

/// What the person who imports a model says about it.
#[derive(Clone, Default, Debug)]
pub struct Wishes {
    /// The names of the classes; by default what the file calls them, or their numbers.
    pub class_names: Option<Vec<String>>,
    /// What numbers the network expects for bytes; by default what its first layer hints at.
    pub scale: Option<Scale>,
    /// Height, width and channels of the images, where the file does not say.
    pub input: Option<[usize; 3]>,
}

/// An imported model.
#[derive(Clone, Debug)]
pub struct Imported {
    pub file: ModelFile,
    /// What the person who imports it should know: what was assumed, what was changed.
    pub notes: Vec<String>,
}

/// A problem, with the layer that has it if it concerns one layer.
type Problem = String;

impl Draft {
    /// A model file of the layers that `output` depends on. `origin` says where they come from, for the file's `about`.
    ///
    /// # Errors
    /// A message that says why they cannot be a classifier of this program.
    pub fn finish(mut self, output: From, name: &str, origin: &str, wishes: &Wishes) -> Result<Imported, Problem> {
        let last = self.logits(output)?;
        self.keep_only(last);
        self.skip_reshapes();
        self.join_activations();
        self.reorder()?;
        let names = self.names();
        let classes = self.steps.last().map_or(0, |step| step.shape.iter().product());
        let class_names = class_names(wishes.class_names.clone(), classes)?;
        let normalization = self.normalization(wishes.scale)?;

        let last = self.steps.len() - 1;
        let layers: Vec<Layer> = (0..=last).map(|i| self.layer(i, &names)).collect();
        let architecture = Architecture::from_layers(name, origin, layers).map_err(|error| error.to_string())?;
        let mut store = Store::default();
        let (network, parameters) =
            architecture.declare(self.input, classes, &mut store, "classifier").map_err(|error| error.to_string())?;
        let mut values = parameters.zeros();
        for (step, name) in self.steps.iter().zip(&names) {
            for (suffix, data) in &step.tensors {
                let full = format!("{}.{suffix}", name.as_deref().unwrap_or_default());
                let own = |p: &&Parameter| p.name == full;
                let (p, flat) = match parameters.trainable().iter().find(own) {
                    Some(p) => (p, &mut values.weights),
                    None => match parameters.statistics().iter().find(own) {
                        Some(p) => (p, &mut values.running),
                        None => return Err(format!("{full}: no layer asks for this tensor")),
                    },
                };
                if data.len() != p.shape.len() {
                    return Err(format!("{full}: has {} numbers, where {} are needed", data.len(), p.shape));
                }
                if let Some(bad) = data.iter().find(|x| !x.is_finite()) {
                    return Err(format!("{full}: holds {bad}; a network with such weights answers nothing"));
                }
                // Batch norm's means come first, then its variances.
                if let ("running", Some(bad)) = (*suffix, data[data.len() / 2..].iter().find(|x| **x < 0.0)) {
                    return Err(format!("{full}: holds a variance of {bad}; none is below 0"));
                }
                flat[p.offset..][..data.len()].copy_from_slice(data);
            }
        }
        let mut file = ModelFile::new(&network, &parameters, &values);
        file.set_class_names(&class_names);
        store_normalization(&mut file, normalization);
        file.set("imported", origin);
        Ok(Imported { file, notes: self.notes })
    }

    fn named(&self, at: usize) -> String {
        self.steps[at].label.clone().unwrap_or_else(|| Layer::new(self.steps[at].kind.clone()).prefix().into())
    }

    /// The layer before the final softmax: a classifier here gives logits.
    fn logits(&mut self, output: From) -> Result<usize, Problem> {
        let From::Step(mut last) = output else {
            return Err("its output is its input: there is no layer".into());
        };
        // A softmax that is only reshaped afterwards cannot be left out.
        let mut before = last;
        while matches!(self.steps[before].kind, Kind::Flatten | Kind::Reshape { .. } | Kind::Dropout { .. })
            && let Some(From::Step(from)) = self.steps[before].inputs.first().copied()
        {
            before = from;
        }
        let end = self.steps[before].activation.filter(|_| before != last);
        if let Some(Nonlinearity::Softmax | Nonlinearity::Sigmoid) = end {
            let name = self.named(last);
            return Err(format!("{name}: comes after the softmax or sigmoid at the end; expected nothing after these"));
        }
        match self.steps[last].activation {
            Some(Nonlinearity::Softmax) => match (self.steps[last].kind.clone(), self.steps[last].inputs.first()) {
                (Kind::Activation, Some(From::Step(before))) => last = *before,
                (Kind::Activation, _) => return Err("there is no layer before its softmax".into()),
                _ => self.steps[last].activation = None,
            },
            Some(Nonlinearity::Sigmoid) => last = self.two_classes(last)?,
            _ => self.notes.push(format!(
                "{}: the network does not end in softmax; its outputs are taken as logits, whose softmax gives the \
                 probabilities",
                self.named(last)
            )),
        }
        if self.steps[last].shape.len() > 1 && self.steps[last].shape.iter().rev().skip(1).all(|size| *size == 1) {
            self.push(Kind::Flatten, &[From::Step(last)], None, Vec::new())?;
            last = self.steps.len() - 1;
        }
        match &self.steps[last].shape[..] {
            &[classes] if (2..=MAX_CLASSES).contains(&classes) => Ok(last),
            shape => {
                let wanted = format!("expected a classifier, which ends in 2 to {MAX_CLASSES} numbers for each image");
                Err(format!("{}: the network gives {shape:?}; {wanted}", self.named(last)))
            }
        }
    }

    /// One unit under a sigmoid equals the softmax of 0 and that unit.
    fn two_classes(&mut self, last: usize) -> Result<usize, Problem> {
        let from = match (&self.steps[last].kind, self.steps[last].inputs.first()) {
            (Kind::Activation, Some(From::Step(before))) => *before,
            _ => last,
        };
        let name = self.named(from);
        let step = &mut self.steps[from];
        let bare = from != last && step.activation.is_some();
        if bare || step.shape != [1] || !matches!(step.kind, Kind::Dense { .. }) {
            let problem = "ends in sigmoid, which makes each unit a probability of its own";
            return Err(format!(
                "{name}: the network {problem}; expected softmax, or a dense layer of one unit under a sigmoid"
            ));
        }
        step.activation = None;
        step.shape = vec![2];
        if let Kind::Dense { units, .. } = &mut step.kind {
            *units = Units::Count(2);
        }
        for suffix in ["weight", "bias"] {
            if let Some(data) = step.tensor(suffix) {
                *data = data.iter().flat_map(|x| [0.0, *x]).collect();
            }
        }
        self.notes
            .push(format!("{name}: one unit under a sigmoid became two classes under softmax, which is equivalent"));
        Ok(from)
    }

    /// A reshape of a reshape equals the second one alone, if channels come last.
    fn skip_reshapes(&mut self) {
        let shapes = |step: &Step| {
            step.activation.is_none()
                && !step.channels_first
                && matches!(step.kind, Kind::Flatten | Kind::Reshape { .. })
        };
        for i in 0..self.steps.len() {
            while shapes(&self.steps[i])
                && let Some(From::Step(before)) = self.steps[i].inputs.first().copied()
                && shapes(&self.steps[before])
            {
                self.steps[i].inputs = self.steps[before].inputs.clone();
            }
        }
    }

    /// An activation whose layer has no other use becomes part of that layer.
    fn join_activations(&mut self) {
        let last = self.steps.len() - 1;
        let mut users = vec![0; self.steps.len()];
        for step in &self.steps {
            step.inputs.iter().for_each(|from| {
                if let From::Step(at) = from {
                    users[*at] += 1
                }
            });
        }
        let mut stands: Vec<usize> = (0..self.steps.len()).collect();
        for i in 0..self.steps.len() {
            for at in 0..self.steps[i].inputs.len() {
                if let From::Step(from) = self.steps[i].inputs[at] {
                    self.steps[i].inputs[at] = From::Step(stands[from]);
                }
            }
            if let (Kind::Activation, Some(From::Step(before)), Some(activation)) =
                (&self.steps[i].kind, self.steps[i].inputs.first().copied(), self.steps[i].activation)
                && users[before] == 1
                && self.steps[before].activation.is_none()
                && takes_activation(&self.steps[before].kind)
            {
                self.steps[before].activation = Some(activation);
                stands[i] = before;
                users[before] = users[i];
            }
        }
        self.keep_only(stands[last]);
    }

    /// Drops what the last layer does not depend on.
    fn keep_only(&mut self, last: usize) {
        let mut used = vec![false; last + 1];
        used[last] = true;
        for i in (0..=last).rev() {
            if used[i] {
                self.steps[i].inputs.iter().for_each(|from| {
                    if let From::Step(at) = from {
                        used[*at] = true
                    }
                });
            }
        }
        let mut places = vec![0; last + 1];
        let mut kept = Vec::new();
        for (i, mut step) in self.steps.drain(..).take(last + 1).enumerate() {
            if used[i] {
                for from in &mut step.inputs {
                    if let From::Step(at) = from {
                        *at = places[*at];
                    }
                }
                places[i] = kept.len();
                kept.push(step);
            }
        }
        self.steps = kept;
    }

    /// Moves the numbers of tensors that belong to flattened images whose channels came first.
    fn reorder(&mut self) -> Result<(), Problem> {
        let number = |from: &From| match from {
            From::Input => None,
            From::Step(at) => Some(*at),
        };
        let pieces: Vec<Piece> = self
            .steps
            .iter()
            .map(|step| Piece {
                kind: &step.kind,
                inputs: step.inputs.iter().map(number).collect(),
                shape: &step.shape,
                channels_first: step.channels_first,
            })
            .collect();
        let found = orders(&self.input, &pieces).map_err(|(at, problem)| format!("{}: {problem}", self.named(at)))?;
        if found.last().is_some_and(Option::is_some) {
            return Err("its output is a flattened image, whose numbers are not classes".into());
        }
        for (i, step) in self.steps.iter_mut().enumerate() {
            let given: &Order = match step.inputs.first() {
                Some(From::Step(at)) => &found[*at],
                _ => &None,
            };
            let columns = step.shape.last().copied().unwrap_or(1);
            match step.kind {
                Kind::Dense { .. } => {
                    if let Some(weight) = step.tensor("weight") {
                        *weight = to_own(&found[i], &rows_to_own(given, weight, columns));
                    }
                    if let Some(bias) = step.tensor("bias") {
                        *bias = to_own(&found[i], bias);
                    }
                }
                Kind::BatchNorm { .. } => {
                    for (_, data) in &mut step.tensors {
                        *data = to_own(given, data);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A name for each layer that needs one: for its tensors, or because other layers refer to it.
    fn names(&self) -> Vec<Option<String>> {
        let mut needed: Vec<bool> = self.steps.iter().map(|step| !step.tensors.is_empty()).collect();
        for (i, step) in self.steps.iter().enumerate() {
            for from in &step.inputs {
                if let From::Step(at) = from
                    && (step.inputs.len() > 1 || at + 1 != i)
                {
                    needed[*at] = true;
                }
            }
        }
        let mut taken: HashSet<String> = [INPUT, LABEL].into_iter().map(String::from).collect();
        let mut name = |at: usize| {
            let wanted = plain(&self.named(at));
            let numbered = (2..).map(|i| format!("{wanted}_{i}"));
            let free = std::iter::once(wanted.clone()).chain(numbered).find(|name| !taken.contains(name))?;
            taken.insert(free.clone());
            Some(free)
        };
        // Labelled layers first, so that a label is never taken by a layer that has none.
        let mut names = vec![None; self.steps.len()];
        for labelled in [true, false] {
            for at in (0..self.steps.len()).filter(|at| needed[*at] && self.steps[*at].label.is_some() == labelled) {
                names[at] = name(at);
            }
        }
        names
    }

    fn layer(&self, at: usize, names: &[Option<String>]) -> Layer {
        let step = &self.steps[at];
        let called = |from: &From| match from {
            From::Input => INPUT.to_string(),
            From::Step(at) => names[*at].clone().unwrap_or_default(),
        };
        let mut kind = step.kind.clone();
        match &mut kind {
            Kind::Concat { from } | Kind::Add { from } | Kind::Dot { from } => {
                *from = step.inputs.iter().map(called).collect();
            }
            Kind::Dense { units, .. } if at + 1 == self.steps.len() => *units = Units::Classes,
            _ => {}
        }
        let joins = matches!(kind, Kind::Concat { .. } | Kind::Add { .. } | Kind::Dot { .. });
        let follows = match step.inputs.first() {
            Some(From::Step(before)) => before + 1 == at,
            _ => at == 0,
        };
        let from = if joins || follows { None } else { step.inputs.first().map(called) };
        Layer { activation: step.activation, name: names[at].clone(), from, ..Layer::new(kind) }
    }

    fn normalization(&mut self, wish: Option<Scale>) -> Result<Normalization, Problem> {
        let expected = wish.unwrap_or_else(|| {
            let assumed = self.front.map_or(Scale::UNIT, Scale::expected_before);
            let remedy = "if it was trained on something else, give --scale or --mean and --std";
            self.notes.push(format!("assumed that the network takes pixels from {}; {remedy}", assumed.describe()));
            assumed
        });
        self.front.map_or(expected, |own| expected.then(own)).of_model()
    }
}

/// Whether an activation may be part of a layer of this kind, rather than a layer of its own.
fn takes_activation(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Conv(_) | Kind::ConvTransposed(_) | Kind::Dense { .. } | Kind::BatchNorm { .. } | Kind::Add { .. }
    )
}

/// The names that a person or the file gives the classes; their numbers where there are none.
pub(super) fn class_names(given: Option<Vec<String>>, classes: usize) -> Result<Vec<String>, Problem> {
    let Some(names) = given else { return Ok((0..classes).map(|i| i.to_string()).collect()) };
    let remedy = "give each a name of its own with --class-names";
    if names.len() != classes {
        return Err(format!("{} names are given for its {classes} classes; {remedy}", names.len()));
    }
    // Sorting or counting by name would take two classes for one.
    let mut seen = HashSet::new();
    let twice = names.iter().find(move |name| !seen.insert(*name));
    match twice {
        Some(twice) => Err(format!("{twice:?} is given as the name of two classes; {remedy}")),
        None => Ok(names),
    }
}

/// Stores what is done to pixels. A network of light pictures takes pictures as they are: prepared ones are light ink on
/// black.
pub(super) fn store_normalization(file: &mut ModelFile, normalization: Normalization) {
    normalization.store(file);
    if normalization.is_of_light_pictures() {
        file.set_pictures(Some(Pictures::Raw));
    }
}

/// Keeps what a file says about the images that its model learned from: how pictures became these, which is one of the
/// words of [`Pictures`], and their background. Anything else is not this program's.
pub(super) fn keep_pictures<'a>(file: &mut ModelFile, told: impl Fn(&str) -> Option<&'a str>) {
    file.set_pictures(told(Pictures::KEY).and_then(|how| how.parse().ok()));
    let background = told(Normalization::BACKGROUND).and_then(|level| level.parse::<u8>().ok());
    if let Some(background) = background.filter(|level| *level > 0) {
        file.set(Normalization::BACKGROUND, background);
    }
}

/// A name as architectures allow it: letters, digits, `_` and `-`.
fn plain(label: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let name: String = label.chars().map(letter).take(56).collect();
    if name.is_empty() { "layer".into() } else { name }
}

/// Height, width and channels of the images, from the sizes of an input.
pub(super) fn image(input: &[Option<usize>], wish: Option<[usize; 3]>) -> Result<[usize; 3], String> {
    let told: Option<Vec<usize>> = input.iter().copied().collect();
    let from_file = match told.as_deref() {
        Some(&[h, w, c]) => Some([h, w, c]),
        Some(&[h, w]) => Some([h, w, 1]),
        // A row of numbers is taken for a square image.
        Some(&[n]) => Some([n.isqrt(), n.isqrt(), 1]).filter(|[h, w, _]| h * w == n),
        _ => None,
    };
    let image = wish.or(from_file).ok_or_else(|| {
        format!(
            "its input of {} does not tell the size of an image; give --input HEIGHTxWIDTHxCHANNELS",
            spelled(input)
        )
    })?;
    // If the file states sizes, the wish has to be the same numbers in another form.
    let agrees = match input {
        [h, w, c] => [h, w, c].iter().zip(image).all(|(told, n)| told.is_none_or(|told| told == n)),
        [h, w] => [h, w].iter().zip(image).all(|(told, n)| told.is_none_or(|told| told == n)) && image[2] == 1,
        [n] => n.is_none_or(|n| image.iter().try_fold(1usize, |all, n| all.checked_mul(*n)) == Some(n)),
        _ => return Err(format!("its input of {} is not an image", spelled(input))),
    };
    if !agrees {
        return Err(format!("takes {}, which does not match images of {}", spelled(input), by(&image)));
    }
    let numbers = image.iter().try_fold(1usize, |all, n| all.checked_mul(*n));
    if numbers.is_none_or(|numbers| !(1..=MAX_SIZE).contains(&numbers)) {
        return Err(format!("takes images of {}; expected 1 to {MAX_SIZE} numbers", by(&image)));
    }
    check_channels(image)?;
    Ok(image)
}

/// Succeeds if pictures can have as many channels as a network's images.
pub(super) fn check_channels(image: [usize; 3]) -> Result<(), String> {
    match image[2] {
        1..=MAX_CHANNELS => Ok(()),
        c => Err(format!("takes images of {}, with {c} channels; pictures have 1 to {MAX_CHANNELS}", by(&image))),
    }
}

fn spelled(input: &[Option<usize>]) -> String {
    let sizes: Vec<String> = input.iter().map(|n| n.map_or("?".into(), |n| n.to_string())).collect();
    sizes.join("x")
}
