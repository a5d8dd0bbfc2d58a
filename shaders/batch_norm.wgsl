// sums:      out[part] = mean of x over the part's rows, and the sum of squared distances from that mean
// stats:     out = mean and biased variance over all rows, from the parts
// apply:     out = (x - mean) / sqrt(var + EPS) * gamma + beta
//            DROPS: with dropout applied to that, as in dropout.wgsl
// grad_sums: out[part] = sum of d_out * xhat and sum of d_out over the part's rows, xhat = (x - mean) / sqrt(var + EPS)
// grad_x:    out = gamma / sqrt(var + EPS) * (d_out - (sum of d_out + xhat * sum of d_out * xhat) / ROWS)
// grad_x_fixed: out = gamma / sqrt(var + EPS) * d_out
// running:   out[OFFSET + i] = MOMENTUM * out[OFFSET + i] + (1 - MOMENTUM) * stats[i], in each of PARTS parts
//
// x is [ROWS, C]; sums, stats and affine are [.., 2, C]. GROUPED: every OF_GROUP elements of x (rows in grad_sums,
// vectors elsewhere) have their own statistics and sums; stats computes GROUPS groups, and ROWS and PARTS are those of
// one group. C counts vectors of four in kernels over x where BY_FOUR. In sums and grad_sums a workgroup takes LANES
// channels of one part, with SLICES invocations per channel, each taking every SLICES-th row; in stats it takes LANES
// channels, and each invocation takes every SLICES-th part; elsewhere an invocation computes one vector of `out`.
// COUNT: invocations.
#include lanes
#include flat

#if ENTRY_sums
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
#elif ENTRY_stats
@group(0) @binding(0) var<storage, read> sums: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
#elif ENTRY_apply
@group(0) @binding(0) var<storage, read> x: array<Lanes>;
@group(0) @binding(1) var<storage, read> stats: array<Lanes>;
@group(0) @binding(2) var<storage, read> affine: array<Lanes>;
#if DROPS
@group(0) @binding(3) var<storage, read> clock: array<u32>;
#endif
@group(0) @binding(3 + u32(DROPS)) var<storage, read_write> out: array<Lanes>;
#if DROPS
#include kept
#endif
#elif ENTRY_grad_sums
@group(0) @binding(0) var<storage, read> d_out: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> stats: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
#elif ENTRY_grad_x
@group(0) @binding(0) var<storage, read> d_out: array<Lanes>;
@group(0) @binding(1) var<storage, read> x: array<Lanes>;
@group(0) @binding(2) var<storage, read> stats: array<Lanes>;
@group(0) @binding(3) var<storage, read> affine: array<Lanes>;
@group(0) @binding(4) var<storage, read> sums: array<Lanes>;
@group(0) @binding(5) var<storage, read_write> out: array<Lanes>;
#elif ENTRY_grad_x_fixed
@group(0) @binding(0) var<storage, read> d_out: array<Lanes>;
@group(0) @binding(1) var<storage, read> stats: array<Lanes>;
@group(0) @binding(2) var<storage, read> affine: array<Lanes>;
@group(0) @binding(3) var<storage, read_write> out: array<Lanes>;
#else
#unroll k PARTS
@group(0) @binding($k) var<storage, read> stats_$k: array<f32>;
#endunroll
@group(0) @binding($(PARTS)) var<storage, read_write> out: array<f32>;
#endif

#if ENTRY_stats
alias Sum = f32;
#include slices

// The sum over all slices of the column, returned in every slice.
fn total(id: vec3<u32>, v: f32) -> f32 {
    let of_first = of_all_slices(id, v);
#if SLICED
    let all = partial[id.x];
    workgroupBarrier();
    return all;
#else
    return of_first;
#endif
}

fn rows_of(part: u32) -> f32 {
    return f32(min(ROWS_PER_PART, ROWS - part * ROWS_PER_PART));
}

