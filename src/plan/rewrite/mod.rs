//! A graph as it is dispatched: what an op can do for the next one folded in, and what is the same computed once.

use crate::graph::{Effect, Graph, Origin, Value};

mod columns;
mod constants;
mod dropped_relus;
mod fold;
mod share;
mod sums;
#[cfg(test)]
mod testing;
mod together;

/// The same step in fewer dispatches.
pub(super) fn rewritten(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    constants::take_constants(&mut graph);
    columns::make_only_those(&mut graph);
    dropped_relus::join_dropped_relus(&mut graph);
    fold::fuse(&mut graph);
    // Last, so that nothing that could have been folded into its only user has two.
    share::share(&mut graph);
    sums::sum_into_places(&mut graph);
    together::put_together(&graph)
}

/// How often each node is used by live nodes and effects; 0 for dead ones.
pub(super) fn uses(graph: &Graph) -> Vec<usize> {
    let mut uses = vec![0; graph.nodes.len()];
    for (_, effect) in &graph.effects {
        match effect {
            Effect::Assign { value, .. } => uses[value.0] += 1,
            Effect::Update { inputs, .. } => inputs.iter().for_each(|v| uses[v.0] += 1),
        }
    }
    for i in (0..graph.nodes.len()).rev() {
        if uses[i] == 0 {
            continue;
        }
        match &graph.nodes[i].origin {
            Origin::Stored { .. } => {}
            Origin::Op { inputs, .. } => inputs.iter().for_each(|v| uses[v.0] += 1),
            Origin::Reshape(v) | Origin::Part { of: v, .. } => uses[v.0] += 1,
        }
    }
    uses
}

/// What a value is another shape of.
fn behind_reshapes(graph: &Graph, mut value: Value) -> Value {
    while let Origin::Reshape(inner) = graph.nodes[value.0].origin {
        value = inner;
    }
    value
}

/// The op behind a value, if everything between has one user.
fn through_reshapes(graph: &Graph, uses: &[usize], mut value: Value) -> Option<Value> {
    loop {
        if uses[value.0] != 1 {
            return None;
        }
        match &graph.nodes[value.0].origin {
            Origin::Reshape(inner) => value = *inner,
            Origin::Op { .. } => return Some(value),
            Origin::Stored { .. } | Origin::Part { .. } => return None,
        }
    }
}

/// Which nodes hold what is assigned to a place: they may be computed there.
fn assigned(graph: &Graph) -> Vec<bool> {
    let mut assigned = vec![false; graph.nodes.len()];
    for (_, effect) in &graph.effects {
        let Effect::Assign { value, .. } = effect else { continue };
        assigned[behind_reshapes(graph, *value).0] = true;
    }
    assigned
}
