// What an op does to a result before it writes it; see src/ops/epilogue.rs. The op declares `bias`, `stats` and `affine`,
// and `activated` where HAS_BIAS, HAS_NORM and HAS_ACT_GRAD ask for them, as the bindings that follow its own inputs (where
// these are two, by bound.wgsl), and OUT_CHANNELS for HAS_NORM.

#include act

// The epilogue for the element at flat index i, in channel c.
fn finish(x: f32, i: u32, c: u32) -> f32 {
    var v = x;
#if HAS_BIAS
    v += bias[c];
#endif
#if HAS_NORM
    v = (v - stats[c]) * (affine[c] * inverseSqrt(stats[OUT_CHANNELS + c] + NORM_EPS)) + affine[OUT_CHANNELS + c];
#endif
    v = act(v);
#if HAS_ACT_GRAD
    v *= act_grad(activated[i]);
#endif
    return v;
}
