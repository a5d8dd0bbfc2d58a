// out[m, n] = finish(sum over k of a * b), or finish(that + addend[m, n])
//
// nn: a [M, K], b [K, N]   nt: a [M, K], b [N, K]   tn: a [K, M], b [K, N]
//
// An invocation computes 4 * ROW_GROUPS rows of four columns, in registers; row 4g + i is acc{g}_{i}. A workgroup
// is WIDTH such tiles wide and HEIGHT high; ROW_TILES workgroups make up the height of `out`, and are numbered first,
// so that they find what they read of b in the cache. The cache also holds what a row of invocations shares. A small
// result of long sums has too few tiles to keep a device busy: SPLIT invocations then share a tile (DIVIDED), each
// takes every SPLIT-th piece of the sum, and the pieces are added up through workgroup memory, always in the same
// order. VECTOR_*: the innermost size of that matrix is a multiple of four. Past the edge, tiles read the last row or
// column again and write nothing.
#include epilogue
#include flat

#if VECTOR_A
@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
#else
@group(0) @binding(0) var<storage, read> a: array<f32>;
#endif
#if VECTOR_B
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
#else
@group(0) @binding(1) var<storage, read> b: array<f32>;
#endif
alias Wide = f32;
#if VECTOR_OUT
alias Result = vec4<f32>;
#else
alias Result = f32;
#endif
#include bound
const OUT_CHANNELS = N;

#if DIVIDED
var<workgroup> partial: array<array<vec4<f32>, SPLIT / 2u * WIDTH>, 4 * ROW_GROUPS>;
#endif

fn added(x: f32, e: u32) -> f32 {
#if HAS_ADDEND
    return x + addend[e];
#else
    return x;
#endif
}

@compute @workgroup_size(WIDTH, HEIGHT * SPLIT)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
    let flat = flat_index(group);
    let column_of_tile = 4u * ((flat / ROW_TILES) * WIDTH + id.x);
#if HEIGHT == 1
    let row = 4u * ROW_GROUPS * (flat % ROW_TILES);
#else
    let row = 4u * ROW_GROUPS * ((flat % ROW_TILES) * HEIGHT + id.y);
#endif
    let inside = row < M && column_of_tile < N;
#if DIVIDED
    // Here HEIGHT is one.
    let slice = id.y;
    let column = min(column_of_tile, (N - 1u) / 4u * 4u);
#else
    if !inside {
        return;
    }
    let slice = 0u;
    let column = column_of_tile;
#endif
#if VECTOR_OUT
    let c = column + vec4(0u, 1u, 2u, 3u);
#else
    let c = min(column + vec4(0u, 1u, 2u, 3u), vec4(N - 1u));
#endif
#unroll g ROW_GROUPS
#unroll i 4
    var acc$g_$i = vec4(0.0);
    let r$g_$i = min(row + 4u * $gu + $iu, M - 1u);
#endunroll
#endunroll

#if ENTRY_nn
#if VECTOR_A
    for (var quad = slice; quad < K / 4u; quad += SPLIT) {
#if VECTOR_B
        let at = quad * N + column / 4u;
#unroll j 4
        let b$j = b[at + $ju * (N / 4u)];
#endunroll
#else
        let at = c + 4u * quad * N;
#unroll j 4
        let b$j = vec4(b[at.x + $ju * N], b[at.y + $ju * N], b[at.z + $ju * N], b[at.w + $ju * N]);
#endunroll
#endif
#unroll g ROW_GROUPS
#unroll i 4
        let a$g_$i = a[r$g_$i * (K / 4u) + quad];
        acc$g_$i += a$g_$i.x * b0;
        acc$g_$i += a$g_$i.y * b1;
        acc$g_$i += a$g_$i.z * b2;
        acc$g_$i += a$g_$i.w * b3;
#endunroll
#endunroll
    }
#else
    for (var k = slice; k < K; k += SPLIT) {
#if VECTOR_B
        let b0 = b[k * (N / 4u) + column / 4u];
#else
        let b0 = vec4(b[k * N + c.x], b[k * N + c.y], b[k * N + c.z], b[k * N + c.w]);
#endif
#unroll g ROW_GROUPS
#unroll i 4
        acc$g_$i += a[r$g_$i * K + k] * b0;
#endunroll
#endunroll
    }
