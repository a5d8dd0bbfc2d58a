//! A step of work written down: nodes in the order they run, with every shape known when a node is added.
//!
//! A [`Graph`] computes nothing. Ops add [`Value`]s to it, [`Graph::assign`] and [`Graph::update`] name
//! the places in stored buffers that the step changes, [`crate::grad`] adds derivatives to it, and
//! [`crate::plan`] turns it into dispatches for a device.

use std::sync::Arc;

use crate::ops::Op;
use crate::tensor::{Kind, Shape, Tensor};

/// A tensor in a graph. It belongs to the graph that gave it, and to that graph's clones: in another graph it stands
/// for another tensor, or for none, and then what is done with it panics.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Value(pub(crate) usize);

/// A buffer that outlives the step: weights, moments, the data set, the clock. It belongs to the store that gave it,
/// and to that store's clones.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct BufferId(pub usize);

/// Parts of a stored buffer start at multiples of this many words: the 256 bytes to which WebGPU aligns the
/// offset of a storage binding.
pub const ALIGNMENT: usize = 64;

/// The names and sizes of all stored buffers of a program. Several graphs may share one store.
#[derive(Clone, Debug, Default)]
pub struct Store {
    buffers: Vec<(String, usize)>,
}

impl Store {
    /// Adds a buffer of `words` 32-bit words.
    pub fn add(&mut self, name: impl Into<String>, words: usize) -> BufferId {
        self.buffers.push((name.into(), words));
        BufferId(self.buffers.len() - 1)
    }
    /// Adds a buffer that is one tensor.
    pub fn place(&mut self, name: impl Into<String>, tensor: Tensor) -> Place {
        Place::whole(self.add(name, tensor.len()), tensor)
    }
    /// Makes room for `words` more words at the end of a buffer; returns the aligned offset where they start.
    ///
    /// # Panics
    /// If the store has no such buffer.
    pub fn extend(&mut self, buffer: BufferId, words: usize) -> usize {
        let size = &mut self.buffers[buffer.0].1;
        let offset = *size;
        *size = (offset + words).next_multiple_of(ALIGNMENT);
        offset
    }
    /// # Panics
    /// If the store has no such buffer.
    pub fn words(&self, buffer: BufferId) -> usize {
        self.buffers[buffer.0].1
    }
    /// A buffer's name and its words, if the store has it.
    pub(crate) fn get(&self, buffer: BufferId) -> Option<(&str, usize)> {
        self.buffers.get(buffer.0).map(|(name, words)| (name.as_str(), *words))
    }
    pub fn buffers(&self) -> impl Iterator<Item = (BufferId, &str, usize)> {
        self.buffers.iter().enumerate().map(|(i, (name, words))| (BufferId(i), name.as_str(), *words))
    }
}

/// A part of a stored buffer, seen as a tensor.
#[derive(Clone, PartialEq, Debug)]
pub struct Place {
    pub buffer: BufferId,
    /// In words; a multiple of [`ALIGNMENT`].
    pub offset: usize,
    pub tensor: Tensor,
}

impl Place {
    /// A stored buffer from its first word on, seen as a tensor.
    pub fn whole(buffer: BufferId, tensor: Tensor) -> Place {
        Place { buffer, offset: 0, tensor }
    }
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// Read from a stored buffer.
    Stored { buffer: BufferId, offset: usize },
    /// The output of an op.
    Op { op: Arc<dyn Op>, inputs: Vec<Value> },
    /// The same elements as another value, in another shape. Costs nothing.
    Reshape(Value),
    /// The elements of another value from `offset` on, a multiple of [`ALIGNMENT`]. Only a plan makes these.
    Part { of: Value, offset: usize },
}

#[derive(Clone, Debug)]
pub struct Node {
    pub origin: Origin,
    pub tensor: Tensor,
}

/// What a step leaves behind.
#[derive(Clone, Debug)]
pub enum Effect {
    /// The value is written to the place.
    Assign { value: Value, place: Place },
    /// The op reads its inputs and changes its targets in place.
    Update { op: Arc<dyn Op>, inputs: Vec<Value>, targets: Vec<Place> },
}

/// A mistake in building a graph: names the op, the shapes it was given and what it required.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("{op}: {problem} (inputs: {})", .inputs.iter().map(|t| t.shape.to_string()).collect::<Vec<_>>().join(", "))]
pub struct GraphError {
    pub op: String,
    pub inputs: Vec<Tensor>,
    pub problem: String,
}

