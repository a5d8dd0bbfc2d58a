//! A step of work written down: nodes in the order they run, every shape known when they are added.
//!
//! A [`Graph`] computes nothing. Ops add [`Value`]s to it, [`Graph::assign`] and [`Graph::update`] name
//! the places in stored buffers that the step changes, [`crate::grad`] extends it by derivatives, and
//! [`crate::plan`] turns it into dispatches for a device.

use std::sync::Arc;

use crate::ops::Op;
use crate::tensor::{Kind, Shape, Tensor};

/// A tensor in a graph.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Value(pub(crate) usize);

/// A buffer that outlives the step: weights, moments, the data set, the clock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct BufferId(pub usize);

/// Parts of a stored buffer start at multiples of this many words: the 256 bytes that WebGPU asks of a
/// storage binding's offset.
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
    /// Makes room for `words` more at the end of a buffer; returns where they start, aligned.
    pub fn extend(&mut self, buffer: BufferId, words: usize) -> usize {
        let size = &mut self.buffers[buffer.0].1;
        let offset = *size;
        *size = (offset + words).next_multiple_of(ALIGNMENT);
        offset
    }
    pub fn words(&self, buffer: BufferId) -> usize {
        self.buffers[buffer.0].1
    }
    pub fn name(&self, buffer: BufferId) -> &str {
        &self.buffers[buffer.0].0
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

/// Where a value comes from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// Read from a stored buffer.
    Stored { buffer: BufferId, offset: usize },
    /// The output of an op.
    Op { op: Arc<dyn Op>, inputs: Vec<Value> },
    /// The same elements as another value, in another shape. Costs nothing.
    Reshape(Value),
    /// The elements of another value from this one on, a multiple of [`ALIGNMENT`]. Only a plan makes them.
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
    /// The op reads its inputs and changes its targets where they are.
    Update { op: Arc<dyn Op>, inputs: Vec<Value>, targets: Vec<Place> },
}

/// A mistake in building a graph: names the op, the shapes it was given and what it asked for.
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
    /// Each effect happens after all nodes that were added before it: `(number of nodes then, effect)`.
    pub(crate) effects: Vec<(usize, Effect)>,
}

impl Graph {
    pub fn new() -> Graph {
        Graph::default()
    }

    /// Reads a place of a stored buffer.
    pub fn read(&mut self, place: &Place) -> Value {
        let origin = Origin::Stored { buffer: place.buffer, offset: place.offset };
        self.push(Node { origin, tensor: place.tensor.clone() })
    }

    /// Adds an op. Fails, naming the op and the shapes, where its shape rule says so.
    pub fn apply<O: Op>(&mut self, op: O, inputs: &[Value]) -> Result<Value, GraphError> {
        self.apply_arc(Arc::new(op), inputs)
    }

    /// [`Graph::apply`] for an op that is shared already.
    pub fn apply_arc(&mut self, op: Arc<dyn Op>, inputs: &[Value]) -> Result<Value, GraphError> {
        let tensors: Vec<Tensor> = inputs.iter().map(|v| self.tensor(*v).clone()).collect();
        match op.shape(&tensors) {
            Ok(tensor) => Ok(self.push(Node { origin: Origin::Op { op, inputs: inputs.to_vec() }, tensor })),
            Err(problem) => Err(GraphError { op: op.name().into(), inputs: tensors, problem }),
        }
    }

    /// The same elements in another shape.
    pub fn reshape(&mut self, value: Value, shape: impl Into<Shape>) -> Result<Value, GraphError> {
        let (shape, tensor) = (shape.into(), self.tensor(value).clone());
        if shape.len() != tensor.len() {
            let problem = format!("cannot become {shape}: {} elements against {}", tensor.len(), shape.len());
            return Err(GraphError { op: "reshape".into(), inputs: vec![tensor], problem });
        }
        if shape == tensor.shape {
            return Ok(value);
        }
        let tensor = Tensor { shape, kind: tensor.kind };
        Ok(self.push(Node { origin: Origin::Reshape(value), tensor }))
    }

    /// Writes a value to a place of a stored buffer.
    pub fn assign(&mut self, value: Value, place: Place) {
        assert_eq!(self.tensor(value).len(), place.tensor.len(), "a value is assigned to a place of its size");
        self.effects.push((self.nodes.len(), Effect::Assign { value, place }));
    }

    /// Changes stored buffers where they are: an optimizer's step, the clock's tick.
    pub fn update<O: Op>(&mut self, op: O, inputs: &[Value], targets: Vec<Place>) {
        let effect = Effect::Update { op: Arc::new(op), inputs: inputs.to_vec(), targets };
        self.effects.push((self.nodes.len(), effect));
    }

    /// Where a value is read from, if it is what a stored buffer holds.
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
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) fn push(&mut self, node: Node) -> Value {
        self.nodes.push(node);
        Value(self.nodes.len() - 1)
    }
}
