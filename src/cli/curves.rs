//! `inkgrad curves`: loss and accuracy of runs, in one picture.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::outputs::{ensure_png, write_picture};
use super::say;
use crate::pictures::of_bytes;
use crate::run_files::{LOSSES, METRICS};
use crate::train::metrics::{Curves, Metrics};
use crate::train::{Folder, Settings};
use crate::words::shell;

#[derive(clap::Args)]
pub struct Args {
    /// Runs' folders, each optionally with a name for the legend: `CPU=runs/0001-fast` [default: as much of its path as
    /// tells it from the others]
    #[arg(required = true, value_name = "[NAME=]RUN")]
    runs: Vec<OsString>,
    /// Picture to write; an existing file is replaced
    #[arg(long, short, value_name = "FILE", default_value = "curves.png")]
    out: PathBuf,
    /// Title of the picture
    #[arg(long, default_value = "Training")]
    title: String,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    ensure_png("--out", &args.out)?;
    let given = args.runs.iter().map(|run| given(run)).collect::<Result<Vec<_>, _>>()?;
    let names = names(&given);
    ensure_told_apart(&names, &given)?;
    let mut runs = Vec::new();
    for (name, (_, path)) in names.into_iter().zip(&given) {
        let file = path.join(METRICS);
        anyhow::ensure!(
            !path.join(LOSSES).exists(),
            "{0}: a GAN's run, whose curves are in {0}/curves.png",
            path.display()
        );
        let members = members(path);
        anyhow::ensure!(
            members.is_empty() || file.exists(),
            "{}: an ensemble's run, whose members have curves: inkgrad curves {}",
            path.display(),
            members.join(" ")
        );
        let bytes = std::fs::read(&file).with_context(|| {
            format!(
                "{}: has no metrics of a run; expected a folder that `inkgrad train` made, like runs/0001-fast",
                file.display()
            )
        })?;
        // Bytes that are not text are part of a line that the error names.
        let text = String::from_utf8_lossy(&bytes);
        let metrics = Metrics::parse(&text).map_err(|e| anyhow::anyhow!("{}: {e}", file.display()))?;
        // Metrics are drawn even without settings.
        let settings = Folder::open(path).and_then(|folder| folder.settings::<Settings>());
        runs.push((name, metrics, settings.map_or(0.0, |settings| settings.label_smoothing)));
    }
    let curves = runs.iter().map(|(name, metrics, smoothing)| Curves { name, metrics, label_smoothing: *smoothing });
    write_picture(&Metrics::picture(&args.title, &curves.collect::<Vec<_>>())?, &args.out)?;
    say(args.out.display());
    Ok(ExitCode::SUCCESS)
}

/// A run's name, if one was given, and its folder.
type Given = (Option<String>, PathBuf);

fn given(run: &OsStr) -> anyhow::Result<Given> {
    let (bytes, path) = (run.as_encoded_bytes(), Path::new(run));
    match bytes.iter().position(|byte| *byte == b'=') {
        // A path may contain `=`; then it exists as given.
        Some(end) if !path.exists() => {
            let name = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let remedy = "expected a name before the =, or the folder alone";
            anyhow::ensure!(!name.trim().is_empty(), "{}: {remedy}", path.display());
            Ok((Some(name), of_bytes(bytes[end + 1..].to_vec())))
        }
        _ => Ok((None, path.to_owned())),
    }
}

/// The names in the legend: those given, and for other runs as much of the end of the path as distinguishes it from all
/// others. Lines of the same name would be taken for one run's.
fn names(runs: &[Given]) -> Vec<String> {
    let end = |(name, path): &Given, parts: usize| match name {
        Some(name) => name.clone(),
        None => end_of(path, parts),
    };
    let name = |run: &Given| {
        let others = || runs.iter().filter(|(_, path)| *path != run.1);
        let parts = run.1.components().count().max(1);
        let distinct = (1..parts).find(|parts| others().all(|other| end(other, *parts) != end(run, *parts)));
        end(run, distinct.unwrap_or(parts))
    };
    runs.iter().map(name).collect()
}

