use alloc::collections::BTreeSet;
use core::net::{Ipv4Addr, Ipv6Addr};
use std::vec;

use proptest::prelude::*;

use super::*;
use crate::kernel::{FirewallTool, LinkName, Vni};
use crate::setup::Membership;

#[test]
fn nftables_rules_of_both_versions_are_flannels_but_for_its_mistakes() {
    let rulesets = traffic_rulesets(
        &network(Firewall::Nftables),
        &subnet(),
        Masquerade::On,
        &TrafficOptions {
            nftables_ports: SourcePorts::FullyRandom,
            ..TrafficOptions::default()
        },
    );

    insta::assert_snapshot!("nftables", text(&rulesets));
}

#[test]
fn iptables_rules_of_both_versions_are_flannels() {
    let rulesets = traffic_rulesets(
        &network(Firewall::Iptables),
        &subnet(),
        Masquerade::On,
        &TrafficOptions {
            iptables_ports: SourcePorts::FullyRandom,
            ..TrafficOptions::default()
        },
    );

    insta::assert_snapshot!("iptables", text(&rulesets));
}

#[test]
fn what_is_switched_off_is_left_out_of_tables_and_removed_from_chains() {
    let forward = TrafficOptions::default();
    let neither = TrafficOptions {
        forward_rules: ForwardRules::Off,
        ..forward
    };
    let rulesets = |firewall, masquerade, options| {
        traffic_rulesets(&network(firewall), &Subnet::V4(v4()), masquerade, options)
    };

    let mut some = rulesets(Firewall::Nftables, Masquerade::Off, &forward);
    some.extend(rulesets(Firewall::Nftables, Masquerade::On, &neither));
    some.extend(rulesets(Firewall::Iptables, Masquerade::Off, &forward));
    some.extend(rulesets(Firewall::Iptables, Masquerade::On, &neither));

    insta::assert_snapshot!("switched_off", text(&some));
    for firewall in [Firewall::Nftables, Firewall::Iptables] {
        assert!(rulesets(firewall, Masquerade::Off, &neither).is_empty());
    }
}

#[test]
fn removals_name_the_right_tables() {
    let removals: Vec<_> = RulesetName::ALL
        .iter()
        .map(|name| alloc::format!("# {name}\n{}", name.removal()))
        .collect();

    insta::assert_snapshot!("removals", removals.join("\n"));
}

#[test]
fn a_script_that_meets_no_rules_is_taken_whole() {
    let script = iptables_script();

    let fitted = fit_iptables_script(&script, "*nat\n:POSTROUTING ACCEPT [1:60]\nCOMMIT\n");

    assert_eq!(fitted, script);
}

#[test]
fn a_jump_that_stands_once_stays_where_it_is() {
    let saved = "*nat\n:POSTROUTING ACCEPT [0:0]\n:FLANNEL-POSTRTG - [0:0]\n\
        -A POSTROUTING -m comment --comment \"flanneld masq\" -j FLANNEL-POSTRTG\n\
        -A POSTROUTING -s 10.9.0.0/16 -j MASQUERADE\n-A FLANNEL-POSTRTG -j RETURN\nCOMMIT\n";

    let fitted = fit_iptables_script(&iptables_script(), saved);

    assert!(!fitted.contains("POSTROUTING"), "{fitted}");
    assert!(fitted.contains(":FLANNEL-POSTRTG - [0:0]\n-A FLANNEL-POSTRTG -m mark"));
    assert!(fitted.contains("-A FORWARD "), "{fitted}");
}

