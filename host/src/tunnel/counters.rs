//! What became of packets outside the forwarder.

use std::fmt;
use std::io;

use nix::errno::Errno;
use selvedge_engine::{DropReason, PacketCounters};

/// What the system calls of one worker did with its packets.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TransportCounters {
    /// Packets that came before the node had a table.
    pub too_early: u64,
    /// Datagrams dropped because the socket or the interface was full.
    pub send_full: u64,
    /// Datagrams dropped because there is no way to the peer.
    pub send_unreachable: u64,
    /// Datagrams dropped because they are larger than the path allows.
    pub send_too_big: u64,
    /// Datagrams that the kernel was allowed to send in fragments, because the path is narrow.
    pub fragmented: u64,
    /// Datagrams dropped by a firewall of this node.
    pub send_forbidden: u64,
    /// Datagrams dropped for another reason.
    pub send_other: u64,
    /// Answers of nodes that nobody has the tunnel's port there. They are rationed where they come from.
    pub told_refused: u64,
    /// Answers that there is no way to a node.
    pub told_unreachable: u64,
    /// Messages of many datagrams that had to be sent one by one.
    pub split: u64,
    /// Packets that contradict what the kernel says about them.
    pub bad_offload: u64,
    /// Datagrams that the socket lost because they were not read in time.
    pub receive_full: u64,
    /// Errors reading from the socket.
    pub receive_errors: u64,
    /// Packets that the device did not take because it was full.
    pub deliver_full: u64,
    /// Packets that the device refused, for example because it is down.
    pub deliver_refused: u64,
}

/// The counters of a worker.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TunnelReport {
    /// What the forwarder decided.
    pub packets: PacketCounters,
    /// What the system calls did.
    pub transport: TransportCounters,
}

impl TunnelReport {
    /// Returns how many packets or datagrams were dropped for each reason, by its name.
    pub fn dropped(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let refused = DropReason::ALL.map(|reason| (reason.name(), self.packets.dropped(reason)));
        refused.into_iter().chain(self.transport.lost())
    }

    /// Adds what another worker counted.
    pub(super) fn add(&mut self, other: &Self) {
        self.packets.add(&other.packets);
        let mut others = other.transport;
        let counts = self.transport.named().into_iter().zip(others.named());
        for ((_, count), (_, more)) in counts {
            *count = count.saturating_add(*more);
        }
    }
}

impl TransportCounters {
    /// Counts a packet that came before the node had a table.
    pub(super) const fn count_too_early(&mut self) {
        self.too_early = self.too_early.saturating_add(1);
    }

    /// Counts a packet from the device that contradicts what it says about it.
    pub(super) const fn count_bad_offload(&mut self) {
        self.bad_offload = self.bad_offload.saturating_add(1);
    }

    /// Counts a message that had to be sent one by one.
    pub(super) const fn count_split(&mut self) {
        self.split = self.split.saturating_add(1);
    }

    /// Counts a datagram that may have been sent in fragments.
    pub(super) const fn count_fragmented(&mut self) {
        self.fragmented = self.fragmented.saturating_add(1);
    }

    /// Counts a node's answer that nobody has the port there.
    pub(super) const fn count_refused(&mut self) {
        self.told_refused = self.told_refused.saturating_add(1);
    }

    /// Counts an answer that there is no way to a node.
    pub(super) const fn count_unreachable(&mut self) {
        self.told_unreachable = self.told_unreachable.saturating_add(1);
    }

    /// Takes over the kernel's count of datagrams that the socket lost, which wraps.
    pub(super) fn note_overflow(&mut self, lost: u32) {
        let counted = u32::try_from(self.receive_full & u64::from(u32::MAX)).unwrap_or_default();
        let new = lost.wrapping_sub(counted);
        self.receive_full = self.receive_full.saturating_add(new.into());
    }

