//! From a graph to what a device replays: dead nodes dropped, epilogues folded in, what is computed twice computed once,
//! buffers shared by lifetime.

use std::collections::HashMap;
use std::sync::Arc;

use rewrite::{rewritten, uses};

use crate::graph::{BufferId, Effect, Graph, Origin, Place, Value};
use crate::ops::Op;
use crate::ops::elementwise::Copy;
use crate::tensor::{Kind, Tensor};

mod rewrite;

/// Where a dispatch finds or leaves a tensor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Buffer {
    Stored(BufferId),
    /// One of [`Plan::scratch`]: holds nothing from one step to the next.
    Scratch(usize),
}

#[derive(Clone, PartialEq, Debug)]
pub struct View {
    pub buffer: Buffer,
    /// In words.
    pub offset: usize,
    pub tensor: Tensor,
}

/// One op on given buffers: one shader dispatch, or one call of its twin.
#[derive(Clone, Debug)]
pub struct Dispatch {
    pub op: Arc<dyn Op>,
    pub inputs: Vec<View>,
    /// No buffer is both an input and an output of a dispatch: WebGPU forbids it, and the CPU device borrows by it.
    pub outputs: Vec<View>,
}

impl Dispatch {
    pub fn flops(&self) -> u64 {
        self.op.flops(&tensors(&self.inputs), &tensors(&self.outputs))
    }
    /// Bytes that must be read and written if each element is touched once.
    pub fn bytes(&self) -> u64 {
        self.op.bytes(&tensors(&self.inputs), &tensors(&self.outputs))
    }
}

pub fn tensors(views: &[View]) -> Vec<Tensor> {
    views.iter().map(|view| view.tensor.clone()).collect()
}

/// Numbers of one image that are worth halving. Below are the last layers, whose numbers decide.
const WORTH_HALVING: usize = 256;

/// A step, ready to be replayed.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub dispatches: Vec<Dispatch>,
    /// Sizes in words of the buffers that live within a step only.
    pub scratch: Vec<usize>,
    /// Places of floats that several devices, each at its part of a batch, have the mean of when the plan has run.
    pub shared: Vec<Place>,
}

impl Plan {
    pub fn new(graph: &Graph) -> Plan {
        Planner::new(&rewritten(graph)).run()
    }
    pub fn flops(&self) -> u64 {
        self.dispatches.iter().map(Dispatch::flops).sum()
    }
    pub fn bytes(&self) -> u64 {
        self.dispatches.iter().map(Dispatch::bytes).sum()
    }
    /// Keeps what the step makes of each image of a batch in 16-bit floats, wherever that is many numbers: what limits a
    /// GPU there is its memory. Weights, sums over the batch and all arithmetic stay in 32 bits.
    pub fn halve(&mut self, batch: usize) {
        let mut halved = vec![false; self.scratch.len()];
        let halve = |view: &mut View, halved: &[bool]| {
            if matches!(view.buffer, Buffer::Scratch(i) if halved[i]) {
                view.tensor.kind = Kind::F16;
            }
        };
        for dispatch in &mut self.dispatches {
            dispatch.inputs.iter_mut().for_each(|view| halve(view, &halved));
            for view in &mut dispatch.outputs {
                // A buffer holds one result after another, and each is written before it is read.
                if let Buffer::Scratch(i) = view.buffer {
                    let Tensor { shape, kind } = &view.tensor;
                    let of_images = matches!(shape.rank(), 2 | 4) && shape.dims()[0] == batch;
                    halved[i] = *kind == Kind::F32 && of_images && shape.len() >= batch * WORTH_HALVING;
                }
                halve(view, &halved);
            }
        }
    }
    pub fn scratch_bytes(&self) -> u64 {
        self.scratch.iter().map(|words| *words as u64 * 4).sum()
    }
}

/// How long a result is needed: from one place in the order of things to another, both included.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime {
    pub words: usize,
    pub first: usize,
    pub last: usize,
}

