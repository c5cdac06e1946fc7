//! Datagrams that no node of the cluster sends are dropped, counted, and hurt nothing.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use etherparse::PacketBuilder;
use nix::sys::signal::{Signal, kill};
use selvedge_host::lab::{Namespace, Pace, Place};
use selvedge_tests::need;
use selvedge_tests::real_nodes::{RealNodes, node, wait_until};

use crate::PROGRAM;

pub(crate) const TUNNEL: u16 = 8285;
pub(crate) const SERVICE: u16 = 7002;

#[test]
fn datagrams_from_outside_the_cluster_are_dropped_and_counted() {
    need!(root, tun, ip, etcd);
    let real = RealNodes::up_flagged("t-hostile", 2, 1, PROGRAM, &["--membership=enforce"]);
    let service = service(&real);
    let outsider = real.lab.namespace(Place::Store);
    let injected = packet(real.pod(2), real.pod(1), b"from outside");

    let before = counters(&real);
    send(&outsider, &vec![injected; 100]);
    send(&outsider, &garbage());

    assert_eq!(heard(&service), None);
    let after = counters(&real);
    assert_eq!(after.since(&before, "unknown_sender"), 100);
    assert_eq!(after.since(&before, "truncated"), 3);
    assert!(after.since(&before, "not_ipv4") >= 3);
    unharmed(&real);
}

#[test]
fn a_member_cannot_speak_for_another_subnet_nor_into_a_foreign_one() {
    need!(root, tun, ip, etcd);
    let real = RealNodes::up_flagged("t-member", 2, 1, PROGRAM, &["--membership=enforce"]);
    let service = service(&real);
    let member = real.lab.namespace(Place::Node(node(2)));
    let own = real.pod(2);
    let elsewhere = Ipv4Addr::new(203, 0, 113, 7);

    let before = counters(&real);
    send(
        &member,
        &[
            packet(elsewhere, real.pod(1), b"not mine"),
            packet(own, elsewhere, b"not yours"),
        ],
    );
    send(&member, &garbage());

    assert_eq!(heard(&service), None);
    let after = counters(&real);
    assert_eq!(after.since(&before, "foreign_source"), 1);
    assert_eq!(after.since(&before, "not_ours"), 1);
    assert_eq!(after.since(&before, "truncated"), 3);
    assert!(after.since(&before, "not_ipv4") >= 3);
    send(&member, &[packet(own, real.pod(1), b"mine")]);
    assert_eq!(heard(&service).as_deref(), Some(&b"mine"[..]));
    unharmed(&real);
}

/// A UDP service in pod 1.
pub(crate) fn service(real: &RealNodes) -> UdpSocket {
    let address = real.pod(1);
    let socket = real
        .lab
        .namespace(Place::Pod(node(1)))
        .enter(|| UdpSocket::bind((address, SERVICE)));
    socket.expect("the pod is there").expect("the port is free")
}

pub(crate) fn heard(service: &UdpSocket) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 2048];
    service
        .set_read_timeout(Some(Duration::from_millis(500)))
        .expect("a timeout");
    let length = service.recv(&mut buffer).ok()?;
    buffer.truncate(length);
    Some(buffer)
}

pub(crate) fn packet(from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ipv4(from.octets(), to.octets(), 64).udp(9, SERVICE);
    let mut bytes = vec![0; builder.size(payload.len())];
    builder
        .write_to_slice(&mut bytes, payload)
        .expect("a packet fits");
    bytes
}

fn garbage() -> Vec<Vec<u8>> {
    let mut ipv6 = vec![0; 60];
    ipv6[0] = 0x60;
    vec![
        Vec::new(),
        vec![0x45],
        vec![0x45; 19],
        vec![0xff; 1500],
        vec![0; 65_000],
        ipv6,
    ]
}

/// Sends datagrams to node 1's end of the tunnel.
fn send(from: &Namespace, datagrams: &[Vec<u8>]) {
    let socket = from.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)));
    let socket = socket.expect("the namespace is there").expect("a socket");
    for datagram in datagrams {
        socket
            .send_to(datagram, (node(1).public_ip(), TUNNEL))
            .expect("sent");
    }
}

/// Node 1's counters at one moment; those that are not there are zero.
pub(crate) struct Counters(Vec<(String, u64)>);

impl Counters {
    pub(crate) fn since(&self, earlier: &Self, name: &str) -> u64 {
        self.get(name) - earlier.get(name)
    }

    pub(crate) fn get(&self, name: &str) -> u64 {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map_or(0, |(_, count)| *count)
    }
}

/// Reads the counters as an operator does: SIGUSR1 makes the daemon log those that are not zero.
pub(crate) fn counters(real: &RealNodes) -> Counters {
    let pids = real.lab.namespace(Place::Node(node(1))).pids().expect("listed");
    let before = real.log(node(1)).len();
    kill(*pids.first().expect("the daemon runs"), Signal::SIGUSR1).expect("signalled");
    let mut line = None;
    let logged = wait_until(Duration::from_secs(5), || {
        let log = real.log(node(1));
        let new = log.get(before..).unwrap_or_default();
        line = new
            .split_inclusive('\n')
            .find_map(|line| line.strip_suffix('\n')?.split_once("packets: "))
            .map(|(_, counts)| counts.to_owned());
        line.is_some()
    });
    assert!(logged, "no counters:\n{}", real.log(node(1)));
    let line = line.unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().collect();
    let pairs = words.chunks_exact(2);
    Counters(
        pairs
            .map(|pair| (pair[0].to_owned(), pair[1].parse().expect("a number")))
            .collect(),
    )
}

pub(crate) fn unharmed(real: &RealNodes) {
    let links = real.lab.ping_all_pods(Pace::QUICK).expect("probes are sent");
    assert!(
        links.iter().all(|link| link.echoes.lost() == 0),
        "{}",
        real.log(node(1))
    );
}
