//! Datagrams that no node of the cluster sent, and that no pod may ever get.

use std::fmt;
use std::net::Ipv4Addr;

use selvedge_engine::Rng;
use serde::{Deserialize, Serialize};

use crate::packet;

/// What is wrong with a forged datagram.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Forgery {
    /// A host that holds no lease sends a packet as if it came from a pod of another node.
    Stranger,
    /// A node sends a packet with a source outside its own subnet.
    ForeignSource,
    /// A node sends a packet as if it came from the pod that it is for.
    OwnSource,
    /// A node sends a packet for an address outside the receiver's subnet.
    ForeignDestination,
    /// The header's checksum is wrong.
    BadChecksum,
    /// The packet ends before its header says.
    Truncated,
    /// The packet may not be passed on.
    LastHop,
    /// A packet from an address that no packet comes from.
    LoopbackSource,
    /// A packet for a group.
    GroupDestination,
    /// Random bytes.
    Noise,
}

/// What a forger knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings {
    /// The pod on the node that the datagram goes to.
    pub(crate) victim: Ipv4Addr,
    /// The pod on another node, and that node's underlay address.
    pub(crate) peer_pod: Ipv4Addr,
    pub(crate) peer: Ipv4Addr,
    /// The pod on a third node, if there is one.
    pub(crate) third_pod: Option<Ipv4Addr>,
}

impl Forgery {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Stranger,
        Self::ForeignSource,
        Self::OwnSource,
        Self::ForeignDestination,
        Self::BadChecksum,
        Self::Truncated,
        Self::LastHop,
        Self::LoopbackSource,
        Self::GroupDestination,
        Self::Noise,
    ];

    /// Makes a datagram's payload, and says which host it seems to come from.
    pub(crate) fn datagram(self, known: Surroundings, rng: &mut Rng) -> (Ipv4Addr, Vec<u8>) {
        let Surroundings {
            victim,
            peer_pod,
            peer,
            third_pod,
        } = known;
        let udp = |source, destination| packet::udp(source, destination, packet::TTL, b"forged");
        let honest = udp(peer_pod, victim);
        match self {
            Self::Stranger => (STRANGER, honest),
            Self::ForeignSource => (peer, udp(ELSEWHERE, victim)),
            Self::OwnSource => (peer, udp(victim, victim)),
            Self::ForeignDestination => (peer, udp(peer_pod, third_pod.unwrap_or(ELSEWHERE))),
            Self::BadChecksum => (peer, with_flipped_bit(honest, 10)),
            Self::Truncated => (peer, honest.into_iter().take(25).collect()),
            Self::LastHop => (peer, packet::udp(peer_pod, victim, 1, b"forged")),
            Self::LoopbackSource => (peer, udp(Ipv4Addr::LOCALHOST, victim)),
            Self::GroupDestination => (peer, udp(peer_pod, GROUP)),
            Self::Noise => {
                let length = 1 + rng.below(200);
                (peer, (0..length).map(|_| noise(rng)).collect())
            }
        }
    }
}

impl fmt::Display for Forgery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stranger => "from a host without a lease",
            Self::ForeignSource => "with a source outside its sender's subnet",
            Self::OwnSource => "with the receiver's own address as its source",
            Self::ForeignDestination => "for an address outside the receiver's subnet",
            Self::BadChecksum => "with a wrong header checksum",
            Self::Truncated => "shorter than its header says",
            Self::LastHop => "with a time to live of one",
            Self::LoopbackSource => "from the loopback address",
            Self::GroupDestination => "for a group",
            Self::Noise => "of random bytes",
        })
    }
}

/// A host that is no node (RFC 5737).
const STRANGER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);
/// All OSPF routers (RFC 2328).
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 5);
/// An address in no node's subnet.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 99);

fn with_flipped_bit(mut packet: Vec<u8>, at: usize) -> Vec<u8> {
    if let Some(byte) = packet.get_mut(at) {
        *byte ^= 1;
    }
    packet
}

/// The first four bits are never those of IPv4, so that noise is no packet by chance.
fn noise(rng: &mut Rng) -> u8 {
    u8::try_from(rng.below(0x40)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_forgery_looks_like_what_it_is() {
        let known = Surroundings {
            victim: Ipv4Addr::new(10, 5, 1, 2),
            peer_pod: Ipv4Addr::new(10, 5, 2, 2),
            peer: Ipv4Addr::new(198, 18, 0, 2),
            third_pod: None,
        };
        let forged = Forgery::ALL.map(|forgery| forgery.datagram(known, &mut Rng::new(1)));

        let hosts = forged.each_ref().map(|(host, _)| *host == known.peer);
        let valid = forged.each_ref().map(|(_, packet)| packet::is_valid(packet));

        assert_eq!(
            hosts,
            [false, true, true, true, true, true, true, true, true, true]
        );
        assert_eq!(
            valid,
            [true, true, true, true, false, false, true, true, true, false]
        );
    }
}
