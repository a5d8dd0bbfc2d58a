// forward: out[row, ..] = x0[row, ..] then x1[row, ..] and so on
// slice:   out[row, c] = finish(x0[row, START + c])
// pad:     out[row, c] = x0[row, c - START] where there is such an element, else 0
//
// Rows of `out` are WIDTH wide; WIDTH_k those of input k. COUNT: elements of `out`, one an invocation.

@group(0) @binding(0) var<storage, read> x0: array<f32>;
#if ENTRY_slice
#include epilogue
#if HAS_ACT_GRAD
@group(0) @binding(1) var<storage, read> activated: array<f32>;
#endif
@group(0) @binding(1 + u32(HAS_ACT_GRAD)) var<storage, read_write> out: array<f32>;
#elif INPUTS == 1
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
#elif INPUTS == 2
@group(0) @binding(1) var<storage, read> x1: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
#elif INPUTS == 3
@group(0) @binding(1) var<storage, read> x1: array<f32>;
@group(0) @binding(2) var<storage, read> x2: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
#elif INPUTS == 4
@group(0) @binding(1) var<storage, read> x1: array<f32>;
@group(0) @binding(2) var<storage, read> x2: array<f32>;
@group(0) @binding(3) var<storage, read> x3: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
#elif INPUTS == 5
@group(0) @binding(1) var<storage, read> x1: array<f32>;
@group(0) @binding(2) var<storage, read> x2: array<f32>;
@group(0) @binding(3) var<storage, read> x3: array<f32>;
@group(0) @binding(4) var<storage, read> x4: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;
#else
@group(0) @binding(1) var<storage, read> x1: array<f32>;
@group(0) @binding(2) var<storage, read> x2: array<f32>;
@group(0) @binding(3) var<storage, read> x3: array<f32>;
@group(0) @binding(4) var<storage, read> x4: array<f32>;
@group(0) @binding(5) var<storage, read> x5: array<f32>;
@group(0) @binding(6) var<storage, read_write> out: array<f32>;
#endif

#if ENTRY_forward
fn element(row: u32, column: u32) -> f32 {
    var c = column;
    if c < WIDTH_0 {
        return x0[row * WIDTH_0 + c];
    }
    c -= WIDTH_0;
#if HAS_2
    if c < WIDTH_1 {
        return x1[row * WIDTH_1 + c];
    }
    c -= WIDTH_1;
#endif
#if HAS_3
    if c < WIDTH_2 {
        return x2[row * WIDTH_2 + c];
    }
    c -= WIDTH_2;
#endif
#if HAS_4
    if c < WIDTH_3 {
        return x3[row * WIDTH_3 + c];
    }
    c -= WIDTH_3;
#endif
#if HAS_5
    if c < WIDTH_4 {
        return x4[row * WIDTH_4 + c];
    }
    c -= WIDTH_4;
#endif
#if HAS_6
    if c < WIDTH_5 {
        return x5[row * WIDTH_5 + c];
    }
#endif
    return 0.0;
}
#endif

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * WORKGROUP;
    if i >= COUNT {
        return;
    }
    let row = i / WIDTH;
    let c = i % WIDTH;
#if ENTRY_forward
    out[i] = element(row, c);
#elif ENTRY_slice
    out[i] = finish(x0[row * WIDTH_0 + START + c], i, c);
#else
    let k = c - START;
    if c >= START && k < WIDTH_0 {
        out[i] = x0[row * WIDTH_0 + k];
    } else {
        out[i] = 0.0;
    }
#endif
}
