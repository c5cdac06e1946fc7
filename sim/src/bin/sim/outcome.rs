//! How a command ends.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// What a command comes to.
pub(crate) type Outcome = Result<Verdict, Failure>;

/// What a command found out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// All was as it has to be.
    Good,
    /// Something was not; it has been told.
    Bad,
}

impl Verdict {
    pub(crate) const fn good_if(holds: bool) -> Self {
        if holds { Self::Good } else { Self::Bad }
    }
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The report cannot be written.
    Output(io::Error),
    /// A file cannot be used: its name, and why.
    File(String),
}

impl Failure {
    pub(crate) fn of_file(file: &Path, problem: impl fmt::Display) -> Self {
        Self::File(format!("{}: {problem}", file.display()))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Tells why a command failed, and returns its exit status.
pub(crate) fn exit_code(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(Verdict::Good) => return ExitCode::SUCCESS,
        Ok(Verdict::Bad) => {}
        // Whoever reads has seen enough, as `head` has.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(Failure::Output(error)) => eprintln!("sim: cannot write the report: {error}"),
        Err(Failure::File(problem)) => eprintln!("{problem}"),
    }
    ExitCode::FAILURE
}
