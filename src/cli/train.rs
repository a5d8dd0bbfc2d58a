//! `inkgrad train`: from an architecture and images to a tested model in a folder of its own. GANs: `train_gan.rs`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::augment_flags::AugmentFlags;
use super::given::Given;
use super::numbers::{number, positive, whole};
use super::outputs::begin_run;
use super::precision::{asked_for, fit, fit_if_it_can};
use super::reading::{ReadingFlags, check_begun_with, data_read, to_go_on, with_classes};
use super::train_gan::{self, GanFlags};
use super::training::Training;
use super::validating::validate_as_before;
use super::{
    POOLED, absolute, augment_flags, count, counted, ensure_network, ensure_remembered, going_on, interrupt, note, say,
};
use crate::data::{DataError, DataSet, ImageSet, Reading, digest};
use crate::device::{self, Choice};
use crate::graph::Store;
use crate::models::{self, Architecture, Kind, Model, ModelFile, OptimizerName, Recipe, ScheduleName, by, lasting};
use crate::train::settings::MAX_MEMBERS;
use crate::train::{Folder, Precision, Settings};

mod members;

use members::{OF_BEST, check_joined, times};

/// The heading of flags that GANs do not take.
const CLASSIFIERS: &str = "Classifier options";

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    given: Given,
    /// A built-in network (fast, standard, best, dense, cnn, avgcnn, avgpool, maxpool), a built-in GAN (gan,
    /// gan-classic), or the path of an architecture in TOML [default: the recipe's, or fast]
    #[arg(conflicts_with_all = ["resume", "from"])]
    model: Option<String>,
    /// Training recipe: fast (one epoch), standard (three), best (40), ensemble (seven networks of best, avgpool and
    /// maxpool, whose outputs are averaged) [default: what the network's own recipe says]
    #[arg(long, value_name = "NAME", conflicts_with = "resume", help_heading = CLASSIFIERS)]
    recipe: Option<Named>,
    /// Continue from a trained classifier, on other data or for longer; the learning rate is a tenth of the recipe's
    /// unless given
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["resume", "front"], help_heading = CLASSIFIERS)]
    from: Option<PathBuf>,
    /// Train N networks, each with its own seed, and join them into one model that averages their outputs
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<usize>(1..=MAX_MEMBERS as u32),
        conflicts_with = "resume", help_heading = CLASSIFIERS)]
    members: Option<usize>,
    /// Labelled images: a folder of IDX files, a table of pixels (.csv, .csv.gz), or a folder of pictures for each
    /// class; with --resume, where the same data are now [default: the built-in MNIST]
    #[arg(long, value_name = "PATH")]
    pub(super) data: Option<PathBuf>,
    /// auto, cpu, a number or part of a name from `inkgrad devices`; several, separated by commas, or all (every GPU)
    /// share a classifier's batches [default: auto]
    #[arg(long, value_name = "NAME")]
    pub(super) device: Option<String>,
    /// Continue on the CPU if a GPU fails: lost, out of memory, stuck
    #[arg(long)]
    pub(super) fallback: bool,
    /// Passes over the training images [default, here and in all that follows: what the network's recipe says]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = positive)]
    pub(super) epochs: Option<usize>,
    /// Images per step
    #[arg(long, short, value_name = "N", allow_negative_numbers = true, value_parser = positive)]
    pub(super) batch: Option<usize>,
    /// Peak learning rate of the schedule
    #[arg(long, alias = "lr", value_name = "RATE", allow_negative_numbers = true, value_parser = number,
        help_heading = CLASSIFIERS)]
    learning_rate: Option<f32>,
    /// sgd, rmsprop, adagrad, adadelta, adam, nadam, adamw
    #[arg(long, value_name = "NAME", help_heading = CLASSIFIERS)]
    optimizer: Option<OptimizerName>,
    /// constant, step, cosine, one-cycle
    #[arg(long, value_name = "NAME")]
    pub(super) schedule: Option<ScheduleName>,
    /// Epochs over which the learning rate rises from 0
    #[arg(long, value_name = "EPOCHS", allow_negative_numbers = true, value_parser = number,
        help_heading = CLASSIFIERS)]
    warmup: Option<f32>,
    /// Momentum of sgd (0 for plain descent), or first-moment decay of adam and its variants; 0.9 if no recipe says
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, value_parser = number)]
    pub(super) momentum: Option<f32>,
    /// Decoupled weight decay for weight matrices and kernels
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, value_parser = number, help_heading = CLASSIFIERS)]
    weight_decay: Option<f32>,
    /// Share of the target probability spread evenly over all classes; only in the training loss, not in validation or
    /// tests
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, value_parser = number, help_heading = CLASSIFIERS)]
    label_smoothing: Option<f32>,
    /// Decay of the averaged weights, such as 0.999; they become the result
    #[arg(long, value_name = "DECAY", allow_negative_numbers = true, value_parser = number)]
    pub(super) average: Option<f32>,
    /// Precision of a step's activations and their gradients on a GPU: f16 halves the memory traffic, mixed also runs
    /// convolutions on 16-bit matrix units; weights and sums stay in 32 bits [default: f32]
    #[arg(long, value_name = "BITS", value_enum, help_heading = CLASSIFIERS)]
    precision: Option<Precision>,
    /// Training images set aside to choose the best epoch
    #[arg(long, value_name = "IMAGES", allow_negative_numbers = true, value_parser = count, help_heading = CLASSIFIERS)]
    validation: Option<usize>,
    /// Stop after this many epochs without a better validation accuracy
    #[arg(long, alias = "early-stopping", value_name = "EPOCHS", allow_negative_numbers = true, value_parser = count,
        help_heading = CLASSIFIERS)]
    patience: Option<usize>,
    /// Keep N models of every epoch, evenly spaced, and the one before the first step, as
    /// RUN/snapshots/STEP.safetensors, which every command takes
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count, help_heading = CLASSIFIERS)]
    snapshots: Option<usize>,
    /// Random seed; the same seed on the same device gives the same model, bit for bit [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = super::seed)]
    pub(super) seed: Option<u32>,
    /// Architecture to put in front of this one, such as `pool` for images of 448x448
    #[arg(long, value_name = "MODEL", conflicts_with = "resume", help_heading = CLASSIFIERS)]
    front: Option<String>,
    /// Folder in which the runs' numbered folders are made
    #[arg(long, short, value_name = "DIR", default_value = "runs")]
    pub(super) out: PathBuf,
    /// Continue the run in this folder, with its settings, to its end; to train a classifier for longer, use --from RUN
    #[arg(long, value_name = "RUN", conflicts_with_all = ["epochs", "batch", "learning_rate", "optimizer",
        "schedule", "warmup", "momentum", "weight_decay", "label_smoothing", "average", "precision", "validation",
        "patience", "snapshots", "seed", "out", "AugmentFlags"])]
    resume: Option<PathBuf>,
    /// Show what would be done, without doing it
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Print only the result
    #[arg(long, short)]
    pub(super) quiet: bool,
    #[command(flatten)]
    pub(super) reading: ReadingFlags,
    #[command(flatten)]
    augment: AugmentFlags,
    #[command(flatten)]
    pub(super) gan: GanFlags,
}

