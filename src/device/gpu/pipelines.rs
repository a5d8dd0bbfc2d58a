//! Pipelines, one for each distinct kernel text, compiled once and kept for as long as the device.

use std::collections::HashMap;

use rayon::prelude::*;
use wgpu::{BindGroupLayout, BufferBindingType, ComputePipeline, Device, ShaderStages};

use super::health::Health;
use crate::device::DeviceError;
use crate::faults::{self, Fault};
use crate::ops::Kernel;
use crate::shaders::ShaderError;

/// A kernel's text and what it binds.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    pub text: String,
    /// The number of read-only bindings; they come first.
    pub inputs: usize,
    pub outputs: usize,
}

/// What a pipeline is made from.
pub struct Source {
    pub key: Key,
    /// The op's name: the label in the driver's tools and in errors.
    pub name: &'static str,
}

impl Source {
    /// `halved`: the bindings that are 16-bit floats.
    pub fn new(
        name: &'static str,
        kernel: &Kernel,
        inputs: usize,
        outputs: usize,
        halved: &[usize],
    ) -> Result<Source, ShaderError> {
        let mut text = crate::shaders::text(kernel)?;
        if !halved.is_empty() {
            text = crate::shaders::halved(kernel, &text, halved)?;
        }
        let text = faults::shader(name, text);
        Ok(Source { key: Key { text, inputs, outputs }, name })
    }
}

#[derive(Clone)]
pub struct Pipeline {
    pub pipeline: ComputePipeline,
    pub layout: BindGroupLayout,
}

#[derive(Default)]
pub struct Pipelines {
    made: Vec<Pipeline>,
    index: HashMap<Key, usize>,
    layouts: HashMap<(usize, usize), BindGroupLayout>,
}

impl Pipelines {
    pub fn get(&self, index: usize) -> &Pipeline {
        &self.made[index]
    }
    pub fn len(&self) -> usize {
        self.made.len()
    }

    /// The index of each source's pipeline. New ones are compiled, if `together` on all cores: where a driver takes one
    /// at a time, as GL does, a thread that waits for its turn would fail after six seconds with a supposed deadlock.
    pub fn prepare(
        &mut self,
        device: &Device,
        health: &Health,
        sources: Vec<Source>,
        together: bool,
    ) -> Result<Vec<usize>, DeviceError> {
        let mut fresh: HashMap<&Key, &Source> = HashMap::new();
        for source in &sources {
            if !self.index.contains_key(&source.key) {
                fresh.insert(&source.key, source);
            }
        }
        let mut work = Vec::new();
        for source in fresh.into_values() {
            let shape = (source.key.inputs, source.key.outputs);
            let layout = self.layouts.entry(shape).or_insert_with(|| layout(device, shape.0, shape.1)).clone();
            work.push((source, layout));
        }
        let made = |(source, layout): (&Source, BindGroupLayout)| -> Result<_, DeviceError> {
            let pipeline = health.scoped(device, source.name, 0, || compile(device, source, &layout))?;
            Ok((source.key.clone(), Pipeline { pipeline, layout }))
        };
        let made: Vec<Result<_, DeviceError>> = match together {
            true => work.into_par_iter().map(made).collect(),
            false => work.into_iter().map(made).collect(),
        };
        for result in made {
            let (key, pipeline) = result?;
            self.made.push(pipeline);
            self.index.insert(key, self.made.len() - 1);
        }
        Ok(sources.iter().map(|source| self.index[&source.key]).collect())
    }
}

fn layout(device: &Device, inputs: usize, outputs: usize) -> BindGroupLayout {
    let entries: Vec<_> = (0..inputs + outputs)
        .map(|i| wgpu::BindGroupLayoutEntry {
            binding: i as u32,
            visibility: ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: BufferBindingType::Storage { read_only: i < inputs },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        })
        .collect();
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries })
}

fn compile(device: &Device, source: &Source, layout: &BindGroupLayout) -> ComputePipeline {
    let label = Some(source.name);
    let text = if faults::happens(Fault::NoPipeline) { "not WGSL" } else { source.key.text.as_str() };
    let descriptor = wgpu::ShaderModuleDescriptor { label, source: wgpu::ShaderSource::Wgsl(text.into()) };
    // Out-of-bounds accesses stay checked. Loops are not made to count their iterations: that costs time in inner
    // loops and keeps compilers from unrolling them.
    let checks = wgpu::ShaderRuntimeChecks { force_loop_bounding: false, ..wgpu::ShaderRuntimeChecks::checked() };
    // SAFETY: every loop in `shaders/` ends: its bounds are constants of the kernel, or it follows a permutation from a
    // number in range (`random_permute`), and so comes back to one.
    let module = unsafe { device.create_shader_module_trusted(descriptor, checks) };
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label,
        bind_group_layouts: &[Some(layout)],
        immediate_size: 0,
    });
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label,
        layout: Some(&layout),
        module: &module,
        entry_point: Some("main"),
        // Shaders initialise what they share: on GL, the driver's own initialisation took minutes to compile.
        compilation_options: wgpu::PipelineCompilationOptions {
            zero_initialize_workgroup_memory: false,
            ..Default::default()
        },
        cache: None,
    })
}
