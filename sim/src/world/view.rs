//! What the author of a run sees of the cluster.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use selvedge_engine::{Instant, PacketCounters, Status};

use super::World;
use crate::etcd_store::EtcdStore;
use crate::linux::Linux;
use crate::node_id::NodeId;
use crate::sim_node::Daemon;

/// A cluster in the middle of a run, to look at.
pub struct View<'a> {
    pub(super) world: &'a World,
}

impl View<'_> {
    /// Returns the time.
    pub fn now(&self) -> Instant {
        self.world.now
    }

    /// Returns what the engine of a node says about itself, `None` while its daemon is down.
    pub fn status(&self, node: impl Into<NodeId>) -> Option<Status> {
        let state = self.world.nodes.get(node.into().index())?;
        Some(state.daemon.as_ref()?.status())
    }

    /// Returns a node's kernel and file system.
    pub fn linux(&self, node: impl Into<NodeId>) -> Option<&Linux> {
        Some(&self.world.nodes.get(node.into().index())?.linux)
    }

    /// Returns the leases that live in the store, each with its node's public IP.
    pub fn leases(&self) -> BTreeMap<Ipv4Net, Ipv4Addr> {
        self.world.reference.leases().collect()
    }

    /// Returns the store.
    pub fn store(&self) -> &EtcdStore {
        &self.world.service.store
    }
}

/// What became of a node.
#[derive(Clone, Debug)]
pub struct NodeReport {
    /// The node.
    pub id: NodeId,
    /// What its engine said at the end, `None` if its daemon was down.
    pub status: Option<Status>,
    /// What its forwarder counted since the daemon's last start.
    pub counters: Option<PacketCounters>,
    /// How often its daemon was started.
    pub starts: u32,
    /// Its kernel and file system at the end.
    pub linux: Linux,
}

impl World {
    pub(super) fn node_reports(&self) -> Vec<NodeReport> {
        self.nodes
            .iter()
            .map(|state| NodeReport {
                id: state.id,
                status: state.daemon.as_ref().map(Daemon::status),
                counters: state.daemon.as_ref().and_then(Daemon::counters).cloned(),
                starts: state.life,
                linux: state.linux.clone(),
            })
            .collect()
    }
}
