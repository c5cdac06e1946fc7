//! The IP and transport headers of a packet, as far as cutting and merging need them.

use super::error::OffloadError;
use super::vnet_header::PartialChecksum;
use crate::checksum::{self, Sum};
use crate::ipv4::{Ipv4Header, MIN_HEADER_LEN};

/// Where fields lie in an IPv4 header, in bytes.
pub(super) mod ipv4_field {
    pub(in super::super) const TOTAL_LEN: usize = 2;
    pub(in super::super) const IDENTIFICATION: usize = 4;
    pub(in super::super) const CHECKSUM: usize = 10;
    pub(super) const ADDRESSES: usize = 12;
}

/// Where fields lie in an IPv6 header, in bytes.
pub(super) mod ipv6_field {
    pub(super) const PAYLOAD_LEN: usize = 4;
    pub(super) const NEXT_HEADER: usize = 6;
    pub(super) const ADDRESSES: usize = 8;
}

/// Where the ports lie in a TCP or UDP header, in bytes.
pub(super) const PORTS: usize = 0;

/// Where fields lie in a TCP header, in bytes.
pub(super) mod tcp_field {
    pub(in super::super) const SEQUENCE: usize = 4;
    pub(in super::super) const ACKNOWLEDGMENT: usize = 8;
    pub(in super::super) const DATA_OFFSET: usize = 12;
    pub(in super::super) const FLAGS: usize = 13;
    pub(in super::super) const WINDOW: usize = 14;
    pub(super) const CHECKSUM: u16 = 16;
    pub(in super::super) const URGENT_POINTER: usize = 18;
}

/// Where fields lie in a UDP header, in bytes.
pub(super) mod udp_field {
    pub(in super::super) const LEN: usize = 4;
    pub(in super::super) const CHECKSUM: u16 = 6;
}

/// The flags of TCP (RFC 9293, 3.1; RFC 3168, 6.1).
pub(super) mod tcp_flag {
    pub(in super::super) const FIN: u8 = 0x01;
    pub(in super::super) const SYN: u8 = 0x02;
    pub(in super::super) const RST: u8 = 0x04;
    pub(in super::super) const PSH: u8 = 0x08;
    pub(in super::super) const URG: u8 = 0x20;
    pub(in super::super) const CWR: u8 = 0x80;
}

/// The length of an IPv6 header without extensions, in bytes.
const IPV6_HEADER_LEN: usize = 40;
/// The shortest TCP header, in bytes.
const TCP_MIN_HEADER_LEN: usize = 20;
/// The length of a UDP header, in bytes.
const UDP_HEADER_LEN: usize = 8;

/// Numbers of protocols and IPv6 extension headers.
const HOP_BY_HOP: u8 = 0;
const TCP: u8 = 6;
const UDP: u8 = 17;
const IPV6_FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// The headers of a whole packet that is TCP or UDP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Headers {
    pub(super) version: IpVersion,
    pub(super) form: Form,
    pub(super) transport: Transport,
    /// The length of the IP header with options or extension headers, in bytes.
    pub(super) transport_start: usize,
    /// The length of all headers, in bytes.
    pub(super) payload_start: usize,
}

/// The version of IP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum IpVersion {
    V4,
    V6,
}

/// Whether an IP header has options or extension headers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    Plain,
    Extended,
}

/// A protocol that super-packets are made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

impl Headers {
    /// Reads the headers of a packet that is given in full, with nothing after its end.
    ///
    /// # Errors
    ///
    /// If it is not IPv4 or IPv6, is a fragment, is neither TCP nor UDP, or a length in it is wrong.
    pub(super) fn parse(packet: &[u8]) -> Result<Self, OffloadError> {
        let network = match packet.first().map(|first| first >> 4) {
            Some(4) => Network::parse_v4(packet)?,
            Some(6) => Network::parse_v6(packet)?,
            _ => return Err(OffloadError::BadIpHeader),
        };
        let transport = match network.protocol {
            TCP => Transport::Tcp,
            UDP => Transport::Udp,
            _ => return Err(OffloadError::KindMismatch),
        };
        let segment = packet.get(network.len..).ok_or(OffloadError::BadIpHeader)?;
        let transport_len = match transport {
            Transport::Tcp => tcp_header_len(segment),
            Transport::Udp => udp_header_len(segment),
        }
        .ok_or(OffloadError::BadTransportHeader)?;
        Ok(Self {
            version: network.version,
            form: network.form,
            transport,
            transport_start: network.len,
            payload_start: network.len + transport_len,
        })
    }

