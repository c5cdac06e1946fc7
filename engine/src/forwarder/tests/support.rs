//! Packets and a table for the forwarder's tests.

use std::vec::Vec;

use etherparse::{Icmpv4Header, Icmpv4Type, Ipv4HeaderSlice, PacketBuilder};

use super::super::*;
use crate::forwarding_table::TunnelParams;
use crate::offload::{Gso, GsoKind, PartialChecksum, Segmentation, VnetHeader};

pub(super) const OWN: Ipv4Addr = Ipv4Addr::new(10, 5, 1, 2);
pub(super) const PEER: Ipv4Addr = Ipv4Addr::new(10, 5, 2, 2);
pub(super) const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 5, 9, 2);
pub(super) const PEER_NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub(super) const STRANGE_NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 66);
pub(super) const TUNNEL: Ipv4Addr = Ipv4Addr::new(10, 5, 1, 0);
pub(super) const MTU: usize = 1472;

/// [`Outbound`] with an error of its own.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Out {
    Send(SocketAddrV4),
    Reply(DropReason, Vec<u8>),
    Drop(DropReason),
}

impl From<Outbound<'_>> for Out {
    fn from(decision: Outbound<'_>) -> Self {
        match decision {
            Outbound::Send(to) => Self::Send(to),
            Outbound::Reply { reason, error } => Self::Reply(reason, error.to_vec()),
            Outbound::Drop(reason) => Self::Drop(reason),
        }
    }
}

/// [`Inbound`] with an error of its own.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum In {
    Deliver,
    Reply(DropReason, SocketAddrV4, Vec<u8>),
    Drop(DropReason),
}

impl From<Inbound<'_>> for In {
    fn from(decision: Inbound<'_>) -> Self {
        match decision {
            Inbound::Deliver => Self::Deliver,
            Inbound::Reply { reason, to, error } => Self::Reply(reason, to, error.to_vec()),
            Inbound::Drop(reason) => Self::Drop(reason),
        }
    }
}

pub(super) fn outbound(packet: &mut [u8]) -> Out {
    Forwarder::new()
        .outbound(&table(Membership::Enforce), packet, Instant::ZERO)
        .into()
}

pub(super) fn inbound(membership: Membership, from: Ipv4Addr, packet: &mut [u8]) -> In {
    Forwarder::new()
        .inbound(&table(membership), from, packet, Instant::ZERO)
        .into()
}

pub(super) fn table(membership: Membership) -> ForwardingTable {
    let params = TunnelParams {
        network: "10.5.0.0/16".parse().unwrap(),
        subnet: "10.5.1.0/24".parse().unwrap(),
        address: TUNNEL,
        mtu: 1472,
        port: 8285,
        membership,
    };
    let peers = [
        ("10.5.2.0/24".parse().unwrap(), PEER_NODE),
        ("10.5.3.0/24".parse().unwrap(), Ipv4Addr::new(192, 0, 2, 3)),
    ];
    ForwardingTable::new(params, peers)
}

pub(super) fn ip_source_and_destination(packet: &[u8]) -> (Ipv4Addr, Ipv4Addr) {
    let header = Ipv4HeaderSlice::from_slice(packet).unwrap();
    (header.source_addr(), header.destination_addr())
}

pub(super) fn icmp_kind(packet: &[u8]) -> Icmpv4Type {
    Icmpv4Header::from_slice(&packet[20..]).unwrap().0.icmp_type
}

pub(super) fn udp(source: Ipv4Addr, destination: Ipv4Addr, ttl: u8) -> Vec<u8> {
    udp_with(source, destination, ttl, b"payload")
}

pub(super) fn udp_with(source: Ipv4Addr, destination: Ipv4Addr, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4(source.octets(), destination.octets(), ttl)
        .udp(40_000, 9_999)
        .write_to_vec(&mut packet, payload)
        .unwrap();
    packet
}

/// A super-packet of UDP for the peer, not to be fragmented, and how it is cut into segments of `size` bytes of payload.
pub(super) fn super_packet(payload_len: usize, size: u16) -> (Vec<u8>, SuperPacket) {
    let mut packet = udp_with(OWN, PEER, 63, &std::vec![1; payload_len]);
    let header = VnetHeader::Super {
        gso: Gso {
            kind: GsoKind::Udp,
            size: size.try_into().unwrap(),
        },
        checksum: PartialChecksum { start: 20, offset: 6 },
        header_len: 28,
    };
    match Segmentation::prepare(&header, &mut packet) {
        Ok(Segmentation::Cut(cut)) => (packet, cut),
        other => panic!("{other:?}"),
    }
}

pub(super) fn echo_request(source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4(source.octets(), destination.octets(), 63)
        .icmpv4_echo_request(1, 1)
        .write_to_vec(&mut packet, b"payload")
        .unwrap();
    packet
}

#[derive(Clone, Copy)]
pub(super) enum DontFragment {
    Set,
    Clear,
}

/// A packet of `len` bytes for the peer.
pub(super) fn sized(len: usize, dont_fragment: DontFragment) -> Vec<u8> {
    let mut packet = udp_with(OWN, PEER, 63, &std::vec![7; len - 28]);
    packet[6] = match dont_fragment {
        DontFragment::Set => 0x40,
        DontFragment::Clear => 0,
    };
    with_right_checksum(packet)
}

pub(super) fn with_right_checksum(mut packet: Vec<u8>) -> Vec<u8> {
    let header = Ipv4HeaderSlice::from_slice(&packet).unwrap().to_header();
    packet[10..12].copy_from_slice(&header.calc_header_checksum().to_be_bytes());
    packet
}
