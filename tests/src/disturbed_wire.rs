//! A wire to one node that loses some of the tunnel's datagrams and lets others arrive late, behind what was sent after them.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use etherparse::{SlicedPacket, TransportSlice};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvfrom, sendto, setsockopt,
    socket, sockopt,
};
use selvedge_host::lab::{Namespace, NodeNumber, Place, Stopwatch};

use crate::packet_socket::{IgnoreOutgoing, ROOM};
use crate::real_nodes::{RealNodes, run_ip};

/// How long a frame is late at most when nothing passes it.
const LATEST: Duration = Duration::from_millis(4);

/// What happens to the tunnel's datagrams, in each direction by itself: which of them it is follows from the seed and how many
/// came before.
#[derive(Clone, Copy, Debug)]
pub struct Disturbance {
    /// What the choice is drawn from.
    pub seed: u64,
    /// The tunnel's port.
    pub port: u16,
    /// How many of a thousand are lost.
    pub lost: u64,
    /// How many of a thousand are late.
    pub late: u64,
    /// How many datagrams may pass one that is late, at most.
    pub behind: u64,
}

/// What has happened on a wire.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Datagrams of the tunnel, from both sides.
    pub datagrams: u64,
    /// How many of them were lost.
    pub lost: u64,
    /// How many were late: others that came later were sent on before.
    pub late: u64,
}

/// A wire that is disturbed until it is dropped, and is then cut.
#[derive(Debug)]
pub struct DisturbedWire {
    namespace: Namespace,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<Tally>>,
}

impl DisturbedWire {
    /// Puts a wire between a node and all others, etcd among them.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    pub fn insert(real: &RealNodes, number: NodeNumber, disturbance: Disturbance) -> Self {
        let namespace = wire_up(real, number);
        let ends = namespace.enter(ends).expect("the namespace is there");
        let relay = Relay {
            socket: namespace.enter(open).expect("the namespace is there"),
            sides: ends.map(|out| Side::new(out, disturbance)),
            port: disturbance.port,
            tally: Tally::default(),
        };
        let ended = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&ended);
        Self {
            namespace,
            ended,
            thread: Some(thread::spawn(move || relay.run(&until))),
        }
    }

    /// Cuts the wire and returns what has happened on it.
    ///
    /// # Panics
    ///
    /// If it broke.
    pub fn finish(mut self) -> Tally {
        self.ended.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it is still whole");
        thread.join().expect("the relay ends")
    }
}

impl Drop for DisturbedWire {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
        if let Err(error) = self.namespace.remove() {
            eprintln!("the wire stays: {error}");
        }
    }
}

/// Moves the node to a switch of its own, and joins the two switches by a namespace that passes nothing on by itself.
fn wire_up(real: &RealNodes, number: NodeNumber) -> Namespace {
    let wire = Namespace::named(format!("selvedge-{}.wire", real.lab.name()));
    let switch = real.lab.namespace(Place::Switch);
    wire.remove().expect("what an earlier run left is removed");
    wire.create().expect("a namespace");
    run_ip(&switch, &["link", "add", "beyond", "up", "type", "bridge"]);
    for (end, bridge) in [("near", "bridge"), ("far", "beyond")] {
        let port = format!("to-{end}");
        let veth = ["type", "veth", "peer", "name", end, "netns", wire.name()];
        run_ip(
            &switch,
            &[&["link", "add", &port, "master", bridge, "up"], &veth[..]].concat(),
        );
        run_ip(&wire, &["link", "set", end, "up"]);
        // What a program passes on has no checksum that a device completes, and is no super-packet.
        let features = ["tx", "tso", "gso", "tx-udp-segmentation"];
        let off = features.into_iter().flat_map(|feature| [feature, "off"]);
        let done = switch.command("ethtool").args(["-K", &port]).args(off).status();
        assert!(
            done.is_ok_and(|status| status.success()),
            "ethtool works on {port}"
        );
    }
    let port = Place::Node(number).to_string();
    run_ip(&switch, &["link", "set", &port, "master", "beyond"]);
    wire
}

/// Finds the two ends of the wire, as addresses to send frames from.
fn ends() -> [LinkAddr; 2] {
    ["near", "far"].map(|name| {
        let mut all = getifaddrs().expect("interfaces are listed");
        let found = all.find_map(|found| {
            let address = found.address.filter(|_| found.interface_name == name)?;
            address.as_link_addr().copied()
        });
        found.expect("the wire has its ends")
    })
}

fn open() -> UdpSocket {
    let (family, kind) = (AddressFamily::Packet, SockType::Raw);
    let opened = socket(family, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll).expect("root may");
    setsockopt(&opened, IgnoreOutgoing, &true).expect("set");
    setsockopt(&opened, sockopt::RcvBufForce, &ROOM).expect("root may have much room");
    // The standard library has no such sockets; its UDP socket is closed and waits as any other.
    let socket = UdpSocket::from(opened);
    socket.set_read_timeout(Some(LATEST)).expect("set");
    socket
}

/// Passes frames on between the two ends.
struct Relay {
    socket: UdpSocket,
    sides: [Side; 2],
    port: u16,
    tally: Tally,
}

/// One end of the wire, and what is late on its way out of it.
struct Side {
    out: LinkAddr,
    fates: Fates,
    late: Vec<Late>,
    since: Stopwatch,
}

