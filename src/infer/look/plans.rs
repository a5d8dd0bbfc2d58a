//! The plans that a look replays. Turning a drawing or a picture into the network's input is a plan of its own: so two
//! ways in and two ways on make four small plans, and derivatives end at a stored input.

use crate::device::Lazy;
use crate::grad::grad;
use crate::graph::{Graph, Place, Store, Value};
use crate::infer::InferError;
use crate::infer::look::{FIELD, anatomy};
use crate::models::{Forward, Mode, Network, Normalization, Parameters, Source};
use crate::ops::dot::RowDot;
use crate::ops::pool::AvgPool;
use crate::ops::sample::{GatherImages, Order};
use crate::tensor::Tensor;

/// Where inputs and results are on the device. Each has its own buffer, as no dispatch may read and write the same one.
pub struct Places {
    /// Bytes of a drawing, and of a picture of the network's size.
    pub field: Place,
    pub picture: Place,
    /// The network's input, normalized.
    pub x: Place,
    pub logits: Place,
    pub features: Place,
    /// Each layer's output; a layer that only passes its input on shares its input's place.
    pub layers: Vec<Place>,
    /// One for the class whose derivative is wanted, zero for the others.
    pub class: Place,
    /// The derivative with respect to the network's input.
    pub saliency: Place,
    pub many_pictures: Place,
    pub many_logits: Place,
    pub many_features: Place,
}

pub struct Plans {
    pub places: Places,
    /// From a drawing, or a picture, to the network's input.
    pub field: Lazy,
    pub picture: Lazy,
    /// From the network's input to logits and features: what runs at every movement of the pen.
    pub reading: Lazy,
    /// The same with every layer's output and the derivative.
    pub deep: Lazy,
    /// A batch of pictures to logits and features.
    pub many: Lazy,
    /// Pictures in a batch.
    pub batch: usize,
}

impl Plans {
    /// At most `most` pictures are in a batch.
    pub fn declare(
        store: &mut Store,
        network: &Network,
        parameters: &Parameters,
        normalization: Normalization,
        most: usize,
    ) -> Result<Plans, InferError> {
        let [h, w, c] = network.image()?;
        let batch = network.images_at_once(most);
        let mut stored = |name: &str, tensor: Tensor| store.place(format!("look.{name}"), tensor);
        // Zero from the start and never advanced: every batch is the first.
        let clock = stored("clock", Tensor::u32([2]));
        let bytes = |count: usize| Tensor::u32([count.div_ceil(4)]);
        let [field, picture, many_pictures] = [
            stored("field", bytes(FIELD * FIELD)),
            stored("picture", bytes(h * w * c)),
            stored("many_pictures", bytes(batch * h * w * c)),
        ];
        let x = stored("input", Tensor::f32([1, h, w, c]));

        let gather = |graph: &mut Graph, from: &Place, batch: usize, image: [usize; 3]| {
            let Normalization { mean, std, .. } = normalization;
            let inputs = [graph.read(from), graph.read(&clock)];
            graph.apply(GatherImages::new(batch, batch, image, [mean, std], Order::InTurn), &inputs)
        };
        let forward = |graph: &mut Graph, x: Value| -> Result<Forward, InferError> {
            Ok(network.forward(graph, parameters, x, Mode::Infer)?)
        };

        let mut graph = Graph::new();
        let mut drawn = gather(&mut graph, &field, 1, [FIELD, FIELD, 1])?;
        if h != FIELD {
            // The mean of normalized values is the mean, normalized.
            drawn = graph.apply(AvgPool { window: FIELD / h, stride: FIELD / h }, &[drawn])?;
        }
        graph.assign(drawn, x.clone())?;
        let enter_field = Lazy::new(&graph);

        let mut graph = Graph::new();
        let shown = gather(&mut graph, &picture, 1, [h, w, c])?;
        graph.assign(shown, x.clone())?;
        let enter_picture = Lazy::new(&graph);

        let mut graph = Graph::new();
        let given = graph.read(&x);
        let pass = forward(&mut graph, given)?;
        let logits = stored("logits", graph.tensor(pass.out).clone());
        let features = stored("features", graph.tensor(pass.penultimate).clone());
        graph.assign(pass.out, logits.clone())?;
        graph.assign(pass.penultimate, features.clone())?;
        let reading = Lazy::new(&graph);

        let mut graph = Graph::new();
        let given = graph.read(&x);
        let pass = forward(&mut graph, given)?;
        let mut layers: Vec<Place> = Vec::with_capacity(network.layers.len());
        for (layer, value) in network.layers.iter().zip(&pass.outputs) {
            let source = match layer.inputs.first() {
                Some(Source::Layer(at)) => &layers[*at],
                _ => &x,
            };
            let place = if anatomy::hands_on(layer) {
                source.clone()
            } else {
                let place = stored(&format!("layer.{}", layer.name), graph.tensor(*value).clone());
                graph.assign(*value, place.clone())?;
                place
            };
            layers.push(place);
        }
        graph.assign(pass.out, logits.clone())?;
        graph.assign(pass.penultimate, features.clone())?;
        let class = stored("class", logits.tensor.clone());
        let saliency = stored("saliency", x.tensor.clone());
        let row = graph.read(&class);
        let logit = graph.apply(RowDot, &[pass.out, row])?;
        let derivative = grad(&mut graph, logit, &[given])?[0];
        graph.assign(derivative, saliency.clone())?;
        let deep = Lazy::new(&graph);

        let mut graph = Graph::new();
        let shown = gather(&mut graph, &many_pictures, batch, [h, w, c])?;
        let pass = forward(&mut graph, shown)?;
        let many_logits = stored("many_logits", graph.tensor(pass.out).clone());
        let many_features = stored("many_features", graph.tensor(pass.penultimate).clone());
        graph.assign(pass.out, many_logits.clone())?;
        graph.assign(pass.penultimate, many_features.clone())?;
        let many = Lazy::new(&graph);

        let places = Places {
            field,
            picture,
            x,
            logits,
            features,
            layers,
            class,
            saliency,
            many_pictures,
            many_logits,
            many_features,
        };
        Ok(Plans { places, field: enter_field, picture: enter_picture, reading, deep, many, batch })
    }
}
