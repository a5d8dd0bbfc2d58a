// A sum that SLICES invocations of a workgroup share, for LANES columns side by side: `id.y` is the slice. The including
// shader says what a `Sum` is.
#if SLICED
var<workgroup> partial: array<Sum, LANES * SLICES>;
#endif

// In slice 0 the sum over all slices of the column, always added in the same order.
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
