//! etcd's behaviour as a pure, deterministic data structure: revisions, transactions, leases, watches, compaction.
//!
//! [`EtcdStore`] answers the engine's requests with [`EtcdStore::handle`] and does no I/O: time is an argument,
//! watch messages wait until [`EtcdStore::poll_watch`] takes them. The methods below `handle` speak etcd's
//! fuller vocabulary ([`Transaction`], [`KeySpan`]); the gRPC services and fault scenarios use them.
//!
//! Source: etcd's API documentation (KV, Watch and Lease services) and the answers of etcd 3.4, which the
//! test `store_model` compares.

mod error;
mod history;
mod key_span;
mod leases;
#[cfg(test)]
mod ref_store;
#[cfg(test)]
mod tests;
mod transaction;
mod watchers;

use std::sync::Arc;

use selvedge_engine::{
    EtcdLeaseId, Header, Instant, KeyRange, KeyValue, Revision, StoreError, StoreRequest, StoreResponse,
    TxnOpResponse, WatchEvent,
};

pub use error::EtcdError;
pub use key_span::KeySpan;
pub use leases::{LeaseView, MAX_TTL_SECONDS, MIN_TTL_SECONDS};
pub use transaction::{
    Condition, Field, MAX_OPERATIONS, Operand, Operation, OperationResult, Put, Transaction,
    TransactionResult,
};

use history::{Change, History};
use leases::Leases;
use transaction::{Branch, Step};
use watchers::{Pending, Watchers};

/// The number of a watch, chosen by whoever opens it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct WatcherId(pub u64);

/// What a watch hears.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum WatchMessage {
    /// The watch stands.
    Created {
        /// About the store.
        header: Header,
    },
    /// Changes in the order of their revisions; all changes of one revision are in one message.
    Events {
        /// About the store; its revision is at least the last event's.
        header: Header,
        /// The changes.
        events: Vec<WatchEvent>,
    },
    /// The watch ended because its start revision is compacted; follows [`WatchMessage::Created`].
    Compacted {
        /// About the store; etcd leaves the revision zero here.
        header: Header,
        /// The first revision that still exists.
        compact_revision: Revision,
    },
    /// The watch ended because the store was replaced under it.
    Cancelled,
}

/// Everything that a backup of the store holds: keys, their history and the etcd leases.
#[derive(Clone, Debug)]
pub struct Snapshot {
    history: History,
    leases: Leases,
}

/// A model of an etcd cluster that answers as one member.
#[derive(Clone, Debug)]
pub struct EtcdStore {
    cluster_id: u64,
    history: History,
    leases: Leases,
    watchers: Watchers,
}

impl EtcdStore {
    /// Makes an empty store at revision 1, as a fresh etcd is.
    pub fn new(cluster_id: u64) -> Self {
        Self {
            cluster_id,
            history: History::new(),
            leases: Leases::default(),
            watchers: Watchers::default(),
        }
    }

    /// Returns what the store says about itself now.
    pub fn header(&self) -> Header {
        self.header_at(self.history.revision())
    }

    /// Answers a request of the engine, after the leases that end by `now` have expired.
    ///
    /// # Errors
    ///
    /// Refuses as etcd does; see [`EtcdError`].
    pub fn handle(&mut self, request: &StoreRequest, now: Instant) -> Result<StoreResponse, StoreError> {
        self.handle_timeout(now);
        match request {
            StoreRequest::Range {
                range,
                page,
                revision,
            } => {
                let mut kvs = self.range(&KeySpan::page(range, page), *revision)?;
                let limit = page.limit.map(|limit| usize::try_from(limit.get()));
                let limit = limit.and_then(Result::ok).unwrap_or(usize::MAX);
                let more = kvs.len() > limit;
                kvs.truncate(limit);
                Ok(StoreResponse::Range {
                    header: self.header(),
                    kvs: owned(&kvs),
                    more,
                })
            }
            StoreRequest::Txn(txn) => {
                let result = self.transact(&Transaction::from(txn))?;
                let responses = result.results.iter().filter_map(engine_response).collect();
                Ok(StoreResponse::Txn {
                    header: self.header(),
                    outcome: result.outcome,
                    responses,
                })
            }
            StoreRequest::LeaseGrant { id, ttl_seconds } => {
                let (id, ttl_seconds) = self.grant(*id, *ttl_seconds, now)?;
                Ok(StoreResponse::LeaseGrant {
                    header: self.header(),
                    id,
                    ttl_seconds,
                })
            }
            StoreRequest::LeaseKeepAlive { id } => {
                let ttl_seconds = self.keep_alive(*id, now).unwrap_or(0);
                Ok(StoreResponse::LeaseKeepAlive {
                    header: self.header(),
                    id: *id,
                    ttl_seconds,
                })
            }
            StoreRequest::LeaseRevoke { id } => {
                self.revoke(*id)?;
                Ok(StoreResponse::LeaseRevoke {
                    header: self.header(),
                })
            }
        }
    }

