//! What the store must do, in the most naive way: the whole state of every revision.

use std::collections::BTreeMap;
use std::time::Duration;

use selvedge_engine::{
    Compare, CompareOp, CompareTarget, EtcdLeaseId, Instant, KeyRange, KeyValue, Revision, StoreErrorKind,
    StoreRequest, Txn, TxnOp, TxnOpResponse, TxnOutcome, WatchEvent,
};

type State = BTreeMap<Vec<u8>, KeyValue>;

/// What the model answers; headers are left to the caller.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum RefAnswer {
    /// The keys, and whether the limit left some out.
    Range(Vec<KeyValue>, bool),
    Txn(TxnOutcome, Vec<TxnOpResponse>),
    Ttl(i64),
    Done,
}

/// The naive model.
#[derive(Debug)]
pub(super) struct RefStore {
    /// The state at each revision, revision 1 first.
    states: Vec<State>,
    compacted: Revision,
    leases: BTreeMap<EtcdLeaseId, (i64, Instant)>,
}

impl RefStore {
    pub(super) fn new() -> Self {
        Self {
            states: vec![State::new()],
            compacted: Revision(-1),
            leases: BTreeMap::new(),
        }
    }

    pub(super) fn revision(&self) -> Revision {
        Revision(i64::try_from(self.states.len()).unwrap())
    }

    pub(super) fn compacted(&self) -> Revision {
        self.compacted
    }

    pub(super) fn handle(
        &mut self,
        request: &StoreRequest,
        now: Instant,
    ) -> Result<RefAnswer, StoreErrorKind> {
        self.expire(now);
        match request {
            StoreRequest::Range {
                range,
                page,
                revision,
            } => {
                let mut kvs = self.range_at(range, revision.unwrap_or(self.revision()))?;
                kvs.retain(|kv| page.after.as_ref().is_none_or(|after| kv.key > *after));
                let limit = page
                    .limit
                    .map_or(usize::MAX, |limit| usize::try_from(limit.get()).unwrap());
                let more = kvs.len() > limit;
                kvs.truncate(limit);
                Ok(RefAnswer::Range(kvs, more))
            }
            StoreRequest::Txn(txn) => self.txn(txn),
            StoreRequest::LeaseGrant { id, ttl_seconds } => {
                let ttl_seconds = 2.max(*ttl_seconds);
                if self.leases.contains_key(id) {
                    return Err(StoreErrorKind::LeaseExists);
                }
                self.leases.insert(*id, (ttl_seconds, now + seconds(ttl_seconds)));
                Ok(RefAnswer::Ttl(ttl_seconds))
            }
            StoreRequest::LeaseKeepAlive { id } => {
                let Some((ttl_seconds, expires)) = self.leases.get_mut(id) else {
                    return Ok(RefAnswer::Ttl(0));
                };
                *expires = now + seconds(*ttl_seconds);
                Ok(RefAnswer::Ttl(*ttl_seconds))
            }
            StoreRequest::LeaseRevoke { id } => {
                self.leases.remove(id).ok_or(StoreErrorKind::LeaseNotFound)?;
                self.drop_keys_of(*id);
                Ok(RefAnswer::Done)
            }
        }
    }

    pub(super) fn expire(&mut self, now: Instant) {
        loop {
            let first = self.leases.iter().map(|(id, (_, expires))| (*expires, *id)).min();
            let Some((_, id)) = first.filter(|(expires, _)| *expires <= now) else {
                return;
            };
            self.leases.remove(&id);
            self.drop_keys_of(id);
        }
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.leases.values().map(|(_, expires)| *expires).min()
    }

    pub(super) fn compact(&mut self, revision: Revision) -> Result<(), StoreErrorKind> {
        if revision <= self.compacted {
            return Err(StoreErrorKind::Compacted);
        }
        if revision > self.revision() {
            return Err(StoreErrorKind::FutureRevision);
        }
        self.compacted = revision;
        Ok(())
    }

    /// Returns every change of a range from `first` on, as the difference of neighbouring states.
    pub(super) fn changes_since(&self, first: Revision, range: &KeyRange) -> Vec<WatchEvent> {
        let mut changes = Vec::new();
        for (number, pair) in (2..).zip(self.states.windows(2)) {
            let [before, after] = pair else {
                unreachable!("windows of two")
            };
            if Revision(number) < first {
                continue;
            }
            let keys = before
                .keys()
                .chain(after.keys())
                .collect::<std::collections::BTreeSet<_>>();
            for key in keys.into_iter().filter(|key| range.contains(key)) {
                match after.get(key) {
                    Some(kv) if before.get(key) != Some(kv) => changes.push(WatchEvent::Put(kv.clone())),
                    Some(_) => {}
                    None => {
                        changes.push(WatchEvent::Delete {
                            key: key.clone(),
                            mod_revision: Revision(number),
                        });
                    }
                }
            }
        }
        changes
    }