/// The named recipes.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Named {
    Fast,
    Standard,
    Best,
    Ensemble,
}

impl Named {
    /// The network that the recipe belongs to, which is trained if no other is named.
    fn network(self) -> &'static str {
        match self {
            Named::Fast => "fast",
            Named::Standard => "standard",
            Named::Best | Named::Ensemble => "best",
        }
    }
}

impl Args {
    /// Refuses the flags under these headings for what they do not apply to.
    fn refuse(&self, what: &str, headings: &[&str]) -> anyhow::Result<()> {
        let flags = self.given.under::<Args>(headings);
        let Some(flag) = flags.first() else { return Ok(()) };
        let instead = match flag.as_str() {
            "--learning-rate" => "; it has --generator-rate and --discriminator-rate",
            "--generator-rate" | "--discriminator-rate" => "; it has --learning-rate",
            _ => "",
        };
        anyhow::bail!("{flag} does not apply to {what}{instead}. `inkgrad train --help` says which flags do")
    }

    /// Refuses paths that a run's settings cannot hold. A resumed run goes on without knowing where its data are.
    fn check_remembered(&self) -> anyhow::Result<()> {
        let data = self.data.as_deref().filter(|_| self.resume.is_none()).map(absolute);
        let [from, judge] = [&self.from, &self.gan.judge].map(|model| model.as_deref().map(lasting));
        for (flag, path) in [("--data", data), ("--from", from), ("--judge", judge)] {
            ensure_remembered(flag, path)?;
        }
        Ok(())
    }

    /// Where the data of a resumed run are now, if they have moved to a place that its settings can hold.
    pub(super) fn moved_data(&self) -> Option<PathBuf> {
        let given = self.data.as_deref().filter(|_| self.resume.is_some()).map(absolute);
        given.filter(|place| place.to_str().is_some())
    }

