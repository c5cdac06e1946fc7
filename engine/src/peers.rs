//! Which leases this node forwards to, and which it refuses.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::leases::{Entry, Leases};
use crate::reject_reason::RejectReason;
use crate::store::Revision;
use crate::subnet::Subnet;

/// The peers, and the records that are none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Peers {
    pub(crate) accepted: BTreeMap<Subnet, Ipv4Addr>,
    pub(crate) rejected: BTreeMap<String, (Revision, RejectReason)>,
}

/// Where this node stands among the leases.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standpoint<'a> {
    pub(crate) network: Ipv4Net,
    pub(crate) public_ip: Ipv4Addr,
    pub(crate) own_key: &'a [u8],
    pub(crate) own_subnet: Ipv4Net,
}

impl Peers {
    /// Judges every lease but the node's own; of overlapping ones the oldest wins. O(n log n) for n leases.
    pub(crate) fn select(leases: &Leases, standpoint: &Standpoint<'_>) -> Self {
        let mut oldest_first: Vec<&Entry> = leases
            .entries()
            .filter(|entry| entry.key != standpoint.own_key)
            .collect();
        oldest_first.sort_by_key(|entry| entry.create_revision);
        let mut peers = Self::default();
        let mut held = BTreeMap::new();
        for entry in oldest_first {
            match judge(entry, standpoint, &held) {
                Ok((subnet, v4, public_ip)) => {
                    held.insert(v4.network(), v4);
                    peers.accepted.insert(subnet, public_ip);
                }
                Err(reason) => {
                    peers
                        .rejected
                        .insert(entry.key_text(), (entry.mod_revision, reason));
                }
            }
        }
        peers
    }

    /// Returns the IPv4 subnets with the nodes that hold them, in order.
    pub(crate) fn v4(&self) -> impl Iterator<Item = (Ipv4Net, Ipv4Addr)> {
        self.accepted
            .iter()
            .filter_map(|(subnet, public_ip)| Some((subnet.v4()?.trunc(), *public_ip)))
    }
}

fn judge(
    entry: &Entry,
    standpoint: &Standpoint<'_>,
    held: &BTreeMap<Ipv4Addr, Ipv4Net>,
) -> Result<(Subnet, Ipv4Net, Ipv4Addr), RejectReason> {
    let subnet = entry.subnet?;
    let v4 = subnet.v4().ok_or(RejectReason::WrongFamily)?.trunc();
    if !standpoint.network.contains(&v4) || v4.prefix_len() <= standpoint.network.prefix_len() {
        return Err(RejectReason::OutsideNetwork);
    }
    if overlaps(v4, standpoint.own_subnet) {
        return Err(RejectReason::OverlapsOwn);
    }
    let public_ip = entry.record.as_ref().map_err(|reason| *reason)?.public_ip;
    if !is_reachable(public_ip) {
        return Err(RejectReason::BadPublicIp);
    }
    if public_ip == standpoint.public_ip {
        return Err(RejectReason::OwnPublicIp);
    }
    let below = held.range(..=v4.broadcast()).next_back();
    if below.is_some_and(|(_, other)| overlaps(v4, *other)) {
        return Err(RejectReason::OverlapsPeer);
    }
    Ok((subnet, v4, public_ip))
}

fn overlaps(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other) || other.contains(&one)
}

const fn is_reachable(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.is_broadcast())
}

#[cfg(test)]
mod tests;
