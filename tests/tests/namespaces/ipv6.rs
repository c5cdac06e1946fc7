//! A network of IPv6 alone, with the `alloc` backend and a real etcd.

use std::fs;
use std::time::Duration;

use selvedge_host::lab::{Ending, NodeNumber, Place};
use selvedge_tests::need;
use selvedge_tests::real_nodes::{RealNodes, node, wait_until};

use crate::PROGRAM;

const NETWORK: &str =
    r#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd05::/48","Backend":{"Type":"alloc"}}"#;

#[test]
fn nodes_of_ipv6_alone_lease_subnets_write_their_files_and_keep_them() {
    need!(root, ip, etcd);
    let mut real = RealNodes::wire("t-six", 2, PROGRAM);
    real.start_etcd();
    real.put("config", NETWORK);
    for number in real.lab.nodes() {
        let address = format!("2001:db8::{number}/64");
        let namespace = real.lab.namespace(Place::Node(number));
        let add = ["address", "add", &address, "dev", "eth0", "nodad"];
        namespace.ip(&add).expect("an IPv6 address is added");
        real.lab.start_node(number).expect("the daemon starts");
    }
    let (first, second) = (subnet_file(&real, node(1)), subnet_file(&real, node(2)));

    let leases = real.leases();
    assert_eq!(leases.len(), 2, "{leases:?}");
    for (key, value) in &leases {
        assert!(key.contains("/subnets/0.0.0.0-0&fd05:0:0:"), "{key}");
        assert!(
            value.starts_with(r#"{"PublicIP":"0.0.0.0","PublicIPv6":"2001:db8::"#),
            "{value}"
        );
    }
    assert_ne!(first, second);
    assert!(
        first.starts_with("FLANNEL_IPV6_NETWORK=fd05::/48\nFLANNEL_IPV6_SUBNET=fd05:0:0:"),
        "{first}"
    );
    assert!(
        first.ends_with("FLANNEL_MTU=1500\nFLANNEL_IPMASQ=false\n"),
        "{first}"
    );

    real.lab.stop_node(node(1), Ending::Crash).expect("it ends");
    fs::remove_file(real.lab.subnet_file(node(1))).expect("the file is removed");
    real.lab.start_node(node(1)).expect("it starts");

    assert_eq!(subnet_file(&real, node(1)), first);
    assert_eq!(real.leases(), leases, "without a write");
}

/// Waits for a node's subnet file.
fn subnet_file(real: &RealNodes, number: NodeNumber) -> String {
    let file = real.lab.subnet_file(number);
    let mut text = String::new();
    let found = wait_until(Duration::from_secs(15), || {
        text = fs::read_to_string(&file).unwrap_or_default();
        !text.is_empty()
    });
    assert!(found, "no subnet file; the log: {}", real.log(number));
    text
}
