//! One value taken apart: the unit's kernel, what of the picture it depends on, and the arithmetic that gave it.

use eframe::egui::{self, RichText, Sense, Ui, vec2};

use super::layers::Unit;
use crate::app::paint::{self, Picture};
use crate::app::theme;
use crate::infer::look::{Anatomy, Arithmetic, How, Pass, Seen};
use crate::models::Kind;

/// How many products are written out; the rest are summed up.
const TERMS: usize = 10;
/// How many input channels' kernels are shown.
const KERNELS: usize = 64;

#[derive(Default)]
pub struct Detail {
    kernel: Picture,
    /// The unit and the model whose kernel is shown.
    shown: Option<(u64, usize, usize)>,
    shape: [usize; 3],
}

impl Detail {
    pub fn ui(&mut self, ui: &mut Ui, anatomy: &Anatomy, opened: u64, pass: &Pass, chosen: Unit) {
        let Some(layer) = anatomy.layers().get(chosen.layer) else { return };
        ui.strong(format!("{}: {}", layer.name, layer.describe));
        let place = match layer.shape.len() {
            3 => format!("unit {} at row {}, column {}", chosen.unit, chosen.at[0], chosen.at[1]),
            _ => format!("number {}", chosen.unit),
        };
        ui.label(place);
        self.kernel(ui, anatomy, opened, chosen);
        if let Some(sum) = anatomy.arithmetic(pass, chosen.layer, chosen.unit, chosen.at) {
            arithmetic(ui, anatomy, chosen.layer, &sum);
        }
    }

    fn kernel(&mut self, ui: &mut Ui, anatomy: &Anatomy, opened: u64, chosen: Unit) {
        let key = (opened, chosen.layer, chosen.unit);
        if self.shown != Some(key) {
            self.shown = Some(key);
            self.kernel.clear();
            if let Some(kernel) = anatomy.kernel(chosen.layer, chosen.unit) {
                self.shape = match kernel.shape[..] {
                    [r, s, c] => [r, s, c],
                    _ => [1, 1, kernel.weights.len()],
                };
                let (image, _) = kernels(self.shape, &kernel.weights);
                self.kernel.set(ui.ctx(), "kernel", image);
            }
        }
        if self.kernel.texture().is_none() {
            return;
        }
        let [r, s, c] = self.shape;
        let said = match (r, s) {
            (1, 1) => format!("its {c} weights"),
            _ if c == 1 => format!("its kernel, {r} x {s}"),
            _ => format!("its kernel, {r} x {s} for each of {c} channels"),
        };
        ui.add_space(4.0);
        ui.label(said);
        let (rows, columns) = arrangement(self.shape);
        let scale = (ui.available_width() / columns as f32).min(160.0 / rows as f32).clamp(1.0, 16.0);
        let size = vec2(columns as f32 * scale, rows as f32 * scale);
        self.kernel.show(ui, size, "kernel", Sense::hover());
        ui.horizontal(|ui| {
            let [above, below] = theme::signs(ui.visuals());
            ui.colored_label(above, "above nought");
            ui.colored_label(below, "below");
        });
    }
}

/// Rows and columns of the kernels' picture: one kernel for each channel, as many side by side as make it about square.
fn arrangement([r, s, c]: [usize; 3]) -> (usize, usize) {
    if (r, s) == (1, 1) {
        let columns = c.clamp(1, 32);
        return (c.min(32 * KERNELS).div_ceil(columns).max(1), columns);
    }
    let shown = c.min(KERNELS);
    let across = (1..=shown).find(|n| n * n * (s + 1) >= shown * (r + 1)).unwrap_or(1).max(1);
    // A line between them, none around.
    (shown.div_ceil(across) * (r + 1) - 1, across * (s + 1) - 1)
}

/// All kernels in one picture, a dark line between them.
fn kernels([r, s, c]: [usize; 3], weights: &[f32]) -> (egui::ColorImage, f32) {
    let most = weights.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    let (rows, columns) = arrangement([r, s, c]);
    let value = |i: usize| {
        let (y, x) = (i / columns, i % columns);
        if (r, s) == (1, 1) {
            return weights.get(i).copied().unwrap_or(0.0);
        }
        let (row, column) = (y % (r + 1), x % (s + 1));
        let channel = y / (r + 1) * columns.div_ceil(s + 1) + x / (s + 1);
        let inside = row < r && column < s && channel < c.min(KERNELS);
        if inside { weights[(row * s + column) * c + channel] } else { 0.0 }
    };
    (paint::signed([rows, columns], (0..rows * columns).map(value), most), most)
}

