//! The front door: a cluster, what goes wrong with it, and what has to hold.

use std::time::Duration;

use selvedge_engine::OnExpiry;

use crate::capture::KeepCapture;
use crate::chronicle::KeepChronicle;
use crate::fault::{
    Fault, NodeFault, StoreFault, StoreWay, SubnetFileFate, Tampering, TimedFault, UnderlayFault,
};
use crate::forgery::Forgery;
use crate::junk::Junk;
use crate::node_id::NodeId;
use crate::probability::Probability;
use crate::report::Report;
use crate::sabotage::Sabotage;
use crate::scenario::{Model, Scenario};
use crate::sim_node::{Continuity, Handling};
use crate::trace::{Keep, KeepTrace};
use crate::world::{Checkpoint, View, World};

/// Builds a scenario and runs it.
///
/// Times count from the start of the run. Nothing happens before [`Cluster::run_for`]; every setting has a default.
/// [`Cluster::nodes`] comes first, for it makes all nodes anew; `heal_at`, `restart_at` and the like end what the calls
/// before them began; all else may come in any order.
pub struct Cluster {
    scenario: Scenario,
    checkpoints: Vec<Checkpoint>,
    keep: Keep,
    handling: Handling,
}

impl Cluster {
    /// Makes a cluster of three healthy nodes whose randomness comes from `seed`.
    pub fn new(seed: u64) -> Self {
        Self::of(Scenario::new(seed, 3, Duration::ZERO))
    }

    /// Makes a cluster from a scenario.
    pub const fn of(scenario: Scenario) -> Self {
        Self {
            scenario,
            checkpoints: Vec::new(),
            keep: Keep {
                lines: KeepTrace::Recent,
                chronicle: KeepChronicle::Nothing,
                capture: KeepCapture::Nothing,
            },
            handling: Handling {
                sabotage: None,
                continuity: Continuity::Kept,
            },
        }
    }

    /// Sets the number of nodes; they are called `n1`, `n2` and so on, and start 200 ms apart.
    #[must_use]
    pub fn nodes(mut self, count: u32) -> Self {
        let is_usual = self.scenario.config == Scenario::usual_config(self.scenario.subnet_count());
        self.scenario.nodes = Scenario::new(self.scenario.seed, count, Duration::ZERO).nodes;
        if is_usual {
            self.scenario.config = Scenario::usual_config(self.scenario.subnet_count());
        }
        self
    }

    /// Adds so many nodes that nobody runs: their leases are in the store from the start.
    #[must_use]
    pub fn hollow(mut self, count: u32) -> Self {
        self.scenario = self.scenario.with_hollow(count);
        self
    }

    /// Lets all nodes start at the same instant.
    #[must_use]
    pub fn starting_together(mut self) -> Self {
        for plan in &mut self.scenario.nodes {
            plan.starts_at = Duration::ZERO;
        }
        self
    }

    /// Lets a node start at this time.
    #[must_use]
    pub fn start_at(mut self, at: Duration, node: impl Into<NodeId>) -> Self {
        if let Some(plan) = self.scenario.nodes.get_mut(node.into().index()) {
            plan.starts_at = at;
        }
        self
    }

    /// Lets every node run this daemon.
    #[must_use]
    pub fn all_run(mut self, model: Model) -> Self {
        self.scenario = self.scenario.all_run(Some(model));
        self
    }

    /// Lets a node run this daemon.
    #[must_use]
    pub fn runs(mut self, node: impl Into<NodeId>, model: Model) -> Self {
        if let Some(plan) = self.scenario.nodes.get_mut(node.into().index()) {
            plan.model = model;
        }
        self
    }

