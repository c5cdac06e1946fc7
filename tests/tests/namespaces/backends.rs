//! Each backend carries the pods' packets, of any size that fits, and says which do not.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use selvedge_host::lab::{Namespace, Pace, Place};
use selvedge_tests::backend::{Backend, Families};
use selvedge_tests::need;
use selvedge_tests::real_nodes::{RealNodes, node};

use crate::PROGRAM;
use crate::traffic::noise;

const PORT: u16 = 7002;
const LENGTH: usize = 2_000_000;

#[test]
fn vxlan_carries_ipv4() {
    need!(root, ip, ping, etcd);
    let real = RealNodes::up_with_backend("t-vx4", 3, Backend::Vxlan, Families::V4, PROGRAM);

    all_pods_reach_each_other(&real, Families::V4);
    the_largest_packet_passes(&real, Families::V4, 1450);
}

#[test]
fn vxlan_carries_ipv4_and_ipv6() {
    need!(root, ip, ping, etcd);
    let real = RealNodes::up_with_backend("t-vx6", 2, Backend::Vxlan, Families::Dual, PROGRAM);

    all_pods_reach_each_other(&real, Families::Dual);
    the_largest_packet_passes(&real, Families::Dual, 1430);
}

#[test]
fn vxlan_with_direct_routing_carries_ipv4_on_the_link_and_past_a_router() {
    need!(root, ip, ping, etcd);
    let real = RealNodes::up_with_backend("t-vxdirect", 3, Backend::VxlanDirect, Families::V4, PROGRAM);

    all_pods_reach_each_other(&real, Families::V4);
    the_largest_packet_passes(&real, Families::V4, 1450);
}

#[test]
fn host_gw_carries_ipv4() {
    need!(root, ip, ping, etcd);
    let real = RealNodes::up_with_backend("t-gw4", 3, Backend::HostGw, Families::V4, PROGRAM);

    all_pods_reach_each_other(&real, Families::V4);
    the_largest_packet_passes(&real, Families::V4, 1500);
}

#[test]
fn host_gw_carries_ipv4_and_ipv6() {
    need!(root, ip, ping, etcd);
    let real = RealNodes::up_with_backend("t-gw6", 2, Backend::HostGw, Families::Dual, PROGRAM);

    all_pods_reach_each_other(&real, Families::Dual);
    the_largest_packet_passes(&real, Families::Dual, 1500);
}

/// Every pod pings every other and sends it a file.
fn all_pods_reach_each_other(real: &RealNodes, families: Families) {
    let links = real.lab.ping_all_pods(Pace::QUICK).expect("probes are sent");
    for link in &links {
        let (sent, lost) = (link.echoes.sent(), link.echoes.lost());
        assert_eq!((sent, lost), (5, 0), "{} to {}", link.from, link.to);
    }
    let numbers = 1..=u8::try_from(real.lab.nodes().len()).expect("few nodes");
    let pairs = numbers
        .clone()
        .flat_map(|from| numbers.clone().map(move |to| (from, to)));
    for (from, to) in pairs.filter(|(from, to)| from != to) {
        let [client, server] = [from, to].map(|number| real.lab.namespace(Place::Pod(node(number))));
        assert_eq!(talk(&client, &server, real.pod(to).into()), real.pod(from));
        match families {
            Families::V4 => {}
            Families::Dual => {
                let output = ping(&client, real.pod_v6(to).into(), 56, 3);
                assert!(output.contains(" 0% packet loss"), "{output}");
                assert_eq!(talk(&client, &server, real.pod_v6(to).into()), real.pod_v6(from));
            }
        }
    }
}

/// A packet as large as the MTU passes whole; one byte more is refused by the pod's own kernel.
fn the_largest_packet_passes(real: &RealNodes, families: Families, mtu: usize) {
    let network = real.lab.pod_network(node(1)).expect("the subnet file");
    assert_eq!(usize::try_from(network.mtu), Ok(mtu));
    let versions = match families {
        Families::V4 => vec![(IpAddr::from(real.pod(2)), 28)],
        Families::Dual => vec![(real.pod(2).into(), 28), (real.pod_v6(2).into(), 48)],
    };
    let pod = real.lab.namespace(Place::Pod(node(1)));
    for (to, headers) in versions {
        let fits = ping(&pod, to, mtu - headers, 1);
        let is_too_long = ping(&pod, to, mtu - headers + 1, 1);

        assert!(fits.contains(" 0% packet loss"), "{fits}");
        assert!(is_too_long.contains("message too long"), "{is_too_long}");
    }
}

/// Sends a file over TCP and hears its length back; returns who the other end says it came from.
fn talk(client: &Namespace, server: &Namespace, address: IpAddr) -> IpAddr {
    let listener = server.enter(|| TcpListener::bind((address, PORT)));
    let listener = listener.expect("the pod is there").expect("the port is free");
    let receiver = thread::spawn(move || {
        let (mut stream, peer) = listener.accept().expect("a client comes");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("it speaks");
        stream.write_all(b"whole").expect("it hears");
        (bytes, peer.ip())
    });
    let sent = noise(LENGTH);
    let stream = client.enter(|| TcpStream::connect((address, PORT)));
    let mut stream = stream.expect("the pod is there").expect("it connects");
    stream.write_all(&sent).expect("sent");
    stream.shutdown(Shutdown::Write).expect("finished");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");

    let (bytes, from) = receiver.join().expect("the receiver ends");
    assert!(bytes == sent, "{} of {LENGTH} bytes", bytes.len());
    assert_eq!(answer, "whole");
    from
}

/// Pings with packets that must not be cut, of so many bytes of payload; returns what the program prints.
pub(crate) fn ping(from: &Namespace, to: IpAddr, payload: usize, count: u8) -> String {
    let mut command: Command = from.command("ping");
    command.args(["-M", "do", "-W", "2", "-i", "0.2"]);
    command.args([
        "-c",
        &count.to_string(),
        "-s",
        &payload.to_string(),
        &to.to_string(),
    ]);
    let output = command.output().expect("ping runs");
    let texts = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&texts).into_owned()
}
