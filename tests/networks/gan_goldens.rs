//! A GAN's training against PyTorch in float64 (tests/goldens/README.md), on every device, and what its settings do.
//!
//! `INKGRAD_MARGINS=1 cargo test --test networks gan_goldens -- --nocapture` prints how far each value is off.

use inkgrad::data::{ImageSet, mnist};
use inkgrad::device::{Device, cpu::Cpu};
use inkgrad::graph::Store;
use inkgrad::models::{Gan, GanLoss, Parameters, Values, builtin_gan};
use inkgrad::train::GanSettings;
use inkgrad::train::gan::{GanState, GanSteps, RoundLoss, grouped};
use inkgrad::train::learner::Learner;

use crate::golden::{Golden, Open, TINY_GAN, check, check_gradient, check_near, devices, initial};

const ROUNDS: usize = 10;
const SEED: u32 = 5;
const RATE: f32 = 1e-5;

/// What f32 may be off by, relative to a tensor's largest element: twice what it is in tests/networks/goldens.rs, as
/// the discriminator is deeper.
const OF_THE_LARGEST: f64 = 2e-5;
/// The generator has two million rectifiers, a few of which are so close to zero that f32 puts them on the other side.
/// One of them moves an element by up to 5e-3 of the largest in PyTorch's f32 and by 2.4e-2 where convolutions by tiles
/// round twice as much, but there are so few of them ...
const OF_A_KINK: f64 = 4e-2;
/// ... that all elements together, as a vector, are off by 8e-4, and by 8e-3. Layers behind the last such kink are
/// off by 1e-5.
const OF_ALL: f64 = 1.2e-2;

/// The same for the losses before anything was learned, and for those on real pictures, where PyTorch's f32 is off by
/// 5e-6 and 5e-5. In ten rounds, what was learned moves them by 3e-2.
const OF_A_FIRST_LOSS: f64 = 2e-5;
const OF_REAL: f64 = 3e-4;
/// And for those on generated pictures, where PyTorch's f32 is off by 9e-4, growing with the rounds, and learning
/// moves them by 2e-2 to 1e-1.
const OF_GENERATED: f64 = 5e-3;

fn digits(count: usize) -> ImageSet {
    mnist::embedded().unwrap().train.select(&(0..count).collect::<Vec<_>>())
}

/// Both steps on a device, before the first round.
fn begin(device: &mut dyn Device, gan: &Gan, settings: &GanSettings, set: &ImageSet) -> GanSteps {
    let set = grouped(set, settings.pack, settings.seed, 0).unwrap();
    let mut store = Store::default();
    let mut steps = GanSteps::declare(&mut store, gan, settings, &set).unwrap();
    device.allocate(&store).unwrap();
    steps.upload(device, &set).unwrap();
    steps.load(device, &steps.initial(settings.seed)).unwrap();
    steps
}

/// All weights as in the goldens; the first is number `first`.
fn weights(parameters: &Parameters, first: u32) -> Vec<f32> {
    let mut weights = vec![0.0; parameters.total()];
    for (t, parameter) in (first..).zip(parameters.trainable()) {
        weights[parameter.offset..][..parameter.shape.len()].copy_from_slice(&initial(parameter, t));
    }
    weights
}

/// Checks that each gradient's elements are within `of_the_largest`, and their distance as vectors within `of_all`.
fn check_gradients(device: &mut dyn Device, learner: &Learner, golden: &Golden, [of_the_largest, of_all]: [f64; 2]) {
    let (parameters, name) = (&learner.parameters, device.name());
    let gradients = device.read_f32(parameters.grads, 0, parameters.total()).unwrap();
    for (t, parameter) in parameters.trainable().iter().enumerate() {
        let what = format!("{name}: {} gradient of {}", parameters.name, parameter.name);
        let gradient = &gradients[parameter.offset..][..parameter.shape.len()];
        let name = format!("{}.{t}", parameters.name);
        check_gradient(&what, gradient, parameter.shape.dims(), golden, &name, of_the_largest);
        let wanted = golden.get(&name);
        let square = |x: f32| f64::from(x).powi(2);
        let apart: f64 = gradient.iter().zip(&wanted).map(|(a, b)| square(a - b)).sum();
        let length: f64 = wanted.iter().map(|x| square(*x)).sum();
        check(&format!("{what}, as a vector"), (apart / length).sqrt(), of_all);
    }
}

