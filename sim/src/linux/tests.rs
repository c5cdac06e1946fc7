mod devices;
mod fixture;
mod passages;
mod routes;
mod surveys;

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::LazyLock;

use ipnet::IpNet;
use proptest::prelude::*;
use selvedge_engine::{
    Address, IpVersion, KernelErrorKind, KernelObject, KernelOp, Link, LinkKind, LinkName, Masquerade,
    NextHop, Route, SubnetFile, Sysctl,
};

use super::{Foreign, ForeignRoute, Ingress, Linux, LinuxDrop, Passage, Verdict};
use crate::packet;

#[test]
fn a_packet_to_another_subnet_goes_into_the_tunnel_with_a_lower_ttl() {
    let linux = node();

    let passages = linux.handle_packet(Ingress::Pod, udp(POD, REMOTE_POD));

    let expected = Passage {
        verdict: Verdict::Tunnel,
        packet: packet::udp(POD, REMOTE_POD, packet::TTL - 1, b"probe"),
    };
    assert_eq!(passages, [expected]);
}

#[test]
fn a_packet_from_the_tunnel_reaches_the_pod_with_a_lower_ttl() {
    let linux = node();

    let passages = linux.handle_packet(Ingress::Tunnel(&tunnel()), udp(REMOTE_POD, POD));

    let expected = Passage {
        verdict: Verdict::Pod(POD),
        packet: packet::udp(REMOTE_POD, POD, packet::TTL - 1, b"probe"),
    };
    assert_eq!(passages, [expected]);
}

#[test]
fn without_the_daemon_nothing_leaves_the_node() {
    let mut linux = node();

    linux.end_daemon();

    let first = verdicts(&linux, Ingress::Pod, udp(POD, REMOTE_POD)).swap_remove(0);
    assert_eq!(first, Verdict::Dropped(LinuxDrop::NoRoute));
    assert!(linux.subnet_file().is_some());
}

#[test]
fn an_error_from_the_nodes_own_address_is_martian_unless_accepted() {
    let mut linux = node();
    let error = || udp(TUNNEL_ADDRESS, POD);
    let refused = verdicts(&linux, Ingress::Tunnel(&tunnel()), error());

    let [_, _, sysctl, ..] = objects();
    linux.apply(&KernelOp::Ensure(sysctl)).unwrap();

    let accepted = verdicts(&linux, Ingress::Tunnel(&tunnel()), error());
    assert_eq!(refused, [Verdict::Dropped(LinuxDrop::MartianSource)]);
    assert_eq!(accepted, [Verdict::Pod(POD)]);
}

#[test]
fn deleting_the_device_takes_its_routes_along() {
    let mut linux = node();

    assert!(linux.delete_link(&tunnel()));

    let first = verdicts(&linux, Ingress::Pod, udp(POD, REMOTE_POD)).swap_remove(0);
    assert_eq!(linux.tunnel(), None);
    assert_eq!(first, Verdict::Dropped(LinuxDrop::NoRoute));
}

#[test]
fn an_operation_done_twice_is_done_once() {
    let mut linux = node();
    let ops = objects().map(KernelOp::Ensure);
    for op in &ops {
        linux.apply(op).unwrap();
    }
    let once = linux.clone();

    for op in &ops {
        linux.apply(op).unwrap();
    }

    assert_eq!(format!("{linux:?}"), format!("{once:?}"));
}

#[test]
fn everything_that_is_removed_is_gone_and_removing_it_again_is_fine() {
    let mut linux = node();

    for _ in 0..2 {
        for op in objects().map(KernelOp::Remove).into_iter().rev() {
            linux.apply(&op).unwrap();
        }
    }

    assert_eq!((linux.tunnel(), linux.subnet_file()), (None, None));
    assert!(!linux.listens_on(SocketAddrV4::new(UNDERLAY, 8285)));
    assert_eq!(
        verdicts(&linux, Ingress::Pod, udp(POD, REMOTE_POD))[0],
        Verdict::Dropped(LinuxDrop::NoRoute)
    );
}

#[test]
fn what_hangs_on_a_device_needs_it() {
    let mut linux = Linux::new(UNDERLAY);

    let [_, _, sysctl, address, route, _] = objects();
    let kinds = [sysctl, address, route]
        .map(|object| linux.apply(&KernelOp::Ensure(object)).map_err(|error| error.kind));

    assert_eq!(kinds, [Err(KernelErrorKind::NotFound); 3]);
}

