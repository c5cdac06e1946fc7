mod against_ref_store;

use std::time::Duration;

use selvedge_engine::{
    Compare, CompareOp, CompareTarget, EtcdLeaseId, Instant, KeyRange, Revision, StoreErrorKind,
    StoreRequest, StoreResponse, Txn, TxnOp, TxnOpResponse, TxnOutcome, WatchEvent,
};

use super::{
    EtcdError, EtcdStore, Field, KeySpan, MAX_OPERATIONS, MAX_TTL_SECONDS, Operation, Put, Transaction,
    WatchMessage, WatcherId,
};

const T0: Instant = Instant::ZERO;
const W: WatcherId = WatcherId(1);
const L1: EtcdLeaseId = EtcdLeaseId(101);
const L2: EtcdLeaseId = EtcdLeaseId(102);

#[test]
fn a_fresh_store_is_at_revision_one() {
    assert_eq!(EtcdStore::new(7).header().revision, Revision(1));
}

#[test]
fn each_write_makes_the_next_revision_and_a_deletion_of_nothing_makes_none() {
    let mut store = store_with(&["a"]);

    let nothing = store.delete(key("missing")).unwrap();

    assert_eq!((nothing, store.header().revision), (0, Revision(2)));
    assert_eq!(store.delete(key("a")), Ok(1));
    assert_eq!(store.header().revision, Revision(3));
}

#[test]
fn a_key_that_is_made_again_starts_its_history_anew() {
    let mut store = store_with(&["a", "a"]);
    store.delete(key("a")).unwrap();

    put(&mut store, "a");

    let kv = store.get(b"a").unwrap();
    assert_eq!(
        (kv.version, kv.create_revision, kv.mod_revision),
        (1, Revision(5), Revision(5))
    );
}

#[test]
fn a_range_reads_at_any_revision_that_history_holds() {
    let mut store = store_with(&["p/a", "p/b"]);
    store.delete(key("p/a")).unwrap();
    let read = |revision: i64| keys(&store, &prefix("p/"), Some(Revision(revision)));

    assert_eq!(read(1), Ok(vec![]));
    assert_eq!(read(2), Ok(vec!["p/a".to_owned()]));
    assert_eq!(read(3), Ok(vec!["p/a".to_owned(), "p/b".to_owned()]));
    assert_eq!(read(4), Ok(vec!["p/b".to_owned()]));
    assert_eq!(read(5), Err(EtcdError::FutureRevision));
    assert_eq!(read(0), read(4), "revision zero is the newest");
}

