//! `inkgrad classify`: classifies any number of pictures, of any size and colour.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use anyhow::{Context, anyhow, bail, ensure};

use super::learner::asked_of_its_own;
use super::progress::Progress;
use super::terminal::Shown;
use super::{counted, interrupt, note, open_devices, say, thousands, told_once};
use crate::data::UNSURE;
use crate::data::csv::PixelRows;
use crate::device::Device;
use crate::files::{self, DASH, Existing, STDOUT, Unfinished, WriteError};
use crate::hash::hash;
use crate::infer::classify::default_model;
use crate::infer::in_order::in_order;
use crate::infer::{Classifier, InferError};
use crate::models::ModelFile;
use crate::pictures::source::{Done, Shard, Source, is_csv};
use crate::pictures::stream::{BATCH, Batch, Work, stream};
use crate::pictures::{is_dark, visible};
use crate::report;
use args::Args;
use begun::Begun;
use fingerprint::Fingerprint;
use journal::Journal;
use record::{Kept, Record};
use resumed::{Opened, opened};
use sheet::Least;
use sorting::{How, Sorting};
use summary::Summary;
use table::{Columns, Format, Table};
use whole::Whole;

pub mod args;
mod begun;
mod fingerprint;
mod journal;
mod record;
mod resumed;
mod sheet;
mod sorting;
mod summary;
mod table;
mod whole;

/// Some files could not be read; all others were classified.
const SOME_FAILED: u8 = 3;