#[test]
fn a_socket_is_bound_to_an_own_address_alone() {
    let mut linux = Linux::new(UNDERLAY);
    let bind = |local| KernelOp::Ensure(KernelObject::Socket(local));

    let foreign = linux.apply(&bind(SocketAddrV4::new(OTHER_NODE, 8285)));
    let everywhere = linux.apply(&bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 8285)));

    assert_eq!(foreign.unwrap_err().kind, KernelErrorKind::NotFound);
    assert_eq!(everywhere, Ok(()));
    assert!(linux.listens_on(SocketAddrV4::new(UNDERLAY, 8285)));
    assert!(!linux.listens_on(SocketAddrV4::new(UNDERLAY, 8286)));
    assert!(!linux.listens_on(SocketAddrV4::new(OTHER_NODE, 8285)));
}

#[test]
fn what_another_program_holds_is_taken_until_it_lets_go() {
    let cases = [
        (Foreign::Port(8285), vec![], socket()),
        (Foreign::Link(tunnel()), vec![], link()),
        (
            Foreign::Route(ForeignRoute::blackhole("10.5.0.0/16".parse().unwrap())),
            vec![link()],
            route(),
        ),
    ];
    for (foreign, before, wanted) in cases {
        let mut linux = Linux::new(UNDERLAY);
        for object in before {
            linux.apply(&KernelOp::Ensure(object)).unwrap();
        }
        linux.occupy(foreign.clone());
        let wanted = KernelOp::Ensure(wanted);

        let taken = linux.apply(&wanted).map_err(|error| error.kind);
        linux.vacate(&foreign);

        assert_eq!(taken, Err(KernelErrorKind::Taken), "{foreign:?}");
        assert_eq!(linux.apply(&wanted), Ok(()));
    }
}

#[test]
fn a_longer_route_of_another_program_wins() {
    let mut linux = node();

    linux.occupy(Foreign::Route(ForeignRoute::blackhole(
        "10.5.2.0/24".parse().unwrap(),
    )));

    let hidden = verdicts(&linux, Ingress::Host, udp(TUNNEL_ADDRESS, REMOTE_POD));
    let beside = verdicts(
        &linux,
        Ingress::Host,
        udp(TUNNEL_ADDRESS, Ipv4Addr::new(10, 5, 3, 2)),
    );
    assert_eq!(hidden, [Verdict::Dropped(LinuxDrop::NoRoute)]);
    assert_eq!(beside, [Verdict::Tunnel]);
}

#[test]
fn a_device_that_is_set_down_loses_its_routes_until_they_are_made_again() {
    let mut linux = node();

    let was_up = linux.set_link_down(&tunnel());
    let down = (
        verdicts(&linux, Ingress::Host, udp(TUNNEL_ADDRESS, REMOTE_POD)),
        verdicts(&linux, Ingress::Tunnel(&tunnel()), udp(REMOTE_POD, POD)),
        linux.apply(&KernelOp::Ensure(route())).unwrap_err().kind,
    );
    linux.apply(&KernelOp::Ensure(link())).unwrap();
    let up = verdicts(&linux, Ingress::Host, udp(TUNNEL_ADDRESS, REMOTE_POD));
    linux.apply(&KernelOp::Ensure(route())).unwrap();
    let repaired = verdicts(&linux, Ingress::Host, udp(TUNNEL_ADDRESS, REMOTE_POD));

    assert!(was_up);
    let no_route = vec![Verdict::Dropped(LinuxDrop::NoRoute)];
    let no_device = vec![Verdict::Dropped(LinuxDrop::NoDevice)];
    assert_eq!(down, (no_route.clone(), no_device, KernelErrorKind::NotFound));
    assert_eq!(up, no_route);
    assert_eq!(repaired, [Verdict::Tunnel]);
}

#[test]
fn routes_that_are_deleted_are_reported() {
    let mut linux = node();

    let deleted = linux.delete_routes();

    assert_eq!(
        deleted.into_iter().map(KernelObject::Route).collect::<Vec<_>>(),
        [route()]
    );
    assert_eq!(linux.delete_routes(), []);
}

