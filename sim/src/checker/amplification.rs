//! No node makes more traffic than it gets: at most one datagram for each packet, and ICMP errors only where they are
//! allowed, and not too many (RFC 1122, 3.2.2; RFC 1812, 4.3.2.8).

use std::collections::VecDeque;
use std::time::Duration;

use selvedge_engine::Instant;

use super::Verdict;
use crate::node_id::NodeId;
use crate::packet;
use crate::violation::{Finding, Invariant};

/// The most ICMP errors that a node makes within a second in each direction: a burst of twenty and a hundred more.
const MAX_ERRORS: usize = 120;
const SECOND: Duration = Duration::from_secs(1);

/// From which side a packet came to the forwarder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    /// From the node's own kernel.
    Tunnel,
    /// From another node.
    Underlay,
}

/// What a daemon made of the packets that it got.
#[derive(Clone, Debug, Default)]
pub(crate) struct Amplification {
    /// How many datagrams the packet that the forwarder got last may still become.
    allowance: u32,
    errors_to_kernel: VecDeque<Instant>,
    errors_to_nodes: VecDeque<Instant>,
}

impl Amplification {
    /// Takes note of a packet that the forwarder got.
    pub(crate) const fn take(&mut self) {
        self.allowance = 1;
    }

    /// Takes note of a datagram to another node, and checks that there is a packet behind it.
    pub(crate) fn send(&mut self, node: NodeId) -> Verdict {
        let Some(left) = self.allowance.checked_sub(1) else {
            let text = format!("{node} makes more than one datagram of a packet");
            return Err(finding(node, text));
        };
        self.allowance = left;
        Ok(())
    }

    /// Checks an ICMP error about `offender`.
    pub(crate) fn answer(&mut self, node: NodeId, side: Side, offender: &[u8], now: Instant) -> Verdict {
        if packet::may_be_answered(offender) != Some(true) {
            let text =
                format!("{node} makes an ICMP error about a packet that none must be made about ({side:?})");
            return Err(finding(node, text));
        }
        let errors = match side {
            Side::Tunnel => &mut self.errors_to_kernel,
            Side::Underlay => &mut self.errors_to_nodes,
        };
        errors.push_back(now);
        while errors.front().is_some_and(|at| *at + SECOND <= now) {
            errors.pop_front();
        }
        let count = errors.len();
        if count <= MAX_ERRORS {
            return Ok(());
        }
        let text = format!("{node} makes {count} ICMP errors within a second ({side:?})");
        Err(finding(node, text))
    }
}

fn finding(node: NodeId, text: String) -> Finding {
    Finding::new(Invariant::Amplification, [node], text)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::packet::{Echo, Problem, icmp_echo, icmp_error, udp};
    use crate::ref_cluster::fixture::{N1, after};

    const POD: Ipv4Addr = Ipv4Addr::new(10, 5, 1, 2);
    const OTHER: Ipv4Addr = Ipv4Addr::new(10, 5, 2, 2);

    #[test]
    fn a_datagram_without_a_packet_behind_it_is_found() {
        let mut amplification = Amplification::default();
        amplification.take();
        amplification.take();

        assert_eq!(amplification.send(N1), Ok(()));
        assert!(amplification.send(N1).is_err());
    }

    #[test]
    fn errors_about_errors_groups_and_later_fragments_are_found() {
        let echo = icmp_echo(POD, OTHER, 64, Echo::Request, b"x");
        let error = icmp_error(Problem::TtlExceeded, OTHER, &echo).unwrap();
        let group = udp(POD, Ipv4Addr::new(224, 0, 0, 5), 64, b"x");
        let mut fragment = udp(POD, OTHER, 64, b"x");
        fragment[7] = 1;

        let judged = |packet: &[u8]| {
            Amplification::default()
                .answer(N1, Side::Tunnel, packet, after(1))
                .is_ok()
        };

        assert!(judged(&echo));
        for packet in [&error, &group, &fragment] {
            assert!(!judged(packet));
        }
    }

    #[test]
    fn errors_are_limited_in_each_direction() {
        let mut amplification = Amplification::default();
        let packet = udp(POD, OTHER, 64, b"x");
        for _ in 0..MAX_ERRORS {
            assert_eq!(amplification.answer(N1, Side::Tunnel, &packet, after(1)), Ok(()));
        }

        assert!(amplification.answer(N1, Side::Tunnel, &packet, after(1)).is_err());
        assert_eq!(
            amplification.answer(N1, Side::Underlay, &packet, after(1)),
            Ok(())
        );
        assert_eq!(amplification.answer(N1, Side::Tunnel, &packet, after(2)), Ok(()));
    }
}
