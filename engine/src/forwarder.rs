//! The decision about each packet (backends.md, 3.6).

use core::net::{Ipv4Addr, SocketAddrV4};

use crate::counter::PacketCounters;
use crate::drop_reason::DropReason;
use crate::forwarding_table::ForwardingTable;
use crate::time::Instant;

/// Decides about packets, one at a time, in place and without allocation; each worker has its own.
#[derive(Clone, Debug, Default)]
pub struct Forwarder {
    counters: PacketCounters,
}

/// What becomes of a packet that the kernel routed into the tunnel.
#[derive(Debug, Eq, PartialEq)]
pub enum Outbound<'a> {
    /// Send the packet, changed in place, to this node.
    Send(SocketAddrV4),
    /// Drop it and hand this ICMP error to the kernel instead.
    Reply {
        /// Why.
        reason: DropReason,
        /// The error: a whole IPv4 packet.
        error: &'a [u8],
    },
    /// Drop it.
    Drop(DropReason),
}

/// What becomes of a datagram that another node sent.
#[derive(Debug, Eq, PartialEq)]
pub enum Inbound<'a> {
    /// Hand the packet, changed in place, to the kernel.
    Deliver,
    /// Drop it and send this ICMP error back through the tunnel.
    Reply {
        /// Why.
        reason: DropReason,
        /// The node to send it to.
        to: SocketAddrV4,
        /// The error: a whole IPv4 packet.
        error: &'a [u8],
    },
    /// Drop it.
    Drop(DropReason),
}

impl Forwarder {
    /// Makes a forwarder with all counters at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decides about a packet read from the tunnel device.
    pub fn outbound(&mut self, _table: &ForwardingTable, _packet: &mut [u8], _now: Instant) -> Outbound<'_> {
        todo!()
    }

    /// Decides about a datagram's payload that came from the host `from`.
    pub fn inbound(
        &mut self,
        _table: &ForwardingTable,
        _from: Ipv4Addr,
        _packet: &mut [u8],
        _now: Instant,
    ) -> Inbound<'_> {
        todo!()
    }

    /// Returns the counters.
    pub const fn counters(&self) -> &PacketCounters {
        &self.counters
    }
}
