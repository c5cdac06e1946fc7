use selvedge_engine::{
    EtcdLeaseId, KeyRange, Revision, StoreErrorKind, StoreRequest, StoreResponse, WatchEvent,
};

use super::super::{EtcdError, EtcdStore, MAX_TTL_SECONDS, WatchMessage};
use super::{L1, L2, T0, W, at, drain, grant, key};

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
