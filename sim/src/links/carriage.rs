//! How a link carries what a node sends.

use std::net::SocketAddrV4;

/// What is around the bytes that a node sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Carriage {
    /// They are the payload of a UDP datagram to this socket.
    Datagram { to: SocketAddrV4 },
    /// They are an IP packet that a frame carries as it is.
    Frame,
}

impl Carriage {
    /// Returns how many bytes of outer IPv4 and UDP headers there are.
    pub(super) const fn overhead(self) -> usize {
        match self {
            Self::Datagram { .. } => 20 + 8,
            Self::Frame => 0,
        }
    }

    /// Tells whether a checksum covers all bytes.
    pub(super) const fn has_checksum(self) -> bool {
        match self {
            Self::Datagram { .. } => true,
            Self::Frame => false,
        }
    }
}
