//! Which leases this node forwards to, and which it refuses.
//!
//! A peer whose lease vanished while nobody could see it go (the store lost its history, or could not be reached for so
//! long that the leases of living nodes ended) is *stale*: its node most likely lives and writes its key again. It stays
//! a peer for a bounded time, as long as no lease claims its subnet or names its node. The time is counted while the node
//! follows the store, for nobody writes a lease while the store is away.

mod judgement;
#[cfg(test)]
mod ref_peers;
mod stale;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use core::net::Ipv4Addr;
use core::time::Duration;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use self::judgement::Judgement;
use self::stale::StalePeers;
use crate::backend::Backend;
use crate::leases::{Changes, Departure, Entry, Leases};
use crate::reject_reason::RejectReason;
use crate::snapshot::keyed::{self, Keyed};
use crate::store::Revision;
use crate::subnet::Subnet;
use crate::text_bytes;
use crate::time::Instant;

/// The peers, and the records that are none: of overlapping leases the oldest is a peer.
///
/// For n leases a change of one takes O(log n) steps, and as many again for each lease that it overlaps.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Peers {
    /// How long a stale peer is kept.
    grace: Duration,
    /// By the first address; they do not overlap.
    #[serde(with = "keyed")]
    accepted: BTreeMap<Ipv4Addr, Peer>,
    #[serde(with = "text_bytes::map")]
    rejected: BTreeMap<Arc<[u8]>, (Revision, RejectReason)>,
    stale: StalePeers,
    /// Peers whose record was seen to say something else and that were not judged since: nobody else has their place.
    outdated: BTreeSet<Ipv4Addr>,
}

/// A lease that this node forwards to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Peer {
    pub(crate) subnet: Subnet,
    v4: Ipv4Net,
    pub(crate) public_ip: Ipv4Addr,
    age: Age,
}

/// The order in which leases win: the oldest first, of equally old ones the first in key order.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
struct Age {
    create_revision: Revision,
    #[serde(with = "text_bytes")]
    key: Arc<[u8]>,
}

impl Keyed for Peer {
    type Key = Ipv4Addr;

    fn key(&self) -> Ipv4Addr {
        self.v4.network()
    }
}

impl Age {
    fn of(entry: &Entry) -> Self {
        Self {
            create_revision: entry.create_revision,
            key: entry.key.clone(),
        }
    }
}

/// Where this node stands among the leases.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Standpoint {
    pub(crate) network: Ipv4Net,
    pub(crate) public_ip: Ipv4Addr,
    #[serde(with = "text_bytes")]
    pub(crate) own_key: Arc<[u8]>,
    pub(crate) own_subnet: Ipv4Net,
    pub(crate) backend: Backend,
}

/// What a judgement changed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct PeerNews {
    /// New peers, and peers whose node is another.
    pub(crate) added: BTreeMap<Subnet, Ipv4Addr>,
    pub(crate) removed: BTreeSet<Subnet>,
    /// Peers that are stale from now on.
    pub(crate) stale: BTreeSet<Subnet>,
    pub(crate) rejected: BTreeMap<Arc<[u8]>, RejectReason>,
    /// The same as the forwarding table sees it.
    pub(crate) routes: BTreeMap<Ipv4Net, Option<Ipv4Addr>>,
}

impl Peers {
    /// Makes a node without peers, which will keep stale ones for this long.
    pub(crate) fn new(grace: Duration) -> Self {
        Self {
            grace,
            accepted: BTreeMap::new(),
            rejected: BTreeMap::new(),
            stale: StalePeers::default(),
            outdated: BTreeSet::new(),
        }
    }

