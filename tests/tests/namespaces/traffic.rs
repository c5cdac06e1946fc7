//! Pods reach each other.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use selvedge_host::lab::{Namespace, Pace, Place};
use selvedge_tests::need;
use selvedge_tests::real_nodes::{RealNodes, node};
use sha2::{Digest, Sha256};

use crate::PROGRAM;

const PORT: u16 = 7001;
const FILE_LENGTH: usize = 50_000_000;

#[test]
fn pods_ping_each_other_and_the_nodes_both_ways() {
    need!(root, tun, ip, etcd);
    let real = RealNodes::up("t-ping", 2, PROGRAM);

    let links = real.lab.ping_all_pods(Pace::QUICK).expect("probes are sent");
    let from_node = ping(&real, Place::Node(node(1)), real.pod(2));
    let to_node = ping(&real, Place::Pod(node(1)), real.subnet_address(2));

    assert_eq!(links.len(), 2);
    for link in links {
        assert_eq!(
            (link.echoes.sent(), link.echoes.lost()),
            (5, 0),
            "{} to {}",
            link.from,
            link.to
        );
    }
    assert_eq!(from_node, 0);
    assert_eq!(to_node, 0);
}

#[test]
fn a_file_of_50_megabytes_arrives_unchanged_both_ways() {
    need!(root, tun, ip, etcd);
    let real = RealNodes::up("t-file", 2, PROGRAM);
    let folder = tempfile::tempdir().expect("a folder");
    let sent = folder.path().join("sent");
    fs::write(&sent, noise(FILE_LENGTH)).expect("a file");
    let [first, second] = [1, 2].map(|number| real.lab.namespace(Place::Pod(node(number))));

    let there = folder.path().join("there");
    send_file(&first, &sent, &second, real.pod(2), &there);
    let back = folder.path().join("back");
    send_file(&second, &there, &first, real.pod(1), &back);

    assert_eq!(fs::metadata(&there).expect("received").len(), FILE_LENGTH as u64);
    assert_eq!(digest(&there), digest(&sent));
    assert_eq!(digest(&back), digest(&sent));
}

#[test]
fn both_ends_of_a_tcp_connection_talk() {
    need!(root, tun, ip, etcd);
    let real = RealNodes::up("t-tcp", 2, PROGRAM);

    for (from, to) in [(1, 2), (2, 1)] {
        let server = listen(&real.lab.namespace(Place::Pod(node(to))), real.pod(to));
        let echo = thread::spawn(move || {
            let (mut stream, peer) = server.accept().expect("a client comes");
            let mut words = String::new();
            stream.read_to_string(&mut words).expect("it speaks");
            stream
                .write_all(words.to_uppercase().as_bytes())
                .expect("it hears");
            peer.ip()
        });
        let mut client = connect(&real.lab.namespace(Place::Pod(node(from))), real.pod(to));
        client.write_all(b"across the overlay").expect("sent");
        client.shutdown(Shutdown::Write).expect("finished");
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("answered");

        assert_eq!(answer, "ACROSS THE OVERLAY");
        assert_eq!(
            echo.join().expect("the server ends"),
            real.pod(from),
            "the source is not translated"
        );
    }
}

fn ping(real: &RealNodes, from: Place, to: Ipv4Addr) -> usize {
    let stream = selvedge_host::lab::ProbeStream::start(&real.lab.namespace(from), to, Pace::QUICK);
    stream.expect("probes start").finish().lost()
}

fn send_file(from: &Namespace, source: &Path, to: &Namespace, address: Ipv4Addr, target: &Path) {
    let server = listen(to, address);
    let mut copy = File::create(target).expect("a file");
    let receiver = thread::spawn(move || {
        let (mut stream, _) = server.accept().expect("a client comes");
        io::copy(&mut stream, &mut copy).expect("received")
    });
    let mut client = connect(from, address);
    io::copy(&mut File::open(source).expect("the file"), &mut client).expect("sent");
    drop(client);
    receiver.join().expect("the receiver ends");
}

/// Listens in a namespace.
pub(crate) fn listen(namespace: &Namespace, address: Ipv4Addr) -> TcpListener {
    let listener = namespace.enter(|| TcpListener::bind((address, PORT)));
    listener.expect("the pod is there").expect("the port is free")
}

/// Connects from a namespace.
pub(crate) fn connect(namespace: &Namespace, address: Ipv4Addr) -> TcpStream {
    let stream = namespace.enter(|| TcpStream::connect((address, PORT)));
    stream.expect("the pod is there").expect("it connects")
}

/// Bytes without a pattern that a lost or doubled block would fit into (xorshift, Marsaglia 2003).
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(length).collect()
}

fn digest(path: &Path) -> Vec<u8> {
    Sha256::digest(fs::read(path).expect("the file")).to_vec()
}