impl Lifetime {
    fn meets(&self, other: &Lifetime) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Buffers that results share which are needed at different times: the largest result first, each in the smallest buffer
/// that is free for as long. Returns each one's buffer, and the buffers' sizes in words.
pub fn placed(results: &[Lifetime]) -> (Vec<usize>, Vec<usize>) {
    let mut largest_first: Vec<usize> = (0..results.len()).collect();
    largest_first.sort_by_key(|i| std::cmp::Reverse(results[*i].words));
    let mut place = vec![0; results.len()];
    // Of each buffer, what is in it. Later ones are smaller.
    let mut buffers: Vec<Vec<Lifetime>> = Vec::new();
    for i in largest_first {
        let free = |buffer: &Vec<Lifetime>| !buffer.iter().any(|other| other.meets(&results[i]));
        place[i] = buffers.iter().rposition(free).unwrap_or(buffers.len());
        if place[i] == buffers.len() {
            buffers.push(Vec::new());
        }
        buffers[place[i]].push(results[i]);
    }
    let size = |buffer: &Vec<Lifetime>| buffer[0].words.next_multiple_of(crate::graph::ALIGNMENT);
    (place, buffers.iter().map(size).collect())
}

struct Planner<'a> {
    graph: &'a Graph,
    /// For each live node, the node that owns its elements (itself, or what it reshapes).
    owner: Vec<usize>,
    /// At which of the owner's elements its own begin.
    start: Vec<usize>,
    /// Owners whose output goes straight to a stored buffer.
    destination: HashMap<usize, Place>,
    place: Vec<Option<(Buffer, usize)>>,
    /// What dispatches leave for others; until all are known each is in a scratch buffer of its own.
    results: Vec<Lifetime>,
    dispatches: Vec<Dispatch>,
}

