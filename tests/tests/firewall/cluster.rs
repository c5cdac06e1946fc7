//! A node with its surroundings, and packets between them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use selvedge_engine::FilterCounter;
use selvedge_host::kernel::firewall::Firewall;
use tokio::runtime::Runtime;

use crate::frames::{FORGED, LAST, frame, tunnel_packet};
use crate::rulesets::{block_on, ip, runtime};
use crate::space::Space;

/// How many datagrams are sent while rules are replaced.
pub(crate) const FLOWS: usize = 300;

/// A node with a pod, a peer beyond the underlay with a pod of its own, and a host that is no part of the cluster.
pub(crate) struct Cluster {
    pub(crate) node: Space,
    pub(crate) pod: Space,
    pub(crate) peer: Space,
    pub(crate) outside: Space,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let cluster = Self {
            node: Space::new(),
            pod: Space::new(),
            peer: Space::new(),
            outside: Space::new(),
        };
        let cable = |near: &str, other: &Space, far: &str| {
            let command = format!(
                "link add {near} type veth peer name {far} netns {}",
                other.thread()
            );
            cluster.node.run(move || drop(ip(&command)));
        };
        cable("pod", &cluster.pod, "eth0");
        cable("underlay", &cluster.peer, "underlay");
        cable("outside", &cluster.outside, "eth0");
        cluster.node.run(|| {
            for setting in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
                std::fs::write(format!("/proc/sys/{setting}"), "1").unwrap();
            }
            for setting in ["all", "default", "underlay"] {
                std::fs::write(format!("/proc/sys/net/ipv4/conf/{setting}/rp_filter"), "0").unwrap();
            }
            address("pod", &["10.5.1.1/24", "fd05:0:0:1::1/64"]);
            address("underlay", &["192.0.2.1/24", "2001:db8:2::1/64"]);
            address("outside", &["198.51.100.1/24", "2001:db8:51::1/64"]);
            ip("route add 10.5.0.0/16 via 192.0.2.2");
            ip("-6 route add fd05::/48 via 2001:db8:2::2");
        });
        cluster.pod.run(|| {
            address("eth0", &["10.5.1.2/24", "fd05:0:0:1::2/64"]);
            ip("route add default via 10.5.1.1");
            ip("-6 route add default via fd05:0:0:1::1");
        });
        cluster.peer.run(|| {
            address("underlay", &["192.0.2.2/24", "2001:db8:2::2/64"]);
            for pod in ["10.5.2.2/32", "10.5.9.9/32", "10.5.1.9/32", "fd05:0:0:2::2/128"] {
                ip(&format!("addr add {pod} dev lo"));
            }
            ip("route add default via 192.0.2.1");
            ip("-6 route add default via 2001:db8:2::1");
        });
        cluster.outside.run(|| {
            address("eth0", &["198.51.100.2/24", "2001:db8:51::2/64"]);
            ip("route add default via 198.51.100.1");
            ip("-6 route add default via 2001:db8:51::1");
        });
        cluster
    }

    /// Gives the node its ends of the tunnels.
    pub(crate) fn make_tunnels(&self) {
        self.node.run(|| {
            ip("link add flannel.1 type vxlan id 1 dstport 8472 local 192.0.2.1 dev underlay nolearning");
            ip("link set flannel.1 address 02:00:00:00:00:01 up");
            ip("addr add 10.5.1.0/32 dev flannel.1");
            ip("link add flannel-v6.1 type vxlan id 1 dstport 8472 local 2001:db8:2::1 dev underlay nolearning");
            ip("link set flannel-v6.1 address 02:00:00:00:00:01 up");
            ip("addr add fd05:0:0:1::/128 dev flannel-v6.1 nodad");
        });
    }

    /// Replaces rules again and again while datagrams are sent to an address, and counts whose they seem to be.
    pub(crate) fn while_replacing(
        &self,
        mut replace: impl FnMut(&Runtime, &mut Firewall) + Send + 'static,
        to: &Space,
        destination: IpAddr,
        from: &Space,
        send: impl Fn() + Send + 'static,
    ) -> BTreeMap<IpAddr, usize> {
        let receiver = to.run(move || listening(destination, 7000));
        // Nothing is to be lost for want of a reader.
        setsockopt(&receiver, sockopt::RcvBufForce, &(4 << 20)).unwrap();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let (first, begun) = std::sync::mpsc::channel();
        let mut seen = BTreeMap::new();
        std::thread::scope(|scope| {
            let replacing = scope.spawn(|| {
                self.node.run(move || {
                    let runtime = runtime();
                    let mut firewall = runtime.block_on(async { Firewall::open() });
                    while stopped.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
                        replace(&runtime, &mut firewall);
                        first.send(()).unwrap();
                    }
                });
            });
            begun.recv().unwrap();
            let sending = scope.spawn(|| {
                from.run(move || {
                    for _ in 0..FLOWS {
                        send();
                        std::thread::sleep(Duration::from_millis(2));
                    }
                });
            });
            while seen.values().sum::<usize>() < FLOWS {
                match receiver.recv_from(&mut [0; 100]) {
                    Ok((_, source)) => *seen.entry(source.ip()).or_default() += 1,
                    Err(_) if sending.is_finished() => break,
                    // A machine that is busy elsewhere sends late.
                    Err(_) => {}
                }
            }
            sending.join().unwrap();
            drop(stop);
            replacing.join().unwrap();
        });
        assert!(begun.try_iter().count() > 3, "rules were replaced several times");
        seen
    }

    /// Tells whose packets they seem to be at their destinations.
    pub(crate) fn sources(&self) -> String {
        let mut report = String::new();
        let pods = |v4: [u8; 4], v6: &str| [IpAddr::from(v4), v6.parse().unwrap()];
        let pod = pods([10, 5, 1, 2], "fd05:0:0:1::2");
        let remote = pods([10, 5, 2, 2], "fd05:0:0:2::2");
        let outside = pods([198, 51, 100, 2], "2001:db8:51::2");
        let host = pods([198, 51, 100, 1], "2001:db8:51::1");
        let gateway = pods([10, 5, 1, 1], "fd05:0:0:1::1");
        let group = pods([224, 0, 0, 251], "ff05::fb");
        for (name, from, source, to, destination, mark) in [
            ("pod to remote pod", &self.pod, pod, &self.peer, remote, 0),
            ("remote pod to pod", &self.peer, remote, &self.pod, pod, 0),
            ("pod to outside", &self.pod, pod, &self.outside, outside, 0),
            ("outside to pod", &self.outside, outside, &self.pod, pod, 0),
            (
                "outside to remote pod",
                &self.outside,
                outside,
                &self.peer,
                remote,
                0,
            ),
            ("host to remote pod", &self.node, host, &self.peer, remote, 0),
            ("host to pod", &self.node, host, &self.pod, pod, 0),
            (
                "pods' gateway to outside",
                &self.node,
                gateway,
                &self.outside,
                outside,
                0,
            ),
            (
                "the same, marked by Kubernetes",
                &self.node,
                gateway,
                &self.outside,
                outside,
                0xc000,
            ),
            ("multicast", &self.node, gateway, &self.peer, group, 0),
        ] {
            for version in 0..2 {
                let seen = arrival(from, source[version], to, destination[version], mark);
                let seen = seen.map_or_else(|| "nothing".to_owned(), |seen| seen.to_string());
                writeln!(report, "{name}: {} seen as {seen}", source[version]).unwrap();
            }
        }
        report
    }

    pub(crate) fn arrives(&self, from: &Space, source: IpAddr, destination: IpAddr) -> bool {
        arrival(from, source, &self.pod, destination, 0).is_some()
    }

    /// Sends a frame in a tunnel packet from the peer's host, and tells whether its content reaches this node. What a member
    /// sends right after it does, and nothing overtakes it.
    pub(crate) fn sends(&self, from: IpAddr, forged: &[u8], to: IpAddr) -> bool {
        let (inner, member, last): (IpAddr, IpAddr, _) = match to {
            IpAddr::V4(_) => (
                "10.5.1.0".parse().unwrap(),
                "192.0.2.2".parse().unwrap(),
                frame("10.5.2.2".parse().unwrap(), None, LAST),
            ),
            IpAddr::V6(_) => (
                "fd05:0:0:1::".parse().unwrap(),
                "2001:db8:2::2".parse().unwrap(),
                frame("fd05:0:0:2::2".parse().unwrap(), None, LAST),
            ),
        };
        let receiver = self.node.run(move || listening(inner, 7000));
        let packets = [(from, forged.to_vec()), (member, last)];
        self.peer.run(move || {
            for (from, frame) in packets {
                let socket = UdpSocket::bind((from, 0)).unwrap();
                socket.send_to(&tunnel_packet(&frame), (to, 8472)).unwrap();
            }
        });
        let mut payload = [0; 100];
        let length = receiver.recv(&mut payload).unwrap();
        if payload[..length] == *LAST {
            return false;
        }
        assert_eq!(payload[..length], *FORGED);
        let length = receiver.recv(&mut payload).unwrap();
        assert_eq!(payload[..length], *LAST);
        true
    }

    pub(crate) fn counters(&self) -> BTreeMap<FilterCounter, u64> {
        let counters = self
            .node
            .run(|| block_on(async { Firewall::open().counters().await }));
        let counters = counters.unwrap_or_default().into_iter();
        counters
            .map(|(counter, count)| (counter, count.packets))
            .collect()
    }
}

