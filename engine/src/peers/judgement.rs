//! Judging the leases that changed, in the order of their age.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{Age, Peer, PeerNews, Peers, Standpoint, overlaps};
use crate::leases::{Changed, Entry, Leases};
use crate::public_addresses::PublicAddresses;
use crate::reject_reason::RejectReason;
use crate::subnet::Subnet;
use crate::time::Instant;

/// One change of the peers while it is made.
///
/// A lease hangs on older ones that it overlaps alone. So whenever a peer is none any more, the leases that it overlaps
/// are judged again; oldest first, so that each is judged once.
pub(super) struct Judgement<'a> {
    peers: &'a mut Peers,
    leases: &'a Leases,
    standpoint: &'a Standpoint,
    waiting: BTreeSet<Age>,
    /// Stale peers that a lease may stand against.
    doubtful: BTreeSet<Ipv4Addr>,
    /// Who was a peer before, for every subnet where that may have changed.
    before: BTreeMap<Ipv4Net, Option<Peer>>,
    rejected: BTreeMap<Arc<[u8]>, RejectReason>,
}

impl<'a> Judgement<'a> {
    pub(super) fn new(peers: &'a mut Peers, leases: &'a Leases, standpoint: &'a Standpoint) -> Self {
        Self {
            peers,
            leases,
            standpoint,
            waiting: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            before: BTreeMap::new(),
            rejected: BTreeMap::new(),
        }
    }

    /// Puts a key that changed up for judgement.
    pub(super) fn begin_with(&mut self, key: &Arc<[u8]>, changed: Changed) {
        let peer = self.peers.peer_of(key, changed.subnet).cloned();
        if let Some(peer) = peer.filter(|peer| !self.peers.is_stale(peer)) {
            self.withdraw(&peer);
        }
        match self.leases.get(key) {
            Some(entry) => {
                self.waiting.insert(Age::of(entry));
                self.doubt(entry);
            }
            None => {
                self.peers.rejected.remove(key);
            }
        }
    }

    /// Puts every key up for judgement.
    pub(super) fn begin_with_all(&mut self) {
        for (_, peer) in core::mem::take(&mut self.peers.accepted) {
            self.before.insert(peer.v4, Some(peer.clone()));
            if self.peers.is_stale(&peer) {
                self.doubtful.insert(peer.v4.network());
                self.peers.accepted.insert(peer.v4.network(), peer);
            }
        }
        self.peers
            .rejected
            .retain(|key, _| self.leases.get(key).is_some());
        self.waiting.extend(self.leases.entries().map(Age::of));
    }

    /// Judges what waits and says what changed; these peers are stale only now.
    pub(super) fn finish(mut self, became_stale: &BTreeSet<Ipv4Addr>, now: Instant) -> PeerNews {
        self.doubtful.extend(became_stale);
        self.settle_stale(now);
        while let Some(age) = self.waiting.pop_first() {
            if let Some(entry) = self.leases.get(&age.key) {
                self.judge(entry, age);
            }
        }
        self.news(became_stale)
    }

    /// Puts the stale peers that a lease stands against in doubt: those whose range it shares, and those of its node.
    fn doubt(&mut self, entry: &Entry) {
        let Ok(record) = &entry.record else { return };
        self.doubtful
            .extend(self.peers.stale.of_public_ip(record.public_ip));
        let Some(v4) = entry.subnet.ok().and_then(|subnet| subnet.v4()) else {
            return;
        };
        let overlapping = self.peers.overlapping(v4).map(|peer| peer.v4.network());
        self.doubtful.extend(overlapping);
    }

    /// Lets the stale peers go that a lease stands against, or whose time is over.
    fn settle_stale(&mut self, now: Instant) {
        let over = self.peers.stale.over(now);
        let doubtful = core::mem::take(&mut self.doubtful);
        let doubtful = doubtful
            .into_iter()
            .filter(|address| self.is_contradicted(*address));
        let gone: BTreeSet<_> = doubtful.chain(over).collect();
        for address in gone {
            if let Some(peer) = self.peers.accepted.get(&address).cloned() {
                self.withdraw(&peer);
            }
            self.peers.stale.remove(address);
        }
    }

    /// Tells whether a lease of this network claims part of a stale peer's subnet, or is its node's.
    fn is_contradicted(&self, address: Ipv4Addr) -> bool {
        let Some(peer) = self.peers.accepted.get(&address) else {
            return true;
        };
        if !self.peers.is_stale(peer) {
            return false;
        }
        let network = self.standpoint.network;
        let is_claimed = self
            .leases
            .overlapping(&Subnet::V4(peer.v4))
            .any(|(entry, subnet)| {
                let v4 = subnet.v4().filter(|v4| lies_in(*v4, network));
                v4.is_some() && entry.record.is_ok()
            });
        is_claimed
            || !lies_in(peer.v4, network)
            || overlaps(peer.v4, self.standpoint.own_subnet)
            || peer.public_ip == self.standpoint.public_ip
            || self
                .leases
                .of_node(PublicAddresses::v4_alone(peer.public_ip))
                .next()
                .is_some()
    }

