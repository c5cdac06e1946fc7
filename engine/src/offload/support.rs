//! What the tests of segmentation and coalescing share: packets from a sketch, and another parser's judgement.

use core::num::NonZeroU16;
use std::vec::Vec;

use etherparse::checksum::Sum16BitWords;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};

use super::*;

/// The flags of TCP.
pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const PSH: u8 = 0x08;
pub(super) const ACK: u8 = 0x10;
pub(super) const URG: u8 = 0x20;
pub(super) const ECE: u8 = 0x40;
pub(super) const CWR: u8 = 0x80;

/// What merges everything that may be merged.
pub(super) const ALL: CoalescerOptions = CoalescerOptions {
    capacity: 1_000,
    tcp: Merging::On,
    udp: Merging::On,
};

/// What a packet is made from; its lengths and checksums are right.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Sketch {
    pub(super) ip: Ip,
    pub(super) ttl: u8,
    pub(super) type_of_service: u8,
    /// The last byte of the source's address.
    pub(super) host: u8,
    pub(super) port: u16,
    pub(super) transport: SketchedTransport,
    pub(super) payload: Vec<u8>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Ip {
    V4 {
        id: u16,
        /// The word of flags and offset.
        fragmentation: u16,
        options: Vec<u8>,
    },
    V6 {
        label: u16,
        /// Extension headers, the first of type `first`, the last of which names the transport.
        first: Option<u8>,
        extensions: Vec<u8>,
    },
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum SketchedTransport {
    Tcp(TcpSketch),
    Udp,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct TcpSketch {
    pub(super) sequence: u32,
    pub(super) acknowledgment: u32,
    pub(super) flags: u8,
    pub(super) window: u16,
    pub(super) urgent: u16,
    pub(super) options: Vec<u8>,
}

impl Sketch {
    pub(super) fn tcp() -> Self {
        Self {
            ip: Ip::V4 {
                id: 1_000,
                fragmentation: 0x4000,
                options: Vec::new(),
            },
            ttl: 63,
            type_of_service: 0,
            host: 2,
            port: 40_000,
            transport: SketchedTransport::Tcp(TcpSketch {
                sequence: 1_000_000,
                acknowledgment: 77,
                flags: ACK,
                window: 512,
                urgent: 0,
                options: Vec::new(),
            }),
            payload: bytes(100),
        }
    }

    pub(super) fn udp() -> Self {
        Self {
            transport: SketchedTransport::Udp,
            ..Self::tcp()
        }
    }

    pub(super) fn over_v6(self) -> Self {
        let ip = Ip::V6 {
            label: 0x1234,
            first: None,
            extensions: Vec::new(),
        };
        Self { ip, ..self }
    }

    pub(super) fn of(mut self, payload_len: usize) -> Self {
        self.payload = bytes(payload_len);
        self
    }

    /// Sets the identification.
    pub(super) fn numbered(mut self, number: u16) -> Self {
        if let Ip::V4 { id, .. } = &mut self.ip {
            *id = number;
        }
        self
    }

    /// Sets the word of flags and offset.
    pub(super) fn fragmented(mut self, word: u16) -> Self {
        if let Ip::V4 { fragmentation, .. } = &mut self.ip {
            *fragmentation = word;
        }
        self
    }

    pub(super) fn with_tcp(mut self, change: impl FnOnce(&mut TcpSketch)) -> Self {
        if let SketchedTransport::Tcp(tcp) = &mut self.transport {
            change(tcp);
        }
        self
    }

    pub(super) fn with_flags(self, flags: u8) -> Self {
        self.with_tcp(|tcp| tcp.flags = flags)
    }

    /// Returns the sketch of the packet that a sender sends next, with as much payload.
    pub(super) fn next(&self) -> Self {
        let sent = u32::try_from(self.payload.len()).unwrap();
        let mut next = self.clone().with_tcp(|tcp| {
            tcp.sequence = tcp.sequence.wrapping_add(sent);
            tcp.flags &= !CWR;
        });
        if let Ip::V4 { id, .. } = &mut next.ip {
            *id = id.wrapping_add(1);
        }
        next.payload = self.payload.iter().map(|byte| byte.wrapping_add(1)).collect();
        next
    }

    /// Returns the sketches of so many packets in a row.
    pub(super) fn train(&self, len: usize) -> Vec<Self> {
        core::iter::successors(Some(self.clone()), |last| Some(last.next()))
            .take(len)
            .collect()
    }

    /// Makes the packet.
    pub(super) fn packet(&self) -> Vec<u8> {
        completed(&self.unfinished())
    }

    /// Makes a super-packet with a partial checksum, and its vnet header.
    pub(super) fn super_packet(&self, segment_size: usize) -> (VnetHeader, Vec<u8>) {
        let mut packet = self.packet();
        let start = packet.len() - self.transport().len();
        let offset = self.checksum_offset();
        let partial = naive_sum(&self.pseudo_header(packet.len() - start));
        packet[start + offset..start + offset + 2].copy_from_slice(&partial.to_be_bytes());
        let header = VnetHeader::Super {
            gso: Gso {
                kind: self.kind(),
                size: NonZeroU16::new(u16::try_from(segment_size).unwrap()).unwrap(),
            },
            checksum: PartialChecksum {
                start: u16::try_from(start).unwrap(),
                offset: u16::try_from(offset).unwrap(),
            },
            header_len: u16::try_from(packet.len() - self.payload.len()).unwrap(),
        };
        (header, packet)
    }

    pub(super) fn kind(&self) -> GsoKind {
        match (&self.transport, &self.ip) {
            (SketchedTransport::Udp, _) => GsoKind::Udp,
            (SketchedTransport::Tcp(tcp), Ip::V4 { .. }) => GsoKind::TcpV4(tcp.ecn()),
            (SketchedTransport::Tcp(tcp), Ip::V6 { .. }) => GsoKind::TcpV6(tcp.ecn()),
        }
    }

    fn checksum_offset(&self) -> usize {
        match self.transport {
            SketchedTransport::Tcp(_) => 16,
            SketchedTransport::Udp => 6,
        }
    }

    fn protocol(&self) -> u8 {
        match self.transport {
            SketchedTransport::Tcp(_) => 6,
            SketchedTransport::Udp => 17,
        }
    }

    fn addresses(&self) -> Vec<u8> {
        match self.ip {
            Ip::V4 { .. } => [[10, 5, 1, self.host], [10, 5, 2, 3]].concat(),
            Ip::V6 { .. } => {
                let mut addresses = [[0xfd, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9]; 2].concat();
                addresses[15] = self.host;
                addresses
            }
        }
    }

    fn pseudo_header(&self, transport_len: usize) -> Vec<u8> {
        let mut header = self.addresses();
        header.extend([0, self.protocol()]);
        header.extend(u32::try_from(transport_len).unwrap().to_be_bytes());
        header
    }

    /// Makes the packet with checksums of zero.
    fn unfinished(&self) -> Vec<u8> {
        let transport = self.transport();
        let mut packet = Vec::new();
        match &self.ip {
            Ip::V4 {
                id,
                fragmentation,
                options,
            } => {
                let header_len = 20 + options.len();
                let total_len = u16::try_from(header_len + transport.len()).unwrap();
                packet.push(0x40 | u8::try_from(header_len / 4).unwrap());
                packet.push(self.type_of_service);
                packet.extend(total_len.to_be_bytes());
                packet.extend(id.to_be_bytes());
                packet.extend(fragmentation.to_be_bytes());
                packet.extend([self.ttl, self.protocol(), 0, 0]);
                packet.extend(self.addresses());
                packet.extend(options);
            }
            Ip::V6 {
                label,
                first,
                extensions,
            } => {
                let payload_len = u16::try_from(extensions.len() + transport.len()).unwrap();
                packet.push(0x60 | self.type_of_service >> 4);
                packet.push(self.type_of_service << 4);
                packet.extend(label.to_be_bytes());
                packet.extend(payload_len.to_be_bytes());
                packet.extend([first.unwrap_or(self.protocol()), self.ttl]);
                packet.extend(self.addresses());
                packet.extend(extensions);
            }
        }
        packet.extend(transport);
        packet
    }

    fn transport(&self) -> Vec<u8> {
        let mut transport = Vec::new();
        transport.extend(self.port.to_be_bytes());
        transport.extend(5_001_u16.to_be_bytes());
        match &self.transport {
            SketchedTransport::Tcp(tcp) => {
                let words = u8::try_from(5 + tcp.options.len() / 4).unwrap();
                transport.extend(tcp.sequence.to_be_bytes());
                transport.extend(tcp.acknowledgment.to_be_bytes());
                transport.extend([words << 4, tcp.flags]);
                transport.extend(tcp.window.to_be_bytes());
                transport.extend([0, 0]);
                transport.extend(tcp.urgent.to_be_bytes());
                transport.extend(&tcp.options);
            }
            SketchedTransport::Udp => {
                let len = u16::try_from(8 + self.payload.len()).unwrap();
                transport.extend(len.to_be_bytes());
                transport.extend([0, 0]);
            }
        }
        transport.extend(&self.payload);
        transport
    }
}

impl TcpSketch {
    fn ecn(&self) -> Ecn {
        if self.flags & CWR == 0 {
            Ecn::Plain
        } else {
            Ecn::Cwr
        }
    }
}

/// What came out of a coalescer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Output {
    pub(super) header: VnetHeader,
    pub(super) packet: Vec<u8>,
    pub(super) segments: usize,
}

/// Cuts what a TUN device gave into whole packets.
pub(super) fn cut(header: &VnetHeader, packet: &[u8]) -> Result<Vec<Vec<u8>>, OffloadError> {
    let mut packet = packet.to_vec();
    match Segmentation::prepare(header, &mut packet)? {
        Segmentation::Whole => Ok(Vec::from([packet])),
        Segmentation::Cut(super_packet) => Ok(segments(&super_packet, &packet)),
    }
}

/// Makes whole packets of a super-packet's segments.
pub(super) fn segments(super_packet: &SuperPacket, packet: &[u8]) -> Vec<Vec<u8>> {
    let segment = |index| {
        let mut segment = std::vec![0; super_packet.header_len()];
        super_packet.write_header(packet, index, &mut segment).unwrap();
        segment.extend(&packet[super_packet.payload(index)]);
        segment
    };
    (0..super_packet.segments()).map(segment).collect()
}

/// Merges packets that lie in an arena with gaps.
pub(super) fn coalesce(options: CoalescerOptions, packets: &[Vec<u8>]) -> Vec<Output> {
    let mut coalescer = Coalescer::new(options);
    let mut arena = Vec::new();
    let mut ranges = Vec::new();
    for packet in packets {
        arena.push(0xee);
        ranges.push(arena.len()..arena.len() + packet.len());
        arena.extend(packet);
    }
    for range in ranges {
        coalescer.push(&arena, range).unwrap();
    }
    flush(&mut coalescer, &mut arena)
}

pub(super) fn flush(coalescer: &mut Coalescer, arena: &mut [u8]) -> Vec<Output> {
    let mut outputs = Vec::new();
    coalescer.flush(arena, |coalesced, arena| {
        let ranges: Vec<_> = coalesced.ranges().collect();
        assert_eq!(ranges.len(), coalesced.segments());
        outputs.push(Output {
            header: coalesced.header(),
            packet: ranges
                .into_iter()
                .flat_map(|range| arena[range].to_vec())
                .collect(),
            segments: coalesced.segments(),
        });
    });
    outputs
}

/// Returns how many received packets each output is made of.
pub(super) fn counts(outputs: &[Output]) -> Vec<usize> {
    outputs.iter().map(|output| output.segments).collect()
}

/// Returns the packet with its checksums as the other parser computes them.
pub(super) fn completed(packet: &[u8]) -> Vec<u8> {
    let mut completed = packet.to_vec();
    if packet[0] >> 4 == 4 {
        let header_len = usize::from(packet[0] & 0x0f) * 4;
        completed[10..12].copy_from_slice(&[0, 0]);
        let sum = Sum16BitWords::new().add_slice(&completed[..header_len]);
        completed[10..12].copy_from_slice(&sum.ones_complement().to_ne_bytes());
    }
    let sliced = SlicedPacket::from_ip(packet).expect("the packet is valid");
    let (field, checksum) = match (sliced.net, sliced.transport) {
        (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) => {
            let checksum = tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination());
            (16, checksum.unwrap())
        }
        (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Tcp(tcp))) => {
            let checksum = tcp.calc_checksum_ipv6(ip.header().source(), ip.header().destination());
            (16, checksum.unwrap())
        }
        (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) => {
            let header = udp.to_header();
            let checksum =
                header.calc_checksum_ipv4_raw(ip.header().source(), ip.header().destination(), udp.payload());
            (6, checksum.unwrap())
        }
        (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Udp(udp))) => {
            let header = udp.to_header();
            let checksum =
                header.calc_checksum_ipv6_raw(ip.header().source(), ip.header().destination(), udp.payload());
            (6, checksum.unwrap())
        }
        _ => return completed,
    };
    let at = transport_start(packet) + field;
    completed[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    completed
}

