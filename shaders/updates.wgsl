// tick:       clock[0] += BY
// record:     out[step % SLOTS] = (loss, correct)
// store_rows: out[step * BATCH + i] = x[i], where that row is below ROWS; rows are WIDTH wide
//
// An invocation computes one element of `out`, or does everything where there is only one. COUNT: invocations.
#include flat

#if ENTRY_tick
@group(0) @binding(0) var<storage, read_write> clock: array<u32>;
#elif ENTRY_record
@group(0) @binding(0) var<storage, read> clock: array<u32>;
@group(0) @binding(1) var<storage, read> loss: array<f32>;
@group(0) @binding(2) var<storage, read> correct: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
#else
@group(0) @binding(0) var<storage, read> clock: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
#endif

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = flat_index(id);
    if i >= COUNT {
        return;
    }
#if ENTRY_tick
    clock[0] += BY;
#elif ENTRY_record
    let slot = clock[0] % SLOTS;
    out[2u * slot] = loss[0];
    out[2u * slot + 1u] = correct[0];
#else
    let row = clock[0] * BATCH + i / WIDTH;
    if row < ROWS {
        out[row * WIDTH + i % WIDTH] = x[i];
    }
#endif
}
