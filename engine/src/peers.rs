//! Which leases this node forwards to, and which it refuses.
//!
//! A lease is a peer for each IP version that it has a range of; each is judged on its own. So a lease of both versions
//! can be used for one and refused for the other.
//!
//! A peer whose lease vanished while nobody could see it go (the store lost its history, or could not be reached for so
//! long that the leases of living nodes ended) is *stale*: its node most likely lives and writes its key again. It stays
//! a peer for a bounded time, as long as no lease claims its subnet or its hardware address, or names its node. The time
//! is counted while the node follows the store, for nobody writes a lease while the store is away.

mod judgement;
mod mac_claims;
#[cfg(test)]
mod ref_peers;
mod refusal;
mod stale;
mod standpoint;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use self::judgement::Judgement;
use self::mac_claims::MacClaims;
pub(crate) use self::refusal::Refusal;
use self::stale::StalePeers;
pub(crate) use self::standpoint::Standpoint;
use crate::backend::Backend;
use crate::kernel::{IpVersion, MacAddress};
use crate::leases::{Changes, Departure, Entry, Leases};
use crate::public_addresses::PublicAddresses;
use crate::reject_reason::RejectReason;
use crate::snapshot::keyed::{self, Keyed};
use crate::store::Revision;
use crate::subnet::Subnet;
use crate::text_bytes;
use crate::time::Instant;

/// The peers, and the records that are none: of leases that overlap, or whose nodes claim one hardware address, the
/// oldest is a peer.
///
/// For n leases a change of one takes O(log n) steps, and as many again for each lease that it overlaps or shares its
/// hardware address with.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Peers {
    /// How long a stale peer is kept.
    grace: Duration,
    /// By the first address; they do not overlap.
    #[serde(with = "keyed")]
    accepted: BTreeMap<IpAddr, Peer>,
    #[serde(with = "text_bytes::map")]
    rejected: BTreeMap<Arc<[u8]>, (Revision, Refusal)>,
    claims: MacClaims,
    stale: StalePeers,
    /// Peers whose record was seen to say something else and that were not judged since: nobody else has their place.
    outdated: BTreeSet<IpAddr>,
}

/// A range that this node forwards to: a lease's of one IP version.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Peer {
    /// What the lease's key says.
    pub(crate) subnet: Subnet,
    /// Its part of the IP version.
    net: IpNet,
    pub(crate) place: Place,
    /// All addresses of the node.
    node: PublicAddresses,
    age: Age,
}

/// Where a peer is reached; the data path needs no more.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct Place {
    /// The node's address in the underlay, of the same IP version as the range.
    pub(crate) public_ip: IpAddr,
    /// The hardware address of the node's device for the IP version, if the backend has such a device.
    pub(crate) vtep: Option<MacAddress>,
}

/// The order in which leases win: the oldest first, of equally old ones the first in key order.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
struct Age {
    create_revision: Revision,
    #[serde(with = "text_bytes")]
    key: Arc<[u8]>,
}

impl Keyed for Peer {
    type Key = IpAddr;

    fn key(&self) -> IpAddr {
        self.net.network()
    }
}

impl Peer {
    fn version(&self) -> IpVersion {
        IpVersion::of(self.net.addr())
    }

    /// Tells whether a lease still says of the peer what it said when it was judged.
    fn is_named_by(&self, entry: &Entry, backend: &Backend) -> bool {
        let version = self.version();
        entry.record.as_ref().is_ok_and(|record| {
            PublicAddresses::of(record).of_version(version) == Some(self.place.public_ip)
                && backend.peer_data(record, version) == Ok(self.place.vtep)
        })
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

/// What a judgement changed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct PeerNews {
    /// New peers, and peers that changed, with the first of the addresses that they are reached by.
    pub(crate) added: BTreeMap<Subnet, IpAddr>,
    pub(crate) removed: BTreeSet<Subnet>,
    /// Peers that are stale from now on.
    pub(crate) stale: BTreeSet<Subnet>,
    pub(crate) rejected: BTreeMap<Arc<[u8]>, Refusal>,
    /// The same as the data path sees it.
    pub(crate) routes: BTreeMap<IpNet, Option<Place>>,
}

impl PeerNews {
    /// Returns the changes of IPv4 ranges.
    pub(crate) fn v4_routes(&self) -> impl Iterator<Item = (Ipv4Net, Option<Ipv4Addr>)> {
        self.routes.iter().filter_map(|(net, place)| match (net, place) {
            (IpNet::V4(net), Some(place)) => Some((*net, Some(place.v4()?))),
            (IpNet::V4(net), None) => Some((*net, None)),
            (IpNet::V6(_), _) => None,
        })
    }
}

impl Place {
    fn v4(&self) -> Option<Ipv4Addr> {
        match self.public_ip {
            IpAddr::V4(public_ip) => Some(public_ip),
            IpAddr::V6(_) => None,
        }
    }
}

impl Peers {
    /// Makes a node without peers, which will keep stale ones for this long.
    pub(crate) fn new(grace: Duration) -> Self {
        Self {
            grace,
            accepted: BTreeMap::new(),
            rejected: BTreeMap::new(),
            claims: MacClaims::default(),
            stale: StalePeers::default(),
            outdated: BTreeSet::new(),
        }
    }

