//! Every shader, as every case of the op table and its derivatives and every step of a built-in network ask for it, is
//! valid WGSL and can be translated for Vulkan, Direct3D 12, Metal and OpenGL. Needs no adapter.
//!
//! With the variable `INKGRAD_HLSL` what Direct3D 12's compilers would get is written into the folder that it names, for
//! `tests/windows/hlsl.sh`.

#[path = "common/steps.rs"]
mod steps;

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use inkgrad::check::large_cases;
use inkgrad::grad::grad;
use inkgrad::graph::{ALIGNMENT, Graph, Store, Value};
use inkgrad::models::{BUILTIN_GANS, BUILTINS, FRONT};
use inkgrad::ops::elementwise::Mul;
use inkgrad::ops::kernel::{MOST_BINDINGS, MOST_INVOCATIONS, MOST_ROUNDS};
use inkgrad::ops::optimizer::{Optimizer, Update};
use inkgrad::ops::reduce::Sum;
use inkgrad::ops::{Case, Kernel, MatrixUnits, Op, Target, cases};
use inkgrad::plan::{Dispatch, Plan, View, tensors};
use inkgrad::shaders;
use inkgrad::tensor::{Kind, Tensor};
use naga::back::{glsl, hlsl, msl, spv};
use naga::front::wgsl;
use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};

/// The plan of a case and, where it has one, of its derivative.
fn plan(case: &Case) -> Plan {
    let (mut store, mut graph) = (Store::default(), Graph::new());
    let mut stored = |tensor: Tensor| store.place("", tensor);
    let inputs: Vec<Value> = case.tensors().into_iter().map(|tensor| graph.read(&stored(tensor))).collect();
    let out = graph.apply_arc(case.op.clone(), &inputs).unwrap();
    let mut outputs = vec![out];
    if case.derivative {
        let product = graph.apply(Mul, &[out, out]).unwrap();
        let loss = graph.apply(Sum { width: 1, rows: Sum::ALL, factor: 1.0 }, &[product]).unwrap();
        let by: Vec<Value> = inputs.iter().copied().filter(|v| graph.kind(*v) == Kind::F32).collect();
        outputs.extend(grad(&mut graph, loss, &by).unwrap());
    }
    for value in outputs {
        let place = stored(graph.tensor(value).clone());
        graph.assign(value, place).unwrap();
    }
    Plan::new(&graph)
}

/// What a shader needs beside what every device has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    Halves,
    Subgroups,
}

/// Microsoft's compilers for Direct3D 12, the old one, which knows neither halves nor subgroups, and the newer one.
const MICROSOFTS: [(&str, hlsl::ShaderModel); 2] = [("fxc", hlsl::ShaderModel::V5_1), ("dxc", hlsl::ShaderModel::V6_2)];

fn check(case: &Case, dispatch: &Dispatch, seen: &mut HashSet<String>) {
    let subgroup = Target { subgroup: 8, ..Target::SOFTWARE };
    for target in [Target::DISCRETE, Target::INTEGRATED, Target::SOFTWARE, subgroup] {
        check_for(target, case, dispatch, seen);
    }
}

/// The module of a text that may use these capabilities.
fn valid(what: &str, text: &str, capabilities: Capabilities) -> (naga::Module, naga::valid::ModuleInfo) {
    let module = wgsl::parse_str(text).unwrap_or_else(|e| panic!("{what}: {}", e.emit_to_string(text)));
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    if capabilities.contains(Capabilities::SUBGROUP) {
        validator.subgroup_stages(ShaderStages::COMPUTE).subgroup_operations(SubgroupOperationSet::all());
    }
    let info = validator.validate(&module).unwrap_or_else(|e| panic!("{what}: {}", e.emit_to_string(text)));
    (module, info)
}

