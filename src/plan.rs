//! From a graph to what a device replays: dead nodes are dropped, epilogues folded in, repeated computations done once,
//! and buffers shared by lifetime.

use std::collections::HashMap;
use std::sync::Arc;

use rewrite::{rewritten, uses};

use crate::graph::{BufferId, Effect, Graph, Origin, Place, Value};
use crate::ops::Op;
use crate::ops::elementwise::Copy;
use crate::tensor::Tensor;

mod halve;
mod rewrite;

/// Where a dispatch finds or leaves a tensor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Buffer {
    Stored(BufferId),
    /// One of [`Plan::scratch`]: keeps nothing from one step to the next.
    Scratch(usize),
}

#[derive(Clone, PartialEq, Debug)]
pub struct View {
    pub buffer: Buffer,
    /// In words.
    pub offset: usize,
    pub tensor: Tensor,
}

/// One op on given buffers: one shader dispatch, or one call of its CPU twin.
#[derive(Clone, Debug)]
pub struct Dispatch {
    pub op: Arc<dyn Op>,
    pub inputs: Vec<View>,
    /// No buffer is both an input and an output of a dispatch: WebGPU forbids it, and the CPU device's borrows need it.
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

/// A step, ready to be replayed.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub dispatches: Vec<Dispatch>,
    /// Sizes in words of the buffers that live only within a step.
    pub scratch: Vec<usize>,
    /// Places of floats that hold the mean over all devices when the plan has run, if several share a batch.
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
    /// Every part of a stored buffer that it reads or writes: buffer, first word, and number of words.
    pub fn stored(&self) -> impl Iterator<Item = (BufferId, usize, usize)> {
        let views = self.dispatches.iter().flat_map(|dispatch| dispatch.inputs.iter().chain(&dispatch.outputs));
        views.filter_map(|view| match view.buffer {
            Buffer::Stored(id) => Some((id, view.offset, view.tensor.bytes().div_ceil(4) as usize)),
            Buffer::Scratch(_) => None,
        })
    }
    /// The words of each scratch buffer that its tensors need: fewer than its size where some are in 16 bits.
    pub fn scratch_needed(&self) -> Vec<usize> {
        let mut needed = vec![0; self.scratch.len()];
        for view in self.dispatches.iter().flat_map(|dispatch| dispatch.inputs.iter().chain(&dispatch.outputs)) {
            if let Buffer::Scratch(i) = view.buffer {
                let words = view.offset + (view.tensor.bytes() as usize).div_ceil(4);
                needed[i] = words.next_multiple_of(crate::graph::ALIGNMENT).max(needed[i]);
            }
        }
        needed
    }
    pub fn scratch_bytes(&self) -> u64 {
        self.scratch.iter().map(|words| *words as u64 * 4).sum()
    }
}

/// How long a result is needed: from one position in the order of the work to another, both included.
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

/// Assigns results to buffers, shared by results that are needed at different times: the largest result first, each in
/// the smallest buffer that is free for its lifetime. Returns each result's buffer, and the buffers' sizes in words.
pub fn placed(results: &[Lifetime]) -> (Vec<usize>, Vec<usize>) {
    let mut largest_first: Vec<usize> = (0..results.len()).collect();
    largest_first.sort_by_key(|i| std::cmp::Reverse(results[*i].words));
    let mut place = vec![0; results.len()];
    // The results in each buffer. Later buffers are smaller.
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

/// The places that an effect changes.
fn changed(effect: &Effect) -> &[Place] {
    match effect {
        Effect::Assign { place, .. } => std::slice::from_ref(place),
        Effect::Update { targets, .. } => targets,
    }
}

/// Whether two places have words in common.
fn meet(a: &Place, b: &Place) -> bool {
    let end = |place: &Place| place.offset + place.tensor.len();
    a.buffer == b.buffer && a.offset < end(b) && b.offset < end(a)
}

/// What happens at one time: a node, or an effect.
struct Moment<'a> {
    reads: &'a [Value],
    changes: &'a [Place],
}

