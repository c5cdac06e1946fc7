//! What stands in etcd, in the kernel and in the subnet file equals what flannel leaves (backends.md, 14.1); the one
//! intended difference is the route's protocol number, 83 instead of boot, which marks it as ours.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use selvedge_host::lab::{Namespace, Place};
use selvedge_tests::need;
use selvedge_tests::real_nodes::{RealNodes, node, normalise};

use crate::PROGRAM;

#[test]
fn a_node_leaves_the_golden_facts() {
    need!(root, tun, ip, ss, etcd);
    let real = RealNodes::up("t-facts", 2, PROGRAM);

    let facts = facts(&real);

    insta::assert_snapshot!("golden_facts", normalise(&facts, &real));
}

#[test]
fn a_lease_lives_for_a_day() {
    need!(root, tun, ip, etcd);
    let real = RealNodes::up("t-day", 2, PROGRAM);

    let leases = real.lab.leases().expect("etcd answers");

    let day = Duration::from_hours(24);
    assert_eq!(leases.len(), 2);
    for lease in leases {
        let left = lease.time_left.expect("an etcd lease");
        assert!(
            left <= day && day.abs_diff(left) < Duration::from_mins(2),
            "{left:?}"
        );
    }
}

fn facts(real: &RealNodes) -> String {
    let namespace = real.lab.namespace(Place::Node(node(1)));
    let own_key = format!("{}-24", real.subnet_address(1));
    let mut facts = String::new();
    for (key, value) in real.keys() {
        if key.ends_with(&own_key) {
            writeln!(facts, "etcd {key} = {value}").expect("a string grows");
        }
    }
    let mut section = |name: &str, lines: Vec<String>| {
        for line in lines {
            writeln!(facts, "{name} {line}").expect("a string grows");
        }
    };
    section("link", link(&namespace));
    section(
        "addr",
        show(&namespace, &["address", "show", "dev", "flannel0"], "inet"),
    );
    section("route", show(&namespace, &["-d", "route", "show"], "flannel0"));
    section(
        "local",
        show(&namespace, &["route", "show", "table", "local"], "flannel0"),
    );
    section(
        "neigh",
        show(&namespace, &["neighbour", "show", "dev", "flannel0"], ""),
    );
    section("sock", udp_sockets(&namespace));
    let file = fs::read_to_string(real.lab.subnet_file(node(1))).expect("the subnet file");
    section("env", file.lines().map(str::to_owned).collect());
    facts
}

/// Shows of the device what does not depend on the versions of the kernel and of `ip`, nor on the default qdisc.
fn link(namespace: &Namespace) -> Vec<String> {
    const KEYS: [&str; 11] = [
        "mtu",
        "state",
        "qlen",
        "type",
        "pi",
        "vnet_hdr",
        "persist",
        "addrgenmode",
        "numtxqueues",
        "numrxqueues",
        "promiscuity",
    ];
    let shown = namespace
        .ip_output(&["-d", "link", "show", "flannel0"])
        .expect("the device is there");
    let words: Vec<&str> = shown.split_whitespace().collect();
    let flags = words
        .iter()
        .find(|word| word.starts_with('<'))
        .expect("flags are shown");
    let layer = words
        .iter()
        .find(|word| word.starts_with("link/"))
        .expect("a type is shown");
    let values = KEYS.iter().filter_map(|key| {
        let at = words.iter().position(|word| word == key)?;
        Some(format!("{key} {}", words.get(at + 1)?))
    });
    vec![format!("{flags} {layer}"), values.collect::<Vec<_>>().join(" ")]
}

fn show(namespace: &Namespace, arguments: &[&str], with: &str) -> Vec<String> {
    let shown = namespace.ip_output(arguments).expect("ip shows it");
    let lines = shown
        .lines()
        .filter(|line| line.trim().starts_with(with) || line.contains(&format!("dev {with}")));
    lines.map(str::to_owned).collect()
}

fn udp_sockets(namespace: &Namespace) -> Vec<String> {
    let shown = namespace.command("ss").args(["-Hnua"]).output().expect("ss runs");
    String::from_utf8_lossy(&shown.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}
