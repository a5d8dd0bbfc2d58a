//! The ops: a file or a folder each, and the one trait they share.
//!
//! An op is a small value that knows its shape rule, its derivative, its definition in f64, its twin for
//! the CPU and its shader. A device never knows which op it runs. To add one: a file here, a shader of the
//! same name in `shaders/`, and a line in [`cases`].

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use crate::grad::Backward;
use crate::graph::{Graph, GraphError, Value};
use crate::tensor::{Shape, Tensor};

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
// To look at the last of many vectors instead of at each.
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

/// An output, or a target that is changed where it is.
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

/// The CPU's twin for some of a batch's images: the number of the first, and inputs and output cut to them.
pub type Twin<'a> = Box<dyn Fn(usize, &[In], &mut [Out]) + Send + Sync + 'a>;

pub trait Op: Any + Debug + Send + Sync {
    /// The one word for the op, its shader's label and its tests: `conv2d.grad_w`.
    fn name(&self) -> &'static str;

    /// The output for these inputs, or what is wrong with them. Of an op that only updates, the first of its targets.
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String>;

    /// What an update of these inputs writes to, or what is wrong with them.
    fn targets(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
        self.shape(inputs).map(|target| vec![target])
    }

    /// Emits the derivative by each input. An op that has none keeps this default.
    fn grad(&self, _graph: &mut Graph, node: &Backward) -> Derivatives {
        Ok(vec![None; node.inputs.len()])
    }

    /// Whether derivatives stop here: the output counts as a constant, since the ops that use it account for
    /// how it depends on the inputs (a batch's statistics).
    fn constant(&self) -> bool {
        false
    }

    /// The definition, as plain loops in f64 with integers held exactly: what both devices are tested against.
    /// Random ops and updates, which tests hold against other facts, may leave it out.
    fn reference(&self, _inputs: &[Exact], _out: &mut Exact) -> bool {
        false
    }

    /// The CPU's twin of the shader. Overwrites every element of its outputs; changes its targets.
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]);

    /// How the op works on one image of a batch after another, if it does. The CPU device then takes a few images
    /// through several ops at once, while they are in its caches.
    fn by_image(&self, _inputs: &[Tensor]) -> Option<ByImage> {
        None
    }

    /// The twin of some images of a batch, after all that is the same for each has been done. `inputs` are the whole
    /// batch's, of which only those may be read that are not cut.
    fn twin<'a>(&'a self, _inputs: &[In<'a>]) -> Twin<'a> {
        Box::new(|_, inputs, outputs| self.cpu(inputs, outputs))
    }

    /// The op for the CPU where every step changes that input, if it then shares its work in another way.
    fn with_changing(&self, _input: usize) -> Option<Arc<dyn Op>> {
        None
    }

    /// The op for the CPU that gives its result, seen as a matrix, in so many parts one after another: each is some
    /// columns of all rows, so that the threads that take one write to no line of memory that others read.
    fn giving_parts(&self, _parts: usize) -> Option<Arc<dyn Op>> {
        None
    }

    /// The op for the CPU that takes its first input in such parts.
    fn taking_parts(&self, _inputs: &[Tensor], _parts: usize) -> Option<Arc<dyn Op>> {
        None
    }

    /// The shader with its constants and the number of workgroups, laid out for `target`.
    fn gpu(&self, inputs: &[Tensor], outputs: &[Tensor], target: Target) -> Kernel;

    /// Floating-point operations, a multiply-add counted as two. Zero for what only moves data.
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

    /// The op with dropout of its result, of which the clock is one more input, the last.
    fn with_dropout(&self, _dropout: Dropout) -> Option<Arc<dyn Op>> {
        None
    }

    /// Several ops like this one as one, of parts of one tensor that begin at these offsets; and where the result of each
    /// begins, a multiple of [`crate::graph::ALIGNMENT`].
    fn together(&self, _parts: &[(usize, Tensor)]) -> Option<(Arc<dyn Op>, Vec<usize>)> {
        None
    }

    /// The op with a tensor of its result's shape, one more input, the last, added to what it makes.
    fn with_addend(&self) -> Option<Arc<dyn Op>> {
        None
    }

    /// The input whose innermost axis is the result's: a column of the result is made of that column of it alone, and of
    /// all of the others.
    fn columns_of(&self) -> Option<usize> {
        None
    }

    /// The op without one of its inputs, all elements of which are `value`, if it can do without; it makes `out`.
    fn with_constant(&self, _input: usize, _value: f32, _out: &Tensor) -> Option<Arc<dyn Op>> {
        None
    }

    /// The op for the CPU that makes maxima of its result instead, if it can do so on the way.
    fn with_max_pool(&self, _inputs: &[Tensor], _pool: pool::MaxPool) -> Option<Arc<dyn Op>> {
        None
    }

    /// What this op would be as the epilogue of the op that makes its first input.
    fn as_epilogue(&self) -> Option<Epilogue> {
        None
    }
}

impl dyn Op {
    /// The op as what it is, if it is a `T`: for rewrites that know one kind of op.
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

/// Every op on shapes that are odd on purpose: drives the tests of both devices, the derivative check and
/// the benchmark.
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