    /// Returns how many peers there are, how many of them are stale, and how many records are refused; a lease of both IP
    /// versions is up to two peers.
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
        let became_stale = self.note_gone(changes, leases, &standpoint.backend, now);
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
        let became_stale = self.note_gone(changes, leases, &standpoint.backend, now);
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
        backend: &Backend,
        now: Instant,
    ) -> BTreeSet<Subnet> {
        let became_stale = self.note_gone(changes, leases, backend, now);
        became_stale
            .iter()
            .filter_map(|address| Some(self.accepted.get(address)?.subnet))
            .collect()
    }

    /// Returns when the time of the first stale peer is over.
    pub(crate) fn first_end(&self) -> Option<Instant> {
        self.stale.first_end()
    }

    /// Returns the subnets of the stale peers with the end of each one's time; one of both IP versions may come twice.
    pub(crate) fn stale(&self) -> impl Iterator<Item = (Subnet, Instant)> {
        self.stale
            .iter()
            .filter_map(|(address, until)| Some((self.accepted.get(&address)?.subnet, until)))
    }

    /// Returns the subnets of the peers, each once, with the first of the addresses that they are reached by.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Subnet, IpAddr)> {
        let is_first = |peer: &&Peer| self.first_of(&peer.subnet).map(|first| first.net) == Some(peer.net);
        let firsts = self.accepted.values().filter(is_first);
        firsts.map(|peer| (peer.subnet, peer.place.public_ip))
    }

    /// Returns the IPv4 ranges with the nodes that hold them, in order.
    pub(crate) fn v4(&self) -> impl Iterator<Item = (Ipv4Net, Ipv4Addr)> {
        self.places().filter_map(|(net, place)| match net {
            IpNet::V4(net) => Some((net, place.v4()?)),
            IpNet::V6(_) => None,
        })
    }

    /// Returns all ranges with where they are reached, in order.
    pub(crate) fn places(&self) -> impl Iterator<Item = (IpNet, Place)> {
        self.accepted.values().map(|peer| (peer.net, peer.place))
    }

    /// Returns the peer whose range contains an address.
    pub(crate) fn holder_of(&self, address: IpAddr) -> Option<&Peer> {
        let (_, peer) = self.accepted.range(..=address).next_back()?;
        peer.net.contains(&address).then_some(peer)
    }

    /// Takes note of which peers are stale; returns the first addresses of those that became so.
    fn note_gone(
        &mut self,
        changes: &Changes,
        leases: &Leases,
        backend: &Backend,
        now: Instant,
    ) -> BTreeSet<IpAddr> {
        let mut became_stale = BTreeSet::new();
        for (key, changed) in changes {
            let entry = leases.get(key);
            let peers: Vec<_> = self.peers_of(key, changed.subnet).cloned().collect();
            for peer in peers {
                let address = peer.key();
                let has_grace = changed.departure == Departure::Unseen
                    && !self.grace.is_zero()
                    && !self.outdated.contains(&address);
                if entry.is_none() && has_grace {
                    self.stale.insert(&peer, now + self.grace);
                    became_stale.insert(address);
                    continue;
                }
                self.stale.remove(address);
                if entry.is_some_and(|entry| !peer.is_named_by(entry, backend)) {
                    self.outdated.insert(address);
                }
            }
        }
        became_stale
    }

    /// Returns the peers by a lease's key and the subnet that the key names.
    fn peers_of(&self, key: &[u8], subnet: Result<Subnet, RejectReason>) -> impl Iterator<Item = &Peer> {
        let ranges = subnet.into_iter().flat_map(Subnet::ranges);
        ranges
            .filter_map(|net| self.accepted.get(&net.network()))
            .filter(move |peer| *peer.age.key == *key)
    }

    /// Returns the first of a lease's ranges that is a peer.
    fn first_of(&self, subnet: &Subnet) -> Option<&Peer> {
        subnet
            .ranges()
            .filter_map(|net| self.accepted.get(&net.network()))
            .find(|peer| peer.subnet == *subnet)
    }

    /// Returns the peer with exactly this range.
    fn at(&self, net: IpNet) -> Option<&Peer> {
        self.accepted.get(&net.network()).filter(|peer| peer.net == net)
    }

    fn is_stale(&self, peer: &Peer) -> bool {
        self.stale.contains(peer.key())
    }

    /// Returns the peers that share an address with a range.
    fn overlapping(&self, net: IpNet) -> impl Iterator<Item = &Peer> {
        self.accepted
            .range(..=net.broadcast())
            .rev()
            .map(|(_, peer)| peer)
            .take_while(move |peer| overlaps(peer.net, net))
    }

    /// Returns the peers at other nodes that claim a peer's hardware address.
    fn rivals(&self, peer: &Peer) -> impl Iterator<Item = &Peer> {
        self.claims.rivals(peer).filter_map(|claim| {
            let rival = self.accepted.get(&claim.address)?;
            (rival.age == claim.age).then_some(rival)
        })
    }
}

fn overlaps(one: IpNet, other: IpNet) -> bool {
    one.contains(&other) || other.contains(&one)
}
