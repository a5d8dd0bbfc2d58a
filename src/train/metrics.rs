//! What a run records: a row of `metrics.csv` for every window of steps and every validation.

use std::fmt::Write as _;

use crate::report::{Panel, ReportError, Series, Style, curves_picture, smooth};

/// One row. Training rows are means over the steps since the row before; where labels are smoothed, so are those of the
/// training loss, but never those of a validation.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// Steps done.
    pub step: usize,
    /// Epochs done, with their fraction.
    pub epoch: f64,
    pub set: Set,
    pub loss: f64,
    pub accuracy: f64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Set {
    Training,
    Validation,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub struct Metrics {
    pub rows: Vec<Row>,
}

/// A run as a picture of curves shows it.
pub struct Curves<'a> {
    pub name: &'a str,
    pub metrics: &'a Metrics,
    /// Smoothing of the labels that it was trained on.
    pub label_smoothing: f32,
}

const HEADER: &str = "step,epoch,set,loss,accuracy\n";

/// A number as the files have it, with so many decimals: a resumed run draws and compares what it reads, so a run that
/// was never stopped must not use more precise numbers.
pub fn as_written(number: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (number * scale).round() / scale
}

impl Metrics {
    pub fn csv(&self) -> String {
        let mut text = HEADER.to_string();
        for row in &self.rows {
            let set = if row.set == Set::Training { "training" } else { "validation" };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{},{:.4},{set},{},{}", row.step, row.epoch, row.loss, row.accuracy);
        }
        text
    }

    /// Reads `metrics.csv` back; the error names the line that cannot be read.
    pub fn parse(text: &str) -> Result<Metrics, String> {
        let problem = |n: usize, line: &str| {
            // A file that holds no metrics may have lines of any length.
            let start: String = line.chars().take(80).collect();
            format!("line {n}: {start:?} is not {}", HEADER.trim_end())
        };
        let header = text.lines().next().unwrap_or_default();
        if header != HEADER.trim_end() {
            return Err(problem(1, header));
        }
        let mut rows = Vec::new();
        for (n, line) in text.lines().enumerate().skip(1) {
            let fields: Vec<&str> = line.split(',').collect();
            let row = match fields[..] {
                [step, epoch, set, loss, accuracy] => (|| {
                    let set = match set {
                        "training" => Set::Training,
                        "validation" => Set::Validation,
                        _ => return None,
                    };
                    let number = |text: &str| text.parse::<f64>().ok();
                    Some(Row {
                        step: step.parse().ok()?,
                        epoch: number(epoch)?,
                        set,
                        loss: number(loss)?,
                        accuracy: number(accuracy)?,
                    })
                })(),
                _ => None,
            };
            rows.push(row.ok_or_else(|| problem(n + 1, line))?);
        }
        Ok(Metrics { rows })
    }

    /// Loss and accuracy over epochs, of one run or several.
    pub fn picture(title: &str, runs: &[Curves]) -> Result<image::RgbImage, ReportError> {
        curves_picture(title, &panels(runs))
    }
}

/// What a legend says after the training loss: the smoothing of its labels, as those of validation have none.
pub fn smoothing(of_labels: f32) -> String {
    match of_labels {
        0.0 => String::new(),
        smoothing => format!(" (label smoothing {smoothing})"),
    }
}

fn panels(runs: &[Curves]) -> [Panel; 2] {
    [panel(runs, "Loss", true, |r| r.loss), panel(runs, "Accuracy", false, |r| r.accuracy)]
}

/// The rows of training. A row of less than half as many steps as the one before, at an epoch's end, is merged with
/// that: the mean of a few steps would be drawn as a jump.
fn trained(rows: &[Row]) -> Vec<Row> {
    let mut all: Vec<Row> = Vec::new();
    // Steps of the last row in `all`.
    let mut last = 0;
    for row in rows.iter().filter(|row| row.set == Set::Training) {
        let steps = row.step.saturating_sub(all.last().map_or(0, |before| before.step));
        match all.last_mut() {
            Some(before) if 2 * steps < last => {
                let mean = |a: f64, b: f64| (a * last as f64 + b * steps as f64) / (last + steps) as f64;
                let (loss, accuracy) = (mean(before.loss, row.loss), mean(before.accuracy, row.accuracy));
                *before = Row { loss, accuracy, ..row.clone() };
                last += steps;
            }
            _ => {
                all.push(row.clone());
                last = steps;
            }
        }
    }
    all
}

