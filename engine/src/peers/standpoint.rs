//! Judging a lease by what it says itself.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Age, Peer, Place, overlaps};
use crate::backend::Backend;
use crate::kernel::{IpVersion, MacAddress};
use crate::lease::LeaseRecord;
use crate::leases::Entry;
use crate::network_config::NetworkConfig;
use crate::public_addresses::PublicAddresses;
use crate::reject_reason::RejectReason;
use crate::subnet::Subnet;
use crate::text_bytes;
use crate::underlay::is_unreachable;

/// Where this node stands among the leases.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Standpoint {
    #[serde(with = "text_bytes")]
    pub(crate) own_key: Arc<[u8]>,
    pub(crate) backend: Backend,
    /// For each IP version that the network and the backend have.
    pub(crate) ranges: BTreeMap<IpVersion, OwnRange>,
}

/// Where this node stands in one IP version.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct OwnRange {
    /// The whole overlay.
    pub(crate) network: IpNet,
    /// This node's part of it.
    pub(crate) subnet: IpNet,
    pub(crate) public_ip: IpAddr,
    /// The hardware address of this node's device, if the backend has such a device.
    pub(crate) vtep: Option<MacAddress>,
}

/// What becomes of each range of a lease that counts: a peer, unless other leases stand against it.
pub(super) type Candidates = BTreeMap<IpVersion, Result<Peer, RejectReason>>;

impl Standpoint {
    /// Finds out where a node with this key, subnet and record stands.
    pub(crate) fn new(
        own_key: Arc<[u8]>,
        subnet: &Subnet,
        record: &LeaseRecord,
        backend: &Backend,
        network: &NetworkConfig,
    ) -> Self {
        let carried = backend.needs(network);
        let node = PublicAddresses::of(record);
        let range = |version| {
            Some(OwnRange {
                network: network.of_version(version)?,
                subnet: subnet.of_version(version)?,
                public_ip: node.of_version(version)?,
                vtep: backend.peer_data(record, version).ok().flatten(),
            })
        };
        Self {
            own_key,
            backend: backend.clone(),
            ranges: [IpVersion::V4, IpVersion::V6]
                .into_iter()
                .filter(|version| carried.has(*version))
                .filter_map(|version| Some((version, range(version)?)))
                .collect(),
        }
    }

    /// Judges each range of a lease of another node as if there were no other leases.
    ///
    /// # Errors
    ///
    /// The reason if the lease has no range that counts.
    pub(super) fn candidates(&self, entry: &Entry) -> Result<Candidates, RejectReason> {
        let subnet = entry.subnet?;
        let candidates: Candidates = self
            .ranges
            .iter()
            .filter_map(|(version, own)| {
                let net = subnet.of_version(*version)?;
                Some((*version, self.candidate(entry, net, own)))
            })
            .collect();
        if candidates.is_empty() {
            return Err(RejectReason::WrongFamily);
        }
        Ok(candidates)
    }

    fn candidate(&self, entry: &Entry, net: IpNet, own: &OwnRange) -> Result<Peer, RejectReason> {
        if !own.gives_out(net) {
            return Err(RejectReason::OutsideNetwork);
        }
        if overlaps(net, own.subnet) {
            return Err(RejectReason::OverlapsOwn);
        }
        let record = entry.record.as_ref().map_err(|reason| *reason)?;
        if !self.backend.understands(&record.backend_type) {
            return Err(RejectReason::ForeignBackend);
        }
        let node = PublicAddresses::of(record);
        let version = IpVersion::of(net.addr());
        let public_ip = node
            .of_version(version)
            .filter(|address| !is_unreachable(address))
            .ok_or(RejectReason::BadPublicIp)?;
        if public_ip == own.public_ip {
            return Err(RejectReason::OwnPublicIp);
        }
        let vtep = self.backend.peer_data(record, version)?;
        if vtep.is_some() && vtep == own.vtep {
            return Err(RejectReason::OwnMac);
        }
        Ok(Peer {
            subnet: entry.subnet?,
            net,
            place: Place { public_ip, vtep },
            node,
            age: Age::of(entry),
        })
    }
}

impl OwnRange {
    /// Tells whether a range is a part of the network, and not all of it.
    pub(super) fn gives_out(&self, net: IpNet) -> bool {
        self.network.contains(&net) && net.prefix_len() > self.network.prefix_len()
    }

    /// Tells whether nobody else can hold what the peer has.
    pub(super) fn excludes(&self, peer: &Peer) -> bool {
        !self.gives_out(peer.net)
            || overlaps(peer.net, self.subnet)
            || peer.place.public_ip == self.public_ip
            || (peer.place.vtep.is_some() && peer.place.vtep == self.vtep)
    }
}