    /// The data of a run; those of one that is resumed are at `place` unless they have moved.
    pub(super) fn read_data(&self, place: Option<&Path>, reading: &Reading) -> anyhow::Result<DataSet> {
        let set = data_read(self.data.as_deref().or(place), reading, self.quiet);
        let remedy = "the data of this run cannot be read; if they are elsewhere now, say where with --data";
        if self.resume.is_some() && self.data.is_none() { set.context(remedy) } else { set }
    }

    fn settings(&self, architecture: &Architecture) -> anyhow::Result<Settings> {
        let recipe = match self.recipe {
            Some(named) => models::builtin(named.network())?.recipe,
            None => architecture.recipe.clone(),
        };
        let mut settings = self.over(recipe.clone(), &architecture.name);
        self.check_heeded(&recipe, &settings)?;
        let of_best = if self.recipe == Some(Named::Ensemble) { OF_BEST } else { 1 };
        settings.members = self.members.unwrap_or(of_best) + self.others().len();
        Ok(settings)
    }

    /// Refuses a warm-up or a momentum that would have no effect. A recipe's values are meant for its own schedule and
    /// optimizer, and a trained model's recipe can no longer be corrected.
    fn check_heeded(&self, recipe: &Recipe, settings: &Settings) -> anyhow::Result<()> {
        let (mendable, optimizer) = (self.from.is_none(), settings.optimizer);
        let warmup = self.warmup.or(recipe.warmup.filter(|_| mendable && self.schedule.is_none()));
        let momentum = self.momentum.or(recipe.momentum.filter(|_| mendable && self.optimizer.is_none()));
        let of = |key: &str, is_flag: bool| match is_flag {
            true => format!("--{key}"),
            false => format!("{key} in the recipe of {}", settings.model),
        };
        anyhow::ensure!(
            settings.schedule != ScheduleName::OneCycle || warmup.is_none_or(|epochs| epochs == 0.0),
            "{} does not apply to the one-cycle schedule, which rises by itself; constant, cosine and step take it",
            of("warmup", self.warmup.is_some())
        );
        anyhow::ensure!(
            momentum.is_none() || optimizer.has_momentum(),
            "{} does not apply to {optimizer}, which has none; sgd and adam's kin take it",
            of("momentum", self.momentum.is_some())
        );
        Ok(())
    }

    /// A recipe's settings, overridden by flags.
    fn over(&self, mut recipe: Recipe, model: &str) -> Settings {
        if let Some(optimizer) = self.optimizer {
            recipe = recipe.with_optimizer(optimizer);
        }
        macro_rules! take {
            ($($flag:ident),*) => { $(recipe.$flag = self.$flag.or(recipe.$flag);)* };
        }
        take!(epochs, batch, learning_rate, schedule, warmup, momentum, weight_decay, label_smoothing, average);
        take!(validation, patience);
        recipe.augment = Some(self.augment.over(recipe.augment.unwrap_or_default()));
        let mut settings = Settings::from_recipe(model, &recipe);
        if let Some(from) = &self.from {
            settings.from = Some(lasting(from));
            if self.learning_rate.is_none() {
                // At its full rate a recipe would first undo what was learned.
                settings.learning_rate = going_on::tenth(settings.learning_rate);
            }
        }
        settings.snapshots = self.snapshots.unwrap_or(0);
        settings.precision = self.precision.unwrap_or_default();
        settings.data = self.data.as_deref().map(absolute);
        settings.reading = self.reading.reading();
        settings.device = self.device.clone().unwrap_or_else(|| "auto".into());
        settings.seed = self.seed.unwrap_or(0);
        settings
    }

    /// Recipes are written for MNIST: for smaller sets, those of their values that no flag asked for are reduced.
    fn fit(&self, settings: &mut Settings, set: &ImageSet) {
        let images = set.len();
        if self.validation.is_none() {
            if settings.validation > images / 5 {
                settings.validation = images / 10;
            }
            settings.validation = settings.validation.min(set.spare());
        }
        let training = settings.epoch(images.saturating_sub(settings.validation));
        if self.batch.is_none() && settings.batch > training {
            settings.batch = training.max(1);
        }
    }
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let given = args.reading.given();
    anyhow::ensure!(
        !given || args.resume.is_none(),
        "--hold-out, --image-size and --prepare cannot be changed in a resumed run; leave them out"
    );
    args.reading.check(args.data.as_deref())?;
    args.check_remembered()?;
    if let Some(path) = &args.resume {
        let folder = Folder::open(path)?;
        let model = folder.load_model()?;
        let origin = folder.origin()?;
        return of_kind(args, model, Some(folder), origin);
    }
    if let Some(from) = &args.from {
        let file = ModelFile::open(from)?;
        let model = Model::Classifier(Box::new(file.architecture()?));
        return of_kind(args, model, None, Some(file));
    }
    let default = args.recipe.map_or("fast", Named::network);
    let model = models::load_any(args.model.as_deref().unwrap_or(default))?;
    of_kind(args, model, None, None)
}

