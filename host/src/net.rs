//! The one module that touches the operating system's UDP.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket as StdSocket};

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::UdpSocket;

use crate::tunnel::worker::PacketSocket;

/// The wish for the receive buffer in bytes: some milliseconds of a fast link.
const RECEIVE_BUFFER: usize = 8 << 20;

/// A UDP socket on the current runtime.
#[derive(Debug)]
pub struct Udp {
    socket: UdpSocket,
}

/// Opens the tunnel's socket: bound, unconnected, without blocking.
///
/// Path MTU discovery stays as the kernel has it, as flannel's wire form demands (backends.md, 3.3): datagrams
/// carry DF, and after a "need to frag" the kernel fragments.
///
/// # Errors
///
/// The operating system's.
pub fn bind(local: SocketAddrV4) -> io::Result<StdSocket> {
    let socket = StdSocket::bind(local)?;
    socket.set_nonblocking(true)?;
    // Above the limit of net.core.rmem_max only with CAP_NET_ADMIN; what the kernel grants will do.
    let enlarged = setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)
        .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER));
    if let Err(error) = enlarged {
        tracing::debug!(%error, "the receive buffer stays as it is");
    }
    Ok(socket)
}

impl Udp {
    /// Takes a socket over; it must not block.
    ///
    /// # Errors
    ///
    /// If the runtime cannot wait for it.
    pub fn from_std(socket: StdSocket) -> io::Result<Self> {
        Ok(Self {
            socket: UdpSocket::from_std(socket)?,
        })
    }
}

impl PacketSocket for Udp {
    async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    fn try_recv_from(&self, packet: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.try_recv_from(packet)
    }

    fn try_send_to(&self, packet: &[u8], to: SocketAddrV4) -> io::Result<usize> {
        self.socket.try_send_to(packet, SocketAddr::V4(to))
    }
}
