//! What a node lets in from the underlay, by the leases, and that nobody who belongs to the cluster is kept out.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::Duration;

use selvedge_host::lab::{Echoes, Ending, Namespace, Pace, Place, ProbeStream};
use selvedge_tests::backend::{Backend, Families};
use selvedge_tests::need;
use selvedge_tests::real_nodes::{PREFIX, RealNodes, node, wait_until};

use crate::PROGRAM;
use crate::firewall::{Filter, SOON, await_filter, filter_counts, restart, run, up};
use crate::hostile::{self, SERVICE, TUNNEL, heard, packet, service, unharmed};

const VXLAN: u16 = 8472;
/// Addresses of the overlay; of three subnets two nodes hold at most two.
const UNLEASED: [Ipv4Addr; 3] = [
    Ipv4Addr::new(10, 50, 99, 9),
    Ipv4Addr::new(10, 50, 98, 9),
    Ipv4Addr::new(10, 50, 97, 9),
];

/// The modes in the order in which the tests give them to a node that runs, with what its kernel has then.
const MODES: [(&str, Filter); 3] = [
    ("--membership=enforce", Filter::Dropping),
    ("--membership=log", Filter::Counting),
    ("--membership=off", Filter::Absent),
];

#[test]
fn forged_vxlan_packets_are_counted_and_where_membership_is_enforced_dropped() {
    need!(root, ip, nft, etcd);
    let mut real = up("t-mbvx", 2, Backend::Vxlan, &[]);
    let service = service(&real);

    for (flag, filter) in MODES {
        restart(&mut real, 1, &[flag]);
        await_filter(&real, 1, filter);
        listen_to_any_source(&real);
        let before = filter_counts(&real, 1);
        let mac = mac(&real);
        let tunnelled = |source: Ipv4Addr| vxlan_packet(mac, &packet(source, real.pod(1), b"forged"));
        let stranger = real.lab.namespace(Place::Store);
        let member = real.lab.namespace(Place::Node(node(2)));

        let mut arrived = Vec::new();
        for (from, source) in [
            (&member, real.pod(2)),
            (&stranger, real.pod(2)),
            (&member, unleased(&real)),
            (&member, neighbour_of_pod(&real, 1)),
        ] {
            send(from, VXLAN, &tunnelled(source));
            arrived.push(heard(&service).is_some());
        }

        let counted = since(&filter_counts(&real, 1), &before);
        match filter {
            Filter::Dropping => assert_eq!(arrived, [true, false, false, false]),
            Filter::Counting | Filter::Absent => assert_eq!(arrived, [true; 4], "{flag}"),
        }
        let expected = match filter {
            Filter::Dropping | Filter::Counting => counts(&[
                ("bad_inner_frame", 0),
                ("foreign_source", 2),
                ("unknown_sender", 1),
            ]),
            Filter::Absent => counts(&[]),
        };
        assert_eq!(counted, expected, "{flag}");
        if filter != Filter::Absent {
            let told = hostile::counters(&real);
            let counted = filter_counts(&real, 1);
            assert!(
                counted.iter().all(|(name, count)| told.get(name) == *count),
                "{counted:?}"
            );
        }
        unharmed(&real);
    }
}

#[test]
fn packets_without_a_tunnel_are_counted_and_where_membership_is_enforced_dropped() {
    need!(root, ip, nft, etcd);
    let mut real = up("t-mbgw", 2, Backend::HostGw, &[]);
    let service = service(&real);
    let stranger = real.lab.namespace(Place::Store);
    let way = format!("route add {}/32 via {}", real.pod(1), node(1).public_ip());
    stranger.ip(&words(&way)).expect("the way to the pod");

    for (flag, filter) in MODES {
        restart(&mut real, 1, &[flag]);
        await_filter(&real, 1, filter);
        listen_to_any_source(&real);
        let before = filter_counts(&real, 1);

        // The last has a source that a lease has: who sent it cannot be told.
        let sources = [
            unleased(&real),
            neighbour_of_pod(&real, 1),
            neighbour_of_pod(&real, 2),
        ];
        let arrived = sources.map(|source| {
            send_from(&stranger, source, real.pod(1));
            heard(&service).is_some()
        });

        let counted = since(&filter_counts(&real, 1), &before);
        match filter {
            Filter::Dropping => assert_eq!(arrived, [false, false, true]),
            Filter::Counting | Filter::Absent => assert_eq!(arrived, [true; 3], "{flag}"),
        }
        let expected = match filter {
            Filter::Dropping | Filter::Counting => counts(&[
                ("bad_inner_frame", 0),
                ("foreign_source", 1),
                ("unknown_sender", 1),
            ]),
            Filter::Absent => counts(&[]),
        };
        assert_eq!(counted, expected, "{flag}");
        unharmed(&real);
    }
}

