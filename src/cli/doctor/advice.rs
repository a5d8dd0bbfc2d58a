//! What is wrong with a system's GPUs, and what to do: rules over what was found, and a table of known driver faults.

use super::surroundings::{Render, Surroundings, vendor};
use crate::device::gpu::{AdapterInfo, Class};

/// A driver fault that is documented elsewhere.
struct Known {
    fits: fn(&AdapterInfo) -> bool,
    what: &'static str,
}

/// Only faults with a public source.
const KNOWN: &[Known] = &[
    // There, the output of wgpu's own hello-compute is partly garbage: gfx-rs/wgpu#1583, open since 2021.
    Known {
        fits: |info| info.backend == "GL" && (info.name.contains("V3D") || info.name.contains("V4D")),
        what: "the GL driver of the Raspberry Pi computes garbage (gfx-rs/wgpu#1583): use Vulkan, or --device cpu",
    },
    // Mesa calls its own Vulkan on Direct3D 12 not conformant, and wgpu hides it unless told not to: gfx-rs/wgpu#4718.
    Known {
        fits: |info| info.name.contains("Microsoft Direct3D12") || info.driver.to_lowercase().contains("dozen"),
        what: "Mesa's Vulkan over Direct3D 12 (dozen) does not pass Vulkan's tests (gfx-rs/wgpu#4718): trust it as far \
               as the ops below agree",
    },
    // The other drivers that are not conformant, shown only if a user has asked for them: gfx-rs/wgpu#4718.
    Known {
        fits: |info| ["(HSW", "(IVB", "(BYT"].iter().any(|gpu| info.name.contains(gpu)) && info.backend == "Vulkan",
        what: "the Vulkan driver of Intel's seventh generation (hasvk) does not pass Vulkan's tests \
               (gfx-rs/wgpu#4718): trust it as far as the ops below agree",
    },
    // From wgpu's own list of what GL lacks, and from a driver that took minutes to compile the clearing of shared
    // memory.
    Known {
        fits: |info| info.backend == "GL",
        what: "GL is the last resort: no 16-bit floats, no subgroups, slow to compile; a Vulkan driver is faster",
    },
    // wgpu falls back to Microsoft's old compiler, which supports neither, if it finds no newer one:
    // `wgpu::Dx12Compiler::Auto`.
    Known {
        fits: |info| info.backend == "DX12" && !info.f16 && info.subgroups.is_none(),
        what: "there is no dxcompiler.dll, so that shaders have no 16-bit floats and no subgroups, and take several times \
               as long to compile: put one (1.8.2502 or later, of microsoft/DirectXShaderCompiler) beside inkgrad.exe, \
               or use the card's Vulkan driver",
    },
];

/// One line for each thing that the user should know or do, the most important first. `chosen` is the adapter to be
/// used, `None` for the CPU.
pub fn advice(around: &Surroundings, adapters: &[AdapterInfo], chosen: Option<&AdapterInfo>) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(info) = chosen {
        lines.extend(KNOWN.iter().filter(|known| (known.fits)(info)).map(|known| format!("{info}: {}", known.what)));
    }
    let usable = |info: &&AdapterInfo| info.problem.is_none() && info.class != Class::Software;
    let hardware: Vec<&AdapterInfo> = adapters.iter().filter(usable).collect();
    if let (Some(discrete), Some(info)) = (hardware.iter().find(|info| info.class == Class::Discrete), chosen)
        && info.class != Class::Discrete
    {
        lines.push(format!("{info} is {}, and there is a discrete GPU: --device \"{}\"", info.class, discrete.name));
    }
    if chosen.is_none()
        && let Some(info) = hardware.first()
    {
        lines.push(format!("the CPU was asked for, and there is a GPU: --device \"{}\"", info.name));
    }
    lines.extend(unseen(around, adapters));
    if hardware.is_empty() {
        lines.extend(missing(around));
        if adapters.iter().any(|info| info.class == Class::Software) {
            lines.push(
                "only a software adapter was found: it is for tests, and --device cpu, which `auto` takes, is faster"
                    .into(),
            );
        }
    }
    if !around.set.is_empty() && hardware.is_empty() {
        lines.push(format!("{} may hide adapters: try without", around.set.join(", ")));
    }
    lines
}

