//! The command line: parses, runs one command, prints its error and ends with its code.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("error")).init();
    inkgrad::device::stuck::leave(inkgrad::cli::main())
}
