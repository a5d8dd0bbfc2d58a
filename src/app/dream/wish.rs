//! What the user has set, and the latents and labels that follow from it. Nothing here draws.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use crate::infer::sample::latent;
use crate::infer::scene::slerp;

/// Range of numbers that are set by hand: nearly all of a normal distribution.
pub const NUMBERS: RangeInclusive<f32> = -3.0..=3.0;
pub const TRUNCATION: RangeInclusive<f32> = 0.0..=2.0;
/// Pictures along a side of a grid.
pub const SIDES: RangeInclusive<usize> = 2..=10;
/// Pictures in a grid at most.
const MOST: u32 = 100;
pub const STEPS: RangeInclusive<usize> = 2..=64;
/// Steps from A to B that are shown side by side.
const STEPS_IN_A_ROW: usize = 8;

/// What one picture is made of, before truncation and proportion.
#[derive(Clone, PartialEq, Debug)]
pub struct Digit {
    pub latent: Vec<f32>,
    /// The weight of each class.
    pub label: Vec<f32>,
}

/// The current digit, as it is set.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// Numbers in a latent.
    numbers: usize,
    /// The digit has the seed's first latent, like each row of `inkgrad generate --seeds`.
    pub seed: u32,
    /// A latent that was picked from a grid, used instead of the seed's.
    picked: Option<Vec<f32>>,
    by_hand: BTreeMap<usize, f32>,
    /// How often a picture around the current one was chosen: after each choice the grid looks in other directions.
    walked: u32,
    /// The weight of each class, from 0 to 1.
    pub label: Vec<f32>,
    pub truncation: f32,
    /// The label's share, from 0 to 1: see [`Settings::factors`].
    pub share: f32,
}

impl Settings {
    /// For a generator of so many numbers and classes.
    pub fn new(numbers: usize, classes: usize) -> Settings {
        let mut settings = Settings {
            numbers,
            seed: 0,
            picked: None,
            by_hand: BTreeMap::new(),
            walked: 0,
            label: vec![0.0; classes],
            truncation: 1.0,
            share: 0.5,
        };
        settings.only(0);
        settings
    }

    pub fn fits(&self, numbers: usize, classes: usize) -> bool {
        (self.numbers, self.label.len()) == (numbers, classes)
    }

    pub fn numbers(&self) -> usize {
        self.numbers
    }

    /// One class alone.
    pub fn only(&mut self, class: usize) {
        self.label.iter_mut().enumerate().for_each(|(i, weight)| *weight = f32::from(u8::from(i == class)));
    }

    /// The same weight for each class, 1 in all.
    pub fn even(&mut self) {
        let each = 1.0 / self.label.len().max(1) as f32;
        self.label.fill(each);
    }

    /// Scales the weights to 1 in all, as in training; a label of zeros stays as it is.
    pub fn normalise(&mut self) {
        let sum: f32 = self.label.iter().sum();
        if sum > 0.0 {
            self.label.iter_mut().for_each(|weight| *weight /= sum);
        }
    }

    /// The factors of the noise and the label: `2 (1 - share)` and `2 share`, whose sum is 2. At a share of one half
    /// both are 1, as in training; at 0 the network is given no label, at 1 no noise.
    pub fn factors(&self) -> [f32; 2] {
        [2.0 * (1.0 - self.share), 2.0 * self.share]
    }

    /// Takes the latent of another seed; numbers set by hand stay set.
    pub fn reseed(&mut self, seed: u32) {
        self.seed = seed;
        self.picked = None;
    }

    /// Whether the latent is one that was picked from a grid.
    pub fn is_picked(&self) -> bool {
        self.picked.is_some()
    }

    pub fn latent(&self) -> Vec<f32> {
        let mut values = self.picked.clone().unwrap_or_else(|| latent(self.seed, 0, self.numbers));
        for (number, value) in &self.by_hand {
            if let Some(place) = values.get_mut(*number) {
                *place = *value;
            }
        }
        values
    }

    pub fn set_number(&mut self, number: usize, value: f32) {
        if value.is_finite() && number < self.numbers {
            self.by_hand.insert(number, value);
        }
    }

    /// How many numbers of a range are set by hand.
    pub fn set_by_hand(&self, numbers: Range<usize>) -> usize {
        self.by_hand.range(numbers).count()
    }

    /// Resets numbers to those of the seed, or of the picture that was picked.
    pub fn reset(&mut self, numbers: Range<usize>) {
        self.by_hand.retain(|number, _| !numbers.contains(number));
    }

    pub fn digit(&self) -> Digit {
        Digit { latent: self.latent(), label: self.label.clone() }
    }

    fn picking(&self, digit: Digit) -> Settings {
        Settings { picked: Some(digit.latent), by_hand: BTreeMap::new(), label: digit.label, ..self.clone() }
    }

    /// Repairs what was typed, which may not be a number at all.
    fn mend(&mut self) {
        let mend = |value: &mut f32, otherwise: f32, range: RangeInclusive<f32>| {
            *value = if value.is_finite() { value.clamp(*range.start(), *range.end()) } else { otherwise };
        };
        self.label.iter_mut().for_each(|weight| mend(weight, 0.0, 0.0..=1.0));
        mend(&mut self.truncation, 1.0, TRUNCATION);
        mend(&mut self.share, 0.5, 0.0..=1.0);
    }
}