    fn judge(&mut self, entry: &Entry, age: Age) {
        if entry.key == self.standpoint.own_key {
            self.peers.rejected.remove(&entry.key);
            return;
        }
        match self.candidate(entry) {
            Ok((subnet, v4, public_ip)) => {
                self.accept(Peer {
                    subnet,
                    v4,
                    public_ip,
                    age,
                });
            }
            Err(reason) => self.reject(entry, reason),
        }
    }

    fn candidate(&self, entry: &Entry) -> Result<(Subnet, Ipv4Net, Ipv4Addr), RejectReason> {
        let standpoint = self.standpoint;
        let subnet = entry.subnet?;
        let v4 = subnet.v4().ok_or(RejectReason::WrongFamily)?.trunc();
        if !lies_in(v4, standpoint.network) {
            return Err(RejectReason::OutsideNetwork);
        }
        if overlaps(v4, standpoint.own_subnet) {
            return Err(RejectReason::OverlapsOwn);
        }
        let record = entry.record.as_ref().map_err(|reason| *reason)?;
        if !standpoint.backend.understands(&record.backend_type) {
            return Err(RejectReason::ForeignBackend);
        }
        let public_ip = record.public_ip;
        if !is_reachable(public_ip) {
            return Err(RejectReason::BadPublicIp);
        }
        if public_ip == standpoint.public_ip {
            return Err(RejectReason::OwnPublicIp);
        }
        let is_older = |other: &Peer| {
            !self.peers.is_stale(other)
                && (other.age.create_revision, &other.age.key) < (entry.create_revision, &entry.key)
        };
        if self.peers.overlapping(v4).any(is_older) {
            return Err(RejectReason::OverlapsPeer);
        }
        Ok((subnet, v4, public_ip))
    }

    /// Makes a lease a peer; younger ones in its range are peers no more.
    fn accept(&mut self, peer: Peer) {
        self.peers.rejected.remove(&peer.age.key);
        let younger: Vec<_> = self
            .peers
            .overlapping(peer.v4)
            .filter(|other| other.age != peer.age)
            .cloned()
            .collect();
        for other in &younger {
            self.withdraw(other);
        }
        self.note_before(peer.v4);
        self.peers.stale.remove(peer.v4.network());
        self.peers.accepted.insert(peer.v4.network(), peer);
    }

    fn reject(&mut self, entry: &Entry, reason: RejectReason) {
        let judged = (entry.mod_revision, reason);
        if self.peers.rejected.insert(entry.key.clone(), judged) != Some(judged) {
            self.rejected.insert(entry.key.clone(), reason);
        }
    }

    /// Takes a peer out; what it kept from being one is judged again, and so is its lease if there is one.
    fn withdraw(&mut self, peer: &Peer) {
        self.note_before(peer.v4);
        self.peers.accepted.remove(&peer.v4.network());
        self.peers.stale.remove(peer.v4.network());
        let range = Subnet::V4(peer.v4);
        let ages = self.leases.overlapping(&range).map(|(entry, _)| Age::of(entry));
        self.waiting
            .extend(ages.filter(|age| age.create_revision >= peer.age.create_revision));
    }

    fn note_before(&mut self, v4: Ipv4Net) {
        let peer = self.peers.accepted.get(&v4.network());
        self.before
            .entry(v4)
            .or_insert_with(|| peer.filter(|peer| peer.v4 == v4).cloned());
    }

    fn news(self, became_stale: &BTreeSet<Ipv4Addr>) -> PeerNews {
        let stale = became_stale
            .iter()
            .filter(|address| self.peers.stale.contains(**address))
            .filter_map(|address| Some(self.peers.accepted.get(address)?.subnet));
        let mut news = PeerNews {
            stale: stale.collect(),
            rejected: self.rejected,
            ..PeerNews::default()
        };
        for (v4, before) in self.before {
            let now = self
                .peers
                .accepted
                .get(&v4.network())
                .filter(|peer| peer.v4 == v4);
            let place = |peer: &Peer| (peer.subnet, peer.public_ip);
            if now.map(place) == before.as_ref().map(place) {
                continue;
            }
            if let Some(before) = before {
                news.removed.insert(before.subnet);
            }
            if let Some(peer) = now {
                news.removed.remove(&peer.subnet);
                news.added.insert(peer.subnet, peer.public_ip);
            }
            news.routes.insert(v4, now.map(|peer| peer.public_ip));
        }
        news
    }
}

/// Tells whether a subnet is a part of the network, and not all of it.
fn lies_in(v4: Ipv4Net, network: Ipv4Net) -> bool {
    network.contains(&v4) && v4.prefix_len() > network.prefix_len()
}

const fn is_reachable(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.is_broadcast())
}
