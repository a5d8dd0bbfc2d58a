//! Counts which class a classifier took for which, and derives accuracy, precision and recall.

use serde::Serialize;

use crate::report::ReportError;

/// Most classes a [`Confusion`] keeps: its table of counts grows with their square.
pub const MAX_CLASSES: usize = 4096;

/// 97.5 % point of the normal distribution, for two-sided 95 % intervals.
const Z: f64 = 1.959_963_984_540_054;

/// How often each true class was predicted as each class, or as none.
///
/// Shares (accuracy, precision, ...) run from 0 to 1 and are `None` where they would
/// divide by zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    /// A row for each true class: how often it was predicted as each class, and last how often as none.
    counts: Vec<u64>,
}

/// One class seen on its own: all others count as "not this class".
#[derive(Clone, Debug, PartialEq)]
pub struct ClassStats {
    /// The class.
    pub class: usize,
    /// Examples that truly are of this class.
    pub support: u64,
    /// Examples predicted as this class.
    pub predicted: u64,
    /// Examples of this class predicted as such.
    pub correct: u64,
    /// Share of the predictions of this class that are right.
    pub precision: Option<f64>,
    /// Share of the examples of this class that were found.
    pub recall: Option<f64>,
    /// Harmonic mean of precision and recall: 2 correct / (support + predicted).
    pub f1: Option<f64>,
}

/// Plain means over the classes that occur in the truth, however rare they are.
///
/// A class that occurs but is never predicted counts with precision 0, so that ignoring a
/// class cannot raise the mean. All are `None` without examples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MacroMeans {
    /// Mean precision.
    pub precision: Option<f64>,
    /// Mean recall, also called balanced accuracy.
    pub recall: Option<f64>,
    /// Mean F1.
    pub f1: Option<f64>,
}

/// One kind of mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confused {
    /// What it was.
    pub truth: usize,
    /// What it was taken for.
    pub predicted: usize,
    /// How often, at least once.
    pub count: u64,
}

impl Confusion {
    /// No examples yet, for classes `0..classes`.
    ///
    /// # Errors
    /// [`ReportError::TooManyClasses`] above [`MAX_CLASSES`].
    pub fn new(classes: usize) -> Result<Self, ReportError> {
        if classes > MAX_CLASSES {
            return Err(ReportError::TooManyClasses { classes, limit: MAX_CLASSES });
        }
        Ok(Self { classes, counts: vec![0; classes * (classes + 1)] })
    }

    /// Counts all `(truth, predicted)` pairs.
    ///
    /// # Errors
    /// As [`Confusion::new`] and [`Confusion::add`].
    pub fn from_pairs<P: Into<Option<usize>>>(
        classes: usize,
        pairs: impl IntoIterator<Item = (usize, P)>,
    ) -> Result<Self, ReportError> {
        let mut confusion = Self::new(classes)?;
        for (truth, predicted) in pairs {
            confusion.add(truth, predicted)?;
        }
        Ok(confusion)
    }

    /// Counts only whether truth and prediction agree, for any number of classes, which is all that accuracy needs: the
    /// truth is always class 0, and a wrong prediction none.
    pub fn right_or_wrong(pairs: impl IntoIterator<Item = (usize, Option<usize>)>) -> Self {
        let mut counts = vec![0; 2];
        pairs.into_iter().for_each(|(truth, predicted)| counts[usize::from(predicted != Some(truth))] += 1);
        Self { classes: 1, counts }
    }

