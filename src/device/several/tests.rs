use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::device::rigged::{Moment, Rigged};
use crate::graph::Graph;
use crate::ops::elementwise::{Add, Scale};
use crate::tensor::Tensor;

const NUMBERS: usize = 64;

/// Two cards whose weights shrink by a tenth in a step: one plan computes by how much, which they share, another does
/// it.
struct Team {
    device: Box<dyn Device>,
    weights: BufferId,
    step: [PlanId; 2],
    /// The number of words written to them and read from them.
    moved: Arc<AtomicUsize>,
}

impl Team {
    /// An odd card has another name, or another driver, and weights that are off by their last bit after every run.
    fn of(odd: [bool; 2], weights: &[f32]) -> Team {
        let mut store = Store::default();
        let [kept, shared] = ["weights", "gradients"].map(|name| store.place(name, Tensor::f32([NUMBERS])));
        let moved = Arc::<AtomicUsize>::default();
        let cards = odd.map(|is_odd| {
            let (moved, weights) = (Arc::clone(&moved), kept.buffer);
            let (name, driver) = match is_odd {
                false => ("a card", "580"),
                true if odd[0] => ("an odd card", "580"),
                true => ("a card", "581"),
            };
            Rigged::driven(name, driver, move |cpu, moment| {
                match moment {
                    Moment::Moves(words) => {
                        moved.fetch_add(words, Ordering::SeqCst);
                    }
                    Moment::HasRun if is_odd => {
                        let mut words = [0; NUMBERS];
                        cpu.read(weights, 0, &mut words)?;
                        cpu.write(weights, 0, &words.map(|word| word ^ 1))?;
                    }
                    _ => {}
                }
                Ok(())
            })
        });
        let mut device = Several::join(cards.into()).unwrap();
        device.allocate(&store).unwrap();

        let (mut before, mut after) = (Graph::new(), Graph::new());
        let read = before.read(&kept);
        let tenth = before.apply(Scale { factor: -0.1, offset: 0.0 }, &[read]).unwrap();
        before.assign(tenth, shared.clone()).unwrap();
        let both = [after.read(&kept), after.read(&shared)];
        let shrunk = after.apply(Add, &both).unwrap();
        after.assign(shrunk, kept.clone()).unwrap();
        let plans = [Plan { shared: vec![shared], ..Plan::new(&before) }, Plan::new(&after)];
        let step = plans.map(|plan| device.prepare(&plan).unwrap());
        device.write_f32(kept.buffer, 0, weights).unwrap();
        Team { device, weights: kept.buffer, step, moved }
    }

    fn run(&mut self, times: usize) -> Vec<f32> {
        self.device.run(&self.step, times).unwrap();
        self.device.read_f32(self.weights, 0, NUMBERS).unwrap()
    }
}

fn weights() -> Vec<f32> {
    (0..NUMBERS).map(|i| (1.7 * i as f32).sin()).collect()
}

#[test]
fn what_unlike_devices_come_to_does_not_depend_on_how_many_steps_they_are_asked_for_at_a_time() {
    for odd in [[false, true], [true, false]] {
        let mut whole = Team::of(odd, &weights());
        let wanted = whole.run(12);
        for part in whole.device.parts() {
            assert!(part.read_f32(whole.weights, 0, NUMBERS).unwrap() == wanted, "each has the first's");
        }
        let mut by_parts = Team::of(odd, &weights());
        for times in [1, 2, 5] {
            by_parts.run(times);
        }
        assert!(by_parts.run(4) == wanted, "in parts");
        let saved = Team::of(odd, &weights()).run(7);
        assert!(Team::of(odd, &saved).run(5) == wanted, "stopped and resumed");
    }
}

#[test]
fn only_unlike_devices_tell_each_other_their_weights() {
    let moved = |odd: [bool; 2]| {
        let mut team = Team::of(odd, &weights());
        let before = team.moved.load(Ordering::SeqCst);
        team.device.run(&team.step, 10).unwrap();
        (team.moved.load(Ordering::SeqCst) - before) / NUMBERS / 10
    };
    // What each shares is read, and the mean is written to it.
    assert_eq!(moved([false, false]), 4);
    // Also the weights, from the first to the second.
    assert_eq!([moved([false, true]), moved([true, false])], [6; 2]);
}

#[test]
fn several_devices_have_the_room_of_the_smallest() {
    let several = Several::join([7, 5, 9].map(Rigged::roomy).into()).unwrap();
    assert_eq!(several.room(), 5);
}
