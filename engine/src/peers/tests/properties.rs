//! Whatever happens, the peers are those that the rule says.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use proptest::prelude::*;

use super::super::ref_peers::{RefPeers, Situation};
use super::super::*;
use super::support::{Cluster, DUAL, GRACE, V4, V6, key, key_value, standpoint, vxlan};
use crate::leases::Extent;
use crate::store::{Header, KeyValue, WatchEvent};

proptest! {
    #[test]
    fn judging_changes_comes_to_the_same_as_judging_everything(
        (backend, versions) in network(),
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut cluster = Cluster::new(standpoint(&backend, versions, 1, 1));
        let mut told = BTreeMap::new();
        let mut told_people = BTreeMap::new();
        let mut now = Instant::ZERO;
        cluster.peers.judge_all(&Changes::new(), &cluster.leases, &cluster.standpoint, now);

        for (number, step) in steps.into_iter().enumerate() {
            let before = RefPeers::from(&cluster.peers);
            let revision = Revision(i64::try_from(number).unwrap() + 2);
            let moved = matches!(step, Step::Move(..));
            now = now + Duration::from_secs(7);
            take(step, revision, &mut cluster);
            let Cluster { leases, peers, standpoint } = &mut cluster;
            let changes = leases.take_changes();
            let news = if moved {
                peers.judge_all(&changes, leases, standpoint, now)
            } else {
                peers.judge(&changes, leases, standpoint, now)
            };

            let situation = Situation { changes: &changes, leases, standpoint, grace: GRACE, now };
            let expected = before.judge(&situation);
            prop_assert_eq!(&RefPeers::from(&*peers), &expected);
            prop_assert_eq!(&news, &expected.news_since(&before, &situation));
            prop_assert!(peers.first_end().is_none_or(|end| end > now));
            follow(&mut told, &mut told_people, &news);
            prop_assert!(peers.places().eq(told.iter().map(|(net, place)| (*net, *place))));
            prop_assert_eq!(peers.iter().collect::<BTreeMap<_, _>>(), told_people.clone());
            prop_assert_eq!(peers.iter().count(), told_people.len());
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
    /// The node holds another subnet, and has other addresses; such writes and deletions happened meanwhile.
    Move(u8, u8, Vec<(String, Option<String>)>, Departure),
    /// The node is restored from a snapshot.
    Restore,
}

/// Each combination of IP versions, without and with hardware addresses.
fn network() -> impl Strategy<Value = (Backend, &'static [IpVersion])> {
    let backend = prop_oneof![Just(Backend::Alloc), Just(vxlan())];
    (backend, prop_oneof![Just(V4), Just(V6), Just(DUAL)])
}

fn step() -> impl Strategy<Value = Step> {
    let write = (subnet_text(), proptest::option::weighted(0.6, value())).boxed();
    let listed = (subnet_text(), value(), 1..40_i64);
    let departure = || prop_oneof![Just(Departure::Seen), Just(Departure::Unseen)];
    let writes = |least| proptest::collection::vec(write.clone(), least..4);
    let batch = (writes(1), departure());
    let moved = (0..12_u8, 1..6_u8, writes(0), departure());
    let list = (proptest::collection::vec(listed, 0..20), departure());
    prop_oneof![
        16 => batch.prop_map(|(writes, departure)| Step::Batch(writes, departure)),
        1 => list.prop_map(|(listed, departure)| Step::List(listed, departure)),
        3 => moved.prop_map(|(slot, host, writes, departure)| Step::Move(slot, host, writes, departure)),
        1 => Just(Step::Restore),
    ]
}

/// Few subnets of several sizes, so that they nest, and some that are none or no peer's.
fn subnet_text() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => v4_net().prop_map(Subnet::V4).prop_map(|subnet| subnet.to_string()),
        5 => v6_net().prop_map(Subnet::V6).prop_map(|subnet| subnet.to_string()),
        8 => (v4_net(), v6_net()).prop_map(|(v4, v6)| Subnet::Dual(v4, v6).to_string()),
        1 => prop_oneof![
            "10.50.0.0-16",
            "0.0.0.0-0",
            "10.60.1.0-24",
            "junk",
            "0.0.0.0-0&fd50::-48",
            "10.50.3.0-24&fd60::-64",
            "10.60.1.0-24&fd50:0:0:3::-64",
        ].prop_map(Into::into),
    ]
}