    /// Returns where the transport's checksum lies.
    pub(super) fn partial_checksum(&self) -> Option<PartialChecksum> {
        let start = u16::try_from(self.transport_start).ok()?;
        let offset = self.transport.checksum_offset();
        Some(PartialChecksum { start, offset })
    }

    /// Writes the lengths for a packet of `total_len` bytes into its headers, and updates IPv4's checksum.
    pub(super) fn write_lengths(&self, packet: &mut [u8], total_len: usize) -> Option<()> {
        match self.version {
            IpVersion::V4 => {
                let total_len = u16::try_from(total_len).ok()?;
                write_ipv4_word(packet, ipv4_field::TOTAL_LEN, total_len)?;
            }
            IpVersion::V6 => {
                let payload_len = u16::try_from(total_len.checked_sub(IPV6_HEADER_LEN)?).ok()?;
                write(packet, ipv6_field::PAYLOAD_LEN, payload_len.to_be_bytes())?;
            }
        }
        match self.transport {
            Transport::Tcp => Some(()),
            Transport::Udp => {
                let udp_len = u16::try_from(total_len.checked_sub(self.transport_start)?).ok()?;
                write(
                    packet,
                    self.transport_start + udp_field::LEN,
                    udp_len.to_be_bytes(),
                )
            }
        }
    }

    /// Writes the transport's checksum.
    pub(super) fn write_checksum(&self, packet: &mut [u8], checksum: u16) -> Option<()> {
        let at = self.transport_start + usize::from(self.transport.checksum_offset());
        write(packet, at, checksum.to_be_bytes())
    }

    /// Sums up the pseudo-header without the length.
    pub(super) fn pseudo_header_sum(&self, packet: &[u8]) -> Option<Sum> {
        let protocol = self.transport.protocol();
        Some(match self.version {
            IpVersion::V4 => Sum::of_pseudo_header(&read::<8>(packet, ipv4_field::ADDRESSES)?, protocol),
            IpVersion::V6 => Sum::of_pseudo_header(&read::<32>(packet, ipv6_field::ADDRESSES)?, protocol),
        })
    }

    /// Sums up the pseudo-header of a packet of `total_len` bytes.
    pub(super) fn full_pseudo_header_sum(&self, packet: &[u8], total_len: usize) -> Option<Sum> {
        let transport_len = u32::try_from(total_len.checked_sub(self.transport_start)?).ok()?;
        Some(self.pseudo_header_sum(packet)?.double_word(transport_len))
    }
}

impl Transport {
    /// Returns the value for the checksum field (RFC 768: a checksum of zero is sent as all ones).
    pub(super) const fn checksum(self, sum: u16) -> u16 {
        match (self, !sum) {
            (Self::Udp, 0) => 0xffff,
            (Self::Tcp | Self::Udp, checksum) => checksum,
        }
    }

    const fn checksum_offset(self) -> u16 {
        match self {
            Self::Tcp => tcp_field::CHECKSUM,
            Self::Udp => udp_field::CHECKSUM,
        }
    }

    const fn protocol(self) -> u8 {
        match self {
            Self::Tcp => TCP,
            Self::Udp => UDP,
        }
    }
}

/// The addresses of a packet, source and destination as they lie in its header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Addresses {
    V4([u8; 8]),
    V6([u8; 32]),
}

impl Addresses {
    /// Reads the addresses of a packet, whatever else is in it.
    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Some(Self::V4(read(packet, ipv4_field::ADDRESSES)?)),
            6 => Some(Self::V6(read(packet, ipv6_field::ADDRESSES)?)),
            _ => None,
        }
    }
}

