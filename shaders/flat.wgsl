// Where an invocation, by its global_invocation_id, or a workgroup, by its workgroup_id, is in its kernel's flat range.
// That is laid out in rows of IN_A_ROW: of invocations where `Kernel::flat` has made the kernel, else of workgroups.
fn flat_index(at: vec3<u32>) -> u32 {
    return at.x + at.y * IN_A_ROW;
}
