//! The judgement as the rule says it: every lease, from nothing.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{PeerNews, Peers, Standpoint, overlaps};
use crate::leases::{Entry, Leases};
use crate::reject_reason::RejectReason;
use crate::store::Revision;
use crate::subnet::Subnet;

/// The right answer, found without memory of an earlier one.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct RefPeers {
    accepted: BTreeMap<Subnet, Ipv4Addr>,
    rejected: BTreeMap<Arc<[u8]>, (Revision, RejectReason)>,
}

impl From<&Peers> for RefPeers {
    fn from(peers: &Peers) -> Self {
        Self {
            accepted: peers.iter().collect(),
            rejected: peers.rejected.clone(),
        }
    }
}

impl RefPeers {
    /// Judges every lease but the node's own; of overlapping ones the oldest wins.
    pub(super) fn select(leases: &Leases, standpoint: &Standpoint) -> Self {
        let mut oldest_first: Vec<&Entry> = leases
            .entries()
            .filter(|entry| entry.key != standpoint.own_key)
            .collect();
        oldest_first.sort_by_key(|entry| entry.create_revision);
        let mut peers = Self::default();
        let mut held = Vec::new();
        for entry in oldest_first {
            match judge(entry, standpoint, &held) {
                Ok((subnet, v4, public_ip)) => {
                    held.push(v4);
                    peers.accepted.insert(subnet, public_ip);
                }
                Err(reason) => {
                    let judged = (entry.mod_revision, reason);
                    peers.rejected.insert(entry.key.clone(), judged);
                }
            }
        }
        peers
    }

    /// Says what is other than it was.
    pub(super) fn news_since(&self, before: &Self) -> PeerNews {
        let is_new = |subnet: &Subnet, ip: &Ipv4Addr| before.accepted.get(subnet) != Some(ip);
        let added = self.accepted.iter().filter(|(subnet, ip)| is_new(subnet, ip));
        let removed = before
            .accepted
            .keys()
            .filter(|subnet| !self.accepted.contains_key(subnet));
        let rejected = self
            .rejected
            .iter()
            .filter(|(key, judged)| before.rejected.get(*key) != Some(judged));
        let gone = removed.clone().filter_map(|subnet| Some((subnet.v4()?, None)));
        let here = added
            .clone()
            .filter_map(|(subnet, ip)| Some((subnet.v4()?, Some(*ip))));
        PeerNews {
            routes: gone.chain(here).collect(),
            added: added.map(|(subnet, ip)| (*subnet, *ip)).collect(),
            removed: removed.copied().collect(),
            rejected: rejected
                .map(|(key, (_, reason))| (key.clone(), *reason))
                .collect(),
        }
    }
}

fn judge(
    entry: &Entry,
    standpoint: &Standpoint,
    held: &[Ipv4Net],
) -> Result<(Subnet, Ipv4Net, Ipv4Addr), RejectReason> {
    let subnet = entry.subnet?;
    let v4 = subnet.v4().ok_or(RejectReason::WrongFamily)?;
    if v4 == standpoint.network || !standpoint.network.contains(&v4) {
        return Err(RejectReason::OutsideNetwork);
    }
    if overlaps(v4, standpoint.own_subnet) {
        return Err(RejectReason::OverlapsOwn);
    }
    let public_ip = entry.record.clone()?.public_ip;
    match public_ip {
        Ipv4Addr::UNSPECIFIED | Ipv4Addr::BROADCAST => return Err(RejectReason::BadPublicIp),
        _ if public_ip.is_loopback() || public_ip.is_multicast() => return Err(RejectReason::BadPublicIp),
        _ if public_ip == standpoint.public_ip => return Err(RejectReason::OwnPublicIp),
        _ => {}
    }
    if held.iter().any(|other| overlaps(v4, *other)) {
        return Err(RejectReason::OverlapsPeer);
    }
    Ok((subnet, v4, public_ip))
}
