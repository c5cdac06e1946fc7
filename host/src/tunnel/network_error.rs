//! What the network tells about datagrams that were sent before.

use std::net::SocketAddrV4;

use nix::errno::Errno;

/// An error about a datagram on its way, from the socket's error queue (`ip(7)`, `IP_RECVERR`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NetworkError {
    /// Where the datagram was to go.
    pub to: SocketAddrV4,
    /// What was wrong.
    pub problem: NetworkProblem,
}

/// Why a datagram does not arrive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NetworkProblem {
    /// It is larger than what its path lets through.
    TooBig {
        /// The largest packet that it does let through, IP header included, in bytes; 0 if that was not told.
        path_mtu: u32,
    },
    /// The host is there, and nobody has the port.
    Refused,
    /// There is no way to the host.
    Unreachable,
}

impl NetworkProblem {
    /// Makes it from the error's number and what the kernel tells with it.
    pub(super) const fn from_raw(errno: Errno, info: u32) -> Self {
        if matches!(errno, Errno::EMSGSIZE) {
            Self::TooBig { path_mtu: info }
        } else if matches!(errno, Errno::ECONNREFUSED) {
            Self::Refused
        } else {
            Self::Unreachable
        }
    }
}
