use alloc::string::ToString;
use alloc::vec;

use super::*;
use crate::desired::Owner;
use crate::engine::outbox::Outbox;
use crate::kernel::{FdbEntry, FoundAddress, FoundFirewall, GroupPolicy, Learning, Neighbour};
use crate::rng::Rng;
use crate::subnet::Subnet;
use crate::time::Instant;
use crate::underlay::AddressFlags;

const ALIAS: &str = "selvedge:/coreos.com/network";

#[test]
fn what_bears_our_mark_is_ours() {
    let found = ours(&node(ALIAS, ROUTE_PROTOCOL), &Reconciler::default());

    insta::assert_snapshot!(listed(&found), @r"
    VXLAN device flannel.1 mtu 1450 address 02:00:00:00:00:01 id 1 local 192.0.2.1 dev eth0 dstport 8472 nolearning
    address 10.50.1.0/32 on flannel.1
    forwarding entry 02:00:00:00:00:02 dst 192.0.2.2 dev flannel.1
    neighbour 10.50.2.0 lladdr 02:00:00:00:00:02 dev flannel.1
    route 10.50.2.0/24 via 10.50.2.0 dev flannel.1 onlink
    ");
}

#[test]
fn what_flannel_left_is_taken_over_with_its_device() {
    let flannels = ours(&node("", FLANNEL_ROUTE_PROTOCOL), &Reconciler::default());

    let ours = ours(&node(ALIAS, ROUTE_PROTOCOL), &Reconciler::default());
    assert_eq!(listed(&flannels), listed(&ours));
    let unmarked = flannels
        .values()
        .filter(|object| !ours.values().any(|own| own == *object));
    let unmarked: Vec<_> = unmarked.map(ToString::to_string).collect();
    assert_eq!(
        unmarked.len(),
        2,
        "the device and the route want our mark: {unmarked:?}"
    );
}

#[test]
fn the_device_of_another_program_is_not_ours_nor_is_what_hangs_on_it() {
    let mut bridge = node("", FLANNEL_ROUTE_PROTOCOL);
    bridge.links[1].kind = FoundKind::Other;

    for facts in [
        bridge,
        node("selvedge:/another/network", FLANNEL_ROUTE_PROTOCOL),
        node("mine", FLANNEL_ROUTE_PROTOCOL),
    ] {
        let found = ours(&facts, &Reconciler::default());

        assert_eq!(listed(&found), "");
    }
}

#[test]
fn a_device_of_ours_with_another_name_or_number_is_still_ours() {
    let mut facts = node(ALIAS, ROUTE_PROTOCOL);
    facts.links[1].name = LinkName("renamed".to_string());

    let found = ours(&facts, &Reconciler::default());

    assert!(found.contains_key(&ObjectId::Link(LinkName("renamed".to_string()))));
}

#[test]
fn a_plain_route_without_mark_is_ours_only_if_it_is_to_a_peers_subnet_or_the_own() {
    let mut reconciler = Reconciler::default();
    let hop = |last| NextHop::Gateway {
        gateway: IpAddr::from([192, 0, 2, last]),
        link: LinkName("eth0".to_string()),
    };
    let wanted = |net: &str, last| KernelObject::Route(Route::new(net.parse().unwrap(), hop(last)));
    reconciler.desire(
        Owner::Node,
        vec![
            wanted("10.50.3.0/24", 3),
            wanted("10.50.4.0/24", 9),
            wanted("10.50.7.0/24", 7),
        ],
    );
    let mut facts = node(ALIAS, FLANNEL_ROUTE_PROTOCOL);
    facts.routes = ["10.50.3.0/24", "10.50.4.0/24", "10.50.5.0/24"]
        .iter()
        .zip(3..)
        .map(|(net, last)| plain(net, last, FLANNEL_ROUTE_PROTOCOL))
        .chain([
            plain("10.50.6.0/24", 6, ROUTE_PROTOCOL),
            plain("172.16.0.0/24", 6, ROUTE_PROTOCOL),
            elsewhere("10.50.7.0/24"),
            plain("10.50.1.0/24", 9, FLANNEL_ROUTE_PROTOCOL),
        ])
        .collect();

    let found = ours(&facts, &reconciler);

    let routes: Vec<_> = found
        .values()
        .filter_map(|object| {
            let KernelObject::Route(route) = object else {
                return None;
            };
            Some((route.destination.to_string(), route.mark))
        })
        .collect();
    assert_eq!(
        routes,
        [
            ("10.50.1.0/24".to_string(), RouteMark::Flannel),
            ("10.50.3.0/24".to_string(), RouteMark::Flannel),
            ("10.50.4.0/24".to_string(), RouteMark::Flannel),
            ("10.50.6.0/24".to_string(), RouteMark::Ours)
        ]
    );
}

#[test]
fn a_route_of_ours_that_somebody_changed_is_ours_to_repair() {
    let mut facts = node(ALIAS, ROUTE_PROTOCOL);
    facts.routes = vec![plain("10.50.3.0/24", 3, ROUTE_PROTOCOL)];
    let mut reconciler = Reconciler::default();
    let mut outbox = Outbox::new(Rng::new(1), Instant::ZERO);
    let found = ours(&facts, &reconciler);
    reconciler.desire(Owner::Node, found.values().cloned().collect());
    facts.routes = vec![elsewhere("10.50.3.0/24")];
    let id = ObjectId::Route("10.50.3.0/24".parse().unwrap());

    assert!(
        !ours(&facts, &reconciler).contains_key(&id),
        "nobody knows that it was ours"
    );
    reconciler.handle_survey(found, &mut outbox);
    assert!(ours(&facts, &reconciler).contains_key(&id));
}

#[test]
fn a_changed_route_to_the_whole_network_is_ours_to_repair() {
    let network: IpNet = "10.50.0.0/16".parse().unwrap();
    let tunnel = NextHop::Link(LinkName("flannel0".to_string()));
    let route = KernelObject::Route(Route::new(network, tunnel));
    let id = ObjectId::of(&route);
    let mut reconciler = Reconciler::default();
    reconciler.desire(Owner::Node, vec![route.clone()]);
    let mut facts = node(ALIAS, ROUTE_PROTOCOL);
    facts.routes = vec![plain("10.50.0.0/16", 9, FLANNEL_ROUTE_PROTOCOL)];

    assert!(!ours(&facts, &reconciler).contains_key(&id), "it is another's");
    let mut outbox = Outbox::new(Rng::new(1), Instant::ZERO);
    reconciler.handle_survey(BTreeMap::from([(id.clone(), route)]), &mut outbox);
    assert!(ours(&facts, &reconciler).contains_key(&id));
}

#[test]
fn a_device_that_only_has_to_be_set_up_is_not_there() {
    let mut facts = node(ALIAS, ROUTE_PROTOCOL);
    let name = LinkName("flannel.1".to_string());
    let id = ObjectId::Link(name);
    let up = ours(&facts, &Reconciler::default());
    let mut reconciler = Reconciler::default();
    reconciler.desire(Owner::Node, vec![up[&id].clone()]);
    facts.links[1].state = LinkState::Down;

    assert!(!ours(&facts, &reconciler).contains_key(&id));
    assert!(
        ours(&facts, &Reconciler::default()).contains_key(&id),
        "one that is not wanted has to be removed"
    );
}

/// A node with the objects of backends.md, 14.2, whose device has this alias and whose routes this protocol; and with
/// things of others around them.
fn node(alias: &str, protocol: u8) -> KernelFacts {
    let link = |index, name: &str, kind, alias: &str| FoundLink {
        name: LinkName(name.to_string()),
        index,
        kind,
        mtu: 1450,
        mac: Some(MacAddress([2, 0, 0, 0, 0, 1])),
        state: LinkState::Up,
        alias: alias.to_string(),
    };
    let vxlan = |vni| {
        FoundKind::Vxlan(FoundVxlan {
            vni,
            local: Some(IpAddr::from([192, 0, 2, 1])),
            underlay: Some(2),
            port: 8472,
            learning: Learning::Off,
            group_policy: GroupPolicy::Off,
        })
    };
    let address = |link, address: &str, prefix_len| FoundAddress {
        link,
        address: address.parse().unwrap(),
        prefix_len,
        flags: AddressFlags::default(),
    };
    let on_link = |net: &str| {
        let destination: IpNet = net.parse().unwrap();
        FoundRoute {
            destination,
            hop: FoundHop::OnLink {
                gateway: destination.network(),
                link: 5,
            },
            protocol,
            priority: 0,
        }
    };
    let mac = MacAddress([2, 0, 0, 0, 0, 2]);
    let name = LinkName("flannel.1".to_string());
    KernelFacts {
        links: vec![
            link(2, "eth0", FoundKind::Other, ""),
            link(5, "flannel.1", vxlan(1), alias),
            link(6, "flannel.7", vxlan(7), ""),
        ],
        addresses: vec![
            address(2, "192.0.2.1", 24),
            address(5, "10.50.1.0", 32),
            address(5, "fe80::1", 64),
            address(5, "172.31.0.1", 24),
            address(6, "10.50.1.0", 32),
        ],
        neighbours: vec![
            Neighbour {
                link: name.clone(),
                address: IpAddr::from([10, 50, 2, 0]),
                mac,
            },
            Neighbour {
                link: name.clone(),
                address: IpAddr::from([172, 31, 0, 2]),
                mac,
            },
        ],
        fdb: vec![FdbEntry {
            link: name,
            mac,
            node: IpAddr::from([192, 0, 2, 2]),
        }],
        routes: vec![
            on_link("10.50.2.0/24"),
            FoundRoute {
                priority: 50,
                ..on_link("10.50.9.0/24")
            },
            FoundRoute {
                protocol: 4,
                ..on_link("10.50.8.0/24")
            },
            plain("10.50.7.0/24", 7, FLANNEL_ROUTE_PROTOCOL),
        ],
        lookup: None,
        firewall: FoundFirewall::default(),
    }
}

fn plain(net: &str, last: u8, protocol: u8) -> FoundRoute {
    FoundRoute {
        destination: net.parse().unwrap(),
        hop: FoundHop::Gateway {
            gateway: IpAddr::from([192, 0, 2, last]),
            link: 2,
        },
        protocol,
        priority: 0,
    }
}

/// A route without mark by way of a device of another program.
fn elsewhere(net: &str) -> FoundRoute {
    FoundRoute {
        hop: FoundHop::Gateway {
            gateway: IpAddr::from([192, 0, 2, 7]),
            link: 6,
        },
        ..plain(net, 7, FLANNEL_ROUTE_PROTOCOL)
    }
}

fn ours(facts: &KernelFacts, reconciler: &Reconciler) -> BTreeMap<ObjectId, KernelObject> {
    let ownership = Ownership {
        alias: ALIAS,
        tunnels: &[LinkName("flannel.1".to_string())],
        networks: &["10.50.0.0/16".parse().unwrap()],
        reconciler,
        tuns: Tuns::OwnAlone,
        carried: Some(Subnet::V4("10.50.1.0/24".parse().unwrap())),
        underlay: Some("eth0"),
    };
    ownership.of(facts)
}

fn listed(found: &BTreeMap<ObjectId, KernelObject>) -> String {
    let lines: Vec<_> = found.values().map(ToString::to_string).collect();
    lines.join("\n")
}
