//! Which GPUs there are and what each can do.

use std::fmt;

use wgpu::{Backend, CooperativeScalarType, DeviceType, DownlevelFlags, Features};

use crate::faults::{self, Fault};
use crate::ops::kernel::{MOST_BINDINGS, MOST_INVOCATIONS};
use crate::ops::{MatrixUnits, Target};

/// What kind of hardware an adapter is, in order of preference.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Class {
    Discrete,
    Integrated,
    /// Virtual machines' GPUs, and those whose driver does not say.
    Other,
    /// Runs on the CPU (llvmpipe, WARP): slower than the CPU device.
    Software,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::Discrete => "discrete",
            Class::Integrated => "integrated",
            Class::Other => "other",
            Class::Software => "software",
        })
    }
}

/// The limits that matter here; see WebGPU for their names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes in a buffer.
    pub buffer: u64,
    /// Bytes of a buffer that one binding may show to a shader.
    pub binding: u64,
    /// Storage buffers bound at once.
    pub bindings: u32,
    /// Workgroups in one dimension of a dispatch.
    pub groups: u32,
    /// Invocations in a workgroup.
    pub invocations: u32,
    /// Bytes shared by a workgroup.
    pub workgroup_bytes: u32,
}

impl Limits {
    pub(super) fn new(limits: &wgpu::Limits) -> Limits {
        Limits {
            buffer: limits.max_buffer_size,
            binding: limits.max_storage_buffer_binding_size,
            bindings: limits.max_storage_buffers_per_shader_stage,
            groups: limits.max_compute_workgroups_per_dimension,
            invocations: limits.max_compute_invocations_per_workgroup,
            workgroup_bytes: limits.max_compute_workgroup_storage_size,
        }
    }

    /// What kernels need but these limits do not allow, if anything.
    fn problem(&self) -> Option<String> {
        let [invocations, bindings] = [self.invocations, self.bindings].map(|limit| limit as usize);
        (invocations < MOST_INVOCATIONS || bindings < MOST_BINDINGS).then(|| {
            format!(
                "allows {invocations} invocations in a workgroup and {bindings} storage buffers, but kernels need \
                 {MOST_INVOCATIONS} and {MOST_BINDINGS}"
            )
        })
    }

    /// Bytes in one tensor. Metal is told a buffer's length in bytes as a 32-bit number, and silently clamps accesses
    /// past that to the end.
    pub fn tensor(&self) -> u64 {
        self.buffer.min(self.binding).min(u64::from(u32::MAX) - 15)
    }
}

/// PCI vendor numbers of those whose GPUs have 255 registers for each invocation.
const OF_MANY_REGISTERS: [u32; 2] = [0x1002, 0x10de]; // AMD, NVIDIA

/// An adapter as `inkgrad devices` shows it. One GPU may appear several times, once for each backend.
#[derive(Clone, PartialEq, Debug)]
pub struct AdapterInfo {
    pub name: String,
    /// How it is reached: `Vulkan`, `Metal`, `DX12` or `GL`.
    pub backend: &'static str,
    pub class: Class,
    /// The PCI vendor number; 0 where the backend does not say.
    pub vendor: u32,
    /// The driver and its version, as far as the system tells.
    pub driver: String,
    pub limits: Limits,
    /// 16-bit floats in shaders.
    pub f16: bool,
    /// The fewest and the most invocations in a subgroup, if there are subgroups.
    pub subgroups: Option<[u32; 2]>,
    /// Units that multiply matrices of 16-bit floats, where they can be requested.
    pub matrix_units: Option<MatrixUnits>,
    /// Whether they are requested: otherwise what is experimental in wgpu is not used.
    pub uses_matrix_units: bool,
    pub timestamps: bool,
    /// Why it cannot be used, if it cannot.
    pub problem: Option<String>,
}

impl AdapterInfo {
    /// What findings about an adapter apply to: itself, its driver, and these shaders.
    pub fn identity(&self) -> String {
        let (version, shaders) = (env!("CARGO_PKG_VERSION"), crate::shaders::digest());
        let units = if self.uses_matrix_units { ", with matrix units" } else { "" };
        format!("{self}\n{}\ninkgrad {version}, shaders {shaders:016x}{units}\n", self.driver)
    }

