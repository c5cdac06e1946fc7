//! From other nodes to the tunnel device.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, SocketAddrV4};
use std::ops::Range;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use selvedge_engine::{Coalesced, Coalescer, CoalescerOptions, Inbound, Merging};

use super::device::{DeviceOffloads, Framing, PacketDevice};
use super::raw::{self, BATCH, Received};
use super::wake_up::WakeUp;
use super::wire::{PacketSocket, Wire};

/// The largest payload that the socket can yield at once, in bytes.
const SLOT: usize = 65_536;

/// The most datagrams that the kernel merges into one (`UDP_GRO_CNT_MAX`).
const MAX_MERGED: usize = 64;

/// The most parts of a packet for the device: its header, and the segments that it is made of.
const MAX_PARTS: usize = 1 + Coalescer::MAX_SEGMENTS;

/// Room for what is received in one wake-up.
#[derive(Debug)]
pub struct ReceiveBuffers {
    arena: Vec<u8>,
    received: Vec<Received>,
}

impl ReceiveBuffers {
    pub(crate) fn new() -> Self {
        Self {
            arena: vec![0; BATCH * SLOT],
            received: Vec::with_capacity(BATCH),
        }
    }

    /// Takes one datagram, which `receive` writes into the buffer that it is given; it returns the length and the sender.
    ///
    /// # Errors
    ///
    /// That of `receive`, and [`io::ErrorKind::InvalidData`] if the sender's address is not of IPv4.
    pub fn receive_one(
        &mut self,
        receive: impl FnOnce(&mut [u8]) -> io::Result<(usize, SocketAddr)>,
    ) -> io::Result<()> {
        let slot = self.arena.get_mut(..SLOT).unwrap_or_default();
        let (len, SocketAddr::V4(from)) = receive(slot)? else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        self.note(from, len, None);
        Ok(())
    }

    /// Takes datagrams that came at once, all of one length but the last.
    #[cfg(test)]
    pub(super) fn receive_merged(&mut self, from: SocketAddrV4, bytes: &[u8], segment_len: usize) {
        self.arena[..bytes.len()].copy_from_slice(bytes);
        self.note(from, bytes.len(), Some(segment_len).filter(|len| *len > 0));
    }

    #[cfg(test)]
    pub(crate) fn received(&self) -> &[Received] {
        &self.received
    }

    /// Takes as many datagrams as there are and fit.
    pub(crate) fn receive_batch(&mut self, socket: &impl AsRawFd) -> io::Result<()> {
        let received = &mut self.received;
        raw::receive(socket, &mut self.arena, SLOT, |next| received.push(next))
    }

    fn note(&mut self, from: SocketAddrV4, len: usize, segment_len: Option<usize>) {
        self.received.push(Received {
            from,
            len,
            segment_len,
            overflow: None,
        });
    }
}

/// What was received and is not delivered yet.
#[derive(Debug)]
pub(super) struct InboundBatch {
    buffers: ReceiveBuffers,
    coalescer: Coalescer,
    offloads: DeviceOffloads,
}

impl InboundBatch {
    pub(super) fn new(offloads: DeviceOffloads) -> Self {
        Self {
            buffers: ReceiveBuffers::new(),
            coalescer: coalescer(offloads),
            offloads,
        }
    }

    /// Carries what the socket has, at most a batch.
    ///
    /// # Errors
    ///
    /// The socket's, [`io::ErrorKind::WouldBlock`] if it has nothing.
    pub(super) fn carry<S: PacketSocket>(
        &mut self,
        device: &impl PacketDevice,
        wire: &Wire<S>,
        wake_up: &mut WakeUp<'_>,
    ) -> io::Result<()> {
        self.buffers.received.clear();
        wire.socket.try_recv(&mut self.buffers)?;
        for index in 0..self.buffers.received.len() {
            let Some(received) = self.buffers.received.get(index).copied() else {
                break;
            };
            if let Some(overflow) = received.overflow {
                wake_up.counters.note_overflow(overflow);
            }
            let start = index * SLOT;
            for datagram in datagrams(start..start + received.len, received.segment_len) {
                self.take(datagram, received.from, device, wire, wake_up);
            }
        }
        self.flush(device, wake_up);
        Ok(())
    }

