//! The judgement as the rule says it: every lease, from nothing.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use ipnet::IpNet;

use super::standpoint::OwnRange;
use super::{PeerNews, Peers, Place, Refusal, Standpoint, overlaps};
use crate::backend::Backend;
use crate::kernel::{IpVersion, MacAddress};
use crate::leases::{Changes, Departure, Entry, Leases};
use crate::public_addresses::PublicAddresses;
use crate::reject_reason::RejectReason;
use crate::store::Revision;
use crate::subnet::Subnet;
use crate::time::Instant;

/// The right answer, found without memory of an earlier one.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct RefPeers {
    accepted: BTreeMap<IpNet, RefPeer>,
    rejected: BTreeMap<Arc<[u8]>, (Revision, Refusal)>,
    stale: BTreeMap<IpNet, Instant>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct RefPeer {
    subnet: Subnet,
    node: PublicAddresses,
    place: Place,
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
        let accepted = peers.accepted.values().map(|peer| {
            let reference = RefPeer {
                subnet: peer.subnet,
                node: peer.node,
                place: peer.place,
            };
            (peer.net, reference)
        });
        let stale = peers.stale.iter();
        Self {
            accepted: accepted.collect(),
            rejected: peers.rejected.clone(),
            stale: stale
                .map(|(address, until)| (peers.accepted[&address].net, until))
                .collect(),
        }
    }
}

impl RefPeers {
    /// Judges every lease but the node's own; of those that stand against each other the oldest wins. Then adds the peers
    /// of before whose lease vanished unseen and that no lease stands against.
    pub(super) fn judge(&self, situation: &Situation<'_>) -> Self {
        let mut peers = Self::select(situation.leases, situation.standpoint);
        for (net, peer) in &self.accepted {
            let until = self.kept_until(*net, peer, situation);
            if let Some(until) = until.filter(|_| !is_contradicted(*net, peer, situation)) {
                peers.accepted.insert(*net, *peer);
                peers.stale.insert(*net, until);
            }
        }
        peers
    }

    fn kept_until(&self, net: IpNet, peer: &RefPeer, situation: &Situation<'_>) -> Option<Instant> {
        let key = situation.leases.key_of(&peer.subnet);
        if situation.leases.get(&key).is_some() {
            return None;
        }
        let before = self.stale.get(&net).copied();
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
        for entry in oldest_first {
            if let Some(refusal) = peers.take(entry, standpoint) {
                let judged = (entry.mod_revision, refusal);
                peers.rejected.insert(entry.key.clone(), judged);
            }
        }
        peers
    }

    /// Takes the ranges of a lease that none of the peers stands against, and tells which it does not take.
    fn take(&mut self, entry: &Entry, standpoint: &Standpoint) -> Option<Refusal> {
        let subnet = match entry.subnet {
            Ok(subnet) => subnet,
            Err(reason) => return Some(Refusal::Whole(reason)),
        };
        let mut verdicts = Vec::new();
        for net in subnet.ranges() {
            let version = IpVersion::of(net.addr());
            let Some(own) = standpoint.ranges.get(&version) else {
                continue;
            };
            let verdict = judge(entry, net, own, standpoint).and_then(|peer| self.contest(net, peer));
            if let Ok(peer) = verdict {
                self.accepted.insert(net, peer);
            }
            verdicts.push((version, verdict.err()));
        }
        match verdicts[..] {
            [] => Some(Refusal::Whole(RejectReason::WrongFamily)),
            [(_, verdict)] => verdict.map(Refusal::Whole),
            [(_, None), (_, None)] => None,
            [(_, None), (version, Some(reason))] | [(version, Some(reason)), (_, None)] => {
                Some(Refusal::Part(version, reason))
            }
            [(_, Some(v4)), (_, Some(v6))] if v4 == v6 => Some(Refusal::Whole(v4)),
            [(_, Some(v4)), (_, Some(v6))] => Some(Refusal::Both { v4, v6 }),
            [_, _, _, ..] => unreachable!("there are two versions"),
        }
    }

    fn contest(&self, net: IpNet, peer: RefPeer) -> Result<RefPeer, RejectReason> {
        if self.accepted.values().any(|other| are_rivals(&peer, other)) {
            return Err(RejectReason::DuplicateMac);
        }
        if self.accepted.keys().any(|other| overlaps(net, *other)) {
            return Err(RejectReason::OverlapsPeer);
        }
        Ok(peer)
    }

    /// Says what is other than it was.
    pub(super) fn news_since(&self, before: &Self, situation: &Situation<'_>) -> PeerNews {
        let rejected = self
            .rejected
            .iter()
            .filter(|(key, judged)| before.rejected.get(*key) != Some(judged));
        let is_told = |subnet: &Subnet| {
            let key = situation.leases.key_of(subnet);
            situation.changes.contains_key(key.as_slice())
        };
        let stale = self.stale.keys().map(|net| self.accepted[net].subnet);
        let nets: BTreeSet<_> = before.accepted.keys().chain(self.accepted.keys()).collect();
        let place = |peers: &Self, net| peers.accepted.get(net).map(|peer| peer.place);
        let routes = nets
            .into_iter()
            .filter(|net| place(before, *net) != place(self, *net));
        let (old, new) = (before.by_subnet(), self.by_subnet());
        let added = new
            .iter()
            .filter(|(subnet, ranges)| old.get(*subnet) != Some(ranges));
        PeerNews {
            stale: stale.filter(is_told).collect(),
            routes: routes.map(|net| (*net, place(self, net))).collect(),
            added: added
                .map(|(subnet, ranges)| (*subnet, ranges[0].1.public_ip))
                .collect(),
            removed: old
                .keys()
                .filter(|subnet| !new.contains_key(*subnet))
                .copied()
                .collect(),
            rejected: rejected
                .map(|(key, (_, refusal))| (key.clone(), *refusal))
                .collect(),
        }
    }

