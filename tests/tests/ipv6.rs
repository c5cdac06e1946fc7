//! Leases in networks of IPv6 alone and of both families, with the `alloc` backend.

use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use proptest::prelude::*;
use selvedge_engine::{ExitReason, Families, KernelObject, Phase, PreviousSubnet, Setup, Subnet};
use selvedge_tests::engine_and_store::{Bench, Fate, setup, setup_dual, setup_v6};

const V6_ONLY: &str =
    r#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd05::/48","Backend":{"Type":"alloc"}}"#;
const DUAL: &str =
    r#"{"Network":"10.50.0.0/16","EnableIPv6":true,"IPv6Network":"fd05::/48","Backend":{"Type":"alloc"}}"#;
const V4_ONLY: &str = r#"{"Network":"10.50.0.0/16","Backend":{"Type":"alloc"}}"#;

#[test]
fn a_node_of_ipv6_alone_leases_a_subnet_and_writes_the_subnet_file() {
    let mut bench = Bench::new(V6_ONLY);
    let node = bench.add_with(setup_v6(1));
    bench.settle();

    let leases = bench.leases();
    let subnet = bench.subnet(node).expect("it carries a subnet");
    assert!(subnet.starts_with("0.0.0.0-0&fd05:0:0:"), "{subnet}");
    assert_eq!(
        leases,
        [(
            subnet,
            r#"{"PublicIP":"0.0.0.0","PublicIPv6":"2001:db8::1"}"#.to_owned()
        )]
    );
    let node = bench.node(node);
    assert_eq!(node.engine.status().phase, Phase::Running);
    assert!(node.table.is_none());
    let file = node.kernel.iter().find_map(|object| {
        let KernelObject::SubnetFile(file) = object else {
            return None;
        };
        Some(file)
    });
    let file = file.expect("a subnet file");
    assert_eq!((file.v4, file.mtu), (None, 1500));
    let text = file.render();
    assert!(
        text.starts_with("FLANNEL_IPV6_NETWORK=fd05::/48\nFLANNEL_IPV6_SUBNET=fd05:0:0:"),
        "{text}"
    );
}

#[test]
fn nodes_of_ipv6_alone_and_of_both_versions_learn_each_other_and_forget_who_left() {
    let addresses = [(V6_ONLY, "2001:db8::2"), (DUAL, "192.0.2.2")];
    for (network, address) in addresses {
        let setup = |host| {
            if network == DUAL {
                setup_dual(host)
            } else {
                setup_v6(host.into())
            }
        };
        let mut bench = Bench::new(network);
        let nodes = [1, 2].map(|host| bench.add_with(setup(host)));
        bench.settle();
        let other = bench.subnet(nodes[1]).expect("the second node holds a subnet");
        assert_eq!(bench.node(nodes[0]).peers(), [format!("{other} {address}")]);

        bench.shut_down(nodes[1]);
        bench.delete(&format!("subnets/{other}"));
        bench.settle();

        assert!(bench.node(nodes[0]).peers().is_empty());
    }
}

