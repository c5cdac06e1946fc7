//! System calls on the tunnel's descriptors that no library offers as they are needed: the one module with unsafe code.

use std::ffi::{c_int, c_short, c_uint, c_ulong};
use std::fs::OpenOptions;
use std::io::{self, IoSlice};
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;

use nix::errno::Errno;
use nix::libc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::network_error::{NetworkError, NetworkProblem};

/// `UDP_SEGMENT` and `UDP_GRO`, of the level `SOL_UDP` (`udp(7)`).
const UDP_SEGMENT: c_int = 103;
const UDP_GRO: c_int = 104;

/// Requests of `linux/if_tun.h`.
const TUNSETIFF: c_ulong = 0x4004_54ca;
const TUNSETOFFLOAD: c_ulong = 0x4004_54d0;

/// How many times is received at once. Where the kernel merges no datagrams this is how many of them can become one
/// super-packet.
pub(crate) const BATCH: usize = 32;

/// What was received at once: the datagrams of one sender that the kernel merged, or one alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Received {
    pub(crate) from: SocketAddrV4,
    /// In all, in bytes.
    pub(crate) len: usize,
    /// Of each datagram but the last, in bytes; `None` if there is one alone.
    pub(crate) segment_len: Option<usize>,
    /// How many datagrams the socket has lost because it was full, as far as the kernel tells; it wraps.
    pub(crate) overflow: Option<u32>,
}

/// Registers a descriptor with the current runtime.
///
/// The handle must own its descriptor, and must neither close it nor change it while it lives.
pub(crate) fn register<T: OwnsDescriptor>(handle: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    // SAFETY: who implements `OwnsDescriptor` promises that the descriptor stays open and the same for as long as
    // the handle lives, and `AsyncFd` drops its registration before the handle.
    unsafe { AsyncFd::register_with_interest(handle, interest) }.map_err(Into::into)
}

/// A handle whose descriptor is open and the same for as long as it lives.
pub(crate) trait OwnsDescriptor: AsRawFd {}

/// Opens a queue of the TUN device of this name, without blocking; the first makes the device.
pub(crate) fn open_tun_queue(name: &str, flags: c_short) -> io::Result<OwnedFd> {
    let queue = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    let mut request = InterfaceRequest {
        name: [0; libc::IFNAMSIZ],
        flags,
        rest: [0; 22],
    };
    // The last byte stays zero.
    let room = request.name.get_mut(..libc::IFNAMSIZ - 1).unwrap_or_default();
    let room = room.get_mut(..name.len()).ok_or(io::ErrorKind::InvalidInput)?;
    room.copy_from_slice(name.as_bytes());
    // SAFETY: the request is as large as the kernel's `struct ifreq`, which it reads and writes during the call alone.
    check(unsafe { libc::ioctl(queue.as_raw_fd(), TUNSETIFF, &raw mut request) })?;
    Ok(queue.into())
}

/// `struct ifreq` of `netdevice(7)`, with flags.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; libc::IFNAMSIZ],
    flags: c_short,
    rest: [u8; 22],
}

/// Tells a TUN device which super-packets and partial checksums it may hand out (`TUN_F_*`).
pub(crate) fn set_tun_offloads(device: &impl AsRawFd, offloads: c_uint) -> io::Result<()> {
    // SAFETY: this request takes its argument by value; the kernel reads and writes no memory of ours.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), TUNSETOFFLOAD, c_ulong::from(offloads)) };
    check(result).map(drop)
}

/// Writes one packet, in parts.
pub(crate) fn write_packet(device: &impl AsRawFd, parts: &[IoSlice<'_>]) -> io::Result<()> {
    let count = c_int::try_from(parts.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: an `IoSlice` has the layout of an `iovec`, and all of them are borrowed for the call, which only reads.
    let written = unsafe { libc::writev(device.as_raw_fd(), parts.as_ptr().cast(), count) };
    check(written).map(drop)
}

/// Sends one datagram, in parts, or as many as there are segments of this length in the parts.
pub(crate) fn send(
    socket: &impl AsRawFd,
    parts: &[IoSlice<'_>],
    to: SocketAddrV4,
    segment_len: Option<u16>,
) -> io::Result<()> {
    let mut name = into_sockaddr(to);
    let mut control = Control::default();
    let mut message = empty_message();
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = ADDRESS_LEN;
    // The kernel does not write to what is sent.
    message.msg_iov = parts.as_ptr().cast_mut().cast();
    message.msg_iovlen = parts.len();
    if let Some(segment_len) = segment_len {
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = space_of::<u16>();
        // SAFETY: the message's control buffer is aligned and has room for one header with two bytes, so that the
        // first header and its data lie within it.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_UDP;
            (*header).cmsg_type = UDP_SEGMENT;
            (*header).cmsg_len = len_of::<u16>();
            libc::CMSG_DATA(header).cast::<u16>().write_unaligned(segment_len);
        }
    }
    // SAFETY: all that the message points to lives until the call returns; an `IoSlice` has the layout of an `iovec`.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT) };
    check(sent).map(drop)
}

/// Receives what has come, at most [`BATCH`] times, into the slots of `slot_len` bytes that the arena consists of.
pub(crate) fn receive(
    socket: &impl AsRawFd,
    arena: &mut [u8],
    slot_len: usize,
    mut each: impl FnMut(Received),
) -> io::Result<()> {
    let mut names = [into_sockaddr(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)); BATCH];
    let mut controls = [Control::default(); BATCH];
    let mut parts: [libc::iovec; BATCH] = std::array::from_fn(|_| libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    });
    let mut messages: [libc::mmsghdr; BATCH] = std::array::from_fn(|_| libc::mmsghdr {
        msg_hdr: empty_message(),
        msg_len: 0,
    });
    let mut count: c_uint = 0;
    let slots = arena.chunks_exact_mut(slot_len);
    let rest = names
        .iter_mut()
        .zip(&mut controls)
        .zip(&mut parts)
        .zip(&mut messages);
    for (slot, (((name, control), part), message)) in slots.zip(rest) {
        *part = libc::iovec {
            iov_base: slot.as_mut_ptr().cast(),
            iov_len: slot.len(),
        };
        message.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
        message.msg_hdr.msg_namelen = ADDRESS_LEN;
        message.msg_hdr.msg_iov = part;
        message.msg_hdr.msg_iovlen = 1;
        message.msg_hdr.msg_control = std::ptr::from_mut(control).cast();
        message.msg_hdr.msg_controllen = size_of::<Control>();
        count += 1;
    }
    // SAFETY: `count` messages were filled in; what they point to, the slots among it, is borrowed mutably or owned
    // by this function until the call returns.
    let received = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            messages.as_mut_ptr(),
            count,
            libc::MSG_DONTWAIT,
            std::ptr::null_mut(),
        )
    };
    let received = usize::try_from(check(received)?).unwrap_or_default();
    for (message, name) in messages.iter().zip(&names).take(received) {
        let (segment_len, overflow) = read_control(&message.msg_hdr);
        each(Received {
            from: from_sockaddr(name),
            len: usize::try_from(message.msg_len).unwrap_or_default(),
            segment_len,
            overflow,
        });
    }
    Ok(())
}

