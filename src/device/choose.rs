//! Which device: by name, by number, or the one that `auto` takes.

use super::gpu::{self, Adapter, AdapterInfo, Class, Gpu};
use super::{Device, DeviceError, cpu::Cpu};

/// A device that can be chosen.
#[derive(Clone, Debug)]
pub enum Choice {
    Cpu,
    Gpu(Box<Adapter>),
}

impl Choice {
    /// As [`Device::name`] says it once the device is open.
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
    /// The most bytes that it takes as one tensor.
    pub fn largest_tensor(&self) -> u64 {
        self.adapter().map_or(u64::MAX, |info| info.limits.tensor())
    }
    /// The same device with units that multiply matrices in use, where it has them.
    pub fn with_matrix_units(mut self) -> Choice {
        if let Choice::Gpu(adapter) = &mut self {
            adapter.info.uses_matrix_units = true;
        }
        self
    }
    pub fn open(&self) -> Result<Box<dyn Device>, DeviceError> {
        Ok(match self {
            Choice::Cpu => Box::new(Cpu::new()),
            Choice::Gpu(adapter) => Box::new(Gpu::open(adapter)?),
        })
    }

    /// Whether it is a GPU that can be used, and no software that acts as one.
    fn is_hardware(&self) -> bool {
        self.adapter().is_some_and(|info| info.class != Class::Software && info.problem.is_none())
    }

    fn is_gpu_of(&self, class: Class) -> bool {
        self.adapter().is_some_and(|info| info.class == class && info.problem.is_none())
    }
}

/// A line of `inkgrad devices`; its place in the list is the number that names it.
#[derive(Clone, Debug)]
pub struct Listed {
    pub choice: Choice,
    /// Set for the one that `auto` takes: why.
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
    let first = |class| list.iter().position(|listed| listed.choice.is_gpu_of(class));
    let cpu = list.iter().position(|listed| matches!(listed.choice, Choice::Cpu)).unwrap_or(0);
    let (index, why) = first(Class::Discrete)
        .map(|i| (i, "the first discrete GPU"))
        .or_else(|| first(Class::Integrated).map(|i| (i, "an integrated GPU, and there is no discrete one")))
        // Virtual ones, and cards that are reached by GL alone.
        .or_else(|| first(Class::Other).map(|i| (i, "a GPU whose driver does not say what kind it is")))
        .unwrap_or((cpu, "there is no GPU, and the CPU device is faster than a software adapter"));
    list[index].auto = Some(why);
    list
}

/// Finds a device: `auto`, `cpu`, a number in [`list`], or a part of a name in any case.
pub fn find(wanted: &str) -> Result<Choice, DeviceError> {
    let wanted = wanted.trim();
    // No driver is asked where none is wanted.
    if wanted.eq_ignore_ascii_case("cpu") {
        return Ok(Choice::Cpu);
    }
    let list = list();
    find_in(&list, wanted).map_err(|error| match several(&list, wanted) {
        Some(Ok(_)) => DeviceError::OneOnly,
        _ => error,
    })
}

/// The devices of a list of them, if it is one.
fn several(list: &[Listed], wanted: &str) -> Option<Result<Vec<Choice>, DeviceError>> {
    wanted.contains(',').then(|| wanted.split(',').map(|one| find_in(list, one.trim())).collect())
}

/// Finds several: `all`, names or numbers with commas between them, or one as [`find`] does. `all` are the GPUs, each
/// reached in one way; where there is none, what `auto` takes.
pub fn find_all(wanted: &str) -> Result<Vec<Choice>, DeviceError> {
    if wanted.trim().eq_ignore_ascii_case("cpu") {
        return Ok(vec![Choice::Cpu]);
    }
    let list = list();
    if is_all(wanted) {
        let gpus = every_gpu(&list);
        return if gpus.is_empty() { Ok(vec![find_in(&list, "auto")?]) } else { Ok(gpus) };
    }
    // A name may have a comma too.
    match find_in(&list, wanted) {
        Ok(found) => Ok(vec![found]),
        Err(error) => several(&list, wanted).unwrap_or(Err(error)),
    }
}

/// The GPUs that are left for `auto` where `choice` cannot be used, in order of preference: others, and the same one by
/// another driver.
pub fn others(choice: &Choice) -> Vec<Choice> {
    let mut gpus: Vec<Choice> = list().into_iter().map(|listed| listed.choice).filter(Choice::is_hardware).collect();
    // Of several that are called the same the first was taken.
    if let Some(taken) = gpus.iter().position(|gpu| gpu.name() == choice.name()) {
        gpus.remove(taken);
    }
    gpus
}

/// GPUs that are hardware, by the way that the preferred one is reached: another way would show the same ones again.
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

/// The index of the device that is meant, of names and whether `auto` takes them.
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

/// Whether a whole number is part of what a device is called. What stands in brackets behind it is not, such as threads
/// and versions: the number of a device that is not there would find them.
fn has_number(name: &str, number: &str) -> bool {
    let called = name.split(" (").next().unwrap_or_default();
    called.split(|c: char| !c.is_ascii_digit()).any(|digits| digits == number)
}

/// Opens the device that [`find`] finds, whatever it computes. [`crate::check::open`] looks at a GPU's results first, and
/// has another, at last the CPU, in place of one that `auto` has taken and that is not to be trusted.
pub fn open(wanted: &str) -> Result<Box<dyn Device>, DeviceError> {
    find(wanted)?.open()
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
        // A number past the list may still be a part of a name.
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
}
