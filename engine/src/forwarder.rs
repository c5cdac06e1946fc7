//! The decision about each packet (backends.md, 3.6).

mod path_mtus;

use core::net::{Ipv4Addr, SocketAddrV4};

use self::path_mtus::PathMtus;

use crate::counter::PacketCounters;
use crate::drop_reason::DropReason;
use crate::forwarding_table::ForwardingTable;
use crate::icmp::{IcmpErrors, Problem};
use crate::ipv4::{self, Ipv4Header};
use crate::offload::SuperPacket;
use crate::setup::Membership;
use crate::time::Instant;

/// Decides about packets, one at a time, in place and without allocation; each worker has its own.
///
/// Of every packet exactly one of `sent`, `delivered` and the drop reasons is counted.
#[derive(Clone, Debug)]
pub struct Forwarder {
    counters: PacketCounters,
    /// About packets from this node, and about packets from others: a flood from one side does not use up the
    /// errors that the other side is owed.
    outbound_errors: IcmpErrors,
    inbound_errors: IcmpErrors,
    path_mtus: PathMtus,
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
    pub const fn new() -> Self {
        Self {
            counters: PacketCounters::new(),
            outbound_errors: IcmpErrors::new(),
            inbound_errors: IcmpErrors::new(),
            path_mtus: PathMtus::new(),
        }
    }

    /// Decides about a packet read from the tunnel device.
    ///
    /// The packet is the whole of what was read. It is changed only if it is to be sent: its TTL is lowered by
    /// one. An ICMP error in the answer goes to the packet's source, from the tunnel's address.
    pub fn outbound(&mut self, table: &ForwardingTable, packet: &mut [u8], now: Instant) -> Outbound<'_> {
        let alone = OnTheWire {
            packets: 1,
            bytes: packet.len(),
            longest: packet.len(),
        };
        self.decide_outbound(table, packet, alone, now)
    }

    /// Decides about a super-packet read from the tunnel device, once for all of its segments.
    ///
    /// It is the same as [`Forwarder::outbound`], but what has to fit into the tunnel's MTU is each segment, and each
    /// counts as sent.
    pub fn outbound_super(
        &mut self,
        table: &ForwardingTable,
        packet: &mut [u8],
        super_packet: &SuperPacket,
        now: Instant,
    ) -> Outbound<'_> {
        let segments = OnTheWire {
            packets: super_packet.segments(),
            bytes: packet.len(),
            longest: super_packet.segment_len(),
        };
        self.decide_outbound(table, packet, segments, now)
    }

    fn decide_outbound(
        &mut self,
        table: &ForwardingTable,
        packet: &mut [u8],
        on_the_wire: OnTheWire,
        now: Instant,
    ) -> Outbound<'_> {
        let routed = route(table, packet).and_then(|(header, next_hop)| {
            let mtu = self.path_mtus.limit(*next_hop.ip(), table.params().mtu, now);
            fit(on_the_wire.longest, mtu, header)?;
            Ok(next_hop)
        });
        let refusal = match routed {
            Ok(next_hop) => {
                ipv4::decrement_ttl(packet);
                self.counters.count_sent(on_the_wire.packets, on_the_wire.bytes);
                return Outbound::Send(next_hop);
            }
            Err(refusal) => refusal,
        };
        let reason = refusal.reason;
        match refuse(
            &mut self.counters,
            &mut self.outbound_errors,
            table,
            &refusal,
            packet,
            now,
        ) {
            Some(error) => Outbound::Reply { reason, error },
            None => Outbound::Drop(reason),
        }
    }

    /// Decides about a datagram's payload that came from the host `from`.
    ///
    /// The packet is the whole of the payload. It is changed only if it is to be delivered: its TTL is lowered
    /// by one. An ICMP error is only sent to a node whose lease covers the packet's source.
    pub fn inbound(
        &mut self,
        table: &ForwardingTable,
        from: Ipv4Addr,
        packet: &mut [u8],
        now: Instant,
    ) -> Inbound<'_> {
        let refusal = match admit(table, from, packet) {
            Ok(proof) => {
                ipv4::decrement_ttl(packet);
                self.count_delivered(packet.len(), proof);
                return Inbound::Deliver;
            }
            Err(refusal) => refusal,
        };
        let reason = refusal.reason;
        let to = SocketAddrV4::new(from, table.params().port);
        match refuse(
            &mut self.counters,
            &mut self.inbound_errors,
            table,
            &refusal,
            packet,
            now,
        ) {
            Some(error) => Inbound::Reply { reason, to, error },
            None => Inbound::Drop(reason),
        }
    }

    /// Takes note that the way to a node lets inner packets of at most so many bytes through.
    ///
    /// Larger ones that must not be fragmented are answered with that size for ten minutes, or until something else is
    /// learned. Of hosts that hold no lease nothing is learned: whoever forges ICMP errors shall not fill the memory.
    pub fn learn_path_mtu(&mut self, table: &ForwardingTable, node: Ipv4Addr, inner: u32, now: Instant) {
        if table.is_member(node) {
            self.path_mtus.learn(node, inner, now);
        }
    }

    /// Returns the largest inner packet that the way to a node lets through, in bytes, if that has been learned and is still
    /// believed.
    pub fn path_mtu(&self, node: Ipv4Addr, now: Instant) -> Option<u32> {
        self.path_mtus.get(node, now)
    }

    /// Returns the counters.
    pub const fn counters(&self) -> &PacketCounters {
        &self.counters
    }

    fn count_delivered(&mut self, bytes: usize, proof: Proof) {
        self.counters.count_delivered(bytes);
        match proof {
            Proof::Given => {}
            Proof::Missing => {
                self.counters.passed_unproven = self.counters.passed_unproven.wrapping_add(1);
            }
        }
    }
}