#[test]
fn an_overlap_in_one_ip_version_costs_a_lease_that_version_alone() {
    let mut bench = Bench::new(DUAL);
    let node = bench.add_with(setup_dual(1));
    bench.settle();

    for (subnet, host) in [
        ("10.50.99.0-24&fd05:0:0:99::-64", 7),
        ("10.50.99.128-25&fd05:0:0:98::-64", 8),
    ] {
        let value = format!(r#"{{"PublicIP":"192.0.2.{host}","PublicIPv6":"2001:db8::{host}"}}"#);
        bench.put(&format!("subnets/{subnet}"), &value);
    }
    bench.settle();

    let node = bench.node(node);
    assert_eq!(
        node.peers(),
        [
            "10.50.99.0-24&fd05:0:0:99::-64 192.0.2.7",
            "10.50.99.128-25&fd05:0:0:98::-64 2001:db8::8"
        ]
    );
    assert!(node.said(
        "ignoring the IPv4 range of /coreos.com/network/subnets/10.50.99.128-25&fd05:0:0:98::-64: overlaps_peer"
    ));
}

#[test]
fn nodes_of_ipv6_alone_that_start_together_all_get_different_subnets() {
    let network = r#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd05::/58","IPv6SubnetLen":62,"Backend":{"Type":"alloc"}}"#;
    let mut bench = Bench::new(network);
    let nodes: Vec<_> = (1..=15).map(|host| bench.add_with(setup_v6(host))).collect();
    bench.run_for(Duration::from_mins(1));

    let mut subnets: Vec<_> = nodes.iter().map(|node| bench.subnet(*node)).collect();
    subnets.sort();
    subnets.dedup();

    assert!(subnets.len() == 15 && subnets[0].is_some(), "{subnets:?}");
    assert_eq!(bench.leases().len(), 15);
    let late = bench.add_with(setup_v6(99));
    bench.run_for(Duration::from_secs(5));
    assert!(
        bench
            .node(late)
            .said("no free subnet: 15 leases of 15 nodes fill the network")
    );
}

#[test]
fn a_restarted_node_of_ipv6_alone_keeps_its_subnet_without_writing() {
    let mut bench = Bench::new(V6_ONLY);
    let before = bench.add_with(setup_v6(1));
    bench.add_with(setup_v6(2));
    bench.settle();
    let subnet = bench.subnet(before);
    bench.kill(before);
    let revision = bench.store.header().revision;

    let after = bench.add_with(setup_v6(1));
    bench.run_for(Duration::from_hours(30));

    assert!(subnet.is_some());
    assert_eq!(bench.subnet(after), subnet);
    let own = bench
        .leases()
        .into_iter()
        .filter(|(key, _)| Some(key) == subnet.as_ref());
    assert_eq!(own.count(), 1);
    assert!(
        bench.store.header().revision.0 - revision.0 <= 1,
        "but for the other's end"
    );
}

#[test]
fn a_twin_of_ipv6_alone_is_refused_with_its_own_cure() {
    let mut bench = Bench::new(V6_ONLY);
    let first = bench.add_with(setup_v6(1));
    bench.settle();
    let subnet = bench.subnet(first);

    let twin = bench.add_with(Setup {
        machine: selvedge_engine::MachineId::new(77, 77),
        ..setup_v6(1)
    });
    bench.run_for(Duration::from_mins(1));

    assert_eq!(bench.subnet(first), subnet);
    assert_eq!(bench.subnet(twin), None);
    assert!(bench.node(twin).said("public IP 2001:db8::1 is taken"));
    assert!(bench.node(twin).said("--iface or --public-ipv6"));
}

#[test]
fn a_subnet_lost_to_a_wipe_is_taken_again_in_both_families() {
    for (network, setup) in [(V6_ONLY, setup_v6(1)), (DUAL, setup_dual(1))] {
        let mut bench = Bench::new(network);
        let node = bench.add_with(setup);
        bench.settle();
        let subnet = bench.subnet(node);

        bench.store.wipe(2);
        bench.put("config", network);
        bench.break_watches(node);
        bench.run_for(Duration::from_secs(30));

        assert_eq!(bench.subnet(node), subnet);
        assert_eq!(bench.leases().len(), 1);
    }
}

#[test]
fn the_subnet_file_of_both_families_is_asked_for_again() {
    let mut bench = Bench::new(DUAL);
    let node = bench.add_with(Setup {
        previous: PreviousSubnet {
            v4: Some(v4("10.50.77.0/24")),
            v6: Some(v6("fd05:0:0:77::/64")),
        },
        ..setup_dual(1)
    });
    bench.settle();

    assert_eq!(
        bench.subnet(node).as_deref(),
        Some("10.50.77.0-24&fd05:0:0:77::-64")
    );
    let value = r#"{"PublicIP":"192.0.2.1","PublicIPv6":"2001:db8::1"}"#;
    assert_eq!(bench.leases()[0].1, value);
}

/// Keys of every kind lie side by side, and each family is guarded on its own.
#[test]
fn no_subnet_of_either_family_is_given_twice_whatever_keys_there_are() {
    let dual = r#"{"Network":"10.50.0.0/28","SubnetLen":30,"EnableIPv6":true,"IPv6Network":"fd05::/60","IPv6SubnetLen":62,"Backend":{"Type":"alloc"}}"#;
    let v6_only = r#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd05::/60","IPv6SubnetLen":62,"Backend":{"Type":"alloc"}}"#;
    let mut bench = Bench::new(dual);
    bench.put("subnets/10.50.0.4-30", r#"{"PublicIP":"192.0.2.91"}"#);
    bench.put(
        "subnets/0.0.0.0-0&fd05:0:0:4::-62",
        r#"{"PublicIP":"0.0.0.0","PublicIPv6":"2001:db8::92"}"#,
    );
    bench.put("subnets/0.0.0.0-0", r#"{"PublicIP":"192.0.2.93"}"#);
    let both = bench.add_with(setup_dual(1));
    bench.settle();
    bench.put("config", v6_only);
    let alone = bench.add_with(setup_v6(2));
    bench.settle();

    let subnets: Vec<Subnet> = bench
        .leases()
        .iter()
        .filter(|(key, _)| key != "0.0.0.0-0")
        .map(|(key, _)| Subnet::parse(key).expect("a subnet"))
        .collect();
    assert!(bench.subnet(both).is_some() && bench.subnet(alone).is_some());
    assert_eq!(subnets.len(), 4);
    for (index, one) in subnets.iter().enumerate() {
        for other in &subnets[index + 1..] {
            assert!(!one.overlaps(other), "{one} {other}");
        }
    }
}

#[test]
fn a_node_whose_network_loses_a_family_keeps_the_other_one() {
    let mut bench = Bench::new(DUAL);
    let both = || setup_dual(1);
    let node = bench.add_with(both());
    bench.settle();
    let Ok(Subnet::Dual(v4, v6)) = Subnet::parse(&bench.subnet(node).expect("it carries a subnet")) else {
        panic!("a subnet of both families");
    };

    for (network, expected) in [
        (V6_ONLY, Subnet::V6(v6)),
        (DUAL, Subnet::Dual(v4, v6)),
        (V4_ONLY, Subnet::V4(v4)),
    ] {
        bench.put("config", network);
        let last = bench.add_with(Setup {
            previous: PreviousSubnet {
                v4: Some(v4),
                v6: Some(v6),
            },
            ..both()
        });
        bench.kill(last - 1);
        bench.run_for(Duration::from_secs(10));

        assert_eq!(bench.subnet(last), Some(expected.to_string()));
        assert_eq!(bench.leases().len(), 1, "{network}");
    }
}

#[test]
fn a_write_of_ipv6_alone_whose_answer_is_lost_is_one_lease_all_the_same() {
    for lost in 0..6 {
        let mut bench = Bench::new(V6_ONLY);
        let node = bench.add_with(setup_v6(1));
        bench.node(node).fates.extend(vec![Fate::Answered; lost]);
        bench.node(node).fates.extend([Fate::AnswerLost]);
        bench.run_for(Duration::from_mins(1));

        assert!(bench.subnet(node).is_some(), "answer {lost} lost");
        assert_eq!((bench.leases().len(), bench.store.leases().len()), (1, 1));
    }
}

#[test]
fn a_node_without_an_address_of_a_family_that_the_network_needs_ends_with_the_cure() {
    for (network, setup, needed) in [
        (V6_ONLY, setup([192, 0, 2, 1]), Families::V6),
        (DUAL, setup([192, 0, 2, 1]), Families::Dual),
        (V4_ONLY, setup_v6(1), Families::V4),
    ] {
        let mut bench = Bench::new(network);
        let node = bench.add_with(setup);
        bench.settle();

        let exit = bench.node(node).exit.clone().expect("it ends");
        assert!(matches!(&exit, ExitReason::Underlay { needed: lacking, .. } if *lacking == needed));
        assert_eq!(
            exit.to_string(),
            format!(
                "the network needs {needed}, and eth0 announces no such address: choose another with --iface, or give \
                 --public-ip or --public-ipv6"
            )
        );
        assert_eq!(bench.leases(), []);
    }
}

#[test]
fn the_udp_backend_refuses_a_network_of_ipv6_alone_with_one_line() {
    let mut bench = Bench::new(r#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd05::/48"}"#);
    let node = bench.add_with(setup_v6(1));
    bench.settle();

    assert!(
        bench
            .node(node)
            .said("backend udp carries IPv4 only: set EnableIPv4 to true and give a Network")
    );
    assert_eq!(bench.leases(), []);
}

/// What happens to one of four nodes.
#[derive(Clone, Copy, Debug)]
enum Step {
    CutOff(usize),
    Reconnect(usize),
    Restart(usize),
    LoseAnswers(usize, usize),
    LoseRequests(usize, usize),
    WipeStore,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let node = || 0..4_usize;
    prop_oneof![
        node().prop_map(Step::CutOff),
        node().prop_map(Step::Reconnect),
        node().prop_map(Step::Restart),
        (node(), 1..4_usize).prop_map(|(node, count)| Step::LoseAnswers(node, count)),
        (node(), 1..4_usize).prop_map(|(node, count)| Step::LoseRequests(node, count)),
        Just(Step::WipeStore),
        (0..8_000_u64).prop_map(Step::Wait),
        (0..100_000_000_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(25))]

    #[test]
    fn whatever_happens_nodes_of_ipv6_alone_hold_a_subnet_each(steps in proptest::collection::vec(step(), 1..40)) {
        let mut cluster = Cluster::new();

        for step in steps {
            cluster.take(step);
            let carried = cluster.carried_with_sight();
            for (index, one) in carried.iter().enumerate() {
                prop_assert!(!carried[index + 1..].contains(one), "{carried:?} after {step:?}");
            }
        }
        cluster.heal();

        prop_assert_eq!(cluster.carried_with_sight().len(), 4);
        prop_assert_eq!(cluster.bench.leases().len(), 4);
    }
}

const HOSTS: [u16; 4] = [1, 2, 3, 4];

/// Four nodes in a network of IPv6 alone that has room for five.
struct Cluster {
    bench: Bench,
    nodes: [usize; 4],
    sees_store: [bool; 4],
    wipes: u64,
}

impl Cluster {
    const NETWORK: &str = r#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd05::/60","IPv6SubnetLen":63,"IPv6SubnetMin":"fd05:0:0:2::","IPv6SubnetMax":"fd05:0:0:a::","Backend":{"Type":"alloc"}}"#;

    fn new() -> Self {
        let mut bench = Bench::new(Self::NETWORK);
        let nodes = HOSTS.map(|host| bench.add_with(setup_v6(host)));
        bench.settle();
        Self {
            bench,
            nodes,
            sees_store: [true; 4],
            wipes: 1,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::CutOff(index) => {
                self.sees_store[index] = false;
                self.bench.cut_off(self.nodes[index]);
            }
            Step::Reconnect(index) => {
                self.sees_store[index] = true;
                self.bench.reconnect(self.nodes[index]);
            }
            Step::Restart(index) => self.restart(index),
            Step::LoseAnswers(index, count) => self.doom(index, Fate::AnswerLost, count),
            Step::LoseRequests(index, count) => self.doom(index, Fate::Lost, count),
            Step::WipeStore => {
                self.wipes += 1;
                self.bench.store.wipe(self.wipes);
                self.bench.put("config", Self::NETWORK);
                for node in self.nodes {
                    self.bench.break_watches(node);
                }
            }
            Step::Wait(millis) => self.bench.run_for(Duration::from_millis(millis)),
        }
        self.bench.settle();
    }

    fn restart(&mut self, index: usize) {
        let status = self.bench.node(self.nodes[index]).engine.status();
        let previous = PreviousSubnet {
            v4: None,
            v6: status.subnet.and_then(|subnet| subnet.v6()),
        };
        self.bench.kill(self.nodes[index]);
        self.nodes[index] = self.bench.add_with(Setup {
            previous,
            ..setup_v6(HOSTS[index])
        });
        self.sees_store[index] = true;
    }

    fn doom(&mut self, index: usize, fate: Fate, count: usize) {
        self.bench.node(self.nodes[index]).fates.extend(vec![fate; count]);
    }

    /// Returns what nodes carry that have seen all that the store has.
    fn carried_with_sight(&mut self) -> Vec<Subnet> {
        let newest = self.bench.store.header().revision;
        let mut carried = Vec::new();
        for (node, sees_store) in self.nodes.into_iter().zip(self.sees_store) {
            let status = self.bench.node(node).engine.status();
            let is_up_to_date = sees_store && status.revision == newest;
            carried.extend(status.subnet.filter(|_| is_up_to_date));
        }
        carried
    }

    fn heal(&mut self) {
        for index in 0..4 {
            self.take(Step::Reconnect(index));
            self.bench.node(self.nodes[index]).fates.clear();
        }
        self.bench.run_for(Duration::from_mins(2));
    }
}

fn v4(text: &str) -> Ipv4Net {
    text.parse().expect("a network")
}

fn v6(text: &str) -> Ipv6Net {
    text.parse().expect("a network")
}
