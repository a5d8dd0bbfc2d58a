// average:  out[n, p, q, c] = SCALE * sum of x over the window at (p, q)
// maximum:  out[n, p, q, c] = the largest x in the window; NaN if one is there
//           NORMALIZES: (that - mean) / sqrt(var + EPS) * gamma + beta, where stats and affine are [2, C]
// grad_avg: out[n, y, x, c] = SCALE * sum of d_out over the windows that contain (y, x)
// grad_max: out[n, y, x, c] = sum of d_out over the windows whose first largest element is (y, x)
//
// Images are [n, H, W, C], pooled ones [n, P, Q, C]; C counts vectors where BY_FOUR. An invocation computes one of the
// COUNT vectors in `out`, or, in derivatives where small windows lie side by side (TILES), those of all CELLS pixels of a
// window. There are COUNT of these: DOWN x ACROSS windows cover an image, the last of a row or column perhaps in part.
#include lanes
#include flat

@group(0) @binding(0) var<storage, read> x: array<Lanes>;
#if HAS_IMAGE
@group(0) @binding(1) var<storage, read> image: array<Lanes>;
#if HAS_ACT_GRAD
@group(0) @binding(2) var<storage, read> activated: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<Lanes>;
#else
@group(0) @binding(2) var<storage, read_write> out: array<Lanes>;
#endif
#elif HAS_ACT_GRAD
@group(0) @binding(1) var<storage, read> activated: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<Lanes>;
#elif NORMALIZES
@group(0) @binding(1) var<storage, read> stats: array<Lanes>;
@group(0) @binding(2) var<storage, read> affine: array<Lanes>;
@group(0) @binding(3) var<storage, read_write> out: array<Lanes>;
#else
@group(0) @binding(1) var<storage, read_write> out: array<Lanes>;
#endif

// The windows that contain a pixel at this place along an axis: the first, and one past the last.
fn windows_at(place: u32, count: u32) -> vec2<u32> {
    return vec2((max(place + 1u, WINDOW) - WINDOW + STRIDE - 1u) / STRIDE, min(place / STRIDE + 1u, count));
}

#if ENTRY_grad_max
// d where the pixel (y, x) is the first largest element of the window whose corner is (top, left), else 0.
fn share(n: u32, y: u32, x: u32, top: u32, left: u32, c: u32, v: Lanes, d: Lanes) -> Lanes {
    var kept = d;
    for (var r = top; r < top + WINDOW; r++) {
        for (var s = left; s < left + WINDOW; s++) {
            let other = image[((n * H + r) * W + s) * C + c];
            let before = r < y || (r == y && s < x);
            // An equal element before this one takes the whole derivative.
            kept = select(kept, Lanes(0.0), other > v);
            if before {
                kept = select(kept, Lanes(0.0), other == v);
            }
        }
    }
    return kept;
}
#endif

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = flat_index(id);
    if i >= COUNT {
        return;
    }
    let c = i % C;
    let place = i / C;
#if TILES
    let q = place % ACROSS;
    let p = (place / ACROSS) % DOWN;
    let n = place / (ACROSS * DOWN);
    let corner = ((n * H + p * WINDOW) * W + q * WINDOW) * C + c;
    if p < P && q < Q {
        let d = x[((n * P + p) * Q + q) * C + c];
#unroll t CELLS
        let at$t = corner + ($($t / WINDOW)u * W + $($t % WINDOW)u) * C;
#if HAS_IMAGE
        let v$t = image[at$t];
#endif
#endunroll
#unroll t CELLS
        var kept$t = d;
#if HAS_IMAGE
#unroll other CELLS
        kept$t = select(kept$t, Lanes(0.0), v$other > v$t);
#endunroll
        // An equal element before this one takes the whole derivative.
#unroll other $t
        kept$t = select(kept$t, Lanes(0.0), v$other == v$t);
#endunroll
#endif
        out[at$t] = finish_lanes(SCALE * kept$t, at$t, c);
#endunroll
    } else {
        // What the last whole window leaves over.
#unroll t CELLS
        if p * WINDOW + $($t / WINDOW)u < H && q * WINDOW + $($t % WINDOW)u < W {
            let at = corner + ($($t / WINDOW)u * W + $($t % WINDOW)u) * C;
            out[at] = finish_lanes(Lanes(0.0), at, c);
        }
#endunroll
    }
#elif IS_GRAD
    let column = place % W;
    let row = (place / W) % H;
    let n = place / (W * H);
    let down = windows_at(row, P);
    let along = windows_at(column, Q);
    var v = Lanes(0.0);
#if ENTRY_grad_max
    let here = image[i];
#endif
    for (var p = down.x; p < down.y; p++) {
        for (var q = along.x; q < along.y; q++) {
            let d = x[((n * P + p) * Q + q) * C + c];
#if ENTRY_grad_max
            v += share(n, row, column, p * STRIDE, q * STRIDE, c, here, d);
#else
            v += d;
#endif
        }
    }
    out[i] = finish_lanes(SCALE * v, i, c);
#else
    let q = place % Q;
    let p = (place / Q) % P;
    let n = place / (Q * P);
    let corner = ((n * H + p * STRIDE) * W + q * STRIDE) * C + c;
    var v = x[corner];
    for (var r = 0u; r < WINDOW; r++) {
        for (var s = 0u; s < WINDOW; s++) {
            let other = x[corner + (r * W + s) * C];
#if ENTRY_maximum
            v = select(v, other, (other > v) | is_nan(other));
#else
            v = select(v + other, v, r + s == 0u);
#endif
        }
    }
#if NORMALIZES
    v = (v - stats[c]) * (affine[c] * inverseSqrt(stats[C + c] + EPS)) + affine[C + c];
#endif
    out[i] = finish_lanes(SCALE * v, i, c);
#endif
}
