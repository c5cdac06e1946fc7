//! Paths between nodes that let less through than the tunnel does, and what else the network tells about datagrams.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::thread;
use std::time::Duration;

use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::{Icmpv4Slice, Icmpv4Type, Ipv4HeaderSlice, Ipv4Slice, PacketBuilder};
use selvedge_host::lab::{Ending, Namespace, Place, ProbeStream, Stopwatch};
use selvedge_tests::capture::Capture;
use selvedge_tests::need;
use selvedge_tests::real_nodes::{HUNDRED_A_SECOND, RealNodes, node};

use crate::PROGRAM;
use crate::hostile::{TUNNEL, counters, unharmed};
use crate::offloads::{bind, exchange};

const OFFLOADS: [&str; 2] = ["none", "tso,uso,udp-gso,udp-gro"];

/// The switch, as a router.
const ROUTER: &str = "192.0.2.254";

/// Of UDP: 1,428 bytes in the tunnel, 1,456 on the underlay.
const LARGE: usize = 1_400;

#[test]
fn a_path_that_becomes_narrower_is_told_to_the_pods_and_carries_on() {
    need!(root, tun, ip, etcd);
    let real = RealNodes::up("t-narrow", 2, PROGRAM);
    let pods = [1, 2].map(|number| real.lab.namespace(Place::Pod(node(number))));
    let narrow = ["route", "add", "192.0.2.2/32", "dev", "eth0", "mtu", "1300"];
    real.lab
        .namespace(Place::Node(node(1)))
        .ip(&narrow)
        .expect("a narrower route");

    let digests = exchange(&pods, real.pod(2), 20_000_000);

    assert_eq!(digests.received, digests.sent);
    let learned = pods[0].ip_output(&["route", "get", &real.pod(2).to_string()]);
    let learned = learned.expect("a route");
    assert!(learned.contains("mtu 1272"), "{learned}");
}

#[test]
fn a_router_with_a_narrow_link_is_heard_and_the_pod_is_told_the_right_size() {
    need!(root, tun, ip, etcd);
    for offloads in OFFLOADS {
        let real = RealNodes::up_flagged("t-router", 2, 1, PROGRAM, &["--offload", offloads]);
        route_through_a_narrow_link(&real);

        // The first is lost at the router, which tells the node.
        let sent = send_until_told(&real, 1_272);

        assert_eq!(sent, 2, "{offloads}");
        assert_eq!(counters(&real).get("send_too_big"), 0, "{offloads}");
    }
}

#[test]
fn a_router_is_heard_although_another_worker_gets_its_message() {
    need!(root, tun, ip, etcd);
    let real = RealNodes::up_flagged("t-routers", 2, 1, PROGRAM, &["--workers", "3"]);
    route_through_a_narrow_link(&real);

    // The second one may be the first that its worker hears of, from the kernel.
    let sent = send_until_told(&real, 1_272);

    assert!((2..=3).contains(&sent), "{sent}");
}

#[test]
fn connections_fit_themselves_to_a_router_with_a_narrow_link() {
    need!(root, tun, ip, etcd);
    for offloads in OFFLOADS {
        let real = RealNodes::up_flagged("t-narrowed", 2, 1, PROGRAM, &["--offload", offloads]);
        route_through_a_narrow_link(&real);

        let pods = [1, 2].map(|number| real.lab.namespace(Place::Pod(node(number))));
        let digests = exchange(&pods, real.pod(2), 8_000_000);

        assert_eq!(digests.received, digests.sent, "{offloads}");
        for (pod, other) in pods.iter().zip([2, 1]) {
            let learned = pod.ip_output(&["route", "get", &real.pod(other).to_string()]);
            let learned = learned.expect("a route");
            assert!(learned.contains("mtu 1272"), "{offloads}: {learned}");
        }
        let carried = counters(&real);
        println!("{offloads}: {} in fragments", carried.get("fragmented"));
        assert_eq!(carried.get("send_too_big"), 0, "{offloads}");
    }
}

