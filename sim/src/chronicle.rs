//! The structured record of a run, for pictures: what lasted from when to when, and what happened at which moment.
//!
//! It is written while the run goes on, only if somebody wants it, and changes nothing about the run. It is bounded:
//! what is counted is counted whole, in time slices; what is listed one by one is thinned out when there is too much.

mod band;
mod changes;
mod lane;
mod micros;
mod request;
#[cfg(test)]
mod tests;
mod thinned;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use selvedge_engine::{Instant, Revision};
use serde::Serialize;

use crate::fault::{Fault, TimedFault};
use crate::node_id::NodeId;
use crate::probe::{Probe, ProbeFate};
use crate::scenario::Scenario;
use crate::trace::{Occurrence, PacketStep, Topic, Weight};
use band::{Band, Tenure};
use changes::Changes;
use lane::Lane;
pub(crate) use lane::Life;
use micros::Micros;
use request::{Outcome, Request};
use thinned::Thinned;

/// Whether the record is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum KeepChronicle {
    /// Nobody wants to see it.
    #[default]
    Nothing,
    /// As much as fits into a page.
    Everything,
}

/// What happened in a run.
#[derive(Debug, Serialize)]
pub(crate) struct Chronicle {
    end: Micros,
    /// The width of a time slice.
    slice: Micros,
    lanes: Vec<Lane>,
    store: Changes<StoreState>,
    tenures: Vec<Tenure>,
    /// How many leases belonged to nobody who has a lane.
    foreign_tenures: u64,
    bands: Vec<Band>,
    writes: Thinned<Write>,
    remarks: Thinned<Remark>,
    details: Thinned<Remark>,
    requests: Thinned<Request>,
    delivered: Thinned<Journey>,
    undelivered: Thinned<Journey>,
    #[serde(skip)]
    open_requests: BTreeMap<(NodeId, u64), Request>,
    /// When the first copy of a probe arrived.
    #[serde(skip)]
    arrivals: BTreeMap<u64, Micros>,
    /// The place of the tenure of each lease that lives.
    #[serde(skip)]
    held: BTreeMap<Ipv4Net, (Ipv4Addr, Option<usize>)>,
    /// The place of the band of each fault that lasts.
    #[serde(skip)]
    lasting: BTreeMap<usize, usize>,
    #[serde(skip)]
    revision: Revision,
}

/// How the store is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreState {
    Up,
    /// It refuses every write.
    Full,
    Down,
}

/// A new revision of the store: when, which, and the node whose request made it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
struct Write(Micros, i64, Option<u32>);

/// Something that was said: when, by which node, and what.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
struct Remark(Micros, Option<u32>, Box<str>);

/// A probe: its id, when it was sent, by which node, to which, what became of it, and when it arrived.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
struct Journey(u64, Micros, u32, u32, Option<ProbeFate>, Option<Micros>);

