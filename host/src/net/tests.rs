use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::tunnel::worker::NetworkProblem;

const NODE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);

#[tokio::test]
async fn a_peer_that_refuses_costs_no_datagram_to_another() {
    let (sender, refusing, peer) = (udp(), refusing(), bind(NODE).unwrap());
    let to = address(&peer);

    for _ in 0..100 {
        sender.try_send(&[IoSlice::new(b"lost")], refusing, None).unwrap();
        sender.try_send(&[IoSlice::new(b"heard")], to, None).unwrap();
    }

    let mut buffer = [0; 16];
    for _ in 0..100 {
        assert_eq!(peer.recv(&mut buffer).unwrap(), 5);
    }
    sender.readable().await.unwrap();
    assert!(sender.has_errors());
    let told = sender.try_recv_error().unwrap();
    let problem = NetworkProblem::Refused;
    assert_eq!(
        told,
        NetworkError {
            to: refusing,
            problem
        }
    );
}

#[tokio::test]
async fn an_error_hides_no_datagram_that_has_come_and_is_no_cause_to_wake_up_again() {
    let (receiver, refusing, peer) = (udp(), refusing(), udp());
    let SocketAddr::V4(to) = receiver.socket.local_addr().unwrap() else {
        panic!("an address of IPv4");
    };
    let mut buffers = ReceiveBuffers::new();

    receiver
        .try_send(&[IoSlice::new(b"lost")], refusing, None)
        .unwrap();
    peer.try_send(&[IoSlice::new(b"heard")], to, None).unwrap();
    receiver.socket.readable().await.unwrap();
    receiver.try_recv(&mut buffers).unwrap();

    assert_eq!(buffers.received().len(), 1);
    assert!(receiver.try_recv_error().is_some());
    assert_eq!(receiver.try_recv_error(), None);
    assert!(!receiver.has_errors());
    let error = receiver.try_recv(&mut buffers).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    let woken = timeout(Duration::from_millis(50), receiver.readable()).await;
    assert!(woken.is_err());
}

#[tokio::test]
async fn the_kernel_fragments_only_while_it_may() {
    let sender = udp();
    let mode = || raw::mtu_discovery(&sender.socket).unwrap();

    let at_first = mode();
    sender.set_fragmentation(Fragmentation::Allowed);
    let allowed = mode();
    sender.set_fragmentation(Fragmentation::Refused);

    assert_eq!(
        [at_first, allowed, mode()],
        [libc::IP_PMTUDISC_DO, libc::IP_PMTUDISC_WANT, libc::IP_PMTUDISC_DO]
    );
}

fn udp() -> Udp {
    Udp::from_std(bind(NODE).unwrap(), Offloads::ALL).unwrap()
}

/// The address of a port that nobody has.
fn refusing() -> SocketAddrV4 {
    address(&bind(NODE).unwrap())
}

fn address(socket: &StdSocket) -> SocketAddrV4 {
    match socket.local_addr().unwrap() {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(address) => panic!("{address}"),
    }
}
