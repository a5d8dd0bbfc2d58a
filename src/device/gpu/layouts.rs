//! Which layout of an op is the fastest on an adapter: measured on request, remembered in the cache folder.
//!
//! A kernel is laid out for a [`Target`], which follows from the adapter's class. That was chosen on one card of the
//! class; on another card another may be faster, op by op. A measurement holds for that adapter, its driver and these
//! shaders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{AdapterInfo, Gpu};
use crate::cache;
use crate::device::{Device, DeviceError, PlanId};
use crate::hash::digest_of;
use crate::ops::{Kernel, Target};
use crate::plan::{self, Dispatch, Plan, View};
use crate::tensor::Kind;

/// How much faster another layout must be: less is noise, and would change a result's last bits for nothing.
const WORTHWHILE: f64 = 1.05;
/// How far apart two layouts' sums may be, as a fraction of the largest: they add up in different orders.
const ROUNDING: f32 = 1e-3;
/// How many times a step is measured with each layout; slow steps vary less.
const TIMES: usize = 10;
const SLOW_TIMES: usize = 3;
const SLOW: Duration = Duration::from_millis(100);

/// The targets that a kernel may be laid out for, the adapter's own first.
pub fn candidates(own: Target) -> Vec<Target> {
    let busy = [19, 17, 15, 13].map(|power| 1 << power).into_iter().chain([Target::SOFTWARE.busy]);
    let of = |busy| {
        [Target::REGISTERS, Target::FEW_REGISTERS].map(|registers| Target { busy, registers, subgroup: 0, ..own })
    };
    let mut all = vec![own];
    all.extend(busy.flat_map(of).filter(|target| *target != own));
    all
}

/// A dispatch's kernel as it is laid out for a target.
pub fn kernel(dispatch: &Dispatch, target: Target) -> Kernel {
    dispatch.op.gpu(&plan::tensors(&dispatch.inputs), &plan::tensors(&dispatch.outputs), target)
}

/// What was found to be faster than an adapter's own layout, keyed by the kernel in its own layout.
#[derive(Clone, Debug)]
pub struct Layouts {
    /// `None` where there is nowhere to remember anything.
    path: Option<PathBuf>,
    about: String,
    chosen: BTreeMap<String, Target>,
}

#[derive(Serialize, Deserialize)]
struct File {
    about: String,
    layouts: BTreeMap<String, Target>,
}

impl Layouts {
    /// What is remembered about an adapter.
    pub fn of(info: &AdapterInfo) -> Layouts {
        Layouts::at(cache::folder().as_deref(), info)
    }

    fn at(cache: Option<&Path>, info: &AdapterInfo) -> Layouts {
        // Matrix units have their own kernels, with one layout each; all other kernels are the same as without them.
        let about = AdapterInfo { uses_matrix_units: false, ..info.clone() }.identity();
        let matrices = info.target().matrices;
        let path = cache.map(|cache| cache::entry(cache, "layouts", &about, "json"));
        let kept = path.as_ref().and_then(|path| std::fs::read(path).ok());
        let kept =
            kept.and_then(|bytes| serde_json::from_slice::<File>(&bytes).ok()).filter(|file| file.about == about);
        let known = candidates(info.target());
        let mut chosen = kept.map(|file| file.layouts).unwrap_or_default();
        chosen.values_mut().for_each(|choice| choice.matrices = matrices);
        chosen.retain(|_, choice| known.contains(choice));
        Layouts { path, about, chosen }
    }

    pub fn len(&self) -> usize {
        self.chosen.len()
    }

    /// Equal where results are equal to the last bit. `None` where every op has the adapter's own layout.
    pub fn digest(&self) -> Option<u64> {
        (!self.chosen.is_empty()).then(|| digest_of(&format!("{:?}", self.chosen)))
    }

    /// The target that a kernel in the adapter's own layout should be laid out for instead.
    pub fn instead_of(&self, own: &Kernel) -> Option<Target> {
        if self.chosen.is_empty() { None } else { self.chosen.get(&key(own)).copied() }
    }

    fn choose(&mut self, own: &Kernel, target: Option<Target>) {
        match target {
            Some(target) => self.chosen.insert(key(own), target),
            None => self.chosen.remove(&key(own)),
        };
    }

    /// Returns the file, if there is a place for one.
    ///
    /// # Errors
    /// What the system says.
    fn keep(&self) -> std::io::Result<Option<&Path>> {
        let Some(path) = &self.path else { return Ok(None) };
        let file = File { about: self.about.clone(), layouts: self.chosen.clone() };
        cache::write(path, &serde_json::to_vec_pretty(&file)?)?;
        Ok(Some(path))
    }
}