#[test]
fn the_forwarder_counts_and_drops_as_it_is_told() {
    need!(root, tun, ip, nft, etcd);
    let mut real = up("t-mbudp", 2, Backend::Udp, &[]);
    let service = service(&real);
    let stranger = real.lab.namespace(Place::Store);
    let member = real.lab.namespace(Place::Node(node(2)));

    for (flag, filter) in MODES {
        restart(&mut real, 1, &[flag]);
        // The daemon judges these packets itself.
        await_filter(&real, 1, Filter::Absent);
        real.await_traffic();
        listen_to_any_source(&real);
        if filter == Filter::Dropping {
            await_enforcement(&real, &stranger, &service);
        }
        let before = hostile::counters(&real);

        let mut arrived = Vec::new();
        for (from, source) in [
            (&member, real.pod(2)),
            (&stranger, real.pod(2)),
            (&member, unleased(&real)),
        ] {
            send(from, TUNNEL, &packet(source, real.pod(1), b"forged"));
            arrived.push(heard(&service).is_some());
        }

        let after = hostile::counters(&real);
        let counted = ["passed_unproven", "unknown_sender", "foreign_source"];
        let counted = counted.map(|name| after.since(&before, name));
        match filter {
            Filter::Dropping => assert_eq!((&*arrived, counted), (&[true, false, false][..], [0, 1, 1])),
            Filter::Counting => assert_eq!((&*arrived, counted), (&[true; 3][..], [2, 0, 0])),
            Filter::Absent => assert_eq!((&*arrived, counted), (&[true; 3][..], [0, 0, 0])),
        }
        unharmed(&real);
    }
}

#[test]
fn a_node_that_joins_an_enforcing_cluster_is_let_in_at_once_with_vxlan() {
    need!(root, ip, nft, etcd);

    lets_in("t-mbjoinvx", Backend::Vxlan);
}

#[test]
fn a_node_that_joins_an_enforcing_cluster_is_let_in_at_once_with_host_gw() {
    need!(root, ip, nft, etcd);

    lets_in("t-mbjoingw", Backend::HostGw);
}

#[test]
fn a_rolling_switch_to_enforcing_in_a_mixed_cluster_loses_nothing_with_vxlan() {
    need!(root, ip, nft, etcd);

    switches("t-mbrollvx", Backend::Vxlan);
}

#[test]
fn a_rolling_switch_to_enforcing_in_a_mixed_cluster_loses_nothing_with_host_gw() {
    need!(root, ip, nft, etcd);

    switches("t-mbrollgw", Backend::HostGw);
}

/// A third node comes, to stay and without a lease so far; the first packet that can be answered is.
fn lets_in(name: &str, backend: Backend) {
    const TIMES: usize = 3;
    let mut real = up(name, 3, backend, &["--membership=enforce"]);
    let newcomer = format!("{}/24", real.subnet_address(3));
    let key = newcomer.replace('/', "-");
    let namespaces = [1, 2].map(|number| real.lab.namespace(Place::Node(node(number))));
    let is_reached = |namespace: &Namespace| {
        let shown = namespace.ip_output(&["route", "show", &newcomer]);
        shown.is_ok_and(|routes| !routes.is_empty())
    };
    for _ in 0..TIMES {
        real.lab.stop_node(node(3), Ending::Graceful).expect("it ends");
        real.delete(&format!("{PREFIX}/subnets/{key}"));
        let is_gone = wait_until(SOON, || !namespaces.iter().any(is_reached));
        assert!(is_gone, "{}", real.log(node(1)));
        for number in [1, 2] {
            await_filter(&real, number, Filter::Dropping);
        }
        real.lab.start_node(node(3)).expect("it starts");

        for (namespace, number) in namespaces.iter().zip([1, 2]) {
            assert!(
                wait_until(SOON, || is_reached(namespace)),
                "{}",
                real.log(node(1))
            );
            let back = real.lab.namespace(Place::Node(node(3)));
            let way = format!("{}/24", real.subnet_address(number));
            let leads_back = || {
                !back
                    .ip_output(&["route", "show", &way])
                    .unwrap_or_default()
                    .is_empty()
            };
            assert!(wait_until(SOON, leads_back), "{}", real.log(node(3)));
            let pod = real.lab.namespace(Place::Pod(node(3)));
            let once = Pace {
                count: 1,
                ..Pace::QUICK
            };
            let first = ProbeStream::start(&pod, real.pod(number), once).expect("a probe is sent");
            assert_eq!(
                first.finish().lost(),
                0,
                "to node {number}: {}",
                real.log(node(number))
            );
        }
    }
    unharmed(&real);
}