    /// The target that kernels are laid out for on it.
    pub fn target(&self) -> Target {
        let has_many = OF_MANY_REGISTERS.contains(&self.vendor);
        let registers = if has_many { Target::REGISTERS } else { Target::FEW_REGISTERS };
        let target = match (self.class, self.subgroups) {
            (Class::Discrete | Class::Other, _) => Target { registers, ..Target::DISCRETE },
            (Class::Integrated, _) => Target { registers, ..Target::INTEGRATED },
            (Class::Software, Some([least, most])) if least == most && (4..=16).contains(&least) => {
                Target { subgroup: least as usize, ..Target::SOFTWARE }
            }
            (Class::Software, _) => Target::SOFTWARE,
        };
        Target { matrices: self.matrix_units.filter(|_| self.uses_matrix_units), ..target }
    }
}

#[cfg(test)]
impl AdapterInfo {
    /// One without anything special, which allows just what kernels need.
    pub(crate) fn plain(name: &str, class: Class, vendor: u32) -> AdapterInfo {
        let limits =
            Limits { buffer: 0, binding: 0, bindings: 8, groups: 65_535, invocations: 256, workgroup_bytes: 16_384 };
        AdapterInfo {
            name: name.into(),
            backend: "Vulkan",
            class,
            vendor,
            driver: String::new(),
            limits,
            f16: false,
            subgroups: None,
            matrix_units: None,
            uses_matrix_units: false,
            timestamps: false,
            problem: None,
        }
    }
}

impl fmt::Display for AdapterInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.backend)
    }
}

/// An adapter that [`super::Gpu::open`] can open.
#[derive(Clone, Debug)]
pub struct Adapter {
    pub info: AdapterInfo,
    pub(super) inner: wgpu::Adapter,
}

/// All adapters, the preferred first. Empty where there is no driver at all.
///
/// GL is asked only where nothing else answers: it shows the same GPUs again, slower, and its libraries write to
/// the terminal as they start.
pub fn adapters() -> Vec<Adapter> {
    let modern = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    let found = adapters_of(modern);
    if found.is_empty() { adapters_of(wgpu::Backends::GL) } else { found }
}

fn adapters_of(backends: wgpu::Backends) -> Vec<Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    descriptor.backends &= backends;
    let instance = wgpu::Instance::new(descriptor);
    let found = pollster::block_on(instance.enumerate_adapters(backends));
    let mut adapters: Vec<Adapter> = found.into_iter().map(|inner| Adapter { info: describe(&inner), inner }).collect();
    adapters.sort_by_key(|a| (a.info.problem.is_some(), a.info.class, a.info.backend == "GL"));
    adapters
}

/// Features that kernels may use where the adapter has them.
pub(super) const FEATURES: Features = Features::TIMESTAMP_QUERY.union(Features::SHADER_F16).union(Features::SUBGROUP);

/// The largest matrices that kernels may multiply. A subgroup's position in the workgroup decides what it does, so all
/// subgroups must be of one size.
fn matrix_units(adapter: &wgpu::Adapter, limits: &Limits) -> Option<MatrixUnits> {
    let info = adapter.get_info();
    let needed = Features::EXPERIMENTAL_COOPERATIVE_MATRIX | Features::SHADER_F16;
    if !adapter.features().contains(needed) || info.subgroup_min_size != info.subgroup_max_size {
        return None;
    }
    let fitting = adapter.cooperative_matrix_properties().into_iter().filter(|kind| {
        let types = (CooperativeScalarType::F16, CooperativeScalarType::F32);
        (kind.ab_type, kind.cr_type) == types && kind.m_size == kind.n_size && kind.n_size == kind.k_size
    });
    let edge = fitting.map(|kind| kind.m_size).filter(|edge| [8, 16].contains(edge)).max()?;
    Some(MatrixUnits {
        edge: edge as usize,
        subgroup: info.subgroup_min_size as usize,
        memory: limits.workgroup_bytes as usize,
    })
}

fn describe(adapter: &wgpu::Adapter) -> AdapterInfo {
    let info = adapter.get_info();
    let features = adapter.features();
    let limits = Limits::new(&adapter.limits());
    let backend = match info.backend {
        Backend::Vulkan => "Vulkan",
        Backend::Metal => "Metal",
        Backend::Dx12 => "DX12",
        Backend::Gl => "GL",
        Backend::BrowserWebGpu => "WebGPU",
        Backend::Noop => "none",
    };
    let computes = adapter.get_downlevel_capabilities().flags.contains(DownlevelFlags::COMPUTE_SHADERS);
    let problem = if !computes || limits.invocations == 0 {
        Some("has no compute shaders".to_string())
    } else if info.backend == Backend::Noop {
        Some("does nothing".to_string())
    } else {
        limits.problem()
    };
    AdapterInfo {
        class: class(&info),
        driver: driver(&info),
        vendor: info.vendor,
        name: info.name,
        backend,
        limits,
        f16: features.contains(Features::SHADER_F16),
        subgroups: features.contains(Features::SUBGROUP).then_some([info.subgroup_min_size, info.subgroup_max_size]),
        matrix_units: matrix_units(adapter, &limits),
        uses_matrix_units: false,
        timestamps: features.contains(Features::TIMESTAMP_QUERY),
        problem,
    }
}