impl Default for Forwarder {
    fn default() -> Self {
        Self::new()
    }
}

/// Counts a refused packet and makes the ICMP error about it, if there is to be one.
fn refuse<'a>(
    counters: &mut PacketCounters,
    errors: &'a mut IcmpErrors,
    table: &ForwardingTable,
    refusal: &Refusal,
    packet: &[u8],
    now: Instant,
) -> Option<&'a [u8]> {
    counters.count_drop(refusal.reason);
    let (problem, header) = refusal.answer.as_ref()?;
    let error = errors.make(*problem, table.params().address, header, packet, now)?;
    counters.icmp_errors = counters.icmp_errors.wrapping_add(1);
    Some(error)
}

/// What a packet from the tunnel device becomes on the wire.
#[derive(Clone, Copy)]
struct OnTheWire {
    packets: usize,
    /// The bytes of all; the headers that a super-packet's segments share count once.
    bytes: usize,
    /// The length of the longest of them, in bytes.
    longest: usize,
}

/// Why a packet is not forwarded, and what its source is told.
struct Refusal {
    reason: DropReason,
    answer: Option<(Problem, Ipv4Header)>,
}

impl Refusal {
    const fn silent(reason: DropReason) -> Self {
        Self { reason, answer: None }
    }

    const fn answered(reason: DropReason, problem: Problem, header: Ipv4Header) -> Self {
        Self {
            reason,
            answer: Some((problem, header)),
        }
    }
}

/// Whether a lease covers a packet's sender and source, as far as it was asked for.
#[derive(Clone, Copy)]
enum Proof {
    Given,
    Missing,
}

/// Finds the node that a packet goes to, or the first rule that it breaks.
fn route(table: &ForwardingTable, packet: &[u8]) -> Result<(Ipv4Header, SocketAddrV4), Refusal> {
    let header = validate(table, packet).map_err(Refusal::silent)?;
    let Some(next_hop) = table.next_hop(header.destination) else {
        return Err(Refusal::answered(
            DropReason::NoRoute,
            Problem::NetUnreachable,
            header,
        ));
    };
    if header.ttl <= 1 {
        return Err(Refusal::answered(
            DropReason::TtlExceeded,
            Problem::TtlExceeded,
            header,
        ));
    }
    Ok((header, next_hop))
}

/// Refuses a packet that is too large for the way to its node.
fn fit(longest: usize, next_hop_mtu: u32, header: Ipv4Header) -> Result<(), Refusal> {
    let fits = u32::try_from(longest).is_ok_and(|len| len <= next_hop_mtu);
    // Without DF the kernel fragments the outer packet.
    if !fits && header.fragmentation.is_forbidden() {
        let problem = Problem::FragmentationNeeded { next_hop_mtu };
        return Err(Refusal::answered(DropReason::TooBig, problem, header));
    }
    Ok(())
}

/// Tells whether a packet from another node may be handed to the kernel, or the first rule that it breaks.
fn admit(table: &ForwardingTable, from: Ipv4Addr, packet: &[u8]) -> Result<Proof, Refusal> {
    let header = validate(table, packet).map_err(Refusal::silent)?;
    if !table.is_own(header.destination) {
        return Err(Refusal::silent(DropReason::NotOurs));
    }
    if table.is_own(header.source) {
        return Err(Refusal::silent(DropReason::OwnSource));
    }
    let proof = prove(table, from, header.source).map_err(Refusal::silent)?;
    if header.ttl > 1 {
        return Ok(proof);
    }
    // An error to anybody else would be traffic at a stranger's bidding.
    if table.is_held_by(from, header.source) {
        Err(Refusal::answered(
            DropReason::TtlExceeded,
            Problem::TtlExceeded,
            header,
        ))
    } else {
        Err(Refusal::silent(DropReason::TtlExceeded))
    }
}

/// Reads a packet's header and refuses addresses that are never forwarded.
fn validate(table: &ForwardingTable, packet: &[u8]) -> Result<Ipv4Header, DropReason> {
    let header = Ipv4Header::parse(packet)?;
    if ipv4::is_no_host(header.source) || table.is_broadcast(header.source) {
        return Err(DropReason::BadSource);
    }
    if ipv4::is_no_host(header.destination) || table.is_broadcast(header.destination) {
        return Err(DropReason::BadDestination);
    }
    Ok(header)
}

/// Compares a packet's sender and source with the leases.
fn prove(table: &ForwardingTable, from: Ipv4Addr, source: Ipv4Addr) -> Result<Proof, DropReason> {
    let membership = table.params().membership;
    if membership == Membership::Off || table.is_held_by(from, source) {
        return Ok(Proof::Given);
    }
    if membership == Membership::Log {
        return Ok(Proof::Missing);
    }
    if table.is_member(from) {
        Err(DropReason::ForeignSource)
    } else {
        Err(DropReason::UnknownSender)
    }
}

#[cfg(test)]
mod tests;
