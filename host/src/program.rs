//! The `selvedge` program, from its command line to its exit code.

use std::env;
use std::io::Write as _;
use std::process::ExitCode as ProcessExitCode;

use crate::cli::{self, Invocation};
use crate::exit_code::ExitCode;
use crate::{cleanup, daemon, lab, plan};

/// Runs the program with this process's arguments and environment.
pub fn main() -> ProcessExitCode {
    let args = env::args_os().map(|arg| arg.to_string_lossy().into_owned());
    let lookup = |name: &str| env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    match cli::parse(args, lookup) {
        Ok(Invocation::Print(text)) => print(&text),
        Ok(Invocation::Run(options)) => daemon::run(*options).into(),
        Ok(Invocation::Plan(options)) => plan::run(*options),
        Ok(Invocation::Cleanup(args)) => cleanup::run(&args),
        Ok(Invocation::Lab(args)) => lab::run(*args),
        Err(error) => {
            eprintln!("selvedge: {error}");
            ExitCode::Usage.into()
        }
    }
}

/// Prints a text; a reader that has gone away is no error.
fn print(text: &str) -> ProcessExitCode {
    drop(std::io::stdout().write_all(text.as_bytes()));
    ExitCode::Clean.into()
}
