use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};
use proptest::prelude::*;
use selvedge_engine::{
    FLANNEL_ROUTE_PROTOCOL, FoundHop, FoundRoute, KernelErrorKind, KernelObject, KernelOp, NextHop, Route,
    RouteMark,
};

use super::fixture::{A, B, C, attached, eth0, gateway_route, host_gw_node, make, onlink_route, own_objects};
use crate::linux::route_table::RouteTable;
use crate::linux::{Foreign, ForeignRoute, Linux, Verdict};
use crate::packet;

#[test]
fn a_gateway_has_to_be_on_the_link_unless_the_route_says_that_it_is() {
    let mut linux = attached(A);
    make(&mut linux, own_objects(A));

    let outcomes =
        [gateway_route(B), gateway_route(C), onlink_route(C)].map(|route| ensure(&mut linux, route));

    let [near, far, onlink] = outcomes;
    assert_eq!((near, onlink), (Ok(()), Ok(())));
    assert_eq!(far, Err(KernelErrorKind::Other));
    let own = Route::new(
        B.lease.into(),
        NextHop::Gateway {
            gateway: A.address.into(),
            link: eth0(),
        },
    );
    assert_eq!(ensure(&mut attached(A), own), Err(KernelErrorKind::Other));
}

#[test]
fn a_route_through_a_card_that_is_down_is_refused() {
    let mut linux = attached(A);

    linux.detach();

    assert_eq!(
        ensure(&mut linux, gateway_route(B)),
        Err(KernelErrorKind::NotFound)
    );
}

#[test]
fn the_place_of_anothers_route_is_taken_until_it_is_replaced() {
    let foreign = Foreign::Route(ForeignRoute::blackhole(B.lease.into()));
    let mut linux = attached(A);
    linux.occupy(foreign.clone());

    let ensured = ensure(&mut linux, gateway_route(B));
    let untouched = linux.taken_away().count();
    let replaced = linux.apply(&KernelOp::Replace(KernelObject::Route(gateway_route(B))));

    assert_eq!((ensured, untouched), (Err(KernelErrorKind::Taken), 0));
    assert_eq!(replaced, Ok(()));
    assert_eq!(linux.daemon_routes(), [gateway_route(B)]);
    // The checker of foreign state notices what the replacement took away.
    assert_eq!(linux.taken_away().collect::<Vec<_>>(), [&foreign]);
}

#[test]
fn another_gateway_in_the_place_of_our_route_needs_a_replacement_too() {
    let mut linux = host_gw_node(A, &[B]);
    linux.misdirect_route(0);

    let ensured = ensure(&mut linux, gateway_route(B));
    let replaced = linux.apply(&KernelOp::Replace(KernelObject::Route(gateway_route(B))));

    assert_eq!((ensured, replaced), (Err(KernelErrorKind::Taken), Ok(())));
    assert_eq!(linux, host_gw_node(A, &[B]));
}

#[test]
fn a_route_is_removed_by_the_mark_that_it_bears_alone() {
    let ours = gateway_route(B);
    let flannels = Route {
        mark: RouteMark::Flannel,
        ..ours.clone()
    };
    let mut linux = host_gw_node(A, &[]);
    make(&mut linux, [KernelObject::Route(flannels.clone())]);

    remove(&mut linux, ours);
    let by_our_mark = linux.daemon_routes();
    remove(&mut linux, flannels.clone());

    assert_eq!(by_our_mark, [flannels]);
    assert_eq!(linux.daemon_routes(), []);
}

#[test]
fn of_routes_to_the_same_destination_the_lowest_priority_is_used() {
    let mut linux = host_gw_node(A, &[B]);
    let foreign = |priority| {
        Foreign::Route(ForeignRoute {
            hop: Some(NextHop::Gateway {
                gateway: Ipv4Addr::new(192, 0, 2, 77).into(),
                link: eth0(),
            }),
            protocol: FLANNEL_ROUTE_PROTOCOL,
            priority,
            ..ForeignRoute::blackhole(B.lease.into())
        })
    };

    linux.occupy(foreign(100));

    let ping = packet::udp(A.pod(), B.pod(), 64, b"x");
    let passages = linux.handle_packet(crate::linux::Ingress::Pod, ping);
    assert_eq!(passages[0].verdict, Verdict::Frame { next_hop: B.address });
}

#[test]
fn the_route_that_an_address_brings_along_comes_back_when_its_place_is_free() {
    let mut linux = host_gw_node(A, &[]);
    let stale = Route {
        destination: A.lease.into(),
        ..gateway_route(B)
    };
    let connected = way_to_own_pod(&linux);

    linux
        .apply(&KernelOp::Replace(KernelObject::Route(stale.clone())))
        .unwrap();
    let hidden = way_to_own_pod(&linux);
    remove(&mut linux, stale);

    assert_ne!(hidden, connected);
    assert_eq!(way_to_own_pod(&linux), connected);
}

proptest! {
    #[test]
    fn the_longest_prefix_of_a_table_wins(
        nets in proptest::collection::vec((any::<u16>(), 0..=32_u8), 0..30),
        wanted: u16,
    ) {
        let base = u32::from(Ipv4Addr::new(10, 50, 0, 0));
        let nets: Vec<Ipv4Net> = nets
            .into_iter()
            .map(|(low, length)| Ipv4Net::new(Ipv4Addr::from(base | u32::from(low)), length).unwrap().trunc())
            .collect();
        let mut table = RouteTable::default();
        for (number, net) in nets.iter().enumerate() {
            table.insert(&FoundRoute {
                destination: IpNet::V4(*net),
                hop: FoundHop::Link(u32::try_from(number).unwrap()),
                protocol: 3,
                priority: 0,
            });
        }
        let address = Ipv4Addr::from(base | u32::from(wanted));

        let found = table.lookup(address.into());

        let covering = nets.iter().enumerate().filter(|(_, net)| net.contains(&address));
        // Of equal destinations the last was inserted over the others.
        let expected = covering.max_by_key(|(number, net)| (net.prefix_len(), *number));
        let expected = expected.map(|(number, _)| FoundHop::Link(u32::try_from(number).unwrap()));
        prop_assert_eq!(found, expected);
    }
}

fn ensure(linux: &mut Linux, route: Route) -> Result<(), KernelErrorKind> {
    let result = linux.apply(&KernelOp::Ensure(KernelObject::Route(route)));
    result.map_err(|error| error.kind)
}

fn remove(linux: &mut Linux, route: Route) {
    linux
        .apply(&KernelOp::Remove(KernelObject::Route(route)))
        .unwrap();
}

fn way_to_own_pod(linux: &Linux) -> Option<FoundHop> {
    linux.routes.lookup(A.pod().into())
}
