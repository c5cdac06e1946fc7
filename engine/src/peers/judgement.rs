//! Judging the leases that changed, in the order of their age.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{Age, Peer, PeerNews, Peers, Standpoint, overlaps};
use crate::leases::{Changed, Entry, Leases};
use crate::reject_reason::RejectReason;
use crate::subnet::Subnet;

/// One change of the peers while it is made.
///
/// A lease hangs on older ones that it overlaps alone. So whenever a peer is none any more, the leases that it overlaps
/// are judged again; oldest first, so that each is judged once.
pub(super) struct Judgement<'a> {
    peers: &'a mut Peers,
    leases: &'a Leases,
    standpoint: &'a Standpoint,
    waiting: BTreeSet<Age>,
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
            before: BTreeMap::new(),
            rejected: BTreeMap::new(),
        }
    }

    /// Puts a key that changed up for judgement.
    pub(super) fn begin_with(&mut self, key: &Arc<[u8]>, changed: Changed) {
        if let Some(peer) = self.peer_of(key, changed.subnet) {
            self.withdraw(&peer);
        }
        match self.leases.get(key) {
            Some(entry) => {
                self.waiting.insert(Age::of(entry));
            }
            None => {
                self.peers.rejected.remove(key);
            }
        }
    }

    /// Puts every key up for judgement.
    pub(super) fn begin_with_all(&mut self) {
        for (_, peer) in core::mem::take(&mut self.peers.accepted) {
            self.before.insert(peer.v4, Some(peer));
        }
        self.peers
            .rejected
            .retain(|key, _| self.leases.get(key).is_some());
        self.waiting.extend(self.leases.entries().map(Age::of));
    }

    /// Judges what waits and says what changed.
    pub(super) fn finish(mut self) -> PeerNews {
        while let Some(age) = self.waiting.pop_first() {
            if let Some(entry) = self.leases.get(&age.key) {
                self.judge(entry, age);
            }
        }
        self.news()
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
        let is_older =
            |other: &Peer| (other.age.create_revision, &other.age.key) < (entry.create_revision, &entry.key);
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

    fn peer_of(&self, key: &[u8], subnet: Result<Subnet, RejectReason>) -> Option<Peer> {
        let v4 = subnet.ok()?.v4()?;
        let peer = self.peers.accepted.get(&v4.network())?;
        (*peer.age.key == *key).then(|| peer.clone())
    }

    fn news(self) -> PeerNews {
        let mut news = PeerNews {
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

const fn is_reachable(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.is_broadcast())
}
