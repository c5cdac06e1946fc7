//! What two nodes put on the wire, datagram by datagram, while pods talk (backends.md, 3.3).

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use selvedge_host::lab::{Namespace, Pace, Place, ProbeStream};
use selvedge_tests::need;
use selvedge_tests::real_nodes::{RealNodes, node};
use selvedge_tests::wire_audit::{Expected, Findings, WireAudit, WireKind};

use crate::PROGRAM;
use crate::firewall::run;
use crate::hostile::{TUNNEL, counters, packet};
use crate::offloads::{SIZES, bind, echo, exchange};

/// What each way through the data path puts together and cuts differently.
const LEVELS: [&str; 4] = ["none", "tso", "udp-gso,udp-gro", "tso,uso,udp-gso,udp-gro"];

/// Of bytes over TCP, half of them each way.
const BULK: usize = 20_000_000;

/// What each node sends of them at least, in datagrams.
const MANY: u64 = 6_000;

/// What is left out when a wire is made to carry datagrams one by one, each with its checksum, in ethtool's words.
const CUT: &str = "tx off tso off gso off tx-udp-segmentation off";

#[test]
fn every_datagram_on_a_wire_without_super_packets_is_one_packet_with_full_checksums() {
    need!(root, tun, ip, etcd, ethtool);
    for offloads in LEVELS {
        let findings = talk_under_audit("t-cut", offloads, WireKind::Cut);

        for findings in findings {
            println!("{offloads}: {findings}");
            assert_talked(&findings, offloads);
            assert_eq!(findings.super_packets, 0, "{offloads}: {findings}");
        }
    }
}

#[test]
fn every_datagram_of_the_super_packets_on_a_wire_is_one_packet_with_full_checksums() {
    need!(root, tun, ip, etcd, linux_6_2);
    for offloads in LEVELS {
        let findings = talk_under_audit("t-whole", offloads, WireKind::Whole);

        for findings in findings {
            println!("{offloads}: {findings}");
            assert_talked(&findings, offloads);
            assert_eq!(
                findings.super_packets > 0,
                offloads.contains("udp-gso"),
                "{offloads}: {findings}"
            );
        }
    }
}

#[test]
fn the_audit_finds_a_wrong_checksum_on_the_wire() {
    need!(root, tun, ip, etcd, ethtool);
    let real = RealNodes::up("t-audit", 2, PROGRAM);
    cut(&real);
    let audit = audit(&real, 1, WireKind::Cut);
    let whole = packet(real.pod(2), real.pod(1), b"whole");
    let mut broken = whole.clone();
    *broken.last_mut().expect("a byte") ^= 0x10;

    let node_2 = real.lab.namespace(Place::Node(node(2)));
    let socket = node_2.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)));
    let socket = socket.expect("the node is there").expect("a socket");
    for datagram in [&whole, &broken] {
        let to = (node(1).public_ip(), TUNNEL);
        socket.send_to(datagram, to).expect("sent");
    }

    let findings = audit.finish();
    assert_eq!((findings.udp, findings.faults), (2, 1), "{findings}");
    assert!(
        findings.to_string().contains("a wrong UDP checksum"),
        "{findings}"
    );
}

#[test]
fn nodes_whose_kernels_are_to_discover_no_path_mtu_send_without_df() {
    need!(root, tun, ip, etcd, ethtool);
    let mut real = RealNodes::wire("t-nodf", 2, PROGRAM);
    for number in [1, 2] {
        let off = || fs::write("/proc/sys/net/ipv4/ip_no_pmtu_disc", "1");
        let done = real.lab.namespace(Place::Node(node(number))).enter(off);
        done.expect("the node is there").expect("set");
    }
    real.start_etcd();
    real.lab.put_config().expect("etcd takes the network config");
    real.start_all();
    cut(&real);

    let audit = audit(&real, 2, WireKind::Cut);
    let pod = real.lab.namespace(Place::Pod(node(1)));
    let stream = ProbeStream::start(&pod, real.pod(2), Pace::QUICK);
    let lost = stream.expect("probes start").finish().lost();

    let findings = audit.finish();
    assert_eq!((findings.icmp, lost), (5, 0), "{findings}");
    assert_eq!(findings.faults, 5, "{findings}");
    assert!(
        findings.to_string().contains("an outer packet without DF"),
        "{findings}"
    );
}

