//! The record of a run: one line for each event, and a hash over all of them.

mod hash;
mod occurrence;

use std::collections::VecDeque;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::SocketAddrV4;

use selvedge_engine::Instant;

use crate::capture::{Capture, KeepCapture};
use crate::chronicle::{Chronicle, KeepChronicle};
use crate::node_id::NodeId;
use crate::probe::Probe;
use crate::scenario::Scenario;
use hash::TraceHasher;
pub(crate) use occurrence::{Occurrence, PacketStep, Topic, Weight};

/// A line of the trace; it prints as `[12.345s e678] n3 text`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TraceLine {
    at: Instant,
    number: u64,
    node: Option<NodeId>,
    occurrence: Occurrence,
}

impl TraceLine {
    /// Returns when it happened.
    pub const fn at(&self) -> Instant {
        self.at
    }

    /// Returns the node that it happened on, `None` for the cluster as a whole.
    pub const fn node(&self) -> Option<NodeId> {
        self.node
    }

    /// Returns what happened, and on which node.
    pub fn text(&self) -> String {
        match self.node {
            Some(node) => format!("{node} {}", self.occurrence),
            None => self.occurrence.to_string(),
        }
    }

    /// Returns its place in the trace.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// Returns what happened, whoever it happened to.
    pub(crate) const fn occurrence(&self) -> &Occurrence {
        &self.occurrence
    }

    /// Tells whether it is a step of a packet.
    pub(crate) const fn is_about_a_packet(&self) -> bool {
        match self.occurrence {
            Occurrence::Packet { .. } => true,
            Occurrence::Control { .. } => false,
        }
    }

    /// Tells whether the line concerns one of these nodes, or the cluster as a whole.
    pub(crate) fn concerns(&self, nodes: &[NodeId]) -> bool {
        self.node.is_none_or(|node| nodes.contains(&node))
            || self
                .occurrence
                .partner()
                .is_some_and(|node| nodes.contains(&node))
    }
}

impl fmt::Display for TraceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} e{}] {}", self.at, self.number, self.text())
    }
}

/// How much of the trace is kept; the hash always covers all of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum KeepTrace {
    /// The last few thousand lines: enough to see what led to a failure.
    #[default]
    Recent,
    /// Every line.
    All,
}

/// What is kept of a run beside its outcome; the run is the same whatever it is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Keep {
    pub(crate) lines: KeepTrace,
    pub(crate) chronicle: KeepChronicle,
    pub(crate) capture: KeepCapture,
}

/// The trace of a run while it grows.
#[derive(Debug)]
pub(crate) struct Trace {
    keep: KeepTrace,
    lines: VecDeque<TraceLine>,
    milestones: Vec<TraceLine>,
    hasher: TraceHasher,
    count: u64,
    chronicle: Option<Box<Chronicle>>,
    capture: Option<Capture>,
}

impl Trace {
    pub(crate) fn new(keep: KeepTrace) -> Self {
        Self {
            keep,
            lines: VecDeque::new(),
            milestones: Vec::new(),
            hasher: TraceHasher::new(),
            count: 0,
            chronicle: None,
            capture: None,
        }
    }

    /// Lets what the underlay carries be captured as well.
    pub(crate) fn with_capture(mut self, keep: KeepCapture) -> Self {
        self.capture = Capture::begin(keep);
        self
    }

    /// Lets what is recorded go into a chronicle as well.
    pub(crate) fn with_chronicle(mut self, keep: KeepChronicle, scenario: &Scenario) -> Self {
        self.chronicle = match keep {
            KeepChronicle::Nothing => None,
            KeepChronicle::Everything => Some(Box::new(Chronicle::new(scenario))),
        };
        self
    }

    pub(crate) fn chronicle_mut(&mut self) -> Option<&mut Chronicle> {
        self.chronicle.as_deref_mut()
    }

    pub(crate) fn record(&mut self, at: Instant, node: Option<NodeId>, occurrence: Occurrence) {
        (at, node, &occurrence).hash(&mut self.hasher);
        if let Some(chronicle) = &mut self.chronicle {
            chronicle.note(at, node, &occurrence);
        }
        let line = TraceLine {
            at,
            number: self.count,
            node,
            occurrence,
        };
        self.count += 1;
        if line.occurrence.weight() == Weight::Milestone {
            self.milestones.push(line.clone());
        }
        if self.keep == KeepTrace::Recent && self.lines.len() >= RECENT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Takes what finally became of a probe.
    pub(crate) fn settle(&mut self, probe: &Probe) {
        if let Some(chronicle) = &mut self.chronicle {
            chronicle.settle(probe);
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// Takes a datagram that is on the wire.
    pub(crate) fn carry(&mut self, at: Instant, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) {
        if let Some(capture) = &mut self.capture {
            capture.datagram(at, from, to, payload);
        }
    }

    /// Takes what was captured out of the trace, if anything was.
    pub(crate) fn take_capture(&mut self, at: Instant) -> Option<Capture> {
        let mut capture = self.capture.take()?;
        capture.finish(at);
        Some(capture)
    }

    /// Takes the chronicle out of the trace, if one was written.
    pub(crate) fn take_chronicle(&mut self) -> Option<Box<Chronicle>> {
        self.chronicle.take()
    }

    /// Returns the lines kept and the milestones.
    pub(crate) fn into_lines(self) -> (Vec<TraceLine>, Vec<TraceLine>) {
        (self.lines.into(), self.milestones)
    }
}

const RECENT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_time_number_node_and_text() {
        let mut trace = Trace::new(KeepTrace::All);
        let at = Instant::from_nanos(12_345_678_900);

        trace.record(at, Some(NodeId::new(3)), Occurrence::milestone("starts"));
        trace.record(at, None, Occurrence::milestone("store compacted"));

        let (lines, _) = trace.into_lines();
        let texts: Vec<_> = lines.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["[12.345s e0] n3 starts", "[12.345s e1] store compacted"]);
    }

    #[test]
    fn the_hash_depends_on_every_part_of_a_line() {
        let base = hash_of(1, Some(1), "text");

        assert_eq!(base, hash_of(1, Some(1), "text"));
        assert_ne!(base, hash_of(2, Some(1), "text"));
        assert_ne!(base, hash_of(1, Some(2), "text"));
        assert_ne!(base, hash_of(1, None, "text"));
        assert_ne!(base, hash_of(1, Some(1), "texu"));
    }

    #[test]
    fn only_the_newest_lines_are_kept_but_all_are_hashed() {
        let mut recent = Trace::new(KeepTrace::Recent);
        let mut all = Trace::new(KeepTrace::All);

        for number in 0..5000 {
            for trace in [&mut recent, &mut all] {
                trace.record(Instant::from_nanos(number), None, Occurrence::detail("tick"));
            }
        }

        assert_eq!(recent.hash(), all.hash());
        assert_eq!(recent.into_lines().0.len(), RECENT);
        assert_eq!(all.into_lines().0.len(), 5000);
    }

    fn hash_of(nanos: u64, node: Option<u32>, text: &str) -> u64 {
        let mut trace = Trace::new(KeepTrace::Recent);
        trace.record(
            Instant::from_nanos(nanos),
            node.map(NodeId::new),
            Occurrence::detail(text),
        );
        trace.hash()
    }
}
