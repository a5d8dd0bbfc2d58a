// Part of `main` in a DIVIDED kernel: adds up what its SPLIT invocations hold, acc{h}_{k} for HELD h and CHANNELS k,
// into the one whose `id.z` is 0, always in the same order. `lane` is the invocation's index among the HEIGHT * LANES
// beside it; SPLIT and `half` are powers of two.
    for (var half = SPLIT / 2u; half > 0u; half /= 2u) {
        let at = (id.z & (half - 1u)) * HEIGHT * LANES + lane;
        if id.z >= half && id.z < 2u * half {
#unroll k CHANNELS
#unroll h HELD
            partial[$k][$h][at] = acc$h_$k;
#endunroll
#endunroll
        }
        workgroupBarrier();
        if id.z < half {
#unroll k CHANNELS
#unroll h HELD
            acc$h_$k += partial[$k][$h][at];
#endunroll
#endunroll
        }
        workgroupBarrier();
    }
