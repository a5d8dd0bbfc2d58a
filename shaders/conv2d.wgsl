// forward: out[n,p,q,k] = finish(sum over r,s,c of input[n, p*STRIDE+r-PAD_TOP, q*STRIDE+s-PAD_LEFT, c] * weight[r,s,c,k])
// grad_x:  out[n,h,w,c] = finish(sum over r,s,k of d_out[n,p,q,k] * weight[r,s,k,c]), where p*STRIDE = h+PAD_TOP-r and
//          q*STRIDE = w+PAD_LEFT-s; also the transposed convolution
// grad_w:  out[j,r,s,c,k] = sum over the images n of part j and over p,q of
//          input[n, p*STRIDE+r-PAD_TOP, q*STRIDE+s-PAD_LEFT, c] * d_out[n,p,q,k]
//
// input [N,H,W,C], d_out [N,P,Q,K]; everything outside them is zero. For one channel of `out` an invocation computes
// PIXELS pixels along a row (forward and grad_x), or the taps of a row for one c or, where C allows (VECTOR), four
// (grad_w). It slides a window of TAPS inputs along the row, STEP at a time, so each input is read once for all taps.
// Neighbouring invocations take neighbouring channels: they read adjacent weights (grad_w: d_out), and the input from
// one address, which all share. A workgroup is LANES channels wide, and CHANNEL_GROUPS workgroups cover all channels;
// HEIGHT tiles share a workgroup where channels are few. Where that leaves a device idle, SPLIT invocations share a
// tile (DIVIDED): each takes every SPLIT-th inner channel (grad_w: row), and their sums are added up through workgroup
// memory, always in the same order. An invocation takes CHANNELS channels, LANES apart. PADDED: some row of taps may lie
// above or below the image. In a window, only inputs before LEFT and from RIGHT on may lie beside it, whichever tile it
// is: the others are read without a check, at fixed distances from one address. Indices that are within bounds anyway
// are also limited by `min`: drivers then know that such a sum does not overflow, and can leave it to the load.
#include flat

#if ENTRY_grad_w

// An element of `input` is ELEMENT channels.
#if VECTOR
@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
alias Value = vec4<f32>;
const WIDE = 4u;
const ELEMENT = 4u;
#elif LOOSE
@group(0) @binding(0) var<storage, read> input: array<f32>;
alias Value = vec4<f32>;
const WIDE = 4u;
const ELEMENT = 1u;
#else
@group(0) @binding(0) var<storage, read> input: array<f32>;
alias Value = f32;
const WIDE = 1u;
const ELEMENT = 1u;
#endif
@group(0) @binding(1) var<storage, read> d_out: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

// Input j of a window that begins at column w; the one at column w + PAD_LEFT is element `at`.
fn load(at: u32, w: u32, j: u32) -> Value {
    let inside = ((j >= LEFT) & (j < RIGHT)) | (w + j < W);
    let index = select(0u, at + j * (C / ELEMENT) - PAD_LEFT * (C / ELEMENT), inside);
#if LOOSE
    // The last group reaches into the next pixel; what comes of that is not written.
    let v = vec4(input[index], input[index + 1u], input[index + 2u], input[index + 3u]);
#else
    let v = input[index];
#endif
    return select(Value(0.0), v, inside);
}

#if DIVIDED
var<workgroup> partial: array<array<array<Value, SPLIT / 2u * HEIGHT * LANES>, HELD>, CHANNELS>;
#endif

// The TILES tiles are R rows of taps for each of INNER_GROUPS groups of WIDE channels. LOOSE: C is not a multiple of
// four, and groups of four are read element by element.
@compute @workgroup_size(LANES, HEIGHT, SPLIT)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
    let flat = flat_index(group);
    let channel = (flat % CHANNEL_GROUPS) * LANES * CHANNELS + id.x;
#if HEIGHT == 1
    let unit = flat / CHANNEL_GROUPS;
#else
    let unit = (flat / CHANNEL_GROUPS) * HEIGHT + id.y;
#endif
    let part = unit / TILES;
    let tile = unit % TILES;
#if DIVIDED
    let lane = id.x + id.y * LANES;
#else
    if part >= PARTS {
        return;
    }
#endif
    let c = tile % INNER_GROUPS * WIDE;
    let r = tile / INNER_GROUPS;
    let first_image = min(part * IMAGES_PER_PART, N);
    let end_image = min(first_image + IMAGES_PER_PART, N);
#unroll k CHANNELS
    let channel$k = channel + $ku * LANES;
    let column$k = min(channel$k, K - 1u);
#unroll m TAPS
    var acc$m_$k = Value(0.0);