/// `origin` is the model that the run continues from.
fn of_kind(args: Args, model: Model, folder: Option<Folder>, origin: Option<ModelFile>) -> anyhow::Result<ExitCode> {
    match model {
        Model::Gan(gan) => {
            args.refuse("a GAN", &[CLASSIFIERS, augment_flags::HEADING])?;
            train_gan::run(args, *gan, folder)
        }
        Model::Classifier(architecture) => {
            args.refuse("a classifier", &[train_gan::HEADING])?;
            classifier(args, *architecture, folder, origin)
        }
    }
}

fn classifier(
    args: Args,
    architecture: Architecture,
    folder: Option<Folder>,
    origin: Option<ModelFile>,
) -> anyhow::Result<ExitCode> {
    let (architecture, mut settings) = match &folder {
        Some(folder) => (architecture, folder.settings()?),
        None => {
            args.check_recipe()?;
            args.model.as_deref().map_or(Ok(()), ensure_network)?;
            let mut architecture = architecture;
            if let Some(front) = &args.front {
                architecture = architecture.with_front(&models::load(front)?)?;
            }
            let settings = args.settings(&architecture)?;
            (architecture, settings)
        }
    };
    if let Some(device) = &args.device {
        settings.device = device.clone();
    }
    let mut data = match (&folder, &origin) {
        (None, Some(file)) => to_go_on(args.data.as_deref(), &mut settings.reading, file, args.quiet)?,
        _ => args.read_data(settings.data.as_deref(), &settings.reading)?,
    };
    if let Some(place) = args.moved_data() {
        settings.data = Some(place);
    }
    if let Some(file) = &origin {
        let (takes, has) = (by(&file.input()?), by(&[data.train.height, data.train.width, data.train.channels]));
        let model = file.name.display();
        anyhow::ensure!(takes == has, "{model} takes images of {takes}, but {} has {has}", data.name);
        data = with_classes(data, file.class_names()?).map_err(|error| {
            let remedy = "--from keeps a model's classes: give these the same names, or train on them from the \
                          start, without --from";
            anyhow::anyhow!("{model}: {error}. {remedy}")
        })?;
    }
    // Everything that can be refused is refused before anything is written.
    let doubt = match (&folder, &origin) {
        (Some(folder), _) => {
            let place = args.data.as_deref().or(settings.data.as_deref());
            check_begun(folder, &data, place, &settings.reading)?;
            None
        }
        (None, origin) => {
            args.fit(&mut settings, &data.train);
            let place = args.data.as_deref();
            origin.as_ref().and_then(|file| validate_as_before(file, place, &data, &mut settings))
        }
    };
    let parameters = check(&architecture, &settings, &data, folder.as_ref())?;
    if args.front.as_deref() == Some(models::FRONT) {
        warn_of_pool(&architecture, &data.train);
    }
    augment_flags::warn(&settings.augment, &data.class_names);
    doubt.into_iter().for_each(note);
    if let Some(file) = &origin {
        file.values("", &parameters)?;
    }
    let members = match &folder {
        None if settings.members > 1 => args.members(&architecture, &settings, &data)?,
        _ => Vec::new(),
    };
    if !members.is_empty() {
        check_joined(&members, &data)?;
    }
    let choices = device::find_all(&settings.device)?;
    settings.check_parts(choices.len())?;
    let choices = choices
        .into_iter()
        .map(|choice| match args.precision {
            Some(precision) => fit(choice, precision),
            None => Ok(fit_if_it_can(choice, settings.precision)),
        })
        .collect::<anyhow::Result<Vec<Choice>>>()?;
    members.iter().try_for_each(|member| member.settings.check_parts(choices.len()))?;
    let cpus = choices.iter().filter(|choice| matches!(choice, Choice::Cpu)).count();
    if cpus > 1 {
        note(format_args!(
            "note: --device names the CPU {cpus} times, which is no faster than once: all its cores compute one part of a \
             batch after the other"
        ));
    }
    if args.dry_run {
        let names = choices.iter().map(Choice::name).collect::<Vec<_>>().join(" and ");
        say(format_args!("would train {} on {} with {names}:\n", settings.model, data.name));
        say(toml::to_string(&settings)?.trim_end());
        for name in args.others() {
            say(format_args!("\nand {name} by its own recipe"));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let wanted = asked_for(&settings.device, args.precision.unwrap_or_default(), &choices);
    let device = going_on::open_all(choices, &wanted, args.fallback)?;
    let origin = origin.as_ref();
    let folder = match folder {
        Some(folder) => folder,
        None => {
            let several = if settings.members > 1 { "-ensemble" } else { "" };
            begin_run(&args.out, &format!("{}{several}", settings.model), |folder| {
                for (i, member) in members.iter().enumerate() {
                    let own = Folder::create_at(&folder.member(i))?;
                    own.begin(member.architecture.text(), origin, &member.settings)?;
                }
                // Written last: without it there is nothing to resume.
                folder.begin(architecture.text(), origin, &settings)
            })?
        }
    };
    if !args.quiet {
        let times = times(&settings, &folder)?;
        note(format_args!(
            "{}{times} on {} with {}, in {}",
            settings.model,
            data.name,
            device.name(),
            folder.path().display()
        ));
    }
    let stop = interrupt::listen()?;
    let (quiet, fallback) = (args.quiet, args.fallback);
    let training = Training { quiet, data, device, fallback, stop: &stop };
    if settings.members > 1 {
        training.ensemble(&settings, &folder)
    } else {
        training.one(&architecture, &settings, &folder)
    }
}

/// Refuses to resume where the data, read from `place`, or the settings or layers of any of its runs, are not those that
/// it began with.
fn check_begun(folder: &Folder, data: &DataSet, place: Option<&Path>, reading: &Reading) -> anyhow::Result<()> {
    let digest = digest(&data.train);
    // An ensemble may have many checkpoints: one at a time is in memory.
    for run in folder.runs()? {
        let start = run.start()?;
        check_begun_with(&start, data, &digest, place, reading)?;
        run.check_settings::<Settings>(&start)?;
    }
    Ok(())
}

/// Returns the parameters to train, or refuses what cannot be trained on such images. `begun` is the run that is
/// resumed.
fn check(
    architecture: &Architecture,
    settings: &Settings,
    data: &DataSet,
    begun: Option<&Folder>,
) -> anyhow::Result<models::Parameters> {
    let set = &data.train;
    let training = set.len().saturating_sub(settings.validation);
    if settings.validation > 0 {
        let (left, _) = settings.split(set)?;
        if let Some(gone) = set.emptied(&left) {
            let (class, wanted) = (data.class_names[gone].clone(), settings.validation);
            if let Some(folder) = begun {
                // It keeps its settings and its images.
                anyhow::bail!(
                    "{}: this run sets {} aside to validate, which leaves none of the class {class:?} to train with. \
                     Start a new one with fewer: --validation 0 sets none aside",
                    folder.path().display(),
                    counted(wanted as u64, "image")
                );
            }
            return Err(DataError::ClassSetAside { class, flag: "validation", wanted }.into());
        }
    }
    settings.check(training)?;
    match begun {
        // What it began with it goes on with.
        Some(_) => settings.check_image([set.height, set.width])?,
        None => settings.check_images(set)?,
    }
    let (mut store, image) = (Store::default(), [set.height, set.width, set.channels]);
    let (_, parameters) = architecture.declare(image, set.classes, &mut store, "classifier")?;
    Ok(parameters)
}

/// Notes what the front `pool` makes of images of a size that it is not meant for.
fn warn_of_pool(architecture: &Architecture, set: &ImageSet) {
    let image = [set.height, set.width];
    let Some(Kind::AvgPool { window, .. }) = architecture.layers.first().map(|layer| &layer.kind) else { return };
    if image == POOLED {
        return;
    }
    let (left, lost) = (image.map(|side| side / window), image.map(|side| side % window));
    let lost = match lost {
        [0, 0] => String::new(),
        [rows, columns] => format!(", without {rows} of their rows and {columns} of their columns"),
    };
    let front = models::FRONT;
    note(format_args!(
        "note: --front {front} is for images of {}: it makes {} of images of {}{lost}",
        by(&POOLED),
        by(&left),
        by(&image)
    ));
}
