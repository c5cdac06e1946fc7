use alloc::format;
use alloc::vec;
use core::net::Ipv6Addr;

use ipnet::{Ipv4Net, Ipv6Net};
use proptest::prelude::*;

use core::net::Ipv4Addr;

use super::*;

const NOTHING_UNSEEN: Revision = Revision(0);
const KEY: &[u8] = b"/coreos.com/network/subnets/10.5.1.0-24";

#[test]
fn events_at_or_below_the_known_revision_change_nothing() {
    let mut leases = Leases::new(StorePrefix::default());
    leases.apply_list(&at(10), vec![kv(10)], Extent::Whole, Departure::Seen);

    assert_eq!(
        leases.apply_events(&at(12), vec![deleted(9)], NOTHING_UNSEEN),
        Change::None
    );
    assert_eq!(
        leases.apply_events(&at(12), vec![deleted(10)], NOTHING_UNSEEN),
        Change::None
    );
    assert_eq!(
        leases.apply_events(&at(12), vec![deleted(11)], NOTHING_UNSEEN),
        Change::Some
    );
    assert_eq!(leases.len(), 0);
}

#[test]
fn a_progress_notice_moves_the_revision_and_a_batch_only_as_far_as_its_events() {
    let mut leases = Leases::new(StorePrefix::default());
    leases.apply_list(&at(3), Vec::new(), Extent::Whole, Departure::Seen);

    leases.apply_events(&at(20), vec![WatchEvent::Put(kv(8))], NOTHING_UNSEEN);
    assert_eq!(leases.revision(), Revision(8));

    leases.apply_events(&at(20), Vec::new(), NOTHING_UNSEEN);
    assert_eq!(leases.revision(), Revision(20));
}

#[test]
fn an_own_write_that_the_watch_has_overtaken_is_not_brought_back() {
    let mut leases = Leases::new(StorePrefix::default());
    leases.apply_list(&at(3), Vec::new(), Extent::Whole, Departure::Seen);
    leases.apply_events(&at(6), vec![WatchEvent::Put(kv(5)), deleted(6)], NOTHING_UNSEEN);

    leases.apply_own(kv(5));

    assert!(leases.get(KEY).is_none());
}

#[test]
fn what_went_is_told_with_how_it_went() {
    let departures = [
        |leases: &mut Leases| leases.apply_events(&at(7), vec![deleted(6)], NOTHING_UNSEEN),
        |leases: &mut Leases| leases.apply_events(&at(7), vec![deleted(6)], Revision(6)),
        |leases: &mut Leases| leases.apply_list(&at(7), Vec::new(), Extent::Whole, Departure::Seen),
        |leases: &mut Leases| leases.apply_list(&at(7), Vec::new(), Extent::Whole, Departure::Unseen),
    ]
    .map(|remove| {
        let mut leases = Leases::new(StorePrefix::default());
        leases.apply_list(&at(3), vec![kv(2)], Extent::Whole, Departure::Seen);
        leases.take_changes();
        remove(&mut leases);
        leases.take_changes().get(KEY).map(|changed| changed.departure)
    });

    assert_eq!(
        departures,
        [
            Departure::Seen,
            Departure::Unseen,
            Departure::Seen,
            Departure::Unseen
        ]
        .map(Some)
    );
}

fn at(revision: i64) -> Header {
    Header {
        revision: Revision(revision),
        ..Header::default()
    }
}

fn kv(revision: i64) -> KeyValue {
    KeyValue {
        key: KEY.to_vec(),
        value: br#"{"PublicIP":"192.0.2.1"}"#.to_vec(),
        create_revision: Revision(revision),
        mod_revision: Revision(revision),
        version: 1,
        lease: None,
    }
}

fn deleted(revision: i64) -> WatchEvent {
    WatchEvent::Delete {
        key: KEY.to_vec(),
        mod_revision: Revision(revision),
    }
}

proptest! {
    #[test]
    fn searches_find_what_a_look_at_every_key_finds(
        writes in proptest::collection::vec((subnet(), proptest::option::weighted(0.7, 1..5_u8)), 0..40),
        wanted in subnet(),
    ) {
        let mut leases = Leases::new(StorePrefix::default());
        for (revision, (subnet, host)) in (2..).zip(writes) {
            let key = leases.key_of(&subnet);
            leases.apply_events(&at(revision), vec![written(key, host, revision)], NOTHING_UNSEEN);
        }

        let overlapping: BTreeSet<_> = leases.overlapping(&wanted).map(|(_, subnet)| subnet).collect();
        let of_host: Vec<_> = leases.of_node(host(3)).map(|(_, subnet)| subnet).collect();

        let all = || leases.entries().map(|entry| (entry, entry.subnet.unwrap()));
        let expected = all().map(|(_, subnet)| subnet).filter(|subnet| subnet.overlaps(&wanted));
        prop_assert_eq!(overlapping, expected.collect());
        let expected = all().filter(|(entry, _)| entry.is_of(host(3))).map(|(_, subnet)| subnet);
        prop_assert_eq!(of_host, expected.collect::<Vec<_>>());
    }
}

/// Subnets of all lengths, crowded so that they nest.
fn subnet() -> impl Strategy<Value = Subnet> {
    let v4 = (0..64_u32, 1..=31_u8).prop_map(|(slot, length)| {
        Ipv4Net::new(Ipv4Addr::from(0x0a05_0000 + slot * 4), length)
            .unwrap()
            .trunc()
    });
    let v6 = (0..64_u128, 1..=127_u8).prop_map(|(slot, length)| {
        Ipv6Net::new(Ipv6Addr::from((0xfd05 << 112) + slot * 4), length)
            .unwrap()
            .trunc()
    });
    (v4, v6, 0..3).prop_map(|(v4, v6, kind)| match kind {
        0 => Subnet::V4(v4),
        1 => Subnet::V6(v6),
        _ => Subnet::Dual(v4, v6),
    })
}

fn written(key: Vec<u8>, host: Option<u8>, revision: i64) -> WatchEvent {
    match host {
        None => WatchEvent::Delete {
            key,
            mod_revision: Revision(revision),
        },
        Some(host) => WatchEvent::Put(KeyValue {
            key,
            value: format!(r#"{{"PublicIP":"{}"}}"#, ip(host)).into_bytes(),
            ..kv(revision)
        }),
    }
}

const fn host(host: u8) -> PublicAddresses {
    PublicAddresses {
        v4: Some(ip(host)),
        v6: None,
    }
}

const fn ip(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, host)
}
