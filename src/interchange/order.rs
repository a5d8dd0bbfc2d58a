//! The order of a flattened image's numbers, which depends on the order of its axes.
//!
//! Where channels come first, `flatten` puts all of the first channel before the second; here it puts all of the first
//! pixel before the second. A dense layer after it needs its rows in the other order, and so does whatever keeps the
//! order on the way: batch norm's channels, the parts of a concatenation. A vector that becomes an image has to come in
//! the right order from the dense layer before it, whose columns are then the ones to move.

use crate::models::{Kind, by};

/// `order[i]` is the place here of the number at place `i` in the other program; `None` if all keep their places.
pub type Order = Option<Vec<usize>>;

/// A layer, as far as orders go.
pub struct Piece<'a> {
    pub kind: &'a Kind,
    /// The layers that are its inputs, by index; `None` for the network's input.
    pub inputs: Vec<Option<usize>>,
    /// The shape of its result for one image.
    pub shape: &'a [usize],
    /// Whether the other program has an image's channels first where this layer flattens or unflattens one.
    pub channels_first: bool,
}

/// The order of an image of `[h, w, c]` that is flattened with its channels first.
fn of_image(shape: &[usize]) -> Order {
    let &[h, w, c] = shape else { return None };
    if c == 1 || h * w == 1 {
        return None;
    }
    Some((0..h * w * c).map(|i| (i % (h * w)) * c + i / (h * w)).collect())
}

/// The order of each layer's result.
///
/// # Errors
/// The index of a layer that has none, for example because it mixes two, and the reason.
pub fn orders(input: &[usize], pieces: &[Piece]) -> Result<Vec<Order>, (usize, String)> {
    let shape_of = |source: Option<usize>| source.map_or(input, |i| pieces[i].shape);
    // From the end to the beginning: which order do a layer's consumers ask for?
    let mut wanted: Vec<Order> = vec![None; pieces.len()];
    for (i, piece) in pieces.iter().enumerate().rev() {
        let ask = match piece.kind {
            Kind::Reshape { .. } if piece.channels_first && piece.shape.len() == 3 => of_image(piece.shape),
            Kind::BatchNorm { .. } | Kind::Activation | Kind::Dropout { .. } | Kind::Add { .. } => wanted[i].clone(),
            _ => None,
        };
        for source in piece.inputs.iter().flatten() {
            if ask.is_some() && pieces[*source].shape.len() == 1 {
                wanted[*source] = ask.clone();
            }
        }
    }

    let mut found: Vec<Order> = Vec::with_capacity(pieces.len());
    for (i, piece) in pieces.iter().enumerate() {
        let given: Vec<Order> =
            piece.inputs.iter().map(|source| source.and_then(|source| found[source].clone())).collect();
        let first = given.first().cloned().flatten();
        let from = piece.inputs.first().map_or(input, |source| shape_of(*source));
        let flattens = piece.shape.len() == 1 && from.len() == 3;
        let unflattens = piece.shape.len() == 3 && from.len() == 1;
        let order = match piece.kind {
            Kind::Flatten | Kind::Reshape { .. } if flattens && piece.channels_first => of_image(from),
            Kind::Flatten | Kind::Reshape { .. } if flattens => None,
            Kind::Flatten | Kind::Reshape { .. } if unflattens => {
                let asked = if piece.channels_first { of_image(piece.shape) } else { None };
                if first != asked {
                    let problem = "makes an image of numbers that come in another order than its channels and pixels";
                    return Err((i, problem.into()));
                }
                None
            }
            Kind::Reshape { .. } if piece.channels_first && piece.shape.len() > 1 && piece.shape != from => {
                let problem = format!(
                    "makes {} of {}, which with PyTorch's channels first would have its numbers in other places: only \
                     ONNX says where each belongs",
                    by(piece.shape),
                    by(from)
                );
                return Err((i, problem));
            }
            Kind::Dense { .. } => wanted[i].clone(),
            Kind::BatchNorm { .. } | Kind::Activation | Kind::Dropout { .. } | Kind::Flatten | Kind::Reshape { .. } => {
                first
            }
            Kind::Concat { .. } if piece.shape.len() == 1 => joined(&piece.inputs, &given, shape_of),
            Kind::Add { .. } | Kind::Dot { .. } => {
                if given.iter().any(|order| *order != first) {
                    return Err((i, "takes numbers that come in different orders".into()));
                }
                if matches!(piece.kind, Kind::Dot { .. }) { None } else { first }
            }
            _ => None,
        };
        found.push(order);
    }
    Ok(found)
}

/// One order after another.
fn joined<'a>(inputs: &[Option<usize>], given: &[Order], shape_of: impl Fn(Option<usize>) -> &'a [usize]) -> Order {
    if given.iter().all(Option::is_none) {
        return None;
    }
    let mut all = Vec::new();
    for (source, order) in inputs.iter().zip(given) {
        let start = all.len();
        match order {
            Some(order) => all.extend(order.iter().map(|at| start + at)),
            None => all.extend(start..start + shape_of(*source).iter().product::<usize>()),
        }
    }
    Some(all)
}

