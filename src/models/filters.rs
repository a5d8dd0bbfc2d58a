//! What a network's first layer looks for, as pictures.

use super::build::{Built, Network, Source};
use super::layer::Kind;
use super::parameters::Parameters;

/// The weights of one layer, as a small picture for each of its units.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Filters {
    /// The layer's name.
    pub layer: String,
    pub rows: usize,
    pub columns: usize,
    pub channels: usize,
    /// For each unit, `rows * columns * channels` weights, row by row.
    pub units: Vec<Vec<f32>>,
}

impl Network {
    /// The filters of the first convolution or, if there is none, of the first dense layer, whose pictures are then as
    /// large as the one it sees. There are no units if the network has neither. `weights` are laid out as in the
    /// parameters' buffer.
    ///
    /// # Panics
    /// If `weights` are shorter than that buffer, like indexing a slice.
    pub fn filters(&self, parameters: &Parameters, weights: &[f32]) -> Filters {
        let first = |wanted: fn(&Kind) -> bool| {
            self.layers.iter().find(|layer| wanted(&layer.spec.kind) && layer.weight.is_some())
        };
        let layer = first(|kind| matches!(kind, Kind::Conv(_))).or(first(|kind| matches!(kind, Kind::Dense { .. })));
        let Some((layer, index)) = layer.and_then(|layer| Some((layer, layer.weight?))) else {
            return Filters::default();
        };
        let parameter = &parameters.trainable()[index];
        let flat = &weights[parameter.offset..][..parameter.shape.len()];
        let ([rows, columns, channels], units) = match *parameter.shape.dims() {
            [rows, columns, channels, units] => ([rows, columns, channels], units),
            [inputs, units] => (self.seen_by(layer, inputs), units),
            _ => return Filters::default(),
        };
        // The units' weights are interleaved.
        let unit = |i: usize| flat.iter().skip(i).step_by(units).copied().collect();
        Filters { layer: layer.name.clone(), rows, columns, channels, units: (0..units).map(unit).collect() }
    }

    /// The shape of the picture that a dense layer's `inputs` numbers were before they were flattened; a single row if
    /// they were not a picture.
    fn seen_by(&self, layer: &Built, inputs: usize) -> [usize; 3] {
        let mut layer = layer;
        loop {
            let (shape, next) = match layer.inputs[..] {
                [Source::Input] => (&self.input, None),
                [Source::Layer(at)] => (&self.layers[at].output, Some(&self.layers[at])),
                _ => break,
            };
            if let [rows, columns, channels] = shape[..]
                && rows * columns * channels == inputs
            {
                return [rows, columns, channels];
            }
            match next {
                Some(next) if keeps_order(&next.spec.kind) => layer = next,
                _ => break,
            }
        }
        [1, inputs, 1]
    }
}

/// Whether such a layer puts out as many numbers as it takes in, each in its place.
fn keeps_order(kind: &Kind) -> bool {
    let reshapes = matches!(kind, Kind::Flatten | Kind::Reshape { .. });
    reshapes || matches!(kind, Kind::Dropout { .. } | Kind::BatchNorm { .. } | Kind::Activation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Store;
    use crate::models::Architecture;

    /// The filters of a network whose weights are 0, 1, 2 and so on.
    fn filters(layers: &str, image: [usize; 3]) -> Filters {
        let (mut store, text) = (Store::default(), format!("layers = [{layers}]"));
        let architecture = Architecture::parse(&text, "test").unwrap();
        let (network, parameters) = architecture.declare(image, 3, &mut store, "test").unwrap();
        let weights: Vec<f32> = (0..parameters.total()).map(|i| i as f32).collect();
        network.filters(&parameters, &weights)
    }

    fn size(filters: &Filters) -> [usize; 3] {
        [filters.rows, filters.columns, filters.channels]
    }

    #[test]
    fn a_convolutions_filters_are_its_kernels_one_for_each_channel_it_makes() {
        let found =
            filters(r#"{ avg_pool = 2 }, { conv = 5, kernel = 3 }, "flatten", { dense = "classes" }"#, [12, 12, 2]);
        assert_eq!((found.layer.as_str(), size(&found), found.units.len()), ("conv1", [3, 3, 2], 5));
        let wanted: Vec<f32> = (0..18).map(|i| (2 + i * 5) as f32).collect();
        assert_eq!(found.units[2], wanted);
    }

    #[test]
    fn a_dense_layers_filters_are_as_large_as_the_picture_that_it_sees() {
        let plain = filters(r#""flatten", { dense = 4 }, { dense = "classes" }"#, [5, 6, 1]);
        assert_eq!((size(&plain), plain.units.len(), plain.units[3][29]), ([5, 6, 1], 4, 119.0));
        let pooled = filters(r#"{ avg_pool = 2 }, "flatten", { dropout = 0.5 }, { dense = "classes" }"#, [6, 8, 3]);
        assert_eq!((size(&pooled), pooled.units.len()), ([3, 4, 3], 3));
        let normalized = filters(r#""flatten", "batch_norm", "relu", { dense = "classes" }"#, [5, 6, 1]);
        assert_eq!((size(&normalized), normalized.units.len()), ([5, 6, 1], 3));
    }

    #[test]
    fn what_was_no_picture_before_is_one_row() {
        let layers = r#"{ flatten = true, name = "a" }, { concat = ["a", "a"] }, { dense = "classes" }"#;
        assert_eq!(size(&filters(layers, [2, 2, 1])), [1, 8, 1]);
    }
}