/// Takes the next error from the socket's error queue (`ip(7)`, `IP_RECVERR`).
pub(crate) fn receive_error(socket: &impl AsRawFd) -> io::Result<NetworkError> {
    let mut name = into_sockaddr(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
    let mut control = Control::default();
    let mut message = empty_message();
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = ADDRESS_LEN;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>();
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: all that the message points to lives until the call returns, and is as large as the message says.
    check(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) })?;
    let mut problem = NetworkProblem::Unreachable;
    // SAFETY: the kernel has filled in the message's control buffer, which is alive, and has set its length; the
    // macros keep within that length. The data of this kind begins with a `sock_extended_err`.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            if ((*header).cmsg_level, (*header).cmsg_type) == (libc::IPPROTO_IP, libc::IP_RECVERR) {
                let data = libc::CMSG_DATA(header);
                let error = data.cast::<libc::sock_extended_err>().read_unaligned();
                let errno = Errno::from_raw(c_int::try_from(error.ee_errno).unwrap_or_default());
                problem = NetworkProblem::from_raw(errno, error.ee_info);
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    Ok(NetworkError {
        to: from_sockaddr(&name),
        problem,
    })
}

/// Returns what the socket does about the MTU of paths: one of `IP_PMTUDISC_*`.
pub(crate) fn mtu_discovery(socket: &impl AsRawFd) -> io::Result<c_int> {
    let mut mode: c_int = 0;
    let mut len = socklen_of::<c_int>();
    // SAFETY: the value is as long as the length says; both are borrowed for the call alone.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            (&raw mut mode).cast(),
            &raw mut len,
        )
    })?;
    Ok(mode)
}

/// Tells the socket what to do about the MTU of paths: one of `IP_PMTUDISC_*`.
pub(crate) fn set_mtu_discovery(socket: &impl AsRawFd, mode: c_int) -> io::Result<()> {
    // SAFETY: the value is as long as the length says, and the kernel reads it during the call alone.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            (&raw const mode).cast(),
            socklen_of::<c_int>(),
        )
    })
    .map(drop)
}

/// Room for the control messages of one datagram, aligned as their headers.
type Control = [u64; 8];

const ADDRESS_LEN: libc::socklen_t = 16;

fn read_control(message: &libc::msghdr) -> (Option<usize>, Option<u32>) {
    let (mut segment_len, mut overflow) = (None, None);
    // SAFETY: the kernel has filled in the message's control buffer, which is alive, and has set its length; the
    // macros keep within that length. Both kinds of data are four bytes long.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            let data = libc::CMSG_DATA(header);
            match ((*header).cmsg_level, (*header).cmsg_type) {
                (libc::SOL_UDP, UDP_GRO) => {
                    segment_len = usize::try_from(data.cast::<c_int>().read_unaligned()).ok();
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    overflow = Some(data.cast::<u32>().read_unaligned());
                }
                _ => {}
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    (segment_len.filter(|len| *len > 0), overflow)
}

fn empty_message() -> libc::msghdr {
    // SAFETY: null pointers and lengths of zero make a valid message header.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

const fn into_sockaddr(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: 2,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(address.ip().octets()),
        },
        sin_zero: [0; 8],
    }
}

fn from_sockaddr(name: &libc::sockaddr_in) -> SocketAddrV4 {
    let ip = Ipv4Addr::from(name.sin_addr.s_addr.to_ne_bytes());
    SocketAddrV4::new(ip, u16::from_be(name.sin_port))
}

fn socklen_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default()
}

fn space_of<T>() -> usize {
    let len = c_uint::try_from(size_of::<T>()).unwrap_or_default();
    // SAFETY: it only computes with its argument.
    let space = unsafe { libc::CMSG_SPACE(len) };
    usize::try_from(space).unwrap_or_default()
}

fn len_of<T>() -> usize {
    let len = c_uint::try_from(size_of::<T>()).unwrap_or_default();
    // SAFETY: it only computes with its argument.
    let len = unsafe { libc::CMSG_LEN(len) };
    usize::try_from(len).unwrap_or_default()
}

/// Turns a negative result into the error that the call left behind.
fn check<T: PartialOrd + Default>(result: T) -> io::Result<T> {
    if result < T::default() {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
