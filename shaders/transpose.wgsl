// out[b, j, i] = x[b, i, j]; x is [.., M, N]. COUNT: elements of `out`, one an invocation.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let e = id.x + id.y * groups.x * WORKGROUP;
    if e >= COUNT {
        return;
    }
    let i = e % M;
    let j = (e / M) % N;
    let b = e / (M * N);
    out[e] = x[(b * M + i) * N + j];
}
