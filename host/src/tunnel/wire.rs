//! The way to other nodes: the tunnel's socket, as a worker sees it.

use std::io::{self, IoSlice};
use std::net::SocketAddrV4;
use std::time::Duration;

use nix::errno::Errno;
use selvedge_engine::Instant;

use super::TransportCounters;
use super::inbound::ReceiveBuffers;
use super::offload::Offload;

/// The most datagrams in one message: older kernels take no more (`UDP_MAX_SEGMENTS` before 6.9).
pub(super) const MAX_SEGMENTS: usize = 64;

/// The most bytes in one message: the largest payload of UDP over IPv4.
pub(super) const MAX_LEN: usize = 65_507;

/// The length of the outer headers, IPv4 and UDP, in bytes.
const HEADERS: u32 = 20 + 8;

/// How long the kernel is not asked for a path's MTU again.
const BETWEEN_QUESTIONS: Duration = Duration::from_millis(10);

/// A UDP socket, read and written without blocking.
pub trait PacketSocket {
    /// Tells whether it takes many datagrams at once.
    fn segmentation(&self) -> Offload {
        Offload::Off
    }

    /// Returns the largest IP packet that the kernel sends to a node in one piece, as far as it knows, in bytes.
    fn path_mtu(&self, _to: SocketAddrV4) -> Option<u32> {
        None
    }

    /// Waits until a datagram, or an error, can be read.
    ///
    /// # Errors
    ///
    /// If the socket is of no use any more.
    fn readable(&self) -> impl Future<Output = io::Result<()>>;

    /// Reads datagrams that have come.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if there is none.
    fn try_recv(&self, buffers: &mut ReceiveBuffers) -> io::Result<()>;

    /// Sends a datagram, in parts. With a segment's length it is as many datagrams, each of that length but the last,
    /// which may be shorter.
    ///
    /// # Errors
    ///
    /// If it cannot be sent now.
    fn try_send(&self, parts: &[IoSlice<'_>], to: SocketAddrV4, segment_len: Option<u16>) -> io::Result<()>;
}

/// A socket, and how many datagrams it takes at once.
#[derive(Debug)]
pub(super) struct Wire<S> {
    pub(super) socket: S,
    segmentation: Offload,
    /// When the kernel may be asked for a path's MTU again.
    ask_from: Instant,
}

/// Datagrams for one node, all of one length but the last.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) to: SocketAddrV4,
    pub(super) segment_len: u16,
    pub(super) parts: &'a [IoSlice<'a>],
    /// For each datagram how many parts there are up to its end.
    pub(super) ends: &'a [usize],
}

impl<S: PacketSocket> Wire<S> {
    pub(super) fn new(socket: S) -> Self {
        Self {
            segmentation: socket.segmentation(),
            socket,
            ask_from: Instant::ZERO,
        }
    }

    /// Returns the most datagrams in a message.
    pub(super) const fn max_segments(&self) -> usize {
        match self.segmentation {
            Offload::Wanted => MAX_SEGMENTS,
            Offload::Off => 1,
        }
    }

    /// Sends one datagram; what cannot be sent is counted.
    pub(super) fn send_one(&self, packet: &[u8], to: SocketAddrV4, counters: &mut TransportCounters) {
        if let Err(error) = self.socket.try_send(&[IoSlice::new(packet)], to, None) {
            counters.count_send_error(&error, 1);
        }
    }

    /// Sends the datagrams of a message; what cannot be sent is counted.
    ///
    /// A message that the kernel or the driver does not take is sent datagram by datagram. If that is because the path is
    /// too narrow, the largest inner packet that it carries in one piece is returned, in bytes.
    pub(super) fn send(
        &mut self,
        message: Message<'_>,
        counters: &mut TransportCounters,
        now: Instant,
    ) -> Option<u32> {
        let Message {
            to,
            segment_len,
            parts,
            ends,
        } = message;
        if ends.len() < 2 {
            send_each(&self.socket, message, counters);
            return None;
        }
        let error = self.socket.try_send(parts, to, Some(segment_len)).err()?;
        let mut path_mtu = None;
        match error.raw_os_error().map(Errno::from_raw) {
            // The interface has no checksum offload, which segmentation rests on: it will not get one by itself.
            Some(Errno::EIO) => {
                tracing::warn!(
                    "the underlay refuses many datagrams at once; sending them one by one from now on"
                );
                self.segmentation = Offload::Off;
            }
            // Datagrams that are too large for the path can be fragmented one by one only.
            Some(Errno::EINVAL | Errno::EMSGSIZE) => path_mtu = self.path_mtu(to, now),
            Some(_) | None => {
                counters.count_send_error(&error, ends.len());
                return None;
            }
        }
        counters.count_split();
        send_each(&self.socket, message, counters);
        path_mtu.filter(|inner| *inner < u32::from(segment_len))
    }

    /// Asks the kernel, which takes some system calls, from time to time.
    fn path_mtu(&mut self, to: SocketAddrV4, now: Instant) -> Option<u32> {
        if now < self.ask_from {
            return None;
        }
        self.ask_from = now + BETWEEN_QUESTIONS;
        self.socket.path_mtu(to)?.checked_sub(HEADERS)
    }
}

fn send_each(socket: &impl PacketSocket, message: Message<'_>, counters: &mut TransportCounters) {
    let mut start = 0;
    for &end in message.ends {
        let parts = message.parts.get(start..end).unwrap_or_default();
        if let Err(error) = socket.try_send(parts, message.to, None) {
            counters.count_send_error(&error, 1);
        }
        start = end;
    }
}
