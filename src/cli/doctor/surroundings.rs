//! What a system has, and what a program sees of it, as far as that decides which GPUs there are. Nothing that
//! identifies the user: no paths but the system's own.

use std::fs;
use std::path::Path;

/// GPU makers, by their numbers on the PCI bus.
pub const VENDORS: [(u32, &str); 3] = [(0x10de, "NVIDIA"), (0x1002, "AMD"), (0x8086, "Intel")];

/// Where Linux keeps the manifests that the Vulkan loader reads (docs/LoaderDriverInterface.md of
/// KhronosGroup/Vulkan-Loader).
const MANIFESTS: [&str; 4] =
    ["/etc/vulkan/icd.d", "/usr/share/vulkan/icd.d", "/usr/local/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];
/// Where the loader itself may be.
const LIBRARIES: [&str; 7] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
];
/// Variables that decide which drivers and adapters are seen.
const VARIABLES: [&str; 5] =
    ["VK_ICD_FILENAMES", "VK_DRIVER_FILES", "VK_LOADER_DRIVERS_DISABLE", "WGPU_BACKEND", "LIBGL_ALWAYS_SOFTWARE"];

/// What Linux shows, where there are several signs of a GPU; other systems bring driver and loader together.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Surroundings {
    pub linux: bool,
    pub container: bool,
    pub wsl: bool,
    /// The library that finds Vulkan drivers.
    pub loader: bool,
    /// The Vulkan drivers that are installed, by the names of their manifests.
    pub drivers: Vec<String>,
    /// Makers of the cards on the bus, each once.
    pub cards: Vec<u32>,
    pub render: Render,
    /// The NVIDIA container runtime's setting for what it brings into a container.
    pub nvidia_capabilities: Option<String>,
    /// Those of [`VARIABLES`] that are set.
    pub set: Vec<&'static str>,
}

/// The files through which a program reaches a GPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Render {
    #[default]
    Missing,
    /// There, but not accessible to this user.
    Forbidden,
    Open,
}

impl Surroundings {
    pub fn look() -> Surroundings {
        let set = VARIABLES.into_iter().filter(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
        let linux = cfg!(target_os = "linux");
        let set = set.collect();
        if !linux {
            return Surroundings { set, ..Surroundings::default() };
        }
        let says = |path: &str, words: &[&str]| {
            fs::read_to_string(path).is_ok_and(|text| words.iter().any(|word| text.to_lowercase().contains(word)))
        };
        Surroundings {
            linux,
            container: Path::new("/.dockerenv").exists()
                || Path::new("/run/.containerenv").exists()
                || std::env::var_os("container").is_some()
                || says("/proc/1/cgroup", &["docker", "kubepods", "containerd", "lxc"]),
            wsl: says("/proc/version", &["microsoft"]),
            loader: LIBRARIES.iter().any(|folder| Path::new(folder).join("libvulkan.so.1").exists()),
            drivers: manifests(),
            cards: cards(Path::new("/sys/bus/pci/devices")),
            render: render(Path::new("/dev/dri")),
            nvidia_capabilities: std::env::var("NVIDIA_DRIVER_CAPABILITIES").ok(),
            set,
        }
    }

    /// The lines of a report.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.linux {
            let list = |names: Vec<String>| if names.is_empty() { "none".into() } else { names.join(", ") };
            let cards = self.cards.iter().map(|id| vendor(*id)).collect();
            lines.push(format!("container: {}, WSL: {}", yes(self.container), yes(self.wsl)));
            lines.push(format!("Vulkan loader (libvulkan.so.1): {}", if self.loader { "found" } else { "not found" }));
            lines.push(format!("Vulkan drivers: {}", list(self.drivers.clone())));
            lines.push(format!("graphics cards on the bus: {}", list(cards)));
            lines.push(format!(
                "/dev/dri/renderD*: {}",
                match self.render {
                    Render::Missing => "none",
                    Render::Forbidden => "there, but closed to this user",
                    Render::Open => "open",
                }
            ));
        }
        if let Some(capabilities) = &self.nvidia_capabilities {
            lines.push(format!("NVIDIA_DRIVER_CAPABILITIES: {capabilities}"));
        }
        if !self.set.is_empty() {
            lines.push(format!("set: {}", self.set.join(", ")));
        }
        lines
    }
}

/// A maker's name, or its number.
pub fn vendor(id: u32) -> String {
    VENDORS.iter().find(|(known, _)| *known == id).map_or_else(|| format!("{id:#06x}"), |(_, name)| (*name).into())
}

fn yes(there: bool) -> &'static str {
    if there { "yes" } else { "no" }
}

fn manifests() -> Vec<String> {
    let files = MANIFESTS.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let mut names: Vec<String> = files.filter_map(|file| file.file_name().into_string().ok()).collect();
    names.retain(|name| name.ends_with(".json"));
    names.sort();
    names.dedup();
    names
}

fn cards(bus: &Path) -> Vec<u32> {
    let number = |path: &Path, name: &str| {
        let text = fs::read_to_string(path.join(name)).ok()?;
        u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()
    };
    let devices = fs::read_dir(bus).into_iter().flatten().flatten().map(|entry| entry.path());
    // Class 3 is display controllers; the lower 16 bits say which kind.
    let display = devices.filter(|path| number(path, "class").is_some_and(|class| class >> 16 == 3));
    let mut makers: Vec<u32> = display.filter_map(|path| number(&path, "vendor")).collect();
    makers.sort_unstable();
    makers.dedup();
    makers
}

fn render(folder: &Path) -> Render {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let nodes: Vec<_> = entries.filter(|e| e.file_name().to_string_lossy().starts_with("renderD")).collect();
    let opens = |path: &Path| fs::OpenOptions::new().read(true).write(true).open(path).is_ok();
    match nodes.iter().any(|node| opens(&node.path())) {
        true => Render::Open,
        false if nodes.is_empty() => Render::Missing,
        false => Render::Forbidden,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_found_by_the_class_of_their_device() {
        let bus = tempfile::tempdir().unwrap();
        for (place, class, vendor) in [
            ("0000:00:02.0", "0x030000", "0x8086"),
            ("0000:01:00.0", "0x030200", "0x10de"),
            ("x", "0x020000", "0x1002"),
        ] {
            let device = bus.path().join(place);
            fs::create_dir(&device).unwrap();
            fs::write(device.join("class"), format!("{class}\n")).unwrap();
            fs::write(device.join("vendor"), format!("{vendor}\n")).unwrap();
        }
        assert_eq!(cards(bus.path()), [0x10de, 0x8086]);
        assert!(cards(&bus.path().join("missing")).is_empty());
    }

    #[test]
    fn a_render_node_counts_as_there_only_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(render(folder.path()), Render::Missing);
        fs::write(folder.path().join("card0"), "").unwrap();
        assert_eq!(render(folder.path()), Render::Missing);
        fs::write(folder.path().join("renderD128"), "").unwrap();
        assert_eq!(render(folder.path()), Render::Open);
    }
}
