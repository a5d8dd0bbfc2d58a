//! `inkgrad train`: from an architecture and images to a tested model in a folder of its own. GANs: `train_gan.rs`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::augment_flags::AugmentFlags;
use super::progress::{Display, from};
use super::train_gan::{self, GanFlags};
use super::{absolute, augment_flags, count, data, interrupt, note, say, thousands};
use crate::models::{self, Architecture, Model, OptimizerName, ScheduleName};
use crate::report::Confusion;
use crate::train::{Event, Folder, Outcome, Run, Settings};
use crate::{device, infer::Scores};

#[derive(clap::Args)]
pub struct Args {
    /// A built-in network (fast, dense, cnn, avgcnn), a built-in GAN (gan, gan-classic), or the path of
    /// an architecture in TOML
    #[arg(default_value = "fast", conflicts_with = "resume")]
    pub(super) model: String,
    /// Folder of IDX files, raw or gzipped; with --resume, where the same files lie now [default:
    /// the built-in MNIST]
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// auto, cpu, a number or part of a name from `inkgrad devices` [default: auto]
    #[arg(long, value_name = "NAME")]
    pub(super) device: Option<String>,
    /// Passes over the training images [default, here and below: what the network's recipe says]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count)]
    pub(super) epochs: Option<usize>,
    /// Images in a step
    #[arg(long, short, value_name = "N", allow_negative_numbers = true, value_parser = count)]
    pub(super) batch: Option<usize>,
    /// Highest learning rate that the schedule reaches
    #[arg(long, alias = "lr", value_name = "RATE", allow_negative_numbers = true)]
    learning_rate: Option<f32>,
    /// sgd, rmsprop, adagrad, adadelta, adam, nadam, adamw
    #[arg(long, value_name = "NAME")]
    optimizer: Option<OptimizerName>,
    /// constant, step, cosine, one-cycle
    #[arg(long, value_name = "NAME")]
    pub(super) schedule: Option<ScheduleName>,
    /// Epochs over which the learning rate rises from 0
    #[arg(long, value_name = "EPOCHS", allow_negative_numbers = true)]
    warmup: Option<f32>,
    /// Of sgd, and the first moment's decay of adam and its kin
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub(super) momentum: Option<f32>,
    /// Decoupled weight decay, of weight matrices and kernels
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    weight_decay: Option<f32>,
    /// Share of the probability that the truth gives to the other classes
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    label_smoothing: Option<f32>,
    /// Decay of averaged weights, which are then the result, like 0.999
    #[arg(long, value_name = "DECAY", allow_negative_numbers = true)]
    pub(super) average: Option<f32>,
    /// Training images set aside to choose the best epoch by
    #[arg(long, value_name = "IMAGES", allow_negative_numbers = true, value_parser = count)]
    validation: Option<usize>,
    /// Stop after this many epochs without a better validation accuracy
    #[arg(long, alias = "early-stopping", value_name = "EPOCHS", allow_negative_numbers = true, value_parser = count)]
    patience: Option<usize>,
    /// The same seed on the same device gives the same model, bit for bit [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(super) seed: Option<u32>,
    /// Another architecture before this one, such as `pool` for images of 448x448
    #[arg(long, value_name = "MODEL", conflicts_with = "resume")]
    front: Option<String>,
    /// Where runs' numbered folders are made
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub(super) out: PathBuf,
    /// Go on with the run in this folder, with its settings
    #[arg(long, value_name = "RUN", conflicts_with_all = ["epochs", "batch", "learning_rate", "optimizer",
        "schedule", "warmup", "momentum", "weight_decay", "label_smoothing", "average", "validation", "patience", "seed",
        "out", "AugmentFlags"])]
    resume: Option<PathBuf>,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Print the result only
    #[arg(long, short)]
    pub(super) quiet: bool,
    #[command(flatten)]
    augment: AugmentFlags,
    #[command(flatten)]
    pub(super) gan: GanFlags,
}