    fn take<S: PacketSocket>(
        &mut self,
        datagram: Range<usize>,
        from: SocketAddrV4,
        device: &impl PacketDevice,
        wire: &Wire<S>,
        wake_up: &mut WakeUp<'_>,
    ) {
        let Some(table) = wake_up.table else {
            wake_up.counters.count_too_early();
            return;
        };
        let packet = self.buffers.arena.get_mut(datagram.clone()).unwrap_or_default();
        match wake_up.forwarder.inbound(table, *from.ip(), packet, wake_up.now) {
            Inbound::Deliver => self.push(datagram, device, wake_up),
            Inbound::Reply { reason, to, error } => {
                tracing::trace!(reason = reason.name(), %from, "answered a packet from the tunnel");
                wire.send_one(error, to, wake_up.counters);
            }
            Inbound::Drop(reason) => {
                tracing::trace!(reason = reason.name(), %from, "dropped a packet from the tunnel");
            }
        }
    }

    fn push(&mut self, packet: Range<usize>, device: &impl PacketDevice, wake_up: &mut WakeUp<'_>) {
        if self.coalescer.is_full() {
            self.flush(device, wake_up);
        }
        if let Err(error) = self.coalescer.push(&self.buffers.arena, packet) {
            tracing::trace!(%error, "cannot pass a packet on");
            wake_up.counters.count_bad_offload();
        }
    }

    /// Hands the kernel everything that was pushed.
    fn flush(&mut self, device: &impl PacketDevice, wake_up: &mut WakeUp<'_>) {
        let framing = self.offloads.framing;
        let mut refuses_merged = false;
        self.coalescer.flush(&mut self.buffers.arena, |packet, arena| {
            let Err(error) = write(device, framing, packet, arena) else {
                return;
            };
            refuses_merged |= packet.segments() > 1 && error.raw_os_error() == Some(Errno::EINVAL as i32);
            wake_up.counters.count_deliver_error(&error);
        });
        if refuses_merged {
            tracing::warn!(
                "the tunnel device refuses merged packets; handing them on one by one from now on"
            );
            self.offloads.tcp = Merging::Off;
            self.offloads.udp = Merging::Off;
            self.coalescer = coalescer(self.offloads);
        }
    }
}

fn coalescer(offloads: DeviceOffloads) -> Coalescer {
    Coalescer::new(CoalescerOptions {
        capacity: BATCH * MAX_MERGED,
        tcp: offloads.tcp,
        udp: offloads.udp,
    })
}

/// Returns where the datagrams lie that the kernel merged: all of one length but the last.
fn datagrams(all: Range<usize>, segment_len: Option<usize>) -> impl Iterator<Item = Range<usize>> {
    let step = segment_len.unwrap_or(all.len()).max(1);
    let end = all.end;
    let is_empty = all.is_empty().then(|| all.clone());
    all.step_by(step)
        .map(move |start| start..(start + step).min(end))
        .chain(is_empty)
}

fn write(
    device: &impl PacketDevice,
    framing: Framing,
    packet: Coalesced<'_>,
    arena: &[u8],
) -> io::Result<()> {
    let header = packet.header().to_bytes();
    let header: &[u8] = match framing {
        Framing::Bare => &[],
        Framing::Vnet => &header,
    };
    let mut parts = [IoSlice::new(&[]); MAX_PARTS];
    let mut count = 0;
    let ranges = packet.ranges().map(|range| arena.get(range).unwrap_or_default());
    let framed = std::iter::once(header)
        .chain(ranges)
        .filter(|part| !part.is_empty());
    for (part, bytes) in parts.iter_mut().zip(framed) {
        *part = IoSlice::new(bytes);
        count += 1;
    }
    device.try_send(parts.get(..count).unwrap_or_default())
}