#[test]
fn ten_losses_of_both_networks_and_every_gradient_are_those_of_pytorch() {
    let golden = Golden::open("gan-classic");
    let gan = builtin_gan("gan-classic").unwrap();
    // Thirty digits in batches of four: one batch straddles two epochs. Larger rates would show nothing: the README.
    let settings = GanSettings {
        batch: 4,
        epochs: 2,
        seed: SEED,
        generator_rate: RATE,
        discriminator_rate: RATE,
        ..GanSettings::from_recipe("gan-classic", &gan.recipe)
    };
    for (name, open) in devices("ten_losses_of_both_networks_and_every_gradient_are_those_of_pytorch") {
        let mut device = open();
        let steps = begin(device.as_mut(), &gan, &settings, &digits(30));
        let mut state = steps.initial(SEED);
        state.generator.values.weights = weights(&steps.generator.parameters, 0);
        state.discriminator.values.weights = weights(&steps.discriminator.parameters, 100);
        steps.load(device.as_mut(), &state).unwrap();

        let mut rounds = steps.run(device.as_mut(), 0, 1).unwrap();
        check_gradients(device.as_mut(), &steps.discriminator, &golden, [OF_THE_LARGEST; 2]);
        check_gradients(device.as_mut(), &steps.generator, &golden, [OF_A_KINK, OF_ALL]);
        rounds.extend(steps.run(device.as_mut(), 1, ROUNDS - 1).unwrap());
        for (i, of) in ["real", "fake", "generator", "answer"].into_iter().enumerate() {
            let value = |r: &RoundLoss| [r.real, r.fake, r.generator, r.answer][i];
            let wanted = golden.get(&format!("losses.{of}"));
            assert_eq!(wanted.len(), rounds.len());
            for (i, (round, wanted)) in rounds.iter().zip(wanted).enumerate() {
                let (got, wanted) = (f64::from(value(round)), f64::from(wanted));
                let tolerance = match of {
                    _ if i == 0 => OF_A_FIRST_LOSS,
                    "real" => OF_REAL,
                    _ => OF_GENERATED,
                };
                // Losses are 1 and more; a mean answer may be any small number.
                check(&format!("{name}: {of} {i}"), (got - wanted).abs() / wanted.abs().max(1.0), tolerance);
            }
        }
    }
}

/// What the classic GAN does without: every loss, spectral norm, groups, label noise, more steps of the discriminator.
#[test]
fn three_rounds_with_everything_switched_on_are_the_same_on_both_devices() {
    let gan = Gan::parse(TINY_GAN, "tiny.toml").unwrap();
    for (name, loss) in GanLoss::ALL {
        let settings = GanSettings {
            batch: 16,
            epochs: 1,
            seed: SEED,
            loss: *loss,
            discriminator_steps: 2,
            pack: 2,
            label_noise: 0.2,
            spectral_norm: true,
            average: 0.9,
            ..GanSettings::from_recipe("tiny", &gan.recipe)
        };
        let devices = devices("three_rounds_with_everything_switched_on_are_the_same_on_both_devices");
        let run = |(_, open): &(_, Open)| {
            let mut device = open();
            let steps = begin(device.as_mut(), &gan, &settings, &digits(120));
            let rounds = steps.run(device.as_mut(), 0, 3).unwrap();
            let state = steps.save(device.as_mut()).unwrap();
            (rounds, state, steps)
        };
        let [(cpu, cpu_state, steps), (gpu, gpu_state, _)] = &devices.iter().map(run).collect::<Vec<_>>()[..] else {
            continue;
        };
        let losses =
            |rounds: &[RoundLoss]| rounds.iter().flat_map(|r| [r.real, r.fake, r.generator, r.answer]).collect();
        let (cpu, gpu): (Vec<f32>, Vec<f32>) = (losses(cpu), losses(gpu));
        check_near(&format!("{name}: losses"), &gpu, &cpu, OF_THE_LARGEST);
        for (learner, cpu, gpu) in [
            (&steps.generator, &cpu_state.generator, &gpu_state.generator),
            (&steps.discriminator, &cpu_state.discriminator, &gpu_state.discriminator),
        ] {
            let parameters = &learner.parameters;
            // At first, weights move by the sign of a gradient, which is arbitrary where that is zero but for rounding.
            for (tensors, cpu, gpu) in [
                (parameters.trainable(), &cpu.moments[0], &gpu.moments[0]),
                (parameters.statistics(), &cpu.values.running, &gpu.values.running),
            ] {
                for tensor in tensors {
                    let [cpu, gpu] = [cpu, gpu].map(|all| &all[tensor.offset..][..tensor.shape.len()]);
                    check_near(&format!("{name}: {} {}", parameters.name, tensor.name), gpu, cpu, OF_THE_LARGEST);
                }
            }
        }
    }
}

