//! Whatever the kernel may do for the data path, packets arrive as they were sent.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use selvedge_host::lab::{Ending, Namespace, Place};
use selvedge_tests::need;
use selvedge_tests::real_nodes::{RealNodes, node};
use sha2::{Digest, Sha256};

use crate::PROGRAM;
use crate::bad_input::a_taken_port_is_waited_for;
use crate::hostile::counters;
use crate::traffic::{connect, listen, noise};

const OFFLOADS: [&str; 4] = ["tso", "uso", "udp-gso", "udp-gro"];
const PORT: u16 = 7002;

/// Of datagrams: nothing, a byte, just what fits into the tunnel, and what is fragmented on its way.
pub(crate) const SIZES: [usize; 6] = [0, 1, 63, 1_000, 1_444, 5_000];

#[test]
fn every_combination_of_offloads_carries_tcp_and_udp_unchanged() {
    need!(root, tun, ip, etcd);
    for offloads in combinations() {
        let real = RealNodes::up_flagged("t-offl", 2, 1, PROGRAM, &["--offload", &offloads]);
        let pods = [1, 2].map(|number| real.lab.namespace(Place::Pod(node(number))));

        let digests = exchange(&pods, real.pod(2), 8_000_000);
        let echoed = echo(&pods, real.pod(1), real.pod(2));

        assert_eq!(digests.received, digests.sent, "{offloads}");
        assert_eq!(echoed, SIZES, "{offloads}");
        let log = real.log(node(1));
        assert!(!log.contains("one by one"), "{offloads}: {log}");
    }
}

#[test]
fn nodes_of_different_offloads_understand_each_other() {
    need!(root, tun, ip, etcd);
    let mut real = RealNodes::up("t-mixed", 2, PROGRAM);
    real.lab.stop_node(node(2), Ending::Graceful).expect("it ends");
    real.lab.add_node_flags(&["--offload", "none"]);
    real.lab.start_node(node(2)).expect("it starts");
    real.await_traffic();
    let pods = [1, 2].map(|number| real.lab.namespace(Place::Pod(node(number))));

    let digests = exchange(&pods, real.pod(2), 20_000_000);

    assert_eq!(digests.received, digests.sent);
}

#[test]
fn several_workers_carry_what_one_carries() {
    need!(root, tun, ip, etcd);
    let real = RealNodes::up_flagged("t-workers", 2, 1, PROGRAM, &["--workers", "3"]);
    let pods = [1, 2].map(|number| real.lab.namespace(Place::Pod(node(number))));

    let digests = exchange(&pods, real.pod(2), 20_000_000);
    let echoed = echo(&pods, real.pod(1), real.pod(2));

    assert_eq!(digests.received, digests.sent);
    assert_eq!(echoed, SIZES);
    let carried = counters(&real);
    assert!(carried.get("sent") > 5_000 && carried.get("delivered") > 5_000);
    let link = real
        .lab
        .namespace(Place::Node(node(1)))
        .ip_output(&["-d", "link", "show", "flannel0"]);
    assert!(link.is_ok_and(|link| link.contains("multi_queue")));
}

#[test]
fn several_workers_do_not_share_their_port_with_another_program() {
    need!(root, tun, ip, etcd);
    let mut real = RealNodes::up_flagged("t-shared", 2, 1, PROGRAM, &["--workers", "2"]);
    real.lab.stop_node(node(1), Ending::Graceful).expect("it ends");

    a_taken_port_is_waited_for(&mut real);
}

