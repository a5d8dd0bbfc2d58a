//! Mesa's drivers for AMD's and Intel's GPUs as compilers: what they make of a kernel, as they say themselves.

use std::ffi::CStr;

use ash::vk;
use inkgrad::ops::Target;
use naga::back::spv;
use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};

/// What a kernel has become.
pub struct Compiled {
    statistics: Vec<(String, u64)>,
    /// How many invocations run together.
    pub subgroup: u32,
    /// Empty where the driver was built without a disassembler.
    pub assembly: String,
}

impl Compiled {
    /// What the driver counts under this name, if it does.
    pub fn count(&self, name: &str) -> Option<u64> {
        self.statistics.iter().find(|(own, _)| own == name).map(|(_, count)| *count)
    }

    /// More than 0 where registers do not hold it: what is stored in memory instead, counted as the driver does.
    pub fn spilled(&self) -> u64 {
        let names = ["Spilled VGPRs", "Scratch size", "Spill Count", "Fill Count", "Scratch Memory Size"];
        let counts: Vec<u64> = names.iter().filter_map(|name| self.count(name)).collect();
        assert!(!counts.is_empty(), "the driver does not say what it spills: {:?}", self.statistics);
        counts.iter().sum()
    }
}

/// Whose GPUs a driver is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Maker {
    /// Where the variable `RADV_FORCE_FAMILY` names a generation of GPUs, the driver shows one such device, whatever
    /// hardware there is: it compiles, and runs nothing.
    Amd,
    /// The same with Mesa's `libintel_noop_drm_shim.so` preloaded and `INTEL_STUB_GPU_PLATFORM`.
    Intel,
}

impl Maker {
    fn id(self) -> vk::DriverId {
        match self {
            Maker::Amd => vk::DriverId::MESA_RADV,
            Maker::Intel => vk::DriverId::INTEL_OPEN_SOURCE_MESA,
        }
    }

    /// What kernels are laid out for on its GPUs.
    pub fn target(self) -> Target {
        match self {
            Maker::Amd => Target::DISCRETE,
            Maker::Intel => Target::INTEGRATED,
        }
    }
}

/// A device of such a driver.
pub struct Driver {
    pub name: String,
    device: ash::Device,
    executables: ash::khr::pipeline_executable_properties::Device,
    // Dropped last: it keeps the library loaded.
    _entry: ash::Entry,
}