/// Brings a row of numbers, or rows of them, from the other order to this program's.
pub fn to_own(order: &Order, data: &[f32]) -> Vec<f32> {
    let Some(order) = order else { return data.to_vec() };
    let mut own = vec![0.0; data.len()];
    for (own, theirs) in own.chunks_exact_mut(order.len()).zip(data.chunks_exact(order.len())) {
        order.iter().zip(theirs).for_each(|(at, x)| own[*at] = *x);
    }
    own
}

/// And back.
pub fn to_theirs(order: &Order, data: &[f32]) -> Vec<f32> {
    let Some(order) = order else { return data.to_vec() };
    data.chunks_exact(order.len()).flat_map(|own| order.iter().map(|at| own[*at])).collect()
}

/// Brings the rows of a matrix of `columns` columns from the other order to this program's.
pub fn rows_to_own(order: &Order, data: &[f32], columns: usize) -> Vec<f32> {
    let Some(order) = order else { return data.to_vec() };
    let mut own = vec![0.0; data.len()];
    for (at, row) in order.iter().zip(data.chunks_exact(columns.max(1))) {
        own[at * columns..][..columns].copy_from_slice(row);
    }
    own
}

/// And back.
pub fn rows_to_theirs(order: &Order, data: &[f32], columns: usize) -> Vec<f32> {
    let Some(order) = order else { return data.to_vec() };
    order.iter().flat_map(|at| data[at * columns..][..columns].iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Units;

    fn piece<'a>(kind: &'a Kind, inputs: &[Option<usize>], shape: &'a [usize]) -> Piece<'a> {
        Piece { kind, inputs: inputs.to_vec(), shape, channels_first: true }
    }

    const DENSE: Kind = Kind::Dense { units: Units::Count(1), bias: true };

    #[test]
    fn a_flattened_image_has_its_channels_one_after_the_other() {
        let found = orders(&[1, 2, 3], &[piece(&Kind::Flatten, &[None], &[6])]).unwrap();
        // In the other program: channel 0 of both pixels, channel 1 of both, ...
        assert_eq!(found[0], Some(vec![0, 3, 1, 4, 2, 5]));
        let there = [0.0, 10.0, 1.0, 11.0, 2.0, 12.0];
        assert_eq!(to_own(&found[0], &there), [0.0, 1.0, 2.0, 10.0, 11.0, 12.0]);
        assert_eq!(to_theirs(&found[0], &to_own(&found[0], &there)), there);
        let rows: Vec<f32> = there.iter().flat_map(|x| [*x, -x]).collect();
        assert_eq!(rows_to_own(&found[0], &rows, 2)[2..4], [1.0, -1.0]);
        assert_eq!(rows_to_theirs(&found[0], &rows_to_own(&found[0], &rows, 2), 2), rows);
    }

    #[test]
    fn a_dense_layer_ends_an_order_and_a_reshape_asks_for_one() {
        let reshape = Kind::Reshape { shape: vec![2, 1, 2] };
        let pieces = [
            piece(&Kind::Flatten, &[None], &[6]),
            piece(&DENSE, &[Some(0)], &[4]),
            piece(&Kind::Activation, &[Some(1)], &[4]),
            piece(&reshape, &[Some(2)], &[2, 1, 2]),
        ];
        let found = orders(&[1, 2, 3], &pieces).unwrap();
        let asked = Some(vec![0, 2, 1, 3]);
        assert_eq!(found[1..], [asked.clone(), asked, None]);
    }

    #[test]
    fn parts_of_a_concatenation_keep_their_orders() {
        let concat = Kind::Concat { from: Vec::new() };
        let pieces = [
            piece(&Kind::Flatten, &[None], &[4]),
            piece(&DENSE, &[Some(0)], &[2]),
            piece(&concat, &[Some(1), Some(0)], &[6]),
        ];
        assert_eq!(orders(&[2, 1, 2], &pieces).unwrap()[2], Some(vec![0, 1, 2, 4, 3, 5]));
    }

    #[test]
    fn orders_that_cannot_meet_are_refused() {
        let add = Kind::Add { from: Vec::new() };
        let pieces = [
            piece(&Kind::Flatten, &[None], &[4]),
            piece(&DENSE, &[Some(0)], &[4]),
            piece(&add, &[Some(1), Some(0)], &[4]),
        ];
        assert_eq!(orders(&[2, 1, 2], &pieces).unwrap_err().0, 2);
        let reshape = Kind::Reshape { shape: vec![1, 2, 2] };
        let pieces = [piece(&Kind::Flatten, &[None], &[4]), piece(&reshape, &[Some(0)], &[1, 2, 2])];
        assert!(orders(&[2, 1, 2], &pieces).is_ok(), "the same image in other sizes has the same order");
    }
}
