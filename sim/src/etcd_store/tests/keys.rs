use selvedge_engine::{Instant, KeyRange, Revision};

use super::super::{EtcdError, EtcdStore, KeySpan};
use super::{L1, W, key, keys, prefix, put, store_with};

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
