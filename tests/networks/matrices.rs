//! Convolutions on matrix units, on a real adapter that has them: forward and both derivatives, compared with the
//! CPU's.

use inkgrad::check::convolutions;
use inkgrad::device::Choice;
use inkgrad::plan::tensors;

#[test]
fn convolutions_on_matrix_units_compute_what_the_cpu_does() {
    let name = "convolutions_on_matrix_units_compute_what_the_cpu_does";
    let Some(adapter) = crate::golden::adapter(name) else { return };
    if adapter.info.matrix_units.is_none() {
        eprintln!("{name}: SKIPPED, {} has no units that multiply matrices, or does not offer them", adapter.info);
        return;
    }
    let choice = Choice::Gpu(Box::new(adapter)).with_matrix_units();
    let target = choice.adapter().unwrap().target();
    let mut gpu = choice.open().unwrap();
    let mut on_units = [0; 3];
    for convolution in convolutions() {
        for dispatch in convolution.plan().unwrap().dispatches {
            let kernel = dispatch.op.gpu(&tensors(&dispatch.inputs), &tensors(&dispatch.outputs), target);
            let entry = ["forward", "grad_x", "grad_w"].iter().position(|entry| *entry == kernel.entry);
            if let (Some(entry), "conv2d_matrix") = (entry, kernel.file) {
                on_units[entry] += 1;
            }
        }
        convolution.check(gpu.as_mut()).unwrap_or_else(|fault| panic!("{fault}"));
    }
    assert!(on_units.iter().all(|n| *n > 5), "forward, grad_x and grad_w were on the units {on_units:?} times");
}
