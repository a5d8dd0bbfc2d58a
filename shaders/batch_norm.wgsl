// sums:      out[part] = mean of x over the part's rows, and the sum of squared distances from that mean
// stats:     out = mean and biased variance over all rows, from the parts
// apply:     out = (x - mean) / sqrt(var + EPS) * gamma + beta
// grad_sums: out[part] = sum of d_out * xhat and sum of d_out over the part's rows, xhat = (x - mean) / sqrt(var + EPS)
// grad_x:    out = gamma / sqrt(var + EPS) * (d_out - (sum of d_out + xhat * sum of d_out * xhat) / ROWS)
// grad_x_fixed: out = gamma / sqrt(var + EPS) * d_out
// running:   out[OFFSET + i] = MOMENTUM * out[OFFSET + i] + (1 - MOMENTUM) * stats[i], in each of up to seven parts
//
// x is [ROWS, C]; sums, stats and affine are [.., 2, C]. C counts vectors of four in kernels over x where
// BY_FOUR. In sums and grad_sums a workgroup takes LANES channels of one part, SLICES invocations each, of which every
// one takes each SLICES-th row; in stats LANES channels, and every SLICES-th part; elsewhere an invocation computes one
// vector of `out`. COUNT: invocations.
#include lanes

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
@group(0) @binding(3) var<storage, read_write> out: array<Lanes>;
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
@group(0) @binding(0) var<storage, read> stats_0: array<f32>;
#if HAS_1
@group(0) @binding(1) var<storage, read> stats_1: array<f32>;
#endif
#if HAS_2
@group(0) @binding(2) var<storage, read> stats_2: array<f32>;
#endif
#if HAS_3
@group(0) @binding(3) var<storage, read> stats_3: array<f32>;
#endif
#if HAS_4
@group(0) @binding(4) var<storage, read> stats_4: array<f32>;
#endif
#if HAS_5
@group(0) @binding(5) var<storage, read> stats_5: array<f32>;
#endif
#if HAS_6
@group(0) @binding(6) var<storage, read> stats_6: array<f32>;
#endif
@group(0) @binding(1 + u32(HAS_1) + u32(HAS_2) + u32(HAS_3) + u32(HAS_4) + u32(HAS_5) + u32(HAS_6)) var<storage, read_write> out: array<f32>;
#endif

#if ENTRY_stats
alias Sum = f32;
#include slices

// The sum over all slices of the column, in each of them.
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
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) id: vec3<u32>,
) {
    let channel = (group.x + group.y * groups.x) * LANES + id.x;
    // Those beyond the last channel do it once more, so that barriers stay uniform.
    let c = min(channel, C - 1u);
    // Means are taken from the first one: nothing is lost where they are large and close together.
    let base = sums[c];
    var v = 0.0;
    for (var part = id.y; part < PARTS; part += SLICES) {
        v += rows_of(part) * (sums[2u * part * C + c] - base);
    }
    let mean = base + total(id, v) / f32(ROWS);
    v = 0.0;
    for (var part = id.y; part < PARTS; part += SLICES) {
        let off = sums[2u * part * C + c] - mean;
        v += sums[(2u * part + 1u) * C + c] + rows_of(part) * off * off;
    }
    let variance = total(id, v) / f32(ROWS);
    if id.y == 0u && channel < C {
        out[c] = mean;
        out[C + c] = variance;
    }
}
#elif PARTIAL
alias Sum = vec2<f32>;
#include slices

@compute @workgroup_size(LANES, SLICES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) id: vec3<u32>,
) {
    let flat = group.x + group.y * groups.x;
    let part = flat / COLUMN_GROUPS;
    let channel = (flat % COLUMN_GROUPS) * LANES + id.x;
    let c = min(channel, C - 1u);
    let first = min(part * ROWS_PER_PART, ROWS - 1u);
    let last = min(first + ROWS_PER_PART, ROWS);
#if ENTRY_sums
    // Distances from the part's first row are small even where the mean is far from zero.
    let base = x[first * C + c];
#else
    let base = stats[c];
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
    out[(2u * part + 1u) * C + c] = max(sum.y - sum.x * mean, 0.0);
#else
    out[2u * part * C + c] = sum.x * inverseSqrt(stats[C + c] + EPS);
    out[(2u * part + 1u) * C + c] = sum.y;
#endif
}
#elif ENTRY_running

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    var i = id.x + id.y * groups.x * WORKGROUP;
#if HAS_0
    if i < LEN_0 {
        let at = OFFSET_0 + i;
        out[at] = MOMENTUM_0 * out[at] + (1.0 - MOMENTUM_0) * stats_0[i];
        return;
    }
    i -= LEN_0;
#endif
#if HAS_1
    if i < LEN_1 {
        let at = OFFSET_1 + i;
        out[at] = MOMENTUM_1 * out[at] + (1.0 - MOMENTUM_1) * stats_1[i];
        return;
    }
    i -= LEN_1;
#endif
#if HAS_2
    if i < LEN_2 {
        let at = OFFSET_2 + i;
        out[at] = MOMENTUM_2 * out[at] + (1.0 - MOMENTUM_2) * stats_2[i];
        return;
    }
    i -= LEN_2;
#endif
#if HAS_3
    if i < LEN_3 {
        let at = OFFSET_3 + i;
        out[at] = MOMENTUM_3 * out[at] + (1.0 - MOMENTUM_3) * stats_3[i];
        return;
    }
    i -= LEN_3;
#endif
#if HAS_4
    if i < LEN_4 {
        let at = OFFSET_4 + i;
        out[at] = MOMENTUM_4 * out[at] + (1.0 - MOMENTUM_4) * stats_4[i];
        return;
    }
    i -= LEN_4;
#endif
#if HAS_5
    if i < LEN_5 {
        let at = OFFSET_5 + i;
        out[at] = MOMENTUM_5 * out[at] + (1.0 - MOMENTUM_5) * stats_5[i];
        return;
    }
    i -= LEN_5;
#endif
#if HAS_6
    if i < LEN_6 {
        let at = OFFSET_6 + i;
        out[at] = MOMENTUM_6 * out[at] + (1.0 - MOMENTUM_6) * stats_6[i];
        return;
    }
    i -= LEN_6;
#endif
}
#else

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * WORKGROUP;
    if i >= COUNT {
        return;
    }
    let c = i % C;
#if ENTRY_apply
    let scale = affine[c] * inverseSqrt(stats[C + c] + EPS);
    out[i] = finish_lanes((x[i] - stats[c]) * scale + affine[C + c], i, c);
#elif ENTRY_grad_x
    let inverse = inverseSqrt(stats[C + c] + EPS);
    let xhat = (x[i] - stats[c]) * inverse;
    let shared_part = (sums[C + c] + xhat * sums[c]) * (1.0 / f32(ROWS));
    out[i] = affine[c] * inverse * (d_out[i] - shared_part);
#elif ENTRY_grad_x_fixed
    out[i] = affine[c] * inverseSqrt(stats[C + c] + EPS) * d_out[i];
#endif
}
#endif