#[test]
fn a_pod_learns_from_the_kernel_why_its_packet_was_dropped() {
    let linux = node();
    let mut unroutable = Linux::new(UNDERLAY);
    unroutable.apply(&KernelOp::Ensure(subnet_file())).unwrap();
    let expired = packet::udp(POD, REMOTE_POD, 1, b"probe");
    let too_big = packet::udp(POD, REMOTE_POD, 64, &[0; 1500]);

    let cases = [
        (
            &unroutable,
            udp(POD, REMOTE_POD),
            LinuxDrop::NoRoute,
            [3, 0, 0, 0],
        ),
        (&linux, expired, LinuxDrop::TtlExceeded, [11, 0, 0, 0]),
        (&linux, too_big, LinuxDrop::TooBig, [3, 4, 0x05, 0xc0]),
    ];

    for (linux, packet, reason, [kind, code, mtu1, mtu0]) in cases {
        let passages = linux.handle_packet(Ingress::Pod, packet.clone());
        let [
            dropped,
            Passage {
                verdict,
                packet: error,
            },
        ] = passages.as_slice()
        else {
            panic!("{passages:?}");
        };
        let dropped_packet = Passage {
            verdict: Verdict::Dropped(reason),
            packet: packet.clone(),
        };
        assert_eq!(*dropped, dropped_packet);
        assert_eq!(*verdict, Verdict::Pod(POD));
        assert_eq!(packet::source(error), Some(GATEWAY));
        assert_eq!(
            [error[20], error[21], error[26], error[27]],
            [kind, code, mtu1, mtu0]
        );
        assert_eq!(
            packet::icmp_error_quote(error),
            Some(&packet[..packet.len().min(548)])
        );
    }
}

#[test]
fn an_error_about_a_packet_from_the_tunnel_goes_back_through_it() {
    let linux = node();

    let passages = linux.handle_packet(
        Ingress::Tunnel(&tunnel()),
        udp(REMOTE_POD, Ipv4Addr::new(10, 5, 1, 9)),
    );

    let [dropped, error] = passages.as_slice() else {
        panic!("{passages:?}");
    };
    assert_eq!(dropped.verdict, Verdict::Dropped(LinuxDrop::NoSuchPod));
    assert_eq!(error.verdict, Verdict::Tunnel);
    assert_eq!(packet::source(&error.packet), Some(TUNNEL_ADDRESS));
    assert_eq!(packet::destination(&error.packet), Some(REMOTE_POD));
    assert_eq!([error.packet[20], error.packet[21]], [3, 1]);
}

#[test]
fn an_error_is_never_answered_by_another() {
    let linux = node();
    let expired = packet::udp(POD, REMOTE_POD, 1, b"probe");
    let mut error = packet::icmp_error(
        packet::Problem::TtlExceeded,
        POD,
        &packet::udp(REMOTE_POD, POD, 1, b""),
    )
    .unwrap();
    while packet::ttl(&error) != Some(1) {
        packet::decrement_ttl(&mut error);
    }

    let about_udp = linux.handle_packet(Ingress::Pod, expired);
    let about_error = linux.handle_packet(Ingress::Pod, error);

    assert_eq!((about_udp.len(), about_error.len()), (2, 1));
    assert_eq!(about_error[0].verdict, Verdict::Dropped(LinuxDrop::TtlExceeded));
}

#[test]
fn a_large_packet_that_may_be_cut_leaves_in_fragments() {
    let linux = node();
    let mut packet = packet::udp(POD, REMOTE_POD, 64, &[0; 2000]);
    packet = packet::fragments(&packet, 4000).swap_remove(0);

    let passages = linux.handle_packet(Ingress::Pod, packet);

    let lengths: Vec<_> = passages.iter().map(|passage| passage.packet.len()).collect();
    assert_eq!(lengths, [1468, 580]);
    for Passage { verdict, packet } in passages {
        assert_eq!(verdict, Verdict::Tunnel);
        assert_eq!(packet::ttl(&packet), Some(63));
        assert!(packet::is_valid(&packet));
    }
}

#[test]
fn the_nodes_own_packets_keep_their_ttl() {
    let linux = node();

    let passages = linux.handle_packet(Ingress::Host, udp(TUNNEL_ADDRESS, REMOTE_POD));

    let expected = Passage {
        verdict: Verdict::Tunnel,
        packet: udp(TUNNEL_ADDRESS, REMOTE_POD),
    };
    assert_eq!(passages, [expected]);
}

#[test]
fn the_nodes_own_addresses_are_the_host() {
    let linux = node();

    for address in [
        UNDERLAY,
        GATEWAY,
        TUNNEL_ADDRESS,
        Ipv4Addr::new(10, 5, 1, 255),
        Ipv4Addr::BROADCAST,
    ] {
        assert_eq!(verdicts(&linux, Ingress::Pod, udp(POD, address)), [Verdict::Host]);
    }
}

#[test]
fn addresses_that_never_travel_are_martian_and_are_not_answered() {
    let linux = node();

    for address in [[0, 0, 0, 0], [127, 0, 0, 1]].map(Ipv4Addr::from) {
        let from = verdicts(&linux, Ingress::Tunnel(&tunnel()), udp(address, POD));
        let to = verdicts(&linux, Ingress::Pod, udp(POD, address));

        assert_eq!(from, [Verdict::Dropped(LinuxDrop::MartianSource)]);
        assert_eq!(to, [Verdict::Dropped(LinuxDrop::MartianDestination)]);
    }
    for address in [[224, 0, 0, 1], [255; 4]].map(Ipv4Addr::from) {
        let from = verdicts(&linux, Ingress::Tunnel(&tunnel()), udp(address, POD));

        assert_eq!(from, [Verdict::Dropped(LinuxDrop::MartianSource)]);
    }
}

