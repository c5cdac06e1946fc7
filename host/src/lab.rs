//! A small cluster on one machine: nodes as network namespaces, each with the real daemon and a pod behind it.
//!
//! ```text
//!                 switch (bridge, 192.0.2.254)
//!        +-----------------+-----------------+----------------+
//!   eth0 192.0.2.1    eth0 192.0.2.2        ...          store 192.0.2.250:2379
//!      node-1            node-2
//!   cni0 (gateway)    cni0 (gateway)
//!        |                 |
//!      pod-1             pod-2
//! ```
//!
//! Everything lives in namespaces named `selvedge-NAME.PLACE` and in `/run/selvedge-lab/NAME`; nothing is put into
//! the caller's own namespace. A [`Lab`] that is dropped removes all of it, unless it is told to [`Lab::stay`].
//!
//! ```no_run
//! use selvedge_host::lab::{Interrupt, Lab, LabOptions, Pace};
//!
//! # fn main() -> Result<(), selvedge_host::lab::LabError> {
//! let program = "/usr/bin/selvedge".into();
//! let lab = Lab::up(LabOptions::new("mine".parse()?, program), Interrupt::never())?;
//! for link in lab.ping_all_pods(Pace::QUICK)? {
//!     assert_eq!(link.echoes.lost(), 0);
//! }
//! # Ok(())
//! # }
//! ```

mod args;
mod command;
mod daemon;
mod demo;
mod error;
mod interrupt;
mod lock;
mod name;
mod namespace;
mod options;
mod probe;
mod report;
mod stopwatch;
mod store;
mod subnet_env;
mod topology;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use args::LabArgs;
pub use command::run;
pub use error::LabError;
pub use interrupt::Interrupt;
pub use name::{LabName, NodeNumber, Place};
pub use namespace::{Ending, Namespace};
pub use options::{LabOptions, StoreChoice};
pub use probe::{Echoes, Pace, Probe, ProbeStream};
pub use report::PodLink;
pub use stopwatch::Stopwatch;
pub use store::StoredLease;
pub use subnet_env::PodNetwork;

use daemon::Daemon;
use error::IoContext;
use lock::Lock;

/// A lab; dropping it removes everything that belongs to it.
#[derive(Debug)]
pub struct Lab {
    options: LabOptions,
    interrupt: Interrupt,
    daemons: BTreeMap<Place, Daemon>,
    at_end: AtEnd,
    _lock: Option<Lock>,
}

/// What becomes of a lab when its value is dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum AtEnd {
    Removed,
    Stays,
}

/// What a node is cut off from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cut {
    /// From everything: its cable is pulled.
    Underlay,
    /// From the store only: the store's answers to it are lost.
    Store,
}

impl Lab {
    /// How long a node may take to become ready.
    pub const READY_WITHIN: Duration = Duration::from_secs(30);

    /// How long it may take until all pods reach each other.
    pub const CONNECTED_WITHIN: Duration = Duration::from_secs(10);

    /// Builds a lab, starts its store and its nodes, attaches the pods when every node is ready, and waits until
    /// they reach each other.
    ///
    /// What an earlier run of the same name left behind is removed first. On any error, a signal included,
    /// everything is removed again.
    ///
    /// # Errors
    ///
    /// What [`Self::build`] and the steps after it return.
    pub fn up(options: LabOptions, interrupt: Interrupt) -> Result<Self, LabError> {
        options.check_network_config()?;
        let mut lab = Self::build(options, interrupt)?;
        lab.start_store()?;
        lab.put_config()?;
        for node in lab.nodes() {
            lab.start_node(node)?;
        }
        lab.wait_ready()?;
        lab.attach_pods()?;
        lab.wait_connected()?;
        Ok(lab)
    }

    /// Builds the switch and the namespaces of the store and the nodes, without any process in them.
    ///
    /// # Errors
    ///
    /// [`LabError::NotRoot`] without root, [`LabError::Busy`] while another command works on the same lab, and what
    /// `ip` says.
    pub fn build(options: LabOptions, interrupt: Interrupt) -> Result<Self, LabError> {
        need_root()?;
        options.check_node_count()?;
        let lock = Lock::take(&options.name)?;
        remove(&options.name)?;
        let mut lab = Self {
            options,
            interrupt,
            daemons: BTreeMap::new(),
            at_end: AtEnd::Removed,
            _lock: Some(lock),
        };
        let dir = lab.state_dir();
        make_dir(&dir).trying(|| format!("making {}", dir.display()))?;
        lab.choose_prefix()?;
        lab.build_underlay()?;
        Ok(lab)
    }

