// One step of an optimizer; src/ops/optimizer.rs has the formulas.
//
// row: this step's learning rate and three corrections, from the host's table. COUNT: vectors of four weights; an
// invocation updates one and, where AVERAGES, its average. FACTOR undoes the scaling of the loss. `mask` has 1 for each
// block of 64 weights that decays.
#include flat

@group(0) @binding(0) var<storage, read> grads: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> table: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> clock: array<u32>;
#if HAS_DECAY
@group(0) @binding(3) var<storage, read> mask: array<f32>;
#endif
@group(0) @binding(3 + u32(HAS_DECAY)) var<storage, read_write> weights: array<vec4<f32>>;
#if HAS_M
@group(0) @binding(4 + u32(HAS_DECAY)) var<storage, read_write> m: array<vec4<f32>>;
#endif
#if HAS_V
@group(0) @binding(5 + u32(HAS_DECAY)) var<storage, read_write> v: array<vec4<f32>>;
#endif
#if AVERAGES
@group(0) @binding(4 + u32(HAS_DECAY) + u32(HAS_M) + u32(HAS_V)) var<storage, read_write> averaged: array<vec4<f32>>;
#endif

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = flat_index(id);
    if i >= COUNT {
        return;
    }
    let row = table[min(clock[0], STEPS - 1u)];
    let rate = row.x;
    let g = FACTOR * grads[i];
    var w = weights[i];
#if HAS_DECAY
    w *= 1.0 - rate * DECAY * mask[i / 16u];
#endif
#if ENTRY_sgd
#if MOMENTS == 0
    w -= rate * g;
#else
    let mi = A * m[i] + g;
    m[i] = mi;
#if NESTEROV
    w -= rate * (g + A * mi);
#else
    w -= rate * mi;
#endif
#endif
#elif ENTRY_rmsprop
    let mi = A * m[i] + (1.0 - A) * g * g;
    m[i] = mi;
    w -= rate * g / (sqrt(mi) + EPS);
#elif ENTRY_adagrad
    let mi = m[i] + g * g;
    m[i] = mi;
    w -= rate * g / (sqrt(mi) + EPS);
#elif ENTRY_adadelta
    let mi = A * m[i] + (1.0 - A) * g * g;
    let change = g * sqrt(v[i] + EPS) / sqrt(mi + EPS);
    m[i] = mi;
    v[i] = A * v[i] + (1.0 - A) * change * change;
    w -= rate * change;
#else
    let mi = A * m[i] + (1.0 - A) * g;
    let vi = B * v[i] + (1.0 - B) * g * g;
    m[i] = mi;
    v[i] = vi;
#if ENTRY_nadam
    let direction = row.y * g + row.w * mi;
#else
    let direction = row.y * mi;
#endif
    w -= rate * direction / (sqrt(row.z * vi) + EPS);
#endif
    weights[i] = w;
#if AVERAGES
    let step = f32(clock[0]);
    let d = min(AVERAGE, (1.0 + step) / (10.0 + step));
    averaged[i] = d * averaged[i] + (1.0 - d) * w;
#endif
}
