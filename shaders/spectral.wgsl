// iterate:     v = w u / |w u|, u = w^T v / |w^T v|; `out` is v [M] and then u [K]
// sigma:       out[0] = v^T w u
// grad_divide: out[0] = -sum of w * b
// outer:       out[i, j] = w[0] * v[i] * u[j]
// divide:      out[i] = w[i] / b[0]
//
// w is [M, K]; b is the vectors v and then u in the kernels that use them. The first three run as one workgroup, whose
// invocations take rows, columns or elements in turn; sums take four numbers a round, as some drivers end long loops,
// and are added as a tree, always in the same order. In the others an invocation computes one element.
#include flat

@group(0) @binding(0) var<storage, read> w: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

#if ENTRY_outer
#elif ENTRY_divide
#else
var<workgroup> partial: array<f32, WORKGROUP>;

// The sum of one number from each invocation, returned to all of them.
fn total(local: u32, mine: f32) -> f32 {
    partial[local] = mine;
    workgroupBarrier();
    for (var step = WORKGROUP / 2u; step > 0u; step /= 2u) {
        if local < step {
            partial[local] += partial[local + step];
        }
        workgroupBarrier();
    }
    return partial[0];
}
#endif

@compute @workgroup_size(WORKGROUP)
#if ENTRY_iterate
fn main(@builtin(local_invocation_index) local: u32) {
    var squares = 0.0;
    for (var i = local; i < M; i += WORKGROUP) {
        var sum = 0.0;
        for (var j = 0u; j < K; j += 4u) {
#unroll n 4
            if j + $nu < K {
                sum += w[i * K + j + $nu] * b[M + j + $nu];
            }
#endunroll
        }
        out[i] = sum;
        squares += sum * sum;
    }
    let v_norm = max(sqrt(total(local, squares)), TINY);
    for (var i = local; i < M; i += WORKGROUP) {
        out[i] = out[i] / v_norm;
    }
    storageBarrier();
    // Past this, `partial` has been read.
    workgroupBarrier();
    squares = 0.0;
    for (var j = local; j < K; j += WORKGROUP) {
        var sum = 0.0;
        for (var i = 0u; i < M; i += 4u) {
#unroll n 4
            if i + $nu < M {
                sum += w[(i + $nu) * K + j] * out[i + $nu];
            }
#endunroll
        }
        out[M + j] = sum;
        squares += sum * sum;
    }
    let u_norm = max(sqrt(total(local, squares)), TINY);
    for (var j = local; j < K; j += WORKGROUP) {
        out[M + j] = out[M + j] / u_norm;
    }
}
#elif ENTRY_sigma
fn main(@builtin(local_invocation_index) local: u32) {
    var mine = 0.0;
    for (var first = local; first < M * K; first += 4u * WORKGROUP) {
#unroll n 4
        let i$n = first + $nu * WORKGROUP;
        if i$n < M * K {
            mine += w[i$n] * b[i$n / K] * b[M + i$n % K];
        }
#endunroll
    }
    let sum = total(local, mine);
    if local == 0u {
        out[0] = sum;
    }
}
#elif ENTRY_grad_divide
fn main(@builtin(local_invocation_index) local: u32) {
    var mine = 0.0;
    for (var first = local; first < M * K; first += 4u * WORKGROUP) {
#unroll n 4
        let i$n = first + $nu * WORKGROUP;
        if i$n < M * K {
            mine += w[i$n] * b[i$n];
        }
#endunroll
    }
    let sum = total(local, mine);
    if local == 0u {
        out[0] = -sum;
    }
}
#else
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = flat_index(id);
    if i >= COUNT {
        return;
    }
#if ENTRY_outer
    out[i] = w[0] * b[i / K] * b[M + i % K];
#else
    out[i] = w[i] / select(b[0], TINY, b[0] == 0.0);
#endif
}
#endif