/// Checks that all packets are valid.
pub(super) fn assert_all_valid(packets: &[Vec<u8>]) {
    for packet in packets {
        assert_valid(packet);
    }
}

/// Checks that the packet is valid to another parser, lengths and checksums included.
pub(super) fn assert_valid(packet: &[u8]) {
    let sliced = SlicedPacket::from_ip(packet).expect("the packet is valid");
    let len = match sliced.net.expect("the packet has an IP header") {
        NetSlice::Ipv4(ip) => usize::from(ip.header().total_len()),
        NetSlice::Ipv6(ip) => 40 + usize::from(ip.header().payload_length()),
        NetSlice::Arp(_) => panic!("the packet is ARP"),
    };
    assert_eq!(len, packet.len());
    assert_eq!(completed(packet), packet);
}

/// Returns the payload of a packet, as another parser sees it.
pub(super) fn payload(packet: &[u8]) -> &[u8] {
    match SlicedPacket::from_ip(packet)
        .expect("the packet is valid")
        .transport
    {
        Some(TransportSlice::Tcp(tcp)) => tcp.payload(),
        Some(TransportSlice::Udp(udp)) => udp.payload(),
        transport => panic!("the packet has no payload: {transport:?}"),
    }
}

/// Returns bytes of no particular kind.
pub(super) fn bytes(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| u8::try_from((at * 7 + at / 251) % 256).unwrap())
        .collect()
}

fn transport_start(packet: &[u8]) -> usize {
    if packet[0] >> 4 == 4 {
        return usize::from(packet[0] & 0x0f) * 4;
    }
    let (mut next, mut at) = (packet[6], 40);
    while matches!(next, 0 | 60) {
        (next, at) = (packet[at], at + (usize::from(packet[at + 1]) + 1) * 8);
    }
    at
}

/// Sums words up one by one (RFC 1071).
fn naive_sum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for word in bytes.chunks(2) {
        sum += u32::from(word[0]) * 256 + u32::from(word.get(1).copied().unwrap_or(0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}
