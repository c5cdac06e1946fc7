use alloc::string::{String, ToString as _};
use alloc::vec;

use super::*;
use crate::kernel::{FoundKind, FoundLink, FoundRoute, LinkState};

#[test]
fn the_longest_prefix_decides_and_of_equal_ones_the_lowest_priority() {
    let ways = Ways::of(
        &facts(vec![
            route("0.0.0.0/0", gateway(1), 0),
            route("192.0.2.0/24", FoundHop::Link(1), 100),
            route("192.0.2.0/24", FoundHop::Link(2), 0),
            route("192.0.2.128/25", gateway(1), 0),
            route("2001:db8::/32", FoundHop::Link(2), 256),
        ]),
        &[],
    );

    for (address, link) in [
        ("192.0.2.7", Some("tun5")),
        ("192.0.2.200", None),
        ("198.51.100.1", None),
        ("2001:db8::7", Some("tun5")),
        ("2001:db9::7", None),
    ] {
        let found = ways.link_to(address.parse().unwrap());
        assert_eq!(found.map(|link| link.0.as_str()), link, "{address}");
    }
}

#[test]
fn our_routes_and_those_into_the_overlay_are_no_underlay() {
    let ours = FoundRoute {
        protocol: ROUTE_PROTOCOL,
        ..route("192.0.2.0/24", FoundHop::Link(1), 0)
    };
    let overlay: IpNet = "10.5.0.0/16".parse().unwrap();
    let ways = Ways::of(
        &facts(vec![ours, route("10.5.2.0/24", FoundHop::Link(1), 0)]),
        &[overlay],
    );

    assert_eq!(ways, Ways::default());
}

fn facts(routes: Vec<FoundRoute>) -> KernelFacts {
    let link = |index, name: &str| FoundLink {
        name: LinkName(name.to_string()),
        index,
        kind: FoundKind::Other,
        mtu: 1500,
        mac: None,
        state: LinkState::Up,
        alias: String::new(),
    };
    KernelFacts {
        links: vec![link(1, "eth0"), link(2, "tun5")],
        routes,
        ..KernelFacts::default()
    }
}

fn route(destination: &str, hop: FoundHop, priority: u32) -> FoundRoute {
    FoundRoute {
        destination: destination.parse().unwrap(),
        hop,
        protocol: 2,
        priority,
    }
}

fn gateway(link: u32) -> FoundHop {
    FoundHop::Gateway {
        gateway: "192.0.2.254".parse().unwrap(),
        link,
    }
}
