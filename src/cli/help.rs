//! `inkgrad completions` and `inkgrad man`: shell completions and manual pages of the commands.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

#[derive(clap::Args)]
#[command(after_help = "Example: inkgrad completions bash > ~/.local/share/bash-completion/completions/inkgrad")]
pub struct CompletionsArgs {
    /// The shell to write for
    shell: clap_complete::Shell,
}

/// Writes a shell's completions of `command` to standard output.
pub fn completions(args: CompletionsArgs, mut command: clap::Command) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "inkgrad", &mut text);
    super::say(String::from_utf8_lossy(&text).trim_end());
    ExitCode::SUCCESS
}

#[derive(clap::Args)]
#[command(after_help = "Example: inkgrad man ~/.local/share/man/man1, and then: man inkgrad-train")]
pub struct ManArgs {
    /// Folder for the pages, one for each command
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Writes the pages of `command` and of all commands below it.
pub fn man(args: ManArgs, command: clap::Command) -> anyhow::Result<ExitCode> {
    let cannot = || format!("cannot write to {}", args.folder.display());
    std::fs::create_dir_all(&args.folder).with_context(cannot)?;
    clap_mangen::generate_to(command, &args.folder).with_context(cannot)?;
    Ok(ExitCode::SUCCESS)
}