    /// Counts datagrams that could not be sent.
    pub(super) fn count_send_error(&mut self, error: &io::Error, datagrams: usize) {
        let counter = match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM) => &mut self.send_full,
            Some(Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::ENETDOWN | Errno::ECONNREFUSED) => {
                &mut self.send_unreachable
            }
            Some(Errno::EMSGSIZE) => &mut self.send_too_big,
            Some(Errno::EPERM | Errno::EACCES) => &mut self.send_forbidden,
            None if error.kind() == io::ErrorKind::WouldBlock => &mut self.send_full,
            Some(_) | None => &mut self.send_other,
        };
        *counter = counter.saturating_add(u64::try_from(datagrams).unwrap_or(u64::MAX));
    }

    /// Counts a packet that the device did not take.
    pub(super) fn count_deliver_error(&mut self, error: &io::Error) {
        let counter = if error.kind() == io::ErrorKind::WouldBlock {
            &mut self.deliver_full
        } else {
            &mut self.deliver_refused
        };
        *counter = counter.saturating_add(1);
    }

    fn lost(&self) -> [(&'static str, u64); 10] {
        [
            ("too_early", self.too_early),
            ("send_full", self.send_full),
            ("send_unreachable", self.send_unreachable),
            ("send_too_big", self.send_too_big),
            ("send_forbidden", self.send_forbidden),
            ("send_other", self.send_other),
            ("bad_offload", self.bad_offload),
            ("receive_full", self.receive_full),
            ("deliver_full", self.deliver_full),
            ("deliver_refused", self.deliver_refused),
        ]
    }

    fn named(&mut self) -> [(&'static str, &mut u64); 15] {
        [
            ("too_early", &mut self.too_early),
            ("send_full", &mut self.send_full),
            ("send_unreachable", &mut self.send_unreachable),
            ("send_too_big", &mut self.send_too_big),
            ("fragmented", &mut self.fragmented),
            ("send_forbidden", &mut self.send_forbidden),
            ("send_other", &mut self.send_other),
            ("told_refused", &mut self.told_refused),
            ("told_unreachable", &mut self.told_unreachable),
            ("split", &mut self.split),
            ("bad_offload", &mut self.bad_offload),
            ("receive_full", &mut self.receive_full),
            ("receive_errors", &mut self.receive_errors),
            ("deliver_full", &mut self.deliver_full),
            ("deliver_refused", &mut self.deliver_refused),
        ]
    }
}

impl fmt::Display for TunnelReport {
    /// Prints one line: what passed, then every other counter that is not zero.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sent {} delivered {} icmp_errors {} passed_unproven {}",
            self.packets.sent, self.packets.delivered, self.packets.icmp_errors, self.packets.passed_unproven
        )?;
        let mut transport = self.transport;
        let dropped = DropReason::ALL
            .iter()
            .map(|reason| (reason.name(), self.packets.dropped(*reason)));
        for (name, count) in dropped
            .chain(transport.named().map(|(name, count)| (name, *count)))
            .filter(|(_, count)| *count > 0)
        {
            write!(f, " {name} {count}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn send_errors_are_counted_by_kind() {
        let mut counters = TransportCounters::default();

        for errno in [
            Errno::EAGAIN,
            Errno::ENETUNREACH,
            Errno::EMSGSIZE,
            Errno::EPERM,
            Errno::EINVAL,
        ] {
            counters.count_send_error(&errno.into(), 1);
        }
        counters.count_send_error(&io::ErrorKind::WouldBlock.into(), 1);

        assert_eq!(counters.send_full, 2);
        assert_eq!(counters.send_unreachable, 1);
        assert_eq!(counters.send_too_big, 1);
        assert_eq!(counters.send_forbidden, 1);
        assert_eq!(counters.send_other, 1);
    }

    #[test]
    fn what_workers_counted_is_added_up() {
        let mut one = TunnelReport::default();
        one.transport.count_send_error(&Errno::ENOBUFS.into(), 3);
        one.packets.sent = 5;
        let mut total = one.clone();

        total.add(&one);

        assert_eq!((total.packets.sent, total.transport.send_full), (10, 6));
    }

    #[test]
    fn a_report_shows_what_passed_and_what_is_not_zero() {
        let mut report = TunnelReport::default();
        report.transport.count_deliver_error(&Errno::EIO.into());

        assert_eq!(
            report.to_string(),
            "sent 0 delivered 0 icmp_errors 0 passed_unproven 0 deliver_refused 1"
        );
    }
}
