//! The way to other nodes: the tunnel's socket, as a worker sees it.

use std::io::{self, IoSlice};
use std::net::SocketAddrV4;

use nix::errno::Errno;

use super::TransportCounters;
use super::inbound::ReceiveBuffers;
use super::network_error::{NetworkError, NetworkProblem};
use super::offload::Offload;
use super::wake_up::WakeUp;

/// The most datagrams in one message: older kernels take no more (`UDP_MAX_SEGMENTS` before 6.9).
pub(super) const MAX_SEGMENTS: usize = 64;

/// The most bytes in one message: the largest payload of UDP over IPv4.
pub(super) const MAX_LEN: usize = 65_507;

/// The length of the outer headers, IPv4 and UDP, in bytes.
const HEADERS: u32 = 20 + 8;

/// The most errors that are taken at once.
const MAX_ERRORS: usize = 64;

/// A UDP socket, read and written without blocking.
pub trait PacketSocket {
    /// Tells whether it takes many datagrams at once.
    fn segmentation(&self) -> Offload {
        Offload::Off
    }

    /// Lets the kernel fragment what is larger than the way to its node, as far as is known, or refuse it, as it does from the
    /// start.
    fn set_fragmentation(&self, _fragmentation: Fragmentation) {}

    /// Tells whether the network may have told of errors since they were taken.
    fn has_errors(&self) -> bool {
        false
    }

    /// Takes the next error that the network told.
    fn try_recv_error(&self) -> Option<NetworkError> {
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

    /// Sends a datagram, in parts; it fails for no other datagram's sake. With a segment's length it is as many datagrams, each of that length but the last,
    /// which may be shorter.
    ///
    /// # Errors
    ///
    /// If it cannot be sent now.
    fn try_send(&self, parts: &[IoSlice<'_>], to: SocketAddrV4, segment_len: Option<u16>) -> io::Result<()>;
}

/// What becomes of a datagram that is larger than the way to its node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fragmentation {
    /// It is sent in fragments.
    Allowed,
    /// It is not sent, and the error says how large it may be.
    Refused,
}

/// A socket, and how many datagrams it takes at once.
#[derive(Debug)]
pub(super) struct Wire<S> {
    pub(super) socket: S,
    segmentation: Offload,
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
    /// A message that the kernel or the driver does not take is sent datagram by datagram, and a datagram that is too large
    /// for the way to its node in fragments. How large the next may be is learned.
    pub(super) fn send(&mut self, message: Message<'_>, wake_up: &mut WakeUp<'_>) {
        let Message {
            to,
            segment_len,
            parts,
            ends,
        } = message;
        if ends.len() < 2 || is_known_to_be_too_large(message, wake_up) {
            self.send_each(message, wake_up);
            return;
        }
        let Err(error) = self.socket.try_send(parts, to, Some(segment_len)) else {
            return;
        };
        match error.raw_os_error().map(Errno::from_raw) {
            // The interface has no checksum offload, which segmentation rests on: it will not get one by itself.
            Some(Errno::EIO) => {
                tracing::warn!(
                    "the underlay refuses many datagrams at once; sending them one by one from now on"
                );
                self.segmentation = Offload::Off;
            }
            // Datagrams that are too large for the path can be fragmented one by one only.
            Some(Errno::EINVAL | Errno::EMSGSIZE) => {}
            Some(_) | None => {
                wake_up.counters.count_send_error(&error, ends.len());
                return;
            }
        }
        wake_up.counters.count_split();
        self.send_each(message, wake_up);
    }

    fn send_each(&self, message: Message<'_>, wake_up: &mut WakeUp<'_>) {
        let mut fragmentation = Fragmentation::Refused;
        if is_known_to_be_too_large(message, wake_up) {
            fragmentation = self.allow_fragments();
        }
        let mut start = 0;
        for &end in message.ends {
            let parts = message.parts.get(start..end).unwrap_or_default();
            let mut sent = self.socket.try_send(parts, message.to, None);
            if fragmentation == Fragmentation::Refused && is_too_big(&sent) {
                fragmentation = self.allow_fragments();
                self.heed(wake_up);
                sent = self.socket.try_send(parts, message.to, None);
            }
            match (sent, fragmentation) {
                (Ok(()), Fragmentation::Refused) => {}
                (Ok(()), Fragmentation::Allowed) => wake_up.counters.count_fragmented(),
                (Err(error), _) => wake_up.counters.count_send_error(&error, 1),
            }
            start = end;
        }
        if fragmentation == Fragmentation::Allowed {
            self.socket.set_fragmentation(Fragmentation::Refused);
        }
    }

    fn allow_fragments(&self) -> Fragmentation {
        self.socket.set_fragmentation(Fragmentation::Allowed);
        Fragmentation::Allowed
    }

    /// Takes note of what the network told about datagrams sent before.
    pub(super) fn heed(&self, wake_up: &mut WakeUp<'_>) {
        for _ in 0..MAX_ERRORS {
            let Some(NetworkError { to, problem }) = self.socket.try_recv_error() else {
                return;
            };
            tracing::trace!(%to, ?problem, "the network told of an error");
            match problem {
                NetworkProblem::TooBig { path_mtu } => {
                    let inner = path_mtu.checked_sub(HEADERS);
                    if let (Some(inner), Some(table)) = (inner, wake_up.table) {
                        wake_up
                            .forwarder
                            .learn_path_mtu(table, *to.ip(), inner, wake_up.now);
                    }
                }
                NetworkProblem::Refused => wake_up.counters.count_refused(),
                NetworkProblem::Unreachable => wake_up.counters.count_unreachable(),
            }
        }
    }
}

/// Tells whether the way to a node is known to let less through than the first datagrams of a message, which may be fragmented
/// then, or were already under way when that was learned.
fn is_known_to_be_too_large(message: Message<'_>, wake_up: &WakeUp<'_>) -> bool {
    let path_mtu = wake_up.forwarder.path_mtu(*message.to.ip(), wake_up.now);
    path_mtu.is_some_and(|inner| inner < u32::from(message.segment_len))
}

fn is_too_big(sent: &io::Result<()>) -> bool {
    let error = sent.as_ref().err().and_then(io::Error::raw_os_error);
    error.map(Errno::from_raw) == Some(Errno::EMSGSIZE)
}