#[test]
fn jumps_that_stand_twice_or_differ_become_one_and_others_rules_stay() {
    let saved = "# a comment\n*nat\n:POSTROUTING ACCEPT [0:0]\n:FLANNEL-POSTRTG - [0:0]\n:OTHER - [0:0]\n\
        -A POSTROUTING -m comment --comment \"flanneld masq\" -j FLANNEL-POSTRTG\n\
        -A POSTROUTING -m comment --comment \"see -j FLANNEL-POSTRTG\" -j OTHER\n\
        -A POSTROUTING -s 10.0.0.0/8 -j FLANNEL-POSTRTG\n\
        -A POSTROUTING -m comment --comment \"flanneld masq\" -j FLANNEL-POSTRTG\n\
        -A POSTROUTING -s 10.9.0.0/16 -j MASQUERADE --random-fully\nCOMMIT\n";

    let fitted = fit_iptables_script(&iptables_script(), saved);

    let lines: Vec<_> = fitted
        .lines()
        .filter(|line| line.contains(" POSTROUTING "))
        .collect();
    assert_eq!(
        lines,
        [
            "-D POSTROUTING -m comment --comment \"flanneld masq\" -j FLANNEL-POSTRTG",
            "-D POSTROUTING -s 10.0.0.0/8 -j FLANNEL-POSTRTG",
            "-D POSTROUTING -m comment --comment \"flanneld masq\" -j FLANNEL-POSTRTG",
            "-A POSTROUTING -m comment --comment \"flanneld masq\" -j FLANNEL-POSTRTG",
        ]
    );
}

#[test]
fn removal_takes_every_jump_to_the_chain_and_nothing_else() {
    let removal = RulesetName::IptablesTraffic(IpVersion::V4).removal();
    let saved = "*filter\n:FORWARD DROP [0:0]\n:DOCKER-USER - [0:0]\n:FLANNEL-FWD - [0:0]\n\
        -A FORWARD -j DOCKER-USER\n-A FORWARD -m comment --comment \"flanneld forward\" -j FLANNEL-FWD\n\
        -A DOCKER-USER -j FLANNEL-FWD\n-A FLANNEL-FWD -s 10.5.0.0/16 -j ACCEPT\nCOMMIT\n*nat\nCOMMIT\n";

    let fitted = fit_iptables_script(&removal, saved);

    assert_eq!(
        fitted,
        "*filter\n-F FLANNEL-FWD\n-D FORWARD -m comment --comment \"flanneld forward\" -j FLANNEL-FWD\n\
         -D DOCKER-USER -j FLANNEL-FWD\n-X FLANNEL-FWD\nCOMMIT\n"
    );
    assert_eq!(
        fit_iptables_script(&removal, "*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n"),
        ""
    );
}

#[test]
fn the_filter_judges_tunnel_packets_of_both_versions() {
    let ruleset = tunnel().ruleset(Membership::Enforce).unwrap();

    insta::assert_snapshot!("membership_of_tunnel", ruleset.script);
    assert_eq!(ruleset.name.tool(), FirewallTool::Nft);
}

#[test]
fn the_filter_judges_packets_without_a_tunnel() {
    insta::assert_snapshot!(
        "membership_of_direct",
        direct().ruleset(Membership::Enforce).unwrap().script
    );
}

#[test]
fn logging_differs_from_enforcing_in_the_verdict_alone() {
    let both = MembershipFilter {
        tunnel: tunnel().tunnel,
        direct: direct().direct,
    };
    let log = both.ruleset(Membership::Log).unwrap().script;
    let enforce = both.ruleset(Membership::Enforce).unwrap().script;

    assert!(!log.contains("drop"));
    assert_eq!(enforce.replace(" drop\n", " return\n"), log);
    assert_eq!(both.ruleset(Membership::Off), None);
    assert_eq!(MembershipFilter::default().ruleset(Membership::Enforce), None);
}

#[test]
fn a_device_name_cannot_break_out_of_its_quotes() {
    let mut filter = direct();
    filter.direct.as_mut().unwrap().underlay = LinkName("a\" accept; #\n".into());

    let script = filter.ruleset(Membership::Enforce).unwrap().script;

    assert!(script.contains("iifname \"a accept; #\" ip saddr"), "{script}");
}

#[test]
fn a_node_is_a_member_in_each_version_that_it_has() {
    let both = MembershipFilter {
        tunnel: tunnel().tunnel,
        direct: direct().direct,
    };
    let elements = |filter: &MembershipFilter, node: &FilteredNode| {
        let members = filter.members(node).into_iter();
        members
            .map(|member| alloc::format!("{} {}", member.set(), member.element()))
            .collect::<Vec<_>>()
    };

    assert_eq!(
        elements(&both, &node(7)),
        [
            "senders4 192.0.2.7",
            "sources4 192.0.2.7 . 0x0a050700-0x0a0507ff",
            "senders6 2001:db8::7",
            "sources6 2001:db8::7 . 0xfd050000000000070000000000000000-0xfd05000000000007ffffffffffffffff",
            "subnets4 10.5.7.0/24",
            "subnets6 fd05:0:0:7::/64",
        ]
    );
    let alone = FilteredNode { v6: None, ..node(7) };
    assert_eq!(elements(&tunnel(), &alone).len(), 2);
    assert!(elements(&MembershipFilter::default(), &node(7)).is_empty());
}

