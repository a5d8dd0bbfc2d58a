// Four channels at a time where their number allows (BY_FOUR), else one, so that kernels over images are written once.
#include epilogue

#if BY_FOUR
alias Lanes = vec4<f32>;
alias Choice = vec4<bool>;
#else
alias Lanes = f32;
alias Choice = bool;
#endif

// Looks at the bits: compilers that assume there are no NaNs (Metal's do) take it that `x != x` never holds.
fn is_nan(x: Lanes) -> Choice {
#if BY_FOUR
    return (bitcast<vec4<u32>>(x) & vec4(0x7fffffffu)) > vec4(0x7f800000u);
#else
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
#endif
}

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
