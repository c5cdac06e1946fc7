//! Judging the leases that changed, in the order of their age.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;

use super::refusal::Verdict;
use super::standpoint::Candidates;
use super::{Age, Peer, PeerNews, Peers, Refusal, Standpoint};
use crate::kernel::IpVersion;
use crate::leases::{Changed, Entry, Leases};
use crate::public_addresses::PublicAddresses;
use crate::reject_reason::RejectReason;
use crate::snapshot::keyed::Keyed as _;
use crate::subnet::Subnet;
use crate::time::Instant;

/// One change of the peers while it is made.
///
/// A lease hangs on older ones alone: those that it overlaps, and those that claim its hardware address. So whenever a
/// peer is none any more, the leases that hang on it are judged again; oldest first, so that each is judged once.
pub(super) struct Judgement<'a> {
    peers: &'a mut Peers,
    leases: &'a Leases,
    standpoint: &'a Standpoint,
    waiting: BTreeSet<Age>,
    /// Stale peers that a lease may stand against.
    doubtful: BTreeSet<IpAddr>,
    /// Who was a peer before, for every range where that may have changed.
    before: BTreeMap<IpNet, Option<Peer>>,
    rejected: BTreeMap<Arc<[u8]>, Refusal>,
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
        let peers = self.peers.peers_of(key, changed.subnet);
        let peers = peers.filter(|peer| !self.peers.is_stale(peer));
        for peer in peers.cloned().collect::<Vec<_>>() {
            self.withdraw(&peer);
        }
        self.peers.claims.remove(key);
        let Some(entry) = self.leases.get(key) else {
            self.peers.rejected.remove(key);
            return;
        };
        self.waiting.insert(Age::of(entry));
        self.doubt(entry);
        self.claim(entry);
    }

    /// Puts every key up for judgement.
    pub(super) fn begin_with_all(&mut self) {
        for (address, peer) in core::mem::take(&mut self.peers.accepted) {
            self.before.insert(peer.net, Some(peer.clone()));
            if self.peers.is_stale(&peer) {
                self.doubtful.insert(address);
                self.peers.accepted.insert(address, peer);
            }
        }
        self.peers
            .rejected
            .retain(|key, _| self.leases.get(key).is_some());
        self.peers.claims.clear();
        for entry in self.leases.entries() {
            self.waiting.insert(Age::of(entry));
            self.claim(entry);
        }
    }

    /// Judges what waits and says what changed; these peers are stale only now.
    pub(super) fn finish(mut self, became_stale: &BTreeSet<IpAddr>, now: Instant) -> PeerNews {
        self.doubtful.extend(became_stale);
        self.settle_stale(now);
        while let Some(age) = self.waiting.pop_first() {
            if let Some(entry) = self.leases.get(&age.key) {
                self.judge(entry);
            }
        }
        self.news(became_stale)
    }

    /// Takes note of the hardware addresses that a lease claims, and puts the stale peers that have them in doubt.
    fn claim(&mut self, entry: &Entry) {
        let Ok(candidates) = self.candidates(entry) else {
            return;
        };
        for peer in candidates.values().flatten() {
            if let Some(vtep) = peer.place.vtep {
                self.doubtful.extend(self.peers.stale.of_vtep(vtep));
            }
            self.peers.claims.insert(peer);
        }
    }

    /// Puts the stale peers that a lease stands against in doubt: those whose range it shares, and those of its node.
    fn doubt(&mut self, entry: &Entry) {
        let Ok(record) = &entry.record else { return };
        for public_ip in PublicAddresses::of(record).iter() {
            self.doubtful.extend(self.peers.stale.of_public_ip(public_ip));
        }
        let ranges = entry.subnet.into_iter().flat_map(Subnet::ranges);
        for net in ranges {
            let overlapping = self.peers.overlapping(net).map(Peer::key);
            self.doubtful.extend(overlapping);
        }
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

    /// Tells whether a lease of this network claims part of a stale peer's range or its hardware address, or is its
    /// node's, or this node stands where it cannot be a peer.
    fn is_contradicted(&self, address: IpAddr) -> bool {
        let Some(peer) = self.peers.accepted.get(&address) else {
            return true;
        };
        if !self.peers.is_stale(peer) {
            return false;
        }
        let Some(own) = self.standpoint.ranges.get(&peer.version()) else {
            return true;
        };
        let is_claimed = self
            .leases
            .overlapping(&Subnet::from(peer.net))
            .any(|(entry, subnet)| {
                let net = subnet.of_version(peer.version());
                net.is_some_and(|net| own.gives_out(net)) && entry.record.is_ok()
            });
        is_claimed
            || own.excludes(peer)
            || self.peers.claims.rivals(peer).next().is_some()
            || self.leases.of_node(peer.node).next().is_some()
    }

    fn judge(&mut self, entry: &Entry) {
        let refusal = match self.candidates(entry) {
            Ok(candidates) => {
                let mut verdicts: BTreeMap<_, _> = candidates
                    .into_iter()
                    .map(|(version, candidate)| (version, self.settle(candidate)))
                    .collect();
                let v4: Verdict = verdicts.remove(&IpVersion::V4);
                Refusal::of(v4, verdicts.remove(&IpVersion::V6))
            }
            Err(reason) => Some(Refusal::Whole(reason)),
        };
        match refusal {
            Some(refusal) => self.refuse(entry, refusal),
            None => {
                self.peers.rejected.remove(&entry.key);
            }
        }
    }

    /// Judges each range of a lease by itself; of this node's own none is a candidate.
    fn candidates(&self, entry: &Entry) -> Result<Candidates, RejectReason> {
        if entry.key == self.standpoint.own_key {
            return Ok(Candidates::new());
        }
        self.standpoint.candidates(entry)
    }

    /// Makes a candidate a peer unless an older one stands against it; younger ones are peers no more.
    fn settle(&mut self, candidate: Result<Peer, RejectReason>) -> Result<(), RejectReason> {
        let candidate = candidate?;
        let is_older = |other: &Peer| !self.peers.is_stale(other) && other.age < candidate.age;
        if self.peers.rivals(&candidate).any(is_older) {
            return Err(RejectReason::DuplicateMac);
        }
        if self.peers.overlapping(candidate.net).any(is_older) {
            return Err(RejectReason::OverlapsPeer);
        }
        self.accept(candidate);
        Ok(())
    }

    /// Makes a lease a peer. Younger leases that claim its hardware address are judged again even if they were refused
    /// before, for that reason goes before others.
    fn accept(&mut self, peer: Peer) {
        let overlapping = self.peers.overlapping(peer.net);
        let younger: Vec<_> = overlapping
            .chain(self.peers.rivals(&peer))
            .filter(|other| other.age != peer.age)
            .cloned()
            .collect();
        for other in &younger {
            self.withdraw(other);
        }
        let rivals = self.peers.claims.rivals(&peer).map(|claim| &claim.age);
        self.waiting
            .extend(rivals.filter(|age| **age > peer.age).cloned());
        self.note_before(peer.net);
        self.peers.stale.remove(peer.key());
        self.peers.accepted.insert(peer.key(), peer);
    }

    fn refuse(&mut self, entry: &Entry, refusal: Refusal) {
        let judged = (entry.mod_revision, refusal);
        if self.peers.rejected.insert(entry.key.clone(), judged) != Some(judged) {
            self.rejected.insert(entry.key.clone(), refusal);
        }
    }

    /// Takes a peer out; what it kept from being one is judged again, and so is its lease if there is one.
    fn withdraw(&mut self, peer: &Peer) {
        self.note_before(peer.net);
        self.peers.accepted.remove(&peer.key());
        self.peers.stale.remove(peer.key());
        let range = Subnet::from(peer.net);
        let overlapping = self.leases.overlapping(&range).map(|(entry, _)| Age::of(entry));
        let rivals = self.peers.claims.rivals(peer).map(|claim| claim.age.clone());
        self.waiting.extend(
            overlapping
                .chain(rivals)
                .filter(|age| age.create_revision >= peer.age.create_revision),
        );
    }

    fn note_before(&mut self, net: IpNet) {
        let peer = self.peers.at(net);
        self.before.entry(net).or_insert_with(|| peer.cloned());
    }

    fn news(self, became_stale: &BTreeSet<IpAddr>) -> PeerNews {
        let stale = became_stale
            .iter()
            .filter(|address| self.peers.stale.contains(**address))
            .filter_map(|address| Some(self.peers.accepted.get(address)?.subnet));
        let mut news = PeerNews {
            stale: stale.collect(),
            rejected: self.rejected,
            ..PeerNews::default()
        };
        let mut changed = BTreeSet::new();
        for (net, before) in self.before {
            let now = self.peers.at(net);
            let place = now.map(|peer| peer.place);
            if place != before.as_ref().map(|peer| peer.place) {
                news.routes.insert(net, place);
            } else if now.map(|peer| peer.subnet) == before.as_ref().map(|peer| peer.subnet) {
                continue;
            }
            changed.extend(before.map(|peer| peer.subnet));
            changed.extend(now.map(|peer| peer.subnet));
        }
        for subnet in changed {
            match self.peers.first_of(&subnet) {
                Some(peer) => {
                    news.added.insert(subnet, peer.place.public_ip);
                }
                None => {
                    news.removed.insert(subnet);
                }
            }
        }
        news
    }
}
