//! What a backend cannot work with is said in one clear line.
//!
//! A kernel without VXLAN is not among the tests: no kernel that they run on lacks it.

use std::fs;
use std::time::Duration;

use selvedge_host::lab::Place;
use selvedge_tests::backend::{Backend, Families};
use selvedge_tests::need;
use selvedge_tests::real_nodes::{RealNodes, node, wait_until};

use crate::PROGRAM;
use crate::bad_input::{errors, run_inside};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn an_option_of_a_wrong_type_or_out_of_range_is_named_and_waited_for() {
    need!(root, ip, etcd);
    let mut real = RealNodes::wire("t-badopt", 1, PROGRAM);
    real.start_etcd();
    real.put(
        "config",
        r#"{"Network":"10.50.0.0/16","Backend":{"Type":"vxlan","VNI":"one"}}"#,
    );

    real.lab.start_node(node(1)).expect("it starts");

    let rule = "it must be a VXLAN network identifier, a number from 0 to 16777215";
    real.await_log(node(1), &format!(r#"Backend.VNI is "one": {rule}"#));
    real.put(
        "config",
        r#"{"Network":"10.50.0.0/16","Backend":{"Type":"vxlan","VNI":16777216}}"#,
    );
    real.await_log(node(1), &format!("Backend.VNI is 16777216: {rule}"));
    real.put(
        "config",
        r#"{"Network":"10.50.0.0/16","Backend":{"Type":"vxlan","DirectRouting":1}}"#,
    );
    real.await_log(node(1), "Backend.DirectRouting is 1: it must be true or false");
    real.put("config", &Backend::Vxlan.config(Families::V4));
    real.await_traffic();
}

#[test]
fn a_misspelt_option_is_named_with_the_one_that_may_be_meant() {
    need!(root, ip, etcd);
    let mut real = RealNodes::wire("t-misspelt", 1, PROGRAM);
    real.start_etcd();
    real.put(
        "config",
        r#"{"Network":"10.50.0.0/16","Backend":{"Type":"vxlan","DirectRoutng":true}}"#,
    );

    real.lab.start_node(node(1)).expect("it starts");

    let line = real.await_log(node(1), "DirectRoutng");
    assert!(
        line.contains("did you mean") && line.contains("DirectRouting"),
        "{line}"
    );
    real.await_traffic();
}

#[test]
fn a_missing_capability_is_named_with_vxlan() {
    need!(root, ip, setpriv, etcd);
    let real = RealNodes::wire_with_backend("t-capvx", 1, Backend::Vxlan, Families::V4, PROGRAM);

    let ended = run_inside(
        &real,
        "setpriv",
        &["--inh-caps=-net_admin", "--bounding-set=-net_admin"],
        &[],
    );

    assert_eq!(ended.status.code(), Some(77), "{ended:?}");
    let line = errors(&ended);
    assert!(
        line.contains("CAP_NET_ADMIN") && line.contains("flannel.1"),
        "{line}"
    );
}

#[test]
fn host_gw_behind_nat_is_refused() {
    need!(root, ip, etcd);
    let real = RealNodes::wire_with_backend("t-gwnat", 1, Backend::HostGw, Families::V4, PROGRAM);

    let ended = run_inside(
        &real,
        "env",
        &[],
        &["--iface", "eth0", "--public-ip", "203.0.113.9"],
    );

    assert_eq!(ended.status.code(), Some(69), "{ended:?}");
    let line = errors(&ended);
    assert!(
        line.contains("the public IP 203.0.113.9 is not 192.0.2.1 of eth0; leave --public-ip out"),
        "{line}"
    );
    assert!(real.leases().is_empty(), "no lease is taken");
}

#[test]
fn a_network_that_overlaps_the_interfaces_is_refused_unless_forced() {
    need!(root, ip, etcd);
    let mut real = RealNodes::wire("t-overlap", 1, PROGRAM);
    real.start_etcd();
    let config = r#"{"Network":"192.0.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan"}}"#;
    real.put("config", config);

    let ended = run_inside(&real, "env", &[], &[]);

    assert_eq!(ended.status.code(), Some(69), "{ended:?}");
    let line = errors(&ended);
    assert!(
        line.contains("the network 192.0.0.0/16 gives out addresses of 192.0.2.0/24")
            && line.contains("--force"),
        "{line}"
    );
    assert!(real.leases().is_empty(), "no lease is taken");
    let links = real
        .lab
        .namespace(Place::Node(node(1)))
        .ip_output(&["link", "show"]);
    assert!(!links.expect("listed").contains("flannel"), "no device is made");

    real.lab.add_node_flags(&["--force"]);
    real.lab.start_node(node(1)).expect("it starts");

    let file = real.lab.subnet_file(node(1));
    let is_served =
        || fs::read_to_string(&file).is_ok_and(|text| text.contains("FLANNEL_NETWORK=192.0.0.0/16"));
    assert!(wait_until(SOON, is_served), "{}", real.log(node(1)));
}