#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub(crate) nodes: Vec<Node>,
    /// Each effect happens after all nodes that were added before it: `(number of nodes at that time, effect)`.
    pub(crate) effects: Vec<(usize, Effect)>,
}

impl Graph {
    pub fn new() -> Graph {
        Graph::default()
    }

    /// Reads a place of a stored buffer. Nothing is copied: an op or [`Graph::assign`] that uses the value reads what
    /// is in the place at that time. A [`Copy`](crate::ops::elementwise::Copy) keeps what is there now.
    ///
    /// # Panics
    /// If the place does not begin at a multiple of [`ALIGNMENT`], as no GPU could bind it, and if it holds
    /// [`Kind::F16`], which only plans have.
    pub fn read(&mut self, place: &Place) -> Value {
        assert!(place.offset.is_multiple_of(ALIGNMENT), "a place begins at a multiple of {ALIGNMENT} words");
        assert!(place.tensor.kind != Kind::F16, "only plans have 16-bit floats, see `Plan::halve`");
        let origin = Origin::Stored { buffer: place.buffer, offset: place.offset };
        self.push(Node { origin, tensor: place.tensor.clone() })
    }

    /// Adds an op.
    ///
    /// # Errors
    /// Where the op's shape rule refuses the inputs, and where an input or the result has no elements; the error names
    /// the op and the shapes.
    pub fn apply<O: Op>(&mut self, op: O, inputs: &[Value]) -> Result<Value, GraphError> {
        self.apply_arc(Arc::new(op), inputs)
    }

    /// [`Graph::apply`] for an op that is already shared.
    pub fn apply_arc(&mut self, op: Arc<dyn Op>, inputs: &[Value]) -> Result<Value, GraphError> {
        let given = self.tensors(inputs);
        let result = op.shape(&given).and_then(|out| has_elements(given.iter().chain([&out])).map(|()| out));
        let tensor = result.map_err(|problem| self.error(op.name(), inputs, problem))?;
        Ok(self.push(Node { origin: Origin::Op { op, inputs: inputs.to_vec() }, tensor }))
    }

    /// The same elements in another shape.
    pub fn reshape(&mut self, value: Value, shape: impl Into<Shape>) -> Result<Value, GraphError> {
        let (shape, tensor) = (shape.into(), self.tensor(value).clone());
        if shape.len() != tensor.len() {
            let problem = format!("cannot become {shape}: {} elements against {}", tensor.len(), shape.len());
            return Err(self.error("reshape", &[value], problem));
        }
        if shape == tensor.shape {
            return Ok(value);
        }
        let tensor = Tensor { shape, kind: tensor.kind };
        Ok(self.push(Node { origin: Origin::Reshape(value), tensor }))
    }

    /// Writes a value to a place of a stored buffer. Shapes may differ.
    ///
    /// # Errors
    /// A place of another size or kind, a place that does not begin at a multiple of [`ALIGNMENT`], and a place in the
    /// buffer that the value is read from.
    pub fn assign(&mut self, value: Value, place: Place) -> Result<(), GraphError> {
        let (tensor, wanted) = (self.tensor(value), &place.tensor);
        let fits = (tensor.len(), tensor.kind) == (wanted.len(), wanted.kind);
        let problem = (!fits).then(|| format!("needs a place of its size and kind, not {wanted:?}"));
        if let Some(problem) = problem.or_else(|| self.wrong_with(&[value], std::slice::from_ref(&place))) {
            return Err(self.error("assign", &[value], problem));
        }
        self.effects.push((self.nodes.len(), Effect::Assign { value, place }));
        Ok(())
    }

