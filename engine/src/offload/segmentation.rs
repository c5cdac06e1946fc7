//! Segmentation: what a TUN device gives becomes packets for the wire.

use core::num::NonZeroUsize;
use core::ops::Range;

use super::error::OffloadError;
use super::headers::{
    Headers, IpVersion, PORTS, Transport, ipv4_field, read, read_u16, read_u32, tcp_field, tcp_flag,
    udp_field, write, write_ipv4_word,
};
use super::vnet_header::{Gso, GsoKind, PartialChecksum, VnetHeader};
use crate::checksum::Sum;

/// What is to be done with what was read from a TUN device.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Segmentation {
    /// The packet is sent as it is.
    Whole,
    /// The packet is sent in segments.
    Cut(SuperPacket),
}

/// A super-packet that is sent in two or more segments, none of which is copied.
///
/// Each segment is its own header of [`header_len`](Self::header_len) bytes, which
/// [`write_header`](Self::write_header) makes, and a [`payload`](Self::payload) that lies in the super-packet. All
/// segments but the last are [`segment_len`](Self::segment_len) bytes long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SuperPacket {
    headers: Headers,
    len: usize,
    segment_size: NonZeroUsize,
    segments: usize,
    /// The sum of the pseudo-header and the transport header without what differs between segments.
    common_sum: Sum,
}

impl Segmentation {
    /// Makes a packet that was read ready to be sent, or tells how to cut it.
    ///
    /// A packet that is [`Whole`](Self::Whole) has its checksum completed; a super-packet is not changed. It does
    /// not matter whether the TTL is lowered before or after.
    ///
    /// # Errors
    ///
    /// If the header and the packet do not agree, or the packet is not valid as far as it was looked at: everything
    /// up to the payload of a super-packet, the place of the checksum of another. The packet is then unchanged.
    pub fn prepare(header: &VnetHeader, packet: &mut [u8]) -> Result<Self, OffloadError> {
        match *header {
            VnetHeader::Complete => Ok(Self::Whole),
            VnetHeader::Partial(checksum) => {
                complete_checksum(packet, checksum)?;
                Ok(Self::Whole)
            }
            // Its header length is a hint; the packet itself tells.
            VnetHeader::Super { gso, checksum, .. } => Self::prepare_super(gso, checksum, packet),
        }
    }

    fn prepare_super(gso: Gso, checksum: PartialChecksum, packet: &mut [u8]) -> Result<Self, OffloadError> {
        let super_packet = SuperPacket::parse(gso, checksum, packet)?;
        if super_packet.segments > 1 {
            return Ok(Self::Cut(super_packet));
        }
        let sum = super_packet
            .checksum_of(packet, 0)
            .ok_or(OffloadError::BadTransportHeader)?;
        super_packet
            .headers
            .write_checksum(packet, sum)
            .ok_or(OffloadError::BadTransportHeader)?;
        Ok(Self::Whole)
    }
}

impl SuperPacket {
    /// The most segments of a super-packet.
    ///
    /// Linux lets a TCP segment have as few as 8 bytes of payload (`TCP_MIN_SND_MSS`, less the options), so that many
    /// fit into 64 KiB. One message with `UDP_SEGMENT` takes far fewer: a driver sends several.
    pub const MAX_SEGMENTS: usize = 8_192;

    /// Returns the number of segments, two at least.
    pub const fn segments(&self) -> usize {
        self.segments
    }

    /// Returns the length of the header of each segment, IP and transport, in bytes.
    pub const fn header_len(&self) -> usize {
        self.headers.payload_start
    }

    /// Returns the length of each segment but the last as an IP packet, in bytes: what must fit into the MTU.
    pub const fn segment_len(&self) -> usize {
        self.headers.payload_start + self.segment_size.get()
    }

    /// Returns where the payload of a segment lies in the super-packet; it is empty beyond the last segment.
    pub fn payload(&self, index: usize) -> Range<usize> {
        let start = index
            .saturating_mul(self.segment_size.get())
            .saturating_add(self.headers.payload_start)
            .min(self.len);
        start..start.saturating_add(self.segment_size.get()).min(self.len)
    }

    /// Writes the header of a segment, with its own lengths, identification, sequence number, flags and checksums.
    ///
    /// `packet` is the super-packet itself, whose TTL may have been lowered since it was parsed; its IPv4 checksum
    /// must be right. Segments count their IPv4 identification up (RFC 6864, 4.2); FIN and PSH go to the last
    /// segment alone, CWR to the first.
    ///
    /// It is `None` if there is no such segment, if `out` is not [`header_len`](Self::header_len) bytes long, or if
    /// `packet` is not the super-packet.
    pub fn write_header(&self, packet: &[u8], index: usize, out: &mut [u8]) -> Option<()> {
        if index >= self.segments || out.len() != self.header_len() || packet.len() != self.len {
            return None;
        }
        out.copy_from_slice(packet.get(..self.header_len())?);
        let total_len = self.header_len() + self.payload(index).len();
        self.headers.write_lengths(out, total_len)?;
        match self.headers.version {
            IpVersion::V4 => {
                let identification = read_u16(packet, ipv4_field::IDENTIFICATION)?;
                let counted = identification.wrapping_add(u16::try_from(index).ok()?);
                write_ipv4_word(out, ipv4_field::IDENTIFICATION, counted)?;
            }
            IpVersion::V6 => {}
        }
        match self.headers.transport {
            Transport::Tcp => {
                let start = self.headers.transport_start;
                write(
                    out,
                    start + tcp_field::SEQUENCE,
                    self.sequence(packet, index)?.to_be_bytes(),
                )?;
                write(out, start + tcp_field::FLAGS, [self.flags(packet, index)?])?;
            }
            Transport::Udp => {}
        }
        self.headers.write_checksum(out, self.checksum_of(packet, index)?)
    }

