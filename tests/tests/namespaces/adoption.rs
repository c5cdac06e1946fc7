//! A node that ran flannel goes on with what flannel left, and only with that.

use std::fs;
use std::thread;
use std::time::Duration;

use selvedge_host::lab::{Namespace, Pace, Place, ProbeStream};
use selvedge_tests::backend::{Backend, Families};
use selvedge_tests::need;
use selvedge_tests::real_nodes::{HUNDRED_A_SECOND, RealNodes, node, run_ip, wait_until};

use crate::PROGRAM;

const SOON: Duration = Duration::from_secs(5);
const MAC: &str = "8a:4d:3e:11:22:33";

#[test]
fn a_node_of_flannel_is_taken_over_without_losing_a_packet() {
    need!(root, ip, bridge, etcd);
    let mut real = RealNodes::wire_with_backend("t-adopt", 2, Backend::Vxlan, Families::V4, PROGRAM);
    let namespace = real.lab.namespace(Place::Node(node(1)));
    start_second(&mut real);
    leave_as_flannel(&real, &namespace);
    real.lab.attach_pods().expect("pods are attached");
    let pod = real.lab.namespace(Place::Pod(node(1)));
    let quick = || ProbeStream::start(&pod, real.pod(2), Pace::QUICK).expect("probes are sent");
    assert!(
        wait_until(SOON, || quick().finish().lost() == 0),
        "flannel's state carries packets"
    );
    let index = show(&namespace, &["-o", "link", "show", "flannel.1"]);
    let index = index.split(':').next().unwrap_or_default().to_owned();
    let stream = ProbeStream::start(&pod, real.pod(2), HUNDRED_A_SECOND).expect("probes are sent");

    real.lab.start_node(node(1)).expect("it starts");
    let routes = || show(&namespace, &["route", "show", "proto", "83"]);
    let marked = wait_until(SOON, || {
        routes().contains(&format!("{}/24 via", real.subnet_address(2)))
    });
    thread::sleep(Duration::from_millis(500));

    let echoes = stream.stop();
    assert!(marked, "{}\n{}", routes(), real.log(node(1)));
    assert_eq!(echoes.lost(), 0, "of {}: {}", echoes.sent(), real.log(node(1)));
    let link = show(&namespace, &["-o", "-d", "link", "show", "flannel.1"]);
    assert!(
        link.starts_with(&format!("{index}: ")),
        "it is the same device: {link}"
    );
    assert!(link.contains(MAC) && link.contains("alias selvedge:"), "{link}");
    let leases = real.leases();
    let own = leases.iter().find(|(key, _)| key.ends_with("/10.50.1.0-24"));
    let (_, own) = own.expect("the same subnet");
    assert!(own.contains(&format!(r#""VtepMAC":"{MAC}""#)), "{own}");
    assert_eq!(leases.len(), 2, "{leases:?}");
    let boot = show(&namespace, &["route", "show", "proto", "boot"]);
    assert!(
        !boot.contains("flannel.1"),
        "all routes bear our mark, and the stale one is gone: {boot}"
    );
    let fdb = bridge_fdb(&namespace);
    assert!(!fdb.contains("192.0.2.9"), "the stale entry is gone: {fdb}");
}

#[test]
fn the_routes_of_flannels_host_gw_are_taken_over_without_losing_a_packet() {
    need!(root, ip, bridge, etcd);
    let mut real = RealNodes::wire_with_backend("t-adoptgw", 2, Backend::HostGw, Families::V4, PROGRAM);
    let namespace = real.lab.namespace(Place::Node(node(1)));
    start_second(&mut real);
    real.put(
        "subnets/10.50.1.0-24",
        r#"{"PublicIP":"192.0.2.1","PublicIPv6":null,"BackendType":"host-gw"}"#,
    );
    write_subnet_file(&real, 1500);
    let second = format!("{}/24", real.subnet_address(2));
    run_ip(
        &namespace,
        &["route", "add", &second, "via", "192.0.2.2", "dev", "eth0"],
    );
    run_ip(
        &namespace,
        &["route", "add", "10.50.77.0/24", "via", "192.0.2.7", "dev", "eth0"],
    );
    real.lab.attach_pods().expect("pods are attached");
    let pod = real.lab.namespace(Place::Pod(node(1)));
    let quick = || ProbeStream::start(&pod, real.pod(2), Pace::QUICK).expect("probes are sent");
    assert!(
        wait_until(SOON, || quick().finish().lost() == 0),
        "flannel's state carries packets; the second node says\n{}",
        real.log(node(2))
    );
    let stream = ProbeStream::start(&pod, real.pod(2), HUNDRED_A_SECOND).expect("probes are sent");

    real.lab.start_node(node(1)).expect("it starts");
    let routes = || show(&namespace, &["route", "show", "proto", "83"]);
    let marked = wait_until(SOON, || {
        routes().contains(&format!("{second} via 192.0.2.2 dev eth0"))
    });
    thread::sleep(Duration::from_millis(500));

    assert!(marked, "{}\n{}", routes(), real.log(node(1)));
    let echoes = stream.stop();
    assert_eq!(echoes.lost(), 0, "of {}: {}", echoes.sent(), real.log(node(1)));
    // It may be somebody's: its form is not flannel's alone.
    let boot = show(&namespace, &["route", "show", "proto", "boot"]);
    assert!(boot.contains("10.50.77.0/24"), "{boot}");
}

#[test]
fn a_bridge_with_the_devices_name_is_left_alone_and_told_of_in_one_line() {
    need!(root, ip, etcd);
    let mut real = RealNodes::wire_with_backend("t-bridge", 1, Backend::Vxlan, Families::V4, PROGRAM);
    let namespace = real.lab.namespace(Place::Node(node(1)));
    run_ip(&namespace, &["link", "add", "flannel.1", "type", "bridge"]);
    let before = show(&namespace, &["-d", "link", "show", "flannel.1"]);

    real.lab.start_node(node(1)).expect("it starts");

    let line = real.await_log(node(1), "flannel.1 exists already");
    assert!(
        line.contains("a bridge device and is not ours; remove it with `ip link del flannel.1`"),
        "{line}"
    );
    assert_eq!(show(&namespace, &["-d", "link", "show", "flannel.1"]), before);
    run_ip(&namespace, &["link", "delete", "flannel.1"]);
    real.await_traffic();
}

/// Starts the second node's daemon and waits for its subnet file.
fn start_second(real: &mut RealNodes) {
    real.lab.start_node(node(2)).expect("it starts");
    let file = real.lab.subnet_file(node(2));
    assert!(wait_until(SOON, || file.exists()), "{}", real.log(node(2)));
}

/// Makes what flannel leaves on the first node: its lease, its file, its device with what hangs on it, and entries of a lease
/// that is gone.
fn leave_as_flannel(real: &RealNodes, namespace: &Namespace) {
    let lease = format!(
        r#"{{"PublicIP":"192.0.2.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{{"VNI":1,"VtepMAC":"{MAC}"}}}}"#
    );
    real.put("subnets/10.50.1.0-24", &lease);
    write_subnet_file(real, 1450);
    let kind = [
        "type",
        "vxlan",
        "id",
        "1",
        "local",
        "192.0.2.1",
        "dev",
        "eth0",
        "dstport",
        "8472",
        "nolearning",
    ];
    let device = ["link", "add", "flannel.1", "address", MAC];
    run_ip(namespace, &[&device[..], &kind[..]].concat());
    run_ip(namespace, &["address", "add", "10.50.1.0/32", "dev", "flannel.1"]);
    run_ip(namespace, &["link", "set", "flannel.1", "up"]);
    let leases = real.leases();
    let value = leases
        .iter()
        .find_map(|(_, value)| value.contains("192.0.2.2").then_some(value));
    let value = value.expect("the second node has a lease");
    let (_, rest) = value.split_once(r#""VtepMAC":""#).expect("a hardware address");
    let second_mac = rest.get(..17).expect("a hardware address");
    let second = real.subnet_address(2).to_string();
    for (subnet, mac, public_ip) in [
        (second.as_str(), second_mac, "192.0.2.2"),
        ("10.50.77.0", "8a:4d:3e:00:00:09", "192.0.2.9"),
    ] {
        let neighbour = [
            "neighbour",
            "add",
            subnet,
            "lladdr",
            mac,
            "nud",
            "permanent",
            "dev",
            "flannel.1",
        ];
        run_ip(namespace, &neighbour);
        let mut fdb = namespace.command("bridge");
        fdb.args([
            "fdb",
            "add",
            mac,
            "dev",
            "flannel.1",
            "dst",
            public_ip,
            "self",
            "permanent",
        ]);
        assert!(fdb.status().expect("bridge runs").success());
        let net = format!("{subnet}/24");
        run_ip(
            namespace,
            &["route", "add", &net, "via", subnet, "dev", "flannel.1", "onlink"],
        );
    }
}

fn write_subnet_file(real: &RealNodes, mtu: u32) {
    let file = real.lab.subnet_file(node(1));
    fs::create_dir_all(file.parent().expect("a directory")).expect("made");
    let text = format!(
        "FLANNEL_NETWORK=10.50.0.0/16\nFLANNEL_SUBNET=10.50.1.1/24\nFLANNEL_MTU={mtu}\nFLANNEL_IPMASQ=false\n"
    );
    fs::write(&file, text).expect("written");
}

fn show(namespace: &Namespace, arguments: &[&str]) -> String {
    namespace.ip_output(arguments).expect("ip shows it")
}

fn bridge_fdb(namespace: &Namespace) -> String {
    let shown = namespace
        .command("bridge")
        .args(["fdb", "show", "dev", "flannel.1"])
        .output();
    String::from_utf8_lossy(&shown.expect("bridge runs").stdout).into_owned()
}
