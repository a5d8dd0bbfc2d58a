// sum:    out[part, c] = FACTOR * sum of x[row, c] over the ROWS_PER_PART rows of the part
// sums:   out[OFFSET + c] = FACTOR * sum of x[row, c] over all rows, for PARTS x; each has GROUPS workgroups from FIRST
// spread: out[row, c]  = FACTOR * x[row / ROWS_PER_PART, c]
//
// x is [ROWS, WIDTH]. In a sum, each of SLICES invocations takes every SLICES-th row of a part, for one of LANES
// adjacent columns, and COLUMN_GROUPS workgroups cover all columns; the slices are added up through workgroup memory,
// always in the same order. In a spread, an invocation computes one of COUNT elements.
#include flat

#if ENTRY_sums
#unroll k PARTS
@group(0) @binding($k) var<storage, read> x_$k: array<f32>;
#endunroll
@group(0) @binding($(PARTS)) var<storage, read_write> out: array<f32>;
alias Sum = f32;
#include slices

@compute @workgroup_size(LANES, SLICES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
    let flat = flat_index(group);
    var sum = 0.0;
    var at = 0xffffffffu;
#unroll k PARTS
    // Below FIRST the difference wraps round to a large number.
    let g$k = flat - FIRST_$k;
    if g$k < GROUPS_$k {
        let column = g$k * LANES + id.x;
        let c = min(column, WIDTH_$k - 1u);
        // Four running sums: shorter chains of additions, and less rounding error.
        var four = vec4(0.0);
        var row = id.y;
        for (; row + 3u * SLICES < ROWS_$k; row += 4u * SLICES) {
            let e = row * WIDTH_$k + c;
            let next = SLICES * WIDTH_$k;
            four += vec4(x_$k[e], x_$k[e + next], x_$k[e + 2u * next], x_$k[e + 3u * next]);
        }
        for (; row < ROWS_$k; row += SLICES) {
            four.x += x_$k[row * WIDTH_$k + c];
        }
        sum = FACTOR_$k * (four.x + four.y + four.z + four.w);
        if column < WIDTH_$k {
            at = OFFSET_$k + column;
        }
    }
#endunroll
    let all = of_all_slices(id, sum);
    if id.y == 0u && at != 0xffffffffu {
        out[at] = all;
    }
}
#else
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
#endif

#if ENTRY_sum
alias Sum = f32;
#include slices

@compute @workgroup_size(LANES, SLICES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
    let flat = flat_index(group);
    let part = flat / COLUMN_GROUPS;
    let column = (flat % COLUMN_GROUPS) * LANES + id.x;
    let c = min(column, WIDTH - 1u);
    let first = min(part * ROWS_PER_PART, ROWS);
    let last = min(first + ROWS_PER_PART, ROWS);
    // Four running sums: shorter chains of additions, and less rounding error.
    var four = vec4(0.0);
    var row = first + id.y;
    for (; row + 3u * SLICES < last; row += 4u * SLICES) {
        let k = row * WIDTH + c;
        four += vec4(x[k], x[k + SLICES * WIDTH], x[k + 2u * SLICES * WIDTH], x[k + 3u * SLICES * WIDTH]);
    }
    for (; row < last; row += SLICES) {
        four.x += x[row * WIDTH + c];
    }
    let sum = of_all_slices(id, four.x + four.y + four.z + four.w);
    if id.y == 0u && column < WIDTH && part < PARTS {
        out[part * WIDTH + column] = FACTOR * sum;
    }
}
#elif ENTRY_spread

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = flat_index(id);
    if i < COUNT {
        out[i] = FACTOR * x[(i / WIDTH) / ROWS_PER_PART * WIDTH + i % WIDTH];
    }
}
#endif
