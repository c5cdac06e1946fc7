//! `selvedge plan` says what the daemon would do and does nothing; `selvedge cleanup` removes what is ours and nothing else.

use std::process::Output;

use selvedge_host::lab::{Ending, Namespace, Place};
use selvedge_tests::backend::{Backend, Families};
use selvedge_tests::need;
use selvedge_tests::real_nodes::{RealNodes, node, run_ip};

use crate::PROGRAM;

const ENDPOINT: &str = "http://192.0.2.250:2379";

#[test]
fn there_is_nothing_to_do_on_a_node_of_udp_that_runs() {
    need!(root, tun, ip, etcd);

    has_nothing_to_do("t-planudp", Backend::Udp, Families::V4);
}

#[test]
fn there_is_nothing_to_do_on_a_node_of_vxlan_that_runs() {
    need!(root, ip, etcd);

    has_nothing_to_do("t-planvx", Backend::Vxlan, Families::Dual);
}

#[test]
fn there_is_nothing_to_do_on_a_node_of_vxlan_with_direct_routing_that_runs() {
    need!(root, ip, etcd);

    has_nothing_to_do("t-planvxd", Backend::VxlanDirect, Families::V4);
}

#[test]
fn there_is_nothing_to_do_on_a_node_of_host_gw_that_runs() {
    need!(root, ip, etcd);

    has_nothing_to_do("t-plangw", Backend::HostGw, Families::Dual);
}

#[test]
fn a_lost_route_of_vxlan_is_planned_and_left_alone() {
    need!(root, ip, etcd);
    let mut real = RealNodes::up_with_backend("t-planvx2", 2, Backend::Vxlan, Families::V4, PROGRAM);
    let second = real.subnet_address(2);

    let planned = plan_without_route(&mut real);

    assert_eq!(
        planned,
        format!("+ route {second}/24 via {second} dev flannel.1 onlink\n")
    );
}

#[test]
fn a_lost_route_of_host_gw_is_planned_and_left_alone() {
    need!(root, ip, etcd);
    let mut real = RealNodes::up_with_backend("t-plangw2", 2, Backend::HostGw, Families::V4, PROGRAM);
    let second = real.subnet_address(2);

    let planned = plan_without_route(&mut real);

    assert_eq!(planned, format!("+ route {second}/24 via 192.0.2.2 dev eth0\n"));
}

#[test]
fn all_is_planned_for_a_node_that_never_ran() {
    need!(root, ip, etcd);
    let real = RealNodes::wire_with_backend("t-plannew", 1, Backend::Vxlan, Families::V4, PROGRAM);
    let namespace = real.lab.namespace(Place::Node(node(1)));
    let before = everything(&namespace);

    let output = plan(&real);

    let planned = text(&output);
    let kinds: Vec<&str> = planned.lines().filter_map(|line| line.get(..8)).collect();
    assert_eq!(
        kinds,
        ["+ VXLAN ", "+ addres", "+ iptabl", "+ nftabl", "+ subnet"],
        "{planned}"
    );
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(everything(&namespace), before);
    assert!(real.leases().is_empty(), "no lease is taken");
    assert!(!real.lab.subnet_file(node(1)).exists());
}

#[test]
fn a_plan_without_a_network_config_ends_with_a_line_that_says_so() {
    need!(root, ip, etcd);
    let mut real = RealNodes::wire("t-plannone", 1, PROGRAM);
    real.start_etcd();

    let output = plan(&real);

    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let errors = String::from_utf8_lossy(&output.stderr);
    let all = format!("{}{errors}", text(&output));
    assert!(all.contains("/coreos.com/network/config"), "{all}");
}

#[test]
fn cleanup_removes_what_is_ours_with_vxlan_and_nothing_else() {
    need!(root, ip, etcd);

    removes_ours_alone("t-cleanvx", Backend::Vxlan);
}

#[test]
fn cleanup_removes_what_is_ours_with_host_gw_and_nothing_else() {
    need!(root, ip, etcd);

    removes_ours_alone("t-cleangw", Backend::HostGw);
}

#[test]
fn cleanup_has_nothing_to_remove_where_nothing_is() {
    need!(root, ip);
    let real = RealNodes::wire("t-cleannone", 1, PROGRAM);

    let output = cleanup(&real, &[]);

    assert_eq!(text(&output), "nothing to remove\n");
    assert!(output.status.success());
}

