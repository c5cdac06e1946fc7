//! Whose packets seem to be whose.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use selvedge_host::kernel::firewall::Firewall;
use selvedge_tests::need;
use tokio::runtime::Runtime;

use crate::cluster::{Cluster, FLOWS};
use crate::rulesets::{KINDS, block_on, traffic};

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