/// Advice on cards on the bus that no adapter shows.
fn unseen(around: &Surroundings, adapters: &[AdapterInfo]) -> Vec<String> {
    let hidden = around.cards.iter().filter(|card| adapters.iter().all(|info| info.vendor != **card));
    let known = hidden.filter(|card| super::surroundings::VENDORS.iter().any(|(id, _)| id == *card));
    known
        .map(|card| {
            let driver = match *card {
                0x10de => "NVIDIA's driver (Debian and Ubuntu: nvidia-driver, with nvidia_icd.json in icd.d)",
                _ => "Mesa's (Debian and Ubuntu: mesa-vulkan-drivers; Fedora and Arch: mesa-vulkan-drivers, vulkan-radeon, \
                      vulkan-intel)",
            };
            let old = "a card too old for conformant Vulkan is hidden unless WGPU_ALLOW_UNDERLYING_NONCOMPLIANT_ADAPTER=1";
            format!("there is a card of {}, and no driver shows it: install {driver}; {old}", vendor(*card))
        })
        .collect()
}

/// Why a system shows no GPU at all.
fn missing(around: &Surroundings) -> Vec<String> {
    let mut lines = Vec::new();
    if cfg!(target_os = "macos") {
        lines.push("no GPU was found, and Metal is a part of macOS: virtual machines often have none".into());
        return lines;
    }
    if !around.linux {
        lines.push("no GPU was found: install its maker's driver".into());
        return lines;
    }
    if !around.loader {
        lines.push(
            "there is no Vulkan loader: install it (Debian and Ubuntu: apt install libvulkan1; Fedora: dnf install \
             vulkan-loader; Arch: pacman -S vulkan-icd-loader)"
                .into(),
        );
    }
    if around.wsl {
        // microsoft/WSL#12584, gfx-rs/wgpu#4718
        lines.push(
            "in WSL a GPU is reached through Mesa's dozen, which is hidden as it does not pass Vulkan's tests: \
             WGPU_ALLOW_UNDERLYING_NONCOMPLIANT_ADAPTER=1 inkgrad doctor shows and checks it; inkgrad for Windows \
             needs no detour"
                .into(),
        );
    } else if around.container {
        // NVIDIA's container toolkit brings Vulkan's files only with the `graphics` capability:
        // NVIDIA/nvidia-container-toolkit#16.
        let lacks = |capability| !capability_given(around, capability);
        if lacks("graphics") {
            lines.push(
                "in a container an NVIDIA GPU needs: docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=all, and \
                 libvulkan1 in the image"
                    .into(),
            );
        } else if !around.drivers.iter().any(|name| name.contains("nvidia")) {
            lines.push(
                "the NVIDIA container runtime brought no nvidia_icd.json: update it, or mount the host's \
                 /etc/vulkan/icd.d/nvidia_icd.json (or that of /usr/share/vulkan/icd.d) to the same place"
                    .into(),
            );
        }
        if around.render == Render::Missing {
            lines.push(
                "in a container a GPU of AMD or Intel needs: docker run --device /dev/dri, and Mesa's drivers \
                        in the image (mesa-vulkan-drivers)"
                    .into(),
            );
        }
    }
    if around.render == Render::Forbidden {
        lines.push(
            "/dev/dri/renderD* is closed to this user: usermod -aG render USER, and log in again (in a container: \
             --group-add render)"
                .into(),
        );
    }
    if around.loader && around.drivers.is_empty() {
        lines.push(
            "there is a Vulkan loader and no driver in icd.d: install the GPU's (mesa-vulkan-drivers for AMD and \
             Intel, NVIDIA's own for NVIDIA)"
                .into(),
        );
    }
    if lines.is_empty() && around.cards.is_empty() {
        lines.push("the system shows no graphics card: the CPU does all the work".into());
    }
    lines
}