pub fn run(mut args: Args) -> anyhow::Result<ExitCode> {
    let format = args.check()?;
    // A stream gets the table in the same way as standard output.
    let to = args.out.as_deref().and_then(files::stream);
    if let Some(out) = args.out.take_if(|_| to.is_some()) {
        ensure!(!args.resume, "--resume: {} is not a file, so nothing was kept to continue from", out.display());
    }
    let file = match &args.model {
        Some(wanted) => ModelFile::open(wanted)?,
        None => default_model()?,
    };
    let mut team = open_devices(&args.device)?
        .into_iter()
        .map(|mut device| {
            let classifier = Classifier::open(device.as_mut(), &file, BATCH, args.views.into())?;
            Ok((classifier, device))
        })
        .collect::<Result<Vec<Member>, InferError>>()?;
    let device = team.iter().map(|(_, device)| device.name()).collect::<Vec<_>>().join(" and ");
    let Some((classifier, _)) = team.first() else { bail!("no device") };
    let class_names = classifier.class_names().to_vec();
    let top = usize::from(args.top()).min(class_names.len().max(1));
    args.check_preparation(&file, classifier.input())?;
    tell_doubts(&args.pictures, classifier.input());
    let columns = Columns::new(&class_names, args.threshold, Kept { top, all: args.probabilities });
    if columns.unsure != UNSURE {
        let word = &columns.unsure;
        note(format_args!("note: the model has a class called {UNSURE}, so pictures without an answer are {word}"));
    }
    if let Some(numbering) = columns.numbering().filter(|_| format == Format::Kaggle) {
        note(format_args!("note: Kaggle takes numbers instead of class names: {numbering}"));
    }
    let how = args.sort.unwrap_or(How::Copy);
    let sorting = args.sort_into.clone().map(|folder| Sorting::new(folder, how, &class_names));
    if let Some(sorting) = &sorting {
        args.check_sorting(sorting)?;
    }
    // Dropped after everything that is written into these folders.
    let _made = args.make_folders()?;
    if let Some(path) = &args.sheet {
        sheet::can_be_written(path)?;
    }
    let work = Work { input: classifier.input(), preparation: args.preparation(&file), show: args.show_input.clone() };
    let only_fits = work.preparation.only_fits(work.input[2]);
    let knows_light = file.knows_light_pictures();
    if knows_light && !only_fits {
        let model = file.name.display();
        note(format_args!(
            "note: {model} has learned from light pictures, and --prepare makes these light ink on black; leave it out"
        ));
    }
    let mut results = Results {
        summary: Summary::new(columns.clone(), only_fits, args.errors.as_deref())?,
        least: args.sheet.as_ref().map(|_| Least::new(work.input, columns.clone())),
        sorting,
        kept: columns.kept,
        threshold: args.threshold.unwrap_or(0.0),
        class_names,
        // Colour has no ink and no paper.
        expects_light: knows_light && only_fits && work.input[2] == 1,
    };
    let (given, null_data, shard) = (args.pictures.clone(), args.null_data, args.shard);
    let done = Done::default();
    let class_names = results.class_names.clone();
    let source = Source { given, null_data, shard, done: Arc::clone(&done), class_names };
    let mut mended = HashSet::new();
    let (mut sink, existing) = match &args.out {
        None => {
            let (to, alone) = (to.unwrap_or_else(|| STDOUT.into()), args.besides().is_empty());
            (Sink::Stream { format, columns: columns.clone(), to, table: None, alone }, Existing::Keep)
        }
        Some(out) => match opened(out, &args, &Begun::of(&args, &file, format)?, &work, &mut results)? {
            Some(Opened { journal, existing, earlier }) => {
                *done.lock().unwrap_or_else(PoisonError::into_inner) = earlier.done;
                mended = earlier.mended;
                (Sink::Journal(journal), existing)
            }
            None => {
                let whole = match how {
                    // The pictures have been moved.
                    How::Move => whole::NOT_COMPARED,
                    How::Copy | How::Link => whole::compare(out, format, &columns, source, &work, &mut team)?,
                };
                return leave(&args, out, &whole);
            }
        },
    };

    let stop = interrupt::listen()?;
    let before = results.summary.pictures + results.summary.failed;
    let mut progress = Progress::new("pictures", None, args.quiet);
    progress.begin(before, None);
    // An error that ends a run says what is kept of the run.
    let with_kept = |error: anyhow::Error| match kept(&args) {
        Some(kept) => anyhow!("{}. What is done is {kept}", told_once(&error)),
        None => error,
    };
    let ended = classify(source, &work, &mut team, &mut results, &mut sink, &mut progress, &stop);
    let took = progress.finish();
    ended.map_err(with_kept)?;
    let moves = results.moves();
    let summary = &mut results.summary;
    let all = summary.pictures + summary.failed;
    if stop.load(Ordering::Relaxed) {
        summary.finish_errors().map_err(with_kept)?;
        sink.end().map_err(with_kept)?;
        let kept = kept(&args).map(|kept| format!(", {kept}")).unwrap_or_default();
        note(format_args!("stopped after {}{kept}", counted(all, "picture")));
        return Ok(ExitCode::from(130));
    }
    let nothing = match format {
        _ if all == 0 && args.shard.is_none() => Some(nothing_in(&args.pictures, summary)),
        // A submission without answers would be no use.
        Format::Kaggle => summary.without_answers().map(String::from),
        _ => None,
    };
    if let Some(nothing) = nothing {
        if let Sink::Journal(journal) = sink {
            journal.remove()?;
        }
        bail!(nothing);
    }
    // What has been moved is no longer found.
    if let Sink::Journal(journal) = &mut sink
        && !moves
    {
        resumed::ensure_asked_for(journal, &done.lock().unwrap_or_else(PoisonError::into_inner))?;
    }
    summary.finish_errors().map_err(with_kept)?;
    let mut journal = sink.end().map_err(with_kept)?;
    if let (Some(journal), Some(out)) = (&mut journal, &args.out) {
        write_table(journal, out, format, columns, existing, &mended).map_err(with_kept)?;
    }
    if let (Some(least), Some(path)) = (results.least, &args.sheet) {
        let (sheet, missing) = least.draw(&work)?;
        report::save_png(&sheet, path).map_err(|error| with_kept(error.into()))?;
        if missing > 0 {
            let (path, missing) = (path.display(), counted(missing, "picture"));
            note(format_args!("{path}: lacks {missing}, no longer there or too many to fit"));
        }
    }
    // As long as the journal exists, --resume can make up for a sheet that could not be written.
    journal.map_or(Ok(()), Journal::remove)?;
    tell(&args, format, &results.summary, before, took, &device);
    if !args.quiet && results.summary.of_known().is_some() {
        asked_of_its_own(&file, &args.pictures).into_iter().for_each(note);
    }
    Ok(if results.summary.failed > 0 { ExitCode::from(SOME_FAILED) } else { ExitCode::SUCCESS })
}

