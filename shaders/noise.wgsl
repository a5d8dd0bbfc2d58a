// Standard normal numbers by the Box-Muller method: from a pair's two draws u and v,
// out[2 i] = sqrt(-2 log(1 - u)) * cos(2 pi (v - 1/2)) and out[2 i + 1] the same with sin.
//
// LEN: elements of `out`. An invocation computes one pair.
#include random
#include flat

@group(0) @binding(0) var<storage, read> clock: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = 2u * flat_index(id);
    if i >= LEN {
        return;
    }
    let key = random_key(clock[0], clock[1], STREAM);
    // 1 - u is in (0, 1], so its logarithm is finite, but near 1 it may come out a little above 0; the angle is within
    // the range where cos is accurate.
    let radius = sqrt(max(0.0, -2.0 * log(1.0 - random_unit(random_draw(key, i)))));
    let angle = 6.2831855 * (random_unit(random_draw(key, i + 1u)) - 0.5);
    out[i] = radius * cos(angle);
    if i + 1u < LEN {
        out[i + 1u] = radius * sin(angle);
    }
}