impl Driver {
    /// `None` where the driver is not installed, or shows no device.
    pub fn open(maker: Maker) -> Option<Driver> {
        // SAFETY: all handles come from the library that `_entry` keeps loaded, and all that they are given is valid for
        // as long as the call takes. Nothing is destroyed before the process ends.
        unsafe {
            let entry = ash::Entry::load().ok()?;
            let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let about = vk::InstanceCreateInfo::default().application_info(&app);
            let instance = entry.create_instance(&about, None).ok()?;
            let physical = instance.enumerate_physical_devices().ok()?.into_iter().find(|physical| {
                let mut driver = vk::PhysicalDeviceDriverProperties::default();
                let mut all = vk::PhysicalDeviceProperties2::default().push_next(&mut driver);
                instance.get_physical_device_properties2(*physical, &mut all);
                driver.driver_id == maker.id()
            })?;
            let name = instance.get_physical_device_properties(physical).device_name;
            let name = CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned();
            let queues = [vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0])];
            let extensions =
                [ash::khr::pipeline_executable_properties::NAME.as_ptr(), ash::ext::robustness2::NAME.as_ptr()];
            let mut tells =
                vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default().pipeline_executable_info(true);
            // As wgpu opens it: the hardware checks the bounds of buffers, not the shader.
            let mut robust = vk::PhysicalDeviceRobustness2FeaturesEXT::default().robust_buffer_access2(true);
            let features = vk::PhysicalDeviceFeatures::default().robust_buffer_access(true);
            let about = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queues)
                .enabled_extension_names(&extensions)
                .enabled_features(&features)
                .push_next(&mut tells)
                .push_next(&mut robust);
            let device = instance.create_device(physical, &about, None).ok()?;
            let executables = ash::khr::pipeline_executable_properties::Device::new(&instance, &device);
            Some(Driver { name, device, executables, _entry: entry })
        }
    }

    /// Compiles a kernel with so many bindings, all of them storage buffers.
    pub fn compile(&self, text: &str, bindings: usize) -> Compiled {
        let (device, words) = (&self.device, spirv(text, bindings));
        let binding = |i: u32| {
            vk::DescriptorSetLayoutBinding::default()
                .binding(i)
                .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                .descriptor_count(1)
                .stage_flags(vk::ShaderStageFlags::COMPUTE)
        };
        let all: Vec<_> = (0..bindings as u32).map(binding).collect();
        // SAFETY: as in `open`; naga has written the SPIR-V from a module that it has validated.
        unsafe {
            let module = vk::ShaderModuleCreateInfo::default().code(&words);
            let module = device.create_shader_module(&module, None).unwrap();
            let set = vk::DescriptorSetLayoutCreateInfo::default().bindings(&all);
            let sets = [device.create_descriptor_set_layout(&set, None).unwrap()];
            let layout = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            let layout = device.create_pipeline_layout(&layout, None).unwrap();
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(c"main");
            let kept = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
            let pipeline = vk::ComputePipelineCreateInfo::default().stage(stage).layout(layout).flags(kept);
            let pipeline = device.create_compute_pipelines(vk::PipelineCache::null(), &[pipeline], None).unwrap()[0];
            let compiled = self.told(pipeline);
            device.destroy_pipeline(pipeline, None);
            device.destroy_pipeline_layout(layout, None);
            device.destroy_descriptor_set_layout(sets[0], None);
            device.destroy_shader_module(module, None);
            compiled
        }
    }

    /// # Safety
    /// The pipeline is of this device, and has kept what it can tell.
    unsafe fn told(&self, pipeline: vk::Pipeline) -> Compiled {
        let executable = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline);
        // SAFETY: as the caller says.
        let statistics = unsafe { self.executables.get_pipeline_executable_statistics(&executable) }.unwrap();
        let named = |one: &vk::PipelineExecutableStatisticKHR| {
            assert_eq!(one.format, vk::PipelineExecutableStatisticFormatKHR::UINT64);
            // SAFETY: the format says which member of the union it is.
            (one.name_as_c_str().unwrap().to_string_lossy().into_owned(), unsafe { one.value.u64 })
        };
        let ask = self.executables.fp().get_pipeline_executable_internal_representations_khr;
        let ask = |count: &mut u32, into: *mut vk::PipelineExecutableInternalRepresentationKHR| {
            // SAFETY: `into` is null, or as many as `count` says.
            unsafe { ask(self.device.handle(), &executable, count, into) }.result().unwrap();
        };
        let mut count = 0;
        ask(&mut count, std::ptr::null_mut());
        let mut texts = vec![vk::PipelineExecutableInternalRepresentationKHR::default(); count as usize];
        ask(&mut count, texts.as_mut_ptr());
        let mut bytes: Vec<Vec<u8>> = texts.iter().map(|text| vec![0; text.data_size]).collect();
        for (text, bytes) in texts.iter_mut().zip(&mut bytes) {
            text.p_data = bytes.as_mut_ptr().cast();
        }
        ask(&mut count, texts.as_mut_ptr());
        let is_assembly = |text: &vk::PipelineExecutableInternalRepresentationKHR| {
            text.name_as_c_str().unwrap().to_string_lossy().contains("Assembly")
        };
        let assembly = texts.iter().zip(&bytes).find(|(text, _)| is_assembly(text)).map(|(_, bytes)| bytes.as_slice());
        let assembly = String::from_utf8_lossy(assembly.unwrap_or_default()).into_owned();
        let about = vk::PipelineInfoKHR::default().pipeline(pipeline);
        // SAFETY: as the caller says.
        let about = unsafe { self.executables.get_pipeline_executable_properties(&about) }.unwrap();
        let subgroup = about.first().map_or(0, |about| about.subgroup_size);
        Compiled { statistics: statistics.iter().map(named).collect(), subgroup, assembly }
    }
}

/// A kernel's SPIR-V, with the options that wgpu gives for these drivers.
fn spirv(text: &str, bindings: usize) -> Vec<u32> {
    let module = naga::front::wgsl::parse_str(text).unwrap_or_else(|e| panic!("{}", e.emit_to_string(text)));
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
    validator.subgroup_stages(ShaderStages::COMPUTE).subgroup_operations(SubgroupOperationSet::all());
    let info = validator.validate(&module).unwrap_or_else(|e| panic!("{}", e.emit_to_string(text)));
    let binding = |i: u32| {
        let place = naga::ResourceBinding { group: 0, binding: i };
        (place, spv::BindingInfo { descriptor_set: 0, binding: i, binding_array_size: None })
    };
    let bounds_check_policies = naga::proc::BoundsCheckPolicies {
        index: naga::proc::BoundsCheckPolicy::Restrict,
        buffer: naga::proc::BoundsCheckPolicy::Unchecked,
        ..Default::default()
    };
    let options = spv::Options {
        lang_version: (1, 6),
        flags: spv::WriterFlags::LABEL_VARYINGS,
        binding_map: (0..bindings as u32).map(binding).collect(),
        bounds_check_policies,
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        ..Default::default()
    };
    let pipeline = spv::PipelineOptions { entry_point: "main".into(), shader_stage: naga::ShaderStage::Compute };
    spv::write_vec(&module, &info, &options, Some(&pipeline)).unwrap()
}
