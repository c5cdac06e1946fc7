//! A scenario while it runs: one queue of events, and everything that they change.
//!
//! Nothing here knows wall time, threads or hash maps: the clock jumps from event to event, and each part draws its
//! randomness from a stream of its own, so that a run is a function of its scenario.

mod agreement;
mod blame;
mod chronicling;
mod conduct;
mod control;
mod event;
mod faults;
mod hollow;
mod liveness;
mod marking;
mod node_faults;
mod observer;
mod operators;
mod packets;
mod path_faults;
mod probing;
mod rest;
mod store_faults;
mod store_traffic;
mod supervisor;
mod underlay_faults;
mod view;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use selvedge_engine::{Instant, Rng, StoreEvent};

use crate::checker::Verdict;
use crate::checker::identity::Identities;
use crate::checker::one_data_path::DataPaths;
use crate::checker::store_requests::RequestRate;
use crate::checker::twins::Twins;
use crate::etcd_store::Snapshot;
use crate::event_queue::EventQueue;
use crate::fault::{Fault, WriteFate};
use crate::links::Links;
use crate::node_id::NodeId;
use crate::probe::ProbesInFlight;
use crate::recovery::Recoveries;
use crate::ref_cluster::{RefCluster, Windows};
use crate::report::Report;
use crate::scenario::Scenario;
use crate::sim_node::{Handling, SimNode, former_leases};
use crate::statistics::Statistics;
use crate::store_path::StorePath;
use crate::store_service::{StoreService, ToStore};
use crate::trace::{Keep, Occurrence, Topic, Trace};
use crate::underlay;
use crate::violation::{Attributed, Finding, Invariant};
use agreement::Comparisons;
use blame::Scars;
use event::{Event, Scope};
use hollow::HollowNodes;
use liveness::Core;
use marking::Sightings;
pub use view::{NodeReport, View};

/// A check that the author of a run adds.
pub(crate) struct Checkpoint {
    pub(crate) at: Duration,
    pub(crate) name: String,
    pub(crate) check: Check,
}