fn v4_net() -> impl Strategy<Value = Ipv4Net> {
    (0..8_u32, 20..28_u8).prop_map(|(slot, length)| {
        let address = Ipv4Addr::from(0x0a32_0000 + slot * 0x100);
        Ipv4Net::new(address, length).unwrap().trunc()
    })
}

fn v6_net() -> impl Strategy<Value = Ipv6Net> {
    (0..8_u16, 60..68_u8).prop_map(|(slot, length)| {
        let address = Ipv6Addr::new(0xfd50, 0, 0, slot, 0, 0, 0, 0);
        Ipv6Net::new(address, length).unwrap().trunc()
    })
}

/// Few nodes, some of which use another's hardware address.
fn value() -> impl Strategy<Value = String> {
    let kind = prop_oneof![6 => Just(""), 6 => Just("VXLAN"), 1 => Just("alloc")];
    let host = || prop_oneof![3 => (1..6_u8).prop_map(Some), 1 => Just(None)];
    let data = || {
        prop_oneof![
            8 => (1..4_u8).prop_map(|mac| format!(r#"{{"VtepMAC":"02:00:00:00:00:0{mac}"}}"#)),
            1 => Just(r#"{"VtepMAC":"03:00:00:00:00:01"}"#.to_string()),
            1 => Just("null".to_string()),
        ]
    };
    let record = (host(), host(), kind, data(), data()).prop_map(|(v4, v6, kind, v4_data, v6_data)| {
        let v4 = v4.map_or("0.0.0.0".to_string(), |host| format!("192.0.2.{host}"));
        let v6 = v6.map_or("null".to_string(), |host| format!(r#""2001:db8::{host}""#));
        format!(
            r#"{{"PublicIP":"{v4}","PublicIPv6":{v6},"BackendType":"{kind}","BackendData":{v4_data},"BackendV6Data":{v6_data}}}"#
        )
    });
    prop_oneof![
        12 => record,
        1 => (1..6_u8).prop_map(|host| format!(r#"{{"PublicIP":"192.0.2.{host}"}}"#)),
        1 => Just("junk".into()),
        1 => Just(r#"{"PublicIP":"127.0.0.1","PublicIPv6":"ff02::1"}"#.into()),
    ]
}

fn take(step: Step, revision: Revision, cluster: &mut Cluster) {
    let leases = &mut cluster.leases;
    match step {
        Step::Batch(writes, departure) => write(writes, departure, revision, leases),
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
        Step::Move(slot, host, writes, departure) => {
            write(writes, departure, revision, leases);
            let Standpoint { backend, ranges, .. } = &cluster.standpoint;
            let versions: Vec<_> = ranges.keys().copied().collect();
            cluster.standpoint = standpoint(backend, &versions, slot, host);
        }
        Step::Restore => {
            let saved = serde_json::to_string(&cluster.peers).unwrap();
            cluster.peers = serde_json::from_str(&saved).unwrap();
        }
    }
}

fn write(
    writes: Vec<(String, Option<String>)>,
    departure: Departure,
    revision: Revision,
    leases: &mut Leases,
) {
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

fn follow(told: &mut BTreeMap<IpNet, Place>, told_people: &mut BTreeMap<Subnet, IpAddr>, news: &PeerNews) {
    for (net, place) in &news.routes {
        match place {
            Some(place) => told.insert(*net, *place),
            None => told.remove(net),
        };
    }
    told_people.extend(&news.added);
    told_people.retain(|subnet, _| !news.removed.contains(subnet));
}
