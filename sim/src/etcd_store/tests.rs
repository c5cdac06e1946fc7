//! The rules one by one; here is what their tests share.

mod against_ref_store;
mod keys;
mod leases;
mod transactions;
mod watches;

use std::time::Duration;

use selvedge_engine::{
    Compare, CompareOp, CompareTarget, EtcdLeaseId, Instant, KeyRange, Revision, StoreRequest, StoreResponse,
    Txn, TxnOp, TxnOpResponse, TxnOutcome, WatchEvent,
};

use super::{EtcdError, EtcdStore, Field, KeySpan, Operation, Put, WatchMessage, WatcherId};

const T0: Instant = Instant::ZERO;
const W: WatcherId = WatcherId(1);
const L1: EtcdLeaseId = EtcdLeaseId(101);
const L2: EtcdLeaseId = EtcdLeaseId(102);

fn store_with(puts: &[&str]) -> EtcdStore {
    let mut store = EtcdStore::new(7);
    for key in puts {
        put(&mut store, key);
    }
    store
}

fn put(store: &mut EtcdStore, key: &str) {
    store.put(key.as_bytes(), b"", None).unwrap();
}

fn grant(store: &mut EtcdStore, id: EtcdLeaseId, ttl_seconds: i64) {
    store
        .handle(&StoreRequest::LeaseGrant { id, ttl_seconds }, T0)
        .unwrap();
}

fn at(seconds: u64) -> Instant {
    T0 + Duration::from_secs(seconds)
}

fn key(key: &str) -> KeySpan {
    KeySpan::Key(key.into())
}

fn prefix(prefix: &str) -> KeySpan {
    KeySpan::Prefix(prefix.into())
}

fn put_op(key: &str, lease: Option<EtcdLeaseId>) -> TxnOp {
    TxnOp::Put {
        key: key.into(),
        value: vec![],
        lease,
    }
}

fn put_operation(key: &str) -> Operation {
    Operation::Put(Put {
        key: key.into(),
        value: Field::Set(vec![]),
        lease: Field::Set(None),
    })
}

fn create_if_absent(key: &str) -> Txn {
    let range = KeyRange::Key(key.into());
    let absent = Compare {
        range,
        target: CompareTarget::Version(0),
        op: CompareOp::Equal,
    };
    Txn {
        compares: vec![absent],
        success: vec![put_op(key, None)],
        failure: Vec::new(),
    }
}

fn transact(store: &mut EtcdStore, txn: Txn) -> (Revision, TxnOutcome, Vec<TxnOpResponse>) {
    let answer = store.handle(&StoreRequest::Txn(txn), T0).unwrap();
    let StoreResponse::Txn {
        header,
        outcome,
        responses,
    } = answer
    else {
        panic!("no answer to a transaction: {answer:?}");
    };
    (header.revision, outcome, responses)
}

fn chooses_success(store: &EtcdStore, compare: Compare) -> bool {
    let txn = Txn {
        compares: vec![compare],
        ..Txn::default()
    };
    transact(&mut store.clone(), txn).1 == TxnOutcome::Succeeded
}

fn keys(store: &EtcdStore, span: &KeySpan, revision: Option<Revision>) -> Result<Vec<String>, EtcdError> {
    let kvs = store.range(span, revision)?;
    Ok(kvs
        .iter()
        .map(|kv| String::from_utf8_lossy(&kv.key).into_owned())
        .collect())
}

fn drain(store: &mut EtcdStore) -> Vec<(WatcherId, WatchMessage)> {
    std::iter::from_fn(|| store.poll_watch()).collect()
}

/// Returns the revisions of the events, message by message.
fn event_revisions(messages: &[(WatcherId, WatchMessage)]) -> Vec<Vec<i64>> {
    let events = messages.iter().filter_map(|(_, message)| match message {
        WatchMessage::Events { events, .. } => Some(events),
        WatchMessage::Created { .. } | WatchMessage::Compacted { .. } | WatchMessage::Cancelled => None,
    });
    events
        .map(|events| events.iter().map(|event| revision_of(event).0).collect())
        .collect()
}

fn revision_of(event: &WatchEvent) -> Revision {
    match event {
        WatchEvent::Put(kv) => kv.mod_revision,
        WatchEvent::Delete { mod_revision, .. } => *mod_revision,
    }
}
