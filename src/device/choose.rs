//! Which device: by name, by number, or the one that `auto` takes.

use super::compared::Compared;
use super::gpu::{self, Adapter, AdapterInfo, Class, Gpu};
use super::{Device, DeviceError, cpu::Cpu};
use crate::cache;

/// A device that can be chosen.
#[derive(Clone, Debug)]
pub enum Choice {
    Cpu,
    Gpu(Box<Adapter>),
}

impl Choice {
    /// The same as [`Device::name`] once the device is open.
    pub fn name(&self) -> String {
        match self {
            Choice::Cpu => Cpu::new().name(),
            Choice::Gpu(adapter) => adapter.info.to_string(),
        }
    }
    pub fn adapter(&self) -> Option<&AdapterInfo> {
        match self {
            Choice::Cpu => None,
            Choice::Gpu(adapter) => Some(&adapter.info),
        }
    }
    /// The most bytes that it accepts as one tensor.
    pub fn largest_tensor(&self) -> u64 {
        self.adapter().map_or(u64::MAX, |info| info.limits.tensor())
    }
    /// The same device, using its matrix-multiply units where it has them.
    pub fn with_matrix_units(mut self) -> Choice {
        if let Choice::Gpu(adapter) = &mut self {
            adapter.info.uses_matrix_units = true;
        }
        self
    }
    /// Opens it, whatever it computes. [`crate::check::open`] checks a GPU's results first.
    pub fn open(&self) -> Result<Box<dyn Device>, DeviceError> {
        Ok(match self {
            Choice::Cpu => Box::new(Cpu::new()),
            Choice::Gpu(adapter) => Box::new(Gpu::open(adapter)?),
        })
    }

    /// Whether it is a usable GPU, and not software that acts as one.
    fn is_hardware(&self) -> bool {
        self.adapter().is_some_and(|info| info.class != Class::Software && info.problem.is_none())
    }

    /// Whether it is a GPU beside which the CPU device was measured to be faster.
    fn is_slow(&self) -> bool {
        let Some(info) = self.adapter().filter(|info| Compared::is_open(info)) else { return false };
        let compared = cache::folder().and_then(|cache| Compared::read(&cache, info, &Cpu::new().name()));
        compared.is_some_and(|speeds| speeds.prefers_cpu())
    }

    fn is_gpu_of(&self, class: Class) -> bool {
        self.adapter().is_some_and(|info| info.class == class && info.problem.is_none())
    }
}

/// A line of `inkgrad devices`; its index in the list is the number that names it.
#[derive(Clone, Debug)]
pub struct Listed {
    pub choice: Choice,
    /// Why `auto` takes it; set only for the one that it takes.
    pub auto: Option<&'static str>,
}

/// Every device, in order of preference: GPUs, the CPU, then software adapters and what cannot be used.
pub fn list() -> Vec<Listed> {
    arrange(gpu::adapters())
}

fn arrange(adapters: Vec<Adapter>) -> Vec<Listed> {
    let (hardware, rest): (Vec<_>, Vec<_>) =
        adapters.into_iter().partition(|a| a.info.class != Class::Software && a.info.problem.is_none());
    let gpu = |adapter| Choice::Gpu(Box::new(adapter));
    let choices = hardware.into_iter().map(gpu).chain([Choice::Cpu]).chain(rest.into_iter().map(gpu));
    let mut list: Vec<Listed> = choices.map(|choice| Listed { choice, auto: None }).collect();
    let first = |class| list.iter().position(|Listed { choice, .. }| choice.is_gpu_of(class) && !choice.is_slow());
    let without = match list.iter().any(|listed| listed.choice.is_slow()) {
        true => "it was measured to be faster than the GPU",
        false => "there is no GPU, and the CPU device is faster than a software adapter",
    };
    let cpu = list.iter().position(|listed| matches!(listed.choice, Choice::Cpu)).unwrap_or(0);
    let (index, why) = first(Class::Discrete)
        .map(|i| (i, "the first discrete GPU"))
        .or_else(|| first(Class::Integrated).map(|i| (i, "an integrated GPU, and there is no discrete one")))
        // Virtual GPUs, and cards that are reached only through GL.
        .or_else(|| first(Class::Other).map(|i| (i, "a GPU whose driver does not say what kind it is")))
        .unwrap_or((cpu, without));
    list[index].auto = Some(why);
    list
}

