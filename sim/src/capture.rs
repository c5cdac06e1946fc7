//! What the underlay carried, for programs that show packets.

mod pcap;

use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::time::Duration;

use selvedge_engine::Instant;

use crate::packet;

/// How much of what the underlay carries is kept; the run is the same whatever it is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum KeepCapture {
    /// Nobody wants to see it.
    #[default]
    Nothing,
    /// What was carried in so long before the end.
    Last(Duration),
    Everything,
}

/// The datagrams of a run: each as its sender put it on the wire, lost ones among them, and once more as it arrived if
/// that is not what was sent.
#[derive(Debug)]
pub(crate) struct Capture {
    span: Option<Duration>,
    packets: VecDeque<(Instant, Vec<u8>)>,
}

impl Capture {
    /// Begins a capture, if anybody wants one.
    pub(crate) fn begin(keep: KeepCapture) -> Option<Self> {
        let span = match keep {
            KeepCapture::Nothing => return None,
            KeepCapture::Last(span) => Some(span),
            KeepCapture::Everything => None,
        };
        Some(Self {
            span,
            packets: VecDeque::new(),
        })
    }

    /// Takes a datagram; the times never decrease.
    pub(crate) fn datagram(&mut self, at: Instant, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) {
        self.forget_what_is_old(at);
        let packet = packet::udp_between(from, to, packet::TTL, payload);
        self.packets.push_back((at, packet));
    }

    /// Ends the capture: what is left is of the time before.
    pub(crate) fn finish(&mut self, at: Instant) {
        self.forget_what_is_old(at);
    }

    pub(crate) fn len(&self) -> usize {
        self.packets.len()
    }

    /// Returns it as a file that `tcpdump` and Wireshark read: raw IPv4 packets, with times since the start of the run.
    pub(crate) fn pcap(&self) -> Vec<u8> {
        let packets = self.packets.iter();
        pcap::file(packets.map(|(at, packet)| (at.saturating_since(Instant::ZERO), packet.as_slice())))
    }

    fn forget_what_is_old(&mut self, now: Instant) {
        let Some(span) = self.span else { return };
        while let Some((at, _)) = self.packets.front()
            && now.saturating_since(*at) > span
        {
            self.packets.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn only_what_was_carried_last_is_kept_if_no_more_is_wanted() {
        let mut last = Capture::begin(KeepCapture::Last(Duration::from_secs(10))).unwrap();
        let mut all = Capture::begin(KeepCapture::Everything).unwrap();

        for second in 0..30 {
            for capture in [&mut last, &mut all] {
                capture.datagram(after(second), A, B, b"payload");
            }
        }
        last.finish(after(32));

        assert_eq!(all.len(), 30);
        assert_eq!(last.packets.front().map(|(at, _)| *at), Some(after(22)));
        assert_eq!(last.len(), 8);
        assert!(Capture::begin(KeepCapture::Nothing).is_none());
    }

    fn after(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    const A: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 18, 0, 1), 8285);
    const B: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 18, 0, 2), 8285);
}
