use selvedge_engine::{
    Compare, CompareOp, CompareTarget, KeyRange, Revision, StoreErrorKind, StoreRequest, Txn, TxnOp,
    TxnOpResponse, TxnOutcome,
};

use super::super::{
    EtcdError, EtcdStore, Field, KeySpan, MAX_OPERATIONS, Operation, OperationResult, Put, Transaction,
};
use super::{L1, T0, chooses_success, create_if_absent, put_op, put_operation, store_with, transact};

#[test]
fn a_transaction_creates_a_key_once() {
    let mut store = EtcdStore::new(7);

    let first = transact(&mut store, create_if_absent("a"));
    let second = transact(&mut store, create_if_absent("a"));

    assert_eq!(
        first,
        (Revision(2), TxnOutcome::Succeeded, vec![TxnOpResponse::Put])
    );
    assert_eq!(second, (Revision(2), TxnOutcome::Failed, vec![]));
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
    assert!(holds(CompareTarget::Lease(None), CompareOp::Equal));
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
        put_operation("a"),
        Operation::Range {
            span: KeySpan::Prefix(vec![]),
            revision: None,
        },
        Operation::Delete(KeySpan::Key(b"old".into())),
        put_operation("b"),
    ];

    let result = store.transact(&Transaction {
        success,
        ..Transaction::default()
    });

    let results = result.unwrap().results;
    let OperationResult::Range(kvs) = &results[1] else {
        panic!("no answer to a read: {results:?}")
    };
    let read: Vec<&[u8]> = kvs.iter().map(|kv| kv.key.as_slice()).collect();
    assert_eq!(store.header().revision, Revision(3));
    assert_eq!(read, [b"a".as_slice(), b"old"]);
    assert_eq!(results[2].deleted(), 1);
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
        success: vec![TxnOp::Delete(KeyRange::Key(b"a".into())); count],
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
