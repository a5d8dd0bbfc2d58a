// forward: out[n,p,q,k] = finish(sum over r,s,c of input[n, p*STRIDE+r-PAD_TOP, q*STRIDE+s-PAD_LEFT, c] * weight[r,s,c,k])
// grad_x:  out[n,h,w,c] = finish(sum over r,s,k of d_out[n,p,q,k] * weight[r,s,k,c]), where p*STRIDE = h+PAD_TOP-r and
//          q*STRIDE = w+PAD_LEFT-s; also the transposed convolution
// grad_w:  out[j,r,s,c,k] = sum over the images n of part j and over p,q of
//          input[n, p*STRIDE+r-PAD_TOP, q*STRIDE+s-PAD_LEFT, c] * d_out[n,p,q,k]
//
// input [N,H,W,C], d_out [N,P,Q,K]; what is outside of them is zero. An invocation computes one channel of `out`:
// forward and grad_x PIXELS of it along a row, grad_w for several taps. Invocations side by side take channels side
// by side: they read weights (grad_w: d_out) side by side, and the input from one address, which all share. A
// workgroup is LANES channels wide, CHANNEL_GROUPS of them hold all; HEIGHT is more than one only for few channels.

#if ENTRY_grad_w

#if VECTOR
@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
#else
@group(0) @binding(0) var<storage, read> input: array<f32>;
#endif
@group(0) @binding(1) var<storage, read> d_out: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

// A tap is one (r, s, c); an invocation takes TAPS of them (VECTOR: 4 * TAPS, of one r and s), TILES make up all.
@compute @workgroup_size(LANES, HEIGHT)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) id: vec3<u32>,
) {
    let flat = group.x + group.y * groups.x;
    let k = (flat % CHANNEL_GROUPS) * LANES + id.x;
#if HEIGHT == 1
    let unit = flat / CHANNEL_GROUPS;
#else
    let unit = (flat / CHANNEL_GROUPS) * HEIGHT + id.y;
#endif
    let part = unit / TILES;
    let tile = unit % TILES;
    if part >= PARTS {
        return;
    }
    let column = min(k, K - 1u);
    let first_image = part * IMAGES_PER_PART;
    let end_image = min(first_image + IMAGES_PER_PART, N);

#if VECTOR
    let tap = tile * TAPS * 4u;
    let c = tap % C;
    let s = (tap / C) % S;
    let r = tap / (C * S);
#unroll i TAPS
    var acc$i = vec4(0.0);
#endunroll
    // The pixels whose input is inside the image: no check is left in the loop.
    let first_p = (max(PAD_TOP, r) - r + STRIDE - 1u) / STRIDE;
    let end_p = min(P, (max(H + PAD_TOP, r) - r + STRIDE - 1u) / STRIDE);
    let first_q = (max(PAD_LEFT, s) - s + STRIDE - 1u) / STRIDE;
    let end_q = min(Q, (max(W + PAD_LEFT, s) - s + STRIDE - 1u) / STRIDE);
    for (var n = first_image; n < end_image; n++) {
        for (var p = first_p; p < end_p; p++) {
            let line = (n * H + (p * STRIDE + r) - PAD_TOP) * W;
            var at = ((line + (first_q * STRIDE + s) - PAD_LEFT) * C + c) / 4u;
            var d_at = ((n * P + p) * Q + first_q) * K + column;
            for (var q = first_q; q < end_q; q++) {
                let d = d_out[d_at];
#unroll i TAPS
                acc$i += input[at + $iu] * d;
#endunroll
                at += STRIDE * C / 4u;
                d_at += K;
            }
        }
    }
    if k < K {
        let e = (part * R * S * C + tap) * K + k;
#unroll i TAPS
        out[e + 4u * $iu * K] = acc$i.x;
        out[e + (4u * $iu + 1u) * K] = acc$i.y;
        out[e + (4u * $iu + 2u) * K] = acc$i.z;
        out[e + (4u * $iu + 3u) * K] = acc$i.w;
#endunroll
    }

#else
    let tap = tile * TAPS;
#unroll i TAPS
    let t$i = min(tap + $iu, R * S * C - 1u);
    let c$i = t$i % C;
    let s$i = (t$i / C) % S;
    let r$i = t$i / (C * S);
    var acc$i = 0.0;
#endunroll
    for (var n = first_image; n < end_image; n++) {
        for (var p = 0u; p < P; p++) {
            // Below zero they wrap, and are past the end as well.
#unroll i TAPS
            let h$i = (p * STRIDE + r$i) - PAD_TOP;
            let line$i = (n * H + h$i) * W;
#endunroll
            var d_at = (n * P + p) * Q * K + column;
            for (var q = 0u; q < Q; q++) {
                let d = d_out[d_at];
                d_at += K;
#unroll i TAPS
                let w$i = (q * STRIDE + s$i) - PAD_LEFT;
#if PADDED
                let inside$i = h$i < H && w$i < W;
                let x$i = select(0.0, input[select(0u, (line$i + w$i) * C + c$i, inside$i)], inside$i);
#else
                let x$i = input[(line$i + w$i) * C + c$i];
#endif
                acc$i += x$i * d;
#endunroll
            }
        }
    }
    if k < K {
        let e = (part * R * S * C + tap) * K + k;
#unroll i TAPS
        if tap + $iu < R * S * C {
            out[e + $iu * K] = acc$i;
        }
#endunroll
    }
#endif
}

