// Channels side by side in a vector, WIDE of them, and what an op does to them before it writes them: epilogue.wgsl
// but for the bias, which the sum began with.

#include act

#if WIDE == 4
alias Wide = vec4<f32>;
#elif WIDE == 2
alias Wide = vec2<f32>;
#else
alias Wide = f32;
#endif

// For the vector at index i.
fn finish(v: Wide, i: u32) -> Wide {
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
