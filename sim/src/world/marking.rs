//! Taking note of what has to happen at least once in a campaign.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_engine::{
    ConfigUnused, DropReason, Event as Told, KernelObject, KernelOp, LeaseOrigin, RequestId, StoreError,
    StoreEvent, StoreRequest, StoreResponse, Subnet, TxnOutcome, WatchEnd,
};

use super::World;
use crate::mark::{Mark, Situation};
use crate::node_id::NodeId;
use crate::ref_cluster::{Announced, DataPath};
use crate::scenario::Backend;
use crate::store_service::{ToStore, writes};

/// What marks need to know of the past.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    /// The subnets that nodes lost, until they take another.
    lost: BTreeMap<NodeId, Subnet>,
    /// The writes of nodes without an answer yet.
    writing: BTreeSet<(NodeId, RequestId)>,
    /// Those of them that the store has carried out.
    carried_out: BTreeSet<(NodeId, RequestId)>,
    /// The nodes whose daemon has changed something in the kernel since it was started.
    changing: BTreeSet<NodeId>,
}

/// Whether a message changed the store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Write {
    CarriedOut,
    Nothing,
}

impl World {
    pub(super) fn mark(&mut self, situation: Situation) {
        self.statistics.marks.hit(Mark::Situation(situation));
    }

    pub(super) fn mark_drop(&mut self, reason: DropReason) {
        self.statistics.marks.hit(Mark::Dropped(reason));
    }

    /// Marks what an engine tells people.
    pub(super) fn mark_event(&mut self, node: NodeId, event: &Told) {
        match event {
            Told::LeaseAcquired { subnet, origin } => {
                self.mark_lease(node, *subnet, *origin);
                self.mark_announcement(node);
            }
            Told::LeaseLost { subnet, .. } => {
                self.sightings.lost.insert(node, *subnet);
            }
            Told::Fenced { .. } => self.mark(Situation::Fenced),
            Told::CreateRaceLost { .. } => self.mark(Situation::CreateRaceLost),
            Told::SubnetsExhausted { .. } => self.mark(Situation::SubnetsExhausted),
            Told::ConfigMissing { .. } => self.mark(Situation::ConfigMissing),
            Told::ConfigInvalid { .. } => self.mark(Situation::ConfigInvalid),
            Told::ConfigUnused { reason, .. } => match reason {
                ConfigUnused::Changed => self.mark(Situation::ConfigChangedWhileServed),
                ConfigUnused::Invalid(_) => self.mark(Situation::ConfigInvalidWhileServed),
                ConfigUnused::Deleted => self.mark(Situation::ConfigDeletedWhileServed),
            },
            Told::StoreRestarted { .. } => self.mark(Situation::StoreRestarted),
            Told::KernelRepairing { object } => self.mark_repair(object),
            Told::PeerOffLink { .. } => self.mark(Situation::OffLinkPeerTold),
            Told::Ready => self.mark_ready(node),
            Told::PeersStale { .. } => self.mark(Situation::PeersKept),
            Told::RecordRejected { reason, .. } | Told::RecordsRejected { reason, .. } => {
                self.statistics.marks.hit(Mark::Rejected(*reason));
            }
            Told::Relisted { .. } if self.reference.is_deaf(node) => {
                self.statistics.repairs += 1;
                self.mark(Situation::LostChangeRepaired);
            }
            Told::ChangeMissed { .. }
            | Told::StoreUnreachable { .. }
            | Told::StoreReached
            | Told::LeaseRenewed { .. }
            | Told::LeaseClaimed { .. }
            | Told::LeaseResumed { .. }
            | Told::PublicIpContested { .. }
            | Told::DuplicatePublicIp { .. }
            | Told::ConfigKeyUnknown { .. }
            | Told::PeerAdded { .. }
            | Told::PeerRemoved { .. }
            | Told::PeersChanged { .. }
            | Told::TooManyRecords { .. }
            | Told::Relisted { .. }
            | Told::KernelFailed { .. }
            | Told::SurveyFailed { .. }
            | Told::UnderlayChanged { .. } => {}
        }
    }

    fn mark_repair(&mut self, object: &KernelObject) {
        self.mark(Situation::KernelRepaired);
        match object {
            KernelObject::Link(_) => self.mark(Situation::DeviceRecreated),
            KernelObject::FdbEntry(_) | KernelObject::Neighbour(_) => self.mark(Situation::EntryRepaired),
            KernelObject::Socket(_)
            | KernelObject::Sysctl(_)
            | KernelObject::Address(_)
            | KernelObject::Ruleset(_)
            | KernelObject::Member(_)
            | KernelObject::Route(_)
            | KernelObject::SubnetFile(_) => {}
        }
    }

    fn mark_announcement(&mut self, node: NodeId) {
        match self.reference.announced(node) {
            Some(Announced::Address) => self.mark(Situation::AddressAnnounced),
            Some(Announced::Vtep) => self.mark(Situation::VtepAnnounced),
            None => {}
        }
    }

    fn mark_ready(&mut self, node: NodeId) {
        let state = self.nodes.get(node.index());
        let was_restarted = state.is_some_and(|state| state.life > 1 && state.linux.carries());
        let is_kernels = self.reference.data_path() == DataPath::Kernel;
        if is_kernels && was_restarted && !self.sightings.changing.contains(&node) {
            self.mark(Situation::RestartFoundAll);
        }
    }

