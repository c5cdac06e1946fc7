//! Probes: packets between pods that prove what the overlay does.

mod cargo;
mod in_flight;

use std::net::Ipv4Addr;

use selvedge_engine::Instant;
use serde::Serialize;

use crate::node_id::NodeId;
use crate::packet::{self, Echo};
pub(crate) use cargo::Cargo;
pub(crate) use in_flight::ProbesInFlight;

/// A packet that a pod sends to a pod on another node.
///
/// Its bytes follow from its fields, so that the receiver's copy can be compared with what was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Probe {
    pub(crate) id: u64,
    pub(crate) kind: ProbeKind,
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    pub(crate) length: usize,
    pub(crate) sent_at: Instant,
    /// When the last copy arrives that is on a link, or was.
    pub(crate) last_arrival: Instant,
    pub(crate) fate: Option<ProbeFate>,
    /// How often it went on the wire.
    pub(crate) ways: u32,
    /// Whether its sender, when it sent it, could not know which node it is for: a kernel on its way may pass it on.
    pub(crate) may_stray: bool,
    /// How many copies the underlay makes of it, itself included.
    pub(crate) copies: u32,
    /// How many copies pods got.
    pub(crate) arrivals: u32,
    /// Whether a node that stands still has it in a queue.
    pub(crate) queued: bool,
}

/// What a probe is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ProbeKind {
    /// A UDP datagram.
    Datagram,
    /// An echo request; the pod that gets it answers.
    Ping,
    /// An echo reply to a request of this time.
    Pong { asked_at: Instant },
}

/// What became of a probe.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ProbeFate {
    Delivered,
    LostByChance,
    LostOnCutLink,
    /// The underlay had no room for it: a full queue, or a path that is too narrow.
    LostToLimits,
    /// The underlay damaged it.
    Damaged,
    /// The daemon at the other end was down, or its queue full.
    NobodyListened,
    /// A node dropped it that need not have known better.
    Excused,
    /// It came from an address that is not its sender's, and membership is enforced.
    Disowned,
}

impl Probe {
    /// Makes the packet as the pod sends it.
    pub(crate) fn packet(&self) -> Vec<u8> {
        let payload = self.payload();
        let (source, destination) = (self.source, self.destination);
        match self.kind {
            ProbeKind::Datagram => packet::udp(source, destination, packet::TTL, &payload),
            ProbeKind::Ping => packet::icmp_echo(source, destination, packet::TTL, Echo::Request, &payload),
            ProbeKind::Pong { .. } => {
                packet::icmp_echo(source, destination, packet::TTL, Echo::Reply, &payload)
            }
        }
    }

    /// Tells whether a packet is the one that was sent, apart from the time to live and the checksum over it.
    pub(crate) fn is_intact(&self, arrived: &[u8]) -> bool {
        let sent = self.packet();
        let is_same = |range: std::ops::Range<usize>| sent.get(range.clone()) == arrived.get(range);
        packet::is_valid(arrived)
            && sent.len() == arrived.len()
            && is_same(0..8)
            && is_same(9..10)
            && is_same(12..sent.len())
    }

    /// The id, and behind it a part of the pattern that begins elsewhere for the next probe.
    fn payload(&self) -> Vec<u8> {
        let [first, ..] = self.id.to_le_bytes();
        let begin = usize::from(first);
        let pattern = PATTERN.get(begin..begin + self.length).unwrap_or(&PATTERN);
        [self.id.to_be_bytes().as_slice(), pattern].concat()
    }
}

/// Bytes of which neighbours differ, and that repeat after 251: no power of two, so that a shifted copy differs.
const PATTERN: [u8; 2048] = {
    let mut pattern = [0; 2048];
    let mut at = 1;
    while at < pattern.len() {
        pattern[at] = if pattern[at - 1] == 250 {
            0
        } else {
            pattern[at - 1] + 1
        };
        at += 1;
    }
    pattern
};

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn a_forwarded_probe_is_intact_and_a_changed_one_is_not() {
        let probe = probe(7);
        let mut forwarded = probe.packet();
        packet::decrement_ttl(&mut forwarded);
        let mut changed = forwarded.clone();
        *changed.last_mut().unwrap() ^= 1;

        assert!(probe.is_intact(&forwarded));
        assert!(!probe.is_intact(&changed));
        assert!(!probe.is_intact(&forwarded[..forwarded.len() - 1]));
        assert!(!self::probe(8).is_intact(&forwarded));
    }

    pub(crate) fn probe(id: u64) -> Probe {
        Probe {
            id,
            kind: ProbeKind::Datagram,
            from: NodeId::new(1),
            to: NodeId::new(2),
            source: Ipv4Addr::new(10, 5, 1, 2),
            destination: Ipv4Addr::new(10, 5, 2, 2),
            length: 56,
            sent_at: Instant::ZERO,
            last_arrival: Instant::ZERO,
            fate: None,
            ways: 0,
            may_stray: false,
            copies: 1,
            arrivals: 0,
            queued: false,
        }
    }
}