/// Translates a module of `owner`, a network or the op table, for every kind of driver that has what it needs.
fn translate(owner: &str, what: &str, module: &naga::Module, info: &naga::valid::ModuleInfo, needs: Needs) {
    spv::write_vec(module, info, &spv::Options::default(), None).unwrap_or_else(|e| panic!("{what}: {e}"));
    for (compiler, shader_model) in MICROSOFTS.into_iter().skip(usize::from(needs != Needs::Nothing)) {
        // As the program has wgpu translate it: `device/gpu/pipelines.rs`.
        let options = hlsl::Options {
            shader_model,
            zero_initialize_workgroup_memory: false,
            force_loop_bounding: false,
            ..Default::default()
        };
        let (mut text, pipeline) = (String::new(), hlsl::PipelineOptions::default());
        let mut writer = hlsl::Writer::new(&mut text, &options, &pipeline);
        writer.write(module, info, None).unwrap_or_else(|e| panic!("{what}, for {compiler}: {e}"));
        keep(compiler, owner, what, &text);
    }
    if needs == Needs::Subgroups {
        return;
    }
    let options = msl::Options { lang_version: (2, 4), ..Default::default() };
    msl::write_string(module, info, &options, &Default::default()).unwrap_or_else(|e| panic!("{what}, for Metal: {e}"));
    if needs == Needs::Nothing {
        let version = glsl::Version::Embedded { version: 310, is_webgl: false };
        let options = glsl::Options { version, ..Default::default() };
        let entry = glsl::PipelineOptions {
            shader_stage: naga::ShaderStage::Compute,
            entry_point: "main".into(),
            multiview: None,
        };
        let mut text = String::new();
        glsl::Writer::new(&mut text, module, info, &options, &entry, Default::default())
            .and_then(|mut writer| writer.write())
            .unwrap_or_else(|e| panic!("{what}, for OpenGL: {e}"));
    }
}

/// Writes what a compiler would get, if that is asked for.
fn keep(compiler: &str, owner: &str, what: &str, text: &str) {
    let Some(folder) = std::env::var_os("INKGRAD_HLSL") else { return };
    let folder = Path::new(&folder).join(compiler).join(owner);
    fs::create_dir_all(&folder).unwrap();
    let readable: String = what.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    // One name may have several texts, for several targets.
    let free = (0..).map(|i| folder.join(format!("{readable}-{i}.hlsl"))).find(|path| !path.exists());
    fs::write(free.unwrap(), text).unwrap();
}

fn check_for(target: Target, case: &Case, dispatch: &Dispatch, seen: &mut HashSet<String>) {
    let kernel = dispatch.op.gpu(&tensors(&dispatch.inputs), &tensors(&dispatch.outputs), target);
    let text = shaders::text(&kernel).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    let bindings = dispatch.inputs.len() + dispatch.outputs.len();
    assert!(kernel.workgroups.iter().all(|n| (1..=65_535).contains(n)), "{}: {:?}", case.name, kernel.workgroups);
    if !seen.insert(text.clone()) {
        return;
    }
    let what = format!("{} of case {}", dispatch.op.name(), case.name);
    let subgroups = target.subgroup > 0;
    let capabilities = if subgroups { Capabilities::SUBGROUP } else { Capabilities::empty() };
    let (module, info) = valid(&what, &text, capabilities);
    assert_eq!(module.entry_points.len(), 1, "{what}");
    assert_eq!(module.entry_points[0].name, "main", "{what}");

    // What is declared is what the device binds: inputs, read-only and in order, then outputs.
    let mut declared: Vec<(u32, bool)> = module
        .global_variables
        .iter()
        .filter_map(|(_, variable)| match (variable.binding, variable.space) {
            (Some(at), naga::AddressSpace::Storage { access }) => {
                Some((at.binding, access.contains(naga::StorageAccess::STORE)))
            }
            _ => None,
        })
        .collect();
    declared.sort_unstable();
    let wanted: Vec<(u32, bool)> = (0..bindings).map(|i| (i as u32, i >= dispatch.inputs.len())).collect();
    assert_eq!(declared, wanted, "{what}: bindings, and whether they are written");

    // What every adapter allows.
    let size: u32 = module.entry_points[0].workgroup_size.iter().product();
    assert!(size as usize <= MOST_INVOCATIONS, "{what}: {size} invocations in a workgroup");
    assert!(bindings <= MOST_BINDINGS, "{what}: {bindings} storage buffers");
    let shared = module.global_variables.iter().filter(|(_, v)| v.space == naga::AddressSpace::WorkGroup);
    let shared: u32 = shared.map(|(_, v)| module.types[v.ty].inner.size(module.to_ctx())).sum();
    assert!(shared <= 16_384, "{what}: {shared} bytes shared by a workgroup");
    let needs = if subgroups { Needs::Subgroups } else { Needs::Nothing };
    translate("ops", &what, &module, &info, needs);

    // The same with each of its float buffers in 16 bits, and with all of them.
    let views = dispatch.inputs.iter().chain(&dispatch.outputs).enumerate();
    let floats: Vec<usize> = views.filter(|(_, view)| view.tensor.kind == Kind::F32).map(|(i, _)| i).collect();
    for halved in floats.chunks(1).chain([&floats[..]]).filter(|halved| !halved.is_empty()) {
        let what = format!("{what}, {halved:?} in 16 bits");
        let text = shaders::halved(&kernel, &text, halved).unwrap_or_else(|e| panic!("{what}: {e}"));
        let (module, info) = valid(&what, &text, capabilities | Capabilities::SHADER_FLOAT16);
        translate("ops", &what, &module, &info, if subgroups { Needs::Subgroups } else { Needs::Halves });
    }
}

