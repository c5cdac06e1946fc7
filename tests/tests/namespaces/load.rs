//! Under a flood of packets the node stays in control, and what breaks then is repaired.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use selvedge_host::lab::{Namespace, Pace, Place, Stopwatch};
use selvedge_tests::need;
use selvedge_tests::real_nodes::{RealNodes, node, wait_until};

use crate::PROGRAM;
use crate::firewall::nft;
use crate::hostile::counters;

/// In no lease, and in the network.
const NOWHERE: Ipv4Addr = Ipv4Addr::new(10, 50, 255, 9);
const TUNNEL: u16 = 8285;

#[test]
fn a_new_lease_is_taken_up_while_packets_to_nowhere_and_from_strangers_flood_the_node() {
    need!(root, tun, ip, etcd);
    let real = RealNodes::up("t-flood", 2, PROGRAM);
    let first = Place::Node(node(1));
    let _to_nowhere = Flood::start(&real.lab.namespace(Place::Pod(node(1))), NOWHERE, 9);
    let _from_stranger = Flood::start(&real.lab.namespace(Place::Store), [192, 0, 2, 1].into(), TUNNEL);
    thread::sleep(Duration::from_millis(300));

    let waiting = Stopwatch::start();
    real.put(
        "subnets/10.50.254.0-24",
        r#"{"PublicIP":"192.0.2.77","BackendType":"udp"}"#,
    );
    let log = real.lab.log_file(first);
    let taken = wait_until(Duration::from_secs(5), || {
        std::fs::read_to_string(&log).is_ok_and(|log| log.contains("10.50.254.0-24 via 192.0.2.77"))
    });
    let took = waiting.elapsed();

    assert!(taken, "{}", real.log(node(1)));
    println!("the lease was taken up within {took:?}");
    let counted = counters(&real);
    assert!(counted.get("no_route") > 1_000 && counted.get("truncated") > 1_000);
    // About every packet to nowhere an error would be due; they are rationed.
    assert!(
        counted.get("icmp_errors") < 2_000,
        "{}",
        counted.get("icmp_errors")
    );
}

#[test]
fn a_device_that_is_deleted_set_down_or_made_narrower_under_load_is_repaired() {
    need!(root, tun, ip, etcd);
    let mut real = RealNodes::up("t-broken", 2, PROGRAM);
    let namespace = real.lab.namespace(Place::Node(node(1)));
    let load = Flood::start(&real.lab.namespace(Place::Pod(node(1))), real.pod(2), 9);
    let back = Flood::start(&real.lab.namespace(Place::Pod(node(2))), real.pod(1), 9);

    let breakages: [&[&str]; 3] = [
        &["link", "set", "flannel0", "mtu", "1000"],
        &["link", "set", "flannel0", "down"],
        &["link", "delete", "flannel0"],
    ];
    for breakage in breakages {
        namespace.ip(breakage).expect("broken");

        let repaired = wait_until(Duration::from_secs(5), || {
            let link = namespace.ip_output(&["link", "show", "flannel0"]);
            let routes = namespace.ip_output(&["route", "show", "dev", "flannel0"]);
            link.is_ok_and(|link| link.contains("mtu 1472") && link.contains(",UP"))
                && routes.is_ok_and(|routes| routes.contains("10.50.0.0/16"))
        });
        assert!(repaired, "{breakage:?}: {}", real.log(node(1)));
    }

    drop((load, back));
    real.await_traffic();
    let links = real.lab.ping_all_pods(Pace::QUICK).expect("probes are sent");
    assert!(links.iter().all(|link| link.echoes.lost() == 0));
}

#[test]
fn what_a_firewall_forbids_is_counted_and_flows_again_when_it_is_allowed() {
    need!(root, tun, ip, etcd, nft);
    let mut real = RealNodes::up("t-forbid", 2, PROGRAM);
    let namespace = real.lab.namespace(Place::Node(node(1)));
    let forbid = [
        "add table inet strict",
        "add chain inet strict output { type filter hook output priority 0; }",
        "add rule inet strict output udp dport 8285 drop",
    ];
    nft(&namespace, &forbid);

    let load = Flood::start(&real.lab.namespace(Place::Pod(node(1))), real.pod(2), 9);
    thread::sleep(Duration::from_millis(500));
    drop(load);
    let counted = counters(&real);
    nft(&namespace, &["delete table inet strict"]);

    assert!(
        counted.get("send_forbidden") > 100,
        "{}",
        counted.get("send_forbidden")
    );
    real.await_traffic();
}

/// Datagrams of a few bytes, as fast as they can be sent, until it is dropped.
struct Flood {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    fn start(from: &Namespace, to: Ipv4Addr, port: u16) -> Self {
        let socket = from.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)));
        let socket = socket.expect("the namespace is there").expect("a port");
        let ended = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&ended);
        let target = SocketAddrV4::new(to, port);
        let thread = thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                // An ICMP error that came back costs one.
                drop(socket.send_to(b"flood", target));
            }
        });
        Self {
            ended,
            thread: Some(thread),
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