    /// Returns the instant at which the next etcd lease expires.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.leases.next_expiry()
    }

    /// Expires every etcd lease that ends by `now`, each with all its keys in one revision.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(keys) = self.leases.take_expired(now) {
            self.delete_keys(&keys);
        }
    }

    /// Opens a watch on `range`, from `start` on or from the next write on; an open watch of that id ends silently.
    ///
    /// A start in the past replays history, one in the future waits for it.
    pub fn watch(&mut self, watcher: WatcherId, range: KeyRange, start: Option<Revision>) {
        self.watch_span(watcher, KeySpan::from(range), start);
    }

    /// Opens a watch as [`EtcdStore::watch`] does, on any span of keys.
    pub fn watch_span(&mut self, watcher: WatcherId, span: KeySpan, start: Option<Revision>) {
        let current = self.history.revision();
        let first = start.filter(|start| start.0 != 0).unwrap_or(current.next());
        if first < self.history.compacted() {
            self.watchers.refuse(watcher, current, self.history.compacted());
            return;
        }
        let replay = self.history.changes_since(first, &span);
        self.watchers.open(watcher, span, first, current, replay);
    }

    /// Closes a watch; nothing of it follows.
    pub fn cancel_watch(&mut self, watcher: WatcherId) {
        self.watchers.close(watcher);
    }

    /// Takes the next message for some watch; changes made since a watch's last message come together.
    pub fn poll_watch(&mut self) -> Option<(WatcherId, WatchMessage)> {
        let (watcher, pending) = self.watchers.poll()?;
        let message = match pending {
            Pending::Created { revision } => WatchMessage::Created {
                header: self.header_at(revision),
            },
            Pending::Changes { revision, changes } => WatchMessage::Events {
                header: self.header_at(revision),
                events: changes.iter().map(WatchEvent::from).collect(),
            },
            Pending::Compacted { compact_revision } => WatchMessage::Compacted {
                header: self.header_at(Revision(0)),
                compact_revision,
            },
            Pending::Cancelled => WatchMessage::Cancelled,
        };
        Some((watcher, message))
    }

    /// Reads the keys of a span in key order, at the newest revision unless `revision` names another.
    ///
    /// # Errors
    ///
    /// Refuses an empty key, a compacted and a future revision.
    pub fn range(&self, span: &KeySpan, revision: Option<Revision>) -> Result<Vec<Arc<KeyValue>>, EtcdError> {
        if span.lacks_key() {
            return Err(EtcdError::EmptyKey);
        }
        match revision.filter(|revision| revision.0 > 0) {
            None => Ok(self.history.range(span)),
            Some(revision) => {
                self.history.check_readable(revision)?;
                Ok(self.history.range_at(span, revision))
            }
        }
    }

    /// Returns the newest state of a key.
    pub fn get(&self, key: &[u8]) -> Option<&Arc<KeyValue>> {
        self.history.get(key)
    }

    /// Returns the state that a key had just before `revision`, if history still holds it.
    pub fn previous(&self, key: &[u8], revision: Revision) -> Option<Arc<KeyValue>> {
        let before = Revision(revision.0.saturating_sub(1));
        self.history.check_readable(before).ok()?;
        self.history.get_at(key, before)
    }

    /// Writes a key, attached to `lease` or to none, and returns the revision that the write made.
    ///
    /// # Errors
    ///
    /// Refuses an empty key and a lease that does not exist.
    pub fn put(
        &mut self,
        key: &[u8],
        value: &[u8],
        lease: Option<EtcdLeaseId>,
    ) -> Result<Revision, EtcdError> {
        let put = Put {
            key: key.to_vec(),
            value: Field::Set(value.to_vec()),
            lease: Field::Set(lease),
        };
        self.transact(&Transaction::of(Operation::Put(put)))?;
        Ok(self.history.revision())
    }

    /// Deletes the keys of a span in one revision and returns how many there were.
    ///
    /// # Errors
    ///
    /// Refuses an empty key.
    pub fn delete(&mut self, span: impl Into<KeySpan>) -> Result<usize, EtcdError> {
        let result = self.transact(&Transaction::of(Operation::Delete(span.into())))?;
        Ok(result.results.iter().map(OperationResult::deleted).sum())
    }

    /// Carries out a transaction: every write in it has the same revision.
    ///
    /// # Errors
    ///
    /// Refuses, without any effect, what etcd refuses; see [`EtcdError`].
    pub fn transact(&mut self, transaction: &Transaction) -> Result<TransactionResult, EtcdError> {
        transaction.validate()?;
        let branch = transaction.choose(&self.history);
        branch.check(&self.history, &self.leases)?;
        let result = self.apply_branch(&branch);
        self.commit();
        Ok(result)
    }

    /// Makes history before `revision` unreadable and forgets it.
    ///
    /// # Errors
    ///
    /// Refuses a revision that is compacted already and one that lies in the future.
    pub fn compact(&mut self, revision: Revision) -> Result<(), EtcdError> {
        self.history.compact(revision)
    }

    /// Returns the revision that history begins at, -1 before the first compaction.
    pub fn compacted(&self) -> Revision {
        self.history.compacted()
    }

    /// Makes an etcd lease that expires at `now` plus its time to live; id 0 lets the store choose.
    ///
    /// Returns the id and the time to live granted, which is [`MIN_TTL_SECONDS`] at least.
    ///
    /// # Errors
    ///
    /// Refuses an id that is taken and a time to live above [`MAX_TTL_SECONDS`].
    pub fn grant(
        &mut self,
        id: EtcdLeaseId,
        ttl_seconds: i64,
        now: Instant,
    ) -> Result<(EtcdLeaseId, i64), EtcdError> {
        self.handle_timeout(now);
        self.leases.grant(id, ttl_seconds, now)
    }

    /// Starts a lease's time to live anew and returns it in seconds, `None` for an unknown lease.
    pub fn keep_alive(&mut self, id: EtcdLeaseId, now: Instant) -> Option<i64> {
        self.handle_timeout(now);
        self.leases.keep_alive(id, now)
    }

    /// Ends a lease and deletes its keys in one revision.
    ///
    /// # Errors
    ///
    /// Refuses an unknown lease.
    pub fn revoke(&mut self, id: EtcdLeaseId) -> Result<(), EtcdError> {
        let keys = self.leases.remove(id).ok_or(EtcdError::LeaseNotFound)?;
        self.delete_keys(&keys);
        Ok(())
    }

    /// Returns what is known about a lease.
    pub fn lease(&self, id: EtcdLeaseId) -> Option<LeaseView> {
        self.leases.view(id)
    }

    /// Returns every lease, the one that expires first at the front.
    pub fn leases(&self) -> Vec<EtcdLeaseId> {
        self.leases.by_expiry()
    }

    /// Replaces the store by a fresh one, as when its data directory is lost; every watch ends.
    pub fn wipe(&mut self, new_cluster_id: u64) {
        self.cluster_id = new_cluster_id;
        self.history = History::new();
        self.leases = Leases::default();
        self.watchers.cancel_all();
    }

    /// Takes a backup.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            history: self.history.clone(),
            leases: self.leases.clone(),
        }
    }

    /// Goes back to a backup, and with it to its revision; every watch ends and every lease of the backup starts
    /// its time to live anew, as it does when a member becomes leader.
    pub fn restore(&mut self, snapshot: Snapshot, now: Instant) {
        self.history = snapshot.history;
        self.leases = snapshot.leases;
        self.leases.renew_all(now);
        self.watchers.cancel_all();
    }

    /// Starts the time to live of every etcd lease anew, as a member does that becomes leader.
    pub fn renew_leases(&mut self, now: Instant) {
        self.leases.renew_all(now);
    }

    fn header_at(&self, revision: Revision) -> Header {
        Header {
            cluster_id: self.cluster_id,
            member_id: self.cluster_id ^ MEMBER_SALT,
            revision,
            raft_term: 2,
        }
    }

    fn apply_branch(&mut self, branch: &Branch<'_>) -> TransactionResult {
        let results = branch.steps.iter().map(|step| self.apply_step(step)).collect();
        TransactionResult {
            outcome: branch.outcome,
            results,
        }
    }

    fn apply_step(&mut self, step: &Step<'_>) -> OperationResult {
        match step {
            Step::Range { span, revision } => OperationResult::Range(match revision {
                Some(revision) if revision.0 > 0 => self.history.range_at(span, *revision),
                Some(_) | None => self.history.range(span),
            }),
            Step::Put(put) => OperationResult::Put {
                previous: self.apply_put(put),
            },
            Step::Delete(span) => OperationResult::Delete {
                previous: self.apply_delete(span),
            },
            Step::Branch(branch) => OperationResult::Transaction(self.apply_branch(branch)),
        }
    }

    fn apply_put(&mut self, put: &Put) -> Option<Arc<KeyValue>> {
        let previous = self.history.get(&put.key).cloned();
        let value = match &put.value {
            Field::Set(value) => value.clone(),
            Field::Keep => previous.as_ref().map(|kv| kv.value.clone()).unwrap_or_default(),
        };
        let old_lease = previous.as_ref().and_then(|kv| kv.lease);
        let new_lease = match put.lease {
            Field::Set(lease) => lease.filter(|lease| lease.0 != 0),
            Field::Keep => old_lease,
        };
        self.leases.detach(old_lease, &put.key);
        self.leases.attach(new_lease, &put.key);
        self.history.put(&put.key, value, new_lease);
        previous
    }

    fn apply_delete(&mut self, span: &KeySpan) -> Vec<Arc<KeyValue>> {
        let previous = self.history.delete(span);
        for kv in &previous {
            self.leases.detach(kv.lease, &kv.key);
        }
        previous
    }

    fn delete_keys<'a>(&mut self, keys: impl IntoIterator<Item = &'a Vec<u8>>) {
        for key in keys {
            self.history.delete(&KeySpan::Key(key.clone()));
        }
        self.commit();
    }

    fn commit(&mut self) {
        let Some((revision, changes)) = self.history.commit() else {
            return;
        };
        self.watchers.notify(revision, changes);
    }
}

/// Makes a member's id differ from its cluster's.
const MEMBER_SALT: u64 = 0x8e9e_05c5_2164_694d;

fn owned(kvs: &[Arc<KeyValue>]) -> Vec<KeyValue> {
    kvs.iter().map(|kv| KeyValue::clone(kv)).collect()
}

/// Returns the engine's form of a result; the engine's transactions have no nested ones.
fn engine_response(result: &OperationResult) -> Option<TxnOpResponse> {
    match result {
        OperationResult::Put { .. } => Some(TxnOpResponse::Put),
        OperationResult::Delete { previous } => Some(TxnOpResponse::Delete(
            i64::try_from(previous.len()).unwrap_or(i64::MAX),
        )),
        OperationResult::Range(_) | OperationResult::Transaction(_) => None,
    }
}

impl From<&Change> for WatchEvent {
    fn from(change: &Change) -> Self {
        match change {
            Change::Put(kv) => Self::Put(KeyValue::clone(kv)),
            Change::Delete { key, mod_revision } => Self::Delete {
                key: key.to_vec(),
                mod_revision: *mod_revision,
            },
        }
    }
}