#endunroll
#endunroll

    for (var row = first_image * P + id.z; row < end_image * P; row += SPLIT) {
        let n = min(row / P, N - 1u);
        let p = row % P;
        // A row above the image wraps round, so it is past the end too.
        let y = (p * STRIDE + r) - PAD_TOP;
#if PADDED
        if y >= H {
            continue;
        }
#endif
        let line = (n * H + min(y, H - 1u)) * W;
        for (var q = 0u; q < Q; q += PIXELS) {
#unroll k CHANNELS
            let at$k = ((n * P + p) * Q + q) * K + column$k;
#endunroll
            let first = ((line + q * STRIDE) * C + c) / ELEMENT;
            // Left of the image w wraps round, so it is past the end too.
            let w = q * STRIDE - PAD_LEFT;
#unroll j KEPT
            let x$j = load(first, w, $ju);
#endunroll
#unroll i PIXELS
#unroll j FRESH
            let x$($i*STEP+KEPT+$j) = load(first, w, $($i*STEP+KEPT+$j)u);
#endunroll
#unroll k CHANNELS
#if WHOLE
            let d$i_$k = d_out[at$k + $iu * K];
#else
            let d$i_$k = select(0.0, d_out[at$k + $iu * K], q + $iu < Q);
#endif
#unroll m TAPS
            acc$m_$k += x$($i*STEP+$m) * d$i_$k;
#endunroll
#endunroll
#endunroll
        }
    }
#if DIVIDED
#include divided
    if id.z > 0u || part >= PARTS {
        return;
    }
#endif
#unroll k CHANNELS
    if channel$k < K {
#unroll m TAPS
        let e$m = (((part * R + r) * S + $mu) * C + c) * K + channel$k;
#if VECTOR
        out[e$m] = acc$m_$k.x;
        out[e$m + K] = acc$m_$k.y;
        out[e$m + 2u * K] = acc$m_$k.z;
        out[e$m + 3u * K] = acc$m_$k.w;
#elif LOOSE
        out[e$m] = acc$m_$k.x;
        if c + 1u < C { out[e$m + K] = acc$m_$k.y; }
        if c + 2u < C { out[e$m + 2u * K] = acc$m_$k.z; }
        if c + 3u < C { out[e$m + 3u * K] = acc$m_$k.w; }
#else
        out[e$m] = acc$m_$k;
#endif
#endunroll
    }
#endunroll
}

#else

#include epilogue

// The source is `input` [N, SOURCE_H, SOURCE_W, INNER] or `d_out`; the weights are [R, S, INNER, OUTER]; the result
// is [N, OUT_H, OUT_W, OUTER]. VECTOR: INNER is a multiple of four.
#if VECTOR
@group(0) @binding(0) var<storage, read> source: array<vec4<f32>>;
alias Value = vec4<f32>;
const WIDE = 4u;
#else
@group(0) @binding(0) var<storage, read> source: array<f32>;
alias Value = f32;
const WIDE = 1u;
#endif
@group(0) @binding(1) var<storage, read> weight: array<f32>;
alias Wide = f32;
alias Result = f32;
#include bound
const OUT_CHANNELS = OUTER;

// How far the window of a row's first tile begins to the left of the image.
#if ENTRY_forward
const BACK = PAD_LEFT;
#else
const BACK = TAPS - 1u;
#endif

// Input j of a window that begins at column x; the one at column x + BACK is element `at`.
fn load(at: u32, x: u32, j: u32) -> Value {
    let inside = ((j >= LEFT) & (j < RIGHT)) | (x + j < SOURCE_W);
    let index = select(0u, at + j * (INNER / WIDE) - BACK * (INNER / WIDE), inside);
    return select(Value(0.0), source[index], inside);
}

#if DIVIDED
var<workgroup> partial: array<array<array<f32, SPLIT / 2u * HEIGHT * LANES>, HELD>, CHANNELS>;
#endif

@compute @workgroup_size(LANES, HEIGHT, SPLIT)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
    let flat = flat_index(group);
    let channel = (flat % CHANNEL_GROUPS) * LANES * CHANNELS + id.x;
#if HEIGHT == 1
    let unit = flat / CHANNEL_GROUPS;
#else
    let unit = (flat / CHANNEL_GROUPS) * HEIGHT + id.y;
#endif
    // TILES tiles of PIXELS make up a row or, in grad_x, the pixels of a row whose w has the same remainder modulo
    // STRIDE (the phase): they meet the same taps. A window serves PHASES of them, one after another; PHASE_GROUPS
    // invocations take all.
    let tile = unit % TILES;
    let phase = (unit / TILES) % PHASE_GROUPS * PHASES;
    let y = (unit / (TILES * PHASE_GROUPS)) % OUT_H;
    let n = unit / (TILES * PHASE_GROUPS * OUT_H);
