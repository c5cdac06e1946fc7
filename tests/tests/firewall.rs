//! The firewall's rules on the real kernel, in network namespaces: what they do to packets, that they are exact, and that
//! whatever befalls them is noticed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "firewall/space.rs"]
mod space;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use etherparse::{PacketBuilder, PacketBuilderStep, UdpHeader};
use nix::sys::socket::{setsockopt, sockopt};
use selvedge_engine::{
    DirectTraffic, FilterCounter, FilteredNode, Firewall as Kind, ForwardRules, IpVersion, KernelErrorKind,
    KernelEvent, KernelObject, KernelOp, LinkName, Masquerade, Member, Membership, MembershipFilter,
    NetworkConfig, Ruleset, RulesetName, SourcePorts, Subnet, TrafficOptions, TunnelTraffic, Vni,
    traffic_rulesets,
};
use selvedge_host::kernel::firewall::{Firewall, MemberChange};
use selvedge_tests::need;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use self::space::{Space, run, run_with_input};

/// What tunnel packets carry, and what the last one does.
const FORGED: &[u8] = b"forged";
const LAST: &[u8] = b"the last";

/// How many datagrams are sent while rules are replaced.
const FLOWS: usize = 300;

const KINDS: [Kind; 2] = [Kind::Nftables, Kind::Iptables];

#[test]
fn scripts_load_and_loading_them_twice_changes_nothing() {
    need!(root, ip, nft, iptables);

    alone(async |firewall| {
        for ruleset in every_ruleset() {
            if ruleset.name.table().is_some() {
                run_with_input("nft -c -f -", &ruleset.script);
            }
            firewall.ensure_ruleset(&ruleset).await.unwrap();
            let before = everything();
            firewall.ensure_ruleset(&ruleset).await.unwrap();
            assert_eq!(everything(), before);
        }
        assert_eq!(firewall.found().await.rulesets, RulesetName::ALL);
        let options = firewall
            .traffic_options(ForwardRules::On, SourcePorts::FullyRandom)
            .await;
        assert_eq!(options.nftables_ports, SourcePorts::FullyRandom);
        assert_eq!(options.iptables_ports, SourcePorts::FullyRandom);

        for _ in 0..2 {
            for name in RulesetName::ALL {
                firewall.remove_ruleset(name).await.unwrap();
            }
        }

        let left = everything();
        assert!(
            !left.contains("FLANNEL") && !left.contains("flannel") && !left.contains("selvedge"),
            "{left}"
        );
        assert!(firewall.found().await.rulesets.is_empty());
    });
}

#[test]
fn rules_of_others_stay_and_what_is_wrong_with_ours_is_put_right() {
    need!(root, ip, nft, iptables);

    alone(async |firewall| {
        run("iptables -t nat -A POSTROUTING -s 10.9.0.0/16 -j MASQUERADE");
        run("iptables -t nat -N FLANNEL-POSTRTG");
        run("iptables -t nat -A FLANNEL-POSTRTG -s 10.99.0.0/16 -j ACCEPT");
        run("iptables -t nat -A POSTROUTING -j FLANNEL-POSTRTG");
        run("iptables -t nat -A POSTROUTING -j FLANNEL-POSTRTG");
        run("iptables -t nat -A POSTROUTING -s 10.8.0.0/16 -j MASQUERADE");
        run("iptables -N DOCKER-USER");
        run("iptables -A FORWARD -j DOCKER-USER");
        run("iptables -P FORWARD DROP");

        let ruleset = traffic(Kind::Iptables).remove(0);
        firewall.ensure_ruleset(&ruleset).await.unwrap();

        let nat = run("iptables-save -t nat");
        let of = |chain: &str| rules_of(&nat, chain);
        assert_eq!(
            of("POSTROUTING"),
            [
                "-s 10.9.0.0/16 -j MASQUERADE",
                "-s 10.8.0.0/16 -j MASQUERADE",
                "-m comment --comment \"flanneld masq\" -j FLANNEL-POSTRTG",
            ]
        );
        assert_eq!(
            of("FLANNEL-POSTRTG"),
            rules_of(&ruleset.script, "FLANNEL-POSTRTG")
        );

        // A rule that came later stays behind the jump, which stays where it is.
        run("iptables -t nat -A POSTROUTING -s 10.7.0.0/16 -j MASQUERADE");
        let before = everything();
        firewall.ensure_ruleset(&ruleset).await.unwrap();
        assert_eq!(everything(), before);

        firewall.remove_ruleset(ruleset.name).await.unwrap();
        let left = run("iptables-save -t nat") + &run("iptables-save -t filter");
        assert!(!left.contains("FLANNEL"), "{left}");
        assert!(
            left.contains(":FORWARD DROP") && left.contains("-A FORWARD -j DOCKER-USER"),
            "{left}"
        );
        assert_eq!(rules_of(&left, "POSTROUTING").len(), 3);
    });
}

