//! Coalescing: received packets become super-packets for a TUN device.

use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::ops::Range;

use thiserror::Error;

use super::headers::{Headers, IpVersion, Transport, read, tcp_field, tcp_flag, write};
use super::vnet_header::{Ecn, Gso, GsoKind, VnetHeader};
use segment::{Flow, Reading, Segment};

mod segment;

/// The most flows with an item that may still grow.
const MAX_OPEN: usize = 8;

/// The largest super-packet, in bytes.
const MAX_LEN: usize = 65_535;

/// Merges received packets into super-packets, without a copy.
///
/// The packets are ranges of one arena, which holds all receive buffers. Packets are pushed as they were received,
/// after the forwarder has let them pass, and flushed before the arena is used again. Between two flushes the arena
/// must not change.
///
/// Packets are merged if a kernel would make the same packets of the super-packet again: they are of one flow, follow
/// each other without a gap, and differ in nothing but lengths, checksums, IPv4 identifications that count up (or
/// stay the same where the packet must not be fragmented: RFC 6864, 4.1) and sequence numbers. PSH and FIN end an
/// item, a packet that is shorter than the first does too, CWR only begins one. A packet is only merged if its own
/// checksums are right: the kernel does not check them again. Everything else is passed on unchanged.
///
/// Items come out in the order in which their first packets came in. Within a flow no packet overtakes another.
#[derive(Clone, Debug)]
pub struct Coalescer {
    options: CoalescerOptions,
    items: Vec<Item>,
    /// Packets that were merged into the items, each in the list of its own.
    parts: Vec<Part>,
    /// The oldest first.
    open: Vec<OpenItem>,
}

/// What a coalescer does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CoalescerOptions {
    /// How many packets it holds at most between two flushes.
    pub capacity: usize,
    /// Whether it merges TCP segments: the device must have a vnet header (`IFF_VNET_HDR`).
    pub tcp: Merging,
    /// Whether it merges UDP datagrams: the kernel must also know `VIRTIO_NET_HDR_GSO_UDP_L4` (since 6.2).
    pub udp: Merging,
}

/// Whether packets of a protocol are merged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Merging {
    /// They are.
    On,
    /// They are passed on as they came.
    Off,
}

/// Why a packet was not taken.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum PushError {
    /// The capacity is used up: flush, then push it again.
    #[error("the coalescer is full")]
    Full,
    /// The range is not a range of the arena.
    #[error("the packet lies outside of the arena")]
    OutsideArena,
}

/// A packet or a super-packet for a TUN device.
#[derive(Clone, Copy, Debug)]
pub struct Coalesced<'a> {
    header: VnetHeader,
    item: &'a Item,
    parts: &'a [Part],
}

/// A packet, and what was merged into it.
#[derive(Clone, Debug)]
struct Item {
    packet: Range<usize>,
    merged: Option<Merged>,
}

/// The packets that were merged into a first one.
#[derive(Clone, Copy, Debug)]
struct Merged {
    headers: Headers,
    segment_size: NonZeroU16,
    segments: usize,
    /// The length of the super-packet, in bytes.
    len: usize,
    /// The flags of TCP on the last segment.
    last_flags: u8,
    first_part: usize,
    last_part: usize,
}

/// The payload of a packet that was merged into another.
#[derive(Clone, Debug)]
struct Part {
    payload: Range<usize>,
    next: Option<usize>,
}

/// An item that may still grow.
#[derive(Clone, Debug)]
struct OpenItem {
    /// Which one of the items.
    item: usize,
    /// The packet that it began with.
    first: Segment,
    segments: usize,
    len: usize,
    ids: Identifications,
}

/// What the IPv4 identifications of an item's packets do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Identifications {
    /// There is one so far.
    One,
    CountUp,
    StayTheSame,
}

impl Coalescer {
    /// The most packets that are merged into one: what the kernel takes for UDP (`UDP_GRO_CNT_MAX`).
    pub const MAX_SEGMENTS: usize = 64;

    /// Makes a coalescer, and reserves all the memory that it ever needs.
    pub fn new(options: CoalescerOptions) -> Self {
        Self {
            options,
            items: Vec::with_capacity(options.capacity),
            parts: Vec::with_capacity(options.capacity),
            open: Vec::with_capacity(MAX_OPEN),
        }
    }

