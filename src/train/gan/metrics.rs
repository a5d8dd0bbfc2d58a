//! What a GAN's run records: `losses.csv`, with a row for every window of rounds, and `measures.csv`, with a row for
//! every measurement.

use std::fmt::Write as _;

use crate::infer::Measures;
use crate::report::{Panel, ReportError, Series, Style, curves_picture, smooth};
use crate::run_files::{LOSSES, MEASURES};
use crate::train::metrics::as_written;

/// Means over the rounds since the row before.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LossRow {
    /// Rounds done.
    pub round: usize,
    /// Epochs done, with their fraction.
    pub epoch: f64,
    /// The discriminator's losses on real and on generated pictures.
    pub real: f64,
    pub fake: f64,
    pub generator: f64,
    /// The discriminator's mean answer to the generator's pictures.
    pub answer: f64,
}

/// A measurement. Only numbers that choose the best epoch or are drawn have fields of their own; the rest is kept as it
/// was written.
#[derive(Clone, PartialEq, Debug)]
pub struct MeasureRow {
    pub round: usize,
    pub epoch: usize,
    pub frechet: f64,
    pub recovered: f64,
    pub precision: f64,
    pub recall: f64,
    /// All its fields after the epoch.
    pub fields: String,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub struct GanMetrics {
    pub losses: Vec<LossRow>,
    pub measures: Vec<MeasureRow>,
}

const HEADER: &str = "round,epoch,discriminator_real,discriminator_generated,generator,answer";

impl MeasureRow {
    pub fn new(round: usize, epoch: usize, measures: &Measures) -> MeasureRow {
        MeasureRow {
            round,
            epoch,
            frechet: as_written(measures.frechet, 6),
            recovered: as_written(measures.recovered, 6),
            precision: as_written(measures.precision, 6),
            recall: as_written(measures.recall, 6),
            fields: measures.csv(),
        }
    }
}

impl GanMetrics {
    pub fn losses_csv(&self) -> String {
        let mut text = format!("{HEADER}\n");
        for row in &self.losses {
            // Writing to a String cannot fail.
            let LossRow { round, epoch, real, fake, generator, answer } = row;
            let _ = writeln!(text, "{round},{epoch:.4},{real},{fake},{generator},{answer}");
        }
        text
    }

    pub fn measures_csv<N: AsRef<str>>(&self, class_names: &[N]) -> String {
        let mut text = format!("round,epoch,{}\n", Measures::csv_header(class_names));
        for row in &self.measures {
            let _ = writeln!(text, "{},{},{}", row.round, row.epoch, row.fields);
        }
        text
    }

    /// Reads both files back; the error names the line that cannot be read.
    ///
    /// # Errors
    /// What is wrong, with the file's name and the line.
    pub fn parse(losses: &str, measures: &str) -> Result<GanMetrics, String> {
        let mut metrics = GanMetrics::default();
        for (n, line) in losses.lines().enumerate().skip(1) {
            let fields: Option<Vec<f64>> = line.split(',').map(|field| field.parse().ok()).collect();
            let Some(&[round, epoch, real, fake, generator, answer]) = fields.as_deref() else {
                return Err(format!("{LOSSES}, line {}: {line:?} is not {HEADER}", n + 1));
            };
            metrics.losses.push(LossRow { round: round as usize, epoch, real, fake, generator, answer });
        }
        for (n, line) in measures.lines().enumerate().skip(1) {
            let row = measure_row(line);
            metrics.measures.push(row.ok_or_else(|| format!("{MEASURES}, line {}: {line:?} is no row", n + 1))?);
        }
        Ok(metrics)
    }

    /// Adds a measurement. Returns a warning at the first whose distance is not a finite number: such a distance makes
    /// no epoch the best.
    pub fn measured(&mut self, row: MeasureRow) -> Option<String> {
        let is_finite = |row: &MeasureRow| row.frechet.is_finite();
        let is_first = !is_finite(&row) && self.measures.iter().all(is_finite);
        let warning = is_first.then(|| {
            format!(
                "epoch {}: the Fréchet distance is {}, which makes no epoch the best; nothing is said of others \
                 like it",
                row.epoch, row.frechet
            )
        });
        self.measures.push(row);
        warning
    }

    /// Losses and measures over epochs.
    ///
    /// # Errors
    /// For more panels than fit.
    pub fn picture(&self, title: &str) -> Result<image::RgbImage, ReportError> {
        curves_picture(title, &self.panels())
    }