    /// Changes stored buffers in place: an optimizer's step, the clock's tick.
    ///
    /// # Errors
    /// Where the op's shape rule refuses the inputs, where the targets are not what it writes to, where a target does
    /// not begin at a multiple of [`ALIGNMENT`], and where two targets, or a target and an input, are in one buffer.
    /// Unlike those of [`Graph::apply`], tensors may be empty: the step of a network without weights updates none.
    pub fn update<O: Op>(&mut self, op: O, inputs: &[Value], targets: Vec<Place>) -> Result<(), GraphError> {
        let wanted = op.targets(&self.tensors(inputs)).map_err(|problem| self.error(op.name(), inputs, problem))?;
        let given: Vec<&Tensor> = targets.iter().map(|target| &target.tensor).collect();
        let differs = given.iter().copied().ne(&wanted);
        let problem = differs.then(|| format!("writes to {wanted:?}, was given {given:?}"));
        if let Some(problem) = problem.or_else(|| self.wrong_with(inputs, &targets)) {
            return Err(self.error(op.name(), inputs, problem));
        }
        let effect = Effect::Update { op: Arc::new(op), inputs: inputs.to_vec(), targets };
        self.effects.push((self.nodes.len(), effect));
        Ok(())
    }

    /// Why one dispatch cannot read these values and write to these places, if it cannot.
    fn wrong_with(&self, inputs: &[Value], places: &[Place]) -> Option<String> {
        let read: Vec<BufferId> = inputs.iter().filter_map(|value| self.buffer_of(*value)).collect();
        places.iter().enumerate().find_map(|(i, Place { buffer, offset, .. })| {
            if !offset.is_multiple_of(ALIGNMENT) {
                Some(format!("a place begins at a multiple of {ALIGNMENT} words, not at {offset}"))
            } else if read.contains(buffer) {
                Some("cannot read the buffer that it writes to; copy first".into())
            } else if places[..i].iter().any(|other| other.buffer == *buffer) {
                Some("cannot write to one buffer as two targets".into())
            } else {
                None
            }
        })
    }

    /// The stored buffer that a value's elements are read from, whatever shape they have here.
    fn buffer_of(&self, value: Value) -> Option<BufferId> {
        match self.nodes[value.0].origin {
            Origin::Stored { buffer, .. } => Some(buffer),
            Origin::Reshape(of) | Origin::Part { of, .. } => self.buffer_of(of),
            Origin::Op { .. } => None,
        }
    }

    fn tensors(&self, values: &[Value]) -> Vec<Tensor> {
        values.iter().map(|value| self.tensor(*value).clone()).collect()
    }

    fn error(&self, op: &str, inputs: &[Value], problem: String) -> GraphError {
        GraphError { op: op.into(), inputs: self.tensors(inputs), problem }
    }

    /// The place that a value is read from, if it is read from a stored buffer.
    pub(crate) fn stored(&self, value: Value) -> Option<Place> {
        let Node { origin, tensor } = &self.nodes[value.0];
        let Origin::Stored { buffer, offset } = *origin else { return None };
        Some(Place { buffer, offset, tensor: tensor.clone() })
    }
    pub fn tensor(&self, value: Value) -> &Tensor {
        &self.nodes[value.0].tensor
    }
    pub fn shape(&self, value: Value) -> &Shape {
        &self.nodes[value.0].tensor.shape
    }
    pub fn dims(&self, value: Value) -> &[usize] {
        self.shape(value).dims()
    }
    pub fn kind(&self, value: Value) -> Kind {
        self.nodes[value.0].tensor.kind
    }

    pub(crate) fn push(&mut self, node: Node) -> Value {
        self.nodes.push(node);
        Value(self.nodes.len() - 1)
    }
}