/// Nodes that count are switched to enforcing one after the other, beside one that has no filter of ours.
fn switches(name: &str, backend: Backend) {
    let mut real = RealNodes::wire_with_backend(name, 3, backend, Families::V4, PROGRAM);
    real.lab.add_node_flags(&["--membership=log"]);
    for number in [1, 2] {
        real.lab.start_node(node(number)).expect("the daemon starts");
    }
    real.lab.add_node_flags(&["--membership=off"]);
    real.lab.start_node(node(3)).expect("the daemon starts");
    real.await_traffic();
    await_filter(&real, 1, Filter::Counting);
    await_filter(&real, 3, Filter::Absent);
    let pace = Pace {
        interval: Duration::from_millis(20),
        patience: Duration::from_secs(2),
        count: u16::MAX,
    };
    let pairs = (1..=3).flat_map(|from| (1..=3).map(move |to| (from, to)));
    let pairs: Vec<(u8, u8)> = pairs.filter(|(from, to)| from != to).collect();
    let streams: Vec<ProbeStream> = pairs
        .iter()
        .map(|(from, to)| {
            let pod = real.lab.namespace(Place::Pod(node(*from)));
            ProbeStream::start(&pod, real.pod(*to), pace).expect("probes are sent")
        })
        .collect();

    for number in [1, 2] {
        restart(&mut real, number, &["--membership=enforce"]);
        await_filter(&real, number, Filter::Dropping);
        thread::sleep(Duration::from_secs(1));
    }

    let echoes: Vec<_> = streams.into_iter().map(ProbeStream::stop).collect();
    let sent: usize = echoes.iter().map(Echoes::sent).sum();
    for (pair, echoes) in pairs.iter().zip(&echoes) {
        assert_eq!(echoes.lost(), 0, "{pair:?} of {}", echoes.sent());
    }
    println!("{backend}: 0 of {sent} probes lost");
    await_filter(&real, 3, Filter::Absent);
    for number in [1, 2] {
        let counted = filter_counts(&real, number);
        assert!(counted.values().all(|count| *count == 0), "{counted:?}");
    }
}

/// The forwarder enforces when it knows all members: waits until it drops what a stranger sends.
fn await_enforcement(real: &RealNodes, stranger: &Namespace, service: &UdpSocket) {
    let is_dropped = wait_until(SOON, || {
        send(stranger, TUNNEL, &packet(real.pod(2), real.pod(1), b"early"));
        heard(service).is_none()
    });
    assert!(is_dropped, "{}", real.log(node(1)));
}

/// Lets node 1 forward packets whatever their source, so that nothing but our filter stops them.
fn listen_to_any_source(real: &RealNodes) {
    let set = real.lab.namespace(Place::Node(node(1))).enter(|| {
        let devices = fs::read_dir("/proc/sys/net/ipv4/conf").expect("the devices");
        for device in devices.flatten() {
            fs::write(device.path().join("rp_filter"), "0").expect("root may set it");
        }
    });
    set.expect("the namespace is there");
}

fn mac(real: &RealNodes) -> [u8; 6] {
    let namespace = real.lab.namespace(Place::Node(node(1)));
    let text = run(&namespace, "cat /sys/class/net/flannel.1/address");
    let bytes = text.trim().split(':').map(|byte| u8::from_str_radix(byte, 16));
    let bytes: Vec<u8> = bytes.map(|byte| byte.expect("a MAC")).collect();
    bytes.try_into().expect("six bytes")
}

/// Puts a packet into a frame behind the header of network 1 (RFC 7348).
fn vxlan_packet(to: [u8; 6], inner: &[u8]) -> Vec<u8> {
    const HEADER: [u8; 8] = [8, 0, 0, 0, 0, 0, 1, 0];
    const SENDER: [u8; 6] = [2, 0, 0, 0, 0, 9];
    const IPV4: [u8; 2] = [8, 0];
    [&HEADER[..], &to, &SENDER, &IPV4, inner].concat()
}

/// Sends a datagram to a port of node 1.
fn send(from: &Namespace, port: u16, datagram: &[u8]) {
    let socket = from.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)));
    let socket = socket.expect("the namespace is there").expect("a socket");
    let sent = socket.send_to(datagram, (node(1).public_ip(), port));
    assert_eq!(sent.expect("sent"), datagram.len());
}

/// Sends a datagram to the service in a pod, with a source that the sender takes for itself.
fn send_from(from: &Namespace, source: Ipv4Addr, to: Ipv4Addr) {
    let address = format!("{source}/32");
    from.ip(&["address", "replace", &address, "dev", "lo"])
        .expect("it takes the address");
    let socket = from.enter(|| UdpSocket::bind((source, 0)));
    let socket = socket.expect("the namespace is there").expect("a socket");
    socket.send_to(b"forged", (to, SERVICE)).expect("sent");
}

/// Returns an address of the overlay that is in no node's subnet.
fn unleased(real: &RealNodes) -> Ipv4Addr {
    let is_free = |address: &Ipv4Addr| [1, 2].iter().all(|number| !is_near(*address, real.pod(*number)));
    UNLEASED
        .into_iter()
        .find(is_free)
        .expect("two nodes hold two subnets")
}

/// Returns another address of the subnet that a pod is in.
fn neighbour_of_pod(real: &RealNodes, number: u8) -> Ipv4Addr {
    let [a, b, c, _] = real.pod(number).octets();
    Ipv4Addr::new(a, b, c, 99)
}

fn is_near(one: Ipv4Addr, other: Ipv4Addr) -> bool {
    one.octets()[..3] == other.octets()[..3]
}

fn since(after: &BTreeMap<String, u64>, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let difference = |(name, count): (&String, &u64)| (name.clone(), count - before.get(name).unwrap_or(&0));
    after.iter().map(difference).collect()
}

fn counts(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
    counts
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}
