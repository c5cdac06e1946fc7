//! Options of packet sockets that the libraries lack (`packet(7)`).

use nix::libc;
use nix::{setsockopt_impl, sockopt_impl};

/// Room for what arrives faster than it is read, in bytes.
pub const ROOM: usize = 256 << 20;

sockopt_impl!(
    /// Puts before each frame what the kernel says about it: a `virtio_net_hdr`.
    VnetHeaders,
    SetOnly,
    libc::SOL_PACKET,
    libc::PACKET_VNET_HDR,
    bool
);

sockopt_impl!(
    /// Receives nothing that the machine itself sends.
    IgnoreOutgoing,
    SetOnly,
    libc::SOL_PACKET,
    libc::PACKET_IGNORE_OUTGOING,
    bool
);