/// A hundred rounds of [`TINY_GAN`] in which the discriminator learns nothing.
fn against_a_still_discriminator(loss: GanLoss, spectral_norm: bool) -> (GanSteps, Vec<RoundLoss>, GanState) {
    let gan = Gan::parse(TINY_GAN, "tiny.toml").unwrap();
    let settings = GanSettings {
        batch: 8,
        epochs: 10,
        seed: SEED,
        loss,
        generator_rate: 1e-2,
        discriminator_rate: 1e-20,
        spectral_norm,
        ..GanSettings::from_recipe("tiny", &gan.recipe)
    };
    let mut device = Cpu::new();
    let steps = begin(&mut device, &gan, &settings, &digits(80));
    let rounds = steps.run(&mut device, 0, 100).unwrap();
    let state = steps.save(&mut device).unwrap();
    (steps, rounds, state)
}

#[test]
fn by_every_loss_a_generator_learns_to_be_taken_for_real() {
    for (name, loss) in GanLoss::ALL {
        let (_, rounds, _) = against_a_still_discriminator(*loss, false);
        let answers = |rounds: &[RoundLoss]| rounds.iter().map(|round| round.answer).sum::<f32>() / 5.0;
        let (first, last) = (answers(&rounds[..5]), answers(&rounds[95..]));
        assert!(last > first, "{name}: it is answered {first} at first, and {last} in the end");
    }
}

#[test]
fn the_vectors_of_spectral_norm_come_to_be_singular_vectors_of_their_weights() {
    let (steps, _, state) = against_a_still_discriminator(GanLoss::Hinge, true);
    let (parameters, Values { weights, running }) = (&steps.discriminator.parameters, state.discriminator.values);
    let mut found = 0;
    for both in parameters.statistics() {
        let Some(name) = both.name.strip_suffix(".vectors") else { continue };
        let weight = parameters.trainable().iter().find(|weight| weight.name == name).unwrap();
        let matrix = &weights[weight.offset..][..weight.shape.len()];
        let (v, u) = running[both.offset..][..both.shape.len()].split_at(weight.shape.rows());
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        let product: Vec<f64> = matrix.chunks_exact(u.len()).map(|row| dot(row, u)).collect();
        // The matrix times u is v, as many times as long as the singular value says.
        let value: f64 = product.iter().zip(v).map(|(x, v)| x * f64::from(*v)).sum();
        let square = |x: f64| x * x;
        let apart: f64 = product.iter().zip(v).map(|(x, v)| square(x - value * f64::from(*v))).sum();
        let of: f64 = product.iter().map(|x| square(*x)).sum();
        check(&format!("vectors of {name}"), (apart / of).sqrt(), 0.05);
        check(&format!("length of v of {name}"), (dot(v, v) - 1.0).abs(), 1e-4);
        found += 1;
    }
    assert_eq!(found, 4, "of a convolution and three dense layers");
}

#[test]
fn moments_of_both_networks_decay_as_the_settings_say() {
    let gan = Gan::parse(TINY_GAN, "tiny.toml").unwrap();
    let recipe = GanSettings::from_recipe("tiny", &gan.recipe);
    let settings = GanSettings { batch: 8, epochs: 1, seed: SEED, momentum: 0.3, beta2: 0.9, ..recipe };
    let mut device = Cpu::new();
    let steps = begin(&mut device, &gan, &settings, &digits(80));
    steps.run(&mut device, 0, 1).unwrap();
    let GanState { generator, discriminator, .. } = steps.save(&mut device).unwrap();
    for (name, learned) in [("generator", generator), ("discriminator", discriminator)] {
        let sum = |moment: usize, power: i32| -> f64 {
            learned.moments[moment].iter().map(|x| f64::from(*x).powi(power)).sum()
        };
        // After the first step they are (1 - momentum) g and (1 - beta2) g^2 of its gradients g.
        let ratio = sum(0, 2) / sum(1, 1);
        check(&format!("moments of the {name}"), (ratio / (0.7 * 0.7 / 0.1) - 1.0).abs(), 1e-3);
    }
}