    /// Sets the overlay's network, for example `10.5.0.0/16`.
    #[must_use]
    pub fn network(self, network: &str) -> Self {
        self.config(&format!(r#"{{"Network":"{network}"}}"#))
    }

    /// Sets the network config as it is in the store: JSON.
    #[must_use]
    pub fn config(mut self, json: &str) -> Self {
        json.clone_into(&mut self.scenario.config);
        self
    }

    /// Sets the least time that a datagram takes between nodes.
    #[must_use]
    pub const fn delay(mut self, delay: Duration) -> Self {
        self.scenario.links.delay = delay;
        self
    }

    /// Sets what is added to the delay at most; datagrams overtake each other by it.
    #[must_use]
    pub const fn jitter(mut self, jitter: Duration) -> Self {
        self.scenario.links.jitter = jitter;
        self
    }

    /// Sets how likely a datagram is lost.
    #[must_use]
    pub const fn loss(mut self, loss: Probability) -> Self {
        self.scenario.links.loss = loss;
        self
    }

    /// Sets how likely a datagram arrives twice.
    #[must_use]
    pub const fn duplication(mut self, duplication: Probability) -> Self {
        self.scenario.links.duplication = duplication;
        self
    }

    /// Sets the least time that a message takes between a node and the store.
    #[must_use]
    pub const fn store_delay(mut self, delay: Duration) -> Self {
        self.scenario.store_path.delay = delay;
        self
    }

    /// Sets what is added to the delay of a message to or from the store at most.
    #[must_use]
    pub const fn store_jitter(mut self, jitter: Duration) -> Self {
        self.scenario.store_path.jitter = jitter;
        self
    }

    /// Sets how long before the end of its lease (24 hours) a node renews it.
    #[must_use]
    pub const fn renew_margin(mut self, margin: Duration) -> Self {
        self.scenario.renew_margin = margin;
        self
    }

    /// Sets how long a node goes on forwarding to a peer whose lease vanished while it could not follow the store.
    #[must_use]
    pub const fn peer_grace(mut self, grace: Duration) -> Self {
        self.scenario.peer_grace = grace;
        self
    }

    /// Lets nodes stop carrying traffic before a lease ends that they could not renew.
    #[must_use]
    pub const fn fence_on_expiry(mut self) -> Self {
        self.scenario.on_expiry = OnExpiry::Fence;
        self
    }

    /// Sets how often a pod of each node sends a packet to a pod of another; zero means never.
    #[must_use]
    pub const fn probe_every(mut self, interval: Duration) -> Self {
        self.scenario.probe_interval = interval;
        self
    }

    /// Keeps every line of the trace for [`Report::trace`].
    #[must_use]
    pub const fn keep_trace(mut self) -> Self {
        self.keep.lines = KeepTrace::All;
        self
    }

    /// Writes down what [`Report::timeline_page`] shows.
    #[must_use]
    pub const fn keep_timeline(mut self) -> Self {
        self.keep.chronicle = KeepChronicle::Everything;
        self
    }

    /// Captures every datagram for [`Report::pcap`].
    #[must_use]
    pub const fn capture(mut self) -> Self {
        self.keep.capture = KeepCapture::Everything;
        self
    }

    /// Captures the datagrams of the time before the end for [`Report::pcap`].
    #[must_use]
    pub const fn capture_last(mut self, span: Duration) -> Self {
        self.keep.capture = KeepCapture::Last(span);
        self
    }

    /// Adds a fault that begins at this time and lasts until something ends it.
    #[must_use]
    pub fn fault_at(mut self, at: Duration, fault: impl Into<Fault>) -> Self {
        self.scenario.faults.push(TimedFault {
            at,
            until: None,
            fault: fault.into(),
        });
        self
    }

    /// Adds a fault of a node that begins at this time and lasts until something ends it.
    #[must_use]
    pub fn node_fault_at(self, at: Duration, node: impl Into<NodeId>, fault: NodeFault) -> Self {
        let node = node.into();
        self.fault_at(at, Fault::Node { node, fault })
    }

    /// Cuts these nodes off from all others, both ways; all of them reach the store.
    #[must_use]
    pub fn partition_at<N: Into<NodeId>>(self, at: Duration, nodes: impl IntoIterator<Item = N>) -> Self {
        let nodes = ids(nodes);
        self.fault_at(at, UnderlayFault::Partition { nodes })
    }

    /// Loses every datagram from the first nodes to the second; the way back is open.
    #[must_use]
    pub fn one_way_partition_at<N: Into<NodeId>>(
        self,
        at: Duration,
        from: impl IntoIterator<Item = N>,
        to: impl IntoIterator<Item = N>,
    ) -> Self {
        let (from, to) = (ids(from), ids(to));
        self.fault_at(at, UnderlayFault::OneWay { from, to })
    }

    /// Cuts these nodes off from the store.
    #[must_use]
    pub fn store_cut_at<N: Into<NodeId>>(
        self,
        at: Duration,
        nodes: impl IntoIterator<Item = N>,
        way: StoreWay,
    ) -> Self {
        let nodes = ids(nodes);
        self.fault_at(at, StoreFault::Cut { nodes, way })
    }

    /// Stops the store; it keeps its content.
    #[must_use]
    pub fn store_down_at(self, at: Duration) -> Self {
        self.fault_at(at, StoreFault::Down)
    }

    /// Lets the store forget its history.
    #[must_use]
    pub fn compact_at(self, at: Duration) -> Self {
        self.fault_at(at, StoreFault::Compaction)
    }

    /// Lets an operator delete the lease of a node.
    #[must_use]
    pub fn delete_lease_at(self, at: Duration, node: impl Into<NodeId>) -> Self {
        let node = node.into();
        self.fault_at(at, StoreFault::DeleteLease { node })
    }

    /// Lets an operator write something senseless among the leases.
    #[must_use]
    pub fn junk_at(self, at: Duration, junk: Junk) -> Self {
        self.fault_at(at, StoreFault::WriteJunk(junk))
    }

    /// Kills the daemon of a node; its subnet file stays.
    #[must_use]
    pub fn crash_at(self, at: Duration, node: impl Into<NodeId>) -> Self {
        let file = SubnetFileFate::Kept;
        self.node_fault_at(at, node, NodeFault::Crash { file })
    }

    /// Cuts a machine off from its power, with everything that its kernel held; it boots with [`Cluster::restart_at`].
    #[must_use]
    pub fn power_loss_at(self, at: Duration, node: impl Into<NodeId>) -> Self {
        self.node_fault_at(at, node, NodeFault::PowerLoss)
    }

    /// Tells the daemon of a node to stop.
    #[must_use]
    pub fn stop_at(self, at: Duration, node: impl Into<NodeId>) -> Self {
        self.node_fault_at(at, node, NodeFault::Stop)
    }

    /// Lets the daemon of a node die about once a second; [`Cluster::restart_at`] ends it.
    #[must_use]
    pub fn crash_loop_at(self, at: Duration, node: impl Into<NodeId>) -> Self {
        self.node_fault_at(at, node, NodeFault::CrashLoop)
    }

    /// Stops the daemon of a node and starts another in its place.
    #[must_use]
    pub fn replace_at(self, at: Duration, node: impl Into<NodeId>, by: Model) -> Self {
        self.node_fault_at(at, node, NodeFault::Replace { by })
    }

    /// Lets a node stand still, as a suspended virtual machine does.
    #[must_use]
    pub fn pause_at(self, at: Duration, node: impl Into<NodeId>) -> Self {
        self.node_fault_at(at, node, NodeFault::Pause)
    }

    /// Changes what the daemon of a node has set up in the kernel.
    #[must_use]
    pub fn tamper_at(self, at: Duration, node: impl Into<NodeId>, tampering: Tampering) -> Self {
        self.node_fault_at(at, node, NodeFault::Tamper(tampering))
    }

    /// Sends a datagram to the daemon of a node that none of the cluster sent.
    #[must_use]
    pub fn forge_at(self, at: Duration, node: impl Into<NodeId>, forgery: Forgery) -> Self {
        self.node_fault_at(at, node, NodeFault::Forge(forgery))
    }

    /// Restores the store from a backup of an earlier time.
    #[must_use]
    pub fn restore_store_at(mut self, at: Duration, backup_of: Duration) -> Self {
        self.scenario.faults.push(TimedFault {
            at: backup_of,
            until: Some(at),
            fault: StoreFault::Restore.into(),
        });
        self
    }

    /// Lets the store lose all its data; an operator writes the network config again at once.
    #[must_use]
    pub fn wipe_store_at(self, at: Duration) -> Self {
        self.fault_at(at, StoreFault::Wipe)
    }

    /// Lets the store refuse every write.
    #[must_use]
    pub fn store_full_at(self, at: Duration) -> Self {
        self.fault_at(at, StoreFault::Full)
    }

    /// Ends every fault of the underlay and of the way to the store that lasts at this time, and the store's own.
    #[must_use]
    pub fn heal_at(self, at: Duration) -> Self {
        self.end_at(at, |fault| fault.is_underlay() || fault.is_store_outage())
    }

    /// Starts the daemon of a node again, whatever ended it.
    #[must_use]
    pub fn restart_at(self, at: Duration, node: impl Into<NodeId>) -> Self {
        let node = node.into();
        self.end_at(at, |fault| {
            matches!(fault, Fault::Node { node: other, fault } if *other == node && fault.ends_with_a_start())
        })
    }

    /// Lets a node that stands still go on.
    #[must_use]
    pub fn resume_at(self, at: Duration, node: impl Into<NodeId>) -> Self {
        let node = node.into();
        self.end_at(
            at,
            |fault| matches!(fault, Fault::Node { node: other, fault: NodeFault::Pause } if *other == node),
        )
    }

    /// Lets every node of ours misbehave, to show that it is noticed.
    #[must_use]
    pub const fn sabotage(mut self, sabotage: Sabotage) -> Self {
        self.handling.sabotage = Some(sabotage);
        self
    }

    /// Lets every node of ours go on with an engine that is restored from a snapshot, every few inputs; the run has to
    /// be the same.
    #[must_use]
    pub const fn restore_engines(mut self) -> Self {
        self.handling.continuity = Continuity::Restored;
        self
    }

    /// Sets the card of a node up again that a fault keeps down.
    #[must_use]
    pub fn resume_card_at(self, at: Duration, node: impl Into<NodeId>) -> Self {
        let node = node.into();
        self.end_at(at, |fault| {
            matches!(fault, Fault::Node { node: other, fault: NodeFault::UnderlayDown } if *other == node)
        })
    }

    /// Adds a check of its author's at this time; a refusal fails the run with its text.
    #[must_use]
    pub fn check_at(
        mut self,
        at: Duration,
        name: &str,
        check: impl Fn(&View<'_>) -> Result<(), String> + 'static,
    ) -> Self {
        self.checkpoints.push(Checkpoint {
            at,
            name: name.to_owned(),
            check: Box::new(check),
        });
        self
    }

    /// Runs the cluster for this long.
    ///
    /// At the end, every node that had the time to learn everything has to hold a lease and to forward as the leases
    /// say, and all such nodes that no fault parts have to reach each other.
    pub fn run_for(mut self, duration: Duration) -> Report {
        self.scenario.duration = duration;
        self.run()
    }

    /// Runs the scenario for the duration that it has.
    pub fn run(self) -> Report {
        World::new(self.scenario, self.checkpoints, self.keep, self.handling).run()
    }

    fn end_at(mut self, at: Duration, is_meant: impl Fn(&Fault) -> bool) -> Self {
        let lasting = self
            .scenario
            .faults
            .iter_mut()
            .filter(|timed| timed.until.is_none() && timed.at <= at && is_meant(&timed.fault));
        for timed in lasting {
            timed.until = Some(at);
        }
        self
    }
}

fn ids<N: Into<NodeId>>(nodes: impl IntoIterator<Item = N>) -> Vec<NodeId> {
    nodes.into_iter().map(Into::into).collect()
}
