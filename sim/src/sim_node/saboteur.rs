//! What stands between our daemon and the cluster: nothing, unless a test wants a rule to be broken.

mod hearing;
mod packets;
mod wanting;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ipnet::Ipv4Net;
use selvedge_engine::{
    Action, EtcdLeaseId, ForwardingTable, Instant, PacketCounters, PreviousSubnet, RequestId, Revision,
    Setup, WatchId,
};

use crate::sabotage::Sabotage;

/// Changes what a daemon hears, wants and does, if it is told to.
#[derive(Debug)]
pub(super) struct Saboteur {
    sabotage: Option<Sabotage>,
    /// How often it made up a number or passed on a packet.
    count: u64,
    /// The subnet that the daemon carried first.
    first_subnet: Option<Ipv4Net>,
    /// Where the first packet for each pod went.
    first_hops: BTreeMap<Ipv4Addr, SocketAddrV4>,
    /// What it forwards by.
    table: Option<Arc<ForwardingTable>>,
    /// The newest change that it heard of.
    newest: Revision,
    public_ip: Ipv4Addr,
    /// The address that it found on its card first.
    first_address: Option<IpAddr>,
    /// The lease as the daemon wrote it last.
    written: Option<WrittenLease>,
    /// What it wants done besides.
    extra: Vec<Action>,
}

#[derive(Clone, Debug)]
struct WrittenLease {
    key: Vec<u8>,
    value: Vec<u8>,
    lease: EtcdLeaseId,
}

impl Saboteur {
    pub(super) const fn new(sabotage: Option<Sabotage>, public_ip: Ipv4Addr) -> Self {
        Self {
            sabotage,
            count: 0,
            first_subnet: None,
            first_hops: BTreeMap::new(),
            table: None,
            newest: Revision(0),
            public_ip,
            first_address: None,
            written: None,
            extra: Vec::new(),
        }
    }

    /// Changes what the engine is made with.
    pub(super) fn prepare(&self, mut setup: Setup) -> Setup {
        if self.sabotage == Some(Sabotage::ForgetItself) {
            setup.previous = PreviousSubnet::default();
        }
        if self.sabotage == Some(Sabotage::ForgetPeersWithStore) {
            setup.peer_grace = Duration::ZERO;
        }
        if self.sabotage == Some(Sabotage::KeepStalePeers) {
            setup.peer_grace = Duration::from_hours(1);
        }
        setup
    }

    /// Changes where the engine's randomness comes from.
    pub(super) fn seed(&self, seed: u64) -> u64 {
        if self.sabotage == Some(Sabotage::DrawElsewhere) {
            return seed.wrapping_add(OUTSIDE.fetch_add(1, Ordering::Relaxed));
        }
        seed
    }

    /// Changes when the engine wants to be woken up.
    pub(super) fn due(
        &self,
        due: Option<(Instant, &'static str)>,
        now: Instant,
    ) -> Option<(Instant, &'static str)> {
        if self.sabotage == Some(Sabotage::StayDue) {
            return due.map(|(_, why)| (now, why));
        }
        due
    }

    /// Changes what the forwarder counted.
    pub(super) fn counted<'a>(&self, counters: &'a PacketCounters) -> Cow<'a, PacketCounters> {
        if self.sabotage == Some(Sabotage::Miscount) {
            let mut counters = counters.clone();
            counters.sent += 1;
            return Cow::Owned(counters);
        }
        Cow::Borrowed(counters)
    }

    /// Returns a number that the engine will never come to.
    const fn number(&mut self) -> u64 {
        self.count += 1;
        u64::MAX - self.count
    }

    const fn request_id(&mut self) -> RequestId {
        RequestId(self.number())
    }

    const fn watch_id(&mut self) -> WatchId {
        WatchId(self.number())
    }
}

/// Something that no scenario says.
static OUTSIDE: AtomicU64 = AtomicU64::new(1);