    /// Marks what a daemon is about to do to its kernel.
    pub(super) fn mark_operation(&mut self, node: NodeId, op: &KernelOp) {
        let state = self.nodes.get(node.index());
        match op.object() {
            // What is in a ruleset only its maker knows: it is written again after a restart.
            KernelObject::SubnetFile(_)
            | KernelObject::Sysctl(_)
            | KernelObject::Socket(_)
            | KernelObject::Ruleset(_)
            | KernelObject::Member(_) => return,
            KernelObject::Link(_)
            | KernelObject::Address(_)
            | KernelObject::FdbEntry(_)
            | KernelObject::Neighbour(_)
            | KernelObject::Route(_) => {}
        }
        self.sightings.changing.insert(node);
        if let KernelOp::Replace(KernelObject::Link(link)) = op
            && state.is_some_and(|state| state.linux.has_unmarked_vxlan(&link.name))
        {
            self.mark(Situation::FlannelsDeviceAdopted);
        }
    }

    /// Marks that a probe arrived.
    pub(super) fn mark_arrival(&mut self) {
        self.mark(match self.scenario.backend {
            Backend::Udp => Situation::CarriedByUdp,
            Backend::Vxlan => Situation::CarriedByVxlan,
            Backend::HostGw => Situation::CarriedByHostGw,
        });
    }

    fn mark_lease(&mut self, node: NodeId, subnet: Subnet, origin: LeaseOrigin) {
        match self.sightings.lost.remove(&node) {
            Some(lost) if lost == subnet => self.mark(Situation::LostAndReclaimed),
            Some(_) => self.mark(Situation::LostAndMoved),
            None => {}
        }
        match origin {
            LeaseOrigin::Fresh => self.mark(Situation::LeaseFresh),
            LeaseOrigin::Reused => self.mark(Situation::LeaseReused),
            LeaseOrigin::Reserved => self.mark(Situation::LeaseReserved),
            LeaseOrigin::Previous => self.mark(Situation::LeasePrevious),
            LeaseOrigin::Defended | LeaseOrigin::Updated => {}
        }
    }

    /// Marks what a node asks of the store.
    pub(super) fn mark_request(&mut self, node: NodeId, id: RequestId, request: &StoreRequest) {
        if matches!(request, StoreRequest::LeaseRevoke { .. }) {
            self.mark(Situation::OrphanRevoked);
        }
        if matches!(request, StoreRequest::Txn(_)) && writes(request) {
            self.sightings.writing.insert((node, id));
        }
    }

    /// Tells whether a message asks for a write that marks are interested in.
    pub(super) fn is_write(&self, node: NodeId, message: &ToStore) -> bool {
        matches!(message, ToStore::Request { id, .. } if self.sightings.writing.contains(&(node, *id)))
    }

    /// Takes note of the write that a message asks for and whether the store carried it out.
    pub(super) fn note_write(
        &mut self,
        node: NodeId,
        message: &ToStore,
        answer: Option<&StoreEvent>,
    ) -> Write {
        let ToStore::Request { id, .. } = message else {
            return Write::Nothing;
        };
        let is_done = matches!(
            answer,
            Some(StoreEvent::Response {
                result: Ok(StoreResponse::Txn {
                    outcome: TxnOutcome::Succeeded,
                    ..
                }),
                ..
            })
        );
        if !is_done || !self.sightings.writing.contains(&(node, *id)) {
            return Write::Nothing;
        }
        self.sightings.carried_out.insert((node, *id));
        Write::CarriedOut
    }

    /// Marks what a node hears from the store.
    pub(super) fn mark_heard(&mut self, node: NodeId, event: &StoreEvent) {
        match event {
            StoreEvent::Response { id, result } => {
                self.sightings.writing.remove(&(node, *id));
                self.sightings.carried_out.remove(&(node, *id));
                if matches!(result, Ok(StoreResponse::LeaseKeepAlive { ttl_seconds: 0, .. })) {
                    self.mark(Situation::RenewalFoundNoLease);
                }
            }
            StoreEvent::WatchEnded {
                end: WatchEnd::Compacted(_),
                ..
            } => self.mark(Situation::WatchCompacted),
            StoreEvent::WatchEnded {
                end: WatchEnd::Failed(_),
                ..
            }
            | StoreEvent::WatchCreated { .. }
            | StoreEvent::WatchBatch { .. } => {}
        }
    }

    /// Marks a request that gets no answer.
    pub(super) fn mark_failure(&mut self, node: NodeId, id: RequestId, error: &StoreError) {
        let is_done = self.sightings.carried_out.remove(&(node, id));
        if !self.sightings.writing.remove(&(node, id)) || !error.is_ambiguous() {
            return;
        }
        self.mark(if is_done {
            Situation::CommitUnknownAndDone
        } else {
            Situation::CommitUnknownAndNotDone
        });
    }

    /// Forgets what a daemon has asked and done that starts anew.
    pub(super) fn forget_writes(&mut self, node: NodeId) {
        self.sightings.writing.retain(|(other, _)| *other != node);
        self.sightings.carried_out.retain(|(other, _)| *other != node);
        self.sightings.changing.remove(&node);
    }
}
