use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::NetlinkMessage;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::LinkFlags;
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourState};
use netlink_packet_route::route::RouteProtocol;
use rtnetlink::{LinkUnspec, RouteMessageBuilder};
use selvedge_engine::{
    FdbEntry, GroupPolicy, KernelFacts, Learning, LinkKind, LinkName, MacAddress, Vni, Vxlan,
};

use super::*;

const PORT: u32 = 4711;
const TUNNEL: u32 = 7;
const ETH0: u32 = 2;
const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 7]);
const PEERS_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 8]);
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3));

#[test]
fn an_overrun_is_suspicious() {
    let mut overrun = by_others(RouteNetlinkMessage::NewRoute(route(ETH0, RouteProtocol::Boot)));
    overrun.payload = NetlinkPayload::Overrun(Vec::new());

    assert!(watch().suspects(&overrun));
}

#[test]
fn routes_of_the_main_table_are_suspicious_unless_we_or_our_devices_bring_them() {
    let mut watch = watch();
    let new = |route| RouteNetlinkMessage::NewRoute(route);
    let mut elsewhere = route(ETH0, RouteProtocol::Boot);
    elsewhere.header.table = 77;

    assert!(watch.suspects(&by_others(new(route(ETH0, RouteProtocol::Boot)))));
    assert!(watch.suspects(&by_others(RouteNetlinkMessage::DelRoute(route(
        TUNNEL,
        83.into()
    )))));
    assert!(watch.suspects(&by_others(new(route(ETH0, RouteProtocol::Kernel)))));
    assert!(!watch.suspects(&by_us(new(route(TUNNEL, 83.into())))));
    assert!(!watch.suspects(&by_others(new(route(TUNNEL, RouteProtocol::Kernel)))));
    assert!(!watch.suspects(&by_others(new(elsewhere))));
}

#[test]
fn a_forwarding_entry_is_compared_with_what_was_made() {
    let mut watch = watch();
    let (place, content) = Place::of_fdb_entry(TUNNEL, &entry(PEER));
    watch.making(place, content);

    assert!(!watch.suspects(&by_others(RouteNetlinkMessage::NewNeighbour(fdb(PEER)))));
    assert!(watch.suspects(&by_others(RouteNetlinkMessage::NewNeighbour(fdb(OTHER)))));
    assert!(watch.suspects(&by_others(RouteNetlinkMessage::DelNeighbour(fdb(PEER)))));

    // One removal explains one notification.
    assert!(watch.removing(place, &content));
    assert!(!watch.suspects(&by_others(RouteNetlinkMessage::DelNeighbour(fdb(PEER)))));
    assert!(watch.suspects(&by_others(RouteNetlinkMessage::DelNeighbour(fdb(PEER)))));
}

#[test]
fn what_a_survey_found_counts_as_made() {
    let mut watch = watch();
    let facts = KernelFacts {
        links: vec![links::found(&link(LinkFlags::Up, 1450)).unwrap()],
        fdb: vec![entry(PEER)],
        ..KernelFacts::default()
    };
    let survey = Survey {
        tunnels: vec![name()],
        destination: None,
    };

    watch.surveyed(&survey, &facts);

    assert!(!watch.suspects(&by_others(RouteNetlinkMessage::NewNeighbour(fdb(PEER)))));
    assert!(watch.suspects(&by_others(RouteNetlinkMessage::NewNeighbour(fdb(OTHER)))));
}

#[test]
fn what_took_the_place_of_an_entry_is_not_removed_with_it() {
    let mut watch = watch();
    let (place, content) = Place::of_fdb_entry(TUNNEL, &entry(PEER));
    watch.making(place, content);
    watch.making(place, Content::Node(OTHER));

    assert!(!watch.removing(place, &content));
    assert!(watch.removing(place, &Content::Node(OTHER)));
}

#[test]
fn a_device_on_its_way_to_what_we_want_is_not_suspicious_and_any_later_change_is() {
    let mut watch = watch();
    let down = || by_others(RouteNetlinkMessage::NewLink(link(LinkFlags::empty(), 1450)));
    let up = || by_others(RouteNetlinkMessage::NewLink(link(LinkFlags::Up, 1450)));

    assert!(!watch.suspects(&down()));
    assert!(!watch.suspects(&up()));
    assert!(!watch.suspects(&up()));

    assert!(watch.suspects(&down()));
    assert!(watch.suspects(&up()));
    assert!(watch.suspects(&by_others(RouteNetlinkMessage::NewLink(link(
        LinkFlags::Up,
        1300
    )))));
    assert!(watch.suspects(&by_others(RouteNetlinkMessage::DelLink(link(
        LinkFlags::Up,
        1450
    )))));
}

#[test]
fn with_a_device_that_we_deleted_everything_on_it_goes_unsuspected() {
    let mut watch = watch();
    let (place, content) = Place::of_fdb_entry(TUNNEL, &entry(PEER));
    watch.making(place, content);

    watch.link_deleted(TUNNEL);

    assert!(!watch.suspects(&by_others(RouteNetlinkMessage::DelNeighbour(fdb(PEER)))));
    assert!(!watch.suspects(&by_others(RouteNetlinkMessage::DelRoute(route(
        TUNNEL,
        83.into()
    )))));
    assert!(!watch.suspects(&by_others(RouteNetlinkMessage::DelLink(link(
        LinkFlags::empty(),
        1450
    )))));
}

/// The watch of a node that has just made its tunnel.
fn watch() -> Watch {
    let mut watch = Watch::new(PORT);
    let wanted = Link {
        name: name(),
        kind: LinkKind::Vxlan(Vxlan {
            vni: Vni::new(1).unwrap(),
            local: Ipv4Addr::new(192, 0, 2, 1).into(),
            underlay: LinkName("eth0".to_owned()),
            port: 8472,
            learning: Learning::Off,
            group_policy: GroupPolicy::Off,
            mac: MAC,
        }),
        mtu: 1450,
        alias: String::new(),
    };
    watch.link_made(TUNNEL, wanted, None);
    watch
}

fn by_us(message: RouteNetlinkMessage) -> Notification {
    let mut notification = by_others(message);
    notification.header.port_number = PORT;
    notification
}

fn by_others(message: RouteNetlinkMessage) -> Notification {
    NetlinkMessage::from(message)
}

fn route(link: u32, protocol: RouteProtocol) -> RouteMessage {
    RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(Ipv4Addr::new(10, 50, 2, 0), 24)
        .output_interface(link)
        .protocol(protocol)
        .build()
}

fn link(flags: LinkFlags, mtu: u32) -> LinkMessage {
    let mut link = LinkUnspec::new_with_index(TUNNEL)
        .name(name().0)
        .mtu(mtu)
        .address(MAC.0.to_vec())
        .build();
    link.header.flags = flags;
    link
}

fn entry(node: IpAddr) -> FdbEntry {
    FdbEntry {
        link: name(),
        mac: PEERS_MAC,
        node,
    }
}

fn fdb(node: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = TUNNEL;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = NeighbourFlags::Own;
    message.attributes = vec![
        NeighbourAttribute::LinkLayerAddress(PEERS_MAC.0.to_vec()),
        NeighbourAttribute::Destination(node.into()),
    ];
    message
}

fn name() -> LinkName {
    LinkName("flannel.1".to_owned())
}
