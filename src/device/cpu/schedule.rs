//! In which order the CPU goes through a plan, and what it does image by image.
//!
//! The results of a step are larger than a processor's caches: op after op fetches from memory what the one before
//! has just written there. But most ops work on each image separately ([`ByImage`]). Several of them in sequence form
//! a chain, through which a thread takes a few images at a time, so few that all they leave behind fits the
//! second-level cache. What nothing reads after the chain is never written to memory at all.
//!
//! Ops are also told what they cannot see themselves, which decides how threads share them: which of their inputs every
//! step changes, and whether all readers of a result can take it in parts.
//!
//! Ops in between that need the whole batch wait until the chain is done, or are brought forward where they need
//! nothing from it: the sum of a weight's partial derivatives, the statistics of a loss.

use std::sync::Arc;

use crate::graph::BufferId;
use crate::lines::LINE;
use crate::ops::matmul::parts_of;
use crate::ops::pool::MaxPool;
use crate::ops::{ByImage, Op};
use crate::parallel::threads;
use crate::plan::{Buffer, Dispatch, Lifetime, Plan, View, placed};
use crate::tensor::{Shape, Tensor};

/// Bytes that a thread's share of the images may take: half of a second-level cache, whose other half holds weights.
const CACHE: usize = 1 << 20;
/// What would be a chain but reads and writes fewer bytes than this stays in the caches anyway.
const WORTH_CHAINING: usize = 1 << 20;

/// A plan as the CPU runs it.
pub struct Schedule {
    pub stages: Vec<Stage>,
    /// Sizes in words of the buffers that live only within a step; these are not the plan's own.
    pub scratch: Vec<usize>,
}

pub enum Stage {
    One(Dispatch),
    Chain(Chain),
}

/// Ops through which a thread takes a few images at a time.
pub struct Chain {
    pub links: Vec<Link>,
    pub images: usize,
    /// Images at a time.
    pub block: usize,
    /// Words that a thread needs for the results that are not kept.
    pub own: usize,
}

pub struct Link {
    pub op: Arc<dyn Op>,
    pub by_image: ByImage,
    pub inputs: Vec<Source>,
    pub out: Sink,
    pub tensor: Tensor,
}

/// Where a link finds an input.
pub enum Source {
    Memory(View),
    /// What an earlier link has just made, seen as this tensor.
    Link(usize, Tensor),
}

/// Where a link leaves its result.
#[derive(Clone, Copy)]
pub enum Sink {
    /// In one of [`Schedule::scratch`].
    Memory(usize),
    /// In a stored buffer, from this word on.
    Stored(BufferId, usize),
    /// In the thread's own memory, after that of earlier links.
    Own,
}

impl Source {
    pub fn tensor(&self) -> &Tensor {
        match self {
            Source::Memory(view) => &view.tensor,
            Source::Link(_, tensor) => tensor,
        }
    }
}

impl Link {
    /// The number of words of the result for so many images, which are whole parts of a sum or its last part.
    pub fn words(&self, images: usize) -> usize {
        let ByImage { images: all, together, .. } = self.by_image;
        self.tensor.len() / all.div_ceil(together) * images.div_ceil(together)
    }

    /// The number of words of the thread's own memory, in whole cache lines.
    pub fn own_words(&self, images: usize) -> usize {
        self.words(images).next_multiple_of(LINE)
    }

    /// The shapes of inputs and result for only so many images.
    pub fn shapes(&self, images: usize) -> (Vec<Shape>, Shape) {
        let ByImage { images: all, together, cut } = &self.by_image;
        let first = |shape: &Shape, size: usize| {
            let mut dims = shape.dims().to_vec();
            dims[0] = size;
            Shape::new(dims)
        };
        let inputs = self.inputs.iter().zip(cut).map(|(input, cut)| {
            let shape = &input.tensor().shape;
            if *cut { first(shape, images) } else { shape.clone() }
        });
        let rows = self.tensor.dims()[0] / all.div_ceil(*together) * images.div_ceil(*together);
        (inputs.collect(), first(&self.tensor.shape, rows))
    }
}

/// What a dispatch reads or writes: a result of this step, by its number, or words of a stored buffer.
#[derive(Clone, PartialEq, Debug)]
enum Operand {
    Result(usize),
    Stored(BufferId, usize, usize),
}

impl Operand {
    fn meets(&self, other: &Operand) -> bool {
        match (self, other) {
            (Operand::Result(a), Operand::Result(b)) => a == b,
            (Operand::Stored(a, start, end), Operand::Stored(b, from, to)) => a == b && start < to && from < end,
            _ => false,
        }
    }

    /// Whether both are in one stored buffer, which no dispatch may read and write.
    fn shares_buffer(&self, other: &Operand) -> bool {
        matches!((self, other), (Operand::Stored(a, ..), Operand::Stored(b, ..)) if a == b)
    }
}