    /// Tells whether it holds no packet.
    pub const fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Tells whether it takes no more packets until it is flushed.
    pub const fn is_full(&self) -> bool {
        self.items.len() + self.parts.len() >= self.options.capacity
    }

    /// Takes a packet: a range of the arena that holds the whole packet and nothing else.
    ///
    /// # Errors
    ///
    /// If there is no room left, or the range does not lie in the arena; the packet is then not taken.
    pub fn push(&mut self, arena: &[u8], packet: Range<usize>) -> Result<(), PushError> {
        if self.is_full() {
            return Err(PushError::Full);
        }
        let bytes = arena.get(packet.clone()).ok_or(PushError::OutsideArena)?;
        if self.options.merges_nothing() {
            self.pass(packet);
            return Ok(());
        }
        match Segment::read(bytes, packet.start, self.options) {
            Reading::Nothing => {
                self.open.clear();
                self.pass(packet);
            }
            Reading::Addresses(addresses) => {
                self.open.retain(|open| open.first.flow.addresses != addresses);
                self.pass(packet);
            }
            Reading::Flow(flow) => {
                self.close(&flow);
                self.pass(packet);
            }
            Reading::Segment(segment) => self.take(arena, packet, segment),
        }
        Ok(())
    }

    /// Hands all packets on, in order, and is empty then.
    ///
    /// `emit` gets each packet or super-packet with the arena, which it is made of. Headers of super-packets are
    /// changed in the arena: lengths, IPv4 checksum, PSH and FIN, and the transport's checksum becomes partial.
    pub fn flush(&mut self, arena: &mut [u8], mut emit: impl FnMut(Coalesced<'_>, &[u8])) {
        for item in &self.items {
            let header = item.complete(arena).unwrap_or(VnetHeader::Complete);
            let coalesced = Coalesced {
                header,
                item,
                parts: &self.parts,
            };
            emit(coalesced, arena);
        }
        self.items.clear();
        self.parts.clear();
        self.open.clear();
    }

    /// Makes an item that does not grow.
    fn pass(&mut self, packet: Range<usize>) {
        self.items.push(Item { packet, merged: None });
    }

    /// Ends the growth of the flow's item.
    fn close(&mut self, flow: &Flow) {
        if let Some(slot) = self.open.iter().position(|open| open.first.flow == *flow) {
            self.open.remove(slot);
        }
    }

    /// Merges a packet that is fit for it into its flow's item, or makes a new one of it.
    fn take(&mut self, arena: &[u8], packet: Range<usize>, segment: Segment) {
        let slot = self.open.iter().position(|open| open.first.flow == segment.flow);
        if let Some(slot) = slot {
            if self.append(arena, slot, &segment).is_some() {
                return;
            }
            self.open.remove(slot);
        }
        self.begin(packet, segment);
    }

    /// Merges a packet into an open item, if it is its continuation.
    fn append(&mut self, arena: &[u8], slot: usize, segment: &Segment) -> Option<()> {
        let open = self.open.get_mut(slot)?;
        let ids = open.continues_with(arena, segment)?;
        let item = self.items.get_mut(open.item)?;
        let part = self.parts.len();
        open.ids = ids;
        open.segments += 1;
        open.len += segment.payload.len();
        match &mut item.merged {
            Some(merged) => {
                self.parts.get_mut(merged.last_part)?.next = Some(part);
                merged.last_part = part;
                merged.segments = open.segments;
                merged.len = open.len;
                merged.last_flags = segment.flags();
            }
            None => {
                item.merged = Some(Merged {
                    headers: open.first.headers,
                    segment_size: open.first.segment_size()?,
                    segments: open.segments,
                    len: open.len,
                    last_flags: segment.flags(),
                    first_part: part,
                    last_part: part,
                });
            }
        }
        self.parts.push(Part {
            payload: segment.payload.clone(),
            next: None,
        });
        let is_last = segment.is_last()
            || segment.payload.len() < open.first.payload.len()
            || open.segments == Self::MAX_SEGMENTS;
        if is_last {
            self.open.remove(slot);
        }
        Some(())
    }

    /// Begins an item.
    fn begin(&mut self, packet: Range<usize>, first: Segment) {
        let item = self.items.len();
        let len = packet.len();
        self.pass(packet);
        if first.is_last() {
            return;
        }
        if self.open.len() == MAX_OPEN {
            self.open.remove(0);
        }
        self.open.push(OpenItem {
            item,
            first,
            segments: 1,
            len,
            ids: Identifications::One,
        });
    }
}

impl CoalescerOptions {
    const fn merges_nothing(self) -> bool {
        matches!((self.tcp, self.udp), (Merging::Off, Merging::Off))
    }