#[test]
fn what_the_kernel_knows_of_a_path_is_told_to_the_pod_at_the_first_large_packet() {
    need!(root, tun, ip, etcd);
    for offloads in OFFLOADS {
        let real = RealNodes::up_flagged("t-known", 2, 1, PROGRAM, &["--offload", offloads]);
        let narrow = ["route", "add", "192.0.2.2/32", "dev", "eth0", "mtu", "1300"];
        real.lab
            .namespace(Place::Node(node(1)))
            .ip(&narrow)
            .expect("a narrower route");

        // The first is sent in fragments.
        let sent = send_until_told(&real, 1_272);

        assert_eq!(sent, 2, "{offloads}");
        let carried = counters(&real);
        assert_eq!(carried.get("fragmented"), 1, "{offloads}");
    }
}

#[test]
fn what_may_be_fragmented_passes_a_narrow_link_in_fragments() {
    need!(root, tun, ip, etcd);
    let real = RealNodes::up("t-pieces", 2, PROGRAM);
    route_through_a_narrow_link(&real);
    let pods = [1, 2].map(|number| real.lab.namespace(Place::Pod(node(number))));
    let without_df = || fs::write("/proc/sys/net/ipv4/ip_no_pmtu_disc", "1");
    pods[0].enter(without_df).expect("entered").expect("set");
    let receiver = bind(&pods[1], real.pod(2));
    let sender = bind(&pods[0], real.pod(1));

    // The first is lost at the router.
    let to = receiver.local_addr().expect("an address");
    let mut arrived = Vec::new();
    for number in 0..50_u8 {
        sender.send_to(&[number; LARGE], to).expect("sent");
        thread::sleep(Duration::from_millis(10));
    }
    let mut buffer = [0; 2_000];
    while let Ok(length) = receiver.recv(&mut buffer) {
        assert_eq!(length, LARGE);
        arrived.push(buffer[0]);
    }

    assert_eq!(arrived, (1..50).collect::<Vec<_>>());
    assert_eq!(counters(&real).get("fragmented"), 49);
}

#[test]
fn a_node_whose_daemon_is_gone_is_counted_and_costs_others_nothing() {
    need!(root, tun, ip, etcd);
    let mut real = RealNodes::up("t-refused", 3, PROGRAM);
    real.lab.stop_node(node(2), Ending::Crash).expect("it ends");
    let first = real.lab.namespace(Place::Pod(node(1)));
    let other = ProbeStream::start(&first, real.pod(3), HUNDRED_A_SECOND).expect("probes start");

    let socket = first.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)));
    let socket = socket.expect("the pod is there").expect("a socket");
    for _ in 0..200 {
        socket.send_to(b"anybody there?", (real.pod(2), 9)).expect("sent");
        thread::sleep(Duration::from_millis(10));
    }

    let other = other.stop();
    assert!(other.sent() > 150 && other.lost() == 0, "{} lost", other.lost());
    let carried = counters(&real);
    assert!(carried.get("told_refused") > 0);
    assert_eq!(carried.get("send_unreachable"), 0);
}

#[test]
fn a_flood_of_forged_errors_costs_no_packet() {
    need!(root, tun, ip, etcd);
    let real = RealNodes::up("t-forged", 2, PROGRAM);
    let outsider = real.lab.namespace(Place::Store);
    let first = real.lab.namespace(Place::Pod(node(1)));
    let stranger = Ipv4Addr::new(203, 0, 113, 7);
    let forged = [
        forged_error(node(2).public_ip(), &DestUnreachableHeader::Port),
        forged_error(
            stranger,
            &DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 600 },
        ),
    ];

    let probes = ProbeStream::start(&first, real.pod(2), HUNDRED_A_SECOND).expect("probes start");
    flood(&outsider, &forged, Duration::from_secs(2));
    let probes = probes.stop();

    let carried = counters(&real);
    let told = [
        "told_refused",
        "send_unreachable",
        "send_too_big",
        "receive_full",
        "receive_errors",
    ];
    let told = told.map(|name| (name, carried.get(name)));
    println!("{} probes, {} lost, {told:?}", probes.sent(), probes.lost());
    assert!(probes.sent() > 100 && probes.lost() == 0, "{told:?}");
    assert!(carried.get("told_refused") > 1_000, "{told:?}");
    assert!(told.iter().skip(1).all(|(_, count)| *count == 0), "{told:?}");
    unharmed(&real);
}

