// Losses and a count over rows, each one number from one workgroup, and the losses' derivatives.
//
// cross_entropy: mean over rows of log(sum of exp(x)) - (1 - SMOOTHING) * x[label] - SMOOTHING * mean of x
// correct:       the number of rows whose first largest element is at their label
// mse:           mean of (x - target)^2
// hinge:         mean of max(0, 1 - (2 * target - 1) * x)
// binary_cross_entropy: mean of max(x, 0) - x * target + log(1 + exp(-|x|)), x being logits
// grad_*:        d_out times the derivative by x
//
// x is [ROWS, WIDTH] (WIDTH is 1 for those without labels). A label that is no class adds nothing to the loss or the
// count. Forward: invocation i takes the rows i, i + WORKGROUP, .. and their sums are added as a tree, always in
// the same order. Derivatives: an invocation computes one row.

@group(0) @binding(0) var<storage, read> x: array<f32>;
#if OF_LABELS
@group(0) @binding(1) var<storage, read> labels: array<u32>;
#else
@group(0) @binding(1) var<storage, read> targets: array<f32>;
#endif

#if OF_LABELS
// The largest of a row, and the logarithm of its exponentials' sum less that.
fn log_sum_exp(first: u32) -> vec2<f32> {
    var largest = x[first];
    for (var c = 1u; c < WIDTH; c++) {
        largest = max(largest, x[first + c]);
    }
    var sum = 0.0;
    for (var c = 0u; c < WIDTH; c++) {
        sum += exp(x[first + c] - largest);
    }
    return vec2(largest, log(sum));
}
#endif

#if IS_GRAD
@group(0) @binding(2) var<storage, read> d_out: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let row = id.x + id.y * groups.x * WORKGROUP;
    if row >= ROWS {
        return;
    }
    let d = d_out[0] * (1.0 / f32(ROWS));
#if ENTRY_grad_cross_entropy
    let first = row * WIDTH;
    let label = labels[row];
    let norm = log_sum_exp(first);
    for (var c = 0u; c < WIDTH; c++) {
        let wanted = select(0.0, 1.0 - SMOOTHING, c == label) + SMOOTHING / f32(WIDTH);
        let slope = exp(x[first + c] - norm.x - norm.y) - wanted;
        out[first + c] = select(0.0, d * slope, label < WIDTH);
    }
#elif ENTRY_grad_mse
    out[row] = 2.0 * d * (x[row] - targets[row]);
#elif ENTRY_grad_hinge
    let side = 2.0 * targets[row] - 1.0;
    out[row] = select(0.0, -side * d, side * x[row] < 1.0);
#else
    // Of two forms the one whose exponential cannot overflow.
    let e = exp(-abs(x[row]));
    out[row] = d * (select(1.0, e, x[row] < 0.0) / (1.0 + e) - targets[row]);
#endif
}

#else
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
var<workgroup> partial: array<f32, WORKGROUP>;

fn of_row(row: u32) -> f32 {
#if ENTRY_cross_entropy
    let first = row * WIDTH;
    let label = labels[row];
    let norm = log_sum_exp(first);
    // Less the largest throughout, so that nothing is lost where logits are large.
    var sum = 0.0;
    for (var c = 0u; c < WIDTH; c++) {
        sum += x[first + c] - norm.x;
    }
    let wanted = x[first + min(label, WIDTH - 1u)] - norm.x;
    return select(0.0, norm.y - (1.0 - SMOOTHING) * wanted - SMOOTHING / f32(WIDTH) * sum, label < WIDTH);
#elif ENTRY_correct
    let first = row * WIDTH;
    var best = 0.0;
    var at = 0xffffffffu;
    for (var c = 0u; c < WIDTH; c++) {
        let v = x[first + c];
        if v > best || (at == 0xffffffffu && v == v) {
            best = v;
            at = c;
        }
    }
    return select(0.0, 1.0, at == labels[row] && at < WIDTH);
#elif ENTRY_mse
    let d = x[row] - targets[row];
    return d * d;
#elif ENTRY_hinge
    let short = 1.0 - (2.0 * targets[row] - 1.0) * x[row];
    return select(short, 0.0, short < 0.0);
#else
    let v = x[row];
    return max(v, 0.0) - v * targets[row] + log(1.0 + exp(-abs(v)));
#endif
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(local_invocation_index) local: u32) {
    var v = 0.0;
    for (var row = local; row < ROWS; row += WORKGROUP) {
        v += of_row(row);
    }
    partial[local] = v;
    workgroupBarrier();
    for (var step = WORKGROUP / 2u; step > 0u; step /= 2u) {
        if local < step {
            partial[local] += partial[local + step];
        }
        workgroupBarrier();
    }
    if local == 0u {
        out[0] = partial[0] * FACTOR;
    }
}
#endif