struct Late {
    behind: u64,
    frame: Vec<u8>,
}

/// What becomes of a datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    Passed,
    Lost,
    Late { behind: u64 },
}

/// The fates of the datagrams one way, one after the other.
struct Fates {
    disturbance: Disturbance,
    state: u64,
}

impl Fates {
    const fn new(disturbance: Disturbance) -> Self {
        Self {
            disturbance,
            state: disturbance.seed,
        }
    }

    fn draw(&mut self) -> Fate {
        let Disturbance {
            lost, late, behind, ..
        } = self.disturbance;
        match self.number() % 1_000 {
            drawn if drawn < lost => Fate::Lost,
            drawn if drawn < lost + late => Fate::Late {
                behind: 1 + self.number() % behind,
            },
            _ => Fate::Passed,
        }
    }

    /// Draws a number (`SplitMix64`, Steele and others 2014).
    const fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

impl Relay {
    fn run(mut self, ended: &AtomicBool) -> Tally {
        let mut buffer = vec![0; 1 << 16];
        while !ended.load(Ordering::Relaxed) {
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
                Ok((length, Some(from))) => self.pass_on(&buffer[..length], from.ifindex()),
                Ok((_, None)) | Err(Errno::EAGAIN | Errno::EINTR | Errno::ENETDOWN) => {}
                Err(error) => panic!("the wire breaks: {error}"),
            }
            for side in &mut self.sides {
                side.send_what_is_too_late(&self.socket);
            }
        }
        self.tally
    }

    fn pass_on(&mut self, frame: &[u8], came_at: usize) {
        let Some(side) = self.sides.iter_mut().find(|side| side.out.ifindex() != came_at) else {
            return;
        };
        if !is_datagram(frame, self.port) {
            return send(&self.socket, frame, &side.out);
        }
        self.tally.datagrams += 1;
        match side.fates.draw() {
            Fate::Passed => send(&self.socket, frame, &side.out),
            Fate::Lost => self.tally.lost += 1,
            Fate::Late { behind } => {
                self.tally.late += 1;
                side.delay(frame, behind);
                return;
            }
        }
        side.send_what_was_passed(&self.socket);
    }
}

impl Side {
    fn new(out: LinkAddr, disturbance: Disturbance) -> Self {
        Self {
            out,
            fates: Fates::new(disturbance),
            late: Vec::new(),
            since: Stopwatch::start(),
        }
    }

    fn delay(&mut self, frame: &[u8], behind: u64) {
        if self.late.is_empty() {
            self.since = Stopwatch::start();
        }
        let frame = frame.to_vec();
        self.late.push(Late { behind, frame });
    }

    /// Lets one more datagram have passed those that are late.
    fn send_what_was_passed(&mut self, socket: &UdpSocket) {
        let out = &self.out;
        self.late.retain_mut(|late| {
            late.behind -= 1;
            if late.behind == 0 {
                send(socket, &late.frame, out);
            }
            late.behind > 0
        });
    }

    fn send_what_is_too_late(&mut self, socket: &UdpSocket) {
        if self.late.is_empty() || self.since.elapsed() < LATEST {
            return;
        }
        for late in self.late.drain(..) {
            send(socket, &late.frame, &self.out);
        }
    }
}

fn is_datagram(frame: &[u8], port: u16) -> bool {
    let transport = SlicedPacket::from_ethernet(frame)
        .ok()
        .and_then(|frame| frame.transport);
    matches!(transport, Some(TransportSlice::Udp(udp)) if udp.destination_port() == port)
}

/// A frame that does not fit into the queue is lost, as on any wire.
fn send(socket: &UdpSocket, frame: &[u8], out: &LinkAddr) {
    match sendto(socket.as_raw_fd(), frame, out, MsgFlags::empty()) {
        Ok(_) | Err(Errno::ENOBUFS | Errno::ENETDOWN) => {}
        Err(error) => panic!("the wire breaks: {}", io::Error::from(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISTURBANCE: Disturbance = Disturbance {
        seed: 1,
        port: 8_285,
        lost: 10,
        late: 20,
        behind: 8,
    };

    #[test]
    fn the_same_seed_disturbs_the_same_datagrams_and_another_one_others() {
        let drawn = |seed| fates(Disturbance { seed, ..DISTURBANCE });

        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
    }

    #[test]
    fn as_many_are_lost_and_late_as_is_wanted() {
        let drawn = fates(DISTURBANCE);

        let lost = drawn.iter().filter(|fate| **fate == Fate::Lost).count();
        let late: Vec<_> = drawn
            .iter()
            .filter_map(|fate| match fate {
                Fate::Late { behind } => Some(*behind),
                Fate::Passed | Fate::Lost => None,
            })
            .collect();
        assert!((900..1_100).contains(&lost), "{lost}");
        assert!((1_850..2_150).contains(&late.len()), "{}", late.len());
        assert!((1..=8).all(|behind| late.contains(&behind)) && late.iter().all(|behind| *behind <= 8));
    }

    fn fates(disturbance: Disturbance) -> Vec<Fate> {
        let mut fates = Fates::new(disturbance);
        std::iter::repeat_with(|| fates.draw()).take(100_000).collect()
    }
}
