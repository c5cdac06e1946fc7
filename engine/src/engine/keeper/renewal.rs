//! Renewing the lease before it ends (control-plane.md, 6).
//!
//! A renewal first compares the key with what the node wrote, then keeps the etcd lease alive: no other node's
//! key can be touched, and no watcher is woken. If the etcd lease is gone, the key is put on a new one, again only
//! if it is unchanged.

use core::time::Duration;

use super::write::Write;
use super::{Claim, Held, Keeper, Renewal, State, Term, seconds};
use crate::engine::follower::{Follower, News};
use crate::engine::outbox::Outbox;
use crate::event::Event;
use crate::setup::OnExpiry;
use crate::store::{Revision, StoreError, StoreErrorKind, StoreRequest, StoreResponse, TxnOutcome};
use crate::subnet::Subnet;
use crate::time::Instant;

impl Keeper {
    pub(super) fn handle_renewal(
        &mut self,
        result: Result<StoreResponse, StoreError>,
        held: Held,
        renewal: Renewal,
        claim: &Claim<'_>,
        follower: &mut Follower,
        outbox: &mut Outbox,
    ) -> News {
        match (renewal, result, held.term) {
            (
                Renewal::Verifying(_),
                Ok(StoreResponse::Txn {
                    outcome: TxnOutcome::Succeeded,
                    ..
                }),
                Some(term),
            ) => {
                let request = outbox.request(StoreRequest::LeaseKeepAlive { id: term.id });
                let renewal = Renewal::Extending {
                    request,
                    asked_at: outbox.now,
                };
                self.state = State::Held { held, renewal };
                News::None
            }
            (
                Renewal::Verifying(_),
                Ok(StoreResponse::Txn {
                    outcome: TxnOutcome::Failed,
                    ..
                }),
                _,
            ) => {
                self.hold_until(held, outbox.now + Duration::from_secs(1));
                follower.list(outbox);
                News::None
            }
            (
                Renewal::Extending { asked_at, .. },
                Ok(StoreResponse::LeaseKeepAlive { ttl_seconds, .. }),
                Some(term),
            ) => {
                let ttl = seconds(ttl_seconds);
                if ttl.is_zero() {
                    self.grant(Write::renewal(&held, claim.record), outbox);
                    return News::None;
                }
                self.backoff.reset();
                outbox.tell(Event::LeaseRenewed {
                    subnet: held.subnet,
                    ttl,
                });
                let term = Some(Term::new(term.id, asked_at, ttl));
                self.schedule(Held { term, ..held }, outbox);
                News::None
            }
            (Renewal::Extending { .. }, Err(error), _) if error.kind == StoreErrorKind::LeaseNotFound => {
                self.grant(Write::renewal(&held, claim.record), outbox);
                News::None
            }
            (_, Err(error), _) => {
                let retry_in = self.backoff.wait(&mut outbox.rng);
                outbox.tell(Event::StoreUnreachable {
                    wanted: "renew the lease",
                    error,
                    retry_in,
                });
                self.hold_until(held, outbox.now + retry_in);
                News::None
            }
            (_, Ok(_), _) => {
                self.schedule(held, outbox);
                News::None
            }
        }
    }

    /// Sets the next renewal: the margin before the end, up to a tenth of it earlier so that leases which
    /// began together do not all renew together; halfway if the lease is shorter than the margin.
    pub(super) fn schedule(&mut self, held: Held, outbox: &mut Outbox) {
        self.carry(held.subnet, held.term, held.mod_revision, outbox);
        let Some(term) = held.term else {
            self.state = State::Held {
                held,
                renewal: Renewal::Never,
            };
            return;
        };
        let left = term.until.saturating_since(outbox.now);
        let spread = self.renew_margin.min(left.saturating_sub(self.renew_margin)) / 10;
        let early = outbox.rng.between(Duration::ZERO, spread);
        let wait = match left.checked_sub(self.renew_margin + early) {
            Some(wait) if !wait.is_zero() => wait,
            Some(_) | None => left / 2,
        };
        self.hold_until(held, outbox.now + wait.max(Duration::from_secs(1)));
    }

    /// Serves a subnet whose key was this node's at the revision `known`, until its lease is about to end if that is the
    /// policy.
    pub(super) fn carry(&mut self, subnet: Subnet, term: Option<Term>, known: Revision, outbox: &Outbox) {
        self.fence_at = match self.policy.on_expiry {
            OnExpiry::Keep => None,
            OnExpiry::Fence => term.map(|term| term.fence_at),
        };
        self.known = known;
        if self.fence_at.is_none_or(|at| at > outbox.now) {
            self.carried = Some(subnet);
        }
    }

    pub(super) fn hold_until(&mut self, held: Held, due: Instant) {
        self.state = State::Held {
            held,
            renewal: Renewal::Due(due),
        };
    }
}
