// What an op does to a result before it writes it; see src/ops/epilogue.rs. The op declares `bias` and
// `activated` where HAS_BIAS and HAS_ACT_GRAD ask for them, as the bindings that follow its own inputs.

#include act

// The epilogue for the element at flat index i, in channel c.
fn finish(x: f32, i: u32, c: u32) -> f32 {
    var v = x;
#if HAS_BIAS
    v += bias[c];
#endif
    v = act(v);
#if HAS_ACT_GRAD
    v *= act_grad(activated[i]);
#endif
    return v;
}