#endif

#elif ENTRY_nt
#if VECTOR_A
    for (var quad = slice; quad < K / 4u; quad += SPLIT) {
        let b0 = b[c.x * (K / 4u) + quad];
        let b1 = b[c.y * (K / 4u) + quad];
        let b2 = b[c.z * (K / 4u) + quad];
        let b3 = b[c.w * (K / 4u) + quad];
#unroll g ROW_GROUPS
#unroll i 4
        // Not with `dot`, whose sum would have to be added.
        let a$g_$i = a[r$g_$i * (K / 4u) + quad];
        acc$g_$i += a$g_$i.x * vec4(b0.x, b1.x, b2.x, b3.x);
        acc$g_$i += a$g_$i.y * vec4(b0.y, b1.y, b2.y, b3.y);
        acc$g_$i += a$g_$i.z * vec4(b0.z, b1.z, b2.z, b3.z);
        acc$g_$i += a$g_$i.w * vec4(b0.w, b1.w, b2.w, b3.w);
#endunroll
#endunroll
    }
#else
    for (var k = slice; k < K; k += SPLIT) {
        let b0 = vec4(b[c.x * K + k], b[c.y * K + k], b[c.z * K + k], b[c.w * K + k]);
#unroll g ROW_GROUPS
#unroll i 4
        acc$g_$i += a[r$g_$i * K + k] * b0;
#endunroll
#endunroll
    }
#endif

#else
    for (var k = slice; k < K; k += SPLIT) {
#if VECTOR_B
        let b0 = b[k * (N / 4u) + column / 4u];
#else
        let b0 = vec4(b[k * N + c.x], b[k * N + c.y], b[k * N + c.z], b[k * N + c.w]);
#endif
#unroll g ROW_GROUPS
#if VECTOR_A
        let a$g = a[k * (M / 4u) + r$g_0 / 4u];
#else
        let a$g = vec4(a[k * M + r$g_0], a[k * M + r$g_1], a[k * M + r$g_2], a[k * M + r$g_3]);
#endif
#unroll i 4
        acc$g_$i += a$g[$i] * b0;
#endunroll
#endunroll
    }
#endif

#if DIVIDED
    for (var half = SPLIT / 2u; half > 0u; half /= 2u) {
        // Row by row of the tiles: neighbouring invocations write side by side, each to different memory banks.
        let at = (slice & (half - 1u)) * WIDTH + id.x;
        if slice >= half && slice < 2u * half {
#unroll g ROW_GROUPS
#unroll i 4
            partial[$(4*$g+$i)][at] = acc$g_$i;
#endunroll
#endunroll
        }
        workgroupBarrier();
        if slice < half {
#unroll g ROW_GROUPS
#unroll i 4
            acc$g_$i += partial[$(4*$g+$i)][at];
#endunroll
#endunroll
        }
        workgroupBarrier();
    }
    if slice > 0u || !inside {
        return;
    }
#endif

#unroll g ROW_GROUPS
#unroll i 4
    if row + 4u * $gu + $iu < M {
        let e = r$g_$i * N + column;
        let v = acc$g_$i;
#if VECTOR_OUT
        out[e / 4u] = vec4(
            finish(added(v.x, e), e, c.x),
            finish(added(v.y, e + 1u), e + 1u, c.y),
            finish(added(v.z, e + 2u), e + 2u, c.z),
            finish(added(v.w, e + 3u), e + 3u, c.w));
#else
        out[e] = finish(added(v.x, e), e, c.x);
        if column + 1u < N { out[e + 1u] = finish(added(v.y, e + 1u), e + 1u, c.y); }
        if column + 2u < N { out[e + 2u] = finish(added(v.z, e + 2u), e + 2u, c.z); }
        if column + 3u < N { out[e + 3u] = finish(added(v.w, e + 3u), e + 3u, c.w); }
#endif
    }
#endunroll
#endunroll
}
