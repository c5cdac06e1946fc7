//! The one module that touches the operating system's UDP and TCP.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, UdpSocket as StdSocket};
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, getsockopt, setsockopt, socket, sockopt,
};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::tunnel::offload::{Offload, Offloads};
use crate::tunnel::raw;
use crate::tunnel::worker::{PacketSocket, ReceiveBuffers};
use crate::tunnel::worker_count::WorkerCount;

/// The wish for the receive buffer in bytes: some milliseconds of a fast link.
const RECEIVE_BUFFER: usize = 8 << 20;

/// A UDP socket on the current runtime.
#[derive(Debug)]
pub struct Udp {
    socket: UdpSocket,
    segmentation: Offload,
}

/// A TCP socket that takes connections.
#[derive(Debug)]
pub struct Listener(TcpListener);

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ends {
    /// The address that was called.
    pub local: IpAddr,
    /// Who called.
    pub remote: IpAddr,
}

impl Listener {
    /// Takes an address.
    ///
    /// # Errors
    ///
    /// The operating system's, also if somebody else has it.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        TcpListener::bind(address).await.map(Self)
    }

    /// Returns the address that it took.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Waits for a connection.
    ///
    /// # Errors
    ///
    /// The operating system's, for example that there are too many open files.
    pub async fn accept(&self) -> io::Result<(TcpStream, Ends)> {
        let (stream, remote) = self.0.accept().await?;
        let ends = Ends {
            local: stream.local_addr()?.ip().to_canonical(),
            remote: remote.ip().to_canonical(),
        };
        Ok((stream, ends))
    }
}

impl Ends {
    /// Tells whether the caller is on this machine: nobody else can have a connection from its addresses.
    pub fn is_on_this_node(self) -> bool {
        self.remote.is_loopback() || self.remote == self.local
    }
}

/// Opens the tunnel's sockets, one for each worker, among which the kernel spreads the peers.
///
/// # Errors
///
/// The operating system's, also if somebody else has the port.
pub fn bind_each(local: SocketAddrV4, workers: WorkerCount) -> io::Result<Vec<StdSocket>> {
    let alone = bind(local)?;
    if workers == WorkerCount::ONE {
        return Ok(vec![alone]);
    }
    // Sockets that share a port would share it with another daemon's as well; that nobody has it was seen just now.
    drop(alone);
    (0..workers.get()).map(|_| bind_shared(local)).collect()
}

fn bind_shared(local: SocketAddrV4) -> io::Result<StdSocket> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
    setsockopt(&socket, sockopt::ReusePort, &true)?;
    nix::sys::socket::bind(socket.as_raw_fd(), &SockaddrIn::from(local))?;
    prepare(socket.into())
}

/// Opens a socket for the tunnel: bound, unconnected, without blocking.
///
/// Path MTU discovery stays as the kernel has it, as flannel's wire form demands (backends.md, 3.3): datagrams
/// carry DF, and after a "need to frag" the kernel fragments.
///
/// # Errors
///
/// The operating system's.
pub fn bind(local: SocketAddrV4) -> io::Result<StdSocket> {
    prepare(StdSocket::bind(local)?)
}

fn prepare(socket: StdSocket) -> io::Result<StdSocket> {
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
    /// Takes a socket over, with as many of the offloads as the kernel has; it must not block.
    ///
    /// # Errors
    ///
    /// If the runtime cannot wait for it.
    pub fn from_std(socket: StdSocket, offloads: Offloads) -> io::Result<Self> {
        // How many datagrams the socket lost is told with the next one.
        has("SO_RXQ_OVFL", setsockopt(&socket, sockopt::RxqOvfl, &1).err());
        let merging = match offloads.udp_gro {
            Offload::Wanted => true,
            Offload::Off => false,
        };
        has(
            "UDP_GRO",
            setsockopt(&socket, sockopt::UdpGroSegment, &merging).err(),
        );
        Ok(Self {
            segmentation: match offloads.udp_gso {
                // The kernel knows the option if it can be asked for it; it stays as it is.
                Offload::Wanted => has("UDP_SEGMENT", getsockopt(&socket, sockopt::UdpGsoSegment).err()),
                Offload::Off => Offload::Off,
            },
            socket: UdpSocket::from_std(socket)?,
        })
    }
}

impl PacketSocket for Udp {
    fn segmentation(&self) -> Offload {
        self.segmentation
    }

    fn path_mtu(&self, to: SocketAddrV4) -> Option<u32> {
        let SocketAddr::V4(own) = self.socket.local_addr().ok()? else {
            return None;
        };
        // Only a connected socket can be asked.
        let connected = StdSocket::bind(SocketAddrV4::new(*own.ip(), 0)).ok()?;
        connected.connect(to).ok()?;
        u32::try_from(getsockopt(&connected, sockopt::IpMtu).ok()?).ok()
    }

    async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    fn try_recv(&self, buffers: &mut ReceiveBuffers) -> io::Result<()> {
        self.socket
            .try_io(Interest::READABLE, || buffers.receive_batch(&self.socket))
    }

    fn try_send(&self, parts: &[IoSlice<'_>], to: SocketAddrV4, segment_len: Option<u16>) -> io::Result<()> {
        raw::send(&self.socket, parts, to, segment_len)
    }
}

/// Tells whether the kernel has an option, by how it answered when it was tried.
fn has(option: &str, refusal: Option<Errno>) -> Offload {
    match refusal {
        None => Offload::Wanted,
        Some(error) => {
            tracing::info!("the kernel has no {option}: {error}");
            Offload::Off
        }
    }
}
