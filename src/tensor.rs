//! What is known about a tensor before anything runs: its shape and the kind of its elements.

use std::fmt;

/// The sizes of a tensor, outermost first. Images are `[n, h, w, c]`, row-major.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(Vec<usize>);

impl Shape {
    pub fn new(dims: impl Into<Vec<usize>>) -> Shape {
        Shape(dims.into())
    }
    pub fn dims(&self) -> &[usize] {
        &self.0
    }
    pub fn rank(&self) -> usize {
        self.0.len()
    }
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.0.iter().product()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The innermost size: channels of an image, columns of a matrix.
    pub fn last(&self) -> usize {
        self.0.last().copied().unwrap_or(1)
    }
    /// How often the innermost size repeats: all pixels of a batch, rows of a matrix.
    pub fn rows(&self) -> usize {
        self.0.split_last().map_or(1, |(_, rest)| rest.iter().product())
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Shape {
        Shape(dims.to_vec())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Every element is one 32-bit word, except [`Kind::F16`]; images travel as bytes packed four to a word.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    F32,
    U32,
    /// Half a word in a GPU's memory. Graphs never have it: [`crate::plan::Plan::halve`] decides which results get it.
    /// The CPU device treats it as [`Kind::F32`].
    F16,
}

/// Shape and kind together: all that shape rules and kernels ask of a tensor.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tensor {
    pub shape: Shape,
    pub kind: Kind,
}

impl Tensor {
    pub fn f32(shape: impl Into<Shape>) -> Tensor {
        Tensor { shape: shape.into(), kind: Kind::F32 }
    }
    pub fn u32(shape: impl Into<Shape>) -> Tensor {
        Tensor { shape: shape.into(), kind: Kind::U32 }
    }
    pub fn len(&self) -> usize {
        self.shape.len()
    }
    pub fn is_empty(&self) -> bool {
        self.shape.is_empty()
    }
    /// Size in a GPU's memory.
    pub fn bytes(&self) -> u64 {
        (self.len() as u64).saturating_mul(if self.kind == Kind::F16 { 2 } else { 4 })
    }
    pub fn dims(&self) -> &[usize] {
        self.shape.dims()
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{}", self.kind, self.shape)
    }
}
