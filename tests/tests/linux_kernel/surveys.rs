//! A survey finds what was made, with the same values.

use std::net::IpAddr;

use selvedge_engine::{
    FoundHop, FoundKind, FoundLink, FoundRoute, FoundVxlan, GroupPolicy, KernelFacts, KernelObject, Learning,
    LinkKind, LinkName, LinkState, MacAddress, NextHop, Survey,
};
use selvedge_host::kernel::Kernel as _;
use selvedge_tests::need;

use super::objects::{MAC, device, gateways, name, route, tunnel, tunnel_v6, vxlan};
use super::support::{Node, OWN, add_underlay, bridge, in_namespace, ip};

const TUNNELS: [&str; 2] = ["flannel.1", "flannel-v6.1"];

#[test]
fn what_is_made_is_found_with_the_same_values() {
    need!(root, ip);

    in_namespace(async || {
        add_underlay();
        let mut node = Node::new();
        let peers = tunnel().into_iter().chain(tunnel_v6());
        let plain = [
            route("10.60.0.0/16", NextHop::Link(name("flannel.1"))),
            route("fd60::/48", NextHop::Link(name("flannel-v6.1"))),
        ];
        let objects: Vec<KernelObject> = peers.chain(plain).collect();
        for object in objects.clone() {
            node.ensure(object).await;
        }

        let facts = node.survey(&TUNNELS).await;

        for object in &objects {
            assert!(is_found(&facts, object), "{object} in {facts:#?}");
        }
        assert_eq!((facts.neighbours.len(), facts.fdb.len()), (2, 2), "{facts:#?}");

        // Without being asked for a device, its entries are not looked at.
        let facts = node.survey(&[]).await;
        assert_eq!((facts.neighbours.len(), facts.fdb.len()), (0, 0));
    });
}

#[test]
fn the_device_is_found_as_the_kernel_has_it() {
    need!(root, ip);

    in_namespace(async || {
        add_underlay();
        let mut node = Node::new();
        let wanted = selvedge_engine::Vxlan {
            learning: Learning::On,
            group_policy: GroupPolicy::On,
            ..vxlan()
        };
        node.ensure(KernelObject::Link(device(wanted))).await;
        ip("link set flannel.1 down");

        let facts = node.survey(&[]).await;

        let eth0 = link_named(&facts, "eth0");
        assert_eq!(eth0.kind, FoundKind::Other);
        assert_eq!(eth0.mac, Some(MacAddress([2, 0, 0, 0, 0, 1])));
        assert_eq!(link_named(&facts, "lo").mac, None);
        assert_eq!(
            *link_named(&facts, "flannel.1"),
            FoundLink {
                name: name("flannel.1"),
                index: link_named(&facts, "flannel.1").index,
                kind: FoundKind::Vxlan(FoundVxlan {
                    vni: 1,
                    local: Some(OWN.into()),
                    underlay: Some(eth0.index),
                    port: 8472,
                    learning: Learning::On,
                    group_policy: GroupPolicy::On,
                }),
                mtu: 1450,
                mac: Some(MAC),
                state: LinkState::Down,
                alias: "selvedge 10.50.0.0/16".to_owned(),
            }
        );
    });
}

#[test]
fn routes_of_others_are_found_as_they_are() {
    need!(root, ip);

    in_namespace(async || {
        add_underlay();
        let mut node = Node::new();
        for object in gateways() {
            node.ensure(object).await;
        }
        ip("route add default via 192.0.2.254");
        ip("route add 10.1.0.0/16 via 192.0.2.7 metric 50 proto static");
        ip("route add 10.2.0.0/16 nexthop via 192.0.2.7 nexthop via 192.0.2.8");
        ip("route add blackhole 10.3.0.0/16");
        ip("route add 10.4.0.0/16 via inet6 2001:db8:77::9 dev eth0");
        ip("route add 10.5.0.0/16 via 192.0.2.7 table 77");

        let facts = node.survey(&[]).await;

        let eth0 = link_named(&facts, "eth0").index;
        let found: Vec<String> = facts.routes.iter().map(|found| describe(found, eth0)).collect();
        let wanted = [
            "0.0.0.0/0 via 192.0.2.254 proto 3 metric 0",
            "10.1.0.0/16 via 192.0.2.7 proto 4 metric 50",
            "10.2.0.0/16 other proto 3 metric 0",
            "10.3.0.0/16 other proto 3 metric 0",
            "10.4.0.0/16 via 2001:db8:77::9 proto 3 metric 0",
            "10.50.2.0/24 via 192.0.2.2 proto 83 metric 0",
            "192.0.2.0/24 link proto 2 metric 0",
            "2001:db8:77::/64 link proto 2 metric 256",
            "fd50:0:0:2::/64 via 2001:db8:77::2 proto 83 metric 1024",
        ];
        assert_eq!(found, wanted);
    });
}

