//! What the membership filter lets pass, and how members join and leave.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use selvedge_engine::{
    FilterCounter, FilteredNode, KernelErrorKind, Member, Membership, RulesetName, Subnet,
};
use selvedge_host::kernel::firewall::{Firewall, MemberChange};
use selvedge_tests::need;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::cluster::{Cluster, FLOWS};
use crate::frames::{LAST, forgeries, frame, tunnel_packet};
use crate::rulesets::{alone, block_on, direct, filter, ip, node, tunnel};
use crate::space::run;

#[test]
fn members_outlive_the_daemon_and_a_switch_to_enforcing() {
    need!(root, ip, nft);

    alone(async |firewall| {
        let log = filter().ruleset(Membership::Log).unwrap();
        let enforce = filter().ruleset(Membership::Enforce).unwrap();
        let members: Vec<_> = (1..=3).flat_map(|index| filter().members(&node(index))).collect();
        let joining: Vec<_> = members.iter().copied().map(MemberChange::Join).collect();
        let early = firewall.change_members(&joining).await;
        assert!(
            early
                .iter()
                .all(|result| result.as_ref().unwrap_err().kind == KernelErrorKind::NotFound)
        );
        firewall.ensure_ruleset(&log).await.unwrap();
        firewall.change_members(&joining).await;
        let sets = run("nft -j list table inet selvedge").matches("10.5.").count();

        firewall.ensure_ruleset(&enforce).await.unwrap();
        assert_eq!(
            run("nft -j list table inet selvedge").matches("10.5.").count(),
            sets
        );

        let mut next = Firewall::open();
        let mut found = next.found(&RulesetName::ALL).await.members;
        found.sort();
        let mut expected = members.clone();
        expected.sort();
        assert_eq!(found, expected);
        let leaving: Vec<_> = filter()
            .members(&node(3))
            .into_iter()
            .map(MemberChange::Leave)
            .collect();
        next.change_members(&leaving).await;
        next.ensure_ruleset(&enforce).await.unwrap();
        assert_eq!(
            next.found(&RulesetName::ALL).await.members.len(),
            members.len() - leaving.len()
        );

        // Of many, only what the kernel refuses fails.
        let overlap = Member::Direct("10.5.0.0/16".parse().unwrap());
        let mut changes: Vec<_> = joining.clone();
        changes.insert(3, MemberChange::Join(overlap));
        let results = next.change_members(&changes).await;
        let refused: Vec<_> = results
            .iter()
            .enumerate()
            .filter(|(_, result)| result.is_err())
            .collect();
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!(refused[0].0, 3);
    });
}

#[test]
fn forged_tunnel_packets_are_counted_and_where_membership_is_enforced_dropped() {
    need!(root, ip, nft);

    let cluster = Cluster::new();
    cluster.make_tunnels();
    cluster.peer.run(|| {
        ip("addr add 192.0.2.66/24 dev underlay");
        ip("addr add 2001:db8:2::66/64 dev underlay nodad");
    });
    let judged = |membership: Option<Membership>| {
        cluster.node.run(move || {
            block_on(async {
                let mut firewall = Firewall::open();
                let Some(membership) = membership else {
                    return firewall.remove_ruleset(RulesetName::Membership).await.unwrap();
                };
                firewall
                    .ensure_ruleset(&tunnel().ruleset(membership).unwrap())
                    .await
                    .unwrap();
                let joining = tunnel().members(&node(2)).into_iter().map(MemberChange::Join);
                firewall.change_members(&joining.collect::<Vec<_>>()).await;
            });
        });
        let before = cluster.counters();
        let mut report = String::new();
        for (name, from, frame, to) in forgeries() {
            let arrived = cluster.sends(from, &frame, to);
            writeln!(report, "{name}: {}", if arrived { "delivered" } else { "lost" }).unwrap();
        }
        let after = cluster.counters();
        for (counter, count) in after {
            let count = count - before.get(&counter).copied().unwrap_or(0);
            writeln!(report, "{} {count}", counter.name()).unwrap();
        }
        report
    };

    insta::assert_snapshot!("forgeries_off", judged(None));
    insta::assert_snapshot!("forgeries_logged", judged(Some(Membership::Log)));
    insta::assert_snapshot!("forgeries_dropped", judged(Some(Membership::Enforce)));
}

