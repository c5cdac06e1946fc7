//! What arrives of much data, and in which order, over a wire that loses datagrams and lets others arrive late.

use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use selvedge_host::lab::{Namespace, Place, Stopwatch};
use selvedge_tests::capture::Capture;
use selvedge_tests::disturbed_wire::{Disturbance, DisturbedWire};
use selvedge_tests::need;
use selvedge_tests::real_nodes::{RealNodes, node};
use sha2::{Digest, Sha256};

use crate::PROGRAM;
use crate::hostile::TUNNEL;
use crate::offloads::{bind, digest_of};
use crate::traffic::{connect, listen, noise};

/// Asks for as much as a release build carries.
const AT_LENGTH: &str = "SELVEDGE_TEST_AT_LENGTH";

/// A gigabyte each way; as much as takes some seconds in a build without optimisation.
const MUCH: usize = 1_000_000_000;
const SOME: usize = 200_000_000;

const BLOCK: usize = 1_000_000;

const DISTURBANCE: Disturbance = Disturbance {
    seed: 4,
    port: TUNNEL,
    lost: 10,
    late: 20,
    behind: 8,
};

#[test]
fn much_data_both_ways_at_once_arrives_unchanged_although_some_is_lost_and_some_is_late() {
    need!(root, tun, ip, etcd, ethtool);
    let real = RealNodes::up("t-lossy", 2, PROGRAM);
    let wire = DisturbedWire::insert(&real, node(2), DISTURBANCE);
    let pods = [1, 2].map(|number| real.lab.namespace(Place::Pod(node(number))));
    let is_long = !cfg!(debug_assertions) || std::env::var_os(AT_LENGTH).is_some();
    let blocks = if is_long { MUCH } else { SOME } / BLOCK;

    let transfer = Stopwatch::start();
    let [there, back] = transfer_both_ways(&pods, real.pod(2), blocks);

    let tally = wire.finish();
    println!("{blocks} MB each way in {:?}: {tally:?}", transfer.elapsed());
    assert_eq!(there.received, there.sent);
    assert_eq!(back.received, back.sent);
    assert!(tally.lost > tally.datagrams / 200, "{tally:?}");
    assert!(tally.late > tally.datagrams / 100, "{tally:?}");
}

#[test]
fn datagrams_that_arrive_out_of_order_are_handed_on_in_the_order_in_which_they_arrived() {
    need!(root, tun, ip, etcd, ethtool);
    let real = RealNodes::up("t-late", 2, PROGRAM);
    let wire = DisturbedWire::insert(&real, node(2), DISTURBANCE);
    let pods = [1, 2].map(|number| real.lab.namespace(Place::Pod(node(number))));
    let underlay = Capture::of_frames(&real.lab.namespace(Place::Node(node(2))));
    let receiver = bind(&pods[1], real.pod(2));
    let sender = bind(&pods[0], real.pod(1));
    sender
        .connect(receiver.local_addr().expect("an address"))
        .expect("connected");
    let ended = AtomicBool::new(false);

    let (on_the_wire, at_the_pod) = thread::scope(|scope| {
        let on_the_wire = scope.spawn(|| numbers_on_the_wire(&underlay, real.pod(2), &ended));
        scope.spawn(|| {
            for number in 0..100_000_u32 {
                let length = [4, 100, 1_200][number as usize / 50 % 3];
                let mut datagram = vec![0; length];
                datagram[..4].copy_from_slice(&number.to_be_bytes());
                // A full queue costs a datagram, not the order.
                drop(sender.send(&datagram));
            }
        });
        let mut numbers = Vec::new();
        let mut buffer = [0; 2_000];
        while let Ok(length) = receiver.recv(&mut buffer) {
            numbers.extend(number(&buffer[..length]));
        }
        ended.store(true, Ordering::Relaxed);
        (on_the_wire.join().expect("captured"), numbers)
    });

    let tally = wire.finish();
    println!(
        "{} of {} on the wire, {tally:?}",
        at_the_pod.len(),
        on_the_wire.len()
    );
    assert!(
        at_the_pod.len() > 1_000 && tally.late > 20,
        "{}",
        at_the_pod.len()
    );
    assert!(!at_the_pod.is_sorted(), "the wire changes the order");
    let mut arrived = on_the_wire.iter();
    let stray = at_the_pod
        .iter()
        .find(|number| !arrived.any(|other| other == *number));
    assert_eq!(stray, None, "the daemon changes it no further");
}

/// What was sent over a connection one way, and what was received.
struct Stream {
    sent: Vec<u8>,
    received: Vec<u8>,
}

/// Lets two pods send each other blocks over one connection at once.
fn transfer_both_ways(pods: &[Namespace; 2], second: Ipv4Addr, blocks: usize) -> [Stream; 2] {
    let server = listen(&pods[1], second);
    let client = connect(&pods[0], second);
    let (accepted, _) = server.accept().expect("a client comes");
    let block = noise(BLOCK);
    thread::scope(|scope| {
        let ways = [(&client, &accepted), (&accepted, &client)].map(|(from, to)| {
            let block = &block;
            let sent = scope.spawn(move || send_blocks(from, block, blocks));
            (sent, scope.spawn(move || digest_of(to)))
        });
        ways.map(|(sent, received)| Stream {
            sent: sent.join().expect("sent"),
            received: received.join().expect("received"),
        })
    })
}

/// Sends blocks that differ by their numbers, and returns the digest of all.
fn send_blocks(mut stream: &TcpStream, block: &[u8], blocks: usize) -> Vec<u8> {
    let mut digest = Sha256::new();
    let mut block = block.to_vec();
    for number in 0..blocks {
        block[..8].copy_from_slice(&number.to_be_bytes());
        stream.write_all(&block).expect("sent");
        digest.update(&block);
    }
    stream.shutdown(Shutdown::Write).expect("finished");
    digest.finalize().to_vec()
}

fn numbers_on_the_wire(underlay: &Capture, pod: Ipv4Addr, ended: &AtomicBool) -> Vec<u32> {
    let mut numbers = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        underlay.find(Duration::from_millis(50), |frame| {
            numbers.extend(inner_number(frame, pod));
            None::<()>
        });
    }
    numbers
}

/// Returns the number in a datagram for the pod that a frame of the underlay carries.
fn inner_number(frame: &[u8], pod: Ipv4Addr) -> Option<u32> {
    // Before the frame stands its `virtio_net_hdr`.
    let outer = SlicedPacket::from_ethernet(frame.get(10..)?).ok()?;
    let Some(TransportSlice::Udp(outer)) = outer.transport.filter(|_| outer.net.is_some()) else {
        return None;
    };
    if outer.destination_port() != TUNNEL {
        return None;
    }
    let inner = SlicedPacket::from_ip(outer.payload()).ok()?;
    match (inner.net, inner.transport) {
        (Some(NetSlice::Ipv4(packet)), Some(TransportSlice::Udp(udp)))
            if packet.header().destination_addr() == pod =>
        {
            number(udp.payload())
        }
        _ => None,
    }
}

fn number(payload: &[u8]) -> Option<u32> {
    payload.first_chunk().copied().map(u32::from_be_bytes)
}
