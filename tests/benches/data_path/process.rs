//! Programs in namespaces, none of which outlives the benchmark or its own time limit.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use selvedge_host::lab::{Interrupt, Namespace, Stopwatch};

use crate::trouble::Trouble;

/// A program that runs; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Process {
    words: String,
    child: Child,
    // Files: a pipe that nobody reads would stop the program.
    said: File,
    complained: File,
}

impl Process {
    /// Starts a program with its arguments.
    pub(crate) fn start(namespace: &Namespace, words: &[&str]) -> Result<Self, Trouble> {
        let name = words.join(" ");
        let failed = |error| Trouble::with(&format!("starting {name}"), error);
        let (said, complained) = (
            tempfile::tempfile().map_err(failed)?,
            tempfile::tempfile().map_err(failed)?,
        );
        // Killed with the benchmark, even if that is killed itself; a terminal's Ctrl-C is for the benchmark.
        let child = namespace
            .command("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .args(words)
            .stdin(Stdio::null())
            .stdout(said.try_clone().map_err(failed)?)
            .stderr(complained.try_clone().map_err(failed)?)
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        Ok(Self {
            words: name,
            child,
            said,
            complained,
        })
    }

    /// Waits for its end and returns what it printed, also if it failed.
    pub(crate) fn finish(mut self, within: Duration, interrupt: &Interrupt) -> Result<Output, Trouble> {
        let waiting = Stopwatch::start();
        loop {
            let ended = self.child.try_wait();
            if let Some(status) = ended.map_err(|error| Trouble::with(&self.words, error))? {
                return Ok(Output {
                    status,
                    said: contents(&mut self.said),
                    complained: contents(&mut self.complained),
                });
            }
            if waiting.elapsed() > within {
                let problem = format!("takes longer than {} s", within.as_secs());
                return Err(Trouble::with(&self.words, problem));
            }
            interrupt.sleep(Duration::from_millis(10))?;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What became of a program.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) said: String,
    pub(crate) complained: String,
}

/// Runs a short command that has to succeed.
pub(crate) fn run(namespace: &Namespace, words: &[&str]) -> Result<(), Trouble> {
    let process = Process::start(namespace, words)?;
    let output = process.finish(Duration::from_secs(10), &Interrupt::never())?;
    if output.status.success() {
        return Ok(());
    }
    Err(Trouble::with(&words.join(" "), output.complained.trim()))
}

/// The file is shared with the program, and so is its place in it.
fn contents(file: &mut File) -> String {
    let mut bytes = Vec::new();
    drop(file.rewind());
    drop(file.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}
