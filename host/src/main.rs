//! The `selvedge` program.

use std::env;
use std::io::Write as _;
use std::process::ExitCode as ProcessExitCode;

use selvedge_host::cli::{self, Invocation};
use selvedge_host::daemon;
use selvedge_host::exit_code::ExitCode;

fn main() -> ProcessExitCode {
    let args = env::args_os().map(|arg| arg.to_string_lossy().into_owned());
    let lookup = |name: &str| env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    match cli::parse(args, lookup) {
        Ok(Invocation::Print(text)) => print(&text),
        Ok(Invocation::Run(options)) => daemon::run(*options).into(),
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
