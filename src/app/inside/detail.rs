//! One value taken apart: the unit's kernel, what of the picture it depends on, and the arithmetic that gave it.

use eframe::egui::{self, RichText, Sense, Ui, vec2};

use super::layers::Unit;
use crate::app::paint::{self, Picture};
use crate::app::theme;
use crate::infer::look::{Anatomy, Arithmetic, How, Pass, Seen, Term};
use crate::models::Kind;

/// How many products are written out; the rest are summed up.
const TERMS: usize = 10;
/// How many values of a window are written out, and how many in a line.
const VALUES: usize = 64;
const ROW: usize = 4;
/// How many input channels' kernels are shown.
const KERNELS: usize = 64;
/// How many weights without a kernel are shown, and how many in a row.
const WEIGHTS: usize = 2048;
const COLUMNS: usize = 32;

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
            ui.add_space(4.0);
            ui.label(RichText::new("How it came about").strong());
            for line in arithmetic(anatomy, chosen.layer, &sum) {
                ui.add(egui::Label::new(RichText::new(line).monospace().size(12.0)).wrap());
            }
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
        ui.add_space(4.0);
        ui.label(title(self.shape));
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

/// What the kernels' picture shows.
fn title([r, s, c]: [usize; 3]) -> String {
    let (said, most) = match (r, s) {
        (1, 1) => (format!("its {c} weights"), WEIGHTS),
        _ if c == 1 => (format!("its kernel, {r} x {s}"), KERNELS),
        _ => (format!("its kernel, {r} x {s} for each of {c} channels"), KERNELS),
    };
    if c > most { format!("{said} (the first {most} shown)") } else { said }
}

