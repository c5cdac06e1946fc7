//! Network namespaces: made, entered and removed by the `ip` command, without a shell.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::error::{IoContext, LabError};

const NAMESPACES: &str = "/run/netns";

/// A named network namespace.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Namespace(String);

/// How processes are told to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// By SIGTERM, then, after a few seconds, by SIGKILL.
    Graceful,
    /// By SIGKILL, as in a crash.
    Crash,
}

impl Namespace {
    /// Names a namespace, which need not exist yet.
    pub fn named(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Returns the names of all namespaces of this machine, in order.
    ///
    /// # Errors
    ///
    /// [`LabError::Io`] if the directory of namespaces cannot be read.
    pub fn list() -> Result<Vec<String>, LabError> {
        let entries = match Path::new(NAMESPACES).read_dir() {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => {
                return Err(LabError::Io {
                    what: format!("reading {NAMESPACES}"),
                    source,
                });
            }
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Tells whether it exists.
    pub fn exists(&self) -> bool {
        self.path().exists()
    }

    /// Makes it, with its loopback device up.
    ///
    /// # Errors
    ///
    /// What `ip` says, for example that the permission is missing.
    pub fn create(&self) -> Result<(), LabError> {
        ip(&["netns", "add", &self.0])?;
        self.ip(&["link", "set", "lo", "up"])
    }

    /// Ends its processes and removes it; removing what is not there is fine.
    ///
    /// # Errors
    ///
    /// What `ip` says.
    pub fn remove(&self) -> Result<(), LabError> {
        if !self.exists() {
            return Ok(());
        }
        self.end_processes(Ending::Graceful)?;
        match ip(&["netns", "delete", &self.0]).map(drop) {
            Err(_) if !self.exists() => Ok(()),
            outcome => outcome,
        }
    }

    /// Runs `ip` on this namespace's objects.
    ///
    /// # Errors
    ///
    /// What `ip` says.
    pub fn ip(&self, arguments: &[&str]) -> Result<(), LabError> {
        self.ip_output(arguments).map(drop)
    }

    /// Runs `ip` on this namespace's objects and returns what it prints.
    ///
    /// # Errors
    ///
    /// What `ip` says.
    pub fn ip_output(&self, arguments: &[&str]) -> Result<String, LabError> {
        let mut all = vec!["-n", self.0.as_str()];
        all.extend(arguments);
        ip(&all)
    }

    /// Prepares to run a program inside.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]).arg(program);
        command
    }

    /// Runs a function on a thread of its own that is inside: sockets that it opens belong to the namespace, and
    /// stay there wherever they are used later.
    ///
    /// # Errors
    ///
    /// [`LabError::Io`] if the namespace cannot be entered.
    ///
    /// # Panics
    ///
    /// If the function panics.
    pub fn enter<T: Send>(&self, run: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        let path = self.path();
        let file = File::open(&path).trying(|| format!("opening namespace {}", path.display()))?;
        enter_file(&file, run)
    }

    /// Returns the ids of its processes.
    ///
    /// # Errors
    ///
    /// What `ip` says.
    pub fn pids(&self) -> Result<Vec<Pid>, LabError> {
        let listed = ip(&["netns", "pids", &self.0])?;
        Ok(listed
            .lines()
            .filter_map(|line| line.trim().parse().ok())
            .map(Pid::from_raw)
            .collect())
    }

    /// Sends SIGTERM to its processes and does not wait.
    ///
    /// # Errors
    ///
    /// What `ip` says.
    pub fn ask_processes_to_end(&self) -> Result<(), LabError> {
        self.signal(Signal::SIGTERM)
    }

    /// Ends its processes and waits until they are gone.
    ///
    /// # Errors
    ///
    /// What `ip` says.
    pub fn end_processes(&self, ending: Ending) -> Result<(), LabError> {
        const STEP: Duration = Duration::from_millis(20);
        const GRACE_STEPS: u32 = 150;
        const LAST_STEPS: u32 = 50;
        let (first, grace) = match ending {
            Ending::Graceful => (Signal::SIGTERM, GRACE_STEPS),
            Ending::Crash => (Signal::SIGKILL, LAST_STEPS),
        };
        for (signal, steps) in [(first, grace), (Signal::SIGKILL, LAST_STEPS)] {
            self.signal(signal)?;
            for _ in 0..steps {
                if self.pids()?.is_empty() {
                    return Ok(());
                }
                thread::sleep(STEP);
            }
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<(), LabError> {
        for pid in self.pids()? {
            // A process that is already gone is what we want.
            kill(pid, signal).ok();
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        Path::new(NAMESPACES).join(&self.0)
    }
}

/// Runs a function on a thread of its own inside the namespace that an open file stands for.
///
/// # Errors
///
/// [`LabError::Io`] if the namespace cannot be entered.
pub(super) fn enter_file<T: Send>(file: &File, run: impl FnOnce() -> T + Send) -> Result<T, LabError> {
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            setns(file, CloneFlags::CLONE_NEWNET).trying(|| "entering a namespace".to_owned())?;
            Ok(run())
        });
        inside
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn ip(arguments: &[&str]) -> Result<String, LabError> {
    // A group of its own keeps Ctrl-C away, so that cleaning up is not cut short.
    let output = std::os::unix::process::CommandExt::process_group(&mut Command::new("ip"), 0)
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(LabError::IpToolMissing),
        Err(source) => {
            return Err(LabError::Io {
                what: "running `ip`".to_owned(),
                source,
            });
        }
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(LabError::Ip {
        command: arguments.join(" "),
        message: String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; "),
    })
}