    fn newest(&self) -> &State {
        self.states.last().unwrap()
    }

    fn range_at(&self, range: &KeyRange, revision: Revision) -> Result<Vec<KeyValue>, StoreErrorKind> {
        if revision > self.revision() {
            return Err(StoreErrorKind::FutureRevision);
        }
        if revision < self.compacted {
            return Err(StoreErrorKind::Compacted);
        }
        let state = &self.states[usize::try_from(revision.0 - 1).unwrap()];
        Ok(select(state, range))
    }

    fn txn(&mut self, txn: &Txn) -> Result<RefAnswer, StoreErrorKind> {
        if writes_twice(&txn.success) || writes_twice(&txn.failure) {
            return Err(StoreErrorKind::Invalid);
        }
        let (outcome, ops) = if txn.compares.iter().all(|compare| holds(self.newest(), compare)) {
            (TxnOutcome::Succeeded, &txn.success)
        } else {
            (TxnOutcome::Failed, &txn.failure)
        };
        for op in ops {
            if let TxnOp::Put {
                lease: Some(lease), ..
            } = op
                && !self.leases.contains_key(lease)
            {
                return Err(StoreErrorKind::LeaseNotFound);
            }
        }
        let revision = self.revision().next();
        let mut state = self.newest().clone();
        let responses = ops.iter().map(|op| apply(&mut state, op, revision)).collect();
        self.push(state);
        Ok(RefAnswer::Txn(outcome, responses))
    }

    fn drop_keys_of(&mut self, id: EtcdLeaseId) {
        let mut state = self.newest().clone();
        state.retain(|_, kv| kv.lease != Some(id));
        self.push(state);
    }

    fn push(&mut self, state: State) {
        if state != *self.newest() {
            self.states.push(state);
        }
    }
}

fn apply(state: &mut State, op: &TxnOp, revision: Revision) -> TxnOpResponse {
    match op {
        TxnOp::Put { key, value, lease } => {
            let old = state.get(key);
            let kv = KeyValue {
                key: key.clone(),
                value: value.clone(),
                create_revision: old.map_or(revision, |old| old.create_revision),
                mod_revision: revision,
                version: old.map_or(0, |old| old.version) + 1,
                lease: *lease,
            };
            state.insert(key.clone(), kv);
            TxnOpResponse::Put
        }
        TxnOp::Delete(range) => {
            let before = state.len();
            state.retain(|key, _| !range.contains(key));
            TxnOpResponse::Delete(i64::try_from(before - state.len()).unwrap())
        }
    }
}

fn writes_twice(ops: &[TxnOp]) -> bool {
    let puts = || {
        ops.iter().filter_map(|op| {
            if let TxnOp::Put { key, .. } = op {
                Some(key)
            } else {
                None
            }
        })
    };
    let deletes = || {
        ops.iter().filter_map(|op| {
            if let TxnOp::Delete(range) = op {
                Some(range)
            } else {
                None
            }
        })
    };
    puts()
        .enumerate()
        .any(|(position, key)| puts().take(position).any(|other| other == key))
        || puts().any(|key| deletes().any(|range| range.contains(key)))
}

fn holds(state: &State, compare: &Compare) -> bool {
    let property = |kv: &KeyValue| match compare.target {
        CompareTarget::Version(operand) => (kv.version, operand),
        CompareTarget::CreateRevision(operand) => (kv.create_revision.0, operand.0),
        CompareTarget::ModRevision(operand) => (kv.mod_revision.0, operand.0),
        CompareTarget::Lease(operand) => {
            let number = |lease: Option<EtcdLeaseId>| lease.map_or(0, |lease| lease.0);
            (number(kv.lease), number(operand))
        }
    };
    let mut kvs = select(state, &compare.range);
    if kvs.is_empty() {
        kvs.push(KeyValue {
            key: Vec::new(),
            value: Vec::new(),
            create_revision: Revision(0),
            mod_revision: Revision(0),
            version: 0,
            lease: None,
        });
    }
    kvs.iter()
        .map(property)
        .all(|(property, operand)| match compare.op {
            CompareOp::Equal => property == operand,
            CompareOp::Less => property < operand,
            CompareOp::Greater => property > operand,
            CompareOp::NotEqual => property != operand,
        })
}

fn select(state: &State, range: &KeyRange) -> Vec<KeyValue> {
    state
        .values()
        .filter(|kv| range.contains(&kv.key))
        .cloned()
        .collect()
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap())
}
