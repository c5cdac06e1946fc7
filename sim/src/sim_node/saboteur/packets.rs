//! Changing what a forwarder makes of packets.

use selvedge_engine::DropReason;

use super::Saboteur;
use crate::packet;
use crate::sabotage::Sabotage;
use crate::sim_node::PacketFate;

impl Saboteur {
    /// Returns a copy of a packet before the forwarder gets it, if it is going to be of use.
    pub(in crate::sim_node) fn copy(&self, packet: &[u8]) -> Option<Vec<u8>> {
        self.sabotage.map(|_| packet.to_vec())
    }

    /// Changes what becomes of a packet from the tunnel device; `before` is what it was.
    pub(in crate::sim_node) fn outbound(
        &mut self,
        before: &[u8],
        packet: &mut [u8],
        fate: PacketFate,
    ) -> PacketFate {
        let (Some(sabotage), PacketFate::Send(to)) = (self.sabotage, &fate) else {
            return fate;
        };
        match sabotage {
            Sabotage::SendToOldPeer => {
                let to = match packet::destination(packet) {
                    Some(pod) => *self.first_hops.entry(pod).or_insert(*to),
                    None => *to,
                };
                return PacketFate::Send(to);
            }
            Sabotage::LosePackets => {
                self.count += 1;
                if self.count.is_multiple_of(16) {
                    return PacketFate::Drop(DropReason::NoRoute);
                }
            }
            Sabotage::KeepTtl => packet.copy_from_slice(before),
            Sabotage::BreakChecksums => {
                if let Some(byte) = packet.get_mut(10) {
                    *byte ^= 1;
                }
            }
            Sabotage::WriteBlindly
            | Sabotage::CarryOn
            | Sabotage::StayDue
            | Sabotage::Hammer
            | Sabotage::OpenManyWatches
            | Sabotage::WriteIllegibly
            | Sabotage::Miscount
            | Sabotage::EndReservations
            | Sabotage::SitIdle => {}
        }
        fate
    }
}