/// Finds a device: `auto`, `cpu`, a number in [`list`], or a part of a name in any case.
pub fn find(wanted: &str) -> Result<Choice, DeviceError> {
    let wanted = wanted.trim();
    // No driver is queried where none is wanted.
    if wanted.eq_ignore_ascii_case("cpu") {
        return Ok(Choice::Cpu);
    }
    let list = list();
    find_in(&list, wanted).map_err(|error| match several(&list, wanted) {
        Some(Ok(_)) => DeviceError::OneOnly,
        _ => error,
    })
}

/// The devices named by `wanted`, if it is a comma-separated list.
fn several(list: &[Listed], wanted: &str) -> Option<Result<Vec<Choice>, DeviceError>> {
    wanted.contains(',').then(|| wanted.split(',').map(|one| find_in(list, one.trim())).collect())
}

/// Finds several: `all`, names or numbers separated by commas, or one as [`find`] does. `all` means every GPU, each
/// through one backend only; where there is none, what `auto` takes.
pub fn find_all(wanted: &str) -> Result<Vec<Choice>, DeviceError> {
    if wanted.trim().eq_ignore_ascii_case("cpu") {
        return Ok(vec![Choice::Cpu]);
    }
    let list = list();
    if is_all(wanted) {
        let gpus = every_gpu(&list);
        return if gpus.is_empty() { Ok(vec![find_in(&list, "auto")?]) } else { Ok(gpus) };
    }
    // A name may contain a comma too.
    match find_in(&list, wanted) {
        Ok(found) => Ok(vec![found]),
        Err(error) => several(&list, wanted).unwrap_or(Err(error)),
    }
}

/// The GPUs that are left for `auto` where `choice` cannot be used, in order of preference: others, and the same one
/// through another driver.
pub fn others(choice: &Choice) -> Vec<Choice> {
    let choices = list().into_iter().map(|listed| listed.choice);
    let mut gpus: Vec<Choice> = choices.filter(|choice| choice.is_hardware() && !choice.is_slow()).collect();
    // Of several with the same name, the first was taken.
    if let Some(taken) = gpus.iter().position(|gpu| gpu.name() == choice.name()) {
        gpus.remove(taken);
    }
    gpus
}

/// Hardware GPUs, through the backend of the preferred one: another backend would show the same ones again.
fn every_gpu(list: &[Listed]) -> Vec<Choice> {
    let gpus: Vec<&Choice> = list.iter().map(|listed| &listed.choice).filter(|choice| choice.is_hardware()).collect();
    let way = |choice: &Choice| choice.adapter().map(|info| info.backend);
    let first = gpus.first().copied().and_then(way);
    gpus.into_iter().filter(|choice| way(choice) == first).cloned().collect()
}

