//! A TCP super-packet as a TUN device gives it.

use std::num::NonZeroU16;

use etherparse::PacketBuilder;
use selvedge_engine::{Ecn, Gso, GsoKind, PartialChecksum, VnetHeader};

/// How many segments it has: as many as fit into 64 KiB.
pub(crate) const SEGMENTS: u32 = 48;
/// The payload of a segment, in bytes.
pub(crate) const SEGMENT_SIZE: u16 = 1_348;
/// The IPv4 and TCP headers, without options.
pub(crate) const HEADER_LEN: usize = 40;

const CHECKSUM: PartialChecksum = PartialChecksum {
    start: 20,
    offset: 16,
};

/// Returns the header before the super-packet, and the super-packet.
pub(crate) fn super_packet() -> (VnetHeader, Vec<u8>) {
    let payload = vec![0x5a; usize::from(SEGMENT_SIZE) * usize::try_from(SEGMENTS).unwrap()];
    let mut packet = vec![0; HEADER_LEN + payload.len()];
    PacketBuilder::ipv4([10, 50, 1, 2], [10, 50, 2, 2], 64)
        .tcp(40_000, 5_201, 1_000, 512)
        .ack(77)
        .write_to_slice(&mut packet, &payload)
        .unwrap();
    let header = VnetHeader::Super {
        gso: Gso {
            kind: GsoKind::TcpV4(Ecn::Plain),
            size: NonZeroU16::new(SEGMENT_SIZE).unwrap(),
        },
        checksum: CHECKSUM,
        header_len: u16::try_from(HEADER_LEN).unwrap(),
    };
    (header, packet)
}