#[test]
fn a_compacted_revision_cannot_be_read_and_the_compaction_revision_can() {
    let mut store = store_with(&["a", "a", "b", "a"]);
    store.delete(key("b")).unwrap();

    store.compact(Revision(4)).unwrap();

    let read = |revision: i64| keys(&store, &prefix(""), Some(Revision(revision)));
    assert_eq!(read(3), Err(EtcdError::Compacted));
    assert_eq!(read(4), Ok(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(read(6), Ok(vec!["a".to_owned()]));
}

#[test]
fn a_compaction_must_move_forward_and_stay_in_the_past() {
    let mut store = store_with(&["a", "a"]);

    assert_eq!(store.compact(Revision(4)), Err(EtcdError::FutureRevision));
    assert_eq!(store.compact(Revision(2)), Ok(()));
    assert_eq!(store.compact(Revision(2)), Err(EtcdError::Compacted));
    assert_eq!(store.compact(Revision(1)), Err(EtcdError::Compacted));
    assert_eq!(store.compact(Revision(3)), Ok(()));
}

#[test]
fn a_compaction_forgets_what_no_readable_revision_shows() {
    let mut store = store_with(&["a", "a", "a", "b"]);
    store.delete(key("b")).unwrap();

    store.compact(Revision(6)).unwrap();

    assert_eq!(store.previous(b"a", Revision(4)), None);
    assert_eq!(
        keys(&store, &prefix(""), Some(Revision(6))),
        Ok(vec!["a".to_owned()])
    );
    assert_eq!(keys(&store, &prefix(""), None), Ok(vec!["a".to_owned()]));
}

#[test]
fn a_transaction_creates_a_key_once() {
    let mut store = EtcdStore::new(7);

    let first = transact(&mut store, create_if_absent("a"));
    let second = transact(&mut store, create_if_absent("a"));

    assert_eq!(
        first,
        (Revision(2), TxnOutcome::Succeeded, vec![TxnOpResponse::Put])
    );
    let found = keys_of(&second.2[0]);
    assert_eq!(
        (second.0, second.1, found),
        (Revision(2), TxnOutcome::Failed, vec!["a".to_owned()])
    );
}

#[test]
fn a_comparison_of_a_prefix_must_hold_for_every_key() {
    let store = store_with(&["p/a", "p/b", "p/b"]);
    let holds = |target, op| {
        chooses_success(
            &store,
            Compare {
                range: KeyRange::Prefix(b"p/".into()),
                target,
                op,
            },
        )
    };

    assert!(holds(CompareTarget::Version(0), CompareOp::Greater));
    assert!(!holds(CompareTarget::Version(1), CompareOp::Equal));
    assert!(holds(CompareTarget::ModRevision(Revision(5)), CompareOp::Less));
    assert!(!holds(
        CompareTarget::CreateRevision(Revision(2)),
        CompareOp::NotEqual
    ));
}

#[test]
fn a_comparison_of_an_empty_range_compares_zeros() {
    let store = EtcdStore::new(7);
    let holds = |target, op| {
        chooses_success(
            &store,
            Compare {
                range: KeyRange::Prefix(b"p/".into()),
                target,
                op,
            },
        )
    };

    assert!(holds(CompareTarget::Version(0), CompareOp::Equal));
    assert!(holds(CompareTarget::CreateRevision(Revision(1)), CompareOp::Less));
    assert!(!holds(
        CompareTarget::ModRevision(Revision(0)),
        CompareOp::Greater
    ));
}

#[test]
fn all_writes_of_a_transaction_have_one_revision_and_later_reads_see_them() {
    let mut store = store_with(&["old"]);
    let success = vec![
        put_op("a", None),
        TxnOp::Range(KeyRange::Prefix(vec![])),
        TxnOp::Delete(KeyRange::Key(b"old".into())),
        put_op("b", None),
    ];

    let (revision, _, responses) = transact(
        &mut store,
        Txn {
            success,
            ..Txn::default()
        },
    );

    assert_eq!(revision, Revision(3));
    assert_eq!(keys_of(&responses[1]), ["a", "old"]);
    assert_eq!(responses[2], TxnOpResponse::Delete(1));
    assert_eq!(
        store.get(b"a").unwrap().mod_revision,
        store.get(b"b").unwrap().mod_revision
    );
}

#[test]
fn a_transaction_may_write_a_key_once_only() {
    let twice = vec![put_op("a", None), put_op("a", None)];
    let deleted_too = vec![TxnOp::Delete(KeyRange::Prefix(b"".into())), put_op("a", None)];

    for ops in [twice, deleted_too] {
        let mut store = EtcdStore::new(7);
        let txn = Txn {
            failure: ops,
            ..Txn::default()
        };
        let error = store.handle(&StoreRequest::Txn(txn), T0).unwrap_err();
        assert_eq!(error.message, "etcdserver: duplicate key given in txn request");
        assert_eq!(
            (error.kind, store.header().revision),
            (StoreErrorKind::Invalid, Revision(1))
        );
    }
}

#[test]
fn nested_branches_of_which_one_runs_may_write_the_same_key() {
    let nested = || Transaction {
        success: vec![put_operation("a")],
        failure: vec![put_operation("a")],
        ..Transaction::default()
    };
    let mut store = EtcdStore::new(7);

    let alone = store.transact(&Transaction::of(Operation::Transaction(nested())));
    let two = Transaction {
        success: vec![Operation::Transaction(nested()), Operation::Transaction(nested())],
        ..Transaction::default()
    };

    assert!(alone.is_ok());
    assert_eq!(store.transact(&two).unwrap_err(), EtcdError::DuplicateKey);
}

#[test]
fn a_transaction_has_a_bounded_number_of_operations() {
    let mut store = EtcdStore::new(7);
    let reads = |count| Txn {
        success: vec![TxnOp::Range(KeyRange::Key(b"a".into())); count],
        ..Txn::default()
    };

    assert!(
        store
            .handle(&StoreRequest::Txn(reads(MAX_OPERATIONS)), T0)
            .is_ok()
    );
    let error = store
        .handle(&StoreRequest::Txn(reads(MAX_OPERATIONS + 1)), T0)
        .unwrap_err();
    assert_eq!(error.message, "etcdserver: too many operations in txn request");
}

#[test]
fn a_put_with_an_unknown_lease_fails_and_takes_the_whole_transaction_with_it() {
    let mut store = EtcdStore::new(7);
    let txn = Txn {
        success: vec![put_op("a", None), put_op("b", Some(L1))],
        ..Txn::default()
    };

    let error = store.handle(&StoreRequest::Txn(txn), T0).unwrap_err();

    assert_eq!(error.kind, StoreErrorKind::LeaseNotFound);
    assert_eq!((store.get(b"a"), store.header().revision), (None, Revision(1)));
}

#[test]
fn a_put_that_keeps_parts_of_a_key_needs_the_key() {
    let mut store = EtcdStore::new(7);
    let keep = Put {
        key: b"a".into(),
        value: Field::Keep,
        lease: Field::Set(None),
    };
    let keep = Transaction::of(Operation::Put(keep));

    assert_eq!(store.transact(&keep).unwrap_err(), EtcdError::KeyNotFound);
    store.put(b"a", b"value", None).unwrap();
    store.transact(&keep).unwrap();
    assert_eq!(store.get(b"a").unwrap().value, b"value");
}

#[test]
fn a_put_takes_the_key_away_from_its_old_lease() {
    let mut store = EtcdStore::new(7);
    grant(&mut store, L1, 10);
    grant(&mut store, L2, 20);
    store.put(b"moved", b"", Some(L1)).unwrap();
    store.put(b"freed", b"", Some(L1)).unwrap();

    store.put(b"moved", b"", Some(L2)).unwrap();
    store.put(b"freed", b"", None).unwrap();
    store.handle_timeout(at(10));

    assert!(store.get(b"moved").is_some() && store.get(b"freed").is_some());
    store.handle_timeout(at(20));
    assert!(store.get(b"moved").is_none() && store.get(b"freed").is_some());
}

#[test]
fn a_grant_rejects_a_taken_id_and_chooses_one_for_zero() {
    let mut store = EtcdStore::new(7);

    grant(&mut store, L1, 10);
    let error = store
        .handle(
            &StoreRequest::LeaseGrant {
                id: L1,
                ttl_seconds: 10,
            },
            T0,
        )
        .unwrap_err();
    let (chosen, _) = store.grant(EtcdLeaseId(0), 10, T0).unwrap();
    let (other, _) = store.grant(EtcdLeaseId(0), 10, T0).unwrap();

    assert_eq!(
        (error.kind, error.message.as_str()),
        (StoreErrorKind::LeaseExists, "etcdserver: lease already exists")
    );
    assert!(chosen.0 > 0 && other.0 > 0 && chosen != other);
}

#[test]
fn a_grant_raises_a_short_time_to_live_and_rejects_a_huge_one() {
    let mut store = EtcdStore::new(7);

    assert_eq!(store.grant(L1, 1, T0), Ok((L1, 2)));
    assert_eq!(
        store.grant(L2, MAX_TTL_SECONDS + 1, T0),
        Err(EtcdError::LeaseTtlTooLarge)
    );
}

#[test]
fn a_keep_alive_starts_the_time_to_live_anew_and_tells_zero_for_an_unknown_lease() {
    let mut store = EtcdStore::new(7);
    grant(&mut store, L1, 10);

    let kept = store
        .handle(&StoreRequest::LeaseKeepAlive { id: L1 }, at(6))
        .unwrap();
    let unknown = store
        .handle(&StoreRequest::LeaseKeepAlive { id: L2 }, at(6))
        .unwrap();

    let header = store.header();
    assert_eq!(
        kept,
        StoreResponse::LeaseKeepAlive {
            header,
            id: L1,
            ttl_seconds: 10
        }
    );
    assert_eq!(
        unknown,
        StoreResponse::LeaseKeepAlive {
            header,
            id: L2,
            ttl_seconds: 0
        }
    );
    assert_eq!(store.poll_timeout(), Some(at(16)));
}

#[test]
fn a_keep_alive_at_the_moment_of_expiry_comes_too_late() {
    let mut store = EtcdStore::new(7);
    grant(&mut store, L1, 10);

    assert_eq!(store.keep_alive(L1, at(10)), None);
}

#[test]
fn an_expiring_lease_deletes_all_its_keys_in_one_revision() {
    let mut store = EtcdStore::new(7);
    grant(&mut store, L1, 10);
    for key in ["c", "a", "b"] {
        store.put(key.as_bytes(), b"", Some(L1)).unwrap();
    }
    store.watch(W, KeyRange::Prefix(vec![]), None);
    drain(&mut store);

    store.handle_timeout(at(9));
    assert_eq!(store.header().revision, Revision(4));
    store.handle_timeout(at(10));

    let gone = |key: &str| WatchEvent::Delete {
        key: key.into(),
        mod_revision: Revision(5),
    };
    let header = store.header();
    let events = vec![gone("a"), gone("b"), gone("c")];
    assert_eq!(drain(&mut store), [(W, WatchMessage::Events { header, events })]);
    assert_eq!(store.poll_timeout(), None);
}

#[test]
fn a_revoked_lease_takes_its_keys_along_and_an_unknown_one_is_an_error() {
    let mut store = EtcdStore::new(7);
    grant(&mut store, L1, 10);
    store.put(b"a", b"", Some(L1)).unwrap();
    store.put(b"b", b"", Some(L1)).unwrap();

    store.revoke(L1).unwrap();

    assert_eq!((store.header().revision, store.get(b"a")), (Revision(4), None));
    assert_eq!(store.revoke(L1), Err(EtcdError::LeaseNotFound));
    assert_eq!(store.header().revision, Revision(4));
}

#[test]
fn a_deleted_key_leaves_its_lease() {
    let mut store = EtcdStore::new(7);
    grant(&mut store, L1, 10);
    store.put(b"a", b"", Some(L1)).unwrap();

    store.delete(key("a")).unwrap();

    assert_eq!(store.lease(L1).unwrap().keys, Vec::<Vec<u8>>::new());
    store.handle_timeout(at(10));
    assert_eq!(store.header().revision, Revision(3));
}

#[test]
fn a_watch_from_the_past_replays_history_in_one_batch_and_follows() {
    let mut store = store_with(&["a", "x", "a"]);

    store.watch(W, KeyRange::Key(b"a".into()), Some(Revision(2)));
    let replay = drain(&mut store);
    put(&mut store, "a");
    let followed = drain(&mut store);

    assert!(matches!(replay[0].1, WatchMessage::Created { header } if header.revision == Revision(4)));
    assert_eq!(event_revisions(&replay), [vec![2, 4]]);
    assert_eq!(event_revisions(&followed), [vec![5]]);
}

#[test]
fn a_watch_without_a_start_hears_only_later_writes() {
    let mut store = store_with(&["a"]);

    store.watch(W, KeyRange::Key(b"a".into()), None);
    put(&mut store, "a");

    assert_eq!(event_revisions(&drain(&mut store)), [vec![3]]);
}

#[test]
fn a_watch_from_the_future_waits_for_its_revision() {
    let mut store = store_with(&["a"]);

    store.watch(W, KeyRange::Key(b"a".into()), Some(Revision(4)));
    put(&mut store, "a");
    put(&mut store, "a");

    assert_eq!(event_revisions(&drain(&mut store)), [vec![4]]);
}

#[test]
fn a_watch_from_a_compacted_revision_is_created_and_then_cancelled() {
    let mut store = store_with(&["a", "a", "a"]);
    store.compact(Revision(3)).unwrap();

    store.watch(W, KeyRange::Key(b"a".into()), Some(Revision(2)));
    put(&mut store, "a");

    let messages = drain(&mut store);
    assert!(matches!(messages[0].1, WatchMessage::Created { .. }));
    assert!(matches!(
        messages[1].1,
        WatchMessage::Compacted { header, compact_revision: Revision(3) } if header.revision == Revision(0)
    ));
    assert_eq!(messages.len(), 2, "a cancelled watch hears nothing more");
}

#[test]
fn a_watch_from_the_compaction_revision_replays_it() {
    let mut store = store_with(&["a", "a", "a"]);
    store.compact(Revision(3)).unwrap();

    store.watch(W, KeyRange::Key(b"a".into()), Some(Revision(3)));

    assert_eq!(event_revisions(&drain(&mut store)), [vec![3, 4]]);
}

#[test]
fn writes_between_polls_come_in_one_message_and_a_transaction_is_never_split() {
    let mut store = EtcdStore::new(7);
    store.watch(W, KeyRange::Prefix(vec![]), None);
    drain(&mut store);

    put(&mut store, "a");
    transact(
        &mut store,
        Txn {
            success: vec![put_op("b", None), put_op("c", None)],
            ..Txn::default()
        },
    );
    let together = drain(&mut store);
    transact(
        &mut store,
        Txn {
            success: vec![put_op("b", None), put_op("c", None)],
            ..Txn::default()
        },
    );
    let apart = drain(&mut store);

    assert_eq!(event_revisions(&together), [vec![2, 3, 3]]);
    assert_eq!(event_revisions(&apart), [vec![4, 4]]);
}

#[test]
fn each_watcher_hears_what_its_span_covers() {
    let mut store = EtcdStore::new(7);
    let interval = KeySpan::Interval {
        start: b"p/b".into(),
        end: b"q".into(),
    };
    store.watch(WatcherId(1), KeyRange::Key(b"p/b".into()), None);
    store.watch(WatcherId(2), KeyRange::Prefix(b"p/".into()), None);
    store.watch_span(WatcherId(3), interval, None);
    store.watch_span(WatcherId(4), KeySpan::From(b"p/c".into()), None);
    drain(&mut store);

    for key in ["p", "p/a", "p/b", "q"] {
        put(&mut store, key);
    }

    let heard: Vec<(u64, Vec<i64>)> = drain(&mut store)
        .into_iter()
        .map(|(watcher, message)| (watcher.0, event_revisions(&[(watcher, message)]).concat()))
        .collect();
    assert_eq!(heard, [(2, vec![3, 4]), (1, vec![4]), (3, vec![4]), (4, vec![5])]);
}

#[test]
fn a_cancelled_watch_hears_nothing_not_even_what_waited() {
    let mut store = EtcdStore::new(7);
    store.watch(W, KeyRange::Prefix(b"p".into()), None);
    put(&mut store, "p");

    store.cancel_watch(W);
    put(&mut store, "p");

    assert_eq!(drain(&mut store), []);
}

#[test]
fn a_watch_that_is_opened_again_replaces_itself() {
    let mut store = EtcdStore::new(7);
    store.watch(W, KeyRange::Key(b"a".into()), None);

    store.watch(W, KeyRange::Key(b"b".into()), None);
    put(&mut store, "a");
    put(&mut store, "b");

    assert_eq!(event_revisions(&drain(&mut store)), [vec![3]]);
}

#[test]
fn a_wiped_store_is_another_cluster_at_revision_one_and_ends_its_watches() {
    let mut store = store_with(&["a"]);
    store.watch(W, KeyRange::Key(b"a".into()), None);

    store.wipe(8);

    assert_eq!(
        (store.header().cluster_id, store.header().revision),
        (8, Revision(1))
    );
    assert_eq!(drain(&mut store), [(W, WatchMessage::Cancelled)]);
    put(&mut store, "a");
    assert_eq!(drain(&mut store), []);
}

#[test]
fn a_restored_store_goes_back_in_revisions_and_renews_its_leases() {
    let mut store = EtcdStore::new(7);
    grant(&mut store, L1, 10);
    store.put(b"a", b"old", Some(L1)).unwrap();
    let backup = store.snapshot();
    store.put(b"a", b"new", None).unwrap();
    store.watch(W, KeyRange::Key(b"a".into()), None);

    store.restore(backup, at(100));

    assert_eq!(
        (store.header().cluster_id, store.header().revision),
        (7, Revision(2))
    );
    assert_eq!(store.get(b"a").unwrap().value, b"old");
    assert_eq!(store.poll_timeout(), Some(at(110)));
    assert_eq!(drain(&mut store), [(W, WatchMessage::Cancelled)]);
}

#[test]
fn hostile_requests_are_refused_or_harmless() {
    let mut store = store_with(&["a"]);
    let inverted = KeySpan::Interval {
        start: b"z".into(),
        end: b"a".into(),
    };

    assert_eq!(keys(&store, &inverted, None), Ok(vec![]));
    assert_eq!(
        keys(&store, &KeySpan::Key(vec![]), None),
        Err(EtcdError::EmptyKey)
    );
    assert_eq!(store.put(b"", b"", None), Err(EtcdError::EmptyKey));
    assert_eq!(
        keys(&store, &key("a"), Some(Revision(i64::MIN))),
        Ok(vec!["a".to_owned()])
    );
    assert_eq!(
        keys(&store, &key("a"), Some(Revision(i64::MAX))),
        Err(EtcdError::FutureRevision)
    );
    assert_eq!(store.compact(Revision(i64::MIN)), Err(EtcdError::Compacted));
    assert_eq!(
        store.grant(L1, i64::MIN, Instant::from_nanos(u64::MAX)),
        Ok((L1, 2))
    );
    store.watch(W, KeyRange::Prefix(vec![0xff, 0xff]), Some(Revision(i64::MAX)));
    store.put(&[0xff, 0xff, 1], b"", None).unwrap();
    assert_eq!(
        keys(&store, &KeySpan::Prefix(vec![0xff, 0xff]), None)
            .unwrap()
            .len(),
        1
    );
}

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
        range: range.clone(),
        target: CompareTarget::Version(0),
        op: CompareOp::Equal,
    };
    Txn {
        compares: vec![absent],
        success: vec![put_op(key, None)],
        failure: vec![TxnOp::Range(range)],
    }
}

fn transact(store: &mut EtcdStore, txn: Txn) -> (Revision, TxnOutcome, Vec<TxnOpResponse>) {
    match store.handle(&StoreRequest::Txn(txn), T0).unwrap() {
        StoreResponse::Txn {
            header,
            outcome,
            responses,
        } => (header.revision, outcome, responses),
        other => panic!("no answer to a transaction: {other:?}"),
    }
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

fn keys_of(response: &TxnOpResponse) -> Vec<String> {
    let TxnOpResponse::Range(kvs) = response else {
        panic!("no answer to a read: {response:?}")
    };
    kvs.iter()
        .map(|kv| String::from_utf8_lossy(&kv.key).into_owned())
        .collect()
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
