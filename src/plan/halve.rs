//! Which results of a step are kept in 16-bit floats.

use super::{Buffer, Dispatch, Plan, View};
use crate::graph::BufferId;
use crate::ops::Sum;
use crate::ops::elementwise::Fill;
use crate::tensor::{Kind, Shape, Tensor};

/// How many numbers of one image are worth halving. The last layers, whose numbers decide, have fewer.
const WORTH_HALVING: usize = 256;

impl Plan {
    /// Keeps what the step makes of each image of a batch in 16-bit floats, wherever that is many numbers: there a GPU
    /// is limited by its memory. Weights, sums over the batch and all arithmetic stay in 32 bits. `images` are the
    /// stored buffers from which the images, and what belongs to each (its label), are picked.
    pub fn halve(&mut self, batch: usize, images: &[BufferId]) {
        // About what each scratch buffer holds at the time.
        let (mut by_image, mut halved) = (vec![false; self.scratch.len()], vec![false; self.scratch.len()]);
        let halve = |view: &mut View, halved: &[bool]| {
            if matches!(view.buffer, Buffer::Scratch(i) if halved[i]) {
                view.tensor.kind = Kind::F16;
            }
        };
        for dispatch in &mut self.dispatches {
            let is_by_image = dispatch.is_by_image(batch, images, &by_image);
            dispatch.inputs.iter_mut().for_each(|view| halve(view, &halved));
            for view in &mut dispatch.outputs {
                // A buffer holds one result after another, and each is written before it is read.
                if let Buffer::Scratch(i) = view.buffer {
                    let Tensor { shape, kind } = &view.tensor;
                    // Sums over parts of a batch, where each part may be one image, have other ranks.
                    let of_images = is_by_image && matches!(shape.rank(), 2 | 4) && shape.dims()[0] == batch;
                    by_image[i] = is_by_image;
                    halved[i] = of_images && *kind == Kind::F32 && shape.len() >= batch * WORTH_HALVING;
                }
                halve(view, &halved);
            }
        }
    }
}

impl Dispatch {
    /// Whether the result has a part for each image, one after another. So has what is picked from `images`, what is
    /// filled with one number, and what would be twice as long if all its inputs that have such parts were: `by_image`
    /// tells which scratch buffers hold such inputs.
    fn is_by_image(&self, batch: usize, images: &[BufferId], by_image: &[bool]) -> bool {
        let [View { tensor: made, .. }] = &self.outputs[..] else { return false };
        // Sums over rows grow too, but because they have more parts.
        if !is_cut(made, batch) || self.op.as_ref().downcast::<Sum>().is_some() {
            return false;
        }
        let is_picked = |view: &View| matches!(view.buffer, Buffer::Stored(id) if images.contains(&id));
        if self.op.as_ref().downcast::<Fill>().is_some() || self.inputs.iter().any(is_picked) {
            return true;
        }
        let grown = |View { buffer, tensor, .. }: &View| match buffer {
            Buffer::Scratch(i) if by_image[*i] && is_cut(tensor, batch) => twice(tensor),
            _ => tensor.clone(),
        };
        let inputs: Vec<Tensor> = self.inputs.iter().map(grown).collect();
        self.op.shape(&inputs).is_ok_and(|result| result == twice(made))
    }
}

/// Whether the outermost axis can be the images, or rows of each image.
fn is_cut(tensor: &Tensor, batch: usize) -> bool {
    tensor.dims().first().is_some_and(|rows| rows.is_multiple_of(batch))
}

