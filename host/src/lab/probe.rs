//! Echo requests from a pod, each with its round-trip time (RFC 792).

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use etherparse::{IcmpEchoHeader, Icmpv4Header, Icmpv4Slice, Icmpv4Type, Ipv4HeaderSlice};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use super::error::{IoContext, LabError};
use super::namespace::Namespace;
use super::stopwatch::Stopwatch;

const PAYLOAD: [u8; 56] = [0x53; 56];

/// How echo requests are sent.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The time between two requests.
    pub interval: Duration,
    /// How long an answer is waited for after the last request.
    pub patience: Duration,
    /// How many are sent, unless the stream is stopped before.
    pub count: u16,
}

/// An echo request and what became of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Probe {
    /// When it was sent, since the stream's start.
    pub sent_at: Duration,
    /// How long its answer took; `None` if it was lost.
    pub round_trip: Option<Duration>,
}

/// The outcome of a stream of probes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Echoes(pub Vec<Probe>);

/// Echo requests that are being sent.
#[derive(Debug)]
pub struct ProbeStream {
    started: Stopwatch,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicBool>,
    worker: Option<JoinHandle<Echoes>>,
}

impl ProbeStream {
    /// Starts to send from a namespace to an address.
    ///
    /// # Errors
    ///
    /// [`LabError::Io`] if the namespace or a raw socket in it cannot be had.
    pub fn start(from: &Namespace, to: Ipv4Addr, pace: Pace) -> Result<Self, LabError> {
        let socket = from
            .enter(raw_icmp_socket)?
            .trying(|| format!("opening an ICMP socket in {}", from.name()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let started = Stopwatch::start();
        let answered = Arc::new(AtomicBool::new(false));
        let (asked, any_answer) = (Arc::clone(&stop), Arc::clone(&answered));
        let pinger = Pinger {
            socket,
            to,
            id: fresh_id(),
            started,
            pace,
        };
        let worker = thread::spawn(move || pinger.run(&asked, &any_answer));
        Ok(Self {
            started,
            stop,
            answered,
            worker: Some(worker),
        })
    }

    /// Returns how long it has been running: the clock of [`Probe::sent_at`].
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Tells whether any answer came so far.
    pub fn answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Sends no more, waits for answers on their way, and returns what became of all.
    pub fn stop(self) -> Echoes {
        self.stop.store(true, Ordering::Relaxed);
        self.finish()
    }

    /// Waits until all are sent and answered or given up, and returns what became of them.
    pub fn finish(mut self) -> Echoes {
        self.worker
            .take()
            .and_then(|worker| worker.join().ok())
            .unwrap_or_default()
    }
}

impl Drop for ProbeStream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Echoes {
    /// Returns how many were sent.
    pub fn sent(&self) -> usize {
        self.0.len()
    }

    /// Returns how many got no answer.
    pub fn lost(&self) -> usize {
        self.0.iter().filter(|probe| probe.round_trip.is_none()).count()
    }

    /// Returns the median round-trip time of those that were answered.
    pub fn median(&self) -> Option<Duration> {
        let mut times: Vec<Duration> = self.0.iter().filter_map(|probe| probe.round_trip).collect();
        times.sort();
        times.get(times.len() / 2).copied()
    }

    /// Returns when the first answer came to a probe sent at `since` or later, on the stream's clock.
    pub fn first_answer_since(&self, since: Duration) -> Option<Duration> {
        self.0
            .iter()
            .filter(|probe| probe.sent_at >= since)
            .find_map(|probe| Some(probe.sent_at + probe.round_trip?))
    }

    /// Returns the outcomes of the probes sent within a span of time.
    #[must_use]
    pub fn between(&self, from: Duration, to: Duration) -> Self {
        Self(
            self.0
                .iter()
                .filter(|probe| (from..to).contains(&probe.sent_at))
                .copied()
                .collect(),
        )
    }

    /// Adds the outcomes of another stream.
    pub fn extend(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }
}

struct Pinger {
    socket: UdpSocket,
    to: Ipv4Addr,
    id: u16,
    started: Stopwatch,
    pace: Pace,
}

impl Pinger {
    fn run(&self, stop: &AtomicBool, any_answer: &AtomicBool) -> Echoes {
        let mut probes: Vec<Probe> = Vec::new();
        let mut answered = 0;
        loop {
            let now = self.started.elapsed();
            let last = probes.last().map(|probe| probe.sent_at);
            let sending = probes.len() < usize::from(self.pace.count) && !stop.load(Ordering::Relaxed);
            if !sending && (answered == probes.len() || last.is_none_or(|at| now > at + self.pace.patience)) {
                return Echoes(probes);
            }
            let due = last.map_or(Duration::ZERO, |at| at + self.pace.interval);
            if sending && now >= due {
                self.send(probes.len());
                probes.push(Probe {
                    sent_at: now,
                    round_trip: None,
                });
                continue;
            }
            let wait = if sending {
                due.saturating_sub(now)
            } else {
                self.pace.interval
            };
            let Some(sequence) = self.receive(wait) else {
                continue;
            };
            let Some(probe) = probes.get_mut(usize::from(sequence)) else {
                continue;
            };
            if probe.round_trip.is_none() {
                probe.round_trip = Some(self.started.elapsed().saturating_sub(probe.sent_at));
                answered += 1;
                any_answer.store(true, Ordering::Relaxed);
            }
        }
    }

    /// A request that the kernel refuses (no route, no neighbour) is a lost one.
    fn send(&self, sequence: usize) {
        let Ok(seq) = u16::try_from(sequence) else { return };
        let echo = Icmpv4Type::EchoRequest(IcmpEchoHeader { id: self.id, seq });
        let mut message = Icmpv4Header::with_checksum(echo, &PAYLOAD).to_bytes().to_vec();
        message.extend_from_slice(&PAYLOAD);
        drop(self.socket.send_to(&message, SocketAddrV4::new(self.to, 0)));
    }

    fn receive(&self, wait: Duration) -> Option<u16> {
        let mut buffer = [0; 2048];
        // A socket's own timeout is rounded up to the kernel's ticks, of up to 10 ms.
        let mut sockets = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        let came = ppoll(&mut sockets, Some(wait.into()), None).ok()?;
        if came == 0 {
            return None;
        }
        let (length, from) = self.socket.recv_from(&mut buffer).ok()?;
        let packet = buffer.get(..length)?;
        let header = Ipv4HeaderSlice::from_slice(packet).ok()?;
        let icmp = Icmpv4Slice::from_slice(packet.get(header.slice().len()..)?).ok()?;
        let Icmpv4Type::EchoReply(echo) = icmp.icmp_type() else {
            return None;
        };
        let ours = echo.id == self.id && from.ip() == SocketAddr::from((self.to, 0)).ip();
        ours.then_some(echo.seq)
    }
}

fn raw_icmp_socket() -> io::Result<UdpSocket> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Raw, flags, SockProtocol::Icmp)?;
    // The standard library has no raw sockets; its UDP socket sends and receives on any datagram descriptor.
    Ok(UdpSocket::from(socket))
}

/// Streams of one process differ by a counter, processes by their id.
fn fresh_id() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    u16::from_be_bytes([high, low])
        .wrapping_mul(251)
        .wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echoes(round_trips_ms: &[Option<u64>]) -> Echoes {
        let probe = |(index, rtt): (usize, &Option<u64>)| Probe {
            sent_at: Duration::from_millis(100 * index as u64),
            round_trip: rtt.map(Duration::from_millis),
        };
        Echoes(round_trips_ms.iter().enumerate().map(probe).collect())
    }

    #[test]
    fn the_median_ignores_what_was_lost() {
        assert_eq!(
            echoes(&[Some(9), None, Some(1), Some(2)]).median(),
            Some(Duration::from_millis(2))
        );
        assert_eq!(echoes(&[None, None]).median(), None);
    }

    #[test]
    fn the_first_answer_counts_from_when_it_arrived() {
        let outage = echoes(&[Some(1), None, None, Some(4)]);

        assert_eq!(
            outage.first_answer_since(Duration::from_millis(50)),
            Some(Duration::from_millis(304))
        );
        assert_eq!(
            outage
                .between(Duration::from_millis(50), Duration::from_millis(250))
                .lost(),
            2
        );
    }
}
