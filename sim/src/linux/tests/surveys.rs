use std::net::IpAddr;

use selvedge_engine::{
    FoundHop, FoundKind, FoundRoute, FoundVxlan, GroupPolicy, Learning, LinkState, ROUTE_PROTOCOL,
    RouteLookup, Survey,
};

use super::fixture::{A, B, C, ROUTER, fdb_entry, flannel1, neighbour, vxlan_node};
use crate::linux::Linux;

#[test]
fn a_survey_finds_what_was_made_as_it_was_made() {
    let linux = vxlan_node(A, &[B, C]);

    let facts = linux.survey(&survey(None));

    let names: Vec<&str> = facts.links.iter().map(|link| link.name.0.as_str()).collect();
    assert_eq!(names, ["lo", "eth0", "flannel.1", "cni0"]);
    let device = &facts.links[2];
    let vxlan = FoundVxlan {
        vni: 1,
        local: Some(A.address.into()),
        underlay: Some(2),
        port: 8472,
        learning: Learning::Off,
        group_policy: GroupPolicy::Off,
    };
    assert_eq!(device.kind, FoundKind::Vxlan(vxlan));
    assert_eq!(
        (device.index, device.mtu, device.mac, device.state),
        (3, 1450, Some(A.mac), LinkState::Up)
    );
    assert_eq!(device.alias, "selvedge");
    assert_eq!(facts.neighbours, [neighbour(B), neighbour(C)]);
    assert_eq!(facts.fdb, [fdb_entry(B), fdb_entry(C)]);
    let route = FoundRoute {
        destination: B.lease.into(),
        hop: FoundHop::OnLink {
            gateway: B.vtep(),
            link: 3,
        },
        protocol: ROUTE_PROTOCOL,
        priority: 0,
    };
    assert!(facts.routes.contains(&route));
}

#[test]
fn a_survey_shows_the_addresses_and_routes_of_everybody() {
    let linux = vxlan_node(A, &[]);

    let facts = linux.survey(&survey(None));

    let v4 = facts.addresses.iter().filter(|found| found.address.is_ipv4());
    let v4: Vec<String> = v4
        .map(|found| format!("{} {}/{}", found.link, found.address, found.prefix_len))
        .collect();
    assert_eq!(
        v4,
        [
            "1 127.0.0.1/32",
            "2 192.0.2.1/24",
            "3 10.50.1.0/32",
            "4 10.50.1.1/24"
        ]
    );
    let link_local = facts
        .addresses
        .iter()
        .find(|found| found.link == 3 && found.address.is_ipv6());
    assert_eq!(
        link_local.map(|found| found.address.to_string()).as_deref(),
        Some("fe80::443d:a8ff:fedc:ed01")
    );
    let routes: Vec<(String, FoundHop)> = facts
        .routes
        .iter()
        .filter(|route| route.destination.addr().is_ipv4())
        .map(|route| (route.destination.to_string(), route.hop))
        .collect();
    let gateway = FoundHop::Gateway {
        gateway: ROUTER.into(),
        link: 2,
    };
    assert_eq!(
        routes,
        [
            ("0.0.0.0/0".to_owned(), gateway),
            ("10.50.1.0/24".to_owned(), FoundHop::Link(4)),
            ("192.0.2.0/24".to_owned(), FoundHop::Link(2)),
        ]
    );
}

#[test]
fn neighbours_and_entries_are_those_of_the_devices_that_were_asked_about() {
    let facts = vxlan_node(A, &[B]).survey(&Survey::default());

    assert_eq!((facts.neighbours.len(), facts.fdb.len()), (0, 0));
}

#[test]
fn the_way_to_a_destination_has_the_device_and_the_source_that_packets_get() {
    let mut linux = vxlan_node(A, &[B]);
    let by = |interface, source: IpAddr| Some(RouteLookup { interface, source });

    assert_eq!(way(&linux, B.address.into()), by(2, A.address.into()));
    assert_eq!(way(&linux, C.address.into()), by(2, A.address.into()));
    assert_eq!(way(&linux, B.pod().into()), by(3, A.vtep()));
    assert_eq!(way(&linux, A.address.into()), by(1, A.address.into()));
    assert_eq!(way(&linux, "2001:db8::1".parse().unwrap()), None);
    linux.detach();
    assert_eq!(way(&linux, C.address.into()), None);
}

fn way(linux: &Linux, destination: IpAddr) -> Option<RouteLookup> {
    linux.survey(&survey(Some(destination))).lookup
}

fn survey(destination: Option<IpAddr>) -> Survey {
    Survey {
        tunnels: vec![flannel1()],
        destination,
    }
}
