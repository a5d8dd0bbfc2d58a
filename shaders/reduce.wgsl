// sum:    out[part, c] = FACTOR * sum of x[row, c] over the ROWS_PER_PART rows of the part
// spread: out[row, c]  = FACTOR * x[row / ROWS_PER_PART, c]
//
// x is [ROWS, WIDTH]; COUNT: elements of `out`. An invocation computes one element; neighbours read neighbours.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * WORKGROUP;
    if i >= COUNT {
        return;
    }
    let c = i % WIDTH;
#if ENTRY_sum
    let first = (i / WIDTH) * ROWS_PER_PART;
    let last = min(first + ROWS_PER_PART, ROWS);
    // Four running sums: shorter chains of additions, and less rounding.
    var sum = vec4(0.0);
    var row = first;
    for (; row + 4u <= last; row += 4u) {
        let k = row * WIDTH + c;
        sum += vec4(x[k], x[k + WIDTH], x[k + 2u * WIDTH], x[k + 3u * WIDTH]);
    }
    for (; row < last; row++) {
        sum.x += x[row * WIDTH + c];
    }
    out[i] = FACTOR * (sum.x + sum.y + sum.z + sum.w);
#else
    out[i] = FACTOR * x[(i / WIDTH) / ROWS_PER_PART * WIDTH + c];
#endif
}
