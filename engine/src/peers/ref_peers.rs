//! The judgement as the rule says it: every lease, from nothing.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

use ipnet::Ipv4Net;

use super::{PeerNews, Peers, Standpoint, overlaps};
use crate::leases::{Changes, Departure, Entry, Leases};
use crate::public_addresses::PublicAddresses;
use crate::reject_reason::RejectReason;
use crate::store::Revision;
use crate::subnet::Subnet;
use crate::time::Instant;

/// The right answer, found without memory of an earlier one.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct RefPeers {
    accepted: BTreeMap<Subnet, Ipv4Addr>,
    rejected: BTreeMap<Arc<[u8]>, (Revision, RejectReason)>,
    stale: BTreeMap<Subnet, Instant>,
}

/// What is judged, and when.
#[derive(Clone, Copy)]
pub(super) struct Situation<'a> {
    pub(super) changes: &'a Changes,
    pub(super) leases: &'a Leases,
    pub(super) standpoint: &'a Standpoint,
    pub(super) grace: Duration,
    pub(super) now: Instant,
}

impl From<&Peers> for RefPeers {
    fn from(peers: &Peers) -> Self {
        Self {
            accepted: peers.iter().collect(),
            rejected: peers.rejected.clone(),
            stale: peers.stale().collect(),
        }
    }
}

impl RefPeers {
    /// Judges every lease but the node's own; of overlapping ones the oldest wins. Then adds the peers of before whose
    /// lease vanished unseen and that no lease stands against.
    pub(super) fn judge(&self, situation: &Situation<'_>) -> Self {
        let mut peers = Self::select(situation.leases, situation.standpoint);
        for (subnet, public_ip) in &self.accepted {
            let until = self.kept_until(subnet, situation);
            if let Some(until) = until.filter(|_| !is_contradicted(subnet, *public_ip, situation)) {
                peers.accepted.insert(*subnet, *public_ip);
                peers.stale.insert(*subnet, until);
            }
        }
        peers
    }

    fn kept_until(&self, subnet: &Subnet, situation: &Situation<'_>) -> Option<Instant> {
        let key = situation.leases.key_of(subnet);
        if situation.leases.get(&key).is_some() {
            return None;
        }
        let before = self.stale.get(subnet).copied();
        let until = match situation
            .changes
            .get(key.as_slice())
            .map(|changed| changed.departure)
        {
            None => before?,
            Some(Departure::Seen) => return None,
            Some(Departure::Unseen) => before.unwrap_or(situation.now + situation.grace),
        };
        (until > situation.now).then_some(until)
    }

    fn select(leases: &Leases, standpoint: &Standpoint) -> Self {
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
    pub(super) fn news_since(&self, before: &Self, situation: &Situation<'_>) -> PeerNews {
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
        let is_told = |subnet: &&Subnet| {
            let key = situation.leases.key_of(subnet);
            situation.changes.contains_key(key.as_slice())
        };
        PeerNews {
            stale: self.stale.keys().filter(is_told).copied().collect(),
            routes: gone.chain(here).collect(),
            added: added.map(|(subnet, ip)| (*subnet, *ip)).collect(),
            removed: removed.copied().collect(),
            rejected: rejected
                .map(|(key, (_, reason))| (key.clone(), *reason))
                .collect(),
        }
    }
}

/// Tells whether a lease claims part of the subnet, or is its node's, or this node stands where it cannot be a peer.
fn is_contradicted(subnet: &Subnet, public_ip: Ipv4Addr, situation: &Situation<'_>) -> bool {
    let Situation {
        leases, standpoint, ..
    } = situation;
    let Some(v4) = subnet.v4() else { return true };
    let claims = |entry: &Entry| {
        let other = entry.subnet.ok().and_then(|other| other.v4());
        let is_claim = other.is_some_and(|other| {
            other != standpoint.network && standpoint.network.contains(&other) && overlaps(other, v4)
        });
        let is_of_node = entry.subnet.is_ok() && entry.is_of(PublicAddresses::v4_alone(public_ip));
        entry.record.is_ok() && (is_claim || is_of_node)
    };
    overlaps(v4, standpoint.own_subnet) || leases.entries().any(claims)
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
    let record = entry.record.clone()?;
    if !["", "udp"].contains(&record.backend_type.to_ascii_lowercase().as_str()) {
        return Err(RejectReason::ForeignBackend);
    }
    let public_ip = record.public_ip;
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