    /// Finds a lab that an earlier command left running; dropping the value changes nothing.
    ///
    /// # Errors
    ///
    /// [`LabError::NotRoot`] without root, [`LabError::NotUp`] if there is none.
    pub fn find(name: LabName, program: PathBuf) -> Result<Self, LabError> {
        need_root()?;
        let nodes = places(&name)?
            .iter()
            .filter(|place| matches!(place, Place::Node(_)))
            .count();
        let Ok(count @ 1..) = u8::try_from(nodes) else {
            return Err(LabError::NotUp(name.to_string()));
        };
        let options = LabOptions {
            nodes: count,
            ..LabOptions::new(name, program)
        };
        let at_end = AtEnd::Stays;
        Ok(Self {
            options,
            interrupt: Interrupt::never(),
            daemons: BTreeMap::new(),
            at_end,
            _lock: None,
        })
    }

    /// Tells whether anything of a lab is there, also what a crash left.
    ///
    /// # Errors
    ///
    /// [`LabError::Io`] if the namespaces cannot be listed.
    pub fn is_there(name: &LabName) -> Result<bool, LabError> {
        Ok(!places(name)?.is_empty())
    }

    /// Removes a lab with its processes, namespaces and files; nothing to remove is fine.
    ///
    /// # Errors
    ///
    /// [`LabError::NotRoot`] without root, [`LabError::Busy`] while another command works on it, and what `ip` says.
    pub fn down(name: &LabName) -> Result<(), LabError> {
        need_root()?;
        let _lock = Lock::take(name)?;
        remove(name)
    }

    /// Lets the lab run on when this value is dropped.
    pub fn stay(mut self) {
        self.at_end = AtEnd::Stays;
    }

    /// Returns its name.
    pub fn name(&self) -> &LabName {
        &self.options.name
    }

    /// Returns the numbers of its nodes.
    pub fn nodes(&self) -> Vec<NodeNumber> {
        NodeNumber::all(self.options.nodes).collect()
    }

    /// Returns the namespace of a place.
    pub fn namespace(&self, place: Place) -> Namespace {
        Namespace::named(self.options.name.namespace(place))
    }

    /// Returns where logs and subnet files are.
    pub fn state_dir(&self) -> PathBuf {
        self.options.name.state_dir()
    }

    /// Returns a node's subnet file.
    pub fn subnet_file(&self, node: NodeNumber) -> PathBuf {
        self.state_dir().join(format!("node-{node}")).join("subnet.env")
    }

    /// Returns the file in which a node's daemon records.
    pub fn recording(&self, node: NodeNumber) -> PathBuf {
        self.state_dir().join(format!("node-{node}.rec"))
    }

    /// Reads how a node's pods are attached.
    ///
    /// # Errors
    ///
    /// What [`PodNetwork::read`] returns.
    pub fn pod_network(&self, node: NodeNumber) -> Result<PodNetwork, LabError> {
        PodNetwork::read(&self.subnet_file(node))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.at_end == AtEnd::Stays {
            return;
        }
        if let Err(error) = remove(&self.options.name) {
            eprintln!("lab {} is not removed: {error}", self.options.name);
        }
        for daemon in self.daemons.values_mut() {
            daemon.reap();
        }
    }
}

/// Ends all processes of a lab, then removes its namespaces and its state directory.
fn remove(name: &LabName) -> Result<(), LabError> {
    let places = places(name)?;
    let (nodes, others): (Vec<_>, Vec<_>) = places
        .into_iter()
        .partition(|place| matches!(place, Place::Node(_)));
    let named = |place| Namespace::named(name.namespace(place));
    let nodes: Vec<Namespace> = nodes.into_iter().map(named).collect();
    // All at once, so that a lab of many nodes does not wait for each.
    for namespace in &nodes {
        namespace.ask_processes_to_end()?;
    }
    for namespace in &nodes {
        namespace.remove()?;
    }
    // Not before: a daemon whose lease is deleted takes a new one.
    store::remove_keys(name);
    for place in others {
        named(place).remove()?;
    }
    let dir = name.state_dir();
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).trying(|| format!("removing {}", dir.display()));
        }
        Ok(()) | Err(_) => {}
    }
    // The directory of all labs goes with the last of them.
    if let Some(parent) = dir.parent() {
        drop(fs::remove_dir(parent));
    }
    Ok(())
}

/// Makes a directory with its parents, again if the end of another lab takes the parent away meanwhile.
fn make_dir(dir: &Path) -> io::Result<()> {
    const ATTEMPTS: u32 = 10;
    let mut outcome = fs::create_dir_all(dir);
    for _ in 1..ATTEMPTS {
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::NotFound => outcome = fs::create_dir_all(dir),
            Ok(()) | Err(_) => break,
        }
    }
    outcome
}

/// Returns the places of a lab that exist.
fn places(name: &LabName) -> Result<Vec<Place>, LabError> {
    let all = Namespace::list()?;
    Ok(all.iter().filter_map(|namespace| name.place(namespace)).collect())
}

fn need_root() -> Result<(), LabError> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let program =
        std::env::current_exe().map_or_else(|_| "selvedge".into(), |path| path.display().to_string());
    let words: Vec<String> = std::iter::once(program).chain(std::env::args().skip(1)).collect();
    Err(LabError::NotRoot(words.join(" ")))
}
