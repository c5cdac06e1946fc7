//! What stands between our daemon and the cluster: nothing, unless a test wants a rule to be broken.

mod control;
mod packets;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;
use selvedge_engine::{Action, EtcdLeaseId, Instant, PacketCounters, RequestId, WatchId};

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
    /// Every route that it ever had.
    routes: BTreeMap<Ipv4Net, Ipv4Addr>,
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
    pub(super) const fn new(sabotage: Option<Sabotage>) -> Self {
        Self {
            sabotage,
            count: 0,
            first_subnet: None,
            first_hops: BTreeMap::new(),
            routes: BTreeMap::new(),
            written: None,
            extra: Vec::new(),
        }
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