    /// Returns how many peers there are, how many of them are stale, and how many records are refused.
    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        (self.accepted.len(), self.stale.len(), self.rejected.len())
    }

    /// Judges the leases that changed, those whose fate hangs on them, and the stale peers whose time is over.
    pub(crate) fn judge(
        &mut self,
        changes: &Changes,
        leases: &Leases,
        standpoint: &Standpoint,
        now: Instant,
    ) -> PeerNews {
        let became_stale = self.note_departures(changes, leases, now);
        self.outdated.clear();
        let mut judgement = Judgement::new(self, leases, standpoint);
        for (key, changed) in changes {
            judgement.begin_with(key, *changed);
        }
        judgement.finish(&became_stale, now)
    }

    /// Judges every lease, because the node stands elsewhere.
    pub(crate) fn judge_all(
        &mut self,
        changes: &Changes,
        leases: &Leases,
        standpoint: &Standpoint,
        now: Instant,
    ) -> PeerNews {
        let became_stale = self.note_departures(changes, leases, now);
        self.outdated.clear();
        let mut judgement = Judgement::new(self, leases, standpoint);
        judgement.begin_with_all();
        judgement.finish(&became_stale, now)
    }

    /// Takes note of which peers are stale; returns those that became so. While a node carries no subnet, this is all
    /// that it has to know of its peers: it judges every lease when it has one again.
    pub(crate) fn note_departures(
        &mut self,
        changes: &Changes,
        leases: &Leases,
        now: Instant,
    ) -> BTreeSet<Ipv4Addr> {
        let mut became_stale = BTreeSet::new();
        for (key, changed) in changes {
            let Some(peer) = self.peer_of(key, changed.subnet) else {
                continue;
            };
            let address = peer.v4.network();
            let public_ip = peer.public_ip;
            let entry = leases.get(key);
            let has_grace = changed.departure == Departure::Unseen
                && !self.grace.is_zero()
                && !self.outdated.contains(&address);
            if entry.is_none() && has_grace {
                self.stale.insert(address, public_ip, now + self.grace);
                became_stale.insert(address);
                continue;
            }
            self.stale.remove(address);
            let names = |entry: &Entry| {
                entry
                    .record
                    .as_ref()
                    .is_ok_and(|record| record.public_ip == public_ip)
            };
            if entry.is_some_and(|entry| !names(entry)) {
                self.outdated.insert(address);
            }
        }
        became_stale
    }

    /// Returns when the time of the first stale peer is over.
    pub(crate) fn first_end(&self) -> Option<Instant> {
        self.stale.first_end()
    }

    /// Returns the stale peers in the order of their subnets, with the end of each one's time.
    pub(crate) fn stale(&self) -> impl Iterator<Item = (Subnet, Instant)> {
        self.stale
            .iter()
            .filter_map(|(address, until)| Some((self.accepted.get(&address)?.subnet, until)))
    }

    /// Returns the peers in the order of their subnets.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Subnet, Ipv4Addr)> {
        self.accepted.values().map(|peer| (peer.subnet, peer.public_ip))
    }

    /// Returns the IPv4 subnets with the nodes that hold them, in order.
    pub(crate) fn v4(&self) -> impl Iterator<Item = (Ipv4Net, Ipv4Addr)> {
        self.accepted.values().map(|peer| (peer.v4, peer.public_ip))
    }

    /// Returns the peer whose subnet contains an address.
    pub(crate) fn holder_of(&self, address: Ipv4Addr) -> Option<&Peer> {
        let (_, peer) = self.accepted.range(..=address).next_back()?;
        peer.v4.contains(&address).then_some(peer)
    }

    /// Returns the peer by a lease's key and the subnet that the key names.
    fn peer_of(&self, key: &[u8], subnet: Result<Subnet, RejectReason>) -> Option<&Peer> {
        let v4 = subnet.ok()?.v4()?;
        self.accepted
            .get(&v4.network())
            .filter(|peer| *peer.age.key == *key)
    }

    fn is_stale(&self, peer: &Peer) -> bool {
        self.stale.contains(peer.v4.network())
    }

    /// Returns the peers that share an address with a subnet.
    fn overlapping(&self, v4: Ipv4Net) -> impl Iterator<Item = &Peer> {
        self.accepted
            .range(..=v4.broadcast())
            .rev()
            .map(|(_, peer)| peer)
            .take_while(move |peer| overlaps(peer.v4, v4))
    }
}

fn overlaps(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other) || other.contains(&one)
}
