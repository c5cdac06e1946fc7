//! What a received packet says that matters for merging it.

use core::num::NonZeroU16;
use core::ops::Range;

use super::super::headers::{
    Addresses, Form, Headers, IpVersion, PORTS, Transport, ipv4_field, read, read_u16, tcp_field, tcp_flag,
    udp_field,
};
use super::{CoalescerOptions, Merging};

/// What was found out about a packet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Reading {
    /// Nothing at all.
    Nothing,
    /// Between which addresses it passes, but it has no readable transport, or is one that is never merged.
    Addresses(Addresses),
    /// Its flow; it is not to be merged.
    Flow(Flow),
    /// It may be merged: its checksum is right.
    Segment(Segment),
}

/// Packets whose order matters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Flow {
    pub(super) addresses: Addresses,
    transport: Transport,
    ports: [u8; 4],
}

/// A packet that may be merged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Segment {
    pub(super) flow: Flow,
    pub(super) headers: Headers,
    /// Of IPv4.
    pub(super) identification: Option<u16>,
    /// In the arena.
    pub(super) payload: Range<usize>,
    traits: Traits,
    tcp: Option<Tcp>,
}

/// Fields of the IP header that are the same in all packets of an item.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Traits {
    V4 {
        type_of_service: u8,
        flags: [u8; 2],
        ttl: u8,
    },
    V6 {
        class_and_label: [u8; 4],
        hop_limit: u8,
    },
}

/// Fields of the TCP header.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Tcp {
    sequence: u32,
    acknowledgment: [u8; 4],
    /// With the reserved bits.
    data_offset: u8,
    flags: u8,
    window: [u8; 2],
    /// The urgent pointer and the options, in the arena.
    rest: Range<usize>,
}

impl Segment {
    /// Reads a packet that lies in the arena from `start` on.
    pub(super) fn read(packet: &[u8], start: usize, options: CoalescerOptions) -> Reading {
        let Some(addresses) = Addresses::parse(packet) else {
            return Reading::Nothing;
        };
        let Ok(headers) = Headers::parse(packet) else {
            return Reading::Addresses(addresses);
        };
        let Some(ports) = read(packet, headers.transport_start + PORTS) else {
            return Reading::Addresses(addresses);
        };
        match headers.form {
            Form::Extended => return Reading::Addresses(addresses),
            Form::Plain => {}
        }
        let flow = Flow {
            addresses,
            transport: headers.transport,
            ports,
        };
        match options.merging(headers.transport) {
            Merging::Off => return Reading::Flow(flow),
            Merging::On => {}
        }
        Self::read_payload(packet, start, flow, headers).map_or(Reading::Flow(flow), Reading::Segment)
    }

    fn read_payload(packet: &[u8], start: usize, flow: Flow, headers: Headers) -> Option<Self> {
        let transport = packet.get(headers.transport_start..)?;
        let tcp = match headers.transport {
            Transport::Tcp => Some(Tcp::read(transport, start, &headers)?),
            Transport::Udp => None,
        };
        let is_fit = headers.payload_start < packet.len()
            && match &tcp {
                Some(tcp) => tcp.flags & (tcp_flag::SYN | tcp_flag::RST | tcp_flag::URG) == 0,
                None => read_u16(transport, usize::from(udp_field::CHECKSUM)) != Some(0),
            };
        if !is_fit || !has_right_checksum(packet, &headers) {
            return None;
        }
        Some(Self {
            flow,
            headers,
            identification: match headers.version {
                IpVersion::V4 => Some(read_u16(packet, ipv4_field::IDENTIFICATION)?),
                IpVersion::V6 => None,
            },
            payload: start.checked_add(headers.payload_start)?..start.checked_add(packet.len())?,
            traits: Traits::read(packet, headers.version)?,
            tcp,
        })
    }

    /// Tells whether nothing may be merged after it.
    pub(super) fn is_last(&self) -> bool {
        self.flags() & (tcp_flag::PSH | tcp_flag::FIN) != 0
    }

    /// Returns the flags of TCP.
    pub(super) fn flags(&self) -> u8 {
        self.tcp.as_ref().map_or(0, |tcp| tcp.flags)
    }

    /// Tells whether it must not be fragmented, so that its identification does not matter (RFC 6864, 4.1).
    pub(super) const fn is_atomic(&self) -> bool {
        match self.traits {
            Traits::V4 { flags: [high, _], .. } => high & 0x40 != 0,
            Traits::V6 { .. } => true,
        }
    }

    /// Returns what a super-packet that begins with it is cut into.
    pub(super) fn segment_size(&self) -> Option<NonZeroU16> {
        NonZeroU16::new(u16::try_from(self.payload.len()).ok()?)
    }

    /// Tells whether a packet of the flow is its continuation after `payload_len` bytes, by all that the transport
    /// and the IP header say except the identification.
    pub(super) fn is_followed_by(&self, arena: &[u8], next: &Self, payload_len: usize) -> bool {
        self.traits == next.traits
            && match (&self.tcp, &next.tcp) {
                (Some(first), Some(next)) => first.is_followed_by(arena, next, payload_len),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            }
    }
}

impl Traits {
    fn read(packet: &[u8], version: IpVersion) -> Option<Self> {
        match version {
            IpVersion::V4 => {
                let [_, type_of_service, _, _, _, _, flags1, flags0, ttl] = read(packet, 0)?;
                Some(Self::V4 {
                    type_of_service,
                    flags: [flags1, flags0],
                    ttl,
                })
            }
            IpVersion::V6 => {
                let [c3, c2, c1, c0, _, _, _, hop_limit] = read(packet, 0)?;
                Some(Self::V6 {
                    class_and_label: [c3, c2, c1, c0],
                    hop_limit,
                })
            }
        }
    }
}

impl Tcp {
    fn read(transport: &[u8], start: usize, headers: &Headers) -> Option<Self> {
        let [data_offset, flags] = read(transport, tcp_field::DATA_OFFSET)?;
        let rest = start.checked_add(headers.transport_start + tcp_field::URGENT_POINTER)?;
        Some(Self {
            sequence: u32::from_be_bytes(read(transport, tcp_field::SEQUENCE)?),
            acknowledgment: read(transport, tcp_field::ACKNOWLEDGMENT)?,
            data_offset,
            flags,
            window: read(transport, tcp_field::WINDOW)?,
            rest: rest..start.checked_add(headers.payload_start)?,
        })
    }

    fn is_followed_by(&self, arena: &[u8], next: &Self, payload_len: usize) -> bool {
        let Ok(payload_len) = u32::try_from(payload_len) else {
            return false;
        };
        // What ends an item is not on its first packet, CWR is on no other.
        let flags = next.flags & !(tcp_flag::PSH | tcp_flag::FIN);
        self.sequence.wrapping_add(payload_len) == next.sequence
            && self.acknowledgment == next.acknowledgment
            && self.data_offset == next.data_offset
            && self.flags & !tcp_flag::CWR == flags
            && self.window == next.window
            && arena.get(self.rest.clone()) == arena.get(next.rest.clone())
    }
}

fn has_right_checksum(packet: &[u8], headers: &Headers) -> bool {
    let sum = headers
        .full_pseudo_header_sum(packet, packet.len())
        .and_then(|sum| Some(sum.bytes(packet.get(headers.transport_start..)?)));
    sum.is_some_and(|sum| sum.value() == 0xffff)
}