#[test]
fn every_shader_is_valid_and_declares_what_is_bound() {
    let mut seen = HashSet::new();
    for case in cases().into_iter().chain(large_cases()) {
        plan(&case).dispatches.iter().for_each(|dispatch| check(&case, dispatch, &mut seen));
    }
    assert!(!seen.is_empty());
}

#[test]
fn every_shader_of_a_built_in_networks_step_can_be_translated_for_every_driver() {
    let layouts = [("discrete", Target::DISCRETE), ("integrated", Target::INTEGRATED)];
    let networks = BUILTINS.iter().chain(BUILTIN_GANS).map(|(name, _)| *name).filter(|name| *name != FRONT);
    for (network, (layout, target)) in networks.flat_map(|network| layouts.map(|layout| (network, layout))) {
        let mut seen = HashSet::new();
        for dispatch in steps::plans(network).into_iter().flat_map(|plan| plan.dispatches) {
            let what = format!("{} {:?}", dispatch.op.name(), dispatch.outputs[0].tensor.shape);
            let kernel = dispatch.op.gpu(&tensors(&dispatch.inputs), &tensors(&dispatch.outputs), target);
            let text = shaders::text(&kernel).unwrap_or_else(|e| panic!("{what} of {network}: {e}"));
            if seen.insert(text.clone()) {
                let (module, info) = valid(&what, &text, Capabilities::empty());
                translate(&format!("{network}-{layout}"), &what, &module, &info, Needs::Nothing);
            }
        }
        assert!(!seen.is_empty(), "{network}");
    }
}

/// Loops that are short whatever the shapes are: over a chunk of an image or the control points of a displacement, and
/// until a shuffle finds a place within the set.
const SHORT: [&str; 7] = [
    "for (var e = first + local; e < last; e += WORKGROUP) {",
    "for (var pair = first / 2u + local; 2u * pair < last; pair += WORKGROUP) {",
    "for (var side = 0u; side < 2u; side++) {",
    "for (var i = local; i < POINTS * POINTS; i += WORKGROUP) {",
    "for (var j = 0u; j < 4u; j++) {",
    "loop {",
    "for (var i = 0u; i < 4u; i++) {",
];

#[test]
fn every_kernel_whose_loops_may_be_long_says_that_they_are_and_none_is_too_long_for_drivers_on_the_cpu() {
    for target in [Target::SOFTWARE, Target { subgroup: 8, ..Target::SOFTWARE }] {
        for case in cases().into_iter().chain(large_cases()) {
            for dispatch in plan(&case).dispatches {
                let kernel = dispatch.op.gpu(&tensors(&dispatch.inputs), &tensors(&dispatch.outputs), target);
                let what = format!("{} of case {}", dispatch.op.name(), case.name);
                let text = shaders::text(&kernel).unwrap_or_else(|e| panic!("{what}: {e}"));
                let is_loop = |line: &&str| ["for ", "loop ", "while "].iter().any(|word| line.starts_with(word));
                // A tree of additions is a few rounds.
                let is_long = |line: &&str| !SHORT.contains(line) && !line.contains("/= 2u)");
                let long = text.lines().map(str::trim).filter(is_loop).find(is_long);
                assert!(long.is_none() || kernel.rounds > 0, "{what}: {long:?} is not in its rounds");
                assert!(kernel.rounds <= MOST_ROUNDS, "{what}: {} rounds", kernel.rounds);
            }
        }
    }
}

#[test]
fn a_constant_that_wgsl_cannot_express_is_an_error_that_names_it() {
    for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let kernel = Kernel::flat("elementwise", "fill", 4).with("FACTOR", x);
        let error = shaders::text(&kernel).unwrap_err().to_string();
        assert!(error.contains("elementwise") && error.contains("FACTOR"), "{error}");
    }
}

