//! What holds for IPv4 holds for IPv6: what is changed on a node behind the daemon's back is right again within a second, and
//! the node follows its interface.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use selvedge_host::lab::{Namespace, Place, Stopwatch};
use selvedge_tests::backend::{Backend, Families};
use selvedge_tests::need;
use selvedge_tests::real_nodes::{RealNodes, node, wait_until};

use crate::PROGRAM;
use crate::backends::ping;

/// How long a repair may take.
const LIMIT: Duration = Duration::from_secs(1);
const OTHER_MAC: &str = "02:00:00:00:00:99";

#[test]
fn everything_of_ipv6_is_mended_within_a_second_with_vxlan() {
    need!(root, ip, bridge, ping, etcd);
    let real = RealNodes::up_with_backend("t-six-vx", 2, Backend::Vxlan, Families::Dual, PROGRAM);
    let device = "flannel-v6.1";
    let own = format!("{}/128", subnet(&real, 1));
    let peer = subnet(&real, 2);
    let route = format!("{peer}/64");
    let mac = mac_of(&real, 2, device);
    let neighbour = [
        "neighbour",
        "replace",
        &peer,
        "lladdr",
        OTHER_MAC,
        "nud",
        "permanent",
        "dev",
        device,
    ];

    for change in [
        &["ip", "link", "delete", device][..],
        &["ip", "link", "set", device, "down"],
        &["ip", "link", "set", device, "mtu", "1290"],
        &["ip", "link", "set", device, "name", "elsewhere"],
        &["ip", "address", "delete", &own, "dev", device],
        &["ip", "-6", "route", "delete", &route],
        &[
            "ip",
            "-6",
            "route",
            "replace",
            &route,
            "via",
            "2001:db8:77::99",
            "dev",
            "eth0",
        ],
        &["ip", "-6", "route", "flush", "proto", "83"],
        &["ip", "neighbour", "delete", &peer, "dev", device],
        &[&["ip"], &neighbour[..]].concat(),
        &["bridge", "fdb", "delete", &mac, "dev", device, "self"],
        &[
            "bridge",
            "fdb",
            "replace",
            &mac,
            "dev",
            device,
            "dst",
            "2001:db8:77::99",
            "self",
            "permanent",
        ],
    ] {
        is_mended(&real, &[device], change);
    }
}

#[test]
fn everything_of_ipv6_is_mended_within_a_second_with_host_gw() {
    need!(root, ip, bridge, ping, etcd);
    let real = RealNodes::up_with_backend("t-six-gw", 2, Backend::HostGw, Families::Dual, PROGRAM);
    let route = format!("{}/64", subnet(&real, 2));

    for change in [
        &["ip", "-6", "route", "delete", &route][..],
        &[
            "ip",
            "-6",
            "route",
            "replace",
            &route,
            "via",
            "2001:db8:77::99",
            "dev",
            "eth0",
        ],
        &["ip", "-6", "route", "flush", "proto", "83"],
    ] {
        is_mended(&real, &[], change);
    }
}

#[test]
fn a_node_follows_its_interfaces_addresses_and_mtu_with_vxlan() {
    need!(root, ip, bridge, ping, etcd);
    let real = RealNodes::up_with_backend("t-six-vxmove", 2, Backend::Vxlan, Families::Dual, PROGRAM);

    follows_its_addresses(&real);
    let namespace = real.lab.namespace(Place::Node(node(1)));
    run(&namespace, &["ip", "link", "set", "eth0", "mtu", "1480"]);

    let file = real.lab.subnet_file(node(1));
    let mtu_of = |device| show(&namespace, &["ip", "-o", "link", "show", device]);
    let follows = || {
        mtu_of("flannel.1").contains("mtu 1430")
            && mtu_of("flannel-v6.1").contains("mtu 1410")
            && fs::read_to_string(&file).is_ok_and(|text| text.contains("FLANNEL_MTU=1410"))
    };
    assert!(wait_until(LIMIT, follows), "{}", real.log(node(1)));
}

#[test]
fn a_node_follows_its_interfaces_addresses_with_host_gw() {
    need!(root, ip, bridge, ping, etcd);
    let real = RealNodes::up_with_backend("t-six-gwmove", 2, Backend::HostGw, Families::Dual, PROGRAM);

    follows_its_addresses(&real);
}

/// Changes one thing on the first node; everything has to be as it was in time, and carry packets.
fn is_mended(real: &RealNodes, devices: &[&str], change: &[&str]) {
    let namespace = real.lab.namespace(Place::Node(node(1)));
    let before = standing(&namespace, devices);
    let watch = Stopwatch::start();
    run(&namespace, change);

    let is_right = wait_until(5 * LIMIT, || standing(&namespace, devices) == before);

    let took = watch.elapsed();
    println!("{:>5} ms  {}", took.as_millis(), change.join(" "));
    let now = standing(&namespace, devices);
    assert!(
        is_right && took <= LIMIT,
        "{change:?} after {took:?}: {now}\ninstead of\n{before}\n{}",
        real.log(node(1))
    );
    reaches(real);
}

