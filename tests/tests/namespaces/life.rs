//! Stopping, starting again, and repair.

use std::fs;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use selvedge_host::lab::{Ending, Pace, Place};
use selvedge_tests::need;
use selvedge_tests::real_nodes::{RealNodes, cpu_time, node, wait_until};

use crate::PROGRAM;

#[test]
fn sigterm_leaves_what_flannel_leaves_and_a_restart_takes_the_same_subnet() {
    need!(root, tun, ip, etcd);
    let mut real = RealNodes::up("t-term", 2, PROGRAM);
    let keys = real.keys();
    let file = fs::read_to_string(real.lab.subnet_file(node(1))).expect("the subnet file");

    real.lab.stop_node(node(1), Ending::Graceful).expect("it ends");

    let namespace = real.lab.namespace(Place::Node(node(1)));
    assert_eq!(real.keys(), keys, "the lease stays");
    assert_eq!(
        fs::read_to_string(real.lab.subnet_file(node(1))).expect("it stays"),
        file
    );
    assert!(
        namespace.ip(&["link", "show", "flannel0"]).is_err(),
        "the device is gone"
    );
    let routes = namespace
        .ip_output(&["route", "show", "table", "all"])
        .expect("routes");
    assert!(
        !routes.contains("flannel0") && !routes.contains("10.50.0.0/16"),
        "{routes}"
    );

    real.lab.start_node(node(1)).expect("it starts");
    real.await_traffic();

    assert_eq!(real.keys(), keys, "the same subnet");
    assert_eq!(
        fs::read_to_string(real.lab.subnet_file(node(1))).expect("the subnet file"),
        file
    );
}

#[test]
fn a_hang_up_ends_nothing() {
    need!(root, tun, ip, etcd);
    let mut real = RealNodes::up("t-hup", 2, PROGRAM);
    let pids = real.lab.namespace(Place::Node(node(1))).pids().expect("listed");
    let daemon = *pids.first().expect("the daemon runs");

    kill(daemon, Signal::SIGHUP).expect("signalled");

    let answered = || real.log(node(1)).contains("got SIGHUP");
    assert!(
        wait_until(Duration::from_secs(5), answered),
        "{}",
        real.log(node(1))
    );
    real.await_traffic();
    let now = real.lab.namespace(Place::Node(node(1))).pids().expect("listed");
    assert_eq!(now.first(), Some(&daemon));
}

#[test]
fn a_killed_daemon_comes_back_with_its_subnet() {
    need!(root, tun, ip, etcd);
    let mut real = RealNodes::up("t-kill", 2, PROGRAM);
    let keys = real.keys();

    real.lab.stop_node(node(2), Ending::Crash).expect("it ends");
    real.lab.start_node(node(2)).expect("it starts");
    real.await_traffic();

    assert_eq!(real.keys(), keys);
}

#[test]
fn a_deleted_device_is_made_again_without_a_spin() {
    need!(root, tun, ip, etcd);
    let mut real = RealNodes::up("t-tun", 2, PROGRAM);
    let namespace = real.lab.namespace(Place::Node(node(1)));
    let daemon = *namespace
        .pids()
        .expect("listed")
        .first()
        .expect("the daemon runs");

    namespace.ip(&["link", "delete", "flannel0"]).expect("deleted");

    let back = wait_until(Duration::from_secs(5), || {
        let routes = namespace.ip_output(&["route", "show", "dev", "flannel0"]);
        routes.is_ok_and(|routes| routes.contains("10.50.0.0/16"))
    });
    assert!(back, "{}", real.log(node(1)));
    real.await_traffic();
    let before = cpu_time(daemon);
    thread::sleep(Duration::from_secs(2));
    let used = cpu_time(daemon).abs_diff(before);
    assert!(
        used < Duration::from_millis(200),
        "{used:?} of processor time in 2 s"
    );
    let links = real.lab.ping_all_pods(Pace::QUICK).expect("probes are sent");
    assert!(links.iter().all(|link| link.echoes.lost() == 0));
}

#[test]
fn a_device_that_was_set_down_gets_its_route_back() {
    need!(root, tun, ip, etcd);
    let mut real = RealNodes::up("t-down", 2, PROGRAM);
    let namespace = real.lab.namespace(Place::Node(node(1)));

    namespace
        .ip(&["link", "set", "flannel0", "down"])
        .expect("set down");

    let back = wait_until(Duration::from_secs(5), || {
        let routes = namespace.ip_output(&["route", "show", "dev", "flannel0"]);
        routes.is_ok_and(|routes| routes.contains("10.50.0.0/16"))
    });
    assert!(back, "{}", real.log(node(1)));
    real.await_traffic();
}

#[test]
fn a_deleted_route_and_a_deleted_address_are_put_back() {
    need!(root, tun, ip, etcd);
    let mut real = RealNodes::up("t-repair", 2, PROGRAM);
    let namespace = real.lab.namespace(Place::Node(node(1)));
    let shown = |arguments: &[&str]| namespace.ip_output(arguments).expect("ip shows it");
    let route = ["route", "show", "dev", "flannel0"];
    let address = ["-4", "-o", "address", "show", "dev", "flannel0"];
    let (routes, addresses) = (shown(&route), shown(&address));
    let own = format!("{}/32", real.subnet_address(1));

    namespace
        .ip(&["route", "delete", "10.50.0.0/16", "dev", "flannel0"])
        .expect("deleted");
    let route_back = wait_until(Duration::from_secs(5), || shown(&route) == routes);
    namespace
        .ip(&["address", "delete", &own, "dev", "flannel0"])
        .expect("deleted");
    let address_back = wait_until(Duration::from_secs(5), || shown(&address) == addresses);

    assert!(route_back, "{}", real.log(node(1)));
    assert!(address_back, "{}", real.log(node(1)));
    real.await_traffic();
}