#[test]
fn a_table_of_flannels_is_taken_over_and_removed_when_the_other_kind_is_used() {
    need!(root, ip, nft, iptables);

    alone(async |firewall| {
        run_with_input(
            "nft -f -",
            "table ip flannel-ipv4 {
                chain postrtg { type nat hook postrouting priority 100; ip saddr != 10.5.1.0/24 ip daddr 10.5.0.0/16 return; }
                chain forward { type filter hook forward priority 0; }
            }",
        );
        assert_eq!(
            firewall.found().await.rulesets,
            [RulesetName::NftablesTraffic(IpVersion::V4)]
        );

        for ruleset in traffic(Kind::Nftables) {
            firewall.ensure_ruleset(&ruleset).await.unwrap();
        }
        let table = run("nft list table ip flannel-ipv4");
        assert!(!table.contains("saddr != 10.5.1.0/24"), "{table}");
        assert!(
            table.contains("ip saddr != 10.5.0.0/16 ip daddr 10.5.1.0/24 return"),
            "{table}"
        );

        for ruleset in traffic(Kind::Iptables) {
            firewall.ensure_ruleset(&ruleset).await.unwrap();
        }
        for name in [IpVersion::V4, IpVersion::V6].map(RulesetName::NftablesTraffic) {
            firewall.remove_ruleset(name).await.unwrap();
        }
        assert!(!run("nft list tables").contains("flannel"));
    });
}

#[test]
fn a_missing_program_is_one_clear_line_and_nothing_to_remove() {
    need!(root, unshare);

    // The process has one environment for all its tests; this one has a process of its own.
    if std::env::var_os("SELVEDGE_TEST_WITHOUT_TOOLS").is_none() {
        let status = std::process::Command::new("unshare")
            .args([
                "-m",
                "sh",
                "-c",
                "mount -t tmpfs none /usr/sbin && exec \"$0\" --exact \"$1\"",
            ])
            .arg(std::env::current_exe().unwrap())
            .arg("a_missing_program_is_one_clear_line_and_nothing_to_remove")
            .env("SELVEDGE_TEST_WITHOUT_TOOLS", "1")
            .status();
        assert!(status.unwrap().success());
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut firewall = Firewall::open();
        for ruleset in every_ruleset() {
            let error = firewall.ensure_ruleset(&ruleset).await.unwrap_err();
            assert_eq!(error.kind, KernelErrorKind::Unsupported, "{error}");
            assert!(error.message.contains("is not installed: install"), "{error}");
            assert_eq!(firewall.remove_ruleset(ruleset.name).await, Ok(()));
        }
        let options = firewall.traffic_options(ForwardRules::On, SourcePorts::FullyRandom);
        assert_eq!(options.await, TrafficOptions::default());
    });
}

#[test]
fn whatever_befalls_rules_and_members_is_noticed_and_put_right() {
    need!(root, ip, nft, iptables);

    alone(async |firewall| {
        let rulesets = every_ruleset();
        for ruleset in &rulesets {
            firewall.ensure_ruleset(ruleset).await.unwrap();
        }
        let members: Vec<_> = (1..=3).flat_map(|index| filter().members(&node(index))).collect();
        let joining: Vec<_> = members.iter().copied().map(MemberChange::Join).collect();
        assert!(firewall.change_members(&joining).await.iter().all(Result::is_ok));
        let whole = everything();
        let quiet = tokio::time::timeout(Duration::from_millis(500), firewall.doubted()).await;
        assert!(quiet.is_err(), "our own changes are no news");

        for (deed, lost) in misfortunes(&rulesets, &members) {
            run(deed);
            let begun = Instant::now();
            tokio::time::timeout(Duration::from_secs(5), firewall.doubted())
                .await
                .expect(deed);
            let found = firewall.check().await;
            let found: Vec<_> = found
                .into_iter()
                .map(|event| {
                    let KernelEvent::Vanished(object) = event else {
                        panic!("{deed}: {event:?}");
                    };
                    object
                })
                .collect();
            assert_eq!(found, lost, "{deed}");
            repair(firewall, &found).await;
            assert!(
                begun.elapsed() < Duration::from_secs(1),
                "{deed}: {:?}",
                begun.elapsed()
            );
            assert_eq!(everything(), whole, "{deed}");
            assert!(firewall.check().await.is_empty(), "{deed}");
        }

        run("nft flush ruleset");
        firewall.doubted().await;
        let found = firewall.check().await;
        assert_eq!(found.len(), rulesets.len(), "{found:?}");
    });
}