/// Refuses tensors without elements: kernels divide by their sizes.
fn has_elements<'a>(mut tensors: impl Iterator<Item = &'a Tensor>) -> Result<(), String> {
    let empty = tensors.find(|tensor| tensor.is_empty());
    empty.map_or(Ok(()), |tensor| Err(format!("takes and gives tensors that have elements, not {tensor:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::device::cpu::Cpu;
    use crate::ops::Epilogue;
    use crate::ops::concat::Slice;
    use crate::ops::conv2d::{Conv2d, Conv2dGradW};
    use crate::ops::elementwise::Copy;
    use crate::ops::loss::Pairwise;
    use crate::ops::optimizer::{Optimizer, Update};
    use crate::ops::record::{RecordLoss, Told};
    use crate::ops::reduce::Spread;
    use crate::ops::updates::StoreRows;
    use crate::plan::Plan;

    fn problem(result: Result<(), GraphError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn an_update_of_what_it_does_not_write_to_names_the_op_and_both_shapes() {
        let (mut store, mut graph) = (Store::default(), Graph::new());
        let mut stored = |tensor: Tensor| store.place("", tensor);
        let (clock, x) = (stored(Tensor::u32([2])), stored(Tensor::f32([3, 7])));
        let (ring, other_clock) = (stored(Tensor::f32([4, 2])), stored(Tensor::u32([2])));
        let (narrow, rows) = (stored(Tensor::f32([10, 5])), stored(Tensor::f32([10, 7])));
        let [now, values] = [graph.read(&clock), graph.read(&x)];

        let told = problem(graph.update(StoreRows { count: 10 }, &[now, values], vec![narrow]));
        assert!(["store_rows", "[3, 7]", "[10, 7]", "[10, 5]"].iter().all(|part| told.contains(part)), "{told}");
        graph.update(StoreRows { count: 10 }, &[now, values], vec![rows.clone()]).unwrap();
        // Its inputs are checked like those of other ops.
        let told = problem(graph.update(StoreRows { count: 10 }, &[values, values], vec![rows]));
        assert!(told.contains("clock"), "{told}");

        let record = RecordLoss { slots: 4, told: Told::Whole(Pairwise::Mse), ticks: true };
        assert!(graph.update(record, &[values, values], vec![ring.clone()]).is_err());
        graph.update(record, &[values, values], vec![ring, other_clock]).unwrap();
    }

    #[test]
    fn ops_that_would_divide_by_nothing_or_read_past_an_end_are_refused_with_what_they_were_given() {
        let (mut store, mut graph) = (Store::default(), Graph::new());
        let [x, image, weight] = [vec![4, 2], vec![1, 4, 4, 1], vec![3, 3, 1, 2]]
            .map(|dims| graph.read(&store.place("", Tensor::f32(Shape::new(dims)))));
        for (width, rows) in [(0, 1), (2, 0), (3, 1)] {
            let told = problem(graph.apply(Spread { shape: [4, 2].into(), width, rows, factor: 1.0 }, &[x]).map(drop));
            assert!(told.contains("spread") && told.contains("[4, 2]"), "{told}");
        }
        for [stride, p, q] in [[0, 2, 2], [1, 0, 2], [1, 2, 0]] {
            let epilogue = Epilogue::NONE;
            let op = Conv2d { stride, pad_top: 0, pad_left: 0, out: [p, q], transposed: false, epilogue };
            let told = problem(graph.apply(op, &[image, weight]).map(drop));
            assert!(told.contains("conv2d") && told.contains("[1, 4, 4, 1]"), "{told}");
        }
        let told = problem(graph.apply(Slice::new(1, usize::MAX), &[x]).map(drop));
        assert!(told.contains("slice") && told.contains("[4, 2]"), "{told}");
    }

    #[test]
    fn tensors_without_elements_are_stored_and_reshaped_but_not_computed_with() {
        let (mut store, mut graph) = (Store::default(), Graph::new());
        let mut read =
            |graph: &mut Graph, dims: Vec<usize>| graph.read(&store.place("", Tensor::f32(Shape::new(dims))));
        let none = read(&mut graph, vec![3, 0]);
        graph.reshape(none, [0, 7]).unwrap();
        let told = problem(graph.apply(Copy, &[none]).map(drop));
        assert!(told.contains("copy") && told.contains("[3, 0]"), "{told}");
        // A result without elements, of inputs that have some.
        let [image, weight] = [vec![1, 4, 4, 1], vec![3, 3, 1, 0]].map(|dims| read(&mut graph, dims));
        let epilogue = Epilogue::NONE;
        let op = Conv2d { stride: 1, pad_top: 0, pad_left: 0, out: [2; 2], transposed: false, epilogue };
        let told = problem(graph.apply(op, &[image, weight]).map(drop));
        assert!(told.contains("conv2d") && told.contains("[3, 3, 1, 0]"), "{told}");
        let grad_w = Conv2dGradW { stride: 1, pad_top: 0, pad_left: 0, r: 0, s: 3, images_per_part: 1 };
        let told = problem(graph.apply(grad_w, &[image, image]).map(drop));
        assert!(told.contains("conv2d.grad_w") && told.contains("[1, 0, 3, 1, 1]"), "{told}");
        let told = problem(graph.apply(grad_w, &[image; 3]).map(drop));
        assert!(told.contains("takes 2 inputs"), "{told}");
    }

    #[test]
    fn an_update_of_no_weights_is_a_step_like_any_other() {
        let (mut store, mut graph) = (Store::default(), Graph::new());
        let tensors = [Tensor::f32([0]), Tensor::f32([1, 4]), Tensor::u32([2]), Tensor::f32([0])];
        let [gradients, table, clock, weights] = tensors.map(|tensor| store.place("", tensor));
        let inputs = [gradients, table, clock].map(|place| graph.read(&place));
        let optimizer = Optimizer::Sgd { momentum: 0.0, nesterov: false };
        let update = Update { optimizer, decay: 0.0, factor: 1.0, average: 0.0 };
        graph.update(update, &inputs, vec![weights]).unwrap();
        let mut device = Cpu::new();
        device.allocate(&store).unwrap();
        let step = device.prepare(&Plan::new(&graph)).unwrap();
        device.run(&[step], 2).unwrap();
    }

    #[test]
    #[should_panic(expected = "16-bit")]
    fn a_graph_reads_no_16_bit_floats() {
        let tensor = Tensor { kind: Kind::F16, ..Tensor::f32([4]) };
        Graph::new().read(&Store::default().place("", tensor));
    }

    #[test]
    fn an_optimizer_is_given_as_many_targets_as_it_keeps_numbers_of_a_weight() {
        let (mut store, mut graph) = (Store::default(), Graph::new());
        let mut stored = |tensor: Tensor| store.place("", tensor);
        let inputs = [Tensor::f32([9]), Tensor::f32([1, 4]), Tensor::u32([2])].map(&mut stored);
        let inputs = inputs.map(|place| graph.read(&place));
        let targets: Vec<Place> = (0..4).map(|_| stored(Tensor::f32([9]))).collect();
        let (adam, plain) =
            (Optimizer::Adam { beta1: 0.9, beta2: 0.99, eps: 1e-7 }, Optimizer::Sgd { momentum: 0.0, nesterov: false });
        for (optimizer, average, wanted) in [(plain, 0.0, 1), (plain, 0.9, 2), (adam, 0.0, 3), (adam, 0.9, 4)] {
            let update = Update { optimizer, decay: 0.0, factor: 1.0, average };
            for given in 1..=4 {
                let result = graph.update(update, &inputs, targets[..given].to_vec());
                assert_eq!(result.is_ok(), given == wanted, "{update:?} of {given}");
            }
        }
    }

    #[test]
    fn a_buffer_is_not_read_and_written_by_one_dispatch_nor_written_twice() {
        let (mut store, mut graph) = (Store::default(), Graph::new());
        let buffer = store.add("both", 2 * ALIGNMENT);
        let part = |offset, tensor| Place { buffer, offset, tensor };
        let [first, second] = [0, ALIGNMENT].map(|offset| part(offset, Tensor::f32([4, 1])));
        let x = graph.read(&first);
        let seen = graph.reshape(x, [2, 2]).unwrap();
        let told = problem(graph.assign(seen, second.clone()));
        assert!(told.contains("assign") && told.contains("copy"), "{told}");
        let copied = graph.apply(Copy, &[seen]).unwrap();
        graph.assign(copied, second).unwrap();

        let clock = part(ALIGNMENT, Tensor::u32([2]));
        let record = RecordLoss { slots: 2, told: Told::Whole(Pairwise::Mse), ticks: true };
        let told = problem(graph.update(record, &[copied, copied], vec![part(0, Tensor::f32([2, 2])), clock]));
        assert!(told.contains("two targets"), "{told}");
    }

    #[test]
    fn a_value_is_assigned_to_a_place_of_its_size_and_kind_that_a_gpu_can_bind() {
        let (mut store, mut graph) = (Store::default(), Graph::new());
        let x = graph.read(&store.place("", Tensor::f32([2, 3])));
        let buffer = store.add("out", 2 * ALIGNMENT);
        let to = |offset, tensor| Place { buffer, offset, tensor };
        for wrong in [Tensor::f32([5]), Tensor::u32([2, 3])] {
            let told = problem(graph.assign(x, to(0, wrong.clone())));
            assert!(told.contains("[2, 3]") && told.contains(&format!("{wrong:?}")), "{told}");
        }
        let told = problem(graph.assign(x, to(6, Tensor::f32([6]))));
        assert!(told.contains("multiple of 64"), "{told}");
        graph.assign(x, to(ALIGNMENT, Tensor::f32([6]))).unwrap();
    }
}