    /// Counts one example; one that was predicted as no class is wrong.
    ///
    /// # Errors
    /// [`ReportError::NoSuchClass`] when either is not below [`Confusion::classes`]; the
    /// counts stay as they were.
    pub fn add(&mut self, truth: usize, predicted: impl Into<Option<usize>>) -> Result<(), ReportError> {
        let (classes, predicted) = (self.classes, predicted.into());
        if truth >= classes || predicted.is_some_and(|predicted| predicted >= classes) {
            return Err(ReportError::NoSuchClass { truth, predicted: predicted.unwrap_or(truth), classes });
        }
        let count = &mut self.counts[truth * (classes + 1) + predicted.unwrap_or(classes)];
        *count = count.saturating_add(1);
        Ok(())
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// How often `truth` was predicted as `predicted`; 0 for classes that do not exist.
    pub fn count(&self, truth: usize, predicted: usize) -> u64 {
        let exist = truth < self.classes && predicted < self.classes;
        if exist { self.counts[truth * (self.classes + 1) + predicted] } else { 0 }
    }

    /// A row for each true class: how often it was predicted as each class.
    pub fn rows(&self) -> Vec<Vec<u64>> {
        self.counts.chunks(self.classes + 1).map(|row| row[..self.classes].to_vec()).collect()
    }

    /// Examples counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Examples predicted right.
    pub fn correct(&self) -> u64 {
        (0..self.classes).map(|class| self.count(class, class)).sum()
    }

    /// Share of the examples predicted right.
    pub fn accuracy(&self) -> Option<f64> {
        share(self.correct(), self.total())
    }

    /// Binomial standard error of the accuracy, `sqrt(p (1 - p) / n)`.
    ///
    /// It is 0 when every example is right (or wrong); the interval is not.
    pub fn standard_error(&self) -> Option<f64> {
        let p = self.accuracy()?;
        Some((p * (1.0 - p) / self.total() as f64).sqrt())
    }

    /// Wilson 95 % interval of the accuracy, as (low, high).
    pub fn accuracy_interval(&self) -> Option<(f64, f64)> {
        let (p, n) = (self.accuracy()?, self.total() as f64);
        let z2 = Z * Z;
        let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
        let half = Z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt() / (1.0 + z2 / n);
        Some(((centre - half).max(0.0), (centre + half).min(1.0)))
    }

    /// Statistics of each class, in order.
    pub fn per_class(&self) -> Vec<ClassStats> {
        let (mut support, mut predicted) = (Vec::<u64>::new(), vec![0u64; self.classes]);
        for row in self.counts.chunks(self.classes + 1) {
            support.push(row.iter().sum());
            predicted.iter_mut().zip(row).for_each(|(predicted, count)| *predicted += *count);
        }
        let stats = |class: usize| {
            let (support, predicted) = (support[class], predicted[class]);
            let correct = self.count(class, class);
            ClassStats {
                class,
                support,
                predicted,
                correct,
                precision: share(correct, predicted),
                recall: share(correct, support),
                f1: share(2 * correct, support + predicted),
            }
        };
        (0..self.classes).map(stats).collect()
    }

    /// Means over the classes that occur.
    pub fn macro_means(&self) -> MacroMeans {
        let mut stats = self.per_class();
        stats.retain(|class| class.support > 0);
        let mean = |pick: fn(&ClassStats) -> Option<f64>| {
            // The sum of no numbers is -0.
            let sum = 0.0 + stats.iter().filter_map(pick).sum::<f64>();
            (!stats.is_empty()).then(|| sum / stats.len() as f64)
        };
        MacroMeans {
            precision: mean(|class| class.precision),
            recall: mean(|class| class.recall),
            f1: mean(|class| class.f1),
        }
    }

    /// The most common mistakes, at most `n`, most common first; ties in order of the classes.
    pub fn most_confused(&self, n: usize) -> Vec<Confused> {
        let mut mistakes: Vec<Confused> = (0..self.classes)
            .flat_map(|truth| (0..self.classes).map(move |predicted| (truth, predicted)))
            .filter(|(truth, predicted)| truth != predicted)
            .map(|(truth, predicted)| Confused { truth, predicted, count: self.count(truth, predicted) })
            .filter(|mistake| mistake.count > 0)
            .collect();
        mistakes.sort_by_key(|mistake| std::cmp::Reverse(mistake.count));
        mistakes.truncate(n);
        mistakes
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
#[path = "confusion_tests.rs"]
mod tests;
