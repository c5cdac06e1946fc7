//! Why a lab cannot do what it was asked.

use std::io;
use std::path::PathBuf;

use super::name::Place;

/// Why a lab command failed: one line that says what, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Namespaces need root.
    #[error("a lab makes network namespaces, which needs root; run: sudo {0}")]
    NotRoot(String),
    /// iproute2 is not there.
    #[error("the `ip` command is missing; install it: apt-get install iproute2")]
    IpToolMissing,
    /// The `ip` command refused.
    #[error("`ip {command}` failed: {message}")]
    Ip {
        /// Its arguments.
        command: String,
        /// What it wrote.
        message: String,
    },
    /// A name that cannot be part of a namespace's name.
    #[error(
        "lab name `{0}`: use 1 to 20 of the characters a-z, 0-9 and `-`, beginning with a letter or digit"
    )]
    BadName(String),
    /// A number of nodes that the lab's underlay has no room for.
    #[error("{0} nodes: a lab has 1 to 100 nodes")]
    BadNodeCount(u8),
    /// A place that no lab has.
    #[error("`{0}` is no part of a lab: use node-1, pod-1, ..., store or switch")]
    BadPlace(String),
    /// A place that this lab lacks.
    #[error("lab `{lab}` has no {place}; see: selvedge lab status --name {lab}")]
    NoSuchPlace {
        /// The lab.
        lab: String,
        /// What was asked for.
        place: Place,
    },
    /// The lab is not there.
    #[error("no lab named `{0}` is up; start it: selvedge lab up --name {0}")]
    NotUp(String),
    /// Another command is building or clearing the lab.
    #[error("another command is working on lab `{0}`; wait for it, or choose another --name")]
    Busy(String),
    /// The network config is not JSON of the right form.
    #[error("network config {config}: {reason}")]
    BadConfig {
        /// The text.
        config: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The store does not answer.
    #[error("the store at {endpoint} does not answer: {reason}")]
    Store {
        /// Where it ought to be.
        endpoint: String,
        /// What went wrong.
        reason: String,
    },
    /// A daemon ended or did not become ready.
    #[error("{place} {problem}; the end of its log:\n{log}")]
    NotReady {
        /// Which.
        place: Place,
        /// Whether it ended or takes too long.
        problem: String,
        /// The last lines that it wrote.
        log: String,
    },
    /// The daemons are ready, but their pods do not reach each other.
    #[error("{from} gets no answer from {to} for {seconds} s")]
    NotConnected {
        /// The pod that sends.
        from: Place,
        /// The pod that ought to answer.
        to: Place,
        /// How long it was tried.
        seconds: u64,
    },
    /// A subnet file without what a pod needs.
    #[error("{path}: {problem}")]
    BadSubnetFile {
        /// The file.
        path: PathBuf,
        /// What is missing or unreadable.
        problem: String,
    },
    /// Traffic did not do what the demonstration says.
    #[error("the demonstration failed: {0}")]
    Demo(String),
    /// A file, socket or process could not be used.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// Ctrl-C or a request to end.
    #[error("interrupted")]
    Interrupted,
}

/// Says what was tried when an I/O operation fails.
pub(super) trait IoContext<T> {
    /// Wraps the error with what was tried.
    fn trying(self, what: impl FnOnce() -> String) -> Result<T, LabError>;
}

impl<T, E: Into<io::Error>> IoContext<T> for Result<T, E> {
    fn trying(self, what: impl FnOnce() -> String) -> Result<T, LabError> {
        self.map_err(|source| LabError::Io {
            what: what(),
            source: source.into(),
        })
    }
}
