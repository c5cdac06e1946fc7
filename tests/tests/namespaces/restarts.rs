//! With the backends of the kernel no packet is lost while the daemon is away or starts again, and what it finds is what it
//! needs: kept if it is right, removed if it is stale.

use std::thread;
use std::time::Duration;

use selvedge_host::lab::{Ending, Namespace, Place, ProbeStream};
use selvedge_tests::backend::{Backend, Families};
use selvedge_tests::need;
use selvedge_tests::real_nodes::{HUNDRED_A_SECOND, PREFIX, RealNodes, node, wait_until};

use crate::PROGRAM;

const SOON: Duration = Duration::from_secs(5);
/// How long traffic is watched after a start: longer than everything that a start does.
const AFTERWARDS: Duration = Duration::from_millis(500);

#[test]
fn no_packet_is_lost_when_a_daemon_of_vxlan_is_stopped_or_killed_and_starts_again() {
    need!(root, ip, bridge, etcd);
    let mut real = RealNodes::up_with_backend("t-vxrestart", 2, Backend::Vxlan, Families::V4, PROGRAM);

    loses_nothing_over_restarts(&mut real, Backend::Vxlan);
}

#[test]
fn no_packet_is_lost_when_a_daemon_of_host_gw_is_stopped_or_killed_and_starts_again() {
    need!(root, ip, bridge, etcd);
    let mut real = RealNodes::up_with_backend("t-gwrestart", 2, Backend::HostGw, Families::V4, PROGRAM);

    loses_nothing_over_restarts(&mut real, Backend::HostGw);
}

#[test]
fn what_a_lease_left_that_vanished_meanwhile_is_removed_at_the_start_with_vxlan() {
    need!(root, ip, bridge, etcd);
    let mut real = RealNodes::up_with_backend("t-vxstale", 3, Backend::Vxlan, Families::V4, PROGRAM);

    forgets_who_left_meanwhile(&mut real);
}

#[test]
fn what_a_lease_left_that_vanished_meanwhile_is_removed_at_the_start_with_host_gw() {
    need!(root, ip, bridge, etcd);
    let mut real = RealNodes::up_with_backend("t-gwstale", 3, Backend::HostGw, Families::V4, PROGRAM);

    forgets_who_left_meanwhile(&mut real);
}

fn loses_nothing_over_restarts(real: &mut RealNodes, backend: Backend) {
    let namespace = real.lab.namespace(Place::Node(node(1)));
    let (leases, before) = (real.leases(), standing(&namespace, backend));
    let [there, back] = [(1, 2), (2, 1)].map(|(from, to)| {
        let pod = real.lab.namespace(Place::Pod(node(from)));
        ProbeStream::start(&pod, real.pod(to), HUNDRED_A_SECOND).expect("probes are sent")
    });

    for ending in [Ending::Graceful, Ending::Crash] {
        real.lab.stop_node(node(1), ending).expect("it ends");
        thread::sleep(AFTERWARDS);
        real.lab.start_node(node(1)).expect("it starts");
        real.lab.wait_ready().expect("it is ready");
        thread::sleep(AFTERWARDS);
    }

    for stream in [there, back] {
        let echoes = stream.stop();
        assert!(echoes.sent() > 150, "{}", echoes.sent());
        assert_eq!(echoes.lost(), 0, "of {}: {}", echoes.sent(), real.log(node(1)));
    }
    assert_eq!(real.leases(), leases, "the same subnet and hardware address");
    assert_eq!(standing(&namespace, backend), before);
}

fn forgets_who_left_meanwhile(real: &mut RealNodes) {
    let namespace = real.lab.namespace(Place::Node(node(1)));
    let gone = real.subnet_address(3).to_string();
    let shown = || everything(&namespace).matches(&gone).count();
    assert!(shown() > 0, "{}", everything(&namespace));

    real.lab.stop_node(node(1), Ending::Graceful).expect("it ends");
    real.lab.stop_node(node(3), Ending::Graceful).expect("it ends");
    real.delete(&format!("{PREFIX}/subnets/{gone}-24"));
    assert!(shown() > 0, "nobody is there to remove it");
    real.lab.start_node(node(1)).expect("it starts");

    assert!(
        wait_until(SOON, || shown() == 0
            && !everything(&namespace).contains("192.0.2.3 self")),
        "{}",
        everything(&namespace)
    );
    let stays = real.subnet_address(2).to_string();
    assert!(everything(&namespace).contains(&stays));
}

/// Shows what the backend has in the kernel, the device's number included: it is not made anew.
fn standing(namespace: &Namespace, backend: Backend) -> String {
    let devices = backend.devices(Families::V4);
    let show = |device: &&str| namespace.ip_output(&["-o", "-d", "link", "show", device]);
    let devices: String = devices
        .iter()
        .map(|device| show(device).expect("the device is there"))
        .collect();
    devices + &everything(namespace)
}

fn everything(namespace: &Namespace) -> String {
    let ip = |arguments: &[&str]| namespace.ip_output(arguments).expect("ip shows it");
    let fdb = namespace.command("bridge").args(["fdb", "show"]).output();
    let fdb = fdb.expect("bridge runs").stdout;
    let fdb = String::from_utf8_lossy(&fdb).into_owned();
    // Of the pods' bridge and the interface everything stays as it is, or comes and goes by itself.
    let fdb: Vec<&str> = fdb.lines().filter(|line| line.contains("flannel")).collect();
    [
        ip(&["route", "show", "proto", "83"]),
        ip(&["neighbour", "show", "nud", "permanent"]),
        fdb.join("\n"),
    ]
    .concat()
}