#[test]
fn members_are_heard_while_the_filter_switches_between_logging_and_enforcing() {
    need!(root, ip, nft);

    let cluster = Cluster::new();
    cluster.make_tunnels();
    let mut turns = [Membership::Log, Membership::Enforce].into_iter().cycle();
    let reload = move |runtime: &Runtime, firewall: &mut Firewall| {
        let ruleset = tunnel().ruleset(turns.next().unwrap()).unwrap();
        runtime.block_on(firewall.ensure_ruleset(&ruleset)).unwrap();
        let joining = tunnel().members(&node(2)).into_iter().map(MemberChange::Join);
        runtime.block_on(firewall.change_members(&joining.collect::<Vec<_>>()));
    };
    let inner: IpAddr = "10.5.1.0".parse().unwrap();
    let packet = tunnel_packet(&frame("10.5.2.2".parse().unwrap(), None, LAST));

    let seen = cluster.while_replacing(reload, &cluster.node, inner, &cluster.peer, move || {
        let socket = UdpSocket::bind((Ipv4Addr::new(192, 0, 2, 2), 0)).unwrap();
        socket
            .send_to(&packet, (Ipv4Addr::new(192, 0, 2, 1), 8472))
            .unwrap();
    });

    assert_eq!(seen, BTreeMap::from([("10.5.2.2".parse().unwrap(), FLOWS)]));
}

#[test]
fn packets_without_a_tunnel_need_a_source_in_some_lease() {
    need!(root, ip, nft);

    let cluster = Cluster::new();
    for (membership, delivered) in [
        (Membership::Log, [true; 3]),
        (Membership::Enforce, [true, false, false]),
    ] {
        cluster.node.run(move || {
            block_on(async {
                let mut firewall = Firewall::open();
                firewall
                    .ensure_ruleset(&direct().ruleset(membership).unwrap())
                    .await
                    .unwrap();
                let joining = direct().members(&node(2)).into_iter().map(MemberChange::Join);
                firewall.change_members(&joining.collect::<Vec<_>>()).await;
            });
        });
        let before = cluster.counters();

        let arrived = ["10.5.2.2", "10.5.9.9", "10.5.1.9"].map(|source| {
            let source: Ipv4Addr = source.parse().unwrap();
            cluster.arrives(&cluster.peer, source.into(), Ipv4Addr::new(10, 5, 1, 2).into())
        });

        assert_eq!(arrived, delivered);
        let after = cluster.counters();
        for counter in [FilterCounter::UnknownSender, FilterCounter::ForeignSource] {
            let before = before.get(&counter).copied().unwrap_or(0);
            assert_eq!(after[&counter] - before, 1, "{counter:?}");
        }
    }
}

#[test]
fn two_thousand_members_join_in_one_transaction() {
    need!(root, ip, nft);

    alone(async |firewall| {
        firewall
            .ensure_ruleset(&tunnel().ruleset(Membership::Enforce).unwrap())
            .await
            .unwrap();
        let node = |index: u16| {
            let [high, low] = index.to_be_bytes();
            FilteredNode {
                v4: Some(Ipv4Addr::new(192, 168, high, low)),
                v6: None,
                subnet: Subnet::V4(format!("10.{high}.{low}.0/24").parse().unwrap()),
            }
        };
        let joining: Vec<_> = (1..=2000)
            .flat_map(|index| tunnel().members(&node(index)))
            .map(MemberChange::Join)
            .collect();

        let begun = Instant::now();
        let results = firewall.change_members(&joining).await;
        let all = begun.elapsed();
        let begun = Instant::now();
        let leaving: Vec<_> = tunnel()
            .members(&node(7))
            .into_iter()
            .map(MemberChange::Leave)
            .collect();
        firewall.change_members(&leaving).await;
        let one = begun.elapsed();

        assert!(results.iter().all(Result::is_ok));
        assert_eq!(
            firewall.found(&RulesetName::ALL).await.members.len(),
            joining.len() - leaving.len()
        );
        println!("2000 nodes joined in {all:?}, one left in {one:?}, each with one process");
    });
}