/// Sends a datagram and returns the source that it has where it arrives.
fn arrival(from: &Space, source: IpAddr, to: &Space, destination: IpAddr, mark: u32) -> Option<IpAddr> {
    let receiver = to.run(move || match destination {
        IpAddr::V4(group) if group.is_multicast() => {
            let socket = listening(Ipv4Addr::UNSPECIFIED.into(), 7000);
            socket
                .join_multicast_v4(&group, &Ipv4Addr::new(192, 0, 2, 2))
                .unwrap();
            socket
        }
        IpAddr::V6(group) if group.is_multicast() => {
            let socket = listening(Ipv6Addr::UNSPECIFIED.into(), 7000);
            socket.join_multicast_v6(&group, index_of("underlay")).unwrap();
            socket
        }
        IpAddr::V4(_) | IpAddr::V6(_) => listening(destination, 7000),
    });
    from.run(move || {
        let socket = bound(source, 0);
        setsockopt(&socket, sockopt::Mark, &mark).unwrap();
        if destination.is_multicast() {
            setsockopt(&socket, sockopt::BindToDevice, &OsString::from("underlay")).unwrap();
        }
        socket.send_to(b"hello", (destination, 7000)).unwrap();
    });
    receiver.recv_from(&mut [0; 100]).ok().map(|(_, from)| from.ip())
}

fn index_of(name: &str) -> u32 {
    nix::net::if_::if_nametoindex(name).unwrap()
}

fn listening(address: IpAddr, port: u16) -> UdpSocket {
    let socket = bound(address, port);
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket
}

/// Binds a socket, as soon as that is possible: a program that another test starts may hold the last one until it runs, and
/// an address of IPv6 can be used when the kernel has seen that the cable's other end is up.
fn bound(address: IpAddr, port: u16) -> UdpSocket {
    let is_early =
        |error: &std::io::Error| matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable);
    let mut bound = UdpSocket::bind((address, port));
    for _ in 0..100 {
        if !bound.as_ref().is_err_and(is_early) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
        bound = UdpSocket::bind((address, port));
    }
    bound.unwrap()
}

fn address(device: &str, addresses: &[&str]) {
    for address in addresses {
        let nodad = if address.contains(':') { " nodad" } else { "" };
        ip(&format!("addr add {address} dev {device}{nodad}"));
    }
    ip(&format!("link set {device} up"));
}