fn has_nothing_to_do(name: &str, backend: Backend, families: Families) {
    let nodes = if backend == Backend::VxlanDirect { 3 } else { 2 };
    let real = RealNodes::up_with_backend(name, nodes, backend, families, PROGRAM);
    let namespace = real.lab.namespace(Place::Node(node(1)));
    let (leases, before) = (real.leases(), everything(&namespace));

    let output = plan(&real);

    assert_eq!(text(&output), "nothing to do\n", "{output:?}");
    assert!(output.status.success());
    assert_eq!(real.leases(), leases);
    assert_eq!(everything(&namespace), before);
}

/// Takes the second node's route away from the first while no daemon runs there; returns what is planned.
fn plan_without_route(real: &mut RealNodes) -> String {
    let namespace = real.lab.namespace(Place::Node(node(1)));
    real.lab.stop_node(node(1), Ending::Graceful).expect("it ends");
    let second = format!("{}/24", real.subnet_address(2));
    run_ip(&namespace, &["route", "delete", &second]);
    let (leases, before) = (real.leases(), everything(&namespace));

    let output = plan(real);

    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(real.leases(), leases);
    assert_eq!(everything(&namespace), before);
    text(&output)
}

fn removes_ours_alone(name: &str, backend: Backend) {
    let mut real = RealNodes::wire_with_backend(name, 2, backend, Families::Dual, PROGRAM);
    let namespace = real.lab.namespace(Place::Node(node(1)));
    add_foreign_objects(&namespace);
    let foreign = everything(&namespace);
    real.start_all();
    real.lab.stop_node(node(1), Ending::Graceful).expect("it ends");
    let before = everything(&namespace);

    let dry = cleanup(&real, &["--dry-run"]);
    let after_dry = everything(&namespace);
    let done = cleanup(&real, &[]);

    assert!(dry.status.success() && done.status.success(), "{dry:?} {done:?}");
    assert_eq!(after_dry, before, "a dry run changes nothing");
    assert_eq!(text(&dry), text(&done), "it says the same");
    assert!(text(&done).lines().all(|line| line.starts_with("- ")), "{done:?}");
    assert!(text(&done).contains("subnet.env"), "{done:?}");
    assert!(!real.lab.subnet_file(node(1)).exists());
    assert_ne!(before, foreign);
    assert_eq!(everything(&namespace), foreign, "{done:?}");
    assert_eq!(text(&cleanup(&real, &[])), "nothing to remove\n");
}

/// Adds objects of others that resemble ours.
fn add_foreign_objects(namespace: &Namespace) {
    run_ip(
        namespace,
        &[
            "link", "add", "mine", "type", "vxlan", "id", "99", "dstport", "4789", "dev", "eth0",
        ],
    );
    run_ip(namespace, &["link", "add", "flannel.7", "type", "bridge"]);
    run_ip(namespace, &["link", "set", "flannel.7", "up"]);
    run_ip(
        namespace,
        &["address", "add", "10.50.250.1/24", "dev", "flannel.7"],
    );
    run_ip(namespace, &["route", "add", "10.50.251.0/24", "via", "192.0.2.9"]);
    run_ip(
        namespace,
        &["route", "add", "172.31.0.0/16", "via", "192.0.2.9", "proto", "83"],
    );
    run_ip(
        namespace,
        &[
            "route",
            "add",
            "10.50.252.0/24",
            "via",
            "192.0.2.9",
            "proto",
            "bird",
        ],
    );
}

/// Shows what the namespace has, without what comes and goes with the pods and with time.
fn everything(namespace: &Namespace) -> String {
    let show = |arguments: &[&str]| namespace.ip_output(arguments).expect("ip shows it");
    let shown = [
        show(&["-o", "link", "show"]),
        show(&["-o", "address", "show"]),
        show(&["route", "show"]),
        show(&["-6", "route", "show"]),
        show(&["neighbour", "show", "nud", "permanent"]),
    ];
    let all = shown.concat();
    let is_stable = |line: &&str| {
        !["cni0", "pod@", "fe80:", "pod "]
            .iter()
            .any(|word| line.contains(word))
    };
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    all.lines()
        .filter(is_stable)
        .map(|line| words(line) + "\n")
        .collect()
}

fn plan(real: &RealNodes) -> Output {
    let mut command = real.lab.namespace(Place::Node(node(1))).command(PROGRAM);
    command.args(["plan", "--etcd-endpoints", ENDPOINT, "--subnet-file"]);
    command.arg(real.lab.subnet_file(node(1)));
    command.output().expect("it runs")
}

fn cleanup(real: &RealNodes, flags: &[&str]) -> Output {
    let mut command = real.lab.namespace(Place::Node(node(1))).command(PROGRAM);
    command
        .args(["cleanup", "--subnet-file"])
        .arg(real.lab.subnet_file(node(1)));
    command.args(flags).output().expect("it runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
