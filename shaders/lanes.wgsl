// Four channels at a time where their number allows (BY_FOUR), else one: kernels over images are written once.
#include epilogue

#if BY_FOUR
alias Lanes = vec4<f32>;
#else
alias Lanes = f32;
#endif

// The epilogue for vector i of the output, in the c-th vector of channels.
fn finish_lanes(v: Lanes, i: u32, c: u32) -> Lanes {
#if BY_FOUR
    let e = 4u * i;
    let k = 4u * c;
    return vec4(finish(v.x, e, k), finish(v.y, e + 1u, k + 1u), finish(v.z, e + 2u, k + 2u), finish(v.w, e + 3u, k + 3u));
#else
    return finish(v, i, c);
#endif
}