/// Gives the first node another address of each version of IP, one after the other.
fn follows_its_addresses(real: &RealNodes) {
    let namespace = real.lab.namespace(Place::Node(node(1)));
    let keys = |real: &RealNodes| -> Vec<String> { real.leases().into_iter().map(|(key, _)| key).collect() };
    let before = keys(real);
    for (old, new, key) in [
        ("192.0.2.1/24", "192.0.2.101/24", "PublicIP"),
        ("2001:db8:77::1/64", "2001:db8:77::101/64", "PublicIPv6"),
    ] {
        run(&namespace, &["ip", "address", "delete", old, "dev", "eth0"]);
        run(&namespace, &["ip", "address", "add", new, "dev", "eth0", "nodad"]);
        run(
            &namespace,
            &["ip", "route", "replace", "default", "via", "192.0.2.254"],
        );
        let watch = Stopwatch::start();
        let (address, _) = new.split_once('/').expect("a prefix");
        let announced = format!(r#""{key}":"{address}""#);

        let follows = wait_until(5 * LIMIT, || {
            let leases = real.leases();
            leases.iter().any(|(_, value)| value.contains(&announced))
                && ways_from_second(real).contains(address)
        });

        let took = watch.elapsed();
        println!("{:>5} ms  {new}", took.as_millis());
        assert!(
            follows && took <= LIMIT,
            "after {took:?}: {:?}\n{}\n{}",
            real.leases(),
            ways_from_second(real),
            real.log(node(1))
        );
        reaches(real);
    }
    assert_eq!(keys(real), before, "the same subnets");
}

/// Shows by what the second node reaches others.
fn ways_from_second(real: &RealNodes) -> String {
    let namespace = real.lab.namespace(Place::Node(node(2)));
    let shown = [
        show(&namespace, &["bridge", "fdb", "show"]),
        show(&namespace, &["ip", "route", "show", "proto", "83"]),
        show(&namespace, &["ip", "-6", "route", "show", "proto", "83"]),
    ];
    shown.concat()
}

fn reaches(real: &RealNodes) {
    let pod = real.lab.namespace(Place::Pod(node(1)));
    for to in [IpAddr::from(real.pod(2)), real.pod_v6(2).into()] {
        let output = ping(&pod, to, 56, 1);
        assert!(output.contains(" 0% packet loss"), "{output}");
    }
}

/// Shows what a node has for IPv6, without numbers that devices are given anew.
fn standing(namespace: &Namespace, devices: &[&str]) -> String {
    let mut shown = vec![show(
        namespace,
        &["ip", "-6", "-d", "route", "show", "proto", "83"],
    )];
    for device in devices {
        shown.push(show(namespace, &["ip", "-o", "link", "show", device]));
        shown.push(show(
            namespace,
            &[
                "ip", "-6", "-o", "address", "show", "dev", device, "scope", "global",
            ],
        ));
        shown.push(show(
            namespace,
            &["ip", "neighbour", "show", "nud", "permanent", "dev", device],
        ));
        shown.push(show(namespace, &["bridge", "fdb", "show", "dev", device]));
    }
    let text = shown.concat();
    let line = |line: &str| match line.split_once(": ") {
        Some((number, rest)) if number.parse::<u32>().is_ok() => rest.to_owned(),
        Some(_) | None => line.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned(),
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

fn subnet(real: &RealNodes, number: u8) -> String {
    real.subnet_address_v6(number)
        .expect("a subnet of IPv6")
        .to_string()
}

fn mac_of(real: &RealNodes, number: u8, device: &str) -> String {
    let file = format!("/sys/class/net/{device}/address");
    let namespace = real.lab.namespace(Place::Node(node(number)));
    show(&namespace, &["cat", &file]).trim().to_owned()
}

fn run(namespace: &Namespace, command: &[&str]) {
    let [program, arguments @ ..] = command else {
        return;
    };
    let done = namespace
        .command(program)
        .args(arguments)
        .output()
        .expect("it runs");
    assert!(done.status.success(), "{command:?}: {done:?}");
}

/// Returns what a command prints; nothing if it fails.
fn show(namespace: &Namespace, command: &[&str]) -> String {
    let [program, arguments @ ..] = command else {
        return String::new();
    };
    let done = namespace
        .command(program)
        .args(arguments)
        .output()
        .expect("it runs");
    String::from_utf8_lossy(&done.stdout).into_owned()
}