impl Args {
    /// Flags that only classifiers have and that were given.
    fn of_classifiers(&self) -> Vec<&'static str> {
        let given = [
            ("--learning-rate", self.learning_rate.is_some()),
            ("--optimizer", self.optimizer.is_some()),
            ("--warmup", self.warmup.is_some()),
            ("--weight-decay", self.weight_decay.is_some()),
            ("--label-smoothing", self.label_smoothing.is_some()),
            ("--validation", self.validation.is_some()),
            ("--patience", self.patience.is_some()),
            ("--front", self.front.is_some()),
        ];
        let given = given.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag);
        given.chain(self.augment.given()).collect()
    }

    fn refuse(&self, what: &str, flags: &[&str]) -> anyhow::Result<()> {
        let Some(flag) = flags.first() else { return Ok(()) };
        let instead = match *flag {
            "--learning-rate" => "; it has --generator-rate and --discriminator-rate",
            "--generator-rate" | "--discriminator-rate" => "; it has --learning-rate",
            _ => "",
        };
        anyhow::bail!("{flag} says nothing to {what}{instead}. `inkgrad train --help` tells which flags are whose")
    }

    fn settings(&self, architecture: &Architecture) -> Settings {
        let mut recipe = architecture.recipe.clone();
        // A change of optimizer asks for that optimizer's own learning rate.
        if self.optimizer.is_some_and(|wanted| recipe.optimizer.is_some_and(|own| own != wanted)) {
            recipe.learning_rate = None;
        }
        macro_rules! take {
            ($($flag:ident),*) => { $(recipe.$flag = self.$flag.or(recipe.$flag);)* };
        }
        take!(epochs, batch, learning_rate, optimizer, schedule, warmup, momentum, weight_decay, label_smoothing);
        take!(average, validation, patience);
        recipe.augment = Some(self.augment.over(recipe.augment.unwrap_or_default()));
        let mut settings = Settings::from_recipe(&architecture.name, &recipe);
        settings.data = self.data.as_deref().map(absolute);
        settings.device = self.device.clone().unwrap_or_else(|| "auto".into());
        settings.seed = self.seed.unwrap_or(0);
        settings
    }

    /// A recipe was written with MNIST in mind: what it proposes, and nobody asked for, gives way to smaller sets.
    fn fit(&self, settings: &mut Settings, images: usize) {
        if self.validation.is_none() && settings.validation > images / 5 {
            settings.validation = images / 10;
        }
        let training = settings.epoch(images.saturating_sub(settings.validation));
        if self.batch.is_none() && settings.batch > training {
            settings.batch = training.max(1);
        }
    }
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (model, folder) = match &args.resume {
        Some(path) => {
            let folder = Folder::open(path)?;
            (folder.load_model()?, Some(folder))
        }
        None => (models::load_any(&args.model)?, None),
    };
    match model {
        Model::Gan(gan) => {
            args.refuse("a GAN", &args.of_classifiers())?;
            train_gan::run(args, *gan, folder)
        }
        Model::Classifier(architecture) => {
            args.refuse("a classifier", &args.gan.given())?;
            classifier(args, *architecture, folder)
        }
    }
}

