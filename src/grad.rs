//! Derivatives as a rewrite: from a graph with a loss to the same graph extended by the loss's gradients.
//!
//! Each op's rule emits ordinary nodes, so a gradient is planned, fused and run like anything else, and
//! there is no tape. Only paths from the wanted values to the loss are walked.

use crate::graph::{Graph, GraphError, Origin, Value};
use crate::ops::elementwise::{Add, Fill};

/// What a gradient rule is given: the node's inputs and output, and the derivative of the loss with respect to that
/// output.
pub struct Backward<'a> {
    pub inputs: &'a [Value],
    /// For each input, whether its derivative is wanted: a rule may skip the others.
    pub wanted: &'a [bool],
    pub out: Value,
    pub d_out: Value,
}

/// Adds the derivatives of `loss` (one element) with respect to each of `by` and returns them, in order.
///
/// # Errors
/// Where an op on the way has no derivative, or a rule that does not give one for each input in that input's shape, and
/// where `loss` does not depend on one of `by`.
pub fn grad(graph: &mut Graph, loss: Value, by: &[Value]) -> Result<Vec<Value>, GraphError> {
    grad_times(graph, loss, 1.0, by)
}

/// Like [`grad`], for `factor * loss`, which is never computed.
pub fn grad_times(graph: &mut Graph, loss: Value, factor: f32, by: &[Value]) -> Result<Vec<Value>, GraphError> {
    let failed = |graph: &Graph, op: &str, problem: String, value: Value| GraphError {
        op: op.into(),
        inputs: vec![graph.tensor(value).clone()],
        problem,
    };
    if graph.shape(loss).len() != 1 {
        return Err(failed(graph, "grad", "a loss has one element".into(), loss));
    }

    // A node matters if it depends on a wanted value; inputs come before their users.
    let mut matters = vec![false; loss.0 + 1];
    for value in by {
        if value.0 < matters.len() {
            matters[value.0] = true;
        }
    }
    for i in 0..=loss.0 {
        let reached = match &graph.nodes[i].origin {
            Origin::Stored { .. } | Origin::Part { .. } => false,
            Origin::Op { op, inputs } => !op.constant() && inputs.iter().any(|v| matters[v.0]),
            Origin::Reshape(v) => matters[v.0],
        };
        matters[i] |= reached;
    }

    let mut derivatives: Vec<Option<Value>> = vec![None; loss.0 + 1];
    let shape = graph.shape(loss).clone();
    derivatives[loss.0] = Some(graph.apply(Fill { shape, value: factor }, &[])?);

    for i in (0..=loss.0).rev() {
        let (Some(d_out), true) = (derivatives[i], matters[i]) else { continue };
        match graph.nodes[i].origin.clone() {
            Origin::Stored { .. } | Origin::Part { .. } => {}
            Origin::Reshape(input) => {
                let shape = graph.shape(input).clone();
                let d_input = graph.reshape(d_out, shape)?;
                accumulate(graph, &mut derivatives, input, d_input)?;
            }
            Origin::Op { op, inputs } => {
                let wanted: Vec<bool> = inputs.iter().map(|v| matters[v.0]).collect();
                let context = Backward { inputs: &inputs, wanted: &wanted, out: Value(i), d_out };
                let d_inputs = op.grad(graph, &context)?;
                if d_inputs.len() != inputs.len() {
                    let problem = format!("its rule gives {} derivatives by {} inputs", d_inputs.len(), inputs.len());
                    return Err(failed(graph, op.name(), problem, Value(i)));
                }
                for ((input, wanted), d_input) in inputs.iter().zip(&wanted).zip(d_inputs) {
                    match d_input {
                        Some(d_input) if *wanted && graph.shape(d_input) != graph.shape(*input) => {
                            let problem = format!("its rule gives a derivative of {}", graph.shape(d_input));
                            return Err(failed(graph, op.name(), problem, *input));
                        }
                        Some(d_input) if *wanted => accumulate(graph, &mut derivatives, *input, d_input)?,
                        None if *wanted => {
                            return Err(failed(graph, op.name(), "has no derivative by this input".into(), *input));
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    by.iter()
        .map(|value| {
            let derivative = derivatives.get(value.0).copied().flatten();
            derivative.ok_or_else(|| failed(graph, "grad", "the loss does not depend on this value".into(), *value))
        })
        .collect()
}

/// A value used twice receives the sum of what its users send back.
fn accumulate(
    graph: &mut Graph,
    derivatives: &mut [Option<Value>],
    value: Value,
    more: Value,
) -> Result<(), GraphError> {
    let sum = match derivatives[value.0] {
        Some(so_far) => graph.apply(Add, &[so_far, more])?,
        None => more,
    };
    derivatives[value.0] = Some(sum);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Store;
    use crate::ops::{Derivatives, In, Kernel, Op, Out, Sum, Target, expect};
    use crate::tensor::Tensor;

    /// An op of two inputs with a wrong rule.
    #[derive(Clone, Copy, Debug)]
    enum Wrong {
        TooFew,
        OtherShape,
    }

    impl Op for Wrong {
        fn name(&self) -> &'static str {
            "wrong"
        }
        fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
            expect::<2>(inputs).map(|[x, _]| x.clone())
        }
        fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
            Ok(match self {
                Wrong::TooFew => vec![Some(node.d_out)],
                Wrong::OtherShape => vec![None, Some(graph.reshape(node.d_out, [3, 2])?)],
            })
        }
        fn cpu(&self, _: &[In], _: &mut [Out]) {}
        fn gpu(&self, _: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
            Kernel::flat("elementwise", "copy", outputs[0].len().div_ceil(4))
        }
    }

    #[test]
    fn a_rule_that_gives_too_few_derivatives_or_one_of_another_shape_is_the_ops_fault() {
        for (op, said) in [(Wrong::TooFew, "1 derivatives by 2 inputs"), (Wrong::OtherShape, "[3, 2]")] {
            let (mut store, mut graph) = (Store::default(), Graph::new());
            let inputs = [(); 2].map(|()| graph.read(&store.place("", Tensor::f32([2, 3]))));
            let out = graph.apply(op, &inputs).unwrap();
            let loss = Sum::mean(&mut graph, out).unwrap();
            let problem = grad(&mut graph, loss, &inputs[1..]).unwrap_err().to_string();
            assert!(problem.starts_with("wrong: ") && problem.contains(said), "{problem}");
        }
    }
}
