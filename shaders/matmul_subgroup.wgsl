// What matmul.wgsl computes, for drivers that run on the CPU; see conv2d_subgroup.wgsl.
//
// A lane holds ROWS rows of CHANNELS vectors of WIDE columns of the result, LANES * WIDE columns apart. It takes TERMS
// terms of the sums at once. From a, each lane loads those of one row and broadcasts them; from b, those of its own
// columns.

#include wide
#include flat
#if HAS_NORM
const OUT_CHANNELS = N / WIDE;
#endif

#if TERMS == 4
@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
#else
@group(0) @binding(0) var<storage, read> a: array<f32>;
#endif
#if ENTRY_nt
#if TERMS == 4
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
#else
@group(0) @binding(1) var<storage, read> b: array<f32>;
#endif
#else
@group(0) @binding(1) var<storage, read> b: array<Wide>;
#endif

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let flat = flat_index(group);
    // Consecutive workgroups find what they read of b in the cache.
    let first_row = flat % ROW_TILES * ROWS;
    let first_channel = flat / ROW_TILES * CHANNELS * LANES + lane;
    if flat >= ROW_TILES * CHANNEL_GROUPS {
        return;
    }
#unroll k CHANNELS
    let channel$k = first_channel + $ku * LANES;
    let column$k = min(channel$k, N / WIDE - 1u);
    let begin$k = begin(column$k);
#unroll i ROWS
    var acc$i_$k = begin$k;
#endunroll
#endunroll
#unroll j LOADS
    let row$j = min(first_row + $ju * LANES + lane, M - 1u);
#endunroll

    for (var k = 0u; k < K; k += TERMS) {
#unroll j LOADS
#if ENTRY_tn
        let a$j = a[k * M + row$j];
#else
        let a$j = a[(row$j * K + k) / TERMS];
#endif
#endunroll
#unroll k CHANNELS
#if ENTRY_nt
        let b$k = b[(column$k * K + k) / TERMS];
#if TERMS == 4
#unroll t TERMS
        let b$t_$k = b$k[$t];
#endunroll
#else
        let b0_$k = b$k;
#endif
#else
#unroll t TERMS
        let b$t_$k = b[(k + $tu) * (N / WIDE) + column$k];
#endunroll
#endif
#endunroll
#unroll i ROWS
#unroll t TERMS
#if TERMS == 4
        let a$t_$i = subgroupBroadcast(a$($i / LANES)[$t], $($i % LANES)u);
#else
        let a$t_$i = subgroupBroadcast(a$($i / LANES), $($i % LANES)u);
#endif
#unroll k CHANNELS
        acc$i_$k += a$t_$i * b$t_$k;
#endunroll
#endunroll
#endunroll
    }

#unroll k CHANNELS
    let norm$k = norm_of(column$k);
#endunroll
#unroll i ROWS
    if first_row + $iu < M {
        let e$i = (first_row + $iu) * (N / WIDE);
#unroll k CHANNELS
        if channel$k < N / WIDE {
            out[e$i + channel$k] = finish(acc$i_$k, e$i + channel$k, norm$k);
        }
#endunroll
    }
#endunroll
}
