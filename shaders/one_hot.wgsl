// out[n, c] = 1 where labels[n] == c, else 0
//
// COUNT: elements of `out`. An invocation computes one element.
#include flat

@group(0) @binding(0) var<storage, read> labels: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = flat_index(id);
    if i >= COUNT {
        return;
    }
    out[i] = select(0.0, 1.0, labels[i / CLASSES] == i % CLASSES);
}
