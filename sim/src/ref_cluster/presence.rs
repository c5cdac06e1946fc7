//! Where nodes are, and what leases have to say for packets to get there.

use std::net::Ipv4Addr;

use selvedge_engine::{Instant, LeaseRecord, LinkState, MacAddress};
use serde_json::Value;

use super::keys::Way;
use super::{DataPath, RefCluster, Tenure};
use crate::node_id::NodeId;
use crate::scenario::Backend;

/// Where a node is at the moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Presence {
    /// Its address in the underlay.
    pub(crate) address: Ipv4Addr,
    /// The hardware address of its VXLAN device, if it has one.
    pub(crate) vtep: Option<MacAddress>,
    /// Whether its card is up.
    pub(crate) card: LinkState,
}

impl Presence {
    pub(super) fn first(node: NodeId) -> Self {
        Self {
            address: node.public_ip(),
            vtep: None,
            card: LinkState::Up,
        }
    }
}

/// What a node says anew about itself while it keeps its subnet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Announced {
    Address,
    Vtep,
}

impl RefCluster {
    /// Returns what the lease of a node says otherwise than before.
    pub(crate) fn announced(&self, node: NodeId) -> Option<Announced> {
        let tenures = self.tenures.get(self.subnet_held_by(node)?)?;
        let [.., before, last] = tenures.as_slice() else {
            return None;
        };
        if before.until != Some(last.from) || !node.is_at(before.owner) {
            return None;
        }
        if before.owner == last.owner {
            (before.vtep != last.vtep).then_some(Announced::Vtep)
        } else {
            Some(Announced::Address)
        }
    }

    /// Returns by whom packets are carried.
    pub(crate) const fn data_path(&self) -> DataPath {
        DataPath::of(self.backend)
    }

    /// Takes note of where a node is.
    pub(crate) fn set_presence(&mut self, node: NodeId, presence: Presence) {
        if let Some(place) = self.presences.get_mut(node.index()) {
            if place.address != presence.address {
                self.moved.insert(node);
            }
            *place = presence;
        }
    }

    /// Tells whether a node ever had another address than now.
    pub(crate) fn has_moved(&self, node: NodeId) -> bool {
        self.moved.contains(&node)
    }

    /// Returns the address that a node has.
    pub(crate) fn address_of(&self, node: NodeId) -> Ipv4Addr {
        let presence = self.presences.get(node.index());
        presence.map_or_else(|| node.public_ip(), |presence| presence.address)
    }

    /// Tells whether a node is on the underlay.
    pub(super) fn is_attached(&self, node: NodeId) -> bool {
        let presence = self.presences.get(node.index());
        presence.is_some_and(|presence| presence.card == LinkState::Up)
    }

    /// Returns the lease of a node that says something else about it than is true, although it has had the time to write
    /// it anew.
    pub(crate) fn untrue_lease_of(&self, node: NodeId, now: Instant) -> Option<&Tenure> {
        let knowledge = self.knowledge.get(node.index())?;
        let subnet = self.subnet_held_by(node)?;
        let tenure = self.tenures.get(subnet)?.last()?.current()?;
        let is_due = knowledge.has_to_announce(&self.windows, now)
            && self
                .informed(node, now)
                .is_some_and(|informed| tenure.from <= informed);
        (is_due && !self.is_true(node, tenure)).then_some(tenure)
    }

    /// Tells whether a lease of a node says where it is.
    pub(super) fn is_true(&self, node: NodeId, tenure: &Tenure) -> bool {
        let vtep = self
            .presences
            .get(node.index())
            .and_then(|presence| presence.vtep);
        let is_right_vtep = vtep.is_none() || tenure.vtep.is_none() || vtep == tenure.vtep;
        tenure.owner == self.address_of(node) && is_right_vtep
    }
}

/// Tells whether a record may be of a node with this backend: many reservations name none.
pub(super) fn may_be_of(backend: Backend, record: &LeaseRecord) -> bool {
    record.backend_type.is_empty() || names(backend, record)
}

/// Returns how nodes with this backend send packets to the node that a record is of. Flannel's `udp` and `alloc` name no
/// backend.
pub(super) fn way_to(backend: Backend, record: &LeaseRecord) -> Option<Way> {
    match backend {
        Backend::Udp => Some(Way::Address),
        Backend::HostGw => names(backend, record).then_some(Way::Address),
        Backend::Vxlan => {
            let data = record
                .backend_data
                .as_deref()
                .filter(|_| names(backend, record))?;
            let data: Value = serde_json::from_str(data).ok()?;
            let mac = data.get("VtepMAC")?.as_str()?.parse().ok()?;
            Some(Way::Vtep(mac))
        }
    }
}

fn names(backend: Backend, record: &LeaseRecord) -> bool {
    let kinds: &[&str] = match backend {
        Backend::Udp => &["udp", "alloc"],
        Backend::Vxlan => &["vxlan"],
        Backend::HostGw => &["host-gw"],
    };
    kinds.contains(&record.backend_type.as_str())
}