fn classifier(args: Args, architecture: Architecture, folder: Option<Folder>) -> anyhow::Result<ExitCode> {
    let (architecture, mut settings) = match &folder {
        Some(folder) => (architecture, folder.settings()?),
        None => {
            let mut architecture = architecture;
            if let Some(front) = &args.front {
                architecture = architecture.with_front(&models::load(front)?)?;
            }
            let settings = args.settings(&architecture);
            (architecture, settings)
        }
    };
    if let Some(device) = &args.device {
        settings.device = device.clone();
    }
    let data = data(args.data.as_deref().or(settings.data.as_deref()))?;
    match &folder {
        Some(folder) => folder.check_data(&data.train)?,
        None => args.fit(&mut settings, data.train.len()),
    }
    // Everything that can be refused is refused before anything is written.
    let training = data.train.len().saturating_sub(settings.validation);
    if settings.validation > 0 {
        data.train.split(settings.validation, u64::from(settings.seed))?;
    }
    settings.check(training)?;
    settings.check_image([data.train.height, data.train.width])?;
    augment_flags::warn(&settings.augment, &data.class_names);
    let input = [data.train.height, data.train.width, data.train.channels];
    let mut store = crate::graph::Store::default();
    let mut parameters = models::Parameters::new(&mut store, "classifier");
    architecture.declare(input, data.train.classes, &mut store, &mut parameters)?;
    let choice = device::find(&settings.device)?;
    if args.dry_run {
        say(format_args!("would train {} on {} with {}:\n", settings.model, data.name, choice.name()));
        say(toml::to_string(&settings)?.trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    let mut device = choice.open()?;
    let folder = match folder {
        Some(folder) => folder,
        None => {
            let folder = Folder::create(&args.out, &settings.model)?;
            folder.save_architecture(architecture.text())?;
            folder.save_settings(&settings)?;
            folder
        }
    };
    if !args.quiet {
        note(format_args!(
            "{} on {} with {}, in {}",
            settings.model,
            data.name,
            device.name(),
            folder.path().display()
        ));
    }

    let stop = interrupt::listen()?;
    let mut display = Display::new("steps", args.quiet);
    let (path, class_names) = (folder.path().to_owned(), data.class_names.clone());
    let labels = data.test.labels.clone();
    let validated = settings.validation > 0;
    let run = Run {
        settings,
        architecture,
        data,
        folder,
        device: device.as_mut(),
        stop: &stop,
        report: &mut |event| show(&mut display, event),
    };
    let outcome = run.train();
    display.finish();
    match outcome? {
        Outcome::Finished { test, best_epoch, epochs, seconds } => {
            result(&test, &labels, &class_names)?;
            let plural = if epochs == 1 { "" } else { "s" };
            let best = if validated { format!(", the best was epoch {best_epoch}") } else { String::new() };
            say(format_args!(
                "{epochs} epoch{plural} in {seconds:.1} s{best}; model: {}",
                path.join("best.safetensors").display()
            ));
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Stopped { step } => {
            note(format_args!("stopped at step {step}; saved. Go on with: inkgrad train --resume {}", path.display()));
            Ok(ExitCode::from(130))
        }
    }
}

fn result(test: &Scores, labels: &[u32], class_names: &[String]) -> anyhow::Result<()> {
    let pairs = labels.iter().zip(&test.predicted).map(|(truth, (predicted, _))| (*truth as usize, *predicted));
    let confusion = Confusion::from_pairs(class_names.len(), pairs)?;
    say(format_args!("test {}", confusion.fmt_accuracy()));
    Ok(())
}

fn show(display: &mut Display, event: Event) {
    match event {
        Event::Started { steps, first, images, validation, parameters } => {
            let set_aside =
                if validation > 0 { format!(", {} to validate", thousands(validation as u64)) } else { String::new() };
            display.line(format!(
                "{} parameters, {} images{set_aside}, {} steps{}",
                thousands(parameters),
                thousands(images as u64),
                thousands(steps as u64),
                from(first, "step")
            ));
            display.begin(first, steps);
        }
        Event::Trained { step, epoch, loss, accuracy, images_per_second } => {
            let (percent, speed) = (accuracy * 100.0, thousands(images_per_second as u64));
            let text = format!("epoch {epoch:.2}  loss {loss:.4}  accuracy {percent:.2} %  {speed} images/s");
            display.at(step, text);
        }
        Event::Validated { epoch, loss, accuracy, best } => {
            let mark = if best { "  (best so far)" } else { "" };
            let percent = accuracy * 100.0;
            display.line(format!("epoch {epoch}: validation loss {loss:.4}, accuracy {percent:.2} %{mark}"));
        }
        Event::Saved { .. } => {}
    }
}