/// The arithmetic, line by line.
fn arithmetic(ui: &mut Ui, anatomy: &Anatomy, layer: usize, sum: &Arithmetic) {
    ui.add_space(4.0);
    ui.label(RichText::new("How it came about").strong());
    let line = |ui: &mut Ui, text: String| {
        ui.add(egui::Label::new(RichText::new(text).monospace().size(12.0)).truncate());
    };
    let from = |seen: &Seen| source(anatomy, layer, seen);
    match &sum.how {
        How::Weighted { terms, bias } => {
            line(ui, format!("{:>7} x {:>7} = {:>7}", "value", "weight", "product"));
            for term in &terms[..terms.len().min(TERMS)] {
                let numbers = format!("{:>7.3} x {:>7.3} = {:>7.3}", term.seen.value, term.weight, term.product);
                line(ui, format!("{numbers}  {}", from(&term.seen)));
            }
            if terms.len() > TERMS {
                let rest: f32 = terms[TERMS..].iter().map(|term| term.product).sum();
                line(ui, format!("{:>17} = {rest:>7.3}", format!("{} smaller ones", terms.len() - TERMS)));
            }
            if let Some(bias) = bias {
                line(ui, format!("{:>17} = {bias:>7.3}", "bias"));
            }
        }
        How::Normalized { seen, mean, variance, epsilon, gamma, beta } => {
            line(ui, format!("value    {:>9.4}  {}", seen.value, from(seen)));
            line(ui, format!("mean     {mean:>9.4}"));
            line(ui, format!("variance {variance:>9.4}  (+ {epsilon})"));
            line(ui, format!("gamma    {gamma:>9.4}"));
            line(ui, format!("beta     {beta:>9.4}"));
            line(ui, "(value - mean) / sqrt(variance) x gamma + beta".into());
        }
        How::Average(window) => window_lines(ui, "the mean of", window, &line),
        How::Largest(window) => window_lines(ui, "the largest of", window, &line),
        How::Added(window) => window_lines(ui, "the sum of", window, &line),
        How::Taken(seen) => line(ui, format!("as it is: {:.4}  {}", seen.value, from(seen))),
    }
    line(ui, format!("{:>17} = {:>7.3}", "sum", sum.sum));
    if let Some(activation) = sum.activation {
        line(ui, format!("{:>17} = {:>7.3}", activation.to_string(), sum.result));
    }
}

fn window_lines(ui: &mut Ui, what: &str, window: &[Seen], line: &impl Fn(&mut Ui, String)) {
    line(ui, format!("{what} {} values:", window.len()));
    for values in window[..window.len().min(48)].chunks(4) {
        line(ui, values.iter().map(|seen| format!("{:>9.4}", seen.value)).collect());
    }
}

/// The place of a value that a layer was given: `bn1 unit 3 (12, 5)`. For a dense layer on a flattened image, it is the
/// place before the image was flattened.
fn source(anatomy: &Anatomy, layer: usize, seen: &Seen) -> String {
    let [y, x] = seen.at;
    let layers = anatomy.layers();
    let is_dense = layers.get(layer).is_some_and(|layer| matches!(layer.kind, Kind::Dense { .. }));
    let was_image = is_dense && anatomy.flattened(layer).is_some();
    match seen.layer.and_then(|layer| layers.get(layer)) {
        None => format!("picture ({y}, {x})"),
        Some(layer) if was_image || layer.shape.len() == 3 => {
            format!("{} unit {} ({y}, {x})", layer.name, seen.channel)
        }
        Some(layer) => format!("{} {}", layer.name, seen.channel),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::device::cpu::Cpu;
    use crate::infer::look::{Look, Wanted};
    use crate::models::ModelFile;

    #[test]
    fn what_a_dense_layer_is_given_is_called_by_its_place_in_the_image() {
        let file = ModelFile::shipped("cnn").unwrap();
        let mut look = Look::open(Box::new(Cpu::new()), &file, Path::new("cnn")).unwrap();
        let picture: Vec<u8> = (0..28 * 28).map(|i| (i * 7 % 256) as u8).collect();
        let pass = look.picture(&picture, Wanted { activations: true, saliency: None }).unwrap();
        let anatomy = look.anatomy();
        let hidden = anatomy.layers().len() - 2;
        let sum = anatomy.arithmetic(&pass, hidden, 5, [0, 0]).unwrap();
        let How::Weighted { terms, .. } = sum.how else { panic!("{:?}", sum.how) };
        let said: std::collections::BTreeSet<String> =
            terms.iter().map(|term| source(&anatomy, hidden, &term.seen)).collect();
        assert_eq!(said.len(), 7 * 7 * 64, "no two are called the same");
        let row = &anatomy.layers()[hidden - 1].name;
        assert!(said.contains(&format!("{row} unit 63 (6, 5)")), "{:?}", said.first());
        // A row that was never an image has only numbers.
        let last = anatomy.layers().len() - 1;
        let How::Weighted { terms, .. } = anatomy.arithmetic(&pass, last, 5, [0, 0]).unwrap().how else { panic!() };
        let name = &anatomy.layers()[hidden].name;
        assert_eq!(source(&anatomy, last, &terms[0].seen), format!("{name} {}", terms[0].seen.channel));
    }

    #[test]
    fn every_weight_of_a_kernel_has_its_pixel() {
        for shape in [[3, 3, 1], [5, 5, 32], [3, 2, 7], [1, 1, 100], [28, 28, 1], [4, 4, 64]] {
            let weights = vec![1.0; shape.iter().product()];
            let (image, most) = kernels(shape, &weights);
            let lit = image.pixels.iter().filter(|pixel| **pixel != egui::Color32::BLACK).count();
            assert_eq!((lit, most), (weights.len(), 1.0), "{shape:?}");
        }
    }
}