/// The driver and its version. Metal reports neither: there the driver is part of the system.
fn driver(info: &wgpu::AdapterInfo) -> String {
    let told = [info.driver.as_str(), &info.driver_info].join(" ").trim().to_string();
    let system = || std::fs::read_to_string("/System/Library/CoreServices/SystemVersion.plist").ok();
    match info.backend {
        Backend::Metal if told.is_empty() => system().and_then(|text| build_of(&text)).unwrap_or(told),
        _ => told,
    }
}

/// Which build of macOS a `SystemVersion.plist` names.
fn build_of(plist: &str) -> Option<String> {
    let (_, rest) = plist.split_once("<key>ProductBuildVersion</key>")?;
    let build = rest.trim_start().strip_prefix("<string>")?.split_once("</string>")?.0;
    Some(format!("macOS {build}"))
}

fn class(info: &wgpu::AdapterInfo) -> Class {
    // GL reports `Other` for many software renderers.
    let name = info.name.to_lowercase();
    let software = ["llvmpipe", "lavapipe", "softpipe", "swiftshader", "basic render"];
    match info.device_type {
        _ if faults::is_at(Fault::Hardware, "integrated") => Class::Integrated,
        _ if faults::is_wanted(Fault::Hardware) => Class::Discrete,
        DeviceType::Cpu => Class::Software,
        _ if software.iter().any(|s| name.contains(s)) => Class::Software,
        DeviceType::DiscreteGpu => Class::Discrete,
        DeviceType::IntegratedGpu => Class::Integrated,
        DeviceType::VirtualGpu | DeviceType::Other => Class::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_that_allows_less_than_kernels_need_has_a_problem() {
        let limits = |invocations, bindings| Limits {
            buffer: 1 << 30,
            binding: 1 << 27,
            bindings,
            groups: 65_535,
            invocations,
            workgroup_bytes: 16_384,
        };
        assert_eq!(limits(256, 8).problem(), None);
        for [invocations, bindings] in [[256, 7], [128, 8], [256, 4]] {
            let problem = limits(invocations, bindings).problem().unwrap();
            assert!(problem.contains(&invocations.to_string()) && problem.contains(&bindings.to_string()), "{problem}");
        }
    }

    #[test]
    fn kernels_are_laid_out_for_the_registers_that_a_makers_gpus_have() {
        let target = |class, vendor| AdapterInfo::plain("GPU", class, vendor).target();
        for (vendor, registers) in [(0x1002, 255), (0x10de, 255), (0x8086, 96), (0x106b, 96), (0, 96)] {
            assert_eq!(target(Class::Discrete, vendor), Target { registers, ..Target::DISCRETE }, "{vendor:x}");
            assert_eq!(target(Class::Integrated, vendor), Target { registers, ..Target::INTEGRATED }, "{vendor:x}");
        }
        assert_eq!(target(Class::Software, 0x10005), Target::SOFTWARE);
    }

    #[test]
    fn what_is_found_about_an_adapter_is_about_its_driver_and_its_matrix_units_too() {
        let info = AdapterInfo::plain("GeForce", Class::Discrete, 0x10de);
        let others = [
            AdapterInfo { driver: "581".into(), ..info.clone() },
            AdapterInfo { uses_matrix_units: true, ..info.clone() },
            AdapterInfo { backend: "DX12", ..info.clone() },
        ];
        for other in others {
            assert_ne!(other.identity(), info.identity(), "{other:?}");
        }
    }

    #[test]
    fn the_build_of_a_system_stands_in_its_list_of_properties() {
        let plist =
            "<dict>\n\t<key>ProductBuildVersion</key>\n\t<string>25C56</string>\n\t<key>ProductName</key>\n</dict>";
        assert_eq!(build_of(plist), Some("macOS 25C56".into()));
        for damaged in ["", "<key>ProductBuildVersion</key>", "<key>ProductBuildVersion</key><string>25C56"] {
            assert_eq!(build_of(damaged), None);
        }
    }
}
