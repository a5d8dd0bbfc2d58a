// What an op does to a result before writing it; see src/ops/epilogue.rs. Where HAS_BIAS, HAS_NORM and HAS_ACT_GRAD ask
// for them, the op declares `bias`, `stats` and `affine`, and `activated` as the bindings that follow its own inputs
// (if it has two, by including bound.wgsl); for HAS_NORM it also defines OUT_CHANNELS.

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
