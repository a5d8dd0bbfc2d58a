// out[i] = x[i] * FACTOR where i is kept, else 0. The derivative applies the same to d_out.
//
// COUNT: vectors of four in `out`. An invocation computes one vector.
#include kept
#include flat

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> clock: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = flat_index(id);
    if i >= COUNT {
        return;
    }
    let e = 4u * i;
    let keeps = vec4(kept(e), kept(e + 1u), kept(e + 2u), kept(e + 3u));
    // Selected, not multiplied by 0: infinity times 0 is NaN.
    out[i] = select(vec4(0.0), FACTOR * x[i], keeps);
}
