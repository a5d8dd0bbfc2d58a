//! What logits say: probabilities, the likeliest class, and how well they match labels.

/// Logits scored against labels, computed in f64 on the host.
#[derive(Clone, Debug)]
pub struct Scores {
    /// Mean cross-entropy, natural logarithm.
    pub loss: f64,
    pub correct: usize,
    /// The most likely class of each image, and its probability; `None` where the answer is not a number, which is
    /// wrong whatever the label.
    pub predicted: Vec<Option<(usize, f64)>>,
    /// The probability assigned to each image's label; 0 where the answer is not a number.
    pub truth: Vec<f64>,
}

impl Scores {
    /// Scores `logits [labels.len(), classes]` against the label of each row.
    ///
    /// # Panics
    /// If the logits are not a row of equally many for each label.
    pub fn new(logits: &[f32], labels: &[u32]) -> Scores {
        let classes = (logits.len() / labels.len().max(1)).max(1);
        assert_eq!(
            logits.len(),
            classes * labels.len(),
            "expected a row of logits for each of {} labels",
            labels.len()
        );
        let mut scores = Scores { loss: 0.0, correct: 0, predicted: Vec::new(), truth: Vec::new() };
        for (row, label) in logits.chunks_exact(classes).zip(labels) {
            let (powers, label) = (Powers::of(row), *label as usize);
            let probabilities = powers.shares();
            let best = most_likely(row);
            // One logit that is NaN makes all probabilities NaN.
            let predicted = Some((best, probabilities[best])).filter(|(_, probability)| !probability.is_nan());
            let truth = predicted.and_then(|_| probabilities.get(label));
            scores.loss += powers.cross_entropy(row.get(label));
            scores.correct += usize::from(predicted.is_some_and(|(class, _)| class == label));
            scores.predicted.push(predicted);
            scores.truth.push(truth.copied().unwrap_or(0.0));
        }
        scores.loss /= labels.len().max(1) as f64;
        scores
    }

    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.predicted.len().max(1) as f64
    }

    /// Each image's label, and its predicted class if its answer is a number.
    pub fn answers(&self, labels: &[u32]) -> impl Iterator<Item = (usize, Option<usize>)> {
        let classes = self.predicted.iter().map(|predicted| predicted.map(|(class, _)| class));
        labels.iter().map(|label| *label as usize).zip(classes)
    }

    /// Images whose answer is not a number.
    pub fn unanswered(&self) -> usize {
        self.predicted.iter().filter(|predicted| predicted.is_none()).count()
    }
}

/// The class with the largest logit of a row, the first if several are equal.
pub fn most_likely(row: &[f32]) -> usize {
    (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

/// Probabilities of a row of logits.
pub fn softmax(row: &[f32]) -> Vec<f64> {
    Powers::of(row).shares()
}

/// `exp(x - largest)` for each logit of a row, in f64, and their sum.
struct Powers {
    largest: f64,
    powers: Vec<f64>,
    sum: f64,
}

impl Powers {
    fn of(row: &[f32]) -> Powers {
        let largest = row.iter().fold(f64::NEG_INFINITY, |m, x| m.max(f64::from(*x)));
        let powers: Vec<f64> = row.iter().map(|x| (f64::from(*x) - largest).exp()).collect();
        let sum = powers.iter().sum();
        Powers { largest, powers, sum }
    }

    fn shares(&self) -> Vec<f64> {
        self.powers.iter().map(|p| p / self.sum).collect()
    }

    /// `ln(sum(exp(row))) - logit`, which stays exact where the label's probability is 0 to f64. NaN for a row with NaN,
    /// or without the label.
    fn cross_entropy(&self, logit: Option<&f32>) -> f64 {
        self.sum.ln() + (self.largest - logit.map_or(f64::NAN, |x| f64::from(*x)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_and_accuracy_agree_with_a_sum_by_hand() {
        let scores = Scores::new(&[0.0, 0.0, 2.0, 0.0], &[1, 0]);
        let wanted = (2.0f64.ln() - (2.0f64.exp() / (2.0f64.exp() + 1.0)).ln()) / 2.0;
        assert!((scores.loss - wanted).abs() < 1e-12, "{} against {wanted}", scores.loss);
        assert_eq!(scores.correct, 1, "a tie goes to the first class");
        assert_eq!(scores.predicted[1].map(|(class, _)| class), Some(0));
    }

    #[test]
    fn the_loss_of_a_label_that_is_impossible_to_a_double_is_as_large_as_it_is() {
        let scores = Scores::new(&[0.0, 5e4, -3e38, 3e38], &[0, 1]);
        assert!((scores.loss - 2.5e4).abs() < 1e-6, "{}", scores.loss);
        assert_eq!(scores.truth, [0.0, 1.0]);
        let worst = Scores::new(&[-3e38, 3e38], &[0]);
        assert!((worst.loss / 6e38 - 1.0).abs() < 1e-6, "{}", worst.loss);
    }

    #[test]
    fn a_row_that_is_not_a_number_is_wrong_for_every_class_and_seen_in_the_loss() {
        for row in [[f32::NAN, 1.0], [1.0, f32::NAN], [f32::INFINITY, 1.0]] {
            for label in [0, 1] {
                let scores = Scores::new(&row, &[label]);
                assert_eq!((scores.correct, scores.unanswered(), &*scores.truth), (0, 1, &[0.0][..]));
                assert_eq!(scores.answers(&[label]).collect::<Vec<_>>(), [(label as usize, None)]);
                assert!(scores.loss.is_nan());
            }
        }
    }

    #[test]
    #[should_panic(expected = "a row of logits for each of 2 labels")]
    fn logits_that_are_not_a_row_for_each_label_have_no_scores() {
        Scores::new(&[0.0; 5], &[0, 1]);
    }
}
