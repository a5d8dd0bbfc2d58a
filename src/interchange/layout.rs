//! Tensors with their axes in another order.

/// The same numbers with axis `axes[i]` of the old tensor as axis `i` of the new one; `dims` are the old sizes.
///
/// # Panics
/// May panic if `data` does not have as many elements as `dims` say, as when indexing a slice.
pub fn permute<const N: usize>(data: &[f32], dims: [usize; N], axes: [usize; N]) -> Vec<f32> {
    let mut strides = [1; N];
    for i in (1..N).rev() {
        strides[i - 1] = strides[i] * dims[i];
    }
    let (new, strides) = (axes.map(|axis| dims[axis]), axes.map(|axis| strides[axis]));
    let mut at = [0; N];
    let mut out = Vec::with_capacity(data.len());
    for _ in 0..data.len() {
        out.push(data[at.iter().zip(&strides).map(|(i, stride)| i * stride).sum::<usize>()]);
        for axis in (0..N).rev() {
            at[axis] += 1;
            if at[axis] < new[axis] {
                break;
            }
            at[axis] = 0;
        }
    }
    out
}

/// PyTorch's and ONNX's kernels `[k, c, r, s]` as this program's `[r, s, c, k]`.
pub fn kernel_from_torch(data: &[f32], [k, c, r, s]: [usize; 4]) -> Vec<f32> {
    permute(data, [k, c, r, s], [2, 3, 1, 0])
}

/// And back: `dims` are `[r, s, c, k]`.
pub fn kernel_to_torch(data: &[f32], dims: [usize; 4]) -> Vec<f32> {
    permute(data, dims, [3, 2, 0, 1])
}

/// Kernels of their transposed convolutions, `[c, k, r, s]`, as this program's `[r, s, c, k]`.
pub fn transposed_from_torch(data: &[f32], dims: [usize; 4]) -> Vec<f32> {
    permute(data, dims, [2, 3, 0, 1])
}

/// And back: `dims` are `[r, s, c, k]`.
pub fn transposed_to_torch(data: &[f32], dims: [usize; 4]) -> Vec<f32> {
    permute(data, dims, [2, 3, 0, 1])
}

/// A kernel `[r, s, c, k]` with zeros around it: `rows` before and after, and `columns` before and after.
pub fn grow_kernel(data: &[f32], [r, s, c, k]: [usize; 4], [rows, columns]: [[usize; 2]; 2]) -> Vec<f32> {
    let (wide, run) = (s + columns[0] + columns[1], c * k);
    let mut grown = vec![0.0; (r + rows[0] + rows[1]) * wide * run];
    for (y, row) in data.chunks_exact((s * run).max(1)).enumerate() {
        let start = ((y + rows[0]) * wide + columns[0]) * run;
        grown[start..start + row.len()].copy_from_slice(row);
    }
    grown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_goes_to_torch_and_comes_back_as_it_was() {
        let dims = [2, 3, 4, 5];
        let data: Vec<f32> = (0..120).map(|i| i as f32).collect();
        let theirs = kernel_to_torch(&data, dims);
        // [k, c, r, s] = [1, 2, 0, 2] was [r, s, c, k] = [0, 2, 2, 1].
        assert_eq!(theirs[((4 + 2) * 2) * 3 + 2], data[((2 * 4) + 2) * 5 + 1]);
        assert_eq!(kernel_from_torch(&theirs, [5, 4, 2, 3]), data);
        assert_eq!(transposed_from_torch(&transposed_to_torch(&data, dims), [4, 5, 2, 3]), data);
    }

    #[test]
    fn a_kernel_grows_by_zeros() {
        let grown = grow_kernel(&[1.0, 2.0], [1, 2, 1, 1], [[1, 0], [0, 1]]);
        assert_eq!(grown, [0.0, 0.0, 0.0, 1.0, 2.0, 0.0]);
    }
}
