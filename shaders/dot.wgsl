// row_dot:   out[n] = sum over k of a[n, k] * b[n, k]
// row_scale: out[n, k] = a[n] * b[n, k]
//
// Rows are WIDTH long. COUNT: elements of `out`. An invocation computes one element.
#include flat

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = flat_index(id);
    if i >= COUNT {
        return;
    }
#if ENTRY_row_dot
    var sum = 0.0;
    for (var k = i * WIDTH; k < (i + 1u) * WIDTH; k++) {
        sum += a[k] * b[k];
    }
    out[i] = sum;
#else
    out[i] = a[i / WIDTH] * b[i];
#endif
}
