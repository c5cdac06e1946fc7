//! Getting an etcd lease, and writing the key that hangs on it.

use core::time::Duration;

use super::write::Write;
use super::{Held, Keeper, Spare, State, TTL, Term, seconds};
use crate::engine::follower::{Follower, News};
use crate::engine::outbox::Outbox;
use crate::event::{Event, LeaseOrigin};
use crate::machine_id::{Maker, Standing};
use crate::store::{
    EtcdLeaseId, Header, StoreError, StoreErrorKind, StoreRequest, StoreResponse, TxnOutcome,
};
use crate::time::Instant;

impl Keeper {
    /// The id is the node's own choice: a grant that is repeated because its answer was lost leaks nothing. One that exists
    /// before it was asked for was drawn twice.
    pub(super) fn grant(&mut self, write: Write, outbox: &mut Outbox) {
        let spare = self.spare_for(write.standing, outbox);
        if let Some(term) = spare.term {
            return self.write(write, Some(term), outbox);
        }
        self.spare = Some(Spare {
            tries: spare.tries + 1,
            ..spare
        });
        let ttl_seconds = i64::try_from(TTL.as_secs()).unwrap_or(i64::MAX);
        let request = outbox.request(StoreRequest::LeaseGrant {
            id: spare.id,
            ttl_seconds,
        });
        self.state = State::Granting { request, write };
    }

    pub(super) fn write(&mut self, write: Write, lease: Option<Term>, outbox: &mut Outbox) {
        let request = outbox.request(write.request(lease.map(|term| term.id), &self.prefix));
        self.state = State::Writing {
            request,
            write,
            lease,
        };
    }

    pub(super) fn handle_granted(
        &mut self,
        result: Result<StoreResponse, StoreError>,
        write: Write,
        follower: &mut Follower,
        outbox: &mut Outbox,
    ) {
        // In a store that was replaced, what the write compares with means nothing.
        if let Ok(StoreResponse::LeaseGrant { header, .. }) = &result
            && header.revision < write.seen()
        {
            self.state = State::Listing;
            return follower.list(outbox);
        }
        let Some(spare) = self.spare.as_mut() else { return };
        let ttl = match result {
            Ok(StoreResponse::LeaseGrant { ttl_seconds, .. }) => seconds(ttl_seconds),
            Err(error) if error.kind == StoreErrorKind::LeaseExists && spare.tries > 1 => TTL,
            Err(error) if error.kind == StoreErrorKind::LeaseExists => {
                self.spare = None;
                return self.grant(write, outbox);
            }
            Ok(_) => return,
            Err(error) => return self.retry("get an etcd lease", error, outbox),
        };
        let term = Term::new(spare.id, spare.asked_at, ttl);
        spare.term = Some(term);
        self.write(write, Some(term), outbox);
    }

    pub(super) fn handle_adopted(
        &mut self,
        result: Result<StoreResponse, StoreError>,
        asked_at: Instant,
        write: Write,
        lease: EtcdLeaseId,
        outbox: &mut Outbox,
    ) {
        let ttl = match result {
            Ok(StoreResponse::LeaseKeepAlive { ttl_seconds, .. }) => seconds(ttl_seconds),
            Err(error) if error.kind == StoreErrorKind::LeaseNotFound => Duration::ZERO,
            Ok(_) => return,
            Err(error) => return self.retry("adopt the node's lease", error, outbox),
        };
        if ttl.is_zero() {
            return self.grant(write, outbox);
        }
        let term = Term::new(lease, asked_at, ttl);
        match write.standing {
            Standing::Held if write.is_in_place() => {
                let origin = write.origin;
                self.hold(write.into_held(None, Some(term)), origin, outbox);
            }
            Standing::Held => self.write(write, Some(term), outbox),
            Standing::Resumed => {
                self.carry_meanwhile(&write, term, outbox);
                self.grant(write, outbox);
            }
            Standing::Claimed => self.grant(write, outbox),
        }
    }

    pub(super) fn handle_written(
        &mut self,
        result: Result<StoreResponse, StoreError>,
        write: Write,
        lease: Option<Term>,
        follower: &mut Follower,
        outbox: &mut Outbox,
    ) -> News {
        match result {
            Ok(StoreResponse::Txn {
                header,
                outcome: TxnOutcome::Succeeded,
                ..
            }) => {
                let kv = write.key_value(&header, lease.map(|term| term.id));
                follower.adopt_own(&header, kv);
                self.finish(write, &header, lease, outbox);
                News::Changed
            }
            Ok(StoreResponse::Txn {
                outcome: TxnOutcome::Failed,
                ..
            }) => {
                outbox.tell(Event::CreateRaceLost { subnet: write.subnet });
                self.refused_at = Some(follower.leases().revision());
                self.wait(outbox);
                News::None
            }
            Ok(_) => News::None,
            Err(error) if error.is_ambiguous() => {
                self.state = State::Listing;
                follower.list(outbox);
                outbox.tell(Event::StoreUnreachable {
                    wanted: "take a subnet",
                    error,
                    retry_in: Duration::ZERO,
                });
                News::None
            }
            Err(error) => {
                if error.kind == StoreErrorKind::LeaseNotFound {
                    self.spare = None;
                }
                self.retry("take a subnet", error, outbox);
                News::None
            }
        }
    }

    /// The key is written: it is held, or claimed.
    fn finish(&mut self, write: Write, header: &Header, lease: Option<Term>, outbox: &mut Outbox) {
        match (write.standing, lease) {
            (Standing::Held, _) => {
                let origin = write.origin;
                self.hold(write.into_held(Some(header.revision), lease), origin, outbox);
            }
            (Standing::Claimed | Standing::Resumed, Some(term)) => {
                self.spare = None;
                self.supersede(write.former);
                self.supersede(Some(term.id));
                self.begin_contest(write, header.revision, outbox);
            }
            (Standing::Claimed | Standing::Resumed, None) => {}
        }
    }

    /// Takes the subnet as its own: what else was asked for is given back.
    pub(super) fn hold(&mut self, held: Held, origin: LeaseOrigin, outbox: &mut Outbox) {
        let used = held.term.map(|term| term.id);
        self.spare = self.spare.filter(|spare| Some(spare.id) != used);
        self.orphans.append(&mut self.superseded);
        self.orphans.retain(|orphan| Some(*orphan) != used);
        self.release_spare(outbox);
        self.backoff.reset();
        self.refusals.reset();
        self.matured = None;
        self.twin = None;
        self.preferred = held.subnet.into();
        self.avoided = None;
        outbox.tell(Event::LeaseAcquired {
            subnet: held.subnet,
            origin,
        });
        self.schedule(held, outbox);
    }

    /// Returns the etcd lease that hangs on no key yet, if it has this standing, else a new one.
    fn spare_for(&mut self, standing: Standing, outbox: &mut Outbox) -> Spare {
        let fits = |spare: &Spare| {
            let lives = spare.term.is_none_or(|term| term.until > outbox.now);
            lives && self.machine.maker_of(spare.id) == Maker::This(standing)
        };
        if let Some(spare) = self.spare.filter(fits) {
            return spare;
        }
        let other = self.spare.take().map(|spare| spare.id);
        self.orphans.extend(other);
        let spare = Spare {
            id: self.machine.draw_lease_id(standing, &mut outbox.rng),
            asked_at: outbox.now,
            tries: 0,
            term: None,
        };
        self.spare = Some(spare);
        spare
    }
}
