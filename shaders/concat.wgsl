// forward: out[row, ..] = x0[row, ..], then x1[row, ..] and so on
// slice:   out[row, c] = finish(x0[row, START + c])
// pad:     out[row, c] = x0[row, c - START] where there is such an element, else 0
//
// Rows of `out` are WIDTH wide, those of input k (of INPUTS) WIDTH_k. COUNT: elements of `out`, one per invocation.
#include flat

#unroll k INPUTS
@group(0) @binding($k) var<storage, read> x$k: array<f32>;
#endunroll
#if ENTRY_slice
#include epilogue
#if HAS_ACT_GRAD
@group(0) @binding(1) var<storage, read> activated: array<f32>;
#endif
@group(0) @binding(1 + u32(HAS_ACT_GRAD)) var<storage, read_write> out: array<f32>;
#else
@group(0) @binding($(INPUTS)) var<storage, read_write> out: array<f32>;
#endif

#if ENTRY_forward
fn element(row: u32, column: u32) -> f32 {
    var c = column;
#unroll k INPUTS
    if c < WIDTH_$k {
        return x$k[row * WIDTH_$k + c];
    }
    c -= WIDTH_$k;
#endunroll
    return 0.0;
}
#endif

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = flat_index(id);
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