fn capability_given(around: &Surroundings, wanted: &str) -> bool {
    around.nvidia_capabilities.as_deref().is_some_and(|all| all.split(',').any(|one| one == wanted || one == "all"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A healthy desktop.
    fn desktop() -> Surroundings {
        Surroundings {
            linux: true,
            loader: true,
            drivers: vec!["nvidia_icd.json".into()],
            cards: vec![0x10de],
            render: Render::Open,
            ..Surroundings::default()
        }
    }

    fn nvidia() -> AdapterInfo {
        AdapterInfo::plain("NVIDIA GeForce RTX 4090", Class::Discrete, 0x10de)
    }

    #[test]
    fn a_healthy_system_needs_no_advice() {
        assert_eq!(advice(&desktop(), &[nvidia()], Some(&nvidia())), [""; 0]);
    }

    #[test]
    fn the_wrong_gpu_is_answered_with_the_right_one() {
        let (intel, both) = (AdapterInfo::plain("Intel UHD", Class::Integrated, 0x8086), [0x8086, 0x10de]);
        let around = Surroundings { cards: both.into(), ..desktop() };
        let lines = advice(&around, &[nvidia(), intel.clone()], Some(&intel));
        assert!(lines.len() == 1 && lines[0].contains("--device \"NVIDIA GeForce RTX 4090\""), "{lines:?}");
        let lines = advice(&around, &[nvidia(), intel], None);
        assert!(lines.len() == 1 && lines[0].contains("the CPU was asked for"), "{lines:?}");
    }

    #[test]
    fn a_card_without_a_driver_is_named() {
        let around = Surroundings { drivers: vec!["lvp_icd.x86_64.json".into()], ..desktop() };
        let software = AdapterInfo::plain("llvmpipe", Class::Software, 0x10005);
        let lines = advice(&around, &[software], None).join("\n");
        assert!(lines.contains("card of NVIDIA") && lines.contains("only a software adapter"), "{lines}");
    }

    #[test]
    fn a_container_lacks_one_thing_after_the_other() {
        let bare = Surroundings { linux: true, container: true, ..Surroundings::default() };
        let lines = advice(&bare, &[], None).join("\n");
        for word in ["libvulkan1", "--gpus all", "NVIDIA_DRIVER_CAPABILITIES=all", "--device /dev/dri"] {
            assert!(lines.contains(word), "no {word} in {lines}");
        }
        let some = Surroundings { nvidia_capabilities: Some("compute,utility".into()), ..bare.clone() };
        assert!(advice(&some, &[], None).join("\n").contains("NVIDIA_DRIVER_CAPABILITIES=all"));
        let all = Surroundings { loader: true, nvidia_capabilities: Some("all".into()), ..bare };
        let lines = advice(&all, &[], None).join("\n");
        assert!(lines.contains("nvidia_icd.json") && !lines.contains("--gpus all"), "{lines}");
    }

    #[test]
    fn wsl_is_told_of_the_driver_that_is_hidden() {
        let around = Surroundings { wsl: true, cards: Vec::new(), ..desktop() };
        let lines = advice(&around, &[], None).join("\n");
        assert!(lines.contains("WGPU_ALLOW_UNDERLYING_NONCOMPLIANT_ADAPTER=1 inkgrad doctor"), "{lines}");
        let dozen = AdapterInfo::plain("Microsoft Direct3D12 (NVIDIA GeForce)", Class::Discrete, 0x10de);
        let lines = advice(&around, std::slice::from_ref(&dozen), Some(&dozen)).join("\n");
        assert!(lines.contains("does not pass Vulkan's tests"), "{lines}");
    }

    #[test]
    fn a_closed_node_and_a_variable_that_hides_are_said() {
        let around =
            Surroundings { render: Render::Forbidden, set: vec!["VK_ICD_FILENAMES"], cards: Vec::new(), ..desktop() };
        let lines = advice(&around, &[], None).join("\n");
        assert!(lines.contains("usermod -aG render") && lines.contains("VK_ICD_FILENAMES may hide"), "{lines}");
    }
}
