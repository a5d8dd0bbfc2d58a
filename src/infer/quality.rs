//! Generated pictures compared with real ones: a judge looks at both, and the measures come from what it saw.

use super::judge::{Judge, Looked};
use super::measures::{
    Balls, Features, Gaussian, Measures, PrecisionRecall, diversity_by_class, frechet, precision_recall, recovered,
    spread_by_class,
};
use super::{InferError, Scores};
use crate::data::ImageSet;
use crate::device::Device;

/// A judge that recognises fewer of the real pictures is doubted. One trained on such pictures recognises more.
const KNOWN: f64 = 0.9;

/// A judge, and its view of the real pictures that generated ones are compared with.
pub struct Quality {
    pub judge: Judge,
    /// The Fréchet distance of real pictures from the reference ([`Quality::find_floor`]); part of every measurement.
    pub floor: Option<f64>,
    /// Pictures in the reference.
    count: usize,
    /// Share of them that the judge classifies correctly.
    known: f64,
    gaussian: Gaussian,
    balls: Balls,
    spread: Vec<Option<f64>>,
}

impl Quality {
    /// The judge looks at the reference once, here. It should be as large as the sets that are measured, 10,000
    /// pictures by convention: fewer pictures have a larger Fréchet distance.
    pub fn new(mut judge: Judge, device: &mut dyn Device, reference: &ImageSet) -> Result<Quality, InferError> {
        let Looked { logits, features, width } = judge.look(device, reference)?;
        let features = Features::new(&features, width)?;
        Ok(Quality {
            known: Scores::new(&logits, &reference.labels).accuracy(),
            gaussian: Gaussian::of(features),
            balls: Balls::of(features)?,
            spread: spread_by_class(features, &reference.labels, reference.classes)?,
            floor: None,
            count: reference.len(),
            judge,
        })
    }

    /// A warning if the judge hardly recognises the real pictures: their size and number of classes may be those it was
    /// trained on, and yet the pictures quite different ones.
    pub fn doubt(&self) -> Option<String> {
        (self.known < KNOWN).then(|| {
            format!(
                "{} knows only {:.2} % of the real pictures, so its measures say little about pictures like these; \
                 give a classifier that was trained on them with --judge FILE (`inkgrad train --data DIR` makes one)",
                self.judge.name,
                self.known * 100.0
            )
        })
    }

    /// Finds the Fréchet distance of equally many training pictures from the reference: what a perfect generator would
    /// get. The pictures are drawn with every class in proportion, and are always the same ones.
    pub fn find_floor(&mut self, device: &mut dyn Device, train: &ImageSet) -> Result<f64, InferError> {
        let Looked { features, width, .. } = self.judge.look(device, &train.sample(self.count, 0))?;
        let floor = frechet(&Gaussian::of(Features::new(&features, width)?), &self.gaussian)?;
        self.floor = Some(floor);
        Ok(floor)
    }

    /// Measures generated pictures, whose labels are the requested ones.
    pub fn measure(&mut self, device: &mut dyn Device, generated: &ImageSet) -> Result<Measures, InferError> {
        let Looked { logits, features, width } = self.judge.look(device, generated)?;
        let features = Features::new(&features, width)?;
        let spread = spread_by_class(features, &generated.labels, generated.classes)?;
        let scores = Scores::new(&logits, &generated.labels);
        let (recovered, recovered_by_class) = recovered(&scores, &generated.labels, generated.classes)?;
        let PrecisionRecall { precision, recall } = precision_recall(&self.balls, &Balls::of(features)?)?;
        Ok(Measures {
            frechet: frechet(&self.gaussian, &Gaussian::of(features))?,
            floor: self.floor,
            recovered,
            recovered_by_class,
            diversity_by_class: diversity_by_class(&self.spread, &spread),
            precision,
            recall,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::mnist;
    use crate::device::cpu::Cpu;

    #[test]
    fn real_digits_are_measured_as_real_and_spoilt_ones_by_what_is_wrong_with_them() {
        let (mut device, data) = (Cpu::new(), mnist::embedded().unwrap());
        let first = |set: &ImageSet| set.select(&(0..1500).collect::<Vec<_>>());
        let (real, reference) = (first(&data.train), first(&data.test));
        let judge = Judge::open(&mut device, None).unwrap();
        let mut quality = Quality::new(judge, &mut device, &reference).unwrap();
        let floor = quality.find_floor(&mut device, &real).unwrap();
        let mut measure = |set: &ImageSet| quality.measure(&mut device, set).unwrap();

        let good = measure(&real);
        // The floor compares the same two sets, the other way round.
        assert!((good.frechet / floor - 1.0).abs() < 1e-6, "{} and a floor of {floor}", good.frechet);
        assert!(good.recovered > 0.99 && good.precision > 0.7 && good.recall > 0.7, "{good:?}");
        assert!(good.diversity_by_class.iter().all(|x| (0.7..1.4).contains(&x.unwrap())), "{good:?}");
        assert_eq!(good.collapsed(), [0usize; 0]);

        // Every picture of a class is the same digit.
        let of_class = |label| real.labels.iter().position(|l| *l == label).unwrap();
        let picks: Vec<usize> = real.labels.iter().map(|label| of_class(*label)).collect();
        let collapsed = measure(&real.select(&picks));
        assert_eq!(collapsed.collapsed(), (0..10).collect::<Vec<_>>());
        assert!(collapsed.recall < 0.05 && collapsed.frechet > 5.0 * good.frechet, "{collapsed:?}");

        // Good digits, but not the ones asked for.
        let labels = real.labels.iter().map(|label| (label + 1) % 10).collect();
        let mistaken = measure(&ImageSet { labels, ..real.clone() });
        assert!(mistaken.recovered < 0.01, "{mistaken:?}");
        assert_eq!(mistaken.frechet, good.frechet);

        // Noise instead of digits.
        let noise = (0..real.images.len() as u32).map(|i| crate::ops::random::mix(i) as u8).collect();
        let noise = measure(&ImageSet { images: noise, ..real.clone() });
        assert!(noise.recovered < 0.2 && noise.frechet > 5.0 * good.frechet, "{noise:?}");
    }

    #[test]
    fn a_judge_that_does_not_know_the_real_pictures_is_doubted() {
        let (mut device, data) = (Cpu::new(), mnist::embedded().unwrap());
        let real = data.test.select(&(0..100).collect::<Vec<_>>());
        let mut doubt = |reference: &ImageSet| {
            let judge = Judge::open(&mut device, None).unwrap();
            Quality::new(judge, &mut device, reference).unwrap().doubt()
        };
        assert_eq!(doubt(&real), None);
        // Each digit under the next digit's label.
        let labels = real.labels.iter().map(|label| (label + 1) % 10).collect();
        let text = doubt(&ImageSet { labels, ..real.clone() }).unwrap();
        assert!(text.starts_with("the built-in judge knows only 0.00 % of") && text.contains("--judge FILE"), "{text}");
    }

    #[test]
    fn the_floor_is_the_one_that_the_judges_card_records() {
        let (mut device, data) = (Cpu::new(), mnist::embedded().unwrap());
        let judge = Judge::open(&mut device, None).unwrap();
        let mut quality = Quality::new(judge, &mut device, &data.test).unwrap();
        let floor = quality.find_floor(&mut device, &data.train).unwrap();
        // Processors round differently; the recorded value has four decimals.
        assert!((floor - 0.0883).abs() < 2e-4, "{floor}");
        assert!(include_str!("../../models/judge.md").contains("0.0883"));
    }
}
