//! The one module that touches the operating system's UDP and TCP.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, UdpSocket as StdSocket};
use std::os::fd::{AsFd as _, AsRawFd as _};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, getsockopt, setsockopt, socket, sockopt,
};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::tunnel::offload::{Offload, Offloads};
use crate::tunnel::raw;
use crate::tunnel::worker::{Fragmentation, NetworkError, PacketSocket, ReceiveBuffers};
use crate::tunnel::worker_count::WorkerCount;

/// The wish for the receive buffer in bytes: some milliseconds of a fast link.
const RECEIVE_BUFFER: usize = 8 << 20;

/// How often a datagram is tried to be sent when errors about others come in between: whoever forges ICMP messages may
/// send very many.
const TRIES: usize = 16;

/// A UDP socket on the current runtime.
#[derive(Debug)]
pub struct Udp {
    socket: UdpSocket,
    segmentation: Offload,
    discovery: Discovery,
    fragmentation: Cell<Fragmentation>,
}

/// Who decides what becomes of a datagram that is larger than its path.
#[derive(Clone, Copy, Debug)]
enum Discovery {
    /// The tunnel, datagram by datagram.
    Ours,
    /// The machine's administrator, who wants no path MTU discovery (`net.ipv4.ip_no_pmtu_disc`).
    Off,
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
        // What ICMP messages say about datagrams is told in the error queue, with the node that each went to.
        has(
            "IP_RECVERR",
            setsockopt(&socket, sockopt::Ipv4RecvErr, &true).err(),
        );
        Ok(Self {
            discovery: discover_path_mtus(&socket)?,
            fragmentation: Cell::new(Fragmentation::Refused),
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

    fn set_fragmentation(&self, fragmentation: Fragmentation) {
        let Discovery::Ours = self.discovery else {
            return;
        };
        let mode = match fragmentation {
            Fragmentation::Allowed => libc::IP_PMTUDISC_WANT,
            Fragmentation::Refused => libc::IP_PMTUDISC_DO,
        };
        match raw::set_mtu_discovery(&self.socket, mode) {
            Ok(()) => self.fragmentation.set(fragmentation),
            Err(error) => tracing::debug!(%error, "path MTU discovery stays as it is"),
        }
    }

    fn has_errors(&self) -> bool {
        self.socket.try_io(Interest::ERROR, || Ok(())).is_ok()
    }

    fn try_recv_error(&self) -> Option<NetworkError> {
        let taken = raw::receive_error(&self.socket).ok();
        if taken.is_none() {
            // Nothing more is ready until the kernel says so again.
            let none: io::Result<()> = self
                .socket
                .try_io(Interest::ERROR, || Err(io::ErrorKind::WouldBlock.into()));
            drop(none);
        }
        taken
    }

    async fn readable(&self) -> io::Result<()> {
        let ready = self.socket.ready(Interest::READABLE | Interest::ERROR);
        ready.await.map(drop)
    }

    fn try_recv(&self, buffers: &mut ReceiveBuffers) -> io::Result<()> {
        self.socket.try_io(Interest::READABLE, || {
            let mut receive = || buffers.receive_batch(&self.socket);
            let mut received = receive();
            for _ in 1..TRIES {
                if !received.as_ref().is_err_and(is_told) {
                    return received;
                }
                received = receive();
            }
            // What has come is still there.
            received.map_err(|_| io::ErrorKind::Interrupted.into())
        })
    }

    fn try_send(&self, parts: &[IoSlice<'_>], to: SocketAddrV4, segment_len: Option<u16>) -> io::Result<()> {
        let send = || raw::send(&self.socket, parts, to, segment_len);
        let mut result = send();
        for tries in 1..TRIES {
            let Err(error) = &result else { break };
            if !self.may_be_anothers(error) || tries > 1 && !self.is_told_of_errors() {
                break;
            }
            result = send();
        }
        result
    }
}

impl Udp {
    /// Tells whether a datagram may have failed for another one's sake.
    fn may_be_anothers(&self, error: &io::Error) -> bool {
        let is_too_big = error.raw_os_error() == Some(Errno::EMSGSIZE as i32);
        is_told(error) && !(is_too_big && self.fragmentation.get() == Fragmentation::Refused)
    }

    /// Tells whether there are errors in the queue, also if the runtime does not know yet.
    fn is_told_of_errors(&self) -> bool {
        let mut sockets = [PollFd::new(self.socket.as_fd(), PollFlags::empty())];
        poll(&mut sockets, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }
}

/// Tells whether an error may be about a datagram that was sent before: the kernel makes such errors out of ICMP messages,
/// and lets the next call fail with them, whatever it is for; they are in the error queue too.
fn is_told(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(
            Errno::ECONNREFUSED
                | Errno::EHOSTUNREACH
                | Errno::ENETUNREACH
                | Errno::EMSGSIZE
                | Errno::ENOPROTOOPT
                | Errno::EOPNOTSUPP
                | Errno::EHOSTDOWN
                | Errno::ENONET
                | Errno::EPROTO
        )
    )
}

/// Lets every datagram carry DF, also those that are sent many at once, which the kernel else sends without; and lets the
/// kernel refuse what it knows to be too large, so that the sender learns it.
fn discover_path_mtus(socket: &StdSocket) -> io::Result<Discovery> {
    if raw::mtu_discovery(socket)? == libc::IP_PMTUDISC_DONT {
        return Ok(Discovery::Off);
    }
    raw::set_mtu_discovery(socket, libc::IP_PMTUDISC_DO)?;
    Ok(Discovery::Ours)
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

#[cfg(test)]
mod tests;