impl Chronicle {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let nodes = scenario.nodes.len();
        let slice = slice_width(scenario.duration, nodes);
        Self {
            end: Micros::default(),
            slice: slice.into(),
            lanes: scenario.node_ids().map(|id| Lane::new(id, slice)).collect(),
            store: Changes::from(StoreState::Up),
            tenures: Vec::new(),
            foreign_tenures: 0,
            bands: Vec::new(),
            writes: Thinned::new(8_000),
            remarks: Thinned::new(6_000),
            details: Thinned::new(12_000),
            requests: Thinned::new(12_000),
            delivered: Thinned::new(30_000),
            undelivered: Thinned::new(30_000),
            open_requests: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            held: BTreeMap::new(),
            lasting: BTreeMap::new(),
            revision: Revision::default(),
        }
    }

    /// Takes a line of the trace.
    pub(crate) fn note(&mut self, at: Instant, node: Option<NodeId>, occurrence: &Occurrence) {
        match occurrence {
            Occurrence::Control { weight, topic, text } => self.note_control(at, node, *weight, *topic, text),
            Occurrence::Packet { cargo, step } => self.note_packet(at, node, cargo.probe(), *step),
        }
    }

    /// Takes what finally became of a probe.
    pub(crate) fn settle(&mut self, probe: &Probe) {
        if let Some(lane) = self.lanes.get_mut(probe.from.index()) {
            lane.count_probe(probe.sent_at, probe.fate);
        }
        let journey = Journey(
            probe.id,
            probe.sent_at.into(),
            probe.from.number(),
            probe.to.number(),
            probe.fate,
            self.arrivals.remove(&probe.id),
        );
        match probe.fate {
            Some(ProbeFate::Delivered) => self.delivered.push(journey),
            Some(
                ProbeFate::LostByChance
                | ProbeFate::LostOnCutLink
                | ProbeFate::LostToLimits
                | ProbeFate::Damaged
                | ProbeFate::Disowned
                | ProbeFate::NobodyListened
                | ProbeFate::Excused,
            )
            | None => self.undelivered.push(journey),
        }
    }

    /// Takes how a node is: its daemon's life, and the subnet whose packets it carries.
    pub(crate) fn node_is(&mut self, at: Instant, node: NodeId, life: Life, carried: Option<String>) {
        let Some(lane) = self.lanes.get_mut(node.index()) else {
            return;
        };
        if lane.set_life(at, life) == Some(Life::Down) {
            self.forsake_requests(at, node);
        }
        if let Some(lane) = self.lanes.get_mut(node.index()) {
            lane.set_carried(at, carried);
        }
    }

    /// Takes how the store is, its revision, and the node that may have moved it.
    pub(crate) fn store_is(
        &mut self,
        at: Instant,
        state: StoreState,
        revision: Revision,
        writer: Option<NodeId>,
    ) {
        self.store.set(at, state);
        if revision != self.revision {
            self.revision = revision;
            let writer = writer.map(NodeId::number);
            self.writes.push(Write(at.into(), revision.0, writer));
        }
    }

    /// Tells whether the store has moved since it was looked at.
    pub(crate) fn is_behind(&self, revision: Revision) -> bool {
        self.revision != revision
    }

    /// Takes the leases that live in the store.
    pub(crate) fn leases_are(&mut self, at: Instant, leases: &BTreeMap<Ipv4Net, Ipv4Addr>) {
        let ended: Vec<Ipv4Net> = self
            .held
            .iter()
            .filter(|(subnet, (owner, _))| leases.get(subnet) != Some(owner))
            .map(|(subnet, _)| *subnet)
            .collect();
        for subnet in ended {
            self.end_tenure(at, subnet);
        }
        for (subnet, owner) in leases {
            if !self.held.contains_key(subnet) {
                self.begin_tenure(at, *subnet, *owner);
            }
        }
    }

    /// Takes the faults that last at the moment, by their places.
    pub(crate) fn faults_are(&mut self, at: Instant, active: &BTreeSet<usize>, faults: &[TimedFault]) {
        let over: Vec<usize> = self
            .lasting
            .keys()
            .filter(|index| !active.contains(index))
            .copied()
            .collect();
        for index in over {
            let place = self.lasting.remove(&index);
            if let Some(band) = place.and_then(|place| self.bands.get_mut(place)) {
                band.until = Some(at.into());
            }
        }
        for index in active {
            let Some(timed) = faults.get(*index).filter(|_| !self.lasting.contains_key(index)) else {
                continue;
            };
            self.lasting.insert(*index, self.bands.len());
            self.bands.push(Band::begin(at, &timed.fault));
        }
    }

    /// Takes a fault that happens at once.
    pub(crate) fn strike(&mut self, at: Instant, fault: &Fault) {
        self.bands.push(Band::at_once(at, fault));
    }

    /// Ends the record.
    pub(crate) fn finish(&mut self, at: Instant) {
        self.end = at.into();
        let open = std::mem::take(&mut self.open_requests);
        for request in open.into_values() {
            self.requests.push(request);
        }
    }

    /// Returns what was thinned out: what, how many of it are listed, and how many there were.
    pub(crate) fn thinned(&self) -> Vec<(&'static str, usize, u64)> {
        [
            ("writes to the store", self.writes.counts()),
            ("changes of state", self.remarks.counts()),
            ("details", self.details.counts()),
            ("requests", self.requests.counts()),
            ("delivered probes", self.delivered.counts()),
            ("undelivered probes", self.undelivered.counts()),
        ]
        .into_iter()
        .filter(|(_, (listed, seen))| u64::try_from(*listed).is_ok_and(|listed| listed < *seen))
        .map(|(what, (listed, seen))| (what, listed, seen))
        .collect()
    }

    fn note_control(&mut self, at: Instant, node: Option<NodeId>, weight: Weight, topic: Topic, text: &str) {
        match (topic, node) {
            (Topic::Ask(id), Some(node)) => {
                self.lane(node, |lane| lane.count_request(at));
                let request = Request::new(at, node, text);
                self.open_requests.insert((node, id.0), request);
            }
            (Topic::Answer(id), Some(node)) => {
                self.end_request(at, node, id.0, Outcome::Answered, text);
            }
            (Topic::Failure(id), Some(node)) => {
                self.end_request(at, node, id.0, Outcome::Failed, text);
            }
            (Topic::Watch, Some(node)) => {
                self.lane(node, |lane| lane.count_watch(at));
                self.remark(at, Some(node), weight, text);
            }
            (Topic::General, _) | (_, None) => self.remark(at, node, weight, text),
        }
    }

    fn note_packet(&mut self, at: Instant, node: Option<NodeId>, probe: Option<u64>, step: PacketStep) {
        match step {
            PacketStep::OnTheWire { .. } => {
                if let Some(node) = node {
                    self.lane(node, |lane| lane.count_datagram(at));
                }
            }
            PacketStep::PodGets { .. } => {
                if let Some(probe) = probe {
                    self.arrivals.entry(probe).or_insert_with(|| at.into());
                }
            }
            PacketStep::PodSends { .. }
            | PacketStep::Lost { .. }
            | PacketStep::NobodyListens
            | PacketStep::QueueFull
            | PacketStep::PodRefuses
            | PacketStep::HostGets
            | PacketStep::DroppedByKernel(_)
            | PacketStep::DroppedByForwarder(_)
            | PacketStep::DroppedByRouter
            | PacketStep::NoTable => {}
        }
    }

    fn remark(&mut self, at: Instant, node: Option<NodeId>, weight: Weight, text: &str) {
        let remark = Remark(at.into(), node.map(NodeId::number), clipped(text));
        match weight {
            Weight::Milestone => self.remarks.push(remark),
            Weight::Detail => self.details.push(remark),
        }
    }

    fn end_request(&mut self, at: Instant, node: NodeId, id: u64, outcome: Outcome, text: &str) {
        if let Some(mut request) = self.open_requests.remove(&(node, id)) {
            request.end(at, outcome, text);
            self.requests.push(request);
        }
    }

    /// Ends the open requests of a daemon that died.
    fn forsake_requests(&mut self, at: Instant, node: NodeId) {
        let open: Vec<u64> = self
            .open_requests
            .range((node, 0)..=(node, u64::MAX))
            .map(|((_, id), _)| *id)
            .collect();
        for id in open {
            self.end_request(at, node, id, Outcome::Forsaken, "the daemon died first");
        }
    }

    fn begin_tenure(&mut self, at: Instant, subnet: Ipv4Net, owner: Ipv4Addr) {
        let place = NodeId::by_public_ip(owner, self.lanes.len()).map(|node| {
            self.tenures.push(Tenure::begin(at, node, &subnet));
            self.tenures.len() - 1
        });
        self.foreign_tenures += u64::from(place.is_none());
        self.held.insert(subnet, (owner, place));
    }

    fn end_tenure(&mut self, at: Instant, subnet: Ipv4Net) {
        let Some((_, Some(place))) = self.held.remove(&subnet) else {
            return;
        };
        if let Some(tenure) = self.tenures.get_mut(place) {
            tenure.until = Some(at.into());
        }
    }

    fn lane(&mut self, node: NodeId, change: impl FnOnce(&mut Lane)) {
        if let Some(lane) = self.lanes.get_mut(node.index()) {
            change(lane);
        }
    }
}

/// Shortens what would fill the page.
fn clipped(text: &str) -> Box<str> {
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
        None => text.into(),
    }
}

/// Slices are as fine as a page can show, for as many nodes as there are.
fn slice_width(duration: Duration, nodes: usize) -> Duration {
    let slices = (SLICES / nodes.max(1)).clamp(50, 1_800);
    let slices = u32::try_from(slices).unwrap_or(u32::MAX);
    (duration / slices).max(Duration::from_millis(100))
}

const LONGEST_TEXT: usize = 400;
/// How many slices all lanes have together.
const SLICES: usize = 120_000;