    fn panels(&self) -> Vec<Panel> {
        let window = (self.losses.len() / 40).max(1);
        let loss = |name: &str, value: fn(&LossRow) -> f64| {
            let points: Vec<(f64, f64)> = self.losses.iter().map(|row| (row.epoch, value(row))).collect();
            let smoothed = smooth(&points, window);
            [Series::new(name, Style::Thin, points), Series::new(name, Style::Strong, smoothed)]
        };
        let measure = |name: &str, value: fn(&MeasureRow) -> f64| {
            let points: Vec<(f64, f64)> = self.measures.iter().map(|row| (row.epoch as f64, value(row))).collect();
            [Series::new(name, Style::Strong, points.clone()), Series::new(name, Style::Dots, points)]
        };
        let panel = |title: &str, y_label: &str, log_y, series: Vec<Series>| Panel {
            title: title.into(),
            x_label: "epoch".into(),
            y_label: y_label.into(),
            log_y,
            series,
        };
        let losses = [
            loss("discriminator, real", |r| r.real),
            loss("discriminator, generated", |r| r.fake),
            loss("generator", |r| r.generator),
        ];
        let mut panels = vec![panel("Losses", "loss", false, losses.into_iter().flatten().collect())];
        if !self.measures.is_empty() {
            let frechet = measure("Fréchet distance", |r| r.frechet).into();
            panels.push(panel("Fréchet distance to real pictures", "distance", true, frechet));
            let shares = [
                measure("label recovered", |r| r.recovered),
                measure("precision", |r| r.precision),
                measure("recall", |r| r.recall),
            ];
            panels.push(panel("Shares", "share", false, shares.into_iter().flatten().collect()));
        }
        panels
    }
}

fn measure_row(line: &str) -> Option<MeasureRow> {
    let (round, rest) = line.split_once(',')?;
    let (epoch, fields) = rest.split_once(',')?;
    let mut numbers = fields.split(',');
    // frechet, floor, recovered, precision, recall, and then classes.
    let mut next = || numbers.next().map(|field| field.parse::<f64>().ok());
    let (frechet, _, recovered, precision, recall) = (next()??, next()?, next()??, next()??, next()??);
    let (round, epoch, fields) = (round.parse().ok()?, epoch.parse().ok()?, fields.to_string());
    Some(MeasureRow { round, epoch, frechet, recovered, precision, recall, fields })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measures() -> Measures {
        Measures {
            frechet: 1.25,
            floor: None,
            recovered: 0.75,
            recovered_by_class: vec![Some(0.5), None],
            diversity_by_class: vec![Some(1.0), None],
            precision: 0.5,
            recall: 0.25,
        }
    }

    #[test]
    fn rows_survive_being_written_and_read() {
        let row = LossRow {
            round: 7,
            epoch: as_written(1.0 / 3.0, 4),
            real: 0.25,
            fake: 0.125,
            generator: 1.5,
            answer: -0.5,
        };
        let measured = Measures { frechet: 10.0 / 3.0, recovered: 2.0 / 3.0, ..measures() };
        let metrics = GanMetrics { losses: vec![row], measures: vec![MeasureRow::new(14, 1, &measured)] };
        let again = GanMetrics::parse(&metrics.losses_csv(), &metrics.measures_csv(&["cat", "dog"]));
        assert_eq!(again, Ok(metrics));
    }

    #[test]
    fn curves_say_nothing_of_digits_as_a_gan_may_draw_anything() {
        let loss = LossRow { round: 1, epoch: 1.0, real: 1.0, fake: 1.0, generator: 1.0, answer: 0.5 };
        let metrics = GanMetrics { losses: vec![loss], measures: vec![MeasureRow::new(1, 1, &measures())] };
        let panels = metrics.panels();
        let titles: Vec<&str> = panels.iter().map(|panel| panel.title.as_str()).collect();
        assert_eq!(titles, ["Losses", "Fréchet distance to real pictures", "Shares"]);
    }

    #[test]
    fn a_distance_that_is_no_finite_number_is_told_of_once_a_run() {
        let mut metrics = GanMetrics::default();
        let mut told = |epoch: usize, frechet: f64| {
            metrics.measured(MeasureRow::new(epoch, epoch, &Measures { frechet, ..measures() }))
        };
        assert_eq!(told(1, 2.0), None);
        let warning = told(2, f64::NAN).unwrap();
        assert!(
            warning.starts_with("epoch 2: the Fréchet distance is NaN, which makes no epoch the best;"),
            "{warning}"
        );
        assert_eq!([told(3, f64::INFINITY), told(4, 1.0)], [None, None]);
        // A run that is resumed knows what was said.
        let mut again = GanMetrics::parse(&metrics.losses_csv(), &metrics.measures_csv(&["cat", "dog"])).unwrap();
        assert_eq!(again.measured(MeasureRow::new(5, 5, &Measures { frechet: f64::NAN, ..measures() })), None);
        assert_eq!(again.measures.len(), 5);
    }

    #[test]
    fn a_line_that_is_not_a_row_is_named_with_its_file() {
        let error = GanMetrics::parse("header\n1,2,3", "").unwrap_err();
        assert!(error.starts_with("losses.csv, line 2"), "{error}");
        let error = GanMetrics::parse("header\n", "header\n1,2,x,,1,1,1").unwrap_err();
        assert!(error.starts_with("measures.csv, line 2"), "{error}");
    }
}
