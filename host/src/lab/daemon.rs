//! The processes of a lab: the store's and the nodes' daemons, detached, with their logs in files.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::error::{IoContext, LabError};
use super::name::{NodeNumber, Place};
use super::namespace::Ending;
use super::stopwatch::Stopwatch;
use super::{Lab, LabOptions};

const LOG_LINES: usize = 15;

/// A process of a lab.
#[derive(Debug)]
pub(super) struct Daemon {
    child: Child,
    /// The identity of the subnet file when it was started: a new one is put in its place when it is ready.
    before: Option<u64>,
}

impl Daemon {
    /// Forgets the process after it was ended, so that it does not stay a zombie.
    pub(super) fn reap(&mut self) {
        drop(self.child.wait());
    }
}

impl Lab {
    /// Gives more flags to every daemon that is started from now on; a later one wins over an earlier one.
    pub fn add_node_flags(&mut self, flags: &[&str]) {
        let flags = flags.iter().map(|flag| (*flag).to_owned());
        self.options.node_flags.extend(flags);
    }

    /// Starts a node's daemon.
    ///
    /// # Errors
    ///
    /// [`LabError::Io`] if it cannot be started.
    pub fn start_node(&mut self, number: NodeNumber) -> Result<(), LabError> {
        let place = Place::Node(number);
        let subnet_file = self.subnet_file(number);
        let mut command = self.namespace(place).command(&self.options.program);
        command
            .arg("run")
            .args(["--etcd-endpoints", &format!("http://{}", LabOptions::ENDPOINT)]);
        command
            .arg("--subnet-file")
            .arg(&subnet_file)
            .arg("--record")
            .arg(self.recording(number))
            .args(&self.options.node_flags);
        self.spawn(place, command, identity(&subnet_file))
    }

    /// Ends a node's daemon and waits until it is gone.
    ///
    /// # Errors
    ///
    /// What `ip` says.
    pub fn stop_node(&mut self, number: NodeNumber, ending: Ending) -> Result<(), LabError> {
        let place = Place::Node(number);
        self.namespace(place).end_processes(ending)?;
        if let Some(mut daemon) = self.daemons.remove(&place) {
            daemon.reap();
        }
        Ok(())
    }

    /// Waits until every node has written its subnet file.
    ///
    /// # Errors
    ///
    /// [`LabError::NotReady`] with the end of the log if a daemon ends or takes longer than [`Lab::READY_WITHIN`].
    pub fn wait_ready(&mut self) -> Result<(), LabError> {
        let waiting = Stopwatch::start();
        for number in self.nodes() {
            while !self.ready(number)? {
                if waiting.elapsed() > Self::READY_WITHIN {
                    let problem = format!("is not ready after {} s", Self::READY_WITHIN.as_secs());
                    return Err(self.not_ready(Place::Node(number), problem));
                }
                self.interrupt.sleep(Duration::from_millis(20))?;
            }
        }
        Ok(())
    }

    /// Returns the log of a place's process.
    pub fn log_file(&self, place: Place) -> PathBuf {
        self.state_dir().join(format!("{place}.log"))
    }

    pub(super) fn spawn(
        &mut self,
        place: Place,
        mut command: Command,
        before: Option<u64>,
    ) -> Result<(), LabError> {
        let path = self.log_file(place);
        let log = |file: Result<File, _>| file.trying(|| format!("opening {}", path.display()));
        let file = log(File::options().create(true).append(true).open(&path))?;
        // A group of its own: a terminal's Ctrl-C is for the command, not for the lab's processes.
        let child = command
            .stdin(Stdio::null())
            .stdout(log(file.try_clone())?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .trying(|| format!("starting the process of {place}"))?;
        self.daemons.insert(place, Daemon { child, before });
        Ok(())
    }

    /// Makes sure that a place's process still runs.
    pub(super) fn check_alive(&mut self, place: Place) -> Result<(), LabError> {
        let Some(daemon) = self.daemons.get_mut(&place) else {
            return Ok(());
        };
        match daemon
            .child
            .try_wait()
            .trying(|| format!("looking after {place}"))?
        {
            None => Ok(()),
            Some(status) => Err(self.not_ready(place, format!("ended ({status})"))),
        }
    }

    fn ready(&mut self, number: NodeNumber) -> Result<bool, LabError> {
        let place = Place::Node(number);
        self.check_alive(place)?;
        let before = self.daemons.get(&place).and_then(|daemon| daemon.before);
        let now = identity(&self.subnet_file(number));
        Ok(now.is_some() && now != before)
    }

    fn not_ready(&self, place: Place, problem: String) -> LabError {
        LabError::NotReady {
            place,
            problem,
            log: log_tail(&self.log_file(place)),
        }
    }
}

fn identity(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|data| data.ino())
}

fn log_tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines
        .get(lines.len().saturating_sub(LOG_LINES)..)
        .unwrap_or_default();
    tail.iter().flat_map(|line| ["  ", line, "\n"]).collect()
}
