//! What each backend leaves in etcd, in the kernel and in the subnet file equals what flannel leaves (backends.md, 14.2 to
//! 14.5). The intended differences are the routes' protocol number, 83 instead of boot, the alias of the devices, and with
//! IPv6 over VXLAN the MTU, which is the smaller device's.

use std::fmt::Write as _;
use std::fs;

use selvedge_host::lab::{Namespace, Place};
use selvedge_tests::backend::{Backend, Families};
use selvedge_tests::names::Names;
use selvedge_tests::need;
use selvedge_tests::real_nodes::{RealNodes, node};

use crate::PROGRAM;

#[test]
fn vxlan_leaves_the_golden_facts() {
    need!(root, ip, bridge, ss, etcd);
    let real = RealNodes::up_with_backend("t-vxfacts", 3, Backend::Vxlan, Families::V4, PROGRAM);

    insta::assert_snapshot!("vxlan", facts(&real, Backend::Vxlan, Families::V4));
}

#[test]
fn vxlan_with_direct_routing_leaves_the_golden_facts() {
    need!(root, ip, bridge, ss, etcd);
    let backend = Backend::VxlanDirect;
    let real = RealNodes::up_with_backend("t-vxdfacts", 3, backend, Families::V4, PROGRAM);

    insta::assert_snapshot!("vxlan_direct", facts(&real, backend, Families::V4));
}

#[test]
fn vxlan_leaves_the_golden_facts_of_both_versions_of_ip() {
    need!(root, ip, bridge, ss, etcd);
    let real = RealNodes::up_with_backend("t-vx6facts", 2, Backend::Vxlan, Families::Dual, PROGRAM);

    insta::assert_snapshot!("vxlan_dual", facts(&real, Backend::Vxlan, Families::Dual));
}

#[test]
fn host_gw_leaves_the_golden_facts() {
    need!(root, ip, bridge, ss, etcd);
    let real = RealNodes::up_with_backend("t-gwfacts", 2, Backend::HostGw, Families::V4, PROGRAM);

    insta::assert_snapshot!("host_gw", facts(&real, Backend::HostGw, Families::V4));
}

#[test]
fn host_gw_leaves_the_golden_facts_of_both_versions_of_ip() {
    need!(root, ip, bridge, ss, etcd);
    let real = RealNodes::up_with_backend("t-gw6facts", 2, Backend::HostGw, Families::Dual, PROGRAM);

    insta::assert_snapshot!("host_gw_dual", facts(&real, Backend::HostGw, Families::Dual));
}

fn facts(real: &RealNodes, backend: Backend, families: Families) -> String {
    let namespace = real.lab.namespace(Place::Node(node(1)));
    let own = real.subnet_address(1).to_string();
    let mut facts = Facts {
        text: String::new(),
        names: Names::of(real, backend.devices(families)),
    };
    for (key, value) in real.leases() {
        if key.contains(&own) {
            facts.note("etcd", [format!("{key} = {value}")]);
        }
    }
    for device in backend.devices(families) {
        facts.note("link", [link(&namespace, device)]);
        let addresses = ip(&namespace, &["-o", "address", "show", "dev", device]);
        facts.note("addr", addresses.iter().map(|line| address(line)));
    }
    // Routes that the pods' bridge and the interface have by themselves are not of the backend.
    let is_ours = |line: &String| line.contains("proto 83");
    let routes = ip(&namespace, &["-d", "route", "show"]);
    facts.note("route", routes.into_iter().filter(is_ours));
    let routes = ip(&namespace, &["-6", "-d", "route", "show"]);
    facts.note("route6", routes.into_iter().filter(is_ours));
    for device in backend.devices(families) {
        let neighbours = ["neighbour", "show", "nud", "permanent", "dev", device];
        facts.note("neigh", ip(&namespace, &neighbours));
        facts.note(
            "fdb",
            output(&namespace, "bridge", &["fdb", "show", "dev", device]),
        );
        facts.note("sysctl", [accept_ra(&namespace, device)]);
    }
    facts.note("sock", output(&namespace, "ss", &["-Hnua"]));
    let file = fs::read_to_string(real.lab.subnet_file(node(1))).expect("the subnet file");
    facts.note("env", file.lines().map(str::to_owned));
    facts.text
}

struct Facts {
    text: String,
    names: Names,
}

impl Facts {
    fn note(&mut self, name: &str, lines: impl IntoIterator<Item = String>) {
        let mut lines: Vec<String> = lines
            .into_iter()
            .map(|line| self.names.replace_in(&line))
            .collect();
        // The kernel lists entries in an order of its own.
        lines.sort();
        for line in lines {
            writeln!(self.text, "{name} {line}").expect("a string grows");
        }
    }
}

/// Shows of a device what does not depend on the versions of the kernel and of `ip`.
fn link(namespace: &Namespace, device: &str) -> String {
    let shown = ip(namespace, &["-o", "-d", "link", "show", device]).concat();
    let words: Vec<&str> = shown.split_whitespace().collect();
    let flags = words.iter().find(|word| word.starts_with('<')).copied();
    let values = [
        "mtu",
        "qdisc",
        "state",
        "link/ether",
        "addrgenmode",
        "numtxqueues",
        "numrxqueues",
        "alias",
    ];
    let values = values.iter().filter_map(|key| {
        let at = words
            .iter()
            .position(|word| word.trim_start_matches('\\') == *key)?;
        Some(format!("{key} {}", words.get(at + 1)?))
    });
    let vxlan = words.iter().skip_while(|word| **word != "vxlan");
    let vxlan = vxlan.take_while(|word| **word != "addrgenmode");
    let vxlan: Vec<&str> = vxlan.copied().collect();
    let values = values.collect::<Vec<_>>().join(" ");
    format!(
        "{device} {} {values} {}",
        flags.expect("flags are shown"),
        vxlan.join(" ")
    )
}

/// Shows an address without the device's index and its lifetime.
fn address(line: &str) -> String {
    let (shown, _) = line.split_once('\\').unwrap_or((line, ""));
    let words = shown.split_whitespace().skip(1);
    // For how long an address is tentative is a matter of time.
    let words = words.filter(|word| !matches!(*word, "tentative" | "nodad"));
    words.collect::<Vec<_>>().join(" ")
}

fn accept_ra(namespace: &Namespace, device: &str) -> String {
    let file = format!("/proc/sys/net/ipv6/conf/{device}/accept_ra");
    let value = namespace.enter(|| fs::read_to_string(&file));
    let value = value
        .expect("the namespace is there")
        .expect("the device is there");
    format!("{device} accept_ra = {}", value.trim())
}

fn ip(namespace: &Namespace, arguments: &[&str]) -> Vec<String> {
    output(namespace, "ip", arguments)
}

fn output(namespace: &Namespace, program: &str, arguments: &[&str]) -> Vec<String> {
    let output = namespace
        .command(program)
        .args(arguments)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}