#[test]
fn multicast_goes_nowhere_and_is_not_answered() {
    let linux = node();

    let verdicts = verdicts(&linux, Ingress::Pod, udp(POD, Ipv4Addr::new(224, 0, 0, 251)));

    assert_eq!(verdicts, [Verdict::Dropped(LinuxDrop::NoRoute)]);
}

#[test]
fn a_pod_with_the_address_of_its_host_is_martian() {
    let linux = node();

    let verdicts = verdicts(&linux, Ingress::Pod, udp(UNDERLAY, REMOTE_POD));

    assert_eq!(verdicts, [Verdict::Dropped(LinuxDrop::MartianSource)]);
}

proptest! {
    #[test]
    fn whatever_comes_in_leaves_valid_and_at_most_once_besides_an_error(
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..100),
            (any_host(), any_host(), any::<u8>(), 0..1600_usize).prop_map(|(source, destination, ttl, length)| {
                packet::udp(source, destination, ttl, &vec![7; length])
            }),
        ],
        ingress in prop_oneof![Just(Ingress::Pod), Just(Ingress::Host), Just(Ingress::Tunnel(&TUNNEL))],
    ) {
        let linux = node();

        let passages = linux.handle_packet(ingress, bytes.clone());

        let (dropped, left): (Vec<_>, Vec<_>) = passages
            .iter()
            .partition(|passage| matches!(passage.verdict, Verdict::Dropped(_)));
        prop_assert!(dropped.len() <= 1 && left.len() <= 1 && !passages.is_empty());
        for passage in left {
            prop_assert!(packet::is_valid(&passage.packet));
            prop_assert!(dropped.is_empty() || packet::icmp_error_quote(&passage.packet).is_some());
        }
    }
}

const UNDERLAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const POD: Ipv4Addr = Ipv4Addr::new(10, 5, 1, 2);
static TUNNEL: LazyLock<LinkName> = LazyLock::new(|| LinkName("flannel0".to_owned()));
const REMOTE_POD: Ipv4Addr = Ipv4Addr::new(10, 5, 2, 2);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 5, 1, 1);
const TUNNEL_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 5, 1, 0);
const OTHER_NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

fn node() -> Linux {
    let mut linux = Linux::new(UNDERLAY);
    for object in objects() {
        if !matches!(object, KernelObject::Sysctl(_)) {
            linux.apply(&KernelOp::Ensure(object)).unwrap();
        }
    }
    linux
}

/// What the daemon makes, in its order.
fn objects() -> [KernelObject; 6] {
    let sysctl = KernelObject::Sysctl(Sysctl {
        link: tunnel(),
        version: IpVersion::V4,
        key: "accept_local".into(),
        value: "1".into(),
    });
    let address = KernelObject::Address(Address {
        link: tunnel(),
        net: IpNet::from(IpAddr::V4(TUNNEL_ADDRESS)),
    });
    [socket(), link(), sysctl, address, route(), subnet_file()]
}

fn any_host() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![
        Just(POD),
        Just(REMOTE_POD),
        Just(TUNNEL_ADDRESS),
        Just(GATEWAY),
        Just(UNDERLAY),
        any::<Ipv4Addr>()
    ]
}

fn verdicts(linux: &Linux, ingress: Ingress<'_>, packet: Vec<u8>) -> Vec<Verdict> {
    let passages = linux.handle_packet(ingress, packet).into_iter();
    passages.map(|passage| passage.verdict).collect()
}

fn socket() -> KernelObject {
    KernelObject::Socket(SocketAddrV4::new(UNDERLAY, 8285))
}

fn link() -> KernelObject {
    KernelObject::Link(Link {
        name: tunnel(),
        kind: LinkKind::Tun,
        mtu: 1472,
        alias: String::new(),
    })
}

fn subnet_file() -> KernelObject {
    KernelObject::SubnetFile(SubnetFile {
        v4: Some(("10.5.0.0/16".parse().unwrap(), "10.5.1.0/24".parse().unwrap())),
        v6: None,
        mtu: 1472,
        masquerade: Masquerade::Off,
    })
}

fn route() -> KernelObject {
    let hop = NextHop::Link(tunnel());
    KernelObject::Route(Route::new("10.5.0.0/16".parse().unwrap(), hop))
}

fn tunnel() -> LinkName {
    TUNNEL.clone()
}

fn udp(source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
    packet::udp(source, destination, packet::TTL, b"probe")
}