#[test]
fn changes_of_other_tables_raise_no_doubt() {
    need!(root, ip, nft);

    alone(async |firewall| {
        for ruleset in every_ruleset()
            .iter()
            .filter(|ruleset| ruleset.name.table().is_some())
        {
            firewall.ensure_ruleset(ruleset).await.unwrap();
        }

        run("nft add table ip kube-proxy");
        run("nft add table ip selvedge");
        let doubt = tokio::time::timeout(Duration::from_millis(600), firewall.doubted()).await;

        assert!(doubt.is_err());
    });
}

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
        let mut found = next.found().await.members;
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
        assert_eq!(next.found().await.members.len(), members.len() - leaving.len());

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
fn masquerading_leaves_pods_and_marked_packets_alone_and_hides_the_rest() {
    need!(root, ip, nft, iptables);

    for kind in KINDS {
        let cluster = Cluster::new();
        let plain = cluster.sources();
        cluster.node.run(move || {
            block_on(async {
                let mut firewall = Firewall::open();
                for ruleset in traffic(kind) {
                    firewall.ensure_ruleset(&ruleset).await.unwrap();
                }
            });
        });

        let masqueraded = cluster.sources();

        insta::allow_duplicates! {
            insta::assert_snapshot!("masquerading_off", plain);
            insta::assert_snapshot!("masquerading_on", masqueraded);
        }
    }
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
fn nothing_is_lost_and_nothing_shown_while_rules_are_replaced() {
    need!(root, ip, nft, iptables);

    for kind in KINDS {
        let cluster = Cluster::new();
        let reload = move |runtime: &Runtime, firewall: &mut Firewall| {
            let rulesets = traffic(kind);
            for ruleset in &rulesets {
                runtime.block_on(firewall.ensure_ruleset(ruleset)).unwrap();
            }
        };
        let outside: IpAddr = "198.51.100.2".parse().unwrap();

        let seen = cluster.while_replacing(reload, &cluster.outside, outside, &cluster.pod, move || {
            let socket = UdpSocket::bind((Ipv4Addr::new(10, 5, 1, 2), 0)).unwrap();
            socket.send_to(b"new flow", (outside, 7000)).unwrap();
        });

        assert_eq!(
            seen,
            BTreeMap::from([("198.51.100.1".parse().unwrap(), FLOWS)]),
            "{kind:?}"
        );
    }
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
fn the_older_iptables_is_compared_when_asked_and_its_lock_waited_for() {
    need!(root, ip);
    if let Some(missing) = selvedge_tests::requirement::missing("iptables-legacy") {
        selvedge_tests::skip!("{missing}");
        return;
    }

    let programs = std::env::var("SELVEDGE_TEST_PROGRAMS");
    let Ok(programs) = programs else {
        let directory = tempfile::tempdir().unwrap();
        for program in ["iptables", "ip6tables"] {
            for part in ["", "-save", "-restore"] {
                let older = format!("/usr/sbin/{program}-legacy{part}");
                std::os::unix::fs::symlink(older, directory.path().join(format!("{program}{part}"))).unwrap();
            }
        }
        // The lock is held in a /run of its own.
        let status = std::process::Command::new("unshare")
            .args([
                "-m",
                "sh",
                "-c",
                "mount -t tmpfs none /run && exec \"$0\" --exact \"$1\"",
            ])
            .arg(std::env::current_exe().unwrap())
            .arg("the_older_iptables_is_compared_when_asked_and_its_lock_waited_for")
            .env("SELVEDGE_TEST_PROGRAMS", directory.path())
            .env(
                "PATH",
                format!(
                    "{}:{}",
                    directory.path().display(),
                    std::env::var("PATH").unwrap()
                ),
            )
            .status();
        assert!(status.unwrap().success());
        return;
    };
    alone(async move |firewall| {
        let ruleset = traffic(Kind::Iptables).remove(0);
        firewall.ensure_ruleset(&ruleset).await.unwrap();
        assert!(run(&format!("{programs}/iptables-save -t nat")).contains("-j FLANNEL-POSTRTG"));
        assert!(firewall.check().await.is_empty());

        run("iptables -t nat -F POSTROUTING");
        let doubt = tokio::time::timeout(Duration::from_millis(500), firewall.doubted()).await;
        assert!(doubt.is_err(), "the older iptables tells nobody");
        let found = firewall.check().await;
        assert!(
            matches!(found.as_slice(), [KernelEvent::Vanished(KernelObject::Ruleset(lost))] if *lost == ruleset)
        );

        let lock = std::fs::File::create("/run/xtables.lock").unwrap();
        lock.lock().unwrap();
        let error = firewall.ensure_ruleset(&ruleset).await.unwrap_err();
        assert_eq!(error.kind, KernelErrorKind::Other);
        assert!(error.message.contains("fuser -v /run/xtables.lock"), "{error}");
        assert_eq!(error.message.lines().count(), 1);
        drop(lock);
        firewall.ensure_ruleset(&ruleset).await.unwrap();
        assert!(run("iptables-save -t nat").contains("-j FLANNEL-POSTRTG"));
    });
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
            firewall.found().await.members.len(),
            joining.len() - leaving.len()
        );
        println!("2000 nodes joined in {all:?}, one left in {one:?}, each with one process");
    });
}