/// Says what is wrong, if anything.
pub(crate) type Check = Box<dyn Fn(&View<'_>) -> Result<(), String>>;

/// A cluster in the middle of a run.
pub(crate) struct World {
    scenario: Scenario,
    now: Instant,
    queue: EventQueue<Event>,
    links: Links,
    service: StoreService,
    store_timer: Option<Instant>,
    /// The backups of the store, by the place of the fault that restores them.
    backups: BTreeMap<usize, Snapshot>,
    nodes: Vec<SimNode>,
    paths: Vec<StorePath<ToStore, StoreEvent>>,
    rates: Vec<RequestRate>,
    /// When a fault last began or ended, or a daemon was started.
    disturbed_at: Instant,
    prober_rngs: Vec<Rng>,
    forger_rng: Rng,
    tamper_rng: Rng,
    hollow: HollowNodes,
    /// Until when nodes have something to do that they were too slow for.
    busy_until: BTreeMap<NodeId, Instant>,
    /// The nodes that stand still, with what waits for them.
    paused: BTreeMap<NodeId, Vec<Event>>,
    /// The faults that last at the moment, by their place in the scenario.
    active: BTreeSet<usize>,
    /// What is left of those of them that some nodes got over.
    curtailed: BTreeMap<usize, Fault>,
    sightings: Sightings,
    /// The nodes that have healed for good, once they have.
    core: Option<Core>,
    /// The nodes whose daemon was started for the first time.
    started: BTreeSet<NodeId>,
    /// How many changes each node is still to miss.
    missing: BTreeMap<NodeId, u32>,
    /// How many writes of each node, and answers to them, are still to get lost.
    unanswered: BTreeMap<(NodeId, WriteFate), u32>,
    reference: RefCluster,
    probes: ProbesInFlight,
    /// The probes that must arrive, sent at the end.
    rest_probes: BTreeSet<u64>,
    agreement: Option<usize>,
    identities: Identities,
    twins: Twins,
    data_paths: DataPaths,
    comparisons: Comparisons,
    recoveries: Recoveries,
    checkpoints: Vec<Checkpoint>,
    trace: Trace,
    statistics: Statistics,
    reported: Statistics,
    scars: Scars,
    /// What flannel nodes broke in a cluster with nodes of ours.
    attributed: Vec<Attributed>,
}

impl World {
    pub(crate) fn new(
        scenario: Scenario,
        checkpoints: Vec<Checkpoint>,
        keep: Keep,
        handling: Handling,
    ) -> Self {
        // A config that names a backend itself counts before the scenario.
        let scenario = Scenario {
            backend: scenario.backend_served(),
            ..scenario
        };
        let rng = Rng::new(scenario.seed);
        let ids: Vec<NodeId> = scenario.node_ids().collect();
        let path_rng = rng.fork("store paths");
        let prober_rng = rng.fork("probes");
        let leases = scenario.prefix.leases();
        let round_trip = (scenario.store_path.delay + scenario.store_path.jitter) * 2;
        let windows = Windows::new(round_trip, scenario.peer_grace, scenario.renew_margin);
        let path = |id: &NodeId| StorePath::new(scenario.store_path, path_rng.fork(&id.to_string()));
        let mut world = Self {
            now: Instant::ZERO,
            queue: EventQueue::new(),
            links: Links::new(ids.len(), scenario.links, &rng),
            store_timer: None,
            nodes: scenario
                .node_ids()
                .zip(&scenario.nodes)
                .map(|(id, plan)| {
                    let attachment = underlay::attachment(&scenario, id);
                    SimNode::new(id, plan, attachment, handling, &rng).after(&scenario)
                })
                .collect(),
            paths: ids.iter().map(path).collect(),
            rates: vec![RequestRate::default(); ids.len()],
            disturbed_at: Instant::ZERO,
            forger_rng: rng.fork("forger"),
            tamper_rng: rng.fork("tamper"),
            hollow: HollowNodes::new(rng.fork("hollow nodes")),
            backups: BTreeMap::new(),
            prober_rngs: ids.iter().map(|id| prober_rng.fork(&id.to_string())).collect(),
            busy_until: BTreeMap::new(),
            paused: BTreeMap::new(),
            active: BTreeSet::new(),
            curtailed: BTreeMap::new(),
            core: None,
            sightings: Sightings::default(),
            started: BTreeSet::new(),
            missing: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            reference: RefCluster::new(ids.len(), leases.start().to_vec(), scenario.backend, windows),
            service: StoreService::new(leases),
            probes: ProbesInFlight::default(),
            rest_probes: BTreeSet::new(),
            agreement: None,
            identities: Identities::default(),
            twins: Twins::default(),
            data_paths: DataPaths::default(),
            comparisons: Comparisons::new(ids.len()),
            recoveries: Recoveries::default(),
            checkpoints,
            trace: Trace::new(keep.lines)
                .with_chronicle(keep.chronicle, &scenario)
                .with_capture(keep.capture),
            statistics: Statistics::default(),
            reported: Statistics::default(),
            scars: Scars::default(),
            attributed: Vec::new(),
            scenario,
        };
        world.reference.expect_routes(world.scenario.vxlan.direct_routing);
        for (subnet, node, vtep) in former_leases(&world.scenario) {
            world.reference.remember(subnet, node, vtep);
        }
        world.schedule();
        world
    }

    /// Runs the scenario to its end, or to the first broken invariant.
    pub(crate) fn run(mut self) -> Report {
        let finding = self.run_all().err();
        self.finish(finding)
    }

    fn run_all(&mut self) -> Verdict {
        self.write_config()?;
        self.write_hollow_leases()?;
        self.chronicle(Scope::Store(None));
        let end = self.end();
        self.run_until(end)?;
        self.check_core_requests()?;
        self.begin_rest()?;
        self.run_until(end + REST)?;
        self.check_rest()
    }

    fn run_until(&mut self, end: Instant) -> Verdict {
        while let Some((at, event)) = self.queue.pop_until(end) {
            debug_assert!(at >= self.now, "time does not run backwards");
            self.now = at;
            let scope = event.scope();
            let verdict = self.handle(event);
            self.chronicle(scope);
            self.judge(verdict)?;
            self.look_for_recovery();
        }
        self.now = end;
        Ok(())
    }

    fn handle(&mut self, event: Event) -> Verdict {
        let event = self
            .delay_while_paused(event)
            .and_then(|event| self.delay_while_slow(event));
        let Some(event) = event else {
            return Ok(());
        };
        match event {
            Event::Late(_) => Ok(()),
            Event::Start(node) => self.start_for_the_first_time(node),
            // Once the core has healed, nothing else begins and nothing else ends.
            Event::FaultBegins(_) | Event::FaultEnds(_) if self.core.is_some() => Ok(()),
            Event::FaultBegins(index) => self.begin_fault(index),
            Event::FaultEnds(index) => self.end_fault(index),
            Event::CoreHeals => self.heal_core(),
            Event::CoreIsDue => self.check_core_rests(),
            Event::Checkpoint(index) => self.run_checkpoint(index),
            Event::Timer { node, life } => self.handle_timer(node, life),
            Event::Supervise { node, life } => self.handle_supervise(node, life),
            Event::Relapse { node, life } => self.handle_relapse(node, life),
            Event::KernelOp { node, life, id, op } => self.handle_kernel_op(node, life, id, &op),
            Event::Survey {
                node,
                life,
                id,
                survey,
            } => self.handle_survey(node, life, id, &survey),
            Event::KernelNotice { node, life, event } => self.handle_kernel_notice(node, life, *event),
            Event::StoreHears { node, carried } => self.handle_store_hears(node, carried),
            Event::NodeHears { node, carried } => self.handle_node_hears(node, carried),
            Event::RequestFails {
                node,
                life,
                id,
                error,
            } => self.handle_request_fails(node, life, id, error),
            Event::WatchFails { node, life, id } => self.handle_watch_fails(node, life, id),
            Event::KeepAlive(node) => {
                self.handle_keep_alive(node);
                Ok(())
            }
            Event::StoreTimer => self.handle_store_timer(),
            Event::HollowRenewal(place) => self.handle_hollow_renewal(place),
            Event::Probe(node) => self.handle_probe(node),
            Event::Arrival {
                from,
                to,
                carriage,
                cargo,
                packet,
            } => self.handle_arrival(from, to, carriage, cargo, packet),
            Event::Sweep => self.sweep(),
            Event::Minute => {
                self.report_probes();
                Ok(())
            }
        }
    }

    /// Returns when the scenario is over and the last probes are sent.
    fn end(&self) -> Instant {
        Instant::ZERO + self.scenario.duration
    }

    /// Puts everything that is known beforehand into the queue.
    fn schedule(&mut self) {
        for (index, fault) in self.scenario.faults.iter().enumerate() {
            self.queue
                .push(Instant::ZERO + fault.at, Event::FaultBegins(index));
            if let Some(until) = fault.until.filter(|_| !fault.fault.is_instant()) {
                self.queue
                    .push(Instant::ZERO + until.max(fault.at), Event::FaultEnds(index));
            }
        }
        if let Some(liveness) = &self.scenario.liveness {
            self.queue.push(Instant::ZERO + liveness.at, Event::CoreHeals);
        }
        for (id, plan) in self.scenario.node_ids().zip(&self.scenario.nodes) {
            self.queue.push(Instant::ZERO + plan.starts_at, Event::Start(id));
            if !self.scenario.probe_interval.is_zero() && self.scenario.carries_packets() {
                self.queue.push(Instant::ZERO + plan.starts_at, Event::Probe(id));
            }
        }
        for (index, checkpoint) in self.checkpoints.iter().enumerate() {
            self.queue
                .push(Instant::ZERO + checkpoint.at, Event::Checkpoint(index));
        }
        self.queue.push(Instant::ZERO + SWEEP, Event::Sweep);
        self.queue.push(Instant::ZERO + MINUTE, Event::Minute);
    }

    /// Sets events of a node aside while it stands still; `None` if the event has to wait.
    fn delay_while_paused(&mut self, event: Event) -> Option<Event> {
        let Some(waiting) = event.node().and_then(|node| self.paused.get_mut(&node)) else {
            return Some(event);
        };
        let Event::Arrival { to, cargo, .. } = &event else {
            waiting.push(event);
            return None;
        };
        let (to, cargo) = (*to, *cargo);
        let queued = waiting
            .iter()
            .filter(|event| matches!(event, Event::Arrival { .. }))
            .count();
        if queued < SOCKET_QUEUE {
            waiting.push(event);
            self.queue_probe(cargo);
        } else {
            self.overflow(to, cargo);
        }
        None
    }

    fn run_checkpoint(&mut self, index: usize) -> Verdict {
        let Some(checkpoint) = self.checkpoints.get(index) else {
            return Ok(());
        };
        let outcome = (checkpoint.check)(&View { world: self });
        match outcome {
            Ok(()) => Ok(()),
            Err(text) => {
                let text = format!("{}: {text}", checkpoint.name);
                Err(Finding::new(Invariant::Custom, [], text))
            }
        }
    }

    fn finish(mut self, finding: Option<Finding>) -> Report {
        let defect = finding.as_ref().and_then(|finding| self.defect_behind(finding));
        let violation = finding.map(|finding| finding.at(self.now));
        if let Some(violation) = &violation {
            self.milestone(None, violation.to_string());
        }
        while let Some(probe) = self.probes.pop() {
            self.trace.settle(&probe);
            self.statistics.probes.count(&probe);
            self.recoveries.charge(&probe);
        }
        self.statistics.faults = std::mem::take(&mut self.recoveries).finish();
        self.statistics.simulated = self.now.saturating_since(Instant::ZERO);
        self.statistics.events = self.trace.count();
        let nodes = self.node_reports();
        let leases = self.reference.leases().collect();
        let chronicle = self.finish_chronicle();
        let capture = self.trace.take_capture(self.now);
        Report::new(
            self.scenario,
            self.statistics,
            self.trace,
            violation,
            nodes,
            leases,
            chronicle,
        )
        .blaming(defect, self.attributed)
        .with_capture(capture)
    }

    fn milestone(&mut self, node: Option<NodeId>, text: impl Into<Box<str>>) {
        self.trace.record(self.now, node, Occurrence::milestone(text));
    }

    fn message(&mut self, node: NodeId, topic: Topic, text: impl Into<Box<str>>) {
        self.trace
            .record(self.now, Some(node), Occurrence::message(topic, text));
    }

    fn detail(&mut self, node: Option<NodeId>, text: impl Into<Box<str>>) {
        self.trace.record(self.now, node, Occurrence::detail(text));
    }
}

/// How often the model looks whether nodes agree with it.
const SWEEP: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
/// How long the last probes get.
const REST: Duration = Duration::from_secs(5);
/// How many datagrams a node that stands still keeps.
const SOCKET_QUEUE: usize = 64;