/// Rows and columns of the kernels' picture: one kernel for each channel, as many side by side as make it about square.
fn arrangement([r, s, c]: [usize; 3]) -> (usize, usize) {
    if (r, s) == (1, 1) {
        let columns = c.clamp(1, COLUMNS);
        return (c.min(WEIGHTS).div_ceil(columns).max(1), columns);
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

/// The arithmetic, line by line. `layer` is the one whose value it is.
fn arithmetic(anatomy: &Anatomy, layer: usize, sum: &Arithmetic) -> Vec<String> {
    let from = |seen: &Seen| Place::of(anatomy, layer, seen);
    let total = |terms: &[f32]| terms.iter().sum::<f32>();
    let largest = |values: &[f32]| values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (mut lines, result) = match &sum.how {
        How::Weighted { terms, bias } => (weighted(terms, *bias, from), "sum"),
        How::Normalized { seen, mean, variance, epsilon, gamma, beta } => {
            let lines = vec![
                format!("value    {:>9.4}  {}", seen.value, from(seen).in_words()),
                format!("mean     {mean:>9.4}"),
                format!("variance {variance:>9.4}  (+ {epsilon})"),
                format!("gamma    {gamma:>9.4}"),
                format!("beta     {beta:>9.4}"),
                "(value - mean) / sqrt(variance) x gamma + beta".into(),
            ];
            (lines, "normalized")
        }
        How::Average(window) => (values("the mean of", window, "together", total), "mean"),
        How::Largest(window) => (values("the largest of", window, "at most", largest), "largest"),
        How::Added(window) => (values("the sum of", window, "together", total), "sum"),
        How::Taken(seen) => (vec![format!("as it is: {:.4}  {}", seen.value, from(seen).in_words())], "value"),
    };
    lines.push(format!("{result:>17} = {:>7.3}", sum.sum));
    if let Some(activation) = sum.activation {
        lines.push(format!("{:>17} = {:>7.3}", activation.to_string(), sum.result));
    }
    lines
}

/// A sum of products, the largest first; the rest, and the bias, at its end.
fn weighted<'a>(terms: &[Term], bias: Option<f32>, from: impl Fn(&Seen) -> Place<'a>) -> Vec<String> {
    let (shown, rest) = terms.split_at(terms.len().min(TERMS));
    let legend = terms.first().map_or("", |term| from(&term.seen).legend());
    let mut lines = vec![format!("{:>7} x {:>7} = {:>7}  {legend}", "value", "weight", "product")];
    for Term { seen, weight, product, .. } in shown {
        lines.push(format!("{:>7.3} x {weight:>7.3} = {product:>7.3}  {}", seen.value, from(seen).in_numbers()));
    }
    if !rest.is_empty() {
        let products: f32 = rest.iter().map(|term| term.product).sum();
        lines.push(format!("{:>17} = {products:>7.3}", format!("{} smaller ones", rest.len())));
    }
    lines.extend(bias.map(|bias| format!("{:>17} = {bias:>7.3}", "bias")));
    lines
}

/// The values of a window; `rest` says what those come to that are not written out.
fn values(what: &str, window: &[Seen], come_to: &str, rest: impl Fn(&[f32]) -> f32) -> Vec<String> {
    let values: Vec<f32> = window.iter().map(|seen| seen.value).collect();
    let (shown, more) = values.split_at(values.len().min(VALUES));
    let mut lines = vec![format!("{what} {} values:", values.len())];
    lines.extend(shown.chunks(ROW).map(|row| row.iter().map(|value| format!("{value:>9.4}")).collect::<String>()));
    if !more.is_empty() {
        lines.push(format!("and {} more, {come_to} {:.4}", more.len(), rest(more)));
    }
    lines
}

/// The place of a value that a layer was given.
enum Place<'a> {
    /// Row and column of the picture.
    Picture([usize; 2]),
    /// A layer's unit, at a row and a column.
    Image(&'a str, usize, [usize; 2]),
    /// A number of a layer's row.
    Row(&'a str, usize),
}

impl<'a> Place<'a> {
    /// For a dense layer on a flattened image, it is the place before the image was flattened.
    fn of(anatomy: &'a Anatomy, layer: usize, seen: &Seen) -> Place<'a> {
        let layers = anatomy.layers();
        let is_dense = layers.get(layer).is_some_and(|layer| matches!(layer.kind, Kind::Dense { .. }));
        let was_image = is_dense && anatomy.flattened(layer).is_some();
        match seen.layer.and_then(|layer| layers.get(layer)) {
            None => Place::Picture(seen.at),
            Some(layer) if was_image || layer.shape.len() == 3 => Place::Image(&layer.name, seen.channel, seen.at),
            Some(layer) => Place::Row(&layer.name, seen.channel),
        }
    }

    /// What its numbers are.
    fn legend(&self) -> &'static str {
        match self {
            Place::Picture(_) => "(row, column)",
            Place::Image(..) => "unit (row, column)",
            Place::Row(..) => "number",
        }
    }

    /// `bn1 3 (12, 5)`, below its legend.
    fn in_numbers(&self) -> String {
        match self {
            Place::Picture([y, x]) => format!("picture ({y}, {x})"),
            Place::Image(layer, unit, [y, x]) => format!("{layer} {unit} ({y}, {x})"),
            Place::Row(layer, number) => format!("{layer} {number}"),
        }
    }

    /// `bn1 unit 3 (12, 5)`, where it has no legend.
    fn in_words(&self) -> String {
        match self {
            Place::Picture(_) => self.in_numbers(),
            Place::Image(layer, unit, [y, x]) => format!("{layer} unit {unit} ({y}, {x})"),
            Place::Row(layer, number) => format!("{layer} number {number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cpu::Cpu;
    use crate::infer::look::{Look, Wanted};
    use crate::models::ModelFile;

    #[test]
    fn what_a_dense_layer_is_given_is_called_by_its_place_in_the_image() {
        let file = ModelFile::shipped("cnn").unwrap();
        let mut look = Look::open(Box::new(Cpu::new()), &file).unwrap();
        let picture: Vec<u8> = (0..28 * 28).map(|i| (i * 7 % 256) as u8).collect();
        let pass = look.picture(&picture, Wanted { activations: true, saliency: None }).unwrap();
        let anatomy = look.anatomy();
        let hidden = anatomy.layers().len() - 2;
        let sum = anatomy.arithmetic(&pass, hidden, 5, [0, 0]).unwrap();
        let How::Weighted { terms, .. } = sum.how else { panic!("{:?}", sum.how) };
        let said: std::collections::BTreeSet<String> =
            terms.iter().map(|term| Place::of(&anatomy, hidden, &term.seen).in_numbers()).collect();
        assert_eq!(said.len(), 7 * 7 * 64, "no two are called the same");
        let row = &anatomy.layers()[hidden - 1].name;
        assert!(said.contains(&format!("{row} 63 (6, 5)")), "{:?}", said.first());
        // A row that was never an image has only numbers.
        let last = anatomy.layers().len() - 1;
        let How::Weighted { terms, .. } = anatomy.arithmetic(&pass, last, 5, [0, 0]).unwrap().how else { panic!() };
        let name = &anatomy.layers()[hidden].name;
        let place = Place::of(&anatomy, last, &terms[0].seen);
        assert_eq!(place.in_numbers(), format!("{name} {}", terms[0].seen.channel));
    }

    #[test]
    fn the_numbers_of_a_place_are_named_whatever_it_is_a_place_in() {
        let file = ModelFile::shipped("cnn").unwrap();
        let anatomy = Look::open(Box::new(Cpu::new()), &file).unwrap().anatomy();
        // A convolution, and a layer on its way to the answer that is a row of numbers.
        let (image, row) = (0, anatomy.layers().len() - 2);
        let name = |layer: usize| &anatomy.layers()[layer].name;
        for (from, legend, words) in [
            (None, "(row, column)", "picture (4, 5)".to_owned()),
            (Some(image), "unit (row, column)", format!("{} unit 3 (4, 5)", name(image))),
            (Some(row), "number", format!("{} number 3", name(row))),
        ] {
            let seen = Seen { layer: from, at: [4, 5], channel: 3, value: 0.5 };
            let lines = |how: How| {
                let sum = Arithmetic { how, sum: 0.5, activation: None, result: 0.5 };
                arithmetic(&anatomy, anatomy.layers().len() - 1, &sum)
            };
            let terms = vec![Term { seen, tap: [0, 0], weight: 1.0, product: 0.5 }];
            let head = &lines(How::Weighted { terms, bias: None })[0];
            assert!(head.ends_with(&format!(" product  {legend}")), "{head}");
            let normalized = How::Normalized { seen, mean: 0.0, variance: 1.0, epsilon: 0.0, gamma: 1.0, beta: 0.0 };
            for how in [normalized, How::Taken(seen)] {
                let line = &lines(how)[0];
                assert!(line.ends_with(&format!(" 0.5000  {words}")), "{line}");
            }
        }
    }

    #[test]
    fn what_is_not_written_out_of_a_large_window_is_counted_and_the_result_has_its_name() {
        let file = ModelFile::shipped("dense").unwrap();
        let anatomy = Look::open(Box::new(Cpu::new()), &file).unwrap().anatomy();
        let seen = |i: usize| Seen { layer: None, at: [0, i], channel: 0, value: if i == 69 { 2.0 } else { 0.5 } };
        let lines = |how: fn(Vec<Seen>) -> How, count: usize| {
            let how = how((0..count).map(seen).collect());
            arithmetic(&anatomy, 0, &Arithmetic { how, sum: 0.75, activation: None, result: 0.75 })
        };
        for (how, what, rest, result) in [
            (How::Average as fn(Vec<Seen>) -> How, "the mean of", "together 4.5000", "mean"),
            (How::Largest, "the largest of", "at most 2.0000", "largest"),
            (How::Added, "the sum of", "together 4.5000", "sum"),
        ] {
            let lines_of_70 = lines(how, 70);
            assert_eq!(lines_of_70.len(), 1 + VALUES / ROW + 2);
            assert_eq!(lines_of_70[0], format!("{what} 70 values:"));
            assert_eq!(
                lines_of_70[lines_of_70.len() - 2..],
                [format!("and 6 more, {rest}"), format!("{result:>17} =   0.750")]
            );
            // Windows of 7 x 7 are written out.
            let whole = lines(how, 49);
            assert_eq!((whole.len(), whole[13].as_str()), (1 + 13 + 1, "   0.5000"));
        }
    }

    #[test]
    fn what_is_not_written_out_of_a_sum_of_products_is_counted_and_added_up() {
        let seen = Seen { layer: None, at: [0, 0], channel: 0, value: 1.0 };
        let term = |product: f32| Term { seen, tap: [0, 0], weight: product, product };
        let terms: Vec<Term> = (0..TERMS + 3).rev().map(|product| term(product as f32)).collect();
        let lines = weighted(&terms, Some(0.5), |seen| Place::Picture(seen.at));
        assert_eq!(lines[TERMS], "  1.000 x   3.000 =   3.000  picture (0, 0)");
        let last = [("3 smaller ones", "3.000"), ("bias", "0.500")];
        assert_eq!(lines[TERMS + 1..], last.map(|(name, product)| format!("{name:>17} =   {product}")));
    }

    #[test]
    fn kernels_that_are_left_out_are_said() {
        for (shape, said) in [
            ([3, 3, 96], "its kernel, 3 x 3 for each of 96 channels (the first 64 shown)"),
            ([3, 3, 64], "its kernel, 3 x 3 for each of 64 channels"),
            ([28, 28, 1], "its kernel, 28 x 28"),
            ([1, 1, 2048], "its 2048 weights"),
            ([1, 1, 3000], "its 3000 weights (the first 2048 shown)"),
        ] {
            assert_eq!(title(shape), said);
        }
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