struct Node {
    /// The plan's dispatch, or one that is better for the CPU here.
    dispatch: Dispatch,
    by_image: Option<ByImage>,
    reads: Vec<Operand>,
    writes: Vec<Operand>,
}

/// Whether any of these has something in common with any of those.
fn meet(these: &[Operand], those: &[Operand]) -> bool {
    these.iter().any(|a| those.iter().any(|b| a.meets(b)))
}

/// Whether any of these is in one stored buffer with any of those.
fn share_buffer(these: &[Operand], those: &[Operand]) -> bool {
    these.iter().any(|a| those.iter().any(|b| a.shares_buffer(b)))
}

impl Node {
    /// Whether it must stay after an earlier node.
    fn needs(&self, earlier: &Node) -> bool {
        meet(&self.reads, &earlier.writes) || meet(&self.writes, &earlier.reads) || meet(&self.writes, &earlier.writes)
    }

    /// Whether it can take images from an earlier link of a chain as they come, or needs nothing from it.
    fn follows(&self, earlier: &Node) -> bool {
        let (Some(own), Some(before)) = (&self.by_image, &earlier.by_image) else { return false };
        // A stored buffer is taken out of its place while a chain writes to it.
        let is_taken = share_buffer(&self.writes, &earlier.reads)
            || share_buffer(&self.writes, &earlier.writes)
            || share_buffer(&self.reads, &earlier.writes);
        let is_touched = meet(&self.writes, &earlier.reads) || meet(&self.writes, &earlier.writes);
        if own.images != before.images || is_touched || is_taken {
            return false;
        }
        let made = &earlier.dispatch.outputs[0].tensor;
        let from_it = |read: &Operand| earlier.writes.iter().any(|written| read.meets(written));
        let inputs = self.reads.iter().zip(&self.dispatch.inputs).zip(&own.cut);
        inputs
            .into_iter()
            .filter(|((read, _), _)| from_it(read))
            .all(|((_, view), cut)| *cut && before.together == 1 && view.offset == 0 && view.tensor.len() == made.len())
    }

    fn words_of_an_image(&self, images: usize) -> usize {
        let cut = self.by_image.iter().flat_map(|by_image| &by_image.cut);
        let inputs = self.dispatch.inputs.iter().zip(cut).filter(|(_, cut)| **cut).map(|(view, _)| view);
        inputs.chain(&self.dispatch.outputs).map(|view| view.tensor.len() / images).sum()
    }
}

/// How a dispatch can be a link, if it can: it makes one result from inputs that are cut along their outermost axis.
fn by_image(dispatch: &Dispatch) -> Option<ByImage> {
    let tensors = crate::plan::tensors(&dispatch.inputs);
    let [_] = dispatch.outputs[..] else { return None };
    let by_image = dispatch.op.by_image(&tensors)?;
    // One thread would have to do all of a sum over most of the batch.
    let shared = by_image.images >= 4 && by_image.together * 4 <= by_image.images;
    let fits = by_image.cut.len() == tensors.len();
    let whole = tensors.iter().zip(&by_image.cut).all(|(t, cut)| !cut || t.dims().first() == Some(&by_image.images));
    (shared && fits && whole).then_some(by_image)
}

/// A plan's dispatches with the results that they read and write, and the results' sizes in words; a buffer holds one
/// result after another.
fn nodes(plan: &Plan) -> (Vec<Node>, Vec<usize>) {
    let mut held: Vec<Option<usize>> = vec![None; plan.scratch.len()];
    let mut words = Vec::new();
    let stored = |view: &View, id| Operand::Stored(id, view.offset, view.offset + view.tensor.len());
    let mut nodes = Vec::new();
    for dispatch in &plan.dispatches {
        let reads = dispatch.inputs.iter().map(|view| match view.buffer {
            Buffer::Stored(id) => stored(view, id),
            Buffer::Scratch(i) => Operand::Result(held[i].expect("a result is written before it is read")),
        });
        let reads = reads.collect();
        let writes = dispatch.outputs.iter().map(|view| match view.buffer {
            Buffer::Stored(id) => stored(view, id),
            Buffer::Scratch(i) => {
                words.push(view.offset + view.tensor.len());
                held[i] = Some(words.len() - 1);
                Operand::Result(words.len() - 1)
            }
        });
        let writes = writes.collect();
        nodes.push(Node { dispatch: dispatch.clone(), by_image: by_image(dispatch), reads, writes });
    }
    (nodes, words)
}

