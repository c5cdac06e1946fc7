//! The etcd leases: when they end and which keys end with them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use selvedge_engine::{EtcdLeaseId, Instant};

use super::EtcdError;

/// The shortest time to live that an etcd with default timings grants: one and a half election timeouts, rounded up.
pub const MIN_TTL_SECONDS: i64 = 2;

/// The longest time to live that etcd grants.
pub const MAX_TTL_SECONDS: i64 = 9_000_000_000;

/// What is known about an etcd lease.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LeaseView {
    /// The time to live that was granted.
    pub ttl_seconds: i64,
    /// When the lease ends unless it is kept alive.
    pub expires: Instant,
    /// The keys attached to it.
    pub keys: Vec<Vec<u8>>,
}

/// All etcd leases.
#[derive(Clone, Debug, Default)]
pub(super) struct Leases {
    by_id: BTreeMap<EtcdLeaseId, Lease>,
    expiries: BTreeSet<(Instant, EtcdLeaseId)>,
    chosen: i64,
}

#[derive(Clone, Debug)]
struct Lease {
    ttl_seconds: i64,
    expires: Instant,
    keys: BTreeSet<Vec<u8>>,
}

impl Leases {
    pub(super) fn grant(
        &mut self,
        id: EtcdLeaseId,
        ttl_seconds: i64,
        now: Instant,
    ) -> Result<(EtcdLeaseId, i64), EtcdError> {
        if ttl_seconds > MAX_TTL_SECONDS {
            return Err(EtcdError::LeaseTtlTooLarge);
        }
        let id = if id.0 == 0 { self.choose_id() } else { id };
        if self.contains(id) {
            return Err(EtcdError::LeaseExists);
        }
        let ttl_seconds = ttl_seconds.max(MIN_TTL_SECONDS);
        let expires = now + ttl(ttl_seconds);
        self.expiries.insert((expires, id));
        self.by_id.insert(
            id,
            Lease {
                ttl_seconds,
                expires,
                keys: BTreeSet::new(),
            },
        );
        Ok((id, ttl_seconds))
    }

    pub(super) fn keep_alive(&mut self, id: EtcdLeaseId, now: Instant) -> Option<i64> {
        let lease = self.by_id.get_mut(&id)?;
        self.expiries.remove(&(lease.expires, id));
        lease.expires = now + ttl(lease.ttl_seconds);
        self.expiries.insert((lease.expires, id));
        Some(lease.ttl_seconds)
    }

    pub(super) fn renew_all(&mut self, now: Instant) {
        let ids: Vec<EtcdLeaseId> = self.by_id.keys().copied().collect();
        for id in ids {
            self.keep_alive(id, now);
        }
    }

    /// Ends a lease and returns its keys.
    pub(super) fn remove(&mut self, id: EtcdLeaseId) -> Option<BTreeSet<Vec<u8>>> {
        let lease = self.by_id.remove(&id)?;
        self.expiries.remove(&(lease.expires, id));
        Some(lease.keys)
    }

    /// Ends the lease that expired first, if one expires by `now`, and returns its keys.
    pub(super) fn take_expired(&mut self, now: Instant) -> Option<BTreeSet<Vec<u8>>> {
        let (_, id) = *self.expiries.first().filter(|(expires, _)| *expires <= now)?;
        self.remove(id)
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.expiries.first().map(|(expires, _)| *expires)
    }

    pub(super) fn by_expiry(&self) -> Vec<EtcdLeaseId> {
        self.expiries.iter().map(|(_, id)| *id).collect()
    }

    pub(super) fn contains(&self, id: EtcdLeaseId) -> bool {
        self.by_id.contains_key(&id)
    }

    pub(super) fn view(&self, id: EtcdLeaseId) -> Option<LeaseView> {
        let lease = self.by_id.get(&id)?;
        let keys = lease.keys.iter().cloned().collect();
        Some(LeaseView {
            ttl_seconds: lease.ttl_seconds,
            expires: lease.expires,
            keys,
        })
    }

    pub(super) fn attach(&mut self, id: Option<EtcdLeaseId>, key: &[u8]) {
        if let Some(lease) = id.and_then(|id| self.by_id.get_mut(&id)) {
            lease.keys.insert(key.to_vec());
        }
    }

    pub(super) fn detach(&mut self, id: Option<EtcdLeaseId>, key: &[u8]) {
        if let Some(lease) = id.and_then(|id| self.by_id.get_mut(&id)) {
            lease.keys.remove(key);
        }
    }

    fn choose_id(&mut self) -> EtcdLeaseId {
        loop {
            self.chosen = self.chosen.wrapping_add(1).max(1);
            let id = EtcdLeaseId(FIRST_CHOSEN_ID | self.chosen);
            if !self.contains(id) {
                return id;
            }
        }
    }
}

/// Keeps the ids that the store chooses apart from the small ones that people choose.
const FIRST_CHOSEN_ID: i64 = 0x0694_0000_0000_0000;

fn ttl(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