/// What the IP header says.
struct Network {
    version: IpVersion,
    form: Form,
    len: usize,
    protocol: u8,
}

impl Network {
    fn parse_v4(packet: &[u8]) -> Result<Self, OffloadError> {
        let header = Ipv4Header::parse(packet).map_err(|_| OffloadError::BadIpHeader)?;
        if !header.fragmentation.is_whole() {
            return Err(OffloadError::Fragment);
        }
        let form = if header.len == MIN_HEADER_LEN {
            Form::Plain
        } else {
            Form::Extended
        };
        Ok(Self {
            version: IpVersion::V4,
            form,
            len: header.len,
            protocol: header.protocol,
        })
    }

    fn parse_v6(packet: &[u8]) -> Result<Self, OffloadError> {
        let (header, mut rest) = packet
            .split_first_chunk::<IPV6_HEADER_LEN>()
            .ok_or(OffloadError::BadIpHeader)?;
        let payload_len = read_u16(header, ipv6_field::PAYLOAD_LEN).ok_or(OffloadError::BadIpHeader)?;
        if usize::from(payload_len) != rest.len() {
            return Err(OffloadError::BadIpHeader);
        }
        let [mut protocol] = read(header, ipv6_field::NEXT_HEADER).ok_or(OffloadError::BadIpHeader)?;
        // Only those that change neither the addresses of the pseudo-header nor what follows them; hop-by-hop options
        // come first (RFC 8200, 4.1).
        if protocol == HOP_BY_HOP {
            (protocol, rest) = skip_extension(rest).ok_or(OffloadError::BadIpHeader)?;
        }
        while protocol == DESTINATION_OPTIONS {
            (protocol, rest) = skip_extension(rest).ok_or(OffloadError::BadIpHeader)?;
        }
        if protocol == IPV6_FRAGMENT {
            return Err(OffloadError::Fragment);
        }
        let len = packet.len() - rest.len();
        let form = if len == IPV6_HEADER_LEN {
            Form::Plain
        } else {
            Form::Extended
        };
        Ok(Self {
            version: IpVersion::V6,
            form,
            len,
            protocol,
        })
    }
}

/// Returns what follows an IPv6 extension header, and its protocol.
fn skip_extension(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let [next, units] = read(bytes, 0)?;
    let len = (usize::from(units) + 1) * 8;
    Some((next, bytes.get(len..)?))
}

/// Returns the length of the TCP header, if it lies within the segment.
fn tcp_header_len(segment: &[u8]) -> Option<usize> {
    let [data_offset] = read(segment, tcp_field::DATA_OFFSET)?;
    let len = usize::from(data_offset >> 4) * 4;
    (TCP_MIN_HEADER_LEN..=segment.len()).contains(&len).then_some(len)
}

/// Returns the length of the UDP header, if the datagram is as long as it says.
fn udp_header_len(datagram: &[u8]) -> Option<usize> {
    let len = usize::from(read_u16(datagram, udp_field::LEN)?);
    (len >= UDP_HEADER_LEN && len == datagram.len()).then_some(UDP_HEADER_LEN)
}

/// Changes a word of an IPv4 header and updates the checksum.
pub(super) fn write_ipv4_word(packet: &mut [u8], at: usize, word: u16) -> Option<()> {
    let old = read_u16(packet, at)?;
    let checksum = read_u16(packet, ipv4_field::CHECKSUM)?;
    let updated = checksum::update(checksum, old, word);
    write(packet, at, word.to_be_bytes())?;
    write(packet, ipv4_field::CHECKSUM, updated.to_be_bytes())
}

/// Reads a field.
pub(super) fn read<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Reads a field of two bytes in network order.
pub(super) fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    read(bytes, at).map(u16::from_be_bytes)
}

/// Reads a field of four bytes in network order.
pub(super) fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    read(bytes, at).map(u32::from_be_bytes)
}

/// Writes a field.
pub(super) fn write<const N: usize>(bytes: &mut [u8], at: usize, field: [u8; N]) -> Option<()> {
    *bytes.get_mut(at..)?.first_chunk_mut()? = field;
    Some(())
}