/// A kernel is plain data, and its key is all of it: file, entry, constants and workgroups.
fn key(kernel: &Kernel) -> String {
    format!("{} {:016x}", kernel.file, digest_of(&format!("{kernel:?}")))
}

/// What [`Gpu::tune`] found out about one kernel of a plan.
#[derive(Clone, Debug)]
pub struct Tuned {
    /// The first dispatch that uses it, and how many do.
    pub dispatch: usize,
    pub dispatches: usize,
    /// How long one takes in the adapter's own layout, and in the one that was taken.
    pub own: Duration,
    pub taken: Duration,
    /// Faster layouts whose results were wrong.
    pub wrong: usize,
}

impl Tuned {
    /// Whether a layout other than the adapter's own was taken: only a faster one is.
    pub fn changed(&self) -> bool {
        self.taken < self.own
    }
}

impl Gpu {
    /// The number of layouts remembered for this adapter.
    pub fn layouts(&self) -> usize {
        self.layouts.len()
    }

    /// Forgets them; plans made ready before keep theirs.
    ///
    /// # Errors
    /// What the system says about the file.
    pub fn forget_layouts(&mut self) -> std::io::Result<()> {
        self.layouts.chosen.clear();
        self.layouts.keep().map(drop)
    }

    /// Times every layout of each of a plan's ops, and uses the fastest for plans from now on. A layout is taken only
    /// where its results agree with those of the adapter's own. The contents of stored buffers are spoiled.
    ///
    /// # Errors
    /// As [`Device::prepare`] and [`Device::profile`], and for results in 16 bits: layouts are chosen for float32.
    pub fn tune(&mut self, plan: &Plan) -> Result<Vec<Tuned>, DeviceError> {
        let mut outputs = plan.dispatches.iter().flat_map(|dispatch| &dispatch.outputs);
        if outputs.any(|view| view.tensor.kind == Kind::F16) {
            return Err(self.health.failed("layouts are chosen for results in 32 bits; these are in 16"));
        }
        let before = self.plans.len();
        let tuned = self.compare_layouts(plan);
        self.plans.truncate(before);
        tuned
    }

    /// Remembers what was found. Returns the file, if there is a place for one.
    ///
    /// # Errors
    /// What the system says.
    pub fn keep_layouts(&self) -> std::io::Result<Option<&Path>> {
        self.layouts.keep()
    }

    fn compare_layouts(&mut self, plan: &Plan) -> Result<Vec<Tuned>, DeviceError> {
        let own = self.info.target();
        let kernels = |target| plan.dispatches.iter().map(|dispatch| kernel(dispatch, target)).collect::<Vec<_>>();
        let of_own = kernels(own);
        // Each way to lay out the whole plan.
        let mut ways = Vec::new();
        for target in candidates(own) {
            let of_target = kernels(target);
            if ways.iter().any(|(_, _, known)| *known == of_target) {
                continue;
            }
            match self.prepare_kernels(plan, &of_target) {
                Ok(prepared) => ways.push((target, self.add(prepared), of_target)),
                Err(error) if target == own => return Err(error),
                // Such as a layout that needs more memory than workgroups have here.
                Err(error) => log::info!("{target:?}: {error}"),
            }
        }
        let slow = self.profile(ways[0].1, 1)?.iter().sum::<Duration>() > SLOW;
        let mut times = vec![vec![Duration::MAX; plan.dispatches.len()]; ways.len()];
        // In turn, since clock rates change.
        for _ in 0..if slow { SLOW_TIMES } else { TIMES } {
            for ((_, way, _), times) in ways.iter().zip(&mut times) {
                let now = self.profile(*way, 1)?;
                times.iter_mut().zip(now).for_each(|(shortest, now)| *shortest = now.min(*shortest));
            }
        }
        let mut found: Vec<Tuned> = Vec::new();
        for (i, dispatch) in plan.dispatches.iter().enumerate() {
            if let Some(same) = found.iter_mut().find(|tuned| of_own[tuned.dispatch] == of_own[i]) {
                same.dispatches += 1;
                continue;
            }
            let took = times[0][i];
            let mut faster: Vec<usize> = (1..ways.len())
                .filter(|way| ways[*way].2[i] != of_own[i])
                .filter(|way| times[*way][i].as_secs_f64() * WORTHWHILE < took.as_secs_f64())
                .collect();
            faster.sort_by_key(|way| times[*way][i]);
            let (mut taken, mut wrong) = (None, 0);
            if !faster.is_empty() {
                let wanted = self.results(ways[0].1, i, &dispatch.outputs)?;
                for way in faster {
                    let got = self.results(ways[way].1, i, &dispatch.outputs)?;
                    if agree(&wanted, &got) {
                        taken = Some(way);
                        break;
                    }
                    wrong += 1;
                }
            }
            self.layouts.choose(&of_own[i], taken.map(|way| ways[way].0));
            found.push(Tuned {
                dispatch: i,
                dispatches: 1,
                own: took,
                taken: taken.map_or(took, |way| times[way][i]),
                wrong,
            });
        }
        Ok(found)
    }

