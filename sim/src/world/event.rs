//! What can happen next.

use std::net::Ipv4Addr;

use selvedge_engine::{KernelEvent, KernelOp, OpId, RequestId, StoreError, StoreEvent, Survey, WatchId};

use crate::links::Carriage;
use crate::node_id::NodeId;
use crate::probe::Cargo;
use crate::store_path::Carried;
use crate::store_service::ToStore;

/// Something that happens at its time. `life` tells which start of a daemon it belongs to.
#[derive(Debug)]
pub(super) enum Event {
    /// A node's daemon starts for the first time.
    Start(NodeId),
    FaultBegins(usize),
    FaultEnds(usize),
    /// Some nodes heal for good.
    CoreHeals,
    /// They have to be at rest.
    CoreIsDue,
    Checkpoint(usize),
    /// An engine wanted to be woken up.
    Timer {
        node: NodeId,
        life: u32,
    },
    /// A daemon that ended is started again.
    Supervise {
        node: NodeId,
        life: u32,
    },
    /// A daemon dies that crashes again and again.
    Relapse {
        node: NodeId,
        life: u32,
    },
    /// The kernel carries out an operation.
    KernelOp {
        node: NodeId,
        life: u32,
        id: OpId,
        op: Box<KernelOp>,
    },
    /// The kernel is looked at.
    Survey {
        node: NodeId,
        life: u32,
        id: OpId,
        survey: Box<Survey>,
    },
    /// The kernel tells the daemon of a change.
    KernelNotice {
        node: NodeId,
        life: u32,
        event: Box<KernelEvent>,
    },
    /// A message reaches the store.
    StoreHears {
        node: NodeId,
        carried: Box<Carried<ToStore>>,
    },
    /// A message of the store reaches a node.
    NodeHears {
        node: NodeId,
        carried: Box<Carried<StoreEvent>>,
    },
    /// A request gets no answer any more.
    RequestFails {
        node: NodeId,
        life: u32,
        id: RequestId,
        error: Box<StoreError>,
    },
    /// A watch cannot be opened, or its connection broke.
    WatchFails {
        node: NodeId,
        life: u32,
        id: WatchId,
    },
    /// The connection of a node to the store may have been silent for too long.
    KeepAlive(NodeId),
    /// An etcd lease ends.
    StoreTimer,
    /// The hollow node at this place renews its lease.
    HollowRenewal(usize),
    /// A pod sends a probe.
    Probe(NodeId),
    /// A datagram or a frame reaches a node.
    Arrival {
        from: Ipv4Addr,
        to: NodeId,
        carriage: Carriage,
        cargo: Cargo,
        packet: Vec<u8>,
    },
    /// A slow node gets to something that happened before.
    Late(Box<Self>),
    /// The model looks whether nodes agree with it.
    Sweep,
    Minute,
}

/// What an event may change that pictures of the run show.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Scope {
    Nothing,
    Node(NodeId),
    /// The store, on behalf of a node.
    Store(Option<NodeId>),
    /// Faults, and whatever they do; `begun` is the place of the fault that begins.
    Everything {
        begun: Option<usize>,
    },
}

impl Event {
    /// Returns what the event may change that pictures of the run show.
    pub(super) fn scope(&self) -> Scope {
        match self {
            Self::Start(node)
            | Self::Timer { node, .. }
            | Self::KernelOp { node, .. }
            | Self::Survey { node, .. }
            | Self::KernelNotice { node, .. }
            | Self::NodeHears { node, .. }
            | Self::RequestFails { node, .. }
            | Self::WatchFails { node, .. }
            | Self::Supervise { node, .. }
            | Self::Relapse { node, .. }
            | Self::KeepAlive(node) => Scope::Node(*node),
            Self::Late(event) => event.scope(),
            Self::StoreHears { node, .. } => Scope::Store(Some(*node)),
            Self::StoreTimer | Self::HollowRenewal(_) => Scope::Store(None),
            Self::FaultBegins(index) => Scope::Everything { begun: Some(*index) },
            Self::FaultEnds(_) | Self::CoreHeals | Self::Checkpoint(_) => Scope::Everything { begun: None },
            Self::Probe(_) | Self::Arrival { .. } | Self::Sweep | Self::CoreIsDue | Self::Minute => {
                Scope::Nothing
            }
        }
    }

    /// Returns the event itself, or the one that a slow node gets to late.
    pub(super) fn timely(&self) -> &Self {
        if let Self::Late(event) = self {
            return event.timely();
        }
        self
    }

    /// Returns the node that has to run for the event to happen.
    pub(super) fn node(&self) -> Option<NodeId> {
        match self {
            Self::Timer { node, .. }
            | Self::Supervise { node, .. }
            | Self::Relapse { node, .. }
            | Self::KernelOp { node, .. }
            | Self::Survey { node, .. }
            | Self::KernelNotice { node, .. }
            | Self::NodeHears { node, .. }
            | Self::RequestFails { node, .. }
            | Self::WatchFails { node, .. }
            | Self::Arrival { to: node, .. } => Some(*node),
            Self::Late(event) => event.node(),
            Self::Start(_)
            | Self::FaultBegins(_)
            | Self::FaultEnds(_)
            | Self::CoreHeals
            | Self::CoreIsDue
            | Self::Checkpoint(_)
            | Self::StoreHears { .. }
            | Self::KeepAlive(_)
            | Self::StoreTimer
            | Self::HollowRenewal(_)
            | Self::Probe(_)
            | Self::Sweep
            | Self::Minute => None,
        }
    }
}
