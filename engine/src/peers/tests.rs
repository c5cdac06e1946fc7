use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::ref_peers::{RefPeers, Situation};
use super::*;
use crate::leases::Extent;
use crate::network_config::NetworkConfig;
use crate::setup::StorePrefix;
use crate::store::{Header, KeyValue, WatchEvent};

/// Three steps of the property test.
const GRACE: Duration = Duration::from_secs(20);

#[test]
fn of_overlapping_leases_the_oldest_wins_whatever_their_order() {
    let peers = select(&[("10.50.2.0-25", "192.0.2.3", 9), ("10.50.2.0-24", "192.0.2.2", 5)]);

    assert_eq!(accepted(&peers), ["10.50.2.0-24 192.0.2.2"]);
    assert_eq!(reasons(&peers), [RejectReason::OverlapsPeer]);
}

#[test]
fn a_lease_that_would_take_the_network_or_this_nodes_subnet_is_refused() {
    let peers = select(&[
        ("0.0.0.0-0", "192.0.2.2", 1),
        ("10.50.0.0-16", "192.0.2.3", 2),
        ("10.50.1.128-25", "192.0.2.4", 3),
        ("10.60.1.0-24", "192.0.2.5", 4),
    ]);

    assert!(accepted(&peers).is_empty());
    assert_eq!(
        reasons(&peers),
        [
            RejectReason::OutsideNetwork,
            RejectReason::OutsideNetwork,
            RejectReason::OverlapsOwn,
            RejectReason::OutsideNetwork
        ]
    );
}

#[test]
fn a_public_ip_that_reaches_nobody_is_refused() {
    let peers = select(&[
        ("10.50.2.0-24", "0.0.0.0", 1),
        ("10.50.3.0-24", "127.0.0.1", 2),
        ("10.50.4.0-24", "224.0.0.1", 3),
        ("10.50.5.0-24", "255.255.255.255", 4),
        ("10.50.6.0-24", "192.0.2.1", 5),
    ]);

    assert!(accepted(&peers).is_empty());
    assert_eq!(
        reasons(&peers)
            .iter()
            .filter(|reason| **reason == RejectReason::BadPublicIp)
            .count(),
        4
    );
    assert_eq!(reasons(&peers).last(), Some(&RejectReason::OwnPublicIp));
}

#[test]
fn a_dual_stack_lease_is_a_peer_by_its_ipv4_part_and_an_ipv6_one_is_none() {
    let peers = select(&[
        ("10.50.2.0-24&fd50:0:0:2::-64", "192.0.2.2", 1),
        ("0.0.0.0-0&fd50:0:0:3::-64", "192.0.2.3", 2),
    ]);

    assert_eq!(peers.v4().count(), 1);
    assert_eq!(reasons(&peers), [RejectReason::WrongFamily]);
}