#[test]
fn entries_that_are_not_permanent_are_left_out() {
    need!(root, ip, bridge);

    in_namespace(async || {
        add_underlay();
        let mut node = Node::new();
        for object in tunnel() {
            node.ensure(object).await;
        }
        ip("neigh add 10.50.7.0 lladdr 02:00:00:00:00:77 dev flannel.1 nud stale");
        bridge("fdb add 02:00:00:00:00:77 dev flannel.1 dst 192.0.2.7 self dynamic");
        bridge("fdb append 00:00:00:00:00:00 dev flannel.1 dst 192.0.2.8 self permanent");

        let facts = node.survey(&TUNNELS).await;

        assert_eq!((facts.neighbours.len(), facts.fdb.len()), (1, 1), "{facts:#?}");
    });
}

#[test]
fn the_way_to_a_destination_is_the_kernels() {
    need!(root, ip);

    in_namespace(async || {
        add_underlay();
        let mut node = Node::new();
        let mut ask = async |destination: &str| {
            let survey = Survey {
                tunnels: Vec::new(),
                destination: Some(destination.parse::<IpAddr>().unwrap()),
            };
            let facts = node.kernel.survey(&survey).await.unwrap();
            let eth0 = link_named(&facts, "eth0").index;
            facts.lookup.map(|way| (way.interface == eth0, way.source))
        };

        assert_eq!(ask("192.0.2.7").await, Some((true, OWN.into())));
        assert_eq!(
            ask("2001:db8:77::7").await,
            Some((true, "2001:db8:77::1".parse().unwrap()))
        );
        assert_eq!(ask("198.51.100.1").await, None);
    });
}

fn is_found(facts: &KernelFacts, object: &KernelObject) -> bool {
    let index = |link: &LinkName| {
        facts
            .links
            .iter()
            .find(|found| found.name == *link)
            .map(|found| found.index)
    };
    match object {
        KernelObject::Link(link) => {
            let LinkKind::Vxlan(vxlan) = &link.kind else {
                return false;
            };
            let found = facts.links.iter().find(|found| found.name == link.name).unwrap();
            found.mtu == link.mtu
                && found.alias == link.alias
                && found.state == LinkState::Up
                && found.mac == Some(vxlan.mac)
                && found.kind
                    == FoundKind::Vxlan(FoundVxlan {
                        vni: vxlan.vni.into(),
                        local: Some(vxlan.local),
                        underlay: index(&vxlan.underlay),
                        port: vxlan.port,
                        learning: vxlan.learning,
                        group_policy: vxlan.group_policy,
                    })
        }
        KernelObject::Address(address) => facts.addresses.iter().any(|found| {
            Some(found.link) == index(&address.link)
                && found.address == address.net.addr()
                && found.prefix_len == address.net.prefix_len()
        }),
        KernelObject::FdbEntry(entry) => facts.fdb.contains(entry),
        KernelObject::Neighbour(neighbour) => facts.neighbours.contains(neighbour),
        KernelObject::Route(route) => {
            let link = index(route.hop.link()).unwrap();
            let hop = match route.hop {
                NextHop::Link(_) => FoundHop::Link(link),
                NextHop::Gateway { gateway, .. } => FoundHop::Gateway { gateway, link },
                NextHop::OnLink { gateway, .. } => FoundHop::OnLink { gateway, link },
            };
            facts.routes.iter().any(|found| {
                found.destination == route.destination
                    && found.hop == hop
                    && found.protocol == route.mark.protocol()
            })
        }
        KernelObject::Socket(_)
        | KernelObject::Sysctl(_)
        | KernelObject::Ruleset(_)
        | KernelObject::Member(_)
        | KernelObject::SubnetFile(_) => false,
    }
}

fn link_named<'a>(facts: &'a KernelFacts, wanted: &str) -> &'a FoundLink {
    facts.links.iter().find(|found| found.name.0 == wanted).unwrap()
}

fn describe(found: &FoundRoute, eth0: u32) -> String {
    let FoundRoute {
        destination,
        hop,
        protocol,
        priority,
    } = found;
    let hop = match hop {
        FoundHop::Link(link) if *link == eth0 => "link".to_owned(),
        FoundHop::Gateway { gateway, link } if *link == eth0 => format!("via {gateway}"),
        FoundHop::OnLink { gateway, .. } => format!("via {gateway} onlink"),
        FoundHop::Other => "other".to_owned(),
        FoundHop::Link(link) | FoundHop::Gateway { link, .. } => format!("device {link}"),
    };
    format!("{destination} {hop} proto {protocol} metric {priority}")
}
