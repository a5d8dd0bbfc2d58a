// forward: out = act(x).   grad_x: out = d_out * act'(x), from the activation's result.
//
// COUNT: vectors of four in `out`. An invocation computes one vector.
#include epilogue
#include flat

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
#if ENTRY_forward
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>;
#else
@group(0) @binding(1) var<storage, read> activated: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;
#endif

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = flat_index(id);
    if i >= COUNT {
        return;
    }
    let v = x[i];
    let e = 4u * i;
    out[i] = vec4(finish(v.x, e, 0u), finish(v.y, e + 1u, 0u), finish(v.z, e + 2u, 0u), finish(v.w, e + 3u, 0u));
}
