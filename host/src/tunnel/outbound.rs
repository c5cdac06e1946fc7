//! From the tunnel device to other nodes.

use std::io::{self, IoSlice};
use std::net::SocketAddrV4;
use std::ops::Range;

use selvedge_engine::{OffloadError, Outbound, Segmentation, SuperPacket, VnetHeader};

use super::device::{Framing, PacketDevice, deliver};
use super::wake_up::WakeUp;
use super::wire::{MAX_LEN, MAX_SEGMENTS, Message, PacketSocket, Wire};

/// How many packets are read in one wake-up, super-packets among them.
const BATCH: usize = 64;

/// The most bytes that a read can yield: a header and the largest packet that an IPv4 header can announce.
const LARGEST_READ: usize = VnetHeader::LEN + 65_536;

/// Room for some super-packets, or for many small packets that go into one message.
const ARENA: usize = 4 * LARGEST_READ;

/// Room for the headers of all the segments in a message.
const HEADERS: usize = 16_384;

/// What was read from the device and is not sent yet.
///
/// Packets for one node that are equally long go into one message, so that one system call sends them all. Nothing
/// is copied but headers.
#[derive(Debug)]
pub(super) struct OutboundBatch {
    arena: Vec<u8>,
    used: usize,
    headers: Vec<u8>,
    headers_used: usize,
    parts: Vec<Part>,
    ends: Vec<usize>,
    open: Option<OpenMessage>,
}

/// A part of a datagram.
#[derive(Clone, Debug)]
enum Part {
    Packet(Range<usize>),
    Header(Range<usize>),
}

/// A message that may still grow: so far all its datagrams are equally long.
#[derive(Clone, Copy, Debug)]
struct OpenMessage {
    to: SocketAddrV4,
    segment_len: usize,
}

impl OutboundBatch {
    pub(super) fn new() -> Self {
        Self {
            arena: vec![0; ARENA],
            used: 0,
            headers: vec![0; HEADERS],
            headers_used: 0,
            parts: Vec::with_capacity(2 * MAX_SEGMENTS),
            ends: Vec::with_capacity(MAX_SEGMENTS),
            open: None,
        }
    }

    /// Carries what the device has, at most a batch.
    ///
    /// # Errors
    ///
    /// If the device is gone.
    pub(super) fn carry<S: PacketSocket>(
        &mut self,
        device: &impl PacketDevice,
        wire: &mut Wire<S>,
        wake_up: &mut WakeUp<'_>,
    ) -> io::Result<()> {
        let carried = self.carry_batch(device, wire, wake_up);
        self.flush(wire, wake_up);
        carried
    }

