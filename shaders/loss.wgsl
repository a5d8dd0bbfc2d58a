// Losses and a count over rows, each a single number from one workgroup, and the losses' derivatives. LOSS:
//
// 0: mean over rows of log(sum of exp(x)) - (1 - SMOOTHING) * x[label] - SMOOTHING * mean of x
// 1: the number of rows whose first largest element is at their label
// 2: mean of (x - target)^2
// 3: mean of max(0, 1 - (2 * target - 1) * x)
// 4: mean of max(x, 0) - x * target + log(1 + exp(-|x|)), x being logits
//
// forward: out[0] = that
// grad:    out = d_out times its derivative with respect to x; D_OUT instead where d_out is known
// record:  out[step % SLOTS] = two numbers: 0 and 1 where rows have labels; else, where HALVES, the loss of each half
//          of the rows, or else the loss of all rows and the mean of x. TICKS: then the clock advances one step
//
// x is [ROWS, WIDTH] (WIDTH is 1 for losses without labels). A label that is no class adds nothing to the loss or the
// count. Forward: invocation i takes the rows i, i + WORKGROUP, .. and the invocations' sums are added as a tree,
// always in the same order. Derivatives: an invocation computes one row. Loops over a row take four elements a round,
// as some drivers end long loops.
#include flat

@group(0) @binding(0) var<storage, read> x: array<f32>;
#if OF_LABELS
@group(0) @binding(1) var<storage, read> labels: array<u32>;
#else
@group(0) @binding(1) var<storage, read> targets: array<f32>;
#endif

#if OF_LABELS
// The largest element of a row, the logarithm of the sum of exp(element - largest), and the sum of element - largest:
// the largest is subtracted throughout, so that no precision is lost where logits are large.
fn log_sum_exp(first: u32) -> vec3<f32> {
    var largest = x[first];
    for (var c = 0u; c < WIDTH; c += 4u) {
#unroll j 4
        largest = max(largest, x[first + min(c + $ju, WIDTH - 1u)]);
#endunroll
    }
    var sum = 0.0;
    var rest = 0.0;
    for (var c = 0u; c < WIDTH; c += 4u) {
#unroll j 4
        if c + $ju < WIDTH {
            let below = x[first + c + $ju] - largest;
            sum += exp(below);
            rest += below;
        }
#endunroll
    }
    return vec3(largest, log(sum), rest);
}
#endif

#if IS_GRAD
#if HAS_D_OUT
@group(0) @binding(2) var<storage, read> d_out: array<f32>;
#endif
@group(0) @binding(2 + u32(HAS_D_OUT)) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = flat_index(id);
    if row >= ROWS {
        return;
    }
#if HAS_D_OUT
    let d = d_out[0] * (1.0 / f32(ROWS));
#else
    let d = D_OUT * (1.0 / f32(ROWS));
#endif
#if LOSS == 0
    let first = row * WIDTH;
    let label = labels[row];
    let norm = log_sum_exp(first);
    for (var c = 0u; c < WIDTH; c += 4u) {
#unroll j 4
        if c + $ju < WIDTH {
            let wanted = select(0.0, 1.0 - SMOOTHING, c + $ju == label) + SMOOTHING / f32(WIDTH);
            let slope = exp(x[first + c + $ju] - norm.x - norm.y) - wanted;
            out[first + c + $ju] = select(0.0, d * slope, label < WIDTH);
        }
#endunroll
    }
#elif LOSS == 2
    out[row] = 2.0 * d * (x[row] - targets[row]);
#elif LOSS == 3
    let side = 2.0 * targets[row] - 1.0;
    out[row] = select(0.0, -side * d, side * x[row] < 1.0);
#else
    // Of the two forms of the sigmoid, the one whose exponential cannot overflow.
    let e = exp(-abs(x[row]));
    out[row] = d * (select(1.0, e, x[row] < 0.0) / (1.0 + e) - targets[row]);
#endif
}

#else
#if ENTRY_record
#if TICKS
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<storage, read_write> clock: array<u32>;
#else
@group(0) @binding(2) var<storage, read> clock: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
#endif
alias Told = vec2<f32>;
#else
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
alias Told = f32;
#endif
var<workgroup> partial: array<Told, WORKGROUP>;

#if OF_LABELS
fn cross_entropy(row: u32) -> f32 {
    let first = row * WIDTH;
    let label = labels[row];
    let norm = log_sum_exp(first);
    let wanted = x[first + min(label, WIDTH - 1u)] - norm.x;
    return select(0.0, norm.y - (1.0 - SMOOTHING) * wanted - SMOOTHING / f32(WIDTH) * norm.z, label < WIDTH);
}

fn correct(row: u32) -> f32 {
    let first = row * WIDTH;
    var best = 0.0;
    var at = 0xffffffffu;
    for (var c = 0u; c < WIDTH; c += 4u) {
#unroll j 4
        // Past the end the last element comes again, and changes nothing.
        let v$j = x[first + min(c + $ju, WIDTH - 1u)];
        // Looks at the bits, as compilers take comparisons with NaN either way: one may turn `!(v > best)` into `v <= best`.
        let is_number$j = (bitcast<u32>(v$j) & 0x7fffffffu) <= 0x7f800000u;
        if is_number$j && (at == 0xffffffffu || v$j > best) {
            best = v$j;
            at = c + $ju;
        }
#endunroll
    }
    return select(0.0, 1.0, at == labels[row] && at < WIDTH);
}
#else
fn of_pair(row: u32) -> f32 {
#if LOSS == 2
    let d = x[row] - targets[row];
    return d * d;
#elif LOSS == 3
    let short = 1.0 - (2.0 * targets[row] - 1.0) * x[row];
    return select(short, 0.0, short < 0.0);
#else
    let v = x[row];
    return max(v, 0.0) - v * targets[row] + log(1.0 + exp(-abs(v)));
#endif
}
#endif

fn of_row(row: u32) -> Told {
#if ENTRY_record
#if OF_LABELS
    return vec2(cross_entropy(row), correct(row));
#elif HALVES
    let loss = of_pair(row);
    return select(vec2(0.0, loss), vec2(loss, 0.0), row < ROWS / 2u);
#else
    return vec2(of_pair(row), x[row]);
#endif
#elif LOSS == 0
    return cross_entropy(row);
#elif LOSS == 1
    return correct(row);
#else
    return of_pair(row);
#endif
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(local_invocation_index) local: u32) {
    var v = Told(0.0);
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
#if ENTRY_record
        let told = partial[0] * vec2(FACTOR, SECOND_FACTOR);
        let slot = 2u * (clock[0] % SLOTS);
        out[slot] = told.x;
        out[slot + 1u] = told.y;
#if TICKS
        clock[0] += 1u;
#endif
#else
        out[0] = partial[0] * FACTOR;
#endif
    }
}
#endif
