// out[i] = x[i] * FACTOR where the draw for i is at least RATE, else 0. The derivative is the same of d_out.
//
// SEVERAL_STREAMS: each OF_STREAM elements are counted from 0 and draw from a stream of their own, from STREAM on.
//
// COUNT: vectors of four in `out`. An invocation computes one vector.
#include random

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> clock: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

fn draw(i: u32) -> f32 {
#if SEVERAL_STREAMS
    return random_of_streams(clock[0], clock[1], STREAM, OF_STREAM, i);
#else
    return random_unit(random_draw(random_key(clock[0], clock[1], STREAM), i));
#endif
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * WORKGROUP;
    if i >= COUNT {
        return;
    }
    let e = 4u * i;
    let draws = vec4(draw(e), draw(e + 1u), draw(e + 2u), draw(e + 3u));
    // Selected and not multiplied by 0: infinity times 0 is NaN.
    out[i] = select(vec4(0.0), FACTOR * x[i], draws >= vec4(RATE));
}