/// Ends a run with --resume whose table is complete.
///
/// # Errors
/// If something else that is asked for is not there: no picture is looked at for it.
fn leave(args: &Args, out: &Path, whole: &Whole) -> anyhow::Result<ExitCode> {
    let (out, mut besides) = (out.display(), args.besides());
    // These folders are made with their first picture.
    let is_made = |flag: &str| !whole.is_empty || !matches!(flag, "--sort-into" | "--show-input");
    besides.retain(|(flag, path)| path.exists() || is_made(flag));
    if let Some((flag, path)) = besides.iter().find(|(_, path)| !path.exists()) {
        bail!(
            "{flag} {}: is not there, and {out} is already complete, so no picture is looked at again; leave {flag} \
             out, or make all anew with --force",
            path.display()
        );
    }
    note(format_args!("{out} is already complete: {}; --force replaces it", whole.found));
    for (flag, path) in besides {
        note(format_args!("{flag} {} is left as it is", path.display()));
    }
    if whole.unreadable == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    note(format_args!("{} could not be read", counted(whole.unreadable, "picture")));
    Ok(ExitCode::from(SOME_FAILED))
}

/// Says where the names of a table's columns leave the order of its pixels open.
fn tell_doubts(pictures: &[PathBuf], image: [usize; 3]) {
    // Opening a pipe would wait for its writer.
    for table in pictures.iter().filter(|path| is_csv(path) && path.is_file()) {
        let rows = PixelRows::open_for(table, Some(image));
        if let Some(doubt) = rows.as_ref().ok().and_then(|rows| rows.doubt()) {
            note(format_args!("note: {}: {doubt}", table.display()));
        }
    }
}

fn nothing_in(pictures: &[PathBuf], summary: &Summary) -> String {
    let (others, not_read) = (summary.other_files, summary.not_read());
    let pictures: Vec<String> = pictures.iter().map(|path| visible(&path.to_string_lossy())).collect();
    if pictures == [DASH] && others == 0 && not_read.is_none() {
        return "no pictures in -: the list on standard input is empty, or names only empty folders".into();
    }
    if let Some(not_read) = not_read {
        return format!("no pictures in {}; {not_read}", pictures.join(", "));
    }
    let endings = "files in a folder should end in .png, .jpg, .bmp, .tif, .webp, .gif, .pgm or the like";
    let others = match others {
        0 => String::new(),
        1 => ", and 1 does not".into(),
        others => format!(", and {} do not", thousands(others)),
    };
    format!("no pictures in {}; {endings}{others}", pictures.join(", "))
}

/// What happens to a table that is not complete yet; `None` for one that is streamed.
fn kept(args: &Args) -> Option<String> {
    let journal = journal::path_of(args.out.as_deref()?);
    let flag = if args.force { "--resume instead of --force" } else { "--resume" };
    Some(format!("kept in {}; the same command with {flag} continues", journal.display()))
}

/// Prints the summary: on standard output, unless the table goes there.
fn tell(args: &Args, format: Format, summary: &Summary, before: u64, took: std::time::Duration, device: &str) {
    if summary.failed > 0 {
        note(summary.failures());
    }
    if format == Format::Kaggle && summary.failed_rows > 0 {
        let table = args.out.as_ref().map_or("the table".into(), |out| out.display().to_string());
        note(format_args!("warning: {table} lacks {}; Kaggle refuses it", summary.lacking()));
    }
    if let Some(places) = summary.labels_by_place() {
        note(format_args!("note: no class is called by a number, so labels are taken for places: {places}"));
    }
    let (dark, all) = summary.dark;
    if 2 * dark > all {
        let (pictures, have) = (counted(dark, "picture"), if dark == 1 { "has" } else { "have" });
        note(format_args!(
            "note: {pictures} {have} a dark border, and the model has learned from light pictures and gets them as \
             they are. Invert them first"
        ));
    }
    if args.quiet {
        return;
    }
    let text = summary.text(before, took, device);
    if args.out.is_some() {
        say(text);
        for path in [&args.out, &args.sheet, &args.errors].into_iter().flatten() {
            say(path.display());
        }
    } else {
        note(format_args!("\n{text}"));
    }
}

/// What a run collects as it proceeds.
struct Results {
    summary: Summary,
    least: Option<Least>,
    sorting: Option<Sorting>,
    kept: Kept,
    threshold: f64,
    class_names: Vec<String>,
    /// Whether the model has learned from light pictures, and gets these as they are.
    expects_light: bool,
}