proptest! {
    #[test]
    fn members_added_and_removed_in_any_order_leave_the_same_sets(
        steps in proptest::collection::vec((0_u8..12, any::<bool>()), 0..60),
    ) {
        let filter = tunnel();
        let mut sets = BTreeSet::new();
        let mut held = BTreeSet::new();

        for (index, joins) in steps {
            let members = filter.members(&node(index));
            if joins {
                held.insert(index);
                sets.extend(members);
            } else {
                held.remove(&index);
                sets.retain(|member| !members.contains(member));
            }
        }

        let at_once: BTreeSet<_> = held.iter().flat_map(|index| filter.members(&node(*index))).collect();
        prop_assert_eq!(sets, at_once);
    }

    #[test]
    fn fitting_never_touches_rules_of_others(
        rules in proptest::collection::vec("-A (POSTROUTING|FORWARD|OTHER)( -s 10\\.[0-9]\\.0\\.0/16)? -j (ACCEPT|OTHER|MASQUERADE)", 0..8),
    ) {
        let saved = alloc::format!("*nat\n:OTHER - [0:0]\n{}\nCOMMIT\n", rules.join("\n"));

        for script in [iptables_script(), RulesetName::IptablesTraffic(IpVersion::V4).removal()] {
            prop_assert!(!fit_iptables_script(&script, &saved).contains("-D "));
        }
    }

    #[test]
    fn any_text_can_be_fitted(script in "(\\*nat\n|-A |-X |-F |:|\"|-j |FLANNEL-FWD|\n| |x){0,30}", saved in "(\\*nat\n|-A |:|\"|-j |FLANNEL-FWD|\n| |x){0,30}") {
        let _fitted = fit_iptables_script(&script, &saved);
    }
}

fn iptables_script() -> alloc::string::String {
    let options = TrafficOptions::default();
    let rulesets = traffic_rulesets(
        &network(Firewall::Iptables),
        &Subnet::V4(v4()),
        Masquerade::On,
        &options,
    );
    rulesets[0].script.clone()
}

fn text(rulesets: &[Ruleset]) -> alloc::string::String {
    let texts: Vec<_> = rulesets
        .iter()
        .map(|ruleset| alloc::format!("# {ruleset}\n{}", ruleset.script))
        .collect();
    texts.join("\n")
}

fn network(firewall: Firewall) -> NetworkConfig {
    let text = alloc::format!(
        r#"{{"Network": "10.5.0.0/16", "EnableIPv6": true, "IPv6Network": "fd05::/48", "EnableNFTables": {}}}"#,
        firewall == Firewall::Nftables
    );
    NetworkConfig::parse(text.as_bytes()).unwrap()
}

fn v4() -> ipnet::Ipv4Net {
    "10.5.1.0/24".parse().unwrap()
}

fn subnet() -> Subnet {
    Subnet::Dual(v4(), "fd05:0:0:1::/64".parse().unwrap())
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
            underlay: LinkName("eth0".into()),
            networks: vec![v4, v6],
        }),
    }
}

fn node(index: u8) -> FilteredNode {
    let subnet = alloc::format!("10.5.{index}.0-24&fd05:0:0:{index:x}::-64");
    FilteredNode {
        v4: Some(Ipv4Addr::new(192, 0, 2, index)),
        v6: Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, index.into())),
        subnet: subnet_of(&subnet, index),
    }
}

/// A subnet whose part is all zeros is written differently.
fn subnet_of(text: &str, index: u8) -> Subnet {
    Subnet::parse(text).unwrap_or_else(|_| {
        let v4 = alloc::format!("10.5.{index}.0/24").parse().unwrap();
        Subnet::Dual(v4, "fd05::/64".parse().unwrap())
    })
}
