// forward: out[b, j, i] = x[b, i, j]; x is [.., M, N]
// several: the same for PARTS parts of x: LEN elements that begin at FROM, with results that begin at TO; zeros between
//
// COUNT: elements of `out`, one per invocation.
#include flat

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let e = flat_index(id);
    if e >= COUNT {
        return;
    }
#if ENTRY_forward
    let i = e % M;
    let j = (e / M) % N;
    let b = e / (M * N);
    out[e] = x[(b * M + i) * N + j];
#else
#unroll k PARTS
    // Below TO the difference wraps round to a large number.
    let e$k = e - TO_$k;
    if e$k < LEN_$k {
        let i = e$k % M_$k;
        let j = (e$k / M_$k) % N_$k;
        let b = e$k / (M_$k * N_$k);
        out[e] = x[FROM_$k + (b * M_$k + i) * N_$k + j];
        return;
    }
#endunroll
    out[e] = 0.0;
#endif
}