@compute @workgroup_size(LANES, SLICES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
    let flat = flat_index(group);
    let own = flat / COLUMN_GROUPS;
    let channel = (flat % COLUMN_GROUPS) * LANES + id.x;
    // Invocations beyond the last channel or group repeat its work, so that barriers stay uniform.
    let c = min(channel, C - 1u);
    let first = min(own, GROUPS - 1u) * PARTS * 2u * C + c;
    // Means are added up relative to the first: no precision is lost where they are large and close together.
    let base = sums[first];
    var v = 0.0;
    for (var part = id.y; part < PARTS; part += SLICES) {
        v += rows_of(part) * (sums[first + 2u * part * C] - base);
    }
    let mean = base + total(id, v) / f32(ROWS);
    v = 0.0;
    for (var part = id.y; part < PARTS; part += SLICES) {
        let off = sums[first + 2u * part * C] - mean;
        v += sums[first + (2u * part + 1u) * C] + rows_of(part) * off * off;
    }
    let variance = total(id, v) / f32(ROWS);
    if id.y == 0u && channel < C && own < GROUPS {
        out[2u * own * C + c] = mean;
        out[(2u * own + 1u) * C + c] = variance;
    }
}
#elif PARTIAL
alias Sum = vec2<f32>;
#include slices

@compute @workgroup_size(LANES, SLICES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
    let flat = flat_index(group);
    let part = flat / COLUMN_GROUPS;
    let channel = (flat % COLUMN_GROUPS) * LANES + id.x;
    let c = min(channel, C - 1u);
    let first = min(part * ROWS_PER_PART, ROWS - 1u);
    let last = min(first + ROWS_PER_PART, ROWS);
#if ENTRY_sums
    // Differences from the part's first row are small even where the mean is far from zero.
    let base = x[first * C + c];
#else
#if GROUPED
    let s = c + first / OF_GROUP * 2u * C;
#else
    let s = c;
#endif
    let base = stats[s];
#endif
    var sum = vec2(0.0);
    for (var row = first + id.y; row < last; row += SLICES) {
        let v = x[row * C + c] - base;
#if ENTRY_sums
        sum += vec2(v, v * v);
#else
        let d = d_out[row * C + c];
        sum += vec2(d * v, d);
#endif
    }
    sum = of_all_slices(id, sum);
    if id.y > 0u || channel >= C || part >= PARTS {
        return;
    }
#if ENTRY_sums
    let mean = sum.x / f32(last - first);
    out[2u * part * C + c] = base + mean;
    // Not `max`, which would turn NaN into 0.
    let left = sum.y - sum.x * mean;
    out[(2u * part + 1u) * C + c] = select(left, 0.0, left < 0.0);
#else
    out[2u * part * C + c] = sum.x * inverseSqrt(stats[C + s] + EPS);
    out[(2u * part + 1u) * C + c] = sum.y;
#endif
}
#elif ENTRY_running

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var i = flat_index(id);
#unroll k PARTS
    if i < LEN_$k {
        let at = OFFSET_$k + i;
        out[at] = MOMENTUM_$k * out[at] + (1.0 - MOMENTUM_$k) * stats_$k[i];
        return;
    }
    i -= LEN_$k;
#endunroll
}
#else

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = flat_index(id);
    if i >= COUNT {
        return;
    }
    let c = i % C;
#if GROUPED
    let s = c + i / OF_GROUP * 2u * C;
#else
    let s = c;
#endif
#if ENTRY_apply
    let scale = affine[c] * inverseSqrt(stats[C + s] + EPS);
    let y = finish_lanes((x[i] - stats[s]) * scale + affine[C + c], i, c);
#if DROPS
    // Selected, not multiplied by 0: infinity times 0 is NaN.
#if BY_FOUR
    let e = 4u * i;
    out[i] = select(vec4(0.0), FACTOR * y, vec4(kept(e), kept(e + 1u), kept(e + 2u), kept(e + 3u)));
#else
    out[i] = select(0.0, FACTOR * y, kept(i));
#endif
#else
    out[i] = y;
#endif
#elif ENTRY_grad_x
    let inverse = inverseSqrt(stats[C + s] + EPS);
    let xhat = (x[i] - stats[s]) * inverse;
    let shared_part = (sums[C + s] + xhat * sums[s]) * (1.0 / f32(ROWS));
    out[i] = affine[c] * inverse * (d_out[i] - shared_part);
#else
    out[i] = affine[c] * inverseSqrt(stats[C + s] + EPS) * d_out[i];
#endif
}
#endif
