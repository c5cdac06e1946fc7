//! What a run says when it is over.

mod columns;
mod failure;

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use selvedge_engine::{Instant, Status};

use crate::capture::Capture;
use crate::checker::replay;
use crate::chronicle::Chronicle;
use crate::flannel::Defect;
use crate::node_id::NodeId;
use crate::scenario::Scenario;
use crate::statistics::Statistics;
use crate::timeline;
use crate::trace::{Trace, TraceLine};
use crate::violation::{Attributed, Invariant, Violation};
use crate::world::NodeReport;

/// The outcome of a run; [`fmt::Display`] gives the timeline, the summary, and what broke.
#[derive(Debug)]
pub struct Report {
    scenario: Scenario,
    statistics: Statistics,
    trace_hash: u64,
    lines: Vec<TraceLine>,
    timeline: Vec<TraceLine>,
    violation: Option<Violation>,
    nodes: Vec<NodeReport>,
    leases: BTreeMap<Ipv4Net, Ipv4Addr>,
    defect: Option<Defect>,
    attributed: Vec<Attributed>,
    chronicle: Option<Box<Chronicle>>,
    capture: Option<Capture>,
}

impl Report {
    pub(crate) fn new(
        scenario: Scenario,
        statistics: Statistics,
        trace: Trace,
        violation: Option<Violation>,
        nodes: Vec<NodeReport>,
        leases: BTreeMap<Ipv4Net, Ipv4Addr>,
        chronicle: Option<Box<Chronicle>>,
    ) -> Self {
        let trace_hash = trace.hash();
        let (lines, timeline) = trace.into_lines();
        Self {
            scenario,
            statistics,
            trace_hash,
            lines,
            timeline,
            violation,
            nodes,
            leases,
            defect: None,
            attributed: Vec::new(),
            chronicle,
            capture: None,
        }
    }

    /// Adds what is known about the defects of flannel nodes.
    pub(crate) fn blaming(self, defect: Option<Defect>, attributed: Vec<Attributed>) -> Self {
        Self {
            defect,
            attributed,
            ..self
        }
    }

    /// Adds what the underlay carried, if it was captured.
    pub(crate) fn with_capture(self, capture: Option<Capture>) -> Self {
        Self { capture, ..self }
    }

    /// Returns the known defect of flannel that is behind the violation, if one is.
    pub const fn defect(&self) -> Option<Defect> {
        self.defect
    }

    /// Returns what flannel nodes broke by themselves in a cluster with nodes of ours; none of it ended the run.
    pub fn attributed(&self) -> &[Attributed] {
        &self.attributed
    }

    /// Tells whether every invariant held.
    pub const fn is_ok(&self) -> bool {
        self.violation.is_none()
    }

    /// Passes if every invariant held.
    ///
    /// # Panics
    ///
    /// With the whole story of the run if an invariant broke.
    pub fn assert_ok(&self) {
        assert!(self.is_ok(), "\n{}", self.failure());
    }

    /// Compares the run with another of the same scenario; what differs breaks [`crate::Invariant::Replay`].
    pub fn check_replay(&self, again: &Self) -> Option<Violation> {
        if let Some(violation) = again
            .violation()
            .filter(|violation| violation.invariant == Invariant::Replay)
        {
            return Some(violation.clone());
        }
        let end = Instant::ZERO + self.statistics.simulated;
        let finding = replay::check(self.trace_hash, again.trace_hash).err()?;
        Some(finding.at(end))
    }

    /// Returns the invariant that broke first; the run ended there.
    pub const fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Returns the scenario that was run.
    pub const fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Returns the hash over every event: equal for equal scenarios, on every machine.
    pub const fn trace_hash(&self) -> u64 {
        self.trace_hash
    }

    /// Returns how much happened.
    pub const fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Returns what became of a node, `None` for a node that the scenario does not have.
    pub fn node(&self, node: impl Into<NodeId>) -> Option<&NodeReport> {
        self.nodes.get(node.into().index())
    }

    /// Returns what became of each node.
    pub fn nodes(&self) -> &[NodeReport] {
        &self.nodes
    }

    /// Returns what a node's engine said at the end, `None` if its daemon was down.
    pub fn status(&self, node: impl Into<NodeId>) -> Option<&Status> {
        self.node(node)?.status.as_ref()
    }

    /// Returns the subnet that a node carried at the end.
    pub fn subnet(&self, node: impl Into<NodeId>) -> Option<Ipv4Net> {
        self.status(node)?.subnet?.v4().map(|v4| v4.trunc())
    }

    /// Returns the leases in the store at the end, each with its node's public IP.
    pub const fn leases(&self) -> &BTreeMap<Ipv4Net, Ipv4Addr> {
        &self.leases
    }

    /// Returns the changes of state, one line each: faults, leases, agreement, probes.
    pub fn timeline(&self) -> String {
        let lines = self.timeline.iter().map(|line| format!("{}\n", Brief(line)));
        lines.collect()
    }

    /// Returns the run as a page for a browser, complete in itself; `None` unless [`Cluster::keep_timeline`] was asked
    /// for. `again` is the command that makes the run again.
    ///
    /// [`Cluster::keep_timeline`]: crate::Cluster::keep_timeline
    pub fn timeline_page(&self, again: &str) -> Option<String> {
        let chronicle = self.chronicle.as_deref()?;
        Some(timeline::page(self, chronicle, again))
    }

    /// Returns the datagrams of the run as a capture file for `tcpdump` and Wireshark; `None` unless
    /// [`Cluster::capture`] or [`Cluster::capture_last`] was asked for.
    ///
    /// Each is there as its sender put it on the wire, lost ones among them, and once more as it arrived if that is not
    /// what was sent. The times count from the start of the run.
    ///
    /// [`Cluster::capture`]: crate::Cluster::capture
    /// [`Cluster::capture_last`]: crate::Cluster::capture_last
    pub fn pcap(&self) -> Option<Vec<u8>> {
        Some(self.capture.as_ref()?.pcap())
    }

    /// Returns how many datagrams were captured.
    pub fn captured(&self) -> usize {
        self.capture.as_ref().map_or(0, Capture::len)
    }

    /// Returns the lines of the trace that were kept.
    pub fn trace(&self) -> &[TraceLine] {
        &self.lines
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Statistics {
            simulated,
            events,
            store_requests,
            starts,
            repairs: _,
            probes,
            faults: _,
            marks: _,
            liveness: _,
        } = &self.statistics;
        f.write_str(&self.timeline())?;
        writeln!(f)?;
        let hollow = match self.scenario.hollow {
            0 => String::new(),
            count => format!(" and {count} hollow ones"),
        };
        writeln!(
            f,
            "{} nodes{hollow}, {starts} starts, {simulated:.0?} simulated, {events} events, {store_requests} requests to the store",
            self.nodes.len()
        )?;
        writeln!(f, "probes: {probes}")?;
        writeln!(f, "trace hash {:016x}", self.trace_hash)
    }
}

/// A line without its number, for people.
struct Brief<'a>(&'a TraceLine);

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.0.at().to_string();
        write!(f, "{time:>9}  {}", self.0.text())
    }
}
