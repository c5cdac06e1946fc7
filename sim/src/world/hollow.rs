//! Hollow nodes: leases in the store of nodes that nobody runs.
//!
//! They make a large cluster of few engines. To others they look like nodes that have been there for a day: each renews
//! its lease once a day as flanneld does, by writing its key again under a new etcd lease, and some are dead, so that
//! their leases end. A hollow node whose key is gone is gone.

use std::time::Duration;

use selvedge_engine::{EtcdLeaseId, LeaseRecord, Rng, Subnet};

use super::World;
use super::event::Event;
use crate::checker::Verdict;
use crate::node_id::NodeId;

/// The leases of all hollow nodes.
#[derive(Debug)]
pub(super) struct HollowNodes {
    rng: Rng,
    leases: Vec<HollowLease>,
}

#[derive(Clone, Debug)]
struct HollowLease {
    key: Vec<u8>,
    value: Vec<u8>,
}

impl HollowNodes {
    pub(super) const fn new(rng: Rng) -> Self {
        Self {
            rng,
            leases: Vec::new(),
        }
    }
}

impl World {
    /// Writes the leases of the hollow nodes, each with what is left of its day.
    pub(super) fn write_hollow_leases(&mut self) -> Verdict {
        let subnets = self.scenario.hollow_subnets(&mut self.hollow.rng);
        let numbers = self.scenario.nodes.len() + 1..;
        for (place, (subnet, number)) in subnets.into_iter().zip(numbers).enumerate() {
            let owner = NodeId::new(u32::try_from(number).unwrap_or(u32::MAX));
            let lease = HollowLease {
                key: self.scenario.prefix.lease_key(&Subnet::V4(subnet)),
                value: record_of(owner).encode(),
            };
            let wait = self.hollow.rng.between(Duration::ZERO, RENEWED_AFTER);
            if place % DEAD == 0 {
                self.write_hollow_lease(&lease, wait);
            } else {
                self.write_hollow_lease(&lease, wait + RENEW_MARGIN);
                self.queue.push(self.now + wait, Event::HollowRenewal(place));
            }
            self.hollow.leases.push(lease);
        }
        if !self.hollow.leases.is_empty() {
            let text = format!("{} leases of hollow nodes", self.hollow.leases.len());
            self.milestone(None, text);
        }
        self.pump_store()
    }

    pub(super) fn handle_hollow_renewal(&mut self, place: usize) -> Verdict {
        let Some(lease) = self.hollow.leases.get(place).cloned() else {
            return Ok(());
        };
        if !self.service.is_up() || self.service.is_full() {
            self.queue.push(self.now + RETRY, Event::HollowRenewal(place));
            return Ok(());
        }
        let held = self.service.store.get(&lease.key);
        if held.is_none_or(|kv| kv.value != lease.value) {
            return Ok(());
        }
        self.write_hollow_lease(&lease, RENEWED_AFTER + RENEW_MARGIN);
        let wait = self.hollow.rng.between(RENEWED_AT_EARLIEST, RENEWED_AFTER);
        self.queue.push(self.now + wait, Event::HollowRenewal(place));
        self.pump_store()
    }

    fn write_hollow_lease(&mut self, lease: &HollowLease, ttl: Duration) {
        let ttl_seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        let store = &mut self.service.store;
        // The store chooses the id, and the key is not empty: nothing to refuse.
        let written = store
            .grant(EtcdLeaseId(0), ttl_seconds, self.now)
            .and_then(|(id, _)| store.put(&lease.key, &lease.value, Some(id)));
        debug_assert!(written.is_ok(), "{written:?}");
    }
}

fn record_of(node: NodeId) -> LeaseRecord {
    LeaseRecord {
        public_ip: node.public_ip(),
        public_ipv6: None,
        backend_type: String::new(),
        backend_data: None,
        backend_v6_data: None,
    }
}

/// A lease of 24 hours is renewed an hour before its end or a little earlier (control-plane.md, 3.3 and 6).
const RENEWED_AFTER: Duration = Duration::from_hours(23);
const RENEWED_AT_EARLIEST: Duration = Duration::from_mins(23 * 60 - 6);
const RENEW_MARGIN: Duration = Duration::from_hours(1);
/// How long a node waits when the store refuses it.
const RETRY: Duration = Duration::from_secs(1);
/// One hollow node of so many is dead.
const DEAD: usize = 64;
