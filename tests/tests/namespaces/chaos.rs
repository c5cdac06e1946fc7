//! Whatever is changed on a node behind the daemon's back is right again within a second. `make chaos` does the same more
//! often and writes it down.

use std::fmt::Write as _;

use selvedge_tests::backend::Backend;
use selvedge_tests::chaos;
use selvedge_tests::need;

use crate::PROGRAM;

#[test]
fn every_change_is_mended_within_a_second_with_udp() {
    need!(root, tun, ip, bridge, etcd);

    mends("t-chaosudp", Backend::Udp);
}

#[test]
fn every_change_is_mended_within_a_second_with_vxlan() {
    need!(root, ip, bridge, etcd);

    mends("t-chaosvx", Backend::Vxlan);
}

#[test]
fn every_change_is_mended_within_a_second_with_vxlan_and_direct_routing() {
    need!(root, ip, bridge, etcd);

    mends("t-chaosdr", Backend::VxlanDirect);
}

#[test]
fn every_change_is_mended_within_a_second_with_host_gw() {
    need!(root, ip, bridge, etcd);

    mends("t-chaosgw", Backend::HostGw);
}

fn mends(name: &str, backend: Backend) {
    let mut table = chaos::head();
    let costs = chaos::measure(name, backend, PROGRAM, |cost| {
        write!(table, "\n{cost}").expect("a string grows");
        println!("{cost}");
    });

    assert!(costs.iter().all(chaos::Cost::is_in_time), "{table}");
}