/// One value of all runs. A series has the same name in every panel, and so the same colour. A loss has a logarithmic
/// axis, and its legend names the smoothing of labels.
fn panel(runs: &[Curves], name: &str, is_loss: bool, value: fn(&Row) -> f64) -> Panel {
    let mut series = Vec::new();
    for run in runs {
        let validation = run.metrics.rows.iter().filter(|r| r.set == Set::Validation);
        let validation: Vec<(f64, f64)> = validation.map(|r| (r.epoch, value(r))).collect();
        let label = |set: &str| if runs.len() > 1 { format!("{}, {set}", run.name) } else { set.to_string() };
        let training: Vec<(f64, f64)> = trained(&run.metrics.rows).iter().map(|r| (r.epoch, value(r))).collect();
        let window = (training.len() / 40).max(1);
        let remark = if is_loss { smoothing(run.label_smoothing) } else { String::new() };
        let series_of = |style, points| Series::new(label("training"), style, points).remarked(remark.as_str());
        series.push(series_of(Style::Thin, training.clone()));
        series.push(series_of(Style::Strong, smooth(&training, window)));
        if !validation.is_empty() {
            series.push(Series::new(label("validation"), Style::Strong, validation.clone()));
            series.push(Series::new(label("validation"), Style::Dots, validation));
        }
    }
    Panel { title: name.into(), x_label: "epoch".into(), y_label: name.to_lowercase(), log_y: is_loss, series }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_survive_being_written_and_read() {
        let row = |step, set| Row { step, epoch: step as f64 / 4.0, set, loss: 0.5, accuracy: 0.75 };
        let metrics = Metrics { rows: vec![row(1, Set::Training), row(2, Set::Validation)] };
        assert_eq!(Metrics::parse(&metrics.csv()), Ok(metrics));
    }

    #[test]
    fn a_training_loss_of_smoothed_labels_is_called_so_and_nothing_else_is() {
        let row = |set| Row { step: 1, epoch: 1.0, set, loss: 0.5, accuracy: 0.75 };
        let metrics = Metrics { rows: vec![row(Set::Training), row(Set::Validation)] };
        let names = |label_smoothing| {
            let runs = [Curves { name: "net", metrics: &metrics, label_smoothing }];
            panels(&runs).map(|panel| {
                let mut names: Vec<String> = panel.series.into_iter().map(|s| s.name + &s.remark).collect();
                names.dedup();
                names
            })
        };
        let plain = ["training", "validation"];
        assert_eq!(names(0.0), [plain, plain]);
        assert_eq!(names(0.05), [["training (label smoothing 0.05)", "validation"], plain]);
    }

    #[test]
    fn each_panel_shows_its_own_value_of_both_sets() {
        let row = |set, loss, accuracy| Row { step: 1, epoch: 1.0, set, loss, accuracy };
        let metrics = Metrics { rows: vec![row(Set::Training, 0.5, 0.75), row(Set::Validation, 0.25, 0.875)] };
        let shown = panels(&[Curves { name: "net", metrics: &metrics, label_smoothing: 0.0 }]).map(|panel| {
            let series = panel.series.into_iter();
            let mut shown = series.map(|series| (series.name, series.points)).collect::<Vec<_>>();
            shown.dedup();
            shown
        });
        let wanted = |training, validation| {
            [("training", training), ("validation", validation)].map(|(name, y)| (name.to_string(), vec![(1.0, y)]))
        };
        assert_eq!(shown, [wanted(0.5, 0.25), wanted(0.75, 0.875)]);
    }

    #[test]
    fn a_few_last_steps_are_drawn_with_those_before_them() {
        let row = |step, loss| Row { step, epoch: step as f64, set: Set::Training, loss, accuracy: 1.0 - loss };
        let rows = [row(18, 0.9), row(36, 0.5), row(38, 0.1), row(56, 0.2)];
        let drawn: Vec<(usize, f64)> = trained(&rows).iter().map(|row| (row.step, row.loss)).collect();
        assert_eq!(drawn, [(18, 0.9), (38, (0.5 * 18.0 + 0.1 * 2.0) / 20.0), (56, 0.2)]);
    }

    #[test]
    fn a_line_that_is_not_a_row_is_named() {
        let error = Metrics::parse(&format!("{HEADER}1,2,training,x,1\n"));
        assert!(error.is_err_and(|e| e.starts_with("line 2")));
        for text in ["", "precious", "1,2,training,0.5,1\n"] {
            assert!(Metrics::parse(text).is_err_and(|e| e.starts_with("line 1: ")), "{text}");
        }
    }
}