#[test]
fn a_lease_of_another_backend_is_no_peer_and_one_without_a_type_is() {
    let values = [
        ("10.50.2.0-24", r#"{"PublicIP":"192.0.2.2"}"#),
        ("10.50.3.0-24", r#"{"PublicIP":"192.0.2.3","BackendType":"udp"}"#),
        (
            "10.50.4.0-24",
            r#"{"PublicIP":"192.0.2.4","BackendType":"vxlan","BackendData":{"VNI":1}}"#,
        ),
        (
            "10.50.5.0-24",
            r#"{"PublicIP":"192.0.2.5","BackendType":"","BackendData":[1,"2",{}]}"#,
        ),
    ];
    let kvs = values.map(|(subnet, value)| key_value(subnet, value, Revision(2)));
    let mut leases = Leases::new(StorePrefix::default());
    leases.apply_list(&Header::default(), kvs.to_vec(), Extent::Whole, Departure::Seen);
    let mut peers = Peers::new(GRACE);

    peers.judge(&leases.take_changes(), &leases, &standpoint(1), Instant::ZERO);

    assert_eq!(
        accepted(&peers),
        [
            "10.50.2.0-24 192.0.2.2",
            "10.50.3.0-24 192.0.2.3",
            "10.50.5.0-24 192.0.2.5"
        ]
    );
    assert_eq!(reasons(&peers), [RejectReason::ForeignBackend]);
}

#[test]
fn a_peer_whose_lease_vanished_unseen_is_kept_for_the_grace_time_and_not_longer() {
    let mut cluster = Cluster::of(&[("10.50.2.0-24", "192.0.2.2", 5), ("10.50.3.0-24", "192.0.2.3", 6)]);

    let vanished = cluster.list(&[], Departure::Unseen, 100);
    let before_the_end = cluster.wait_until(119);
    let at_the_end = cluster.wait_until(120);

    assert_eq!(vanished.stale.len(), 2);
    assert!(vanished.routes.is_empty() && before_the_end == PeerNews::default());
    assert_eq!(at_the_end.removed.len(), 2);
    assert!(cluster.accepted().is_empty());
}

#[test]
fn a_peer_whose_end_was_seen_goes_at_once() {
    let mut cluster = Cluster::of(&[("10.50.2.0-24", "192.0.2.2", 5)]);

    let news = cluster.list(&[], Departure::Seen, 100);

    assert_eq!(news.removed.len(), 1);
    assert!(news.stale.is_empty() && cluster.accepted().is_empty());
}

#[test]
fn a_stale_peer_that_writes_its_lease_again_is_a_peer_as_before_and_nobody_is_told() {
    let mut cluster = Cluster::of(&[("10.50.2.0-24", "192.0.2.2", 5)]);
    cluster.list(&[], Departure::Unseen, 100);

    let news = cluster.list(&[("10.50.2.0-24", "192.0.2.2", 2)], Departure::Seen, 110);

    assert_eq!(news, PeerNews::default());
    assert_eq!(cluster.wait_until(200), PeerNews::default());
    assert_eq!(cluster.accepted(), ["10.50.2.0-24 192.0.2.2"]);
}

#[test]
fn any_lease_against_a_stale_peer_ends_its_time() {
    for (subnet, public_ip) in [
        ("10.50.2.0-24", "192.0.2.9"),
        ("10.50.2.64-26", "192.0.2.9"),
        ("10.50.0.0-20", "192.0.2.9"),
        // It cannot be used, but somebody says that the subnet is theirs.
        ("10.50.2.0-25", "127.0.0.1"),
        // The node has another subnet now.
        ("10.50.8.0-24", "192.0.2.2"),
    ] {
        let mut cluster = Cluster::of(&[("10.50.2.0-24", "192.0.2.2", 5)]);
        cluster.list(&[], Departure::Unseen, 100);

        cluster.list(&[(subnet, public_ip, 7)], Departure::Seen, 101);

        let stale = cluster.peers.stale().count();
        let is_kept = cluster.accepted().contains(&"10.50.2.0-24 192.0.2.2".into());
        assert!(stale == 0 && !is_kept, "{subnet} {public_ip}");
    }
}

#[test]
fn junk_and_other_subnets_leave_a_stale_peer_alone() {
    let mut cluster = Cluster::of(&[("10.50.2.0-24", "192.0.2.2", 5)]);
    cluster.list(&[], Departure::Unseen, 100);

    cluster.list(
        &[("0.0.0.0-0", "192.0.2.9", 7), ("10.50.3.0-24", "192.0.2.3", 8)],
        Departure::Seen,
        101,
    );

    assert_eq!(
        cluster.accepted(),
        ["10.50.2.0-24 192.0.2.2", "10.50.3.0-24 192.0.2.3"]
    );
}

proptest! {
    #[test]
    fn judging_changes_comes_to_the_same_as_judging_everything(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut leases = Leases::new(StorePrefix::default());
        let mut standpoint = standpoint(1);
        let mut peers = Peers::new(GRACE);
        let mut told = BTreeMap::new();
        let mut now = Instant::ZERO;
        peers.judge_all(&Changes::new(), &leases, &standpoint, now);

        for (number, step) in steps.into_iter().enumerate() {
            let before = RefPeers::from(&peers);
            let revision = Revision(i64::try_from(number).unwrap() + 2);
            let moved = matches!(step, Step::Move(_));
            now = now + Duration::from_secs(7);
            take(step, revision, &mut leases, &mut standpoint);
            let changes = leases.take_changes();
            let news = if moved {
                peers.judge_all(&changes, &leases, &standpoint, now)
            } else {
                peers.judge(&changes, &leases, &standpoint, now)
            };

            let situation = Situation {
                changes: &changes,
                leases: &leases,
                standpoint: &standpoint,
                grace: GRACE,
                now,
            };
            let expected = before.judge(&situation);
            prop_assert_eq!(&RefPeers::from(&peers), &expected);
            prop_assert_eq!(&news, &expected.news_since(&before, &situation));
            prop_assert!(peers.first_end().is_none_or(|end| end > now));
            follow(&mut told, &news);
            prop_assert!(peers.v4().eq(told.iter().map(|(v4, ip)| (*v4, *ip))));
        }
    }
}

/// What can happen to the leases and to the node's place among them.
#[derive(Clone, Debug)]
enum Step {
    /// Writes and deletions at one revision, reported by the watch.
    Batch(Vec<(String, Option<String>)>, Departure),
    /// The store was restored: its keys are others, with any revisions.
    List(Vec<(String, String, i64)>, Departure),
    /// The node holds another subnet.
    Move(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let write = (subnet_text(), proptest::option::weighted(0.6, value()));
    let listed = (subnet_text(), value(), 1..40_i64);
    let departure = || prop_oneof![Just(Departure::Seen), Just(Departure::Unseen)];
    let batch = (proptest::collection::vec(write, 1..4), departure());
    let list = (proptest::collection::vec(listed, 0..20), departure());
    prop_oneof![
        20 => batch.prop_map(|(writes, departure)| Step::Batch(writes, departure)),
        1 => list.prop_map(|(listed, departure)| Step::List(listed, departure)),
        1 => (0..12_u8).prop_map(Step::Move),
    ]
}

/// Few subnets of several sizes, so that they nest, and some that are none or no peer's.
fn subnet_text() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => (0..8_u32, 20..28_u8).prop_map(|(slot, length)| {
            let address = Ipv4Addr::from(0x0a32_0000 + slot * 0x100);
            let net = Ipv4Net::new(address, length).unwrap().trunc();
            format!("{}-{length}", net.addr())
        }),
        1 => (0..4_u32, 1..4_u32).prop_map(|(slot, v6)| format!("10.50.{slot}.0-24&fd50:0:0:{v6}::-64")),
        1 => prop_oneof!["10.50.0.0-16", "0.0.0.0-0", "10.60.1.0-24", "junk", "0.0.0.0-0&fd50:0:0:3::-64"]
            .prop_map(Into::into),
    ]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (1..6_u8).prop_map(|host| format!(r#"{{"PublicIP":"192.0.2.{host}"}}"#)),
        1 => (1..6_u8, prop_oneof!["vxlan", "udp", "UDP"]).prop_map(|(host, kind)| {
            format!(r#"{{"PublicIP":"192.0.2.{host}","BackendType":"{kind}"}}"#)
        }),
        1 => Just("junk".into()),
        1 => Just(r#"{"PublicIP":"127.0.0.1"}"#.into()),
    ]
}

fn take(step: Step, revision: Revision, leases: &mut Leases, standpoint: &mut Standpoint) {
    match step {
        Step::Batch(writes, departure) => {
            let events = writes.into_iter().map(|(subnet, value)| {
                let key = key(&subnet);
                let Some(value) = value else {
                    return WatchEvent::Delete {
                        key,
                        mod_revision: revision,
                    };
                };
                let known = leases.get(&key).map(|entry| entry.create_revision);
                WatchEvent::Put(KeyValue {
                    create_revision: known.unwrap_or(revision),
                    ..key_value(&subnet, &value, revision)
                })
            });
            let events = events.collect();
            let unseen = match departure {
                Departure::Seen => Revision(0),
                Departure::Unseen => revision,
            };
            leases.apply_events(&Header::default(), events, unseen);
        }
        Step::List(listed, departure) => {
            let kvs: BTreeMap<_, _> = listed
                .into_iter()
                .map(|(subnet, value, created)| {
                    let kv = key_value(&subnet, &value, Revision(created));
                    (kv.key.clone(), kv)
                })
                .collect();
            let header = Header {
                revision,
                ..Header::default()
            };
            leases.apply_list(&header, kvs.into_values().collect(), Extent::Whole, departure);
        }
        Step::Move(slot) => *standpoint = self::standpoint(slot),
    }
}

fn follow(told: &mut BTreeMap<Ipv4Net, Ipv4Addr>, news: &PeerNews) {
    for (v4, public_ip) in &news.routes {
        match public_ip {
            Some(public_ip) => told.insert(*v4, *public_ip),
            None => told.remove(v4),
        };
    }
}

/// A node among leases.
struct Cluster {
    leases: Leases,
    peers: Peers,
}

impl Cluster {
    fn of(leases: &[(&str, &str, i64)]) -> Self {
        let mut cluster = Self {
            leases: Leases::new(StorePrefix::default()),
            peers: Peers::new(GRACE),
        };
        cluster.list(leases, Departure::Seen, 0);
        cluster
    }

    /// Replaces all leases by these.
    fn list(&mut self, leases: &[(&str, &str, i64)], departure: Departure, second: u64) -> PeerNews {
        let kvs = leases.iter().map(|(subnet, public_ip, revision)| {
            let value = format!(r#"{{"PublicIP":"{public_ip}"}}"#);
            key_value(subnet, &value, Revision(*revision))
        });
        self.leases
            .apply_list(&Header::default(), kvs.collect(), Extent::Whole, departure);
        self.wait_until(second)
    }

    fn wait_until(&mut self, second: u64) -> PeerNews {
        let changes = self.leases.take_changes();
        let now = Instant::ZERO + Duration::from_secs(second);
        self.peers.judge(&changes, &self.leases, &standpoint(1), now)
    }

    fn accepted(&self) -> Vec<String> {
        accepted(&self.peers)
    }
}

fn select(leases: &[(&str, &str, i64)]) -> Peers {
    Cluster::of(leases).peers
}

fn standpoint(slot: u8) -> Standpoint {
    let config = NetworkConfig::parse(br#"{"Network":"10.50.0.0/16"}"#).unwrap();
    Standpoint {
        backend: Backend::new(&config).unwrap(),
        network: "10.50.0.0/16".parse().unwrap(),
        public_ip: Ipv4Addr::new(192, 0, 2, 1),
        own_key: key(&format!("10.50.{slot}.0-24")).into(),
        own_subnet: Ipv4Net::new(Ipv4Addr::new(10, 50, slot, 0), 24).unwrap(),
    }
}

fn key_value(subnet: &str, value: &str, revision: Revision) -> KeyValue {
    KeyValue {
        key: key(subnet),
        value: value.as_bytes().to_vec(),
        create_revision: revision,
        mod_revision: revision,
        version: 1,
        lease: None,
    }
}

fn key(subnet: &str) -> Vec<u8> {
    format!("/coreos.com/network/subnets/{subnet}").into_bytes()
}

fn accepted(peers: &Peers) -> Vec<String> {
    peers
        .iter()
        .map(|(subnet, public_ip)| format!("{subnet} {public_ip}"))
        .collect()
}

fn reasons(peers: &Peers) -> Vec<RejectReason> {
    peers.rejected.values().map(|(_, reason)| *reason).collect()
}