impl Results {
    fn sort(&mut self, record: &Record, file: &Path) -> anyhow::Result<()> {
        let (Some(sorting), Some(_)) = (&mut self.sorting, record.best()) else { return Ok(()) };
        sorting.put(file, record.answer(self.threshold))
    }
}

/// Where records go as they are made.
enum Sink {
    /// A table that is started with its first row, so that nothing is written if there is nothing.
    Stream {
        format: Format,
        columns: Columns,
        /// Standard output, or the stream that --out names.
        to: PathBuf,
        table: Option<Streamed>,
        /// Whether no other files are to be written.
        alone: bool,
    },
    /// A table that nobody reads any more; the other files are written all the same.
    Nobody,
    Journal(Journal),
}

impl Sink {
    fn push(&mut self, record: &Record) -> anyhow::Result<()> {
        match self {
            // It has no row in the table.
            Sink::Stream { .. } if record.best().is_none() => Ok(()),
            Sink::Stream { format, columns, to, table, alone } => {
                let pushed = begun(*format, columns, to, table).and_then(|table| table.push(record));
                if gone(pushed, to, *alone)? {
                    *self = Sink::Nobody;
                }
                Ok(())
            }
            Sink::Nobody => Ok(()),
            Sink::Journal(journal) => journal.push(record),
        }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        match self {
            Sink::Stream { to, table, alone, .. } => {
                let flushed = table.as_mut().map_or(Ok(()), Table::flush);
                if gone(flushed, to, *alone)? {
                    *self = Sink::Nobody;
                }
                Ok(())
            }
            Sink::Nobody => Ok(()),
            Sink::Journal(journal) => journal.flush(),
        }
    }

    /// Ends a table, or returns the journal that is still to become one.
    fn end(self) -> anyhow::Result<Option<Journal>> {
        match self {
            Sink::Stream { format, columns, to, mut table, alone } => {
                let started = begun(format, &columns, &to, &mut table).map(drop);
                let end = |table: Streamed| table.finish().and_then(|mut out| out.flush());
                gone(started.and_then(|()| table.map_or(Ok(()), end)), &to, alone).map(|_| None)
            }
            Sink::Nobody => Ok(None),
            Sink::Journal(mut journal) => journal.flush().map(|()| Some(journal)),
        }
    }
}

type Streamed = Table<BufWriter<Box<dyn Write + Send>>>;

fn begun<'a>(
    format: Format,
    columns: &Columns,
    to: &Path,
    table: &'a mut Option<Streamed>,
) -> io::Result<&'a mut Streamed> {
    match table {
        Some(table) => Ok(table),
        None => {
            let stream = files::open_stream(to)?;
            let is_seen = to == Path::new(STDOUT) && io::stdout().is_terminal();
            let stream = if is_seen { Box::new(Shown::new(stream)) } else { stream };
            Ok(table.insert(Table::start(format, columns.clone(), BufWriter::new(stream))?))
        }
    }
}

/// Whether the reader has gone away. If the table is the only output, that ends the program quietly, as `head` expects.
fn gone(written: io::Result<()>, to: &Path, alone: bool) -> anyhow::Result<bool> {
    match written {
        Err(error) if is_broken_pipe(&error) && alone => std::process::exit(0),
        Err(error) if is_broken_pipe(&error) => Ok(true),
        written if to == Path::new(STDOUT) => written.map(|()| false).context("cannot write to standard output"),
        written => written.map(|()| false).with_context(|| format!("cannot write to {}", to.display())),
    }
}

/// A CSV writer wraps a broken pipe in an error of its own.
fn is_broken_pipe(error: &io::Error) -> bool {
    let within = error.get_ref().and_then(|inner| inner.downcast_ref::<csv::Error>());
    let kind = match within.map(csv::Error::kind) {
        Some(csv::ErrorKind::Io(inner)) => inner.kind(),
        _ => error.kind(),
    };
    kind == io::ErrorKind::BrokenPipe
}

/// A device with the network on it.
type Member = (Classifier, Box<dyn Device>);

