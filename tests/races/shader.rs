//! A shader as naga represents it, and what it is run on.

use naga::valid::{Capabilities, ModuleInfo, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};
use naga::{AddressSpace, ArraySize, Handle, Module, StorageAccess, TypeInner};

use super::memory::Memory;
use super::traffic::Traffic;
use super::workgroup::Run;

pub struct Shader {
    pub module: Module,
    pub info: ModuleInfo,
}

impl Shader {
    pub fn new(text: &str) -> Result<Shader, String> {
        let module = naga::front::wgsl::parse_str(text).map_err(|e| e.emit_to_string(text))?;
        let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
        validator.subgroup_stages(ShaderStages::COMPUTE).subgroup_operations(SubgroupOperationSet::all());
        let info = validator.validate(&module).map_err(|e| e.emit_to_string(text))?;
        Ok(Shader { module, info })
    }

    /// Runs the shader on what is bound, scalar by scalar, and returns that. `subgroup` counts the invocations in one.
    pub fn run(&self, bound: Vec<Vec<u32>>, workgroups: [u32; 3], subgroup: usize) -> Result<Vec<Memory>, String> {
        let mut run = self.on(bound, workgroups, subgroup)?;
        run.all()?;
        let variables = self.module.global_variables.iter().zip(run.memories);
        let mut buffers: Vec<_> =
            variables.filter_map(|((_, variable), memory)| Some((variable.binding?.binding, memory))).collect();
        buffers.sort_by_key(|(binding, _)| *binding);
        Ok(buffers.into_iter().map(|(_, memory)| memory).collect())
    }

    /// What some of its workgroups ask of caches and shared memory.
    pub fn traffic(&self, bound: Vec<Vec<u32>>, workgroups: [u32; 3], subgroup: usize) -> Result<Traffic, String> {
        let mut run = Run { traffic: Some(Traffic::default()), ..self.on(bound, workgroups, subgroup)? };
        run.all()?;
        Ok(run.traffic.unwrap_or_default())
    }

    fn on(&self, mut bound: Vec<Vec<u32>>, workgroups: [u32; 3], subgroup: usize) -> Result<Run<'_>, String> {
        let size = self.module.entry_points[0].workgroup_size;
        let width = size.iter().product::<u32>() as usize;
        let mut memories = Vec::new();
        for (_, variable) in self.module.global_variables.iter() {
            let name = variable.name.as_deref().unwrap_or("");
            memories.push(match (variable.space, variable.binding) {
                (AddressSpace::WorkGroup, _) => {
                    Memory::workgroup(name, self.cells(&self.module.types[variable.ty].inner))
                }
                (AddressSpace::Storage { access }, Some(binding)) => {
                    let cells = bound.get_mut(binding.binding as usize).ok_or(format!("{name} is not bound"))?;
                    Memory::storage(name, std::mem::take(cells), access.contains(StorageAccess::STORE))
                }
                (space, _) => return Err(format!("these tests do not know {space:?}")),
            });
        }
        let subgroup = subgroup.min(width);
        let (at, barriers, traffic) = ([0; 3], [0; 2], None);
        Ok(Run { shader: self, memories, size, workgroups, subgroup, width, at, barriers, traffic })
    }

    /// Number of scalars in a value of a type; for an array as long as its buffer, in one element.
    pub fn cells(&self, ty: &TypeInner) -> usize {
        let of = |ty: &Handle<naga::Type>| self.cells(&self.module.types[*ty].inner);
        match ty {
            TypeInner::Vector { size, .. } => *size as usize,
            TypeInner::ValuePointer { size, .. } => size.map_or(1, |size| size as usize),
            TypeInner::CooperativeMatrix { columns, rows, .. } => *columns as usize * *rows as usize,
            TypeInner::Array { base, size: ArraySize::Constant(count), .. } => of(base) * count.get() as usize,
            TypeInner::Array { base, .. } => of(base),
            TypeInner::Struct { members, .. } => members.iter().map(|member| of(&member.ty)).sum(),
            _ => 1,
        }
    }
}