fn find_in(list: &[Listed], wanted: &str) -> Result<Choice, DeviceError> {
    if is_all(wanted) {
        return Err(DeviceError::OneOnly);
    }
    let index = pick(wanted, &list.iter().map(|l| (l.choice.name(), l.auto.is_some())).collect::<Vec<_>>());
    match index {
        Some(index) => Ok(list[index].choice.clone()),
        None => Err(DeviceError::Unknown {
            wanted: wanted.into(),
            found: list
                .iter()
                .enumerate()
                .map(|(i, l)| format!("{i} {}", l.choice.name()))
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

fn is_all(wanted: &str) -> bool {
    wanted.trim().eq_ignore_ascii_case("all")
}

/// Whether the choice is left to the program.
pub fn is_auto(wanted: &str) -> bool {
    wanted.trim().eq_ignore_ascii_case("auto")
}

/// The index of the device that is meant, from names and whether `auto` takes them.
fn pick(wanted: &str, names: &[(String, bool)]) -> Option<usize> {
    if is_auto(wanted) {
        return names.iter().position(|(_, auto)| *auto);
    }
    if let Ok(number) = wanted.parse::<usize>()
        && number < names.len()
    {
        return Some(number);
    }
    if wanted.bytes().all(|byte| byte.is_ascii_digit()) {
        return names.iter().position(|(name, _)| !wanted.is_empty() && has_number(name, wanted));
    }
    let wanted = wanted.to_lowercase();
    names.iter().position(|(name, _)| name.to_lowercase().contains(&wanted))
}

/// Whether a whole number is part of a device's name. What follows in brackets, such as threads and versions, does not
/// count: otherwise the number of a device that is not there would match it.
fn has_number(name: &str, number: &str) -> bool {
    let called = name.split(" (").next().unwrap_or_default();
    called.split(|c: char| !c.is_ascii_digit()).any(|digits| digits == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<(String, bool)> {
        let names = [
            "NVIDIA GeForce RTX 4090 (Vulkan)",
            "NVIDIA GeForce RTX 4090 (GL)",
            "CPU (2 threads)",
            "llvmpipe (LLVM 15.0.6, 256 bits) (Vulkan)",
        ];
        names.iter().enumerate().map(|(i, name)| (name.to_string(), i == 0)).collect()
    }

    #[test]
    fn a_device_is_found_by_number_and_by_part_of_its_name() {
        let names = names();
        assert_eq!(pick("auto", &names), Some(0));
        assert_eq!(pick("1", &names), Some(1));
        assert_eq!(pick("geforce", &names), Some(0));
        assert_eq!(pick("(gl)", &names), Some(1));
        assert_eq!(pick("LLVMpipe", &names), Some(3));
        // A number past the end of the list may still be part of a name.
        assert_eq!(pick("4090", &names), Some(0));
        assert_eq!(pick("17", &names), None);
        assert_eq!(pick("", &names), None);
    }

    #[test]
    fn the_number_of_a_device_that_is_not_there_is_none_that_a_name_has_by_chance() {
        for number in ["5", "9", "15", "90", "256"] {
            assert_eq!(pick(number, &names()), None, "{number}");
        }
        // The CPU has two threads.
        assert_eq!(pick("2", &names()[2..]), None);
        assert_eq!(pick("LLVM 15", &names()), Some(3));
    }

    #[test]
    fn the_cpu_is_always_there_and_auto_takes_exactly_one_device_that_is_no_software_adapter() {
        let list = list();
        assert!(list.iter().any(|l| matches!(l.choice, Choice::Cpu)));
        let auto: Vec<_> = list.iter().filter(|l| l.auto.is_some()).collect();
        assert_eq!(auto.len(), 1);
        assert!(auto[0].choice.adapter().is_none_or(|info| info.class != Class::Software));
    }

    #[test]
    fn an_unknown_device_is_answered_with_those_that_there_are() {
        let error = find("no such device").err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains("CPU ("), "{error}");
    }

    /// Some adapter of this machine, which only wgpu can make.
    fn adapter(test: &str) -> Option<gpu::Adapter> {
        let found = gpu::adapters().into_iter().next();
        if found.is_none() {
            eprintln!("SKIPPED {test}: no GPU and no software adapter was found");
            assert!(std::env::var("INKGRAD_REQUIRE_GPU").as_deref() != Ok("1"), "INKGRAD_REQUIRE_GPU is set");
        }
        found
    }

    #[test]
    fn auto_takes_the_first_discrete_card_and_all_takes_each_card_once() {
        let Some(adapter) = adapter("auto_takes_the_first_discrete_card_and_all_takes_each_card_once") else { return };
        let card = |name: &str, class, backend| {
            let mut card = adapter.clone();
            card.info = AdapterInfo { backend, ..AdapterInfo::plain(name, class, 0) };
            card
        };
        let list = arrange(vec![
            card("llvmpipe", Class::Software, "Vulkan"),
            card("Iris", Class::Integrated, "Vulkan"),
            card("GeForce", Class::Discrete, "Vulkan"),
            card("GeForce", Class::Discrete, "DX12"),
        ]);
        let auto: Vec<String> = list.iter().filter(|l| l.auto.is_some()).map(|l| l.choice.name()).collect();
        assert_eq!(auto, ["GeForce (Vulkan)"]);
        let all: Vec<String> = every_gpu(&list).iter().map(Choice::name).collect();
        assert_eq!(all, ["Iris (Vulkan)", "GeForce (Vulkan)"]);
    }

    #[test]
    fn a_tensor_is_no_larger_than_a_shader_may_see() {
        let Some(mut adapter) = adapter("a_tensor_is_no_larger_than_a_shader_may_see") else { return };
        (adapter.info.limits.buffer, adapter.info.limits.binding) = (1 << 31, 1 << 27);
        assert_eq!(Choice::Gpu(Box::new(adapter)).largest_tensor(), 1 << 27);
    }
}
