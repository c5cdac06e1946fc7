//! Whatever befalls rules and members is noticed.

use std::time::Duration;

use selvedge_engine::{IpVersion, KernelEvent, KernelObject, KernelOp, Member, Ruleset, RulesetName};
use selvedge_host::kernel::firewall::{Firewall, MemberChange};
use selvedge_tests::need;
use tokio::time::Instant;

use crate::rulesets::{alone, every_ruleset, everything, filter, node};
use crate::space::run;

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
