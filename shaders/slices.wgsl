// A sum shared by SLICES invocations of a workgroup, for each of LANES adjacent columns: `id.y` is the slice. The
// including shader defines `Sum`.
#if SLICED
var<workgroup> partial: array<Sum, LANES * SLICES>;
#endif

// In slice 0, returns the sum over all slices of the column, always added in the same order.
fn of_all_slices(id: vec3<u32>, sum: Sum) -> Sum {
#if SLICED
    let at = id.y * LANES + id.x;
    partial[at] = sum;
    workgroupBarrier();
    for (var half = SLICES / 2u; half > 0u; half /= 2u) {
        if id.y < half {
            partial[at] += partial[at + half * LANES];
        }
        workgroupBarrier();
    }
    return partial[at];
#else
    return sum;
#endif
}