/// All that happens in a graph, in order: an effect comes after earlier effects and after the nodes added before it.
fn moments<'a>(graph: &'a Graph, uses: &[usize]) -> Vec<Moment<'a>> {
    let of_node = |i: usize| match &graph.nodes[i].origin {
        Origin::Op { inputs, .. } if uses[i] > 0 => Moment { reads: inputs, changes: &[] },
        _ => Moment { reads: &[], changes: &[] },
    };
    let of_effect = |effect: &'a Effect| match effect {
        Effect::Assign { value, .. } => Moment { reads: std::slice::from_ref(value), changes: changed(effect) },
        Effect::Update { inputs, .. } => Moment { reads: inputs, changes: changed(effect) },
    };
    let mut moments = Vec::with_capacity(graph.nodes.len() + graph.effects.len());
    let mut effects = graph.effects.iter().peekable();
    for i in 0..graph.nodes.len() {
        while let Some((_, effect)) = effects.next_if(|(at, _)| *at <= i) {
            moments.push(of_effect(effect));
        }
        moments.push(of_node(i));
    }
    moments.extend(effects.map(|(_, effect)| of_effect(effect)));
    moments
}

struct Planner<'a> {
    graph: &'a Graph,
    /// How often each node is used.
    uses: Vec<usize>,
    /// For each live node, the node that owns its elements (itself, or what it reshapes).
    owner: Vec<usize>,
    /// For each node, the owner's element at which its own elements begin.
    start: Vec<usize>,
    /// Owners whose output goes straight to a stored buffer.
    destination: HashMap<usize, Place>,
    place: Vec<Option<(Buffer, usize)>>,
    /// What dispatches leave for others; until all are known, each is in its own scratch buffer.
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
        let (uses, destination, place) = (uses(graph), HashMap::new(), vec![None; n]);
        let moments = moments(graph, &uses);
        let mut planner =
            Planner { graph, uses, owner, start, destination, place, results: Vec::new(), dispatches: Vec::new() };
        for (i, (at, effect)) in graph.effects.iter().enumerate() {
            let Effect::Assign { value, place } = effect else { continue };
            let owner = planner.owner[value.0];
            let is_op = matches!(graph.nodes[owner].origin, Origin::Op { .. });
            if !is_op || planner.destination.contains_key(&owner) || planner.meets(owner, place.buffer) {
                continue;
            }
            let made = owner + graph.effects.partition_point(|(at, _)| *at <= owner);
            if planner.is_free(place, owner, &moments[made + 1..at + i], &moments[at + i + 1..]) {
                planner.destination.insert(owner, place.clone());
            }
        }
        planner
    }

    /// The place of a node's elements, if that is in a stored buffer.
    fn stored(&self, owner: usize) -> Option<Place> {
        self.graph.stored(Value(owner)).or_else(|| self.destination.get(&owner).cloned())
    }

    /// Whether an op's output may be in the place from the moment it is made, and not only once it is assigned: nothing
    /// `between` reads or changes what was there, and nothing `after` reads the output once the place has changed.
    fn is_free(&self, place: &Place, owner: usize, between: &[Moment], after: &[Moment]) -> bool {
        let changes = |moment: &Moment| moment.changes.iter().any(|other| meet(other, place));
        let reads = |moment: &Moment| moment.reads.iter().any(|value| self.owner[value.0] == owner);
        let reads_before = |moment: &Moment| {
            let others = moment.reads.iter().map(|value| self.owner[value.0]).filter(|other| *other != owner);
            others.filter_map(|other| self.stored(other)).any(|other| meet(&other, place))
        };
        let is_read_late = after.iter().skip_while(|moment| !changes(moment)).any(reads);
        !is_read_late && !between.iter().any(|moment| changes(moment) || reads_before(moment))
    }

    /// Whether a dispatch would both read and write the buffer if the op's output were there: the op's own, or one that
    /// takes its output. No device can do that.
    fn meets(&self, node: usize, buffer: BufferId) -> bool {
        let written = |owner: usize| self.stored(owner).is_some_and(|place| place.buffer == buffer);
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
        // If it is assigned to another place in the buffer as well, it would be copied from one to the other.
        let assigned = self.graph.effects.iter().filter(|(_, effect)| match effect {
            Effect::Assign { value, place } => self.owner[value.0] == node && place.buffer == buffer,
            Effect::Update { .. } => false,
        });
        updates
            || assigned.count() > 1
            || inputs_of(node).iter().any(|value| written(self.owner[value.0]))
            || self.destination.iter().any(|(user, place)| place.buffer == buffer && takes(inputs_of(*user)))
    }

    fn run(mut self) -> Plan {
        let mut effects = self.graph.effects.iter().peekable();
        for i in 0..self.graph.nodes.len() {
            while let Some((_, effect)) = effects.next_if(|(at, _)| *at <= i) {
                self.effect(effect);
            }
            if self.uses[i] > 0 {
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
    use crate::device::Device;
    use crate::device::cpu::Cpu;
    use crate::graph::{ALIGNMENT, Store};
    use crate::ops::elementwise::Scale;

    const NUMBERS: [f32; 4] = [1.0, 2.0, 3.0, 4.0];

    /// What a graph leaves in places of four numbers. Before it runs, the first holds [`NUMBERS`] and the second ten
    /// times them.
    fn left(write: fn(&mut Graph, &[Place; 4])) -> [Vec<f32>; 4] {
        let mut store = Store::default();
        let [x, there] = ["x", "there"].map(|name| store.add(name, 4));
        let both = store.add("both", 2 * ALIGNMENT);
        let place = |(buffer, offset)| Place { buffer, offset, tensor: Tensor::f32([4]) };
        let places = [(x, 0), (there, 0), (both, 0), (both, ALIGNMENT)].map(place);
        let mut graph = Graph::new();
        write(&mut graph, &places);
        let device: &mut dyn Device = &mut Cpu::new();
        device.allocate(&store).unwrap();
        device.write_f32(x, 0, &NUMBERS).unwrap();
        device.write_f32(there, 0, &NUMBERS.map(|x| 10.0 * x)).unwrap();
        let plan = device.prepare(&Plan::new(&graph)).unwrap();
        device.run(&[plan], 1).unwrap();
        places.map(|place| device.read_f32(place.buffer, place.offset, 4).unwrap())
    }

    fn times(graph: &mut Graph, factor: f32, value: Value) -> Value {
        graph.apply(Scale { factor, offset: 0.0 }, &[value]).unwrap()
    }

    fn numbers(factor: f32) -> Vec<f32> {
        NUMBERS.map(|x| factor * x).to_vec()
    }

    #[test]
    fn what_is_assigned_is_in_its_place_from_then_on_and_not_before() {
        let read_before = left(|graph, [x, there, out, _]| {
            let [of_x, was] = [graph.read(x), graph.read(there)];
            let new = times(graph, 2.0, of_x);
            let seen = times(graph, 3.0, was);
            graph.assign(new, there.clone()).unwrap();
            graph.assign(seen, out.clone()).unwrap();
        });
        assert_eq!(read_before[1..3], [numbers(2.0), numbers(30.0)]);
        let changed_before = left(|graph, [x, there, out, _]| {
            let [of_x, was] = [graph.read(x), graph.read(there)];
            let new = times(graph, 2.0, of_x);
            graph.assign(was, out.clone()).unwrap();
            graph.assign(new, out.clone()).unwrap();
        });
        assert_eq!(changed_before[2], numbers(2.0));
    }

    #[test]
    fn a_value_outlives_the_place_that_it_was_assigned_to() {
        let read_after = left(|graph, [x, there, out, _]| {
            let of_x = graph.read(x);
            let first = times(graph, 2.0, of_x);
            graph.assign(first, there.clone()).unwrap();
            let second = times(graph, 3.0, of_x);
            graph.assign(second, there.clone()).unwrap();
            let seen = times(graph, 5.0, first);
            graph.assign(seen, out.clone()).unwrap();
        });
        assert_eq!(read_after[1..3], [numbers(3.0), numbers(10.0)]);
        let twice = left(|graph, [x, _, out, other]| {
            let of_x = graph.read(x);
            let new = times(graph, 2.0, of_x);
            graph.assign(new, out.clone()).unwrap();
            graph.assign(new, other.clone()).unwrap();
        });
        assert_eq!(twice[2..], [numbers(2.0), numbers(2.0)]);
    }

    #[test]
    fn results_share_a_buffer_where_they_are_needed_at_different_times_and_only_there() {
        let result = |words, first, last| Lifetime { words, first, last };
        let results = [result(100, 0, 3), result(640, 1, 2), result(64, 4, 6), result(600, 3, 5), result(70, 2, 2)];
        let (place, sizes) = placed(&results);
        assert_eq!(sizes, [640, 128, 128]);
        assert_eq!(place, [1, 0, 2, 0, 2]);
        assert_eq!(placed(&[]), (vec![], vec![]));
    }

    #[test]
    fn the_memory_for_intermediate_results_is_told_in_bytes() {
        let plan = Plan { scratch: vec![640, 128], ..Plan::new(&Graph::new()) };
        assert_eq!(plan.scratch_bytes(), 4 * 768);
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