#[test]
fn a_constant_stands_in_the_text_as_the_number_that_it_is() {
    for x in [1.0f32 / 3.0, -1e-12, f32::MIN_POSITIVE, f32::MAX, 7.0] {
        let text = shaders::text(&Kernel::flat("elementwise", "fill", 4).with("FACTOR", x)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("const FACTOR: f32 = ")).unwrap();
        assert_eq!(line.strip_suffix("f;").map(str::parse), Some(Ok(x)), "{line}");
    }
}

#[test]
fn every_optimizers_shader_is_valid_with_and_without_decay_and_average() {
    let (beta1, beta2, eps, rho) = (0.9, 0.999, 1e-8, 0.9);
    let sgd = |momentum, nesterov| Optimizer::Sgd { momentum, nesterov };
    for optimizer in [
        sgd(0.0, false),
        sgd(0.9, false),
        sgd(0.9, true),
        Optimizer::RmsProp { rho, eps },
        Optimizer::Adagrad { eps },
        Optimizer::Adadelta { rho, eps },
        Optimizer::Adam { beta1, beta2, eps },
        Optimizer::Nadam { beta1, beta2, eps, momentum_decay: 0.004 },
        Optimizer::AdamW { beta1, beta2, eps },
    ] {
        for (decay, average) in [(0.0, 0.0), (0.0, 0.99), (0.1, 0.0), (0.1, 0.99)] {
            let update = Update { optimizer, decay, factor: 1.0, average };
            let mut inputs = vec![Tensor::f32([131]), Tensor::f32([3, 4]), Tensor::u32([2])];
            inputs.extend((decay > 0.0).then(|| Tensor::f32([131usize.div_ceil(ALIGNMENT)])));
            let targets = update.targets(&inputs).unwrap();
            let what = format!("{update:?}");
            let text = shaders::text(&update.gpu(&inputs, &targets, Target::DISCRETE)).unwrap();
            let (module, info) = valid(&what, &text, Capabilities::empty());
            let bound = module.global_variables.iter().filter(|(_, variable)| variable.binding.is_some());
            assert_eq!(bound.count(), inputs.len() + targets.len(), "{what}");
            translate("ops", &what, &module, &info, Needs::Nothing);
        }
    }
}

#[test]
fn every_convolution_on_matrix_units_is_valid_and_keeps_within_a_workgroups_memory() {
    let memory = 32 << 10;
    let capabilities = Capabilities::COOPERATIVE_MATRIX | Capabilities::SHADER_FLOAT16;
    let mut seen = HashSet::new();
    for (edge, subgroup) in [(8, 8), (16, 32), (16, 64)] {
        let target = Target { matrices: Some(MatrixUnits { edge, subgroup, memory }), ..Target::DISCRETE };
        for case in cases().into_iter().chain(large_cases()) {
            for dispatch in plan(&case).dispatches {
                let floats = |views: &[View]| -> Vec<Tensor> {
                    let halved = |tensor: Tensor| Tensor { kind: Kind::F16, ..tensor };
                    tensors(views).into_iter().map(halved).collect()
                };
                let kernel = dispatch.op.gpu(&floats(&dispatch.inputs), &floats(&dispatch.outputs), target);
                let what = format!("{} of case {}", dispatch.op.name(), case.name);
                let text = shaders::text(&kernel).unwrap_or_else(|e| panic!("{what}: {e}"));
                if kernel.file != "conv2d_matrix" || !seen.insert((kernel.entry, text.clone())) {
                    continue;
                }
                let last = dispatch.inputs.len();
                for halved in [&[0][..], &[0, 1], &[0, last]] {
                    let text = shaders::halved(&kernel, &text, halved).unwrap_or_else(|e| panic!("{what}: {e}"));
                    let (module, info) = valid(&what, &text, capabilities);
                    let shared =
                        module.global_variables.iter().filter(|(_, v)| v.space == naga::AddressSpace::WorkGroup);
                    let shared: u32 = shared.map(|(_, v)| module.types[v.ty].inner.size(module.to_ctx())).sum();
                    assert!(shared as usize <= memory, "{what}: {shared} bytes shared by a workgroup");
                    let size: u32 = module.entry_points[0].workgroup_size.iter().product();
                    assert!(size as usize <= MOST_INVOCATIONS, "{what}: {size} invocations in a workgroup");
                    let version = spv::Options { lang_version: (1, 4), ..Default::default() };
                    spv::write_vec(&module, &info, &version, None).unwrap_or_else(|e| panic!("{what}: {e}"));
                }
            }
        }
    }
    for entry in ["forward", "grad_x", "grad_w"] {
        assert!(seen.iter().filter(|(of, _)| *of == entry).count() > 3, "{entry}: no case");
    }
}
