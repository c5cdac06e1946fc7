//! The header that a TUN device puts before each packet (virtio 1.2, 5.1.6).

use core::num::NonZeroU16;

use super::error::OffloadError;

/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`; the other flags (data valid, receive segment coalescing) tell of nothing to do.
const NEEDS_CSUM: u8 = 1;

/// `VIRTIO_NET_HDR_GSO_NONE`, `_TCPV4`, `_TCPV6`, `_UDP_L4`.
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;

/// `VIRTIO_NET_HDR_GSO_ECN`, a bit beside the TCP types.
const GSO_ECN: u8 = 0x80;

/// What the kernel leaves to whoever takes a packet from it, or is to do with a packet that it is given.
///
/// On a TUN device with `IFF_VNET_HDR` it is a `struct virtio_net_hdr` of [`VnetHeader::LEN`] bytes before the
/// packet, with fields in native byte order; places in the packet are counted from its first byte, that of the IP
/// header. See virtio 1.2, 5.1.6, and the kernel's `Documentation/networking/segmentation-offloads.rst`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum VnetHeader {
    /// One packet, complete.
    Complete,
    /// One packet whose checksum is partial.
    Partial(PartialChecksum),
    /// A super-packet; its checksum is always partial.
    Super {
        /// What it is to be cut into.
        gso: Gso,
        /// Where its checksum lies.
        checksum: PartialChecksum,
        /// The length of its headers up to the payload, in bytes: a hint that is not to be trusted.
        header_len: u16,
    },
}

/// A checksum field that holds the sum of the pseudo-header alone so far.
///
/// The checksum covers everything from `start` to the end of the packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PartialChecksum {
    /// Where the covered bytes begin, from the start of the packet, in bytes.
    pub start: u16,
    /// Where the field lies, from `start`, in bytes.
    pub offset: u16,
}

/// How a super-packet is to be cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Gso {
    /// What it is a super-packet of.
    pub kind: GsoKind,
    /// The payload of each segment but the last, which may have less, in bytes.
    pub size: NonZeroU16,
}

/// What a super-packet is one of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GsoKind {
    /// TCP over IPv4.
    TcpV4(Ecn),
    /// TCP over IPv6.
    TcpV6(Ecn),
    /// UDP over IPv4 or IPv6, of whole datagrams.
    Udp,
}

/// Whether the first segment of a super-packet has CWR, which the others must not repeat (RFC 3168, 6.1.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ecn {
    /// It has not.
    Plain,
    /// It has.
    Cwr,
}

impl VnetHeader {
    /// The length of the header, in bytes.
    pub const LEN: usize = 10;

    /// Reads a header.
    ///
    /// # Errors
    ///
    /// If it names a kind of super-packet other than TCP and UDP, segments of no size, or a super-packet without a
    /// partial checksum.
    pub fn parse(bytes: &[u8; Self::LEN]) -> Result<Self, OffloadError> {
        let [
            flags,
            gso_type,
            len0,
            len1,
            size0,
            size1,
            start0,
            start1,
            offset0,
            offset1,
        ] = *bytes;
        let checksum = (flags & NEEDS_CSUM != 0).then_some(PartialChecksum {
            start: u16::from_ne_bytes([start0, start1]),
            offset: u16::from_ne_bytes([offset0, offset1]),
        });
        if gso_type == GSO_NONE {
            return Ok(checksum.map_or(Self::Complete, Self::Partial));
        }
        let kind = GsoKind::parse(gso_type)?;
        let size = NonZeroU16::new(u16::from_ne_bytes([size0, size1])).ok_or(OffloadError::ZeroGsoSize)?;
        Ok(Self::Super {
            gso: Gso { kind, size },
            checksum: checksum.ok_or(OffloadError::MissingChecksum)?,
            header_len: u16::from_ne_bytes([len0, len1]),
        })
    }

    /// Writes the header.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let (flags, gso_type, header_len, size, checksum) = match *self {
            Self::Complete => return [0; Self::LEN],
            Self::Partial(checksum) => (NEEDS_CSUM, GSO_NONE, 0, 0, checksum),
            Self::Super {
                gso,
                checksum,
                header_len,
            } => (
                NEEDS_CSUM,
                gso.kind.gso_type(),
                header_len,
                gso.size.get(),
                checksum,
            ),
        };
        let [len0, len1] = header_len.to_ne_bytes();
        let [size0, size1] = size.to_ne_bytes();
        let [start0, start1] = checksum.start.to_ne_bytes();
        let [offset0, offset1] = checksum.offset.to_ne_bytes();
        [
            flags, gso_type, len0, len1, size0, size1, start0, start1, offset0, offset1,
        ]
    }
}

impl GsoKind {
    fn parse(gso_type: u8) -> Result<Self, OffloadError> {
        let ecn = if gso_type & GSO_ECN == 0 {
            Ecn::Plain
        } else {
            Ecn::Cwr
        };
        match (gso_type & !GSO_ECN, ecn) {
            (GSO_TCPV4, ecn) => Ok(Self::TcpV4(ecn)),
            (GSO_TCPV6, ecn) => Ok(Self::TcpV6(ecn)),
            (GSO_UDP_L4, Ecn::Plain) => Ok(Self::Udp),
            _ => Err(OffloadError::UnknownGsoType),
        }
    }

    const fn gso_type(self) -> u8 {
        match self {
            Self::TcpV4(ecn) => GSO_TCPV4 | ecn.bit(),
            Self::TcpV6(ecn) => GSO_TCPV6 | ecn.bit(),
            Self::Udp => GSO_UDP_L4,
        }
    }
}

impl Ecn {
    const fn bit(self) -> u8 {
        match self {
            Self::Plain => 0,
            Self::Cwr => GSO_ECN,
        }
    }
}

#[cfg(test)]
mod tests;