#else

#include epilogue

// The source is `input` [N, SOURCE_H, SOURCE_W, INNER] or `d_out`; the weights are [R, S, INNER, OUTER]; the result
// is [N, OUT_H, OUT_W, OUTER]. VECTOR: INNER is a multiple of four. PADDED: some tap may fall outside of the source.
#if VECTOR
@group(0) @binding(0) var<storage, read> source: array<vec4<f32>>;
#else
@group(0) @binding(0) var<storage, read> source: array<f32>;
#endif
@group(0) @binding(1) var<storage, read> weight: array<f32>;
#if HAS_BIAS
@group(0) @binding(2) var<storage, read> bias: array<f32>;
#endif
#if HAS_ACT_GRAD
@group(0) @binding(2 + u32(HAS_BIAS)) var<storage, read> activated: array<f32>;
#endif
@group(0) @binding(2 + u32(HAS_BIAS) + u32(HAS_ACT_GRAD)) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(LANES, HEIGHT)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) id: vec3<u32>,
) {
    let flat = group.x + group.y * groups.x;
    let channel = (flat % CHANNEL_GROUPS) * LANES + id.x;
#if HEIGHT == 1
    let unit = flat / CHANNEL_GROUPS;
#else
    let unit = (flat / CHANNEL_GROUPS) * HEIGHT + id.y;
#endif
    // TILES of PIXELS make up a row, or, of grad_x, the pixels of a row whose w leaves the same rest (the phase) by
    // STRIDE: they meet the same taps.
    let tile = unit % TILES;
    let phase = (unit / TILES) % PHASES;
    let y = (unit / (TILES * PHASES)) % OUT_H;
    let n = unit / (TILES * PHASES * OUT_H);
    if n >= N {
        return;
    }
    let column = min(channel, OUTER - 1u);
#unroll i PIXELS
    var acc$i = 0.0;
#endunroll

    for (var r = 0u; r < R; r++) {
        // Rows and columns below zero wrap, and are past the end as well.
#if ENTRY_forward
        let from_y = (y * STRIDE + r) - PAD_TOP;
#if PADDED
        if from_y >= SOURCE_H {
            continue;
        }
#endif
#else
        let from_y = (y + PAD_TOP - r) / STRIDE;
        if (y + PAD_TOP - r) % STRIDE != 0u || from_y >= SOURCE_H {
            continue;
        }
#endif
        let line = (n * SOURCE_H + from_y) * SOURCE_W;
        for (var s = 0u; s < S; s++) {
#if ENTRY_forward
            let from_x = (tile * PIXELS * STRIDE + s) - PAD_LEFT;
            const STEP = STRIDE;
#else
            // S * STRIDE more, so that the division is of a whole number; it is taken off again.
            let shifted = phase + PAD_LEFT + S * STRIDE - s;
            if shifted % STRIDE != 0u {
                continue;
            }
            let from_x = shifted / STRIDE + tile * PIXELS - S;
            const STEP = 1u;
#endif
#unroll i PIXELS
            let x$i = from_x + $iu * STEP;
#if PADDED
            let inside$i = x$i < SOURCE_W;
            let at$i = (line + select(0u, x$i, inside$i)) * INNER;
#else
            let at$i = (line + x$i) * INNER;
#endif
#endunroll
            var w = (r * S + s) * INNER * OUTER + column;
#if VECTOR
            for (var i = 0u; i < INNER; i += 4u) {
                let w0 = weight[w];
                let w1 = weight[w + OUTER];
                let w2 = weight[w + 2u * OUTER];
                let w3 = weight[w + 3u * OUTER];
                w += 4u * OUTER;
#unroll i PIXELS
#if PADDED
                let v$i = select(vec4(0.0), source[(at$i + i) / 4u], inside$i);
#else
                let v$i = source[(at$i + i) / 4u];
#endif
                acc$i += v$i.x * w0;
                acc$i += v$i.y * w1;
                acc$i += v$i.z * w2;
                acc$i += v$i.w * w3;
#endunroll
            }
#else
            for (var i = 0u; i < INNER; i++) {
                let w0 = weight[w];
                w += OUTER;
#unroll i PIXELS
#if PADDED
                acc$i += select(0.0, source[at$i + i], inside$i) * w0;
#else
                acc$i += source[at$i + i] * w0;
#endif
#endunroll
            }
#endif
        }
    }

    if channel < OUTER {
#unroll i PIXELS
#if ENTRY_forward
        let o$i = tile * PIXELS + $iu;
#else
        let o$i = phase + STRIDE * (tile * PIXELS + $iu);
#endif
        if o$i < OUT_W {
            let e = ((n * OUT_H + y) * OUT_W + o$i) * OUTER + channel;
            out[e] = finish(acc$i, e, channel);
        }
#endunroll
    }
}
#endif
