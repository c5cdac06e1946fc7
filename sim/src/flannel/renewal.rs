//! Renewing the lease: a new etcd lease and an unconditional put (control-plane.md, 3.3 and 6).

use std::time::Duration;

use selvedge_engine::{EtcdLeaseId, Instant, StoreError, StoreRequest, StoreResponse, Txn, TxnOp};

use super::acquisition::Acquired;
use super::client::{Client, Purpose};

/// What a renewal waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    Grant,
    Put { lease: EtcdLeaseId, until: Instant },
}

/// The timer of the lease. It has none until the own key was read.
#[derive(Debug)]
pub(super) struct Renewal {
    margin: Duration,
    due: Option<Instant>,
    is_busy: bool,
}

impl Renewal {
    pub(super) const fn new(margin: Duration) -> Self {
        Self {
            margin,
            due: None,
            is_busy: false,
        }
    }

    pub(super) const fn is_busy(&self) -> bool {
        self.is_busy
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due.filter(|_| !self.is_busy)
    }

    /// Sets the timer for a lease that ends at this time; it may have ended.
    pub(super) fn reset(&mut self, ends_at: Ends) {
        self.due = Some(match ends_at {
            Ends::At(at) => at - self.margin,
            Ends::BeforeNow(now) => now + AT_ONCE,
        });
    }

    pub(super) fn handle_timeout(&mut self, client: &mut Client) {
        if self.due().is_some_and(|at| at <= client.now) {
            self.is_busy = true;
            client.grant(Purpose::Renew(Step::Grant));
        }
    }

    pub(super) fn handle_answer(
        &mut self,
        step: Step,
        result: Result<StoreResponse, StoreError>,
        acquired: &mut Acquired,
        client: &mut Client,
    ) {
        match (step, result) {
            (Step::Grant, Ok(StoreResponse::LeaseGrant { id, ttl_seconds, .. })) => {
                let until = client.now + Duration::from_secs(u64::try_from(ttl_seconds).unwrap_or(0));
                let put = blind_put(&acquired.key, &acquired.value, id);
                client.ask(Purpose::Renew(Step::Put { lease: id, until }), put);
            }
            (Step::Put { lease, until }, Ok(StoreResponse::Txn { .. })) => {
                self.is_busy = false;
                (acquired.lease, acquired.until) = (lease, until);
                self.reset(Ends::At(until));
                client.mention(format!("renewed the lease of {}", acquired.subnet));
            }
            (Step::Grant | Step::Put { .. }, Ok(_) | Err(_)) => {
                self.is_busy = false;
                self.due = Some(client.now + AGAIN);
                client.mention("cannot renew the lease, trying again in a minute".to_owned());
            }
        }
    }
}

/// When a lease ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ends {
    At(Instant),
    /// A second before this time, for all that flanneld knows.
    BeforeNow(Instant),
}

/// Makes the write that does not look at what it replaces.
pub(super) fn blind_put(key: &[u8], value: &[u8], lease: EtcdLeaseId) -> StoreRequest {
    StoreRequest::Txn(Txn {
        success: vec![TxnOp::Put {
            key: key.to_vec(),
            value: value.to_vec(),
            lease: Some(lease),
        }],
        ..Txn::default()
    })
}

const AGAIN: Duration = Duration::from_mins(1);
/// A timer that is due fires within this.
const AT_ONCE: Duration = Duration::from_micros(100);