/// Classifies everything, batch by batch, while the next batches are decoded.
fn classify(
    source: Source,
    work: &Work,
    team: &mut [Member],
    results: &mut Results,
    sink: &mut Sink,
    progress: &mut Progress,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<()> {
    let classes = results.class_names.len();
    let [height, width, _] = work.input;
    let mut done = results.summary.pictures + results.summary.failed;
    let (is_kept, began) = (matches!(sink, Sink::Journal(_)), SystemTime::now());
    let logits = |(classifier, device): &mut Member, batch: &Batch| -> anyhow::Result<Vec<f32>> {
        let seen = batch.items.iter().filter_map(|item| Some(item.prepared.as_ref().ok()?.pixels.as_slice()));
        let seen = seen.collect::<Vec<_>>().concat();
        Ok(if seen.is_empty() { Vec::new() } else { classifier.logits(device.as_mut(), &seen)? })
    };
    let workers = team.iter_mut().map(|member| {
        move |batch: Result<Batch, String>| {
            let batch = batch.map_err(anyhow::Error::msg)?;
            let logits = logits(member, &batch)?;
            let fingerprints = if is_kept { Fingerprint::all(&batch.items, began) } else { Vec::new() };
            anyhow::Ok((batch, logits, fingerprints))
        }
    });
    let batches = stream(source, work.clone(), Arc::clone(stop)).into_iter();
    let batches = batches.map(|batch| if batch.as_ref().is_ok_and(Batch::is_empty) { None } else { Some(batch) });
    in_order(batches, workers.collect(), |answer| {
        let (Batch { items, not_read, other_files, folder_links }, logits, fingerprints) = answer?;
        for (ending, count) in not_read {
            *results.summary.not_read.entry(ending).or_default() += count;
        }
        results.summary.other_files += other_files;
        results.summary.folder_links += folder_links;
        let mut rows = logits.chunks_exact(classes);
        let mut records = Vec::with_capacity(items.len());
        for (place, item) in items.iter().enumerate() {
            let row = item.prepared.is_ok().then(|| rows.next()).flatten();
            let fingerprint = fingerprints.get(place).copied().unwrap_or_default();
            records.push(Record { fingerprint, ..Record::new(item, row, results.kept) });
        }
        // A file to be moved is in the journal before it is gone; a copied file is not copied again.
        let moves = results.moves();
        if moves {
            records.iter().try_for_each(|record| sink.push(record))?;
            sink.flush()?;
        }
        for (item, record) in items.iter().zip(&records) {
            results.summary.add(record)?;
            if let (Some(least), Ok(prepared)) = (&mut results.least, &item.prepared) {
                least.add(record, Some(&prepared.pixels));
            }
            if let (true, Ok(prepared)) = (results.expects_light, &item.prepared) {
                let (dark, all) = &mut results.summary.dark;
                *dark += u64::from(is_dark(&prepared.pixels, [height, width]));
                *all += 1;
            }
            if let Some(path) = &item.path {
                results.sort(record, path)?;
            }
            if !moves {
                sink.push(record)?;
            }
        }
        sink.flush()?;
        done += items.len() as u64;
        progress.at(done);
        Ok(if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })
}

/// Makes the table from a complete journal. Pictures that were `mended`, given by the hashes of their names, stand where
/// they could not be read at first.
fn write_table(
    journal: &mut Journal,
    out: &Path,
    format: Format,
    columns: Columns,
    existing: Existing,
    mended: &HashSet<u64>,
) -> anyhow::Result<()> {
    let refused = WriteError::of(out);
    let file = Unfinished::create(out).map_err(&refused)?;
    let mut table = Table::start(format, columns, file).map_err(&refused)?;
    let mut later = answers(journal, mended)?;
    journal.read(|record| {
        let row = match later.get_mut(&hash(record.path.as_bytes())) {
            Some(answers) => answers.pop_front(),
            None => Some(record),
        };
        Ok(row.map_or(Ok(()), |row| table.push(&row)).map_err(&refused)?)
    })?;
    Ok(table.finish().and_then(|file| file.finish(existing)).map_err(refused)?)
}

/// The journal's answers for the pictures whose names have these hashes.
fn answers(journal: &mut Journal, names: &HashSet<u64>) -> anyhow::Result<HashMap<u64, VecDeque<Record>>> {
    let mut answers: HashMap<u64, VecDeque<Record>> = HashMap::new();
    if names.is_empty() {
        return Ok(answers);
    }
    journal.read(|record| {
        let name = hash(record.path.as_bytes());
        if names.contains(&name) && record.best().is_some() {
            answers.entry(name).or_default().push_back(record);
        }
        Ok(())
    })?;
    Ok(answers)
}