/// Refuses one name for two runs, as two are given it or one is given what the other is called by: they would have one
/// colour and one entry in the legend.
fn ensure_told_apart(names: &[String], runs: &[Given]) -> anyhow::Result<()> {
    for (i, (name, (_, path))) in names.iter().zip(runs).enumerate() {
        let earlier = names[..i].iter().zip(runs).find(|(other, run)| *other == name && run.1 != *path);
        if let Some((_, (_, other))) = earlier {
            let mut free = ('A'..='Z').map(String::from).filter(|free| !names.contains(free));
            let mut named = |run: &Path| shell(&format!("{}={}", free.next().unwrap_or_default(), run.display()));
            let (one, another) = (named(other), named(path));
            anyhow::bail!(
                "{} and {} are both called {name}; give them different names, like {one} {another}",
                other.display(),
                path.display()
            );
        }
    }
    Ok(())
}

/// The last `parts` components of a path.
fn end_of(path: &Path, parts: usize) -> String {
    let left_out = path.components().count().saturating_sub(parts);
    path.components().skip(left_out).collect::<PathBuf>().display().to_string()
}

/// The folders of an ensemble's members that have curves, as a shell takes them.
fn members(run: &Path) -> Vec<String> {
    let members = (1..).map(|number| run.join(number.to_string())).take_while(|member| member.is_dir());
    let drawn = members.filter(|member| member.join(METRICS).exists());
    drawn.map(|member| shell(&member.to_string_lossy())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_the_same_folder_name_are_called_by_as_much_of_their_paths_as_tells_them_apart() {
        for (runs, wanted) in [
            (&["ri/0002-dense", "rho/0002-dense/"][..], &["ri/0002-dense", "rho/0002-dense"][..]),
            (&["runs/0001-fast", "runs/0002-fast"], &["0001-fast", "0002-fast"]),
            (&["a/b/1", "c/b/1", "c/d/1", "2"], &["a/b/1", "c/b/1", "d/1", "2"]),
            (&["/a/1", "1"], &["a/1", "1"]),
            (&["CPU=a/1", "GPU=b/1"], &["CPU", "GPU"]),
            (&["1=a/2", "b/1", "a/2"], &["1", "b/1", "2"]),
            (&["a/1", "a/1"], &["1", "1"]),
            (&["."], &["."]),
        ] {
            let given: Vec<_> = runs.iter().map(|run| given(OsStr::new(run)).unwrap()).collect();
            let names: Vec<String> = names(&given).iter().map(|name| name.replace('\\', "/")).collect();
            assert_eq!(names, wanted, "{runs:?}");
        }
    }

    #[test]
    fn two_runs_of_one_name_are_refused_and_one_run_given_twice_is_not() {
        let refused = |runs: &[&str]| {
            let given: Vec<_> = runs.iter().map(|run| given(OsStr::new(run)).unwrap()).collect();
            ensure_told_apart(&names(&given), &given).err().map(|error| error.to_string())
        };
        // The advice takes no name that a run already has.
        let said = refused(&["C=run0", "B=run1", "B=run2"]).unwrap();
        assert_eq!(said, "run1 and run2 are both called B; give them different names, like A=run1 D=run2");
        let said = refused(&["1=run", "1"]).unwrap();
        assert_eq!(said, "run and 1 are both called 1; give them different names, like A=run B=1");
        for right in [&["A=run1", "B=run2"][..], &["A=run1", "A=run1"], &["a/1", "b/1", "a/1"]] {
            assert_eq!(refused(right), None, "{right:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_run_is_found_though_its_path_is_no_unicode() {
        use std::os::unix::ffi::OsStrExt;
        let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        let given = |bytes: &[u8]| given(OsStr::from_bytes(bytes)).unwrap();
        assert_eq!(given(b"bad\xff/0001-dense"), (None, path(b"bad\xff/0001-dense")));
        assert_eq!(given(b"CPU=bad\xff/1=2"), (Some("CPU".into()), path(b"bad\xff/1=2")));
    }
}
