// The index of an invocation, by its global_invocation_id, or a workgroup, by its workgroup_id, in the kernel's flat
// range. That is laid out in rows of IN_A_ROW invocations where `Kernel::flat` made the kernel, else of workgroups.
fn flat_index(at: vec3<u32>) -> u32 {
    return at.x + at.y * IN_A_ROW;
}