/// Returns what somebody may do to the rules, and the objects that are lost by it.
fn misfortunes(rulesets: &[Ruleset], members: &[Member]) -> Vec<(&'static str, Vec<KernelObject>)> {
    let befallen = |name: RulesetName| {
        let ruleset = rulesets.iter().find(|ruleset| ruleset.name == name);
        vec![KernelObject::Ruleset(ruleset.unwrap().clone())]
    };
    let members_where = |wanted: fn(&Member) -> bool| {
        let members = members.iter().copied().filter(wanted);
        members.map(KernelObject::Member).collect::<Vec<_>>()
    };
    let v4 = RulesetName::NftablesTraffic(IpVersion::V4);
    let chains = RulesetName::IptablesTraffic(IpVersion::V4);
    vec![
        ("nft delete table ip flannel-ipv4", befallen(v4)),
        ("nft flush chain ip flannel-ipv4 postrtg", befallen(v4)),
        ("nft add rule ip flannel-ipv4 postrtg accept", befallen(v4)),
        (
            "nft insert rule ip flannel-ipv4 forward ip saddr 10.5.0.0/16 drop",
            befallen(v4),
        ),
        ("iptables -t nat -F FLANNEL-POSTRTG", befallen(chains)),
        ("iptables -t nat -D FLANNEL-POSTRTG 1", befallen(chains)),
        ("iptables -t nat -I FLANNEL-POSTRTG 3 -j ACCEPT", befallen(chains)),
        ("iptables -F FORWARD", befallen(chains)),
        ("iptables -A FORWARD -j FLANNEL-FWD", befallen(chains)),
        (
            "ip6tables -t nat -F",
            befallen(RulesetName::IptablesTraffic(IpVersion::V6)),
        ),
        (
            "nft delete table inet selvedge",
            befallen(RulesetName::Membership),
        ),
        (
            "nft flush chain inet selvedge tunnel",
            befallen(RulesetName::Membership),
        ),
        (
            "nft add element inet selvedge senders4 { 192.0.2.66 }",
            befallen(RulesetName::Membership),
        ),
        (
            "nft add element inet selvedge sources4 { 192.0.2.1 . 1-5 }",
            befallen(RulesetName::Membership),
        ),
        (
            "nft delete element inet selvedge senders4 { 192.0.2.2 }",
            members_where(|member| member.element() == "192.0.2.2"),
        ),
        (
            "nft flush set inet selvedge subnets4",
            members_where(|member| member.set() == "subnets4"),
        ),
    ]
}