    fn carry_batch<S: PacketSocket>(
        &mut self,
        device: &impl PacketDevice,
        wire: &mut Wire<S>,
        wake_up: &mut WakeUp<'_>,
    ) -> io::Result<()> {
        for _ in 0..BATCH {
            // What is used again soon stays in the nearest cache.
            if self.open.is_none() || self.arena.len() - self.used < LARGEST_READ {
                self.flush(wire, wake_up);
            }
            let room = self.arena.get_mut(self.used..).unwrap_or_default();
            match device.try_recv(room) {
                Ok(len) => self.take(len, device, wire, wake_up),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Decides about what was read just now.
    fn take<S: PacketSocket>(
        &mut self,
        len: usize,
        device: &impl PacketDevice,
        wire: &mut Wire<S>,
        wake_up: &mut WakeUp<'_>,
    ) {
        let read = self.used..self.used + len;
        let Some(table) = wake_up.table else {
            wake_up.counters.count_too_early();
            return;
        };
        let bytes = self.arena.get_mut(read.clone()).unwrap_or_default();
        let (segmentation, packet, start) = match unframe(device.offloads().framing, bytes) {
            Ok(unframed) => unframed,
            Err(error) => {
                tracing::trace!(reason = error.name(), "the device gave a packet that is none");
                wake_up.counters.count_bad_offload();
                return;
            }
        };
        let decision = match &segmentation {
            Segmentation::Whole => wake_up.forwarder.outbound(table, packet, wake_up.now),
            Segmentation::Cut(cut) => wake_up.forwarder.outbound_super(table, packet, cut, wake_up.now),
        };
        match decision {
            Outbound::Send(to) => {
                let packet = read.start + start..read.end;
                self.used = read.end;
                self.push(packet, segmentation, to, wire, wake_up);
            }
            Outbound::Reply { reason, error } => {
                tracing::trace!(reason = reason.name(), "answered a packet from this node");
                if let Err(error) = deliver(device, error) {
                    wake_up.counters.count_deliver_error(&error);
                }
            }
            Outbound::Drop(reason) => {
                tracing::trace!(reason = reason.name(), "dropped a packet from this node");
            }
        }
    }

    fn push<S: PacketSocket>(
        &mut self,
        packet: Range<usize>,
        segmentation: Segmentation,
        to: SocketAddrV4,
        wire: &mut Wire<S>,
        wake_up: &mut WakeUp<'_>,
    ) {
        match segmentation {
            Segmentation::Whole => {
                self.make_room(packet.len(), 0, to, wire, wake_up);
                self.parts.push(Part::Packet(packet.clone()));
                self.close_datagram(packet.len(), to, wire, wake_up);
            }
            Segmentation::Cut(cut) => {
                for index in 0..cut.segments() {
                    self.push_segment(&packet, &cut, index, to, wire, wake_up);
                }
            }
        }
    }

    fn push_segment<S: PacketSocket>(
        &mut self,
        packet: &Range<usize>,
        cut: &SuperPacket,
        index: usize,
        to: SocketAddrV4,
        wire: &mut Wire<S>,
        wake_up: &mut WakeUp<'_>,
    ) {
        let payload = cut.payload(index);
        let len = cut.header_len() + payload.len();
        self.make_room(len, cut.header_len(), to, wire, wake_up);
        let header = self.headers_used..self.headers_used + cut.header_len();
        let written = self
            .headers
            .get_mut(header.clone())
            .and_then(|header| cut.write_header(self.arena.get(packet.clone())?, index, header));
        if written.is_none() {
            wake_up.counters.count_bad_offload();
            return;
        }
        self.headers_used = header.end;
        self.parts.push(Part::Header(header));
        let payload = packet.start + payload.start..packet.start + payload.end;
        self.parts.push(Part::Packet(payload));
        self.close_datagram(len, to, wire, wake_up);
    }

    /// Sends the open message, unless a datagram of this length to this node fits into it.
    fn make_room<S: PacketSocket>(
        &mut self,
        len: usize,
        header_len: usize,
        to: SocketAddrV4,
        wire: &mut Wire<S>,
        wake_up: &mut WakeUp<'_>,
    ) {
        let fits = self.open.is_none_or(|open| {
            open.to == to
                && len <= open.segment_len
                && open.segment_len * self.ends.len() + len <= MAX_LEN
                && self.ends.len() < wire.max_segments()
                && self.headers_used + header_len <= self.headers.len()
        });
        if !fits {
            self.send(wire, wake_up);
        }
    }

    /// Counts the parts that were pushed last as a datagram of the open message, and sends it if it cannot grow.
    fn close_datagram<S: PacketSocket>(
        &mut self,
        len: usize,
        to: SocketAddrV4,
        wire: &mut Wire<S>,
        wake_up: &mut WakeUp<'_>,
    ) {
        self.ends.push(self.parts.len());
        let open = self.open.get_or_insert(OpenMessage { to, segment_len: len });
        if len < open.segment_len || self.ends.len() == wire.max_segments() {
            self.send(wire, wake_up);
        }
    }

    /// Sends the open message, and begins the arena anew.
    fn flush<S: PacketSocket>(&mut self, wire: &mut Wire<S>, wake_up: &mut WakeUp<'_>) {
        self.send(wire, wake_up);
        self.used = 0;
    }

    fn send<S: PacketSocket>(&mut self, wire: &mut Wire<S>, wake_up: &mut WakeUp<'_>) {
        let Some(open) = self.open.take() else {
            return;
        };
        let mut slices = [IoSlice::new(&[]); 2 * MAX_SEGMENTS];
        for (slice, part) in slices.iter_mut().zip(&self.parts) {
            let bytes = match part {
                Part::Packet(range) => self.arena.get(range.clone()),
                Part::Header(range) => self.headers.get(range.clone()),
            };
            *slice = IoSlice::new(bytes.unwrap_or_default());
        }
        let message = Message {
            to: open.to,
            segment_len: u16::try_from(open.segment_len).unwrap_or(u16::MAX),
            parts: slices.get(..self.parts.len()).unwrap_or_default(),
            ends: &self.ends,
        };
        wire.send(message, wake_up);
        self.parts.clear();
        self.ends.clear();
        self.headers_used = 0;
    }
}

/// Takes off what stands before a packet, and returns how to cut the packet, the packet, and where it begins.
fn unframe(framing: Framing, bytes: &mut [u8]) -> Result<(Segmentation, &mut [u8], usize), OffloadError> {
    match framing {
        Framing::Bare => Ok((Segmentation::Whole, bytes, 0)),
        Framing::Vnet => {
            let (header, packet) = bytes
                .split_first_chunk_mut::<{ VnetHeader::LEN }>()
                .ok_or(OffloadError::BadIpHeader)?;
            let segmentation = Segmentation::prepare(&VnetHeader::parse(header)?, packet)?;
            Ok((segmentation, packet, VnetHeader::LEN))
        }
    }
}
