//! Rules are exact, whatever was there before, and rules of others stay.

use selvedge_engine::{Firewall as Kind, ForwardRules, IpVersion, RulesetName, SourcePorts};
use selvedge_tests::need;

use crate::rulesets::{alone, every_ruleset, everything, traffic};
use crate::space::{run, run_with_input};

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
        assert_eq!(firewall.found(&RulesetName::ALL).await.rulesets, RulesetName::ALL);
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
        assert!(firewall.found(&RulesetName::ALL).await.rulesets.is_empty());
    });
}

#[test]
fn rules_are_told_from_others_by_what_their_script_makes_elsewhere() {
    need!(root, ip, nft, iptables);

    alone(async |firewall| {
        for ruleset in every_ruleset() {
            assert!(!firewall.has(&ruleset).await.unwrap(), "{}", ruleset.name);
            firewall.ensure_ruleset(&ruleset).await.unwrap();
            assert!(firewall.has(&ruleset).await.unwrap(), "{}", ruleset.name);
        }
        let rulesets = every_ruleset();
        let [nftables, iptables] = [0, 2].map(|index| &rulesets[index]);
        run("nft add rule ip flannel-ipv4 forward drop");
        run("iptables -A FLANNEL-FWD -j DROP");

        assert!(!firewall.has(nftables).await.unwrap());
        assert!(!firewall.has(iptables).await.unwrap());
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
            firewall.found(&RulesetName::ALL).await.rulesets,
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

fn rules_of<'a>(text: &'a str, chain: &str) -> Vec<&'a str> {
    let prefix = format!("-A {chain} ");
    text.lines()
        .filter_map(|line| line.strip_prefix(&prefix))
        .collect()
}
