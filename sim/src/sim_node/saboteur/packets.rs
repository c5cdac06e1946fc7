//! Changing what a forwarder makes of packets.

use std::net::{Ipv4Addr, SocketAddrV4};

use selvedge_engine::DropReason;

use super::Saboteur;
use crate::packet::{self, Problem};
use crate::sabotage::Sabotage;
use crate::sim_node::PacketFate;

impl Saboteur {
    /// Returns a copy of a packet before the forwarder gets it, if it is going to be of use.
    pub(in crate::sim_node) fn copy(&self, packet: &[u8]) -> Option<Vec<u8>> {
        self.sabotage.map(|_| packet.to_vec())
    }

    /// Returns how often a datagram is sent.
    pub(in crate::sim_node) const fn sendings(&self) -> usize {
        match self.sabotage {
            Some(Sabotage::SendTwice) => 2,
            Some(_) | None => 1,
        }
    }

    /// Changes what becomes of a packet from the tunnel device; `before` is what it was.
    pub(in crate::sim_node) fn outbound(
        &mut self,
        before: &[u8],
        packet: &mut [u8],
        fate: PacketFate,
    ) -> PacketFate {
        match (self.sabotage, fate) {
            (Some(Sabotage::SendToOldPeer), PacketFate::Send(to)) => {
                let pod = packet::destination(packet).unwrap_or(Ipv4Addr::UNSPECIFIED);
                PacketFate::Send(*self.first_hops.entry(pod).or_insert(to))
            }
            (Some(Sabotage::Impersonate), PacketFate::Send(to)) => {
                let pod = packet::destination(packet).unwrap_or(Ipv4Addr::UNSPECIFIED);
                packet::set_source(packet, pod);
                PacketFate::Send(to)
            }
            (Some(Sabotage::LosePackets), PacketFate::Send(to)) => {
                self.count += 1;
                if self.count.is_multiple_of(16) {
                    return PacketFate::Drop(DropReason::NoRoute);
                }
                PacketFate::Send(to)
            }
            (Some(Sabotage::KeepTtl), PacketFate::Send(to)) => {
                packet.copy_from_slice(before);
                PacketFate::Send(to)
            }
            (Some(Sabotage::BreakChecksums), PacketFate::Send(to)) => {
                flip_checksum(packet);
                PacketFate::Send(to)
            }
            (Some(Sabotage::AnswerEverything), PacketFate::Drop(reason @ DropReason::NoRoute)) => {
                match packet::icmp_error(Problem::NetUnreachable, REPORTER, packet) {
                    Some(error) => PacketFate::Reply {
                        reason,
                        to: None,
                        error,
                    },
                    None => PacketFate::Drop(reason),
                }
            }
            (_, fate) => fate,
        }
    }

    /// Changes what becomes of a datagram that another node sent.
    pub(in crate::sim_node) fn inbound(
        &self,
        from: SocketAddrV4,
        packet: &mut [u8],
        fate: PacketFate,
    ) -> PacketFate {
        match (self.sabotage, fate) {
            (Some(Sabotage::TakeAnySource), PacketFate::Drop(DropReason::ForeignSource)) => {
                packet::decrement_ttl(packet);
                PacketFate::Deliver
            }
            (Some(Sabotage::AnswerNoise), PacketFate::Drop(reason @ DropReason::NotIpv4)) => {
                PacketFate::Reply {
                    reason,
                    to: Some(from),
                    error: packet.to_vec(),
                }
            }
            (_, fate) => fate,
        }
    }
}

/// Whoever it is that makes an error.
const REPORTER: Ipv4Addr = Ipv4Addr::new(10, 5, 0, 1);

fn flip_checksum(packet: &mut [u8]) {
    if let Some(byte) = packet.get_mut(10) {
        *byte ^= 1;
    }
}