impl<'a> Planner<'a> {
    fn new(graph: &'a Graph) -> Planner<'a> {
        let n = graph.nodes.len();
        let (mut owner, mut start): (Vec<usize>, Vec<usize>) = ((0..n).collect(), vec![0; n]);
        for (i, node) in graph.nodes.iter().enumerate() {
            let (inner, offset) = match node.origin {
                Origin::Reshape(inner) => (inner, 0),
                Origin::Part { of, offset } => (of, offset),
                Origin::Stored { .. } | Origin::Op { .. } => continue,
            };
            (owner[i], start[i]) = (owner[inner.0], start[inner.0] + offset);
        }
        let (destination, place) = (HashMap::new(), vec![None; n]);
        let mut planner =
            Planner { graph, owner, start, destination, place, results: Vec::new(), dispatches: Vec::new() };
        for (_, effect) in &graph.effects {
            let Effect::Assign { value, place } = effect else { continue };
            let owner = planner.owner[value.0];
            let is_op = matches!(graph.nodes[owner].origin, Origin::Op { .. });
            if is_op && !planner.destination.contains_key(&owner) && !planner.meets(owner, place.buffer) {
                planner.destination.insert(owner, place.clone());
            }
        }
        planner
    }

    /// Whether one dispatch would both read and write the buffer if the op's output were there: this one, or one that
    /// takes its output. No device can do that.
    fn meets(&self, node: usize, buffer: BufferId) -> bool {
        let written = |owner: usize| match &self.graph.nodes[owner].origin {
            Origin::Stored { buffer: stored, .. } => *stored == buffer,
            _ => self.destination.get(&owner).is_some_and(|place| place.buffer == buffer),
        };
        let takes = |inputs: &[Value]| inputs.iter().any(|value| self.owner[value.0] == node);
        let inputs_of = |node: usize| match &self.graph.nodes[node].origin {
            Origin::Op { inputs, .. } => &inputs[..],
            _ => &[],
        };
        let updates = self.graph.effects.iter().any(|(_, effect)| match effect {
            Effect::Update { inputs, targets, .. } => {
                takes(inputs) && targets.iter().any(|target| target.buffer == buffer)
            }
            Effect::Assign { .. } => false,
        });
        updates
            || inputs_of(node).iter().any(|value| written(self.owner[value.0]))
            || self.destination.iter().any(|(user, place)| place.buffer == buffer && takes(inputs_of(*user)))
    }

    fn run(mut self) -> Plan {
        let uses = uses(self.graph);
        let mut effects = self.graph.effects.iter().peekable();
        for (i, uses) in uses.iter().enumerate() {
            while let Some((_, effect)) = effects.next_if(|(at, _)| *at <= i) {
                self.effect(effect);
            }
            if *uses > 0 {
                self.node(i);
            }
        }
        effects.for_each(|(_, effect)| self.effect(effect));
        let (place, scratch) = placed(&self.results);
        for dispatch in &mut self.dispatches {
            for view in dispatch.inputs.iter_mut().chain(&mut dispatch.outputs) {
                if let Buffer::Scratch(result) = &mut view.buffer {
                    *result = place[*result];
                }
            }
        }
        Plan { dispatches: self.dispatches, scratch, shared: Vec::new() }
    }

    fn node(&mut self, i: usize) {
        let node = &self.graph.nodes[i];
        match &node.origin {
            Origin::Stored { buffer, offset } => self.place[i] = Some((Buffer::Stored(*buffer), *offset)),
            Origin::Reshape(_) | Origin::Part { .. } => {}
            Origin::Op { op, inputs } => {
                let place = match self.destination.get(&i) {
                    Some(place) => (Buffer::Stored(place.buffer), place.offset),
                    None => {
                        let now = self.dispatches.len();
                        self.results.push(Lifetime { words: node.tensor.len(), first: now, last: now });
                        (Buffer::Scratch(self.results.len() - 1), 0)
                    }
                };
                self.place[i] = Some(place);
                let output = View { buffer: place.0, offset: place.1, tensor: node.tensor.clone() };
                self.dispatch(op.clone(), inputs, vec![output]);
            }
        }
    }

    fn effect(&mut self, effect: &Effect) {
        let stored = |place: &Place| View {
            buffer: Buffer::Stored(place.buffer),
            offset: place.offset,
            tensor: place.tensor.clone(),
        };
        match effect {
            Effect::Update { op, inputs, targets } => {
                self.dispatch(op.clone(), inputs, targets.iter().map(stored).collect());
            }
            Effect::Assign { value, place } => {
                if self.destination.get(&self.owner[value.0]) != Some(place) {
                    self.dispatch(Arc::new(Copy), &[*value], vec![stored(place)]);
                }
            }
        }
    }

    fn dispatch(&mut self, op: Arc<dyn Op>, inputs: &[Value], outputs: Vec<View>) {
        let views = inputs.iter().map(|v| {
            let (buffer, offset) = self.place[self.owner[v.0]].expect("inputs stand before their users");
            View { buffer, offset: offset + self.start[v.0], tensor: self.graph.nodes[v.0].tensor.clone() }
        });
        let inputs: Vec<View> = views.collect();
        for view in &inputs {
            if let Buffer::Scratch(result) = view.buffer {
                self.results[result].last = self.dispatches.len();
            }
        }
        self.dispatches.push(Dispatch { op, inputs, outputs });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_share_a_buffer_where_they_are_needed_at_different_times_and_only_there() {
        let result = |words, first, last| Lifetime { words, first, last };
        let results = [result(100, 0, 3), result(640, 1, 2), result(64, 4, 6), result(600, 3, 5), result(70, 2, 2)];
        let (place, sizes) = placed(&results);
        assert_eq!(sizes, [640, 128, 128]);
        assert_eq!(place, [1, 0, 2, 0, 2]);
        assert_eq!(placed(&[]), (vec![], vec![]));
    }

    proptest::proptest! {
        #[test]
        fn no_two_results_are_in_one_buffer_at_one_time(
            spans in proptest::collection::vec((1..2000usize, 0..40usize, 0..10usize), 0..60)
        ) {
            let results: Vec<Lifetime> =
                spans.iter().map(|&(words, first, more)| Lifetime { words, first, last: first + more }).collect();
            let (place, sizes) = placed(&results);
            for (i, a) in results.iter().enumerate() {
                assert!(sizes[place[i]] >= a.words);
                for (j, b) in results.iter().enumerate().filter(|(j, _)| *j != i && place[*j] == place[i]) {
                    assert!(a.last < b.first || b.last < a.first, "{i} and {j}: {a:?} {b:?}");
                }
            }
        }
    }
}