fn twice(tensor: &Tensor) -> Tensor {
    let mut dims = tensor.dims().to_vec();
    dims[0] *= 2;
    Tensor { shape: Shape::new(dims), kind: tensor.kind }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::mnist;
    use crate::graph::{Graph, Store, Value};
    use crate::models::{Normalization, builtin};
    use crate::ops::Op;
    use crate::ops::concat::Slice;
    use crate::ops::elementwise::{Copy, Scale};
    use crate::ops::matmul::{Layout, MatMul};
    use crate::ops::transpose::Transpose;
    use crate::train::{ClassifierSteps, Precision, Settings, Share};

    const BATCH: usize = 4;

    /// Whether what `make` makes of a batch of images, their product with weights, or other weights is halved.
    fn is_halved(make: impl FnOnce(&mut Graph, [Value; 3]) -> Value) -> bool {
        let mut store = Store::default();
        let mut stored = |tensor: Tensor| store.place("", tensor);
        let places = [[BATCH, 300], [300, 512], [512, BATCH]].map(|dims| stored(Tensor::f32(dims)));
        let mut graph = Graph::new();
        let [images, weights, others] = [0, 1, 2].map(|i| graph.read(&places[i]));
        let images = apply(&mut graph, Copy, &[images]);
        let product = apply(&mut graph, MatMul::new(Layout::NN), &[images, weights]);
        let made = make(&mut graph, [images, product, others]);
        let shape = graph.shape(made).clone();
        assert!(shape.dims()[0] == BATCH && shape.len() >= BATCH * WORTH_HALVING, "{shape}");
        // What is assigned is in a stored buffer; what it is made of is not.
        for value in [product, made] {
            let twice = apply(&mut graph, Scale { factor: 2.0, offset: 0.0 }, &[value]);
            let place = stored(graph.tensor(twice).clone());
            graph.assign(twice, place).unwrap();
        }
        let mut plan = Plan::new(&graph);
        plan.halve(BATCH, &[places[0].buffer]);
        let [.., of_product, of_made] = &plan.dispatches[..] else { panic!("{plan:?}") };
        assert_eq!(of_product.inputs[0].tensor.kind, Kind::F16);
        of_made.inputs[0].tensor.kind == Kind::F16
    }

    fn apply(graph: &mut Graph, op: impl Op, inputs: &[Value]) -> Value {
        graph.apply(op, inputs).unwrap()
    }

    #[test]
    fn what_only_has_the_size_of_a_batch_stays_in_32_bits() {
        assert!(is_halved(|graph, [_, product, _]| apply(graph, Slice::new(0, 400), &[product])));
        // The derivative with respect to the weights of a layer with as many inputs as there are images.
        assert!(!is_halved(|graph, [images, product, _]| {
            let inputs = apply(graph, Slice::new(0, BATCH), &[images]);
            apply(graph, MatMul::new(Layout::TN), &[inputs, product])
        }));
        // The transposed weights of a layer with as many outputs.
        assert!(!is_halved(|graph, [_, _, others]| apply(graph, Transpose, &[others])));
        // A sum in as many parts.
        assert!(!is_halved(|graph, [_, product, _]| {
            apply(graph, Sum { width: 512, rows: 1, factor: 1.0 }, &[product])
        }));
    }

    #[test]
    fn all_that_a_step_makes_of_each_image_is_halved() {
        // A prime number that no other size in these networks equals.
        const IMAGES: usize = 37;
        let set = mnist::embedded().unwrap().train.select(&(0..100).collect::<Vec<_>>());
        for network in ["fast", "standard", "best", "dense", "cnn", "avgcnn"] {
            let architecture = builtin(network).unwrap();
            let recipe = Settings::from_recipe(network, &architecture.recipe);
            let settings = Settings { batch: IMAGES, precision: Precision::F16, ..recipe };
            let mut store = Store::default();
            let (declared, parameters) = architecture.declare([28, 28, 1], 10, &mut store, "classifier").unwrap();
            let (normalization, share) = (Normalization::of(&set), Share::WHOLE);
            let classifier =
                ClassifierSteps::declare(&mut store, &declared, parameters, &settings, &set, normalization, share)
                    .unwrap();
            let mut halved = 0;
            for Dispatch { op, outputs, .. } in &classifier.plan.dispatches {
                for View { tensor, .. } in outputs.iter().filter(|view| matches!(view.buffer, Buffer::Scratch(_))) {
                    let is_large = tensor.dims().first() == Some(&IMAGES) && tensor.len() >= IMAGES * WORTH_HALVING;
                    let is_sum = op.as_ref().downcast::<Sum>().is_some() || !matches!(tensor.shape.rank(), 2 | 4);
                    let wanted = is_large && !is_sum && tensor.kind != Kind::U32;
                    assert_eq!(tensor.kind == Kind::F16, wanted, "{network}: {op:?} makes {tensor:?}");
                    halved += usize::from(wanted);
                }
            }
            assert!(halved > 0, "{network}");
            // So less memory has to be asked for.
            let (whole, needed) = (&classifier.plan.scratch, classifier.plan.scratch_needed());
            assert!(whole.iter().zip(&needed).all(|(whole, needed)| needed <= whole), "{whole:?} {needed:?}");
            let (whole, needed) = (whole.iter().sum::<usize>(), needed.iter().sum::<usize>());
            assert!(4 * needed < 3 * whole, "{network}: {needed} of {whole} words");
        }
    }
}
