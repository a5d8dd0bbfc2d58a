//! The ops, each in its own file or folder, and the one trait that they share.
//!
//! An op is a small value that knows its shape rule, its derivative, its definition in f64, its CPU implementation (the
//! shader's twin) and its shader. A device never knows which op it runs. To add an op, add a file here with its line in
//! [`cases`], and a shader of the same name in `shaders/` with its line in `src/shaders.rs`.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use crate::grad::Backward;
use crate::graph::{Graph, GraphError, Value};
use crate::tensor::{Kind, Shape, Tensor};

pub mod activation;
pub mod augment;
pub mod batch_norm;
pub mod by_image;
pub mod case;
pub mod concat;
pub mod conv2d;
pub mod dot;
pub mod dropout;
pub mod elementwise;
pub mod epilogue;
pub mod kernel;
pub mod loss;
pub mod matmul;
pub mod noise;
pub mod one_hot;
pub mod optimizer;
pub mod pool;
pub mod random;
pub mod record;
pub mod reduce;
pub mod sample;
pub mod softmax;
pub mod spectral;
// Unsafe code, so that one bounds check covers many vectors.
#[allow(unsafe_code)]
mod strided;
mod subgroup;
pub mod sums;
mod tile;
pub mod transpose;
pub mod updates;
pub mod upsample;
pub mod window;

pub use by_image::ByImage;
pub use case::Case;
pub use dropout::Dropout;
pub use epilogue::Epilogue;
pub use kernel::{Kernel, MatrixUnits, Target};
pub use reduce::Sum;
pub use window::Window;

/// An input as a kernel sees it: words and shape.
#[derive(Clone, Copy)]
pub struct In<'a> {
    pub data: &'a [f32],
    pub shape: &'a Shape,
}

impl<'a> In<'a> {
    /// The same words as unsigned integers (labels, the clock, packed bytes).
    pub fn u32s(&self) -> &'a [u32] {
        bytemuck::cast_slice(self.data)
    }
    pub fn dims(&self) -> &'a [usize] {
        self.shape.dims()
    }
}

/// An output, or a target that is updated in place.
pub struct Out<'a> {
    pub data: &'a mut [f32],
    pub shape: &'a Shape,
}

impl Out<'_> {
    pub fn u32s(&mut self) -> &mut [u32] {
        bytemuck::cast_slice_mut(self.data)
    }
    pub fn dims(&self) -> &[usize] {
        self.shape.dims()
    }
}

/// The derivatives a rule emits, one per input; `None` where there is none or it was not wanted.
pub type Derivatives = Result<Vec<Option<Value>>, GraphError>;

/// The CPU implementation for some of a batch's images. Takes the index of the first image, and the inputs and outputs
/// cut to those images.
pub type Twin<'a> = Box<dyn Fn(usize, &[In], &mut [Out]) + Send + Sync + 'a>;

/// What a node of a graph does. The derivative, the definition and the CPU implementation of an op may be anywhere, but
/// its shader is one of the files of [`crate::shaders`]: an op of another crate runs on the CPU device alone, unless a
/// kernel of those files computes it.
pub trait Op: Any + Debug + Send + Sync {
    /// The one name for the op, its shader's label and its tests, such as `conv2d.grad_w`.
    fn name(&self) -> &'static str;

    /// The output for these inputs, or what is wrong with them. For an op that only updates, the first of its targets.
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String>;

    /// What an update of these inputs writes to, or what is wrong with them.
    fn targets(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
        self.shape(inputs).map(|target| vec![target])
    }

    /// Emits the derivative with respect to each input, one for each, in that input's shape. An op without derivatives
    /// keeps this default.
    fn grad(&self, _graph: &mut Graph, node: &Backward) -> Derivatives {
        Ok(vec![None; node.inputs.len()])
    }

    /// Whether derivatives stop here: the output counts as a constant, since the ops that use it account for
    /// how it depends on the inputs (a batch's statistics).
    fn constant(&self) -> bool {
        false
    }

    /// The definition, as plain loops in f64, which holds integers exactly. Both devices are tested against it. Random
    /// ops and updates, which are tested in other ways, may leave it out.
    fn reference(&self, _inputs: &[Exact], _out: &mut Exact) -> bool {
        false
    }

