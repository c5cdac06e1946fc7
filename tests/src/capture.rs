//! What passes through a network namespace, packet by packet (`packet(7)`).

use std::io;
use std::net::UdpSocket;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, socket, sockopt};
use selvedge_host::lab::{Namespace, Stopwatch};

use crate::packet_socket::{ROOM, VnetHeaders};

/// The largest packet with what may stand before it, in bytes.
const LARGEST: usize = 65_536 + 64;

/// Receives every IPv4 packet that arrives on any device of a namespace, or ICMP messages for its addresses.
#[derive(Debug)]
pub struct Capture(UdpSocket);

impl Capture {
    /// Starts to keep the IPv4 packets that arrive, without their link headers.
    ///
    /// # Panics
    ///
    /// If the namespace or the socket cannot be had.
    pub fn of_ipv4(namespace: &Namespace) -> Self {
        Self::open(
            namespace,
            AddressFamily::Packet,
            SockType::Datagram,
            SockProtocol::EthIp,
        )
    }

    /// Starts to keep the frames of IPv4 that arrive, each after its `virtio_net_hdr`, which tells whether the frame is a
    /// super-packet and whether its checksum is complete.
    ///
    /// # Panics
    ///
    /// If the namespace or the socket cannot be had.
    pub fn of_frames(namespace: &Namespace) -> Self {
        let capture = Self::open(
            namespace,
            AddressFamily::Packet,
            SockType::Raw,
            SockProtocol::EthIp,
        );
        setsockopt(&capture.0, VnetHeaders, &true).expect("headers are told");
        setsockopt(&capture.0, sockopt::RcvBufForce, &ROOM).expect("root may have much room");
        capture
    }

    /// Starts to keep the ICMP messages that are delivered to the namespace's own addresses, IPv4 headers included.
    ///
    /// # Panics
    ///
    /// If the namespace or the socket cannot be had.
    pub fn of_icmp(namespace: &Namespace) -> Self {
        Self::open(namespace, AddressFamily::Inet, SockType::Raw, SockProtocol::Icmp)
    }

    /// Returns what a function makes of the first packet that it accepts; `None` if there is none in time.
    ///
    /// # Panics
    ///
    /// If the socket fails.
    pub fn find<T>(&self, limit: Duration, mut accept: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
        let waiting = Stopwatch::start();
        let mut buffer = vec![0; LARGEST];
        loop {
            let left = limit
                .checked_sub(waiting.elapsed())
                .filter(|left| !left.is_zero())?;
            self.0.set_read_timeout(Some(left)).expect("a timeout is set");
            let length = match self.0.recv(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => panic!("the capture fails: {error}"),
            };
            if let Some(found) = buffer.get(..length).and_then(&mut accept) {
                return Some(found);
            }
        }
    }

    /// Opens a socket that sends ICMP messages as they are given to it.
    ///
    /// # Panics
    ///
    /// If the namespace or the socket cannot be had.
    pub fn icmp_socket(namespace: &Namespace) -> UdpSocket {
        Self::of_icmp(namespace).0
    }

    fn open(namespace: &Namespace, family: AddressFamily, kind: SockType, protocol: SockProtocol) -> Self {
        let opened = namespace.enter(|| socket(family, kind, SockFlag::SOCK_CLOEXEC, protocol));
        let socket = opened
            .expect("the namespace is there")
            .expect("a socket is opened");
        // The standard library has no such sockets; its UDP socket receives from any datagram descriptor.
        Self(UdpSocket::from(socket))
    }
}
