//! Which pictures are drawn: the latent and the label of every cell of a sheet, an animation or a data set.
//!
//! A scene is a sequence of stills of one layout. A plain grid is one still. If several seeds are named, each has its
//! own still; if a picture morphs into another, each step is a still. A sheet shows the stills one below another, an
//! animation one after another.

use super::sample::latent;

/// Two values that a picture lies between: all of `from` at a share of 0, all of `to` at 1.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Between<T> {
    pub from: T,
    pub to: T,
    pub share: f64,
}

impl<T> Between<T> {
    fn at(value: T) -> Between<T>
    where
        T: Copy,
    {
        Between { from: value, to: value, share: 0.0 }
    }
}

/// Values that morph into one another in turn, with `frames` pictures from each to the next, both included.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Path {
    pub keys: Vec<u32>,
    pub frames: u32,
}

impl Path {
    fn len(&self) -> u64 {
        (self.keys.len() as u64).saturating_sub(1) * u64::from(self.steps()) + 1
    }

    fn steps(&self) -> u32 {
        self.frames.saturating_sub(1).max(1)
    }

    fn at(&self, frame: u64) -> Between<u32> {
        let steps = u64::from(self.steps());
        let key = |i: u64| self.keys.get(i as usize).or(self.keys.last()).copied().unwrap_or(0);
        let (leg, step) = (frame / steps, frame % steps);
        match step {
            0 => Between::at(key(leg)),
            _ => Between { from: key(leg), to: key(leg + 1), share: step as f64 / steps as f64 },
        }
    }
}

/// The labels of a still's cells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Labels {
    /// Cell `i` has label `i` of these; the list repeats.
    InTurn(Vec<u32>),
    /// Each cell has its own label, or none and stays empty.
    Cells(Vec<Option<u32>>),
    /// One label for all cells, which morphs into another from still to still.
    Path(Path),
}

/// The seeds of the stills.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seeds {
    One(u32),
    /// A still for each.
    Each(Vec<u32>),
    /// One seed morphs into another from still to still.
    Path(Path),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scene {
    /// Of one still.
    pub rows: u32,
    /// Of one still.
    pub columns: u32,
    pub labels: Labels,
    pub seeds: Seeds,
    /// All cells of a still have the latent of cell 0: one hand writes them all.
    pub one_hand: bool,
}

/// What the generator is given for one picture.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Cell {
    /// The seed.
    pub seed: Between<u32>,
    /// Which of the seed's latents.
    pub index: u32,
    pub label: Between<u32>,
}

impl Scene {
    pub fn stills(&self) -> u64 {
        match (&self.labels, &self.seeds) {
            (Labels::Path(path), _) | (_, Seeds::Path(path)) => path.len(),
            (_, Seeds::Each(seeds)) => seeds.len() as u64,
            _ => 1,
        }
    }

    /// Cells of one still.
    pub fn cells(&self) -> u64 {
        u64::from(self.rows) * u64::from(self.columns)
    }

    /// Whether stills are steps from one picture to another.
    pub fn morphs(&self) -> bool {
        matches!(self.labels, Labels::Path(_)) || matches!(self.seeds, Seeds::Path(_))
    }

    /// Rows and columns of one sheet with all stills: one below another, or side by side if they are the steps of a
    /// single picture.
    pub fn sheet(&self) -> [u64; 2] {
        match self.stills() {
            stills if self.morphs() && self.cells() == 1 => [1, stills],
            stills => [stills.saturating_mul(self.rows.into()), self.columns.into()],
        }
    }

    /// Pictures in all stills together; empty cells do not count.
    pub fn pictures(&self) -> u64 {
        let still = match &self.labels {
            Labels::Cells(cells) => cells.iter().flatten().count() as u64,
            _ => self.cells(),
        };
        self.stills().saturating_mul(still)
    }

    /// All cells of all stills, numbered from 0.
    pub fn all(&self) -> impl Iterator<Item = (u64, Option<Cell>)> {
        let cells = self.cells();
        (0..self.stills().saturating_mul(cells)).map(move |i| (i, self.cell(i / cells, (i % cells) as u32)))
    }

    /// Cell `index` of a still; `None` if it is empty.
    pub fn cell(&self, still: u64, index: u32) -> Option<Cell> {
        let label = match &self.labels {
            Labels::InTurn(labels) => Between::at(*labels.get(index as usize % labels.len().max(1))?),
            Labels::Cells(cells) => Between::at((*cells.get(index as usize)?)?),
            Labels::Path(path) => path.at(still),
        };
        let seed = match &self.seeds {
            Seeds::One(seed) => Between::at(*seed),
            Seeds::Each(seeds) => Between::at(*seeds.get(usize::try_from(still).ok()?)?),
            Seeds::Path(path) => path.at(still),
        };
        Some(Cell { seed, index: if self.one_hand { 0 } else { index }, label })
    }
}

impl Cell {
    /// The latent, scaled by `truncation`.
    pub fn latent(&self, len: usize, truncation: f32) -> Vec<f32> {
        let Between { from, to, share } = self.seed;
        let mut values = latent(from, self.index, len);
        if from != to {
            values = slerp(&values, &latent(to, self.index, len), share);
        }
        values.iter_mut().for_each(|value| *value *= truncation);
        values
    }

    /// The weights of all classes.
    pub fn weights(&self, classes: usize) -> Vec<f32> {
        let Between { from, to, share } = self.label;
        let mut weights = vec![0.0; classes];
        for (label, share) in [(from, 1.0 - share), (to, share)] {
            if let Some(weight) = weights.get_mut(label as usize) {
                *weight += share as f32;
            }
        }
        weights
    }
}

/// Spherical interpolation (Shoemake 1985): in many dimensions normal latents lie near a sphere, and the straight line
/// between two would lead through its inside, where the generator has seen little.
pub fn slerp(a: &[f32], b: &[f32], share: f64) -> Vec<f32> {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    let angle = if lengths > 0.0 { (dot(a, b) / lengths).clamp(-1.0, 1.0).acos() } else { 0.0 };
    // Between latents that point in the same or in exactly opposite directions, the straight line is used.
    let [of_a, of_b] = if angle.sin() < 1e-6 {
        [1.0 - share, share]
    } else {
        [1.0 - share, share].map(|part| (part * angle).sin() / angle.sin())
    };
    a.iter().zip(b).map(|(a, b)| (of_a * f64::from(*a) + of_b * f64::from(*b)) as f32).collect()
}

#[cfg(test)]
#[path = "scene_tests.rs"]
mod tests;