/// The class that makes up more than half of a label.
fn dominant(label: &[f32]) -> Option<usize> {
    let sum: f32 = label.iter().sum();
    label.iter().position(|weight| *weight > sum / 2.0)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// The current digit alone, large.
    One,
    /// A grid of the same label with the latents of the seeds that follow.
    Seeds,
    /// A grid of small changes around the current latent.
    Around,
    /// The way from A to B.
    Between,
}

/// Everything that determines what is shown.
#[derive(Clone, PartialEq, Debug)]
pub struct Wish {
    pub settings: Settings,
    pub view: View,
    /// Number of rows, and of columns, of a grid.
    pub side: usize,
    /// How far the pictures of [`View::Around`] are from the current one: 0 not at all, 1 as far as any other.
    pub strength: f32,
    /// Pictures from A to B, both included.
    pub steps: usize,
    /// A and B.
    pub ends: [Digit; 2],
}

impl Wish {
    /// For a generator of so many numbers and classes.
    pub fn new(numbers: usize, classes: usize) -> Wish {
        let settings = Settings::new(numbers, classes);
        let mut end = settings.clone();
        end.only(1);
        end.reseed(1);
        let ends = [settings.digit(), end.digit()];
        Wish { settings, view: View::Seeds, side: 5, strength: 0.3, steps: 16, ends }
    }

    /// Adapts the wish to another generator: what does not fit it begins anew.
    pub fn fit(&mut self, numbers: usize, classes: usize) {
        if !self.settings.fits(numbers, classes) {
            let Wish { view, side, strength, steps, .. } = *self;
            *self = Wish { view, side, strength, steps, ..Wish::new(numbers, classes) };
        }
    }

    pub fn mend(&mut self) {
        self.settings.mend();
        self.side = self.side.clamp(*SIDES.start(), *SIDES.end());
        self.steps = self.steps.clamp(*STEPS.start(), *STEPS.end());
        self.strength = if self.strength.is_finite() { self.strength.clamp(0.0, 1.0) } else { 0.3 };
    }

    /// Rows and columns of the view.
    pub fn layout(&self) -> [usize; 2] {
        match self.view {
            View::One => [1, 1],
            View::Seeds | View::Around => [self.side; 2],
            View::Between => {
                let columns = self.steps.clamp(1, STEPS_IN_A_ROW);
                [self.steps.div_ceil(columns), columns]
            }
        }
    }

    /// Number of pictures in the view.
    pub fn count(&self) -> usize {
        match self.view {
            View::Between => self.steps,
            _ => self.layout().iter().product(),
        }
    }

    /// The settings of picture `index` of the view; choosing the picture makes them the current ones.
    pub fn pick(&self, index: usize) -> Settings {
        let own = &self.settings;
        match self.view {
            View::One => own.clone(),
            View::Seeds | View::Around if index == 0 => own.clone(),
            View::Seeds => {
                let mut other = own.clone();
                other.reseed(own.seed.wrapping_add(index as u32));
                other
            }
            View::Around => {
                let direction = own.walked.wrapping_mul(MOST).wrapping_add(index as u32);
                let other = latent(own.seed, direction, own.numbers);
                let latent = slerp(&own.latent(), &other, self.strength.into());
                let chosen = own.picking(Digit { latent, label: own.label.clone() });
                Settings { walked: own.walked.wrapping_add(1), ..chosen }
            }
            View::Between => own.picking(self.step(index)),
        }
    }

    fn step(&self, index: usize) -> Digit {
        let [a, b] = &self.ends;
        let share = index as f64 / self.steps.saturating_sub(1).max(1) as f64;
        match index {
            0 => a.clone(),
            _ if share >= 1.0 => b.clone(),
            _ => {
                let mixed = a
                    .label
                    .iter()
                    .zip(&b.label)
                    .map(|(a, b)| (f64::from(*a) * (1.0 - share) + f64::from(*b) * share) as f32);
                Digit { latent: slerp(&a.latent, &b.latent, share), label: mixed.collect() }
            }
        }
    }

    /// The current digit, and then those of the view.
    pub fn digits(&self) -> Vec<Digit> {
        let view = (0..self.count()).map(|i| self.pick(i).digit());
        std::iter::once(self.settings.digit()).chain(view).collect()
    }

    /// The class that picture `index` of [`Wish::digits`] is to be read as. On the way from A to B only the two ends
    /// are asked for: half a class and half of another is neither.
    pub fn asked(&self, index: usize, digit: &Digit) -> Option<usize> {
        let is_asked = self.view != View::Between || index == 1 || index == self.steps;
        dominant(&digit.label).filter(|_| is_asked)
    }

    /// What the network is given for [`Wish::digits`]: latents times truncation and noise factor, labels times theirs.
    pub fn inputs(&self, digits: &[Digit]) -> (Vec<f32>, Vec<f32>) {
        let [noise, label] = self.settings.factors();
        let truncation = self.settings.truncation;
        let latents = digits.iter().flat_map(|digit| &digit.latent).map(|x| x * truncation * noise).collect();
        (latents, digits.iter().flat_map(|digit| &digit.label).map(|x| x * label).collect())
    }
}

#[cfg(test)]
#[path = "wish_tests.rs"]
mod tests;
