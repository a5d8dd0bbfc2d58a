// WIDE adjacent channels in a vector: what a sum of them begins with, and what an op does to it before writing it. This
// is epilogue.wgsl in vectors, including the bindings. OUT_CHANNELS counts vectors.

#include act

#if WIDE == 4
alias Wide = vec4<f32>;
alias Result = vec4<f32>;
#elif WIDE == 2
alias Wide = vec2<f32>;
alias Result = vec2<f32>;
#else
alias Wide = f32;
alias Result = f32;
#endif

#include bound

fn begin(column: u32) -> Wide {
#if HAS_BIAS
    return bias[column];
#else
    return Wide(0.0);
#endif
}

// What a column's sums are multiplied by, and what is then added: the same for all rows.
struct Norm {
    scale: Wide,
    shift: Wide,
}

fn norm_of(column: u32) -> Norm {
#if HAS_NORM
    let scale = affine[column] * inverseSqrt(stats[OUT_CHANNELS + column] + Wide(NORM_EPS));
    return Norm(scale, affine[OUT_CHANNELS + column] - stats[column] * scale);
#else
    return Norm(Wide(1.0), Wide(0.0));
#endif
}

// The epilogue for the vector at index i.
fn finish(sum: Wide, i: u32, norm: Norm) -> Wide {
#if HAS_ADDEND
    let v = sum + addend[i];
#elif HAS_NORM
    let v = sum * norm.scale + norm.shift;
#else
    let v = sum;
#endif
#if WIDE == 1
    var done = act(v);
#if HAS_ACT_GRAD
    done *= act_grad(activated[i]);
#endif
    return done;
#else
    var done = v;
#if HAS_ACT_GRAD
    let y = activated[i];
#endif
#unroll j WIDE
    done[$j] = act(v[$j]);
#if HAS_ACT_GRAD
    done[$j] *= act_grad(y[$j]);
#endif
#endunroll
    return done;
#endif
}
