// The bindings that follow an op's two inputs: what the epilogue reads, and where the op's result goes. The op defines
// their element types, Wide and Result.
#if HAS_BIAS
@group(0) @binding(2) var<storage, read> bias: array<Wide>;
#endif
#if HAS_NORM
@group(0) @binding(2 + u32(HAS_BIAS)) var<storage, read> stats: array<Wide>;
@group(0) @binding(3 + u32(HAS_BIAS)) var<storage, read> affine: array<Wide>;
#endif
#if HAS_ADDEND
@group(0) @binding(2 + u32(HAS_BIAS)) var<storage, read> addend: array<Wide>;
#endif
#if HAS_ACT_GRAD
@group(0) @binding(2 + u32(HAS_BIAS) + u32(HAS_NORM) + u32(HAS_NORM) + u32(HAS_ADDEND)) var<storage, read> activated: array<Wide>;
#endif
@group(0) @binding(2 + u32(HAS_BIAS) + u32(HAS_NORM) + u32(HAS_NORM) + u32(HAS_ADDEND) + u32(HAS_ACT_GRAD)) var<storage, read_write> out: array<Result>;