async fn repair(firewall: &mut Firewall, lost: &[KernelObject]) {
    let mut joining = Vec::new();
    for object in lost {
        if let KernelObject::Ruleset(ruleset) = object {
            firewall.ensure_ruleset(ruleset).await.unwrap();
        }
        joining.extend(MemberChange::of(&KernelOp::Ensure(object.clone())));
    }
    if !joining.is_empty() {
        assert!(firewall.change_members(&joining).await.iter().all(Result::is_ok));
    }
}

/// Returns all rulesets in the order of their names.
fn every_ruleset() -> Vec<Ruleset> {
    let mut rulesets = traffic(Kind::Nftables);
    rulesets.extend(traffic(Kind::Iptables));
    rulesets.extend(filter().ruleset(Membership::Enforce));
    rulesets
}

fn traffic(kind: Kind) -> Vec<Ruleset> {
    let text = format!(
        r#"{{"Network": "10.5.0.0/16", "EnableIPv6": true, "IPv6Network": "fd05::/48", "EnableNFTables": {}}}"#,
        kind == Kind::Nftables
    );
    traffic_rulesets(
        &NetworkConfig::parse(text.as_bytes()).unwrap(),
        &subnet(1),
        Masquerade::On,
        &TrafficOptions {
            forward_rules: ForwardRules::On,
            nftables_ports: SourcePorts::FullyRandom,
            iptables_ports: SourcePorts::FullyRandom,
        },
    )
}

fn filter() -> MembershipFilter {
    MembershipFilter {
        tunnel: tunnel().tunnel,
        direct: direct().direct,
    }
}

fn tunnel() -> MembershipFilter {
    MembershipFilter {
        tunnel: Some(TunnelTraffic {
            port: 8472,
            vni: Vni::new(1).unwrap(),
        }),
        direct: None,
    }
}

fn direct() -> MembershipFilter {
    let v4 = ("10.5.0.0/16".parse().unwrap(), "10.5.1.0/24".parse().unwrap());
    let v6 = ("fd05::/48".parse().unwrap(), "fd05:0:0:1::/64".parse().unwrap());
    MembershipFilter {
        tunnel: None,
        direct: Some(DirectTraffic {
            underlay: LinkName("underlay".to_owned()),
            networks: vec![v4, v6],
        }),
    }
}

fn node(index: u8) -> FilteredNode {
    FilteredNode {
        v4: Some(Ipv4Addr::new(192, 0, 2, index)),
        v6: Some(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, index.into())),
        subnet: subnet(index),
    }
}

fn subnet(index: u8) -> Subnet {
    Subnet::Dual(
        format!("10.5.{index}.0/24").parse().unwrap(),
        format!("fd05:0:0:{index}::/64").parse().unwrap(),
    )
}

/// Runs a test in a network namespace of its own.
fn alone(test: impl AsyncFnOnce(&mut Firewall) + Send + 'static) {
    Space::new().run(move || block_on(async { test(&mut Firewall::open()).await }));
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    runtime().block_on(future)
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn ip(args: &str) -> String {
    run(&format!("ip {args}"))
}

/// Returns all rules of this namespace, without counts; the kernel lists its tables by age, this by name.
fn everything() -> String {
    let listed = run("nft -s list ruleset");
    let mut tables: Vec<_> = listed.split_inclusive("\n}\n").collect();
    tables.sort_unstable();
    tables.concat()
}

fn rules_of<'a>(text: &'a str, chain: &str) -> Vec<&'a str> {
    let prefix = format!("-A {chain} ");
    text.lines()
        .filter_map(|line| line.strip_prefix(&prefix))
        .collect()
}

/// A node with a pod, a peer beyond the underlay with a pod of its own, and a host that is no part of the cluster.
struct Cluster {
    node: Space,
    pod: Space,
    peer: Space,
    outside: Space,
}