    /// The CPU implementation, the shader's twin. Overwrites every element of its outputs; updates its targets.
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]);

    /// How the op works through a batch image by image, if it does. The CPU device then takes a few images through
    /// several ops at once, while they are in its caches.
    fn by_image(&self, _inputs: &[Tensor]) -> Option<ByImage> {
        None
    }

    /// The CPU implementation for some images of a batch, after the work that is the same for all images has been done.
    /// `inputs` are those of the whole batch; only the ones that are not cut may be read.
    fn twin<'a>(&'a self, _inputs: &[In<'a>]) -> Twin<'a> {
        Box::new(|_, inputs, outputs| self.cpu(inputs, outputs))
    }

    /// The op for the CPU where every step changes that input, if it then divides its work among threads differently.
    fn with_changing(&self, _input: usize) -> Option<Arc<dyn Op>> {
        None
    }

    /// The op for the CPU that stores its result, seen as a matrix, in this many parts one after another. Each part is
    /// some columns of all rows, so that threads working on one part write to no cache line that others read.
    fn giving_parts(&self, _parts: usize) -> Option<Arc<dyn Op>> {
        None
    }

    /// The op for the CPU that reads its first input in such parts.
    fn taking_parts(&self, _inputs: &[Tensor], _parts: usize) -> Option<Arc<dyn Op>> {
        None
    }

    /// The shader with its constants and the number of workgroups, laid out for `target`.
    fn gpu(&self, inputs: &[Tensor], outputs: &[Tensor], target: Target) -> Kernel;

    /// Floating-point operations, a multiply-add counted as two. Zero for ops that only move data.
    fn flops(&self, _inputs: &[Tensor], _outputs: &[Tensor]) -> u64 {
        0
    }

    /// Bytes read and written if each element that the op needs is touched once: all of its tensors, unless it picks
    /// rows.
    fn bytes(&self, inputs: &[Tensor], outputs: &[Tensor]) -> u64 {
        inputs.iter().chain(outputs).map(Tensor::bytes).sum()
    }

    /// The op with `epilogue` folded into its last instruction, if it can.
    fn with_epilogue(&self, _epilogue: Epilogue) -> Option<Arc<dyn Op>> {
        None
    }

    /// The op with dropout applied to its result. The clock becomes an additional, last input.
    fn with_dropout(&self, _dropout: Dropout) -> Option<Arc<dyn Op>> {
        None
    }

    /// One op that does the work of several like this one, for parts of one tensor that begin at these offsets; and
    /// where the result of each begins, a multiple of [`crate::graph::ALIGNMENT`].
    fn together(&self, _parts: &[(usize, Tensor)]) -> Option<(Arc<dyn Op>, Vec<usize>)> {
        None
    }

    /// The op with a tensor of its result's shape added to its result. That tensor becomes an additional, last input.
    fn with_addend(&self) -> Option<Arc<dyn Op>> {
        None
    }

    /// The input whose innermost axis is also the result's: each column of the result depends on that column of this
    /// input alone, and on all of the other inputs.
    fn columns_of(&self) -> Option<usize> {
        None
    }

    /// The op without one of its inputs, whose elements are all `value`, if it can do without that input; its result is
    /// `out`.
    fn with_constant(&self, _input: usize, _value: f32, _out: &Tensor) -> Option<Arc<dyn Op>> {
        None
    }

    /// The op for the CPU that gives its result max-pooled instead, if it can pool on the way.
    fn with_max_pool(&self, _inputs: &[Tensor], _pool: pool::MaxPool) -> Option<Arc<dyn Op>> {
        None
    }

    /// This op as an epilogue of the op that makes its first input, if it can be one.
    fn as_epilogue(&self) -> Option<Epilogue> {
        None
    }
}

impl dyn Op {
    /// The op as a `T`, if it is one: for rewrites that know one kind of op.
    pub fn downcast<T: Op>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }
}

/// A tensor of the f64 reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Exact {
    pub data: Vec<f64>,
    pub shape: Shape,
}

impl Exact {
    pub fn dims(&self) -> &[usize] {
        self.shape.dims()
    }
}

/// Checks the number of inputs, for shape rules.
pub(crate) fn expect<const N: usize>(inputs: &[Tensor]) -> Result<&[Tensor; N], String> {
    inputs.try_into().map_err(|_| format!("takes {N} inputs, was given {}", inputs.len()))
}

/// [`expect`] for ops that compute with floats: the words of whole numbers would stand for other numbers.
pub(crate) fn expect_floats<const N: usize>(inputs: &[Tensor]) -> Result<&[Tensor; N], String> {
    let inputs = expect::<N>(inputs)?;
    floats(inputs).map(|()| inputs)
}

/// Refuses whole numbers, for shape rules.
pub(crate) fn floats(inputs: &[Tensor]) -> Result<(), String> {
    let whole = inputs.iter().position(|input| input.kind == Kind::U32);
    whole.map_or(Ok(()), |i| Err(format!("computes with floats, and input {i} is whole numbers")))
}

/// Every op on deliberately odd shapes: drives the tests of both devices, the derivative check and the benchmark.
pub fn cases() -> Vec<Case> {
    let ops = [
        activation::cases(),
        augment::cases(),
        batch_norm::cases(),
        concat::cases(),
        conv2d::cases(),
        dot::cases(),
        dropout::cases(),
        elementwise::cases(),
        loss::cases(),
        matmul::cases(),
        noise::cases(),
        one_hot::cases(),
        optimizer::cases(),
        pool::cases(),
        record::cases(),
        reduce::cases(),
        sample::cases(),
        updates::cases(),
        softmax::cases(),
        spectral::cases(),
        sums::cases(),
        transpose::cases(),
        upsample::cases(),
    ];
    ops.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_refused_wherever_floats_are_computed_with() {
        // Those that move words as they are, and the optimizer, which is given what a run keeps.
        let others = ["copy", "transpose", "transposes", "optimizer", "record"];
        for case in cases().iter().filter(|case| !others.contains(&case.op.name())) {
            let given = case.tensors();
            for i in (0..given.len()).filter(|i| given[*i].kind == Kind::F32) {
                let mut inputs = given.clone();
                inputs[i].kind = Kind::U32;
                assert!(case.op.shape(&inputs).is_err(), "input {i} of {}", case.name);
            }
        }
    }
}