/// Lets what the nodes send each other pass the switch, as a router, whose link to either takes 1,300 bytes.
fn route_through_a_narrow_link(real: &RealNodes) {
    let switch = real.lab.namespace(Place::Switch);
    let set = |name: &str, value: &str| fs::write(format!("/proc/sys/net/ipv4/{name}"), value);
    let done = switch.enter(|| {
        // It sends back over the link from which it came, and would say that there is a shorter way.
        for device in ["all", "bridge"] {
            set(&format!("conf/{device}/send_redirects"), "0")?;
        }
        set("ip_forward", "1")
    });
    done.expect("entered").expect("it forwards");
    for (number, other) in [(1, 2), (2, 1)] {
        let other = format!("{}/32", node(other).public_ip());
        let narrow = ["route", "add", &other, "dev", "bridge", "mtu", "lock", "1300"];
        switch.ip(&narrow).expect("a narrow route");
        real.lab
            .namespace(Place::Node(node(number)))
            .ip(&["route", "add", &other, "via", ROUTER])
            .expect("a route");
    }
}

/// Sends large datagrams that must not be fragmented from pod 1 to pod 2, until pod 1 is told to make them smaller; returns how
/// many that took.
fn send_until_told(real: &RealNodes, mtu: u16) -> usize {
    let pod = real.lab.namespace(Place::Pod(node(1)));
    let errors = Capture::of_icmp(&pod);
    let socket = bind(&pod, real.pod(1));
    let needed = DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: mtu };
    for sent in 1..=20 {
        socket.send_to(&[0x5e; LARGE], (real.pod(2), 9)).expect("sent");
        let told = errors.find(Duration::from_millis(200), |message| {
            let packet = Ipv4Slice::from_slice(message).ok()?;
            let icmp = Icmpv4Slice::from_slice(packet.payload().payload).ok()?;
            let about = Ipv4HeaderSlice::from_slice(icmp.payload()).ok()?;
            (about.destination_addr() == real.pod(2)
                && icmp.icmp_type() == Icmpv4Type::DestinationUnreachable(needed.clone()))
            .then_some(packet.header().source_addr())
        });
        if let Some(from) = told {
            assert_eq!(from, real.subnet_address(1), "from this node's end of the tunnel");
            return sent;
        }
    }
    panic!("the pod is not told: {}", real.log(node(1)));
}

/// An ICMP message about a datagram of node 1's tunnel to a host.
fn forged_error(to: Ipv4Addr, problem: &DestUnreachableHeader) -> Vec<u8> {
    let node_1 = node(1).public_ip().octets();
    let datagram = PacketBuilder::ipv4(node_1, to.octets(), 64).udp(TUNNEL, TUNNEL);
    let mut about = vec![0; datagram.size(8)];
    datagram.write_to_slice(&mut about, &[0; 8]).expect("a datagram");
    let kind = Icmpv4Type::DestinationUnreachable(problem.clone());
    let header = etherparse::Icmpv4Header::with_checksum(kind, &about);
    [&header.to_bytes()[..], &about].concat()
}

/// Sends ICMP messages to node 1 as fast as possible.
fn flood(from: &Namespace, messages: &[Vec<u8>], duration: Duration) {
    let socket = Capture::icmp_socket(from);
    let to = SocketAddrV4::new(node(1).public_ip(), 0);
    let flooding = Stopwatch::start();
    while flooding.elapsed() < duration {
        for message in messages {
            socket.send_to(message, to).expect("sent");
        }
    }
}
