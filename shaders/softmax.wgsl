// forward: out[row, c] = exp(x[row, c]) / sum of exp(x[row, ..])
// grad_x:  out[row, c] = y[row, c] * (d_out[row, c] - sum of y * d_out over the row), y the softmax
//
// COUNT rows of WIDTH. An invocation computes one row, four elements a round, as some drivers end long loops.
#include flat

@group(0) @binding(0) var<storage, read> x: array<f32>;
#if ENTRY_forward
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
#else
@group(0) @binding(1) var<storage, read> d_out: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
#endif

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = flat_index(id);
    if row >= COUNT {
        return;
    }
    let first = row * WIDTH;
    let last = first + WIDTH;
#if ENTRY_forward
    // The largest is subtracted, so that no exponential overflows.
    var largest = x[first];
    for (var i = first; i < last; i += 4u) {
#unroll j 4
        largest = max(largest, x[min(i + $ju, last - 1u)]);
#endunroll
    }
    var sum = 0.0;
    for (var i = first; i < last; i += 4u) {
#unroll j 4
        if i + $ju < last {
            let e = exp(x[i + $ju] - largest);
            out[i + $ju] = e;
            sum += e;
        }
#endunroll
    }
    for (var i = first; i < last; i += 4u) {
#unroll j 4
        if i + $ju < last {
            out[i + $ju] = out[i + $ju] / sum;
        }
#endunroll
    }
#else
    var sum = 0.0;
    for (var i = first; i < last; i += 4u) {
#unroll j 4
        if i + $ju < last {
            sum += x[i + $ju] * d_out[i + $ju];
        }
#endunroll
    }
    for (var i = first; i < last; i += 4u) {
#unroll j 4
        if i + $ju < last {
            out[i + $ju] = x[i + $ju] * (d_out[i + $ju] - sum);
        }
#endunroll
    }
#endif
}