impl Cluster {
    fn new() -> Self {
        let cluster = Self {
            node: Space::new(),
            pod: Space::new(),
            peer: Space::new(),
            outside: Space::new(),
        };
        let cable = |near: &str, other: &Space, far: &str| {
            let command = format!(
                "link add {near} type veth peer name {far} netns {}",
                other.thread()
            );
            cluster.node.run(move || drop(ip(&command)));
        };
        cable("pod", &cluster.pod, "eth0");
        cable("underlay", &cluster.peer, "underlay");
        cable("outside", &cluster.outside, "eth0");
        cluster.node.run(|| {
            for setting in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
                std::fs::write(format!("/proc/sys/{setting}"), "1").unwrap();
            }
            for setting in ["all", "default", "underlay"] {
                std::fs::write(format!("/proc/sys/net/ipv4/conf/{setting}/rp_filter"), "0").unwrap();
            }
            address("pod", &["10.5.1.1/24", "fd05:0:0:1::1/64"]);
            address("underlay", &["192.0.2.1/24", "2001:db8:2::1/64"]);
            address("outside", &["198.51.100.1/24", "2001:db8:51::1/64"]);
            ip("route add 10.5.0.0/16 via 192.0.2.2");
            ip("-6 route add fd05::/48 via 2001:db8:2::2");
        });
        cluster.pod.run(|| {
            address("eth0", &["10.5.1.2/24", "fd05:0:0:1::2/64"]);
            ip("route add default via 10.5.1.1");
            ip("-6 route add default via fd05:0:0:1::1");
        });
        cluster.peer.run(|| {
            address("underlay", &["192.0.2.2/24", "2001:db8:2::2/64"]);
            for pod in ["10.5.2.2/32", "10.5.9.9/32", "10.5.1.9/32", "fd05:0:0:2::2/128"] {
                ip(&format!("addr add {pod} dev lo"));
            }
            ip("route add default via 192.0.2.1");
            ip("-6 route add default via 2001:db8:2::1");
        });
        cluster.outside.run(|| {
            address("eth0", &["198.51.100.2/24", "2001:db8:51::2/64"]);
            ip("route add default via 198.51.100.1");
            ip("-6 route add default via 2001:db8:51::1");
        });
        cluster
    }

    /// Gives the node its ends of the tunnels.
    fn make_tunnels(&self) {
        self.node.run(|| {
            ip("link add flannel.1 type vxlan id 1 dstport 8472 local 192.0.2.1 dev underlay nolearning");
            ip("link set flannel.1 address 02:00:00:00:00:01 up");
            ip("addr add 10.5.1.0/32 dev flannel.1");
            ip("link add flannel-v6.1 type vxlan id 1 dstport 8472 local 2001:db8:2::1 dev underlay nolearning");
            ip("link set flannel-v6.1 address 02:00:00:00:00:01 up");
            ip("addr add fd05:0:0:1::/128 dev flannel-v6.1 nodad");
        });
    }

    /// Replaces rules again and again while datagrams are sent to an address, and counts whose they seem to be.
    fn while_replacing(
        &self,
        mut replace: impl FnMut(&Runtime, &mut Firewall) + Send + 'static,
        to: &Space,
        destination: IpAddr,
        from: &Space,
        send: impl Fn() + Send + 'static,
    ) -> BTreeMap<IpAddr, usize> {
        let receiver = to.run(move || listening(destination, 7000));
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let (first, begun) = std::sync::mpsc::channel();
        let mut seen = BTreeMap::new();
        std::thread::scope(|scope| {
            let replacing = scope.spawn(|| {
                self.node.run(move || {
                    let runtime = runtime();
                    let mut firewall = runtime.block_on(async { Firewall::open() });
                    while stopped.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
                        replace(&runtime, &mut firewall);
                        first.send(()).unwrap();
                    }
                });
            });
            begun.recv().unwrap();
            let sending = scope.spawn(|| {
                from.run(move || {
                    for _ in 0..FLOWS {
                        send();
                        std::thread::sleep(Duration::from_millis(2));
                    }
                });
            });
            while let Ok((_, source)) = receiver.recv_from(&mut [0; 100]) {
                *seen.entry(source.ip()).or_default() += 1;
                if seen.values().sum::<usize>() == FLOWS {
                    break;
                }
            }
            sending.join().unwrap();
            drop(stop);
            replacing.join().unwrap();
        });
        assert!(begun.try_iter().count() > 3, "rules were replaced several times");
        seen
    }

    /// Tells whose packets they seem to be at their destinations.
    fn sources(&self) -> String {
        let mut report = String::new();
        let pods = |v4: [u8; 4], v6: &str| [IpAddr::from(v4), v6.parse().unwrap()];
        let pod = pods([10, 5, 1, 2], "fd05:0:0:1::2");
        let remote = pods([10, 5, 2, 2], "fd05:0:0:2::2");
        let outside = pods([198, 51, 100, 2], "2001:db8:51::2");
        let host = pods([198, 51, 100, 1], "2001:db8:51::1");
        let gateway = pods([10, 5, 1, 1], "fd05:0:0:1::1");
        let group = pods([224, 0, 0, 251], "ff05::fb");
        for (name, from, source, to, destination, mark) in [
            ("pod to remote pod", &self.pod, pod, &self.peer, remote, 0),
            ("remote pod to pod", &self.peer, remote, &self.pod, pod, 0),
            ("pod to outside", &self.pod, pod, &self.outside, outside, 0),
            ("outside to pod", &self.outside, outside, &self.pod, pod, 0),
            (
                "outside to remote pod",
                &self.outside,
                outside,
                &self.peer,
                remote,
                0,
            ),
            ("host to remote pod", &self.node, host, &self.peer, remote, 0),
            ("host to pod", &self.node, host, &self.pod, pod, 0),
            (
                "pods' gateway to outside",
                &self.node,
                gateway,
                &self.outside,
                outside,
                0,
            ),
            (
                "the same, marked by Kubernetes",
                &self.node,
                gateway,
                &self.outside,
                outside,
                0xc000,
            ),
            ("multicast", &self.node, gateway, &self.peer, group, 0),
        ] {
            for version in 0..2 {
                let seen = arrival(from, source[version], to, destination[version], mark);
                let seen = seen.map_or_else(|| "nothing".to_owned(), |seen| seen.to_string());
                writeln!(report, "{name}: {} seen as {seen}", source[version]).unwrap();
            }
        }
        report
    }

    fn arrives(&self, from: &Space, source: IpAddr, destination: IpAddr) -> bool {
        arrival(from, source, &self.pod, destination, 0).is_some()
    }

    /// Sends a frame in a tunnel packet from the peer's host, and tells whether its content reaches this node. What a member
    /// sends right after it does, and nothing overtakes it.
    fn sends(&self, from: IpAddr, frame: &[u8], to: IpAddr) -> bool {
        let (inner, member, last): (IpAddr, IpAddr, _) = match to {
            IpAddr::V4(_) => (
                "10.5.1.0".parse().unwrap(),
                "192.0.2.2".parse().unwrap(),
                self::frame("10.5.2.2".parse().unwrap(), None, LAST),
            ),
            IpAddr::V6(_) => (
                "fd05:0:0:1::".parse().unwrap(),
                "2001:db8:2::2".parse().unwrap(),
                self::frame("fd05:0:0:2::2".parse().unwrap(), None, LAST),
            ),
        };
        let receiver = self.node.run(move || listening(inner, 7000));
        let packets = [(from, frame.to_vec()), (member, last)];
        self.peer.run(move || {
            for (from, frame) in packets {
                let socket = UdpSocket::bind((from, 0)).unwrap();
                socket.send_to(&tunnel_packet(&frame), (to, 8472)).unwrap();
            }
        });
        let mut payload = [0; 100];
        let length = receiver.recv(&mut payload).unwrap();
        if payload[..length] == *LAST {
            return false;
        }
        assert_eq!(payload[..length], *FORGED);
        let length = receiver.recv(&mut payload).unwrap();
        assert_eq!(payload[..length], *LAST);
        true
    }

    fn counters(&self) -> BTreeMap<FilterCounter, u64> {
        let counters = self
            .node
            .run(|| block_on(async { Firewall::open().counters().await }));
        let counters = counters.unwrap_or_default().into_iter();
        counters
            .map(|(counter, count)| (counter, count.packets))
            .collect()
    }
}