    fn by_subnet(&self) -> BTreeMap<Subnet, Vec<(IpNet, Place)>> {
        let mut by_subnet = BTreeMap::<_, Vec<_>>::new();
        for (net, peer) in &self.accepted {
            by_subnet.entry(peer.subnet).or_default().push((*net, peer.place));
        }
        by_subnet
    }
}

/// Tells whether a lease claims part of the range or its hardware address, or is its node's, or this node stands where
/// it cannot be a peer.
fn is_contradicted(net: IpNet, peer: &RefPeer, situation: &Situation<'_>) -> bool {
    let Situation {
        leases, standpoint, ..
    } = situation;
    let Some(own) = standpoint.ranges.get(&IpVersion::of(net.addr())) else {
        return true;
    };
    let claims_range = |entry: &Entry| {
        let range = entry
            .subnet
            .ok()
            .and_then(|other| other.of_version(IpVersion::of(net.addr())));
        range.is_some_and(|range| lies_in(range, own.network) && overlaps(range, net))
    };
    let claims_mac = |entry: &Entry| {
        let ranges = entry.subnet.into_iter().flat_map(Subnet::ranges);
        let same_version = ranges.filter(|range| IpVersion::of(range.addr()) == IpVersion::of(net.addr()));
        let mut candidates = same_version.filter_map(|range| judge(entry, range, own, standpoint).ok());
        entry.key != standpoint.own_key && candidates.any(|other| are_rivals(peer, &other))
    };
    let is_of_node = |entry: &Entry| entry.subnet.is_ok() && entry.is_of(peer.node);
    let stands_against = |entry: &Entry| {
        entry.record.is_ok() && (claims_range(entry) || claims_mac(entry) || is_of_node(entry))
    };
    overlaps(net, own.subnet)
        || !lies_in(net, own.network)
        || peer.place.public_ip == own.public_ip
        || (own.vtep.is_some() && peer.place.vtep == own.vtep)
        || leases.entries().any(stands_against)
}

fn judge(
    entry: &Entry,
    net: IpNet,
    own: &OwnRange,
    standpoint: &Standpoint,
) -> Result<RefPeer, RejectReason> {
    if !lies_in(net, own.network) {
        return Err(RejectReason::OutsideNetwork);
    }
    if overlaps(net, own.subnet) {
        return Err(RejectReason::OverlapsOwn);
    }
    let record = entry.record.clone()?;
    let may_be_silent = ["alloc", "udp"].contains(&standpoint.backend.kind());
    let is_of_backend = record
        .backend_type
        .eq_ignore_ascii_case(standpoint.backend.kind());
    let is_silent = record.backend_type.is_empty();
    if !(is_of_backend || (may_be_silent && is_silent)) {
        return Err(RejectReason::ForeignBackend);
    }
    let (public_ip, data) = match net {
        IpNet::V4(_) => (Some(IpAddr::V4(record.public_ip)), &record.backend_data),
        IpNet::V6(_) => (record.public_ipv6.map(IpAddr::V6), &record.backend_v6_data),
    };
    let public_ip = public_ip.ok_or(RejectReason::BadPublicIp)?;
    let is_bad = public_ip.is_unspecified() || public_ip.is_loopback() || public_ip.is_multicast();
    if is_bad || public_ip == IpAddr::from([255; 4]) {
        return Err(RejectReason::BadPublicIp);
    }
    if public_ip == own.public_ip {
        return Err(RejectReason::OwnPublicIp);
    }
    let vtep = match standpoint.backend {
        Backend::Alloc | Backend::HostGw | Backend::Udp(_) => None,
        Backend::Vxlan(_) => Some(mac(data.as_deref()).ok_or(RejectReason::BadBackendData)?),
    };
    if vtep.is_some() && vtep == own.vtep {
        return Err(RejectReason::OwnMac);
    }
    Ok(RefPeer {
        subnet: entry.subnet?,
        node: PublicAddresses::of(&record),
        place: Place { public_ip, vtep },
    })
}

fn mac(data: Option<&str>) -> Option<MacAddress> {
    let data: serde_json::Value = serde_json::from_str(data?).ok()?;
    let mac: MacAddress = data["VtepMAC"].as_str()?.parse().ok()?;
    (mac.0[0] & 1 == 0 && mac.0 != [0; 6]).then_some(mac)
}

/// Tells whether two ranges of one IP version cannot both be reached: one hardware address at two nodes.
fn are_rivals(one: &RefPeer, other: &RefPeer) -> bool {
    one.place.vtep.is_some()
        && one.place.vtep == other.place.vtep
        && one.place.public_ip != other.place.public_ip
        && one.place.public_ip.is_ipv4() == other.place.public_ip.is_ipv4()
}

fn lies_in(net: IpNet, network: IpNet) -> bool {
    net != network && network.contains(&net)
}