/// Joins two ops where the second pools what the first makes and nothing else reads it: the maxima are taken from rows
/// that are still in the first-level cache.
fn pool_on_the_way(nodes: &mut Vec<Node>) {
    for maker in 0..nodes.len() {
        let Some(&[ref made @ Operand::Result(_)]) = nodes.get(maker).map(|node| &node.writes[..]) else { continue };
        let readers = (maker + 1..nodes.len()).filter(|i| nodes[*i].reads.contains(made));
        let [reader] = readers.collect::<Vec<_>>()[..] else { continue };
        let (first, second) = (&nodes[maker].dispatch, &nodes[reader].dispatch);
        let is_whole = second.inputs[0].offset == 0 && second.inputs[0].tensor == first.outputs[0].tensor;
        let pool = second.op.as_ref().downcast::<MaxPool>().copied().filter(|_| is_whole);
        let op = pool.and_then(|pool| first.op.with_max_pool(&crate::plan::tensors(&first.inputs), pool));
        let Some(op) = op else { continue };
        // What the maxima's epilogue reads must be there already, and nothing in between may touch where they go.
        let is_held = nodes[maker + 1..reader].iter().any(|earlier| nodes[reader].needs(earlier));
        let reads_own =
            nodes[reader].reads[1..].contains(made) || share_buffer(&nodes[maker].reads, &nodes[reader].writes);
        if is_held || reads_own {
            continue;
        }
        let pool = nodes.remove(reader);
        let node = &mut nodes[maker];
        node.dispatch.inputs.extend_from_slice(&pool.dispatch.inputs[1..]);
        node.reads.extend_from_slice(&pool.reads[1..]);
        (node.dispatch.op, node.dispatch.outputs, node.writes) = (op, pool.dispatch.outputs, pool.writes);
        node.by_image = by_image(&node.dispatch);
    }
}

/// Tells ops what becomes of their inputs and results, so that they share their work accordingly.
fn adapt(nodes: &mut [Node]) {
    let changes: Vec<Operand> = nodes.iter().flat_map(|node| node.writes.clone()).collect();
    for node in &mut *nodes {
        for (i, read) in node.reads.iter().enumerate() {
            let is_changing = matches!(read, Operand::Stored(..)) && changes.iter().any(|change| change.meets(read));
            if let Some(op) = is_changing.then(|| node.dispatch.op.with_changing(i)).flatten() {
                node.dispatch.op = op;
            }
        }
    }
    for maker in 0..nodes.len() {
        if let Some(ops) = in_parts(nodes, maker) {
            ops.into_iter().for_each(|(node, op)| nodes[node].dispatch.op = op);
        }
    }
}

/// The op that makes a result and those that read it, in versions that use it in parts, if all of them can.
fn in_parts(nodes: &[Node], maker: usize) -> Option<Vec<(usize, Arc<dyn Op>)>> {
    let ([view], [made]) = (&nodes[maker].dispatch.outputs[..], &nodes[maker].writes[..]) else { return None };
    let columns = view.tensor.len().checked_div(*view.tensor.dims().first()?)?;
    let parts = parts_of(columns);
    made.result().filter(|_| parts > 1)?;
    let mut ops = vec![(maker, nodes[maker].dispatch.op.giving_parts(parts)?)];
    for (i, node) in nodes.iter().enumerate().filter(|(_, node)| node.reads.contains(made)) {
        let [first, others @ ..] = &node.reads[..] else { return None };
        let read = &node.dispatch.inputs[0];
        let is_whole = read.offset == 0 && read.tensor.dims().get(1) == Some(&columns);
        if first != made || others.contains(made) || !is_whole {
            return None;
        }
        ops.push((i, node.dispatch.op.taking_parts(&crate::plan::tensors(&node.dispatch.inputs), parts)?));
    }
    Some(ops)
}

