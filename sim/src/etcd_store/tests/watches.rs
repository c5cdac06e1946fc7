use selvedge_engine::{KeyRange, Revision, Txn, TxnOp};

use super::super::{EtcdStore, KeySpan, WatchMessage, WatcherId};
use super::{L1, W, at, drain, event_revisions, grant, put, put_op, store_with, transact};

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
fn a_compaction_at_a_deletion_hides_it_from_watches_that_start_there() {
    let mut store = store_with(&["a", "b"]);
    let ops = vec![TxnOp::Delete(KeyRange::Key(b"a".into())), put_op("b", None)];
    transact(
        &mut store,
        Txn {
            success: ops,
            ..Txn::default()
        },
    );
    store.compact(Revision(4)).unwrap();

    store.watch(W, KeyRange::Prefix(vec![]), Some(Revision(4)));

    let messages = drain(&mut store);
    assert!(matches!(&messages[1].1, WatchMessage::Events { events, .. } if events.len() == 1));
    assert!(store.get(b"a").is_none());
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
