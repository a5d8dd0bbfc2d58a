// averaged = d * averaged + (1 - d) * weights, d = min(DECAY, (1 + step) / (10 + step))
//
// COUNT: vectors of four. An invocation computes one vector.

@group(0) @binding(0) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> clock: array<u32>;
@group(0) @binding(2) var<storage, read_write> averaged: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * WORKGROUP;
    if i >= COUNT {
        return;
    }
    let step = f32(clock[0]);
    let d = min(DECAY, (1.0 + step) / (10.0 + step));
    averaged[i] = d * averaged[i] + (1.0 - d) * weights[i];
}
