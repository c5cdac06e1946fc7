//! Peers whose lease vanished while nobody could see it go.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::Peer;
use crate::kernel::MacAddress;
use crate::public_addresses::PublicAddresses;
use crate::snapshot::keyed::Keyed as _;
use crate::time::Instant;

/// The first of all addresses.
const FIRST: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// The last of all addresses.
const LAST: IpAddr = IpAddr::V6(Ipv6Addr::from_bits(u128::MAX));

/// Which peers are stale, and until when each is kept; a peer is named by its first address.
///
/// For n stale peers a change or a search takes O(log n) steps, and one for each peer found.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(from = "BTreeMap<IpAddr, Stale>", into = "BTreeMap<IpAddr, Stale>")]
pub(super) struct StalePeers {
    peers: BTreeMap<IpAddr, Stale>,
    of_hosts: BTreeSet<(IpAddr, IpAddr)>,
    of_vteps: BTreeSet<(MacAddress, IpAddr)>,
    ends: BTreeSet<(Instant, IpAddr)>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Stale {
    node: PublicAddresses,
    vtep: Option<MacAddress>,
    until: Instant,
}

impl From<BTreeMap<IpAddr, Stale>> for StalePeers {
    fn from(peers: BTreeMap<IpAddr, Stale>) -> Self {
        let mut stale = Self::default();
        for (address, peer) in peers {
            stale.add(address, peer);
        }
        stale
    }
}

impl From<StalePeers> for BTreeMap<IpAddr, Stale> {
    fn from(stale: StalePeers) -> Self {
        stale.peers
    }
}

impl StalePeers {
    /// Makes a peer stale; one that is so already is kept no longer than before.
    pub(super) fn insert(&mut self, peer: &Peer, until: Instant) {
        if self.contains(peer.key()) {
            return;
        }
        let stale = Stale {
            node: peer.node,
            vtep: peer.place.vtep,
            until,
        };
        self.add(peer.key(), stale);
    }

    pub(super) fn remove(&mut self, address: IpAddr) {
        let Some(Stale { node, vtep, until }) = self.peers.remove(&address) else {
            return;
        };
        for public_ip in node.iter() {
            self.of_hosts.remove(&(public_ip, address));
        }
        if let Some(vtep) = vtep {
            self.of_vteps.remove(&(vtep, address));
        }
        self.ends.remove(&(until, address));
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.peers.contains_key(&address)
    }

    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    /// Returns the stale peers in the order of their addresses, with the end of each one's time.
    pub(super) fn iter(&self) -> impl Iterator<Item = (IpAddr, Instant)> {
        self.peers.iter().map(|(address, stale)| (*address, stale.until))
    }

    /// Returns the stale peers of a node with this address.
    pub(super) fn of_public_ip(&self, public_ip: IpAddr) -> impl Iterator<Item = IpAddr> {
        let hosts = self.of_hosts.range((public_ip, FIRST)..=(public_ip, LAST));
        hosts.map(|(_, address)| *address)
    }

    /// Returns the stale peers with this hardware address, of either IP version.
    pub(super) fn of_vtep(&self, vtep: MacAddress) -> impl Iterator<Item = IpAddr> {
        let vteps = self.of_vteps.range((vtep, FIRST)..=(vtep, LAST));
        vteps.map(|(_, address)| *address)
    }

    /// Returns the stale peers whose time is over.
    pub(super) fn over(&self, now: Instant) -> Vec<IpAddr> {
        let ends = self.ends.range(..=(now, LAST));
        ends.map(|(_, address)| *address).collect()
    }

    /// Returns when the time of the first one is over.
    pub(super) fn first_end(&self) -> Option<Instant> {
        self.ends.first().map(|(until, _)| *until)
    }

    fn add(&mut self, address: IpAddr, stale: Stale) {
        for public_ip in stale.node.iter() {
            self.of_hosts.insert((public_ip, address));
        }
        if let Some(vtep) = stale.vtep {
            self.of_vteps.insert((vtep, address));
        }
        self.ends.insert((stale.until, address));
        self.peers.insert(address, stale);
    }
}
