// out[i] = f(a[i], b[i]), four elements per invocation.
//
// COUNT: vectors of four in `out`. Buffers end on whole cache lines, so the last vector may reach past the
// tensor but never past the buffer. An invocation computes one vector.
#include flat

#if ENTRY_fill
@group(0) @binding(0) var<storage, read_write> out: array<vec4<f32>>;
#else
@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
#if ENTRY_add
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;
#elif ENTRY_mul
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;
#elif ENTRY_add_bias
@group(0) @binding(1) var<storage, read> bias: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;
#else
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>;
#endif
#endif

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = flat_index(id);
    if i >= COUNT {
        return;
    }
#if ENTRY_add
    out[i] = a[i] + b[i];
#elif ENTRY_mul
    out[i] = a[i] * b[i];
#elif ENTRY_scale
    out[i] = FACTOR * a[i] + OFFSET;
#elif ENTRY_add_bias
    let c = vec4(4u * i, 4u * i + 1u, 4u * i + 2u, 4u * i + 3u) % CHANNELS;
    out[i] = a[i] + vec4(bias[c.x], bias[c.y], bias[c.z], bias[c.w]);
#elif ENTRY_fill
    out[i] = vec4(FACTOR);
#elif ENTRY_copy
    out[i] = a[i];
#endif
}