#[test]
fn datagrams_of_a_flow_arrive_in_the_order_in_which_they_were_sent() {
    need!(root, tun, ip, etcd);
    let real = RealNodes::up("t-order", 2, PROGRAM);
    let pods = [1, 2].map(|number| real.lab.namespace(Place::Pod(node(number))));
    let receiver = bind(&pods[1], real.pod(2));
    let sender = bind(&pods[0], real.pod(1));
    sender.connect((real.pod(2), PORT)).expect("connected");

    let sending = thread::spawn(move || {
        for number in 0..200_000_u32 {
            let len = [4, 100, 1_200][number as usize / 50 % 3];
            let mut datagram = vec![0; len];
            datagram[..4].copy_from_slice(&number.to_be_bytes());
            // A full queue costs a datagram, not the order.
            drop(sender.send(&datagram));
        }
    });
    let mut numbers = Vec::new();
    let mut buffer = [0; 2_000];
    while let Ok(len) = receiver.recv(&mut buffer) {
        assert!(len >= 4);
        numbers.push(u32::from_be_bytes(*buffer.first_chunk().expect("four bytes")));
    }
    sending.join().expect("sent");

    assert!(numbers.len() > 1_000, "{}", numbers.len());
    assert!(numbers.is_sorted_by(|earlier, later| earlier < later));
}

/// Every set of offloads, as the flag wants it.
fn combinations() -> Vec<String> {
    let set = |bits: usize| {
        let chosen = (0..OFFLOADS.len()).filter(|offload| bits & (1 << offload) != 0);
        chosen
            .map(|offload| OFFLOADS[offload])
            .collect::<Vec<_>>()
            .join(",")
    };
    let some = (1..1 << OFFLOADS.len()).map(set);
    std::iter::once("none".to_owned()).chain(some).collect()
}

/// What two pods sent, and what the other received of it.
pub(crate) struct Digests {
    pub(crate) sent: [Vec<u8>; 2],
    pub(crate) received: [Vec<u8>; 2],
}

/// Lets two pods send each other bytes over one connection at once.
pub(crate) fn exchange(pods: &[Namespace; 2], second: Ipv4Addr, length: usize) -> Digests {
    let server = listen(&pods[1], second);
    let client = connect(&pods[0], second);
    let (accepted, _) = server.accept().expect("a client comes");
    let data = noise(length);
    let (first_half, second_half) = data.split_at(length / 2);
    let sent = [first_half, second_half].map(|half| Sha256::digest(half).to_vec());
    let received = thread::scope(|scope| {
        let ends = [(&client, first_half), (&accepted, second_half)];
        let digests = ends.map(|(stream, half)| {
            scope.spawn(move || {
                let mut sink = stream;
                sink.write_all(half).expect("sent");
                stream.shutdown(Shutdown::Write).expect("finished");
            });
            scope.spawn(move || digest_of(stream))
        });
        let [of_client, of_server] = digests.map(|digest| digest.join().expect("received"));
        [of_server, of_client]
    });
    Digests { sent, received }
}

pub(crate) fn digest_of(mut stream: &TcpStream) -> Vec<u8> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let len = stream.read(&mut buffer).expect("received");
        if len == 0 {
            return digest.finalize().to_vec();
        }
        digest.update(&buffer[..len]);
    }
}

/// Lets the second pod send back what the first one sends, and returns the lengths of what came back unchanged.
pub(crate) fn echo(pods: &[Namespace; 2], first: Ipv4Addr, second: Ipv4Addr) -> Vec<usize> {
    let (client, server) = (bind(&pods[0], first), bind(&pods[1], second));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = vec![0; 10_000];
            for _ in SIZES {
                let Ok((len, from)) = server.recv_from(&mut buffer) else {
                    return;
                };
                server.send_to(&buffer[..len], from).expect("sent");
            }
        });
        let mut returned = Vec::new();
        for size in SIZES {
            let sent = noise(size);
            client.send_to(&sent, (second, PORT)).expect("sent");
            let mut buffer = vec![0; 10_000];
            let len = client.recv(&mut buffer).expect("echoed");
            if buffer[..len] == sent {
                returned.push(len);
            }
        }
        returned
    })
}

pub(crate) fn bind(pod: &Namespace, address: Ipv4Addr) -> UdpSocket {
    let socket = pod.enter(|| UdpSocket::bind((address, PORT)));
    let socket = socket.expect("the pod is there").expect("the port is free");
    socket
        .set_read_timeout(Some(Duration::from_secs(2)))
        .expect("set");
    socket
}