    const fn merging(self, transport: Transport) -> Merging {
        match transport {
            Transport::Tcp => self.tcp,
            Transport::Udp => self.udp,
        }
    }
}

impl<'a> Coalesced<'a> {
    /// Returns the header to be written before the packet.
    pub const fn header(&self) -> VnetHeader {
        self.header
    }

    /// Returns how many received packets it is made of.
    pub const fn segments(&self) -> usize {
        match self.item.merged {
            Some(merged) => merged.segments,
            None => 1,
        }
    }

    /// Returns the ranges of the arena that make up the packet, one after the other: the first packet as a whole,
    /// then the payloads of the others. There are as many as [`segments`](Self::segments).
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + use<'a> {
        let parts = self.parts;
        let first = self.item.merged.map(|merged| merged.first_part);
        let merged = core::iter::successors(first.and_then(|first| parts.get(first)), |part| {
            parts.get(part.next?)
        });
        core::iter::once(self.item.packet.clone()).chain(merged.map(|part| part.payload.clone()))
    }
}

impl Item {
    /// Makes the first packet's header that of the super-packet, and returns what is to be written before it.
    fn complete(&self, arena: &mut [u8]) -> Option<VnetHeader> {
        let merged = self.merged.as_ref()?;
        let headers = &merged.headers;
        let packet = arena.get_mut(self.packet.clone())?;
        headers.write_lengths(packet, merged.len)?;
        let pseudo_header = headers.full_pseudo_header_sum(packet, merged.len)?;
        headers.write_checksum(packet, pseudo_header.value())?;
        let kind = match headers.transport {
            Transport::Tcp => {
                let ecn = write_last_flags(packet, headers, merged.last_flags)?;
                match headers.version {
                    IpVersion::V4 => GsoKind::TcpV4(ecn),
                    IpVersion::V6 => GsoKind::TcpV6(ecn),
                }
            }
            Transport::Udp => GsoKind::Udp,
        };
        Some(VnetHeader::Super {
            gso: Gso {
                kind,
                size: merged.segment_size,
            },
            checksum: headers.partial_checksum()?,
            header_len: u16::try_from(headers.payload_start).ok()?,
        })
    }
}

/// Adds the flags of the last segment to the first one's header, which may lack PSH and FIN, and tells whether it
/// has CWR.
fn write_last_flags(packet: &mut [u8], headers: &Headers, last: u8) -> Option<Ecn> {
    let at = headers.transport_start + tcp_field::FLAGS;
    let [flags] = read(packet, at)?;
    write(packet, at, [flags | last])?;
    Some(if flags & tcp_flag::CWR == 0 {
        Ecn::Plain
    } else {
        Ecn::Cwr
    })
}

impl OpenItem {
    /// Tells whether a packet of the flow continues the item, and what the identifications do then.
    fn continues_with(&self, arena: &[u8], next: &Segment) -> Option<Identifications> {
        let continues = next.payload.len() <= self.first.payload.len()
            && self.len + next.payload.len() <= MAX_LEN
            && self.first.is_followed_by(arena, next, self.payload_len());
        if !continues {
            return None;
        }
        self.identifications_with(next)
    }

    fn payload_len(&self) -> usize {
        self.len - self.first.headers.payload_start
    }

    fn identifications_with(&self, next: &Segment) -> Option<Identifications> {
        let (Some(first), Some(next)) = (self.first.identification, next.identification) else {
            return Some(Identifications::CountUp);
        };
        let counts = usize::from(next.wrapping_sub(first)) == self.segments;
        let stays = next == first && self.first.is_atomic();
        match self.ids {
            Identifications::One | Identifications::CountUp if counts => Some(Identifications::CountUp),
            Identifications::One | Identifications::StayTheSame if stays => {
                Some(Identifications::StayTheSame)
            }
            Identifications::One | Identifications::CountUp | Identifications::StayTheSame => None,
        }
    }
}

#[cfg(test)]
mod tests;