/// Sends a datagram and returns the source that it has where it arrives.
fn arrival(from: &Space, source: IpAddr, to: &Space, destination: IpAddr, mark: u32) -> Option<IpAddr> {
    let receiver = to.run(move || match destination {
        IpAddr::V4(group) if group.is_multicast() => {
            let socket = listening(Ipv4Addr::UNSPECIFIED.into(), 7000);
            socket
                .join_multicast_v4(&group, &Ipv4Addr::new(192, 0, 2, 2))
                .unwrap();
            socket
        }
        IpAddr::V6(group) if group.is_multicast() => {
            let socket = listening(Ipv6Addr::UNSPECIFIED.into(), 7000);
            socket.join_multicast_v6(&group, index_of("underlay")).unwrap();
            socket
        }
        IpAddr::V4(_) | IpAddr::V6(_) => listening(destination, 7000),
    });
    from.run(move || {
        let socket = UdpSocket::bind((source, 0)).unwrap();
        setsockopt(&socket, sockopt::Mark, &mark).unwrap();
        if destination.is_multicast() {
            setsockopt(&socket, sockopt::BindToDevice, &OsString::from("underlay")).unwrap();
        }
        socket.send_to(b"hello", (destination, 7000)).unwrap();
    });
    receiver.recv_from(&mut [0; 100]).ok().map(|(_, from)| from.ip())
}

