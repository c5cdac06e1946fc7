//! Peers whose lease vanished while nobody could see it go.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::time::Instant;

/// Which peers are stale, and until when each is kept; a peer is named by its first address.
///
/// For n stale peers a change or a search takes O(log n) steps, and one for each peer found.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(from = "BTreeMap<Ipv4Addr, Stale>", into = "BTreeMap<Ipv4Addr, Stale>")]
pub(super) struct StalePeers {
    peers: BTreeMap<Ipv4Addr, Stale>,
    of_hosts: BTreeSet<(Ipv4Addr, Ipv4Addr)>,
    ends: BTreeSet<(Instant, Ipv4Addr)>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Stale {
    public_ip: Ipv4Addr,
    until: Instant,
}

impl From<BTreeMap<Ipv4Addr, Stale>> for StalePeers {
    fn from(peers: BTreeMap<Ipv4Addr, Stale>) -> Self {
        let mut stale = Self::default();
        for (address, Stale { public_ip, until }) in peers {
            stale.insert(address, public_ip, until);
        }
        stale
    }
}

impl From<StalePeers> for BTreeMap<Ipv4Addr, Stale> {
    fn from(stale: StalePeers) -> Self {
        stale.peers
    }
}

impl StalePeers {
    /// Makes a peer stale; one that is so already is kept no longer than before.
    pub(super) fn insert(&mut self, address: Ipv4Addr, public_ip: Ipv4Addr, until: Instant) {
        if self.contains(address) {
            return;
        }
        self.peers.insert(address, Stale { public_ip, until });
        self.of_hosts.insert((public_ip, address));
        self.ends.insert((until, address));
    }

    pub(super) fn remove(&mut self, address: Ipv4Addr) {
        if let Some(Stale { public_ip, until }) = self.peers.remove(&address) {
            self.of_hosts.remove(&(public_ip, address));
            self.ends.remove(&(until, address));
        }
    }

    pub(super) fn contains(&self, address: Ipv4Addr) -> bool {
        self.peers.contains_key(&address)
    }

    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    /// Returns the stale peers in the order of their addresses, with the end of each one's time.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Ipv4Addr, Instant)> {
        self.peers.iter().map(|(address, stale)| (*address, stale.until))
    }

    /// Returns the stale peers at a public IP.
    pub(super) fn of_public_ip(&self, public_ip: Ipv4Addr) -> Vec<Ipv4Addr> {
        let bounds = (public_ip, Ipv4Addr::UNSPECIFIED)..=(public_ip, Ipv4Addr::BROADCAST);
        self.of_hosts.range(bounds).map(|(_, address)| *address).collect()
    }

    /// Returns the stale peers whose time is over.
    pub(super) fn over(&self, now: Instant) -> Vec<Ipv4Addr> {
        self.ends
            .range(..=(now, Ipv4Addr::BROADCAST))
            .map(|(_, address)| *address)
            .collect()
    }

    /// Returns when the time of the first one is over.
    pub(super) fn first_end(&self) -> Option<Instant> {
        self.ends.first().map(|(until, _)| *until)
    }
}