    /// What one dispatch of a plan computes from whatever its inputs hold.
    fn results(&mut self, plan: PlanId, dispatch: usize, outputs: &[View]) -> Result<Vec<f32>, DeviceError> {
        self.bind_again(plan.index)?;
        let mut encoder = self.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            self.plans[plan.index].record(&self.pipelines, dispatch, &mut pass);
        }
        self.submit(encoder.finish())?;
        let mut all = Vec::new();
        for view in outputs {
            let buffer = self.holding(view).clone();
            let mut words = vec![0; view.tensor.len()];
            self.download(&buffer, view.offset, &mut words)?;
            all.extend(words.into_iter().map(f32::from_bits));
        }
        Ok(all)
    }
}

/// Whether these are the same sums up to rounding.
fn agree(wanted: &[f32], got: &[f32]) -> bool {
    let largest = wanted.iter().filter(|x| x.is_finite()).fold(0.0, |most, x| f32::max(most, x.abs()));
    let close = |(a, b): (&f32, &f32)| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= ROUNDING * largest;
    wanted.len() == got.len() && wanted.iter().zip(got).all(close)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::gpu::Class;
    use crate::ops::MatrixUnits;

    fn card() -> AdapterInfo {
        AdapterInfo { driver: "580".into(), ..AdapterInfo::plain("GeForce", Class::Discrete, 0x10de) }
    }

    fn some_kernel() -> Kernel {
        Kernel::groups("conv2d", "forward", 64).with("SPLIT", 4usize)
    }

    #[test]
    fn a_choice_is_remembered_for_the_adapter_and_the_driver_that_it_was_made_on() {
        let cache = tempfile::tempdir().unwrap();
        let open = |info: &AdapterInfo| Layouts::at(Some(cache.path()), info);
        let mut layouts = open(&card());
        assert!(layouts.digest().is_none() && layouts.instead_of(&some_kernel()).is_none());
        layouts.choose(&some_kernel(), Some(Target::INTEGRATED));
        layouts.keep().unwrap();
        let again = open(&card());
        assert_eq!(again.instead_of(&some_kernel()), Some(Target::INTEGRATED));
        assert_eq!(again.digest(), layouts.digest());
        assert_eq!(again.instead_of(&some_kernel().with("SPLIT", 8usize)), None);
        assert_eq!(open(&AdapterInfo { driver: "581".into(), ..card() }).len(), 0);
        assert_eq!(open(&AdapterInfo { name: "Radeon".into(), ..card() }).len(), 0);
        // With matrix units, which only some kernels use, what was found without them still holds for the others.
        let units = Some(MatrixUnits { edge: 16, subgroup: 32, memory: 32 << 10 });
        let with_units = AdapterInfo { matrix_units: units, uses_matrix_units: true, ..card() };
        let wanted = Target { matrices: units, ..Target::INTEGRATED };
        assert_eq!(open(&with_units).instead_of(&some_kernel()), Some(wanted));
        layouts.choose(&some_kernel(), Some(Target::SOFTWARE));
        assert_ne!(again.digest(), layouts.digest());
        layouts.choose(&some_kernel(), None);
        layouts.keep().unwrap();
        assert_eq!(open(&card()).len(), 0);
    }

    #[test]
    fn a_damaged_file_and_layouts_that_there_are_not_are_no_choices() {
        let cache = tempfile::tempdir().unwrap();
        let mut layouts = Layouts::at(Some(cache.path()), &card());
        layouts.choose(&some_kernel(), Some(Target::INTEGRATED));
        let path = layouts.keep().unwrap().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        for damaged in [&text[..text.len() / 2], "", "[]", &text.replace("32768", "7"), &text.replace("580", "579")] {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(Layouts::at(Some(cache.path()), &card()).len(), 0, "{damaged}");
        }
        std::fs::write(&path, &text).unwrap();
        assert_eq!(Layouts::at(Some(cache.path()), &card()).len(), 1);
    }

    #[test]
    fn sums_agree_in_another_order_and_not_with_one_left_out() {
        assert!(agree(&[1.0, -1000.0, f32::NAN], &[1.01, -1000.1, f32::NAN]));
        assert!(!agree(&[1.0, -1000.0], &[3.0, -1000.0]));
        assert!(!agree(&[1.0], &[f32::NAN]));
        assert!(!agree(&[1.0, 2.0], &[1.0]));
    }
}