fn index_of(name: &str) -> u32 {
    nix::net::if_::if_nametoindex(name).unwrap()
}

fn listening(address: IpAddr, port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((address, port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket
}

fn address(device: &str, addresses: &[&str]) {
    for address in addresses {
        let nodad = if address.contains(':') { " nodad" } else { "" };
        ip(&format!("addr add {address} dev {device}{nodad}"));
    }
    ip(&format!("link set {device} up"));
}

/// Returns tunnel packets: what they are, their outer source, the inner frame, and their outer destination.
fn forgeries() -> Vec<(&'static str, IpAddr, Vec<u8>, IpAddr)> {
    let own: IpAddr = Ipv4Addr::new(192, 0, 2, 1).into();
    let own_v6: IpAddr = "2001:db8:2::1".parse().unwrap();
    let (member, stranger) = ("192.0.2.2".parse().unwrap(), "192.0.2.66".parse().unwrap());
    let (member_v6, stranger_v6) = (
        "2001:db8:2::2".parse().unwrap(),
        "2001:db8:2::66".parse().unwrap(),
    );
    let v4 = |source: &str| frame(source.parse().unwrap(), None, FORGED);
    let v6 = |source: &str| frame(source.parse().unwrap(), None, FORGED);
    let tagged = frame("10.5.2.2".parse().unwrap(), Some(5), FORGED);
    let mut arp = v4("10.5.2.2");
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    vec![
        ("member", member, v4("10.5.2.2"), own),
        ("member's tunnel address", member, v4("10.5.2.0"), own),
        ("member's last address", member, v4("10.5.2.254"), own),
        ("stranger", stranger, v4("10.5.2.2"), own),
        ("member with another's source", member, v4("10.5.3.2"), own),
        ("member with our own source", member, v4("10.5.1.2"), own),
        ("member with a VLAN tag", member, tagged, own),
        ("member with ARP", member, arp, own),
        ("member with nothing inside", member, Vec::new(), own),
        ("member over IPv6", member_v6, v6("fd05:0:0:2::2"), own_v6),
        ("stranger over IPv6", stranger_v6, v6("fd05:0:0:2::2"), own_v6),
        (
            "member with another's source over IPv6",
            member_v6,
            v6("fd05:0:0:3::2"),
            own_v6,
        ),
    ]
}

/// Puts a frame behind a VXLAN header.
fn tunnel_packet(frame: &[u8]) -> Vec<u8> {
    [&[8, 0, 0, 0, 0, 0, 1, 0], frame].concat()
}

/// Returns an Ethernet frame with a datagram for this node's end of the tunnel.
fn frame(source: IpAddr, vlan: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]);
    match (source, vlan) {
        (IpAddr::V4(source), None) => {
            let builder = ethernet.ipv4(source.octets(), [10, 5, 1, 0], 64);
            written(builder.udp(7001, 7000), payload)
        }
        (IpAddr::V4(source), Some(vlan)) => {
            let builder = ethernet.single_vlan(vlan.try_into().unwrap());
            let builder = builder.ipv4(source.octets(), [10, 5, 1, 0], 64);
            written(builder.udp(7001, 7000), payload)
        }
        (IpAddr::V6(source), _) => {
            let to = "fd05:0:0:1::".parse::<Ipv6Addr>().unwrap();
            let builder = ethernet.ipv6(source.octets(), to.octets(), 64);
            written(builder.udp(7001, 7000), payload)
        }
    }
}

fn written(builder: PacketBuilderStep<UdpHeader>, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; builder.size(payload.len())];
    builder.write_to_slice(&mut frame, payload).unwrap();
    frame
}
