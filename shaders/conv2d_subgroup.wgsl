// What conv2d.wgsl computes, for drivers that run on the CPU. There an invocation is a lane of a vector register, and a
// load takes as long as dozens of sums, since it goes lane by lane. So no lane loads what another one does: the lanes
// of a subgroup, which is the whole workgroup, load adjacent elements and broadcast them to each other.
//
// A lane holds CHANNELS vectors of WIDE channels of the result, LANES * WIDE channels apart. In forward and grad_x it
// holds them for ROWS x PIXELS pixels: for one row of taps and one channel, the source pixels that they meet, ROWS
// lines of LINE, are loaded LANES at a time, once for all TAPS of the row. In grad_w it holds them for HELD pairs of a
// row of taps and an input channel, times the S taps of the row: each lane loads for one pair. The kernel walks over
// d_out PIXELS at a time.

#include wide
#include flat
#if HAS_NORM
const OUT_CHANNELS = OUTER / WIDE;
#endif

#if ENTRY_grad_w

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> d_out: array<Wide>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let flat = flat_index(group);
    let part = flat / (CHANNEL_GROUPS * PAIR_GROUPS);
    if part >= PARTS {
        return;
    }
    let first_pair = flat / CHANNEL_GROUPS % PAIR_GROUPS * HELD;
    let pair = first_pair + lane;
    let real = lane < HELD && pair < R * C;
    let r = pair / C;
    let c = pair % C;
#unroll k CHANNELS
    let channel$k = flat % CHANNEL_GROUPS * CHANNELS * LANES + $ku * LANES + lane;
    let column$k = min(channel$k, K / WIDE - 1u);
#unroll h HELD
#unroll m S
    var acc$h_$m_$k = Wide(0.0);
#endunroll
#endunroll
#endunroll

    let end_image = min((part + 1u) * IMAGES_PER_PART, N);
    for (var n = part * IMAGES_PER_PART; n < end_image; n++) {
        for (var p = 0u; p < P; p++) {
            // Above and left of the image y and w wrap round, so they are past the end too.
            let y = p * STRIDE + r - PAD_TOP;
            let line = (n * H + y) * W;
            for (var q = 0u; q < Q; q += PIXELS) {
#unroll j LINE
                let w$j = q * STRIDE + $ju - PAD_LEFT;
                let inside$j = real && y < H && w$j < W;
                let x$j = select(0.0, input[select(0u, (line + w$j) * C + c, inside$j)], inside$j);
#endunroll
#unroll k CHANNELS
#unroll i PIXELS
                let at$i_$k = ((n * P + p) * Q + min(q + $iu, Q - 1u)) * (K / WIDE) + column$k;
                let d$i_$k = select(Wide(0.0), d_out[at$i_$k], q + $iu < Q);
#endunroll
#endunroll
#unroll h HELD
#unroll j LINE
                let x$j_$h = subgroupBroadcast(x$j, $hu);
#endunroll
#unroll k CHANNELS
#unroll m S
#unroll i PIXELS
                acc$h_$m_$k += x$($i * STRIDE + $m)_$h * d$i_$k;
#endunroll
#endunroll
#endunroll
#endunroll
            }
        }
    }

#unroll h HELD
    if first_pair + $hu < R * C {
        let r_$h = (first_pair + $hu) / C;
        let c_$h = (first_pair + $hu) % C;
#unroll k CHANNELS
        if channel$k < K / WIDE {
#unroll m S
            out[(((part * R + r_$h) * S + $mu) * C + c_$h) * (K / WIDE) + channel$k] = acc$h_$m_$k;
#endunroll
        }
#endunroll
    }
#endunroll
}

#else

@group(0) @binding(0) var<storage, read> source: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<Wide>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let flat = flat_index(group);
    let unit = flat / CHANNEL_GROUPS;
    // The pixels of a tile are APART from each other, so that all meet the same taps: in grad_x they are every
    // STRIDE-th, starting at the phase.
    let tile_x = unit % TILES_X;
    let phase_x = unit / TILES_X % PHASES_X;
    let tile_y = unit / (TILES_X * PHASES_X) % TILES_Y;
    let phase_y = unit / (TILES_X * PHASES_X * TILES_Y) % PHASES_Y;
    let n = unit / (TILES_X * PHASES_X * TILES_Y * PHASES_Y);
    if n >= N {
        return;
    }