#if DIVIDED
    let lane = id.x + id.y * LANES;
#else
    if n >= N {
        return;
    }
#endif
#unroll k CHANNELS
    let channel$k = channel + $ku * LANES;
    let column$k = min(channel$k, OUTER - 1u);
#unroll i HELD
    var acc$i_$k = 0.0;
#endunroll
#endunroll

#if ENTRY_forward
    for (var r = 0u; r < R; r++) {
        let from_y = (y * STRIDE + r) - PAD_TOP;
#else
    for (var r = (y + PAD_TOP) % STRIDE; r < R; r += STRIDE) {
        let from_y = (y + PAD_TOP - r) / STRIDE;
#endif
#if PADDED
        // Rows and columns below zero wrap round, so they are past the end too.
        if from_y >= SOURCE_H {
            continue;
        }
#endif
        let line = (min(n, N - 1u) * SOURCE_H + min(from_y, SOURCE_H - 1u)) * SOURCE_W;
        // In phase f, tap m of the window, which starts BACK inputs before `start`, uses the weights of s = s{m}_{f}.
#if ENTRY_forward
        let start = tile * PIXELS * STRIDE;
#unroll m TAPS
        let s$m_0 = $mu;
#endunroll
#else
        let start = (phase + PAD_LEFT) / STRIDE + tile * PIXELS;
#unroll f PHASES
#unroll m TAPS
        let s$m_$f = (phase + $fu + PAD_LEFT) % STRIDE + (TAPS - 1u - $mu) * STRIDE;
#endunroll
#endunroll
#endif
        let x = start - BACK;
        let first = (line + start) * (INNER / WIDE);
        for (var wide = id.z; wide < INNER / WIDE; wide += SPLIT) {
            let i = wide * WIDE;
            let at = first + wide;
#unroll f PHASES
#unroll m TAPS
#unroll k CHANNELS
            let w$m_$f_$k = ((r * S + min(s$m_$f, S - 1u)) * INNER + i) * OUTER + column$k;
#if VECTOR
            let tap$m_$f_$k = vec4(
                weight[w$m_$f_$k],
                weight[w$m_$f_$k + OUTER],
                weight[w$m_$f_$k + 2u * OUTER],
                weight[w$m_$f_$k + 3u * OUTER]
            );
#else
            let tap$m_$f_$k = weight[w$m_$f_$k];
#endif
#endunroll
#endunroll
#endunroll
#unroll j KEPT
            let x$j = load(at, x, $ju);
#endunroll
#unroll i PIXELS
#unroll j FRESH
            let x$($i*STEP+KEPT+$j) = load(at, x, $($i*STEP+KEPT+$j)u);
#endunroll
#unroll f PHASES
#unroll m TAPS
#if RAGGED
            // Some phases have a tap less than others.
            if s$m_$f < S {
#endif
#unroll k CHANNELS
#if VECTOR
            acc$($f*PIXELS+$i)_$k += x$($i*STEP*APART+$m*APART+$f+REST / APART).x * tap$m_$f_$k.x;
            acc$($f*PIXELS+$i)_$k += x$($i*STEP*APART+$m*APART+$f+REST / APART).y * tap$m_$f_$k.y;
            acc$($f*PIXELS+$i)_$k += x$($i*STEP*APART+$m*APART+$f+REST / APART).z * tap$m_$f_$k.z;
            acc$($f*PIXELS+$i)_$k += x$($i*STEP*APART+$m*APART+$f+REST / APART).w * tap$m_$f_$k.w;
#else
            acc$($f*PIXELS+$i)_$k += x$($i*STEP*APART+$m*APART+$f+REST / APART) * tap$m_$f_$k;
#endif
#endunroll
#if RAGGED
            }
#endif
#endunroll
#endunroll
#endunroll
        }
    }

#if DIVIDED
#include divided
    if id.z > 0u || n >= N {
        return;
    }
#endif

#unroll k CHANNELS
    if channel$k < OUTER {
#unroll i HELD
        let o$i = phase + $($i / PIXELS)u + APART * (tile * PIXELS + $($i % PIXELS)u);
        if o$i < OUT_W {
            let e = ((n * OUT_H + y) * OUT_W + o$i) * OUTER + channel$k;
            out[e] = finish(acc$i_$k, e, channel$k);
        }
#endunroll
    }
#endunroll
}
#endif