/// Lets pods talk in every way there is, and returns what was found in what came to the nodes.
fn talk_under_audit(name: &str, offloads: &str, wire: WireKind) -> [Findings; 2] {
    let real = RealNodes::up_flagged(name, 2, 1, PROGRAM, &["--offload", offloads]);
    if wire == WireKind::Cut {
        cut(&real);
    }
    let audits = [1, 2].map(|number| audit(&real, number, wire));
    let before = counters(&real);

    talk(&real);

    // What is sent last is still under way.
    thread::sleep(Duration::from_millis(200));
    let sent = counters(&real).since(&before, "sent");
    let findings = audits.map(WireAudit::finish);
    assert_eq!(
        findings[1].datagrams, sent,
        "{offloads}: all that the first node sent was seen"
    );
    let log = real.log(node(1));
    assert!(!log.contains("one by one"), "{offloads}: {log}");
    findings
}

fn talk(real: &RealNodes) {
    let pods = [1, 2].map(|number| real.lab.namespace(Place::Pod(node(number))));
    let digests = exchange(&pods, real.pod(2), BULK);
    assert_eq!(digests.received, digests.sent);
    assert_eq!(echo(&pods, real.pod(1), real.pod(2)), SIZES);
    send_super_packets(&pods, [real.pod(1), real.pod(2)]);
    for (from, to) in [(0, 2), (1, 1)] {
        let stream = ProbeStream::start(&pods[from], real.pod(to), Pace::QUICK);
        assert_eq!(stream.expect("probes start").finish().lost(), 0);
    }
}

/// Lets each pod send the other datagrams of which its kernel makes super-packets of UDP.
fn send_super_packets(pods: &[Namespace; 2], addresses: [Ipv4Addr; 2]) {
    let [first, second] = [0, 1].map(|pod| bind(&pods[pod], addresses[pod]));
    for (sender, receiver, to) in [(&first, &second, addresses[1]), (&second, &first, addresses[0])] {
        setsockopt(sender, sockopt::UdpGsoSegment, &1_000).expect("super-packets of UDP");
        let to = (to, receiver.local_addr().expect("an address").port());
        let mut buffer = [0; 2_000];
        for _ in 0..20 {
            sender.send_to(&vec![0x5e; 40_500], to).expect("sent");
            for length in [1_000; 40].into_iter().chain([500]) {
                assert_eq!(receiver.recv(&mut buffer).expect("received"), length);
            }
        }
    }
}

/// Makes the switch's ports carry datagrams one by one; the nodes know nothing of it.
fn cut(real: &RealNodes) {
    for number in [1, 2] {
        let port = Place::Node(node(number));
        run(
            &real.lab.namespace(Place::Switch),
            &format!("ethtool -K {port} {CUT}"),
        );
    }
}

fn audit(real: &RealNodes, number: u8, wire: WireKind) -> WireAudit {
    let network = real.lab.pod_network(node(number)).expect("the subnet file");
    let expected = Expected {
        to: node(number).public_ip(),
        port: TUNNEL,
        tunnel_mtu: network.mtu,
        wire,
    };
    WireAudit::start(&real.lab.namespace(Place::Node(node(number))), expected)
}

fn assert_talked(findings: &Findings, offloads: &str) {
    assert_eq!(findings.faults, 0, "{offloads}: {findings}");
    assert!(findings.tcp > MANY, "{offloads}: {findings}");
    assert!(findings.udp > 800 && findings.icmp >= 5, "{offloads}: {findings}");
    assert!(findings.fragments >= 4, "{offloads}: {findings}");
}