#unroll k CHANNELS
    let channel$k = flat % CHANNEL_GROUPS * CHANNELS * LANES + $ku * LANES + lane;
    let column$k = min(channel$k, OUTER / WIDE - 1u);
    let begin$k = begin(column$k);
#unroll y ROWS
#unroll i PIXELS
    var acc$y_$i_$k = begin$k;
#endunroll
#endunroll
#endunroll

    // Tap m of a line, which starts at `from_x`, uses the weights of s = s_m.
#if ENTRY_forward
    let from_x = tile_x * PIXELS * STRIDE - PAD_LEFT;
#unroll m TAPS
    let s_$m = $mu;
#endunroll
#else
    let from_x = (phase_x + PAD_LEFT) / STRIDE + tile_x * PIXELS - (TAPS - 1u);
#unroll m TAPS
    let s_$m = (phase_x + PAD_LEFT) % STRIDE + (TAPS - 1u - $mu) * STRIDE;
#endunroll
#endif
    // Which pixels this lane loads. Above and left of the source they wrap round, so they are past the end too.
#unroll j LOADS
    let row$j = tile_y * ROWS + ($ju * LANES + lane) / LINE;
    let x$j = from_x + ($ju * LANES + lane) % LINE;
#endunroll

    for (var r = 0u; r < R; r++) {
#if ENTRY_grad_x
        if (phase_y + PAD_TOP + R * STRIDE - r) % STRIDE != 0u {
            continue;
        }
#endif
#unroll j LOADS
#if ENTRY_forward
        let y$j = row$j * STRIDE + r - PAD_TOP;
#else
        let y$j = (phase_y + APART * row$j + PAD_TOP - r) / STRIDE;
#endif
        let inside$j = y$j < SOURCE_H && x$j < SOURCE_W;
        let at$j = select(0u, ((n * SOURCE_H + y$j) * SOURCE_W + x$j) * INNER, inside$j);
#endunroll
        for (var i = 0u; i < INNER; i++) {
#unroll j LOADS
            let v$j = select(0.0, source[at$j + i], inside$j);
#endunroll
#unroll m TAPS
#if RAGGED
            let w$m = ((r * S + min(s_$m, S - 1u)) * INNER + i) * (OUTER / WIDE);
#unroll k CHANNELS
            let tap$m_$k = select(Wide(0.0), weight[w$m + column$k], s_$m < S);
#endunroll
#else
            let w$m = ((r * S + s_$m) * INNER + i) * (OUTER / WIDE);
#unroll k CHANNELS
            let tap$m_$k = weight[w$m + column$k];
#endunroll
#endif
#endunroll
#unroll y ROWS
#unroll j LINE
            let p$y_$j = subgroupBroadcast(v$($y * LINE + $j / LANES), $($y * LINE + $j % LANES)u);
#endunroll
#unroll i PIXELS
#unroll k CHANNELS
#unroll m TAPS
            acc$y_$i_$k += p$y_$($i * STEP + $m) * tap$m_$k;
#endunroll
#endunroll
#endunroll
#endunroll
        }
    }

#unroll k CHANNELS
    let norm$k = norm_of(column$k);
#endunroll
#unroll y ROWS
#unroll i PIXELS
    {
        let out_y = phase_y + APART * (tile_y * ROWS + $yu);
        let out_x = phase_x + APART * (tile_x * PIXELS + $iu);
        if out_y < OUT_H && out_x < OUT_W {
            let e = ((n * OUT_H + out_y) * OUT_W + out_x) * (OUTER / WIDE);
#unroll k CHANNELS
            if channel$k < OUTER / WIDE {
                out[e + channel$k] = finish(acc$y_$i_$k, e + channel$k, norm$k);
            }
#endunroll
        }
    }
#endunroll
#endunroll
}
#endif