/// The order: groups of dispatches; groups of more than one are chains.
fn order(nodes: &[Node]) -> Vec<Vec<usize>> {
    let mut groups = Vec::new();
    let (mut chain, mut late): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
    let end = |chain: &mut Vec<usize>, late: &mut Vec<usize>, groups: &mut Vec<Vec<usize>>| {
        let bytes: usize = chain.iter().map(|i| nodes[*i].dispatch.bytes() as usize).sum();
        if bytes < WORTH_CHAINING {
            groups.extend(chain.drain(..).map(|i| vec![i]));
        } else {
            groups.push(std::mem::take(chain));
        }
        groups.extend(late.drain(..).map(|i| vec![i]));
    };
    for (i, node) in nodes.iter().enumerate() {
        let waits = late.iter().any(|earlier| node.needs(&nodes[*earlier]));
        let joins = node.by_image.is_some() && chain.iter().all(|earlier| node.follows(&nodes[*earlier]));
        if joins && !waits {
            chain.push(i);
        } else if !waits && !chain.iter().any(|earlier| node.needs(&nodes[*earlier])) {
            groups.push(vec![i]);
        } else if node.by_image.is_some() {
            end(&mut chain, &mut late, &mut groups);
            chain.push(i);
        } else {
            late.push(i);
        }
    }
    end(&mut chain, &mut late, &mut groups);
    groups
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// How many images a thread should take at a time.
fn block(links: &[&Node], images: usize) -> usize {
    let together = links.iter().filter_map(|link| link.by_image.as_ref());
    let together = together.fold(1, |all, by_image| all / gcd(all, by_image.together) * by_image.together);
    let bytes: usize = links.iter().map(|link| 4 * link.words_of_an_image(images)).sum();
    let fitting = CACHE / bytes.max(1);
    let shared = images.div_ceil(2 * threads());
    fitting.min(shared).max(1).next_multiple_of(together).min(images.next_multiple_of(together))
}

impl Schedule {
    pub fn new(plan: &Plan) -> Schedule {
        let (mut nodes, words) = nodes(plan);
        pool_on_the_way(&mut nodes);
        adapt(&mut nodes);
        let groups = order(&nodes);
        // From the group that makes each result to the last group that reads it.
        let mut lifetimes: Vec<Lifetime> =
            words.iter().map(|words| Lifetime { words: *words, first: 0, last: 0 }).collect();
        for (at, group) in groups.iter().enumerate() {
            let operands = group.iter().flat_map(|i| nodes[*i].reads.iter().chain(&nodes[*i].writes));
            operands.filter_map(Operand::result).for_each(|result| lifetimes[result].last = at);
            let made = group.iter().flat_map(|i| nodes[*i].writes.iter().filter_map(Operand::result));
            made.for_each(|result| lifetimes[result].first = at);
        }
        // What a chain makes only for itself has no place, nor has what no op makes any more.
        let made: Vec<usize> = nodes.iter().flat_map(|node| node.writes.iter().filter_map(Operand::result)).collect();
        let is_kept = |result: &usize| {
            let Lifetime { first, last, .. } = lifetimes[*result];
            (groups[first].len() == 1 || last > first) && made.contains(result)
        };
        let kept: Vec<usize> = (0..words.len()).filter(is_kept).collect();
        let (places, scratch) = placed(&kept.iter().map(|result| lifetimes[*result]).collect::<Vec<_>>());
        let mut place = vec![usize::MAX; words.len()];
        kept.into_iter().zip(places).for_each(|(result, buffer)| place[result] = buffer);
        let stages = groups.iter().map(|group| match group[..] {
            [one] => Stage::One(replaced(&nodes[one], &place)),
            _ => Stage::Chain(chain(group.iter().map(|i| &nodes[*i]).collect(), &place)),
        });
        Schedule { stages: stages.collect(), scratch }
    }
}

impl Operand {
    fn result(&self) -> Option<usize> {
        if let Operand::Result(number) = self { Some(*number) } else { None }
    }
}

/// The view with the schedule's buffer instead of the plan's.
fn moved(view: &View, operand: &Operand, place: &[usize]) -> View {
    match operand {
        Operand::Result(number) => View { buffer: Buffer::Scratch(place[*number]), ..view.clone() },
        Operand::Stored(..) => view.clone(),
    }
}

fn replaced(node: &Node, place: &[usize]) -> Dispatch {
    let all = |views: &[View], operands: &[Operand]| {
        views.iter().zip(operands).map(|(view, operand)| moved(view, operand, place)).collect()
    };
    Dispatch {
        op: node.dispatch.op.clone(),
        inputs: all(&node.dispatch.inputs, &node.reads),
        outputs: all(&node.dispatch.outputs, &node.writes),
    }
}

fn chain(nodes: Vec<&Node>, place: &[usize]) -> Chain {
    let images = nodes[0].by_image.as_ref().map_or(1, |by_image| by_image.images);
    let block = block(&nodes, images);
    let mut own = 0;
    let mut links: Vec<Link> = Vec::new();
    for node in &nodes {
        let inputs = node.dispatch.inputs.iter().zip(&node.reads).map(|(view, read)| {
            let maker = read.result().and_then(|_| nodes[..links.len()].iter().position(|n| n.writes.contains(read)));
            maker.map_or_else(
                || Source::Memory(moved(view, read, place)),
                |maker| Source::Link(maker, view.tensor.clone()),
            )
        });
        let inputs = inputs.collect();
        let tensor = node.dispatch.outputs[0].tensor.clone();
        let out = match &node.writes[0] {
            Operand::Stored(buffer, first, _) => Sink::Stored(*buffer, *first),
            Operand::Result(result) if place[*result] == usize::MAX => Sink::Own,
            Operand::Result(result) => Sink::Memory(place[*result]),
        };
        let by_image = node.by_image.clone().expect("links work by image");
        let link = Link { op: node.dispatch.op.clone(), by_image, inputs, out, tensor };
        if matches!(out, Sink::Own) {
            own += link.own_words(block);
        }
        links.push(link);
    }
    Chain { links, images, block, own }
}