    fn parse(gso: Gso, checksum: PartialChecksum, packet: &[u8]) -> Result<Self, OffloadError> {
        let headers = Headers::parse(packet)?;
        if !is_of_kind(&headers, gso.kind) {
            return Err(OffloadError::KindMismatch);
        }
        if headers.partial_checksum() != Some(checksum) {
            return Err(OffloadError::ChecksumMisplaced);
        }
        let segment_size = NonZeroUsize::from(gso.size);
        let segments = (packet.len() - headers.payload_start).div_ceil(segment_size.get());
        if segments > Self::MAX_SEGMENTS {
            return Err(OffloadError::TooManySegments);
        }
        if segments > 1 && has_flags_for_one_alone(&headers, packet) {
            return Err(OffloadError::BadTcpFlags);
        }
        Ok(Self {
            headers,
            len: packet.len(),
            segment_size,
            segments,
            common_sum: common_sum(&headers, packet).ok_or(OffloadError::BadTransportHeader)?,
        })
    }

    fn checksum_of(&self, packet: &[u8], index: usize) -> Option<u16> {
        let payload = packet.get(self.payload(index))?;
        let transport_len = self.headers.payload_start - self.headers.transport_start + payload.len();
        let transport_len = u16::try_from(transport_len).ok()?;
        // The length is a part of the pseudo-header.
        let sum = self.common_sum.bytes(payload).word(transport_len);
        let sum = match self.headers.transport {
            Transport::Tcp => sum
                .double_word(self.sequence(packet, index)?)
                .word(u16::from(self.flags(packet, index)?)),
            Transport::Udp => sum.word(transport_len),
        };
        Some(self.headers.transport.checksum(sum.value()))
    }

    fn sequence(&self, packet: &[u8], index: usize) -> Option<u32> {
        let first = read_u32(packet, self.headers.transport_start + tcp_field::SEQUENCE)?;
        let before = u32::try_from(index.checked_mul(self.segment_size.get())?).ok()?;
        Some(first.wrapping_add(before))
    }

    fn flags(&self, packet: &[u8], index: usize) -> Option<u8> {
        let [mut flags] = read(packet, self.headers.transport_start + tcp_field::FLAGS)?;
        if index > 0 {
            flags &= !tcp_flag::CWR;
        }
        if index + 1 < self.segments {
            flags &= !(tcp_flag::FIN | tcp_flag::PSH);
        }
        Some(flags)
    }
}

/// Completes a partial checksum: one that covers everything from its start to the packet's end.
fn complete_checksum(packet: &mut [u8], checksum: PartialChecksum) -> Result<(), OffloadError> {
    let (start, offset) = (usize::from(checksum.start), usize::from(checksum.offset));
    if start < ip_header_len(packet).ok_or(OffloadError::BadIpHeader)? {
        return Err(OffloadError::ChecksumOutside);
    }
    let covered = packet.get_mut(start..).ok_or(OffloadError::ChecksumOutside)?;
    let sum = Sum::default().bytes(covered).value();
    // The field's place tells UDP, also inside of another tunnel's packet.
    let completed = if checksum.offset == udp_field::CHECKSUM {
        Transport::Udp.checksum(sum)
    } else {
        Transport::Tcp.checksum(sum)
    };
    write(covered, offset, completed.to_be_bytes()).ok_or(OffloadError::ChecksumOutside)
}

/// Returns the length of the IP header, which no checksum of a transport lies in.
fn ip_header_len(packet: &[u8]) -> Option<usize> {
    let first = packet.first()?;
    match first >> 4 {
        4 => Some(usize::from(first & 0x0f) * 4),
        6 => Some(40),
        _ => None,
    }
}

fn is_of_kind(headers: &Headers, kind: GsoKind) -> bool {
    match kind {
        GsoKind::TcpV4(_) => headers.version == IpVersion::V4 && headers.transport == Transport::Tcp,
        GsoKind::TcpV6(_) => headers.version == IpVersion::V6 && headers.transport == Transport::Tcp,
        GsoKind::Udp => headers.transport == Transport::Udp,
    }
}

fn has_flags_for_one_alone(headers: &Headers, packet: &[u8]) -> bool {
    let at = headers.transport_start + tcp_field::FLAGS;
    headers.transport == Transport::Tcp
        && read(packet, at)
            .is_some_and(|[flags]| flags & (tcp_flag::SYN | tcp_flag::RST | tcp_flag::URG) != 0)
}

/// Sums up the pseudo-header without the length, and the transport header without sequence number, flags, length
/// and checksum.
fn common_sum(headers: &Headers, packet: &[u8]) -> Option<Sum> {
    let transport = packet.get(headers.transport_start..headers.payload_start)?;
    let sum = headers.pseudo_header_sum(packet)?;
    Some(match headers.transport {
        Transport::Tcp => {
            let [data_offset] = read(transport, tcp_field::DATA_OFFSET)?;
            sum.double_word(read_u32(transport, PORTS)?)
                .double_word(read_u32(transport, tcp_field::ACKNOWLEDGMENT)?)
                .word(u16::from_be_bytes([data_offset, 0]))
                .word(read_u16(transport, tcp_field::WINDOW)?)
                .bytes(transport.get(tcp_field::URGENT_POINTER..)?)
        }
        Transport::Udp => sum.double_word(read_u32(transport, PORTS)?),
    })
}

#[cfg(test)]
mod tests;
