use selvedge_engine::{
    Address, KernelErrorKind, KernelObject, KernelOp, Link, LinkName, LinkState, Survey, Sysctl,
};

use super::fixture::{
    A, B, C, address, device, eth0, flannel1, make, neighbour, own_objects, peer_objects, vxlan_node,
    vxlan_of,
};
use crate::linux::{Foreign, Linux};

#[test]
fn a_deleted_device_takes_all_that_hangs_on_it() {
    let mut linux = vxlan_node(A, &[B]);
    make(&mut linux, [accept_ra()]);
    let before = linux.survey(&tunnels());

    linux.delete_link(&flannel1());
    make(&mut linux, [KernelObject::Link(device(A))]);

    let after = linux.survey(&tunnels());
    assert_eq!((before.neighbours.len(), before.fdb.len()), (1, 1));
    assert_eq!((after.neighbours.len(), after.fdb.len()), (0, 0));
    assert_eq!(v4_addresses(&linux), Vec::<String>::new());
    assert_eq!(linux.daemon_routes(), []);
    assert!(!format!("{linux:?}").contains("accept_ra"));
}

#[test]
fn a_device_that_is_set_down_keeps_its_ipv4_addresses_and_forwarding_entries_alone() {
    let mut linux = vxlan_node(A, &[B]);
    let v6 = Address {
        link: flannel1(),
        net: "fd50:0:0:1::/128".parse().unwrap(),
    };
    make(&mut linux, [KernelObject::Address(v6)]);

    linux.set_link_down(&flannel1());

    let facts = linux.survey(&tunnels());
    assert_eq!(v4_addresses(&linux), ["10.50.1.0/32"]);
    assert!(
        !facts
            .addresses
            .iter()
            .any(|found| found.address.is_ipv6() && found.link > 2)
    );
    assert_eq!((facts.neighbours.len(), facts.fdb.len()), (0, 1));
    assert_eq!(linux.daemon_routes(), []);
}

#[test]
fn the_last_ipv4_address_takes_the_ipv4_routes_and_neighbours_of_the_device_along() {
    let mut linux = vxlan_node(A, &[B]);
    let other = Address {
        link: flannel1(),
        net: "10.50.9.0/32".parse().unwrap(),
    };
    make(&mut linux, [KernelObject::Address(other.clone())]);

    remove(&mut linux, KernelObject::Address(other));
    let with_one_left = (linux.daemon_routes().len(), linux.neighbour_count());
    remove(&mut linux, KernelObject::Address(address(A)));

    assert_eq!(with_one_left, (1, 1));
    assert_eq!((linux.daemon_routes().len(), linux.neighbour_count()), (0, 0));
    assert_eq!(linux.survey(&tunnels()).fdb.len(), 1);
}

#[test]
fn another_hardware_address_takes_the_neighbours() {
    let mut linux = vxlan_node(A, &[B]);

    make(&mut linux, [KernelObject::Link(with_mac(C.mac))]);
    let ensured = linux.neighbour_count();
    linux
        .apply(&KernelOp::Replace(KernelObject::Link(with_mac(C.mac))))
        .unwrap();

    assert_eq!((ensured, linux.neighbour_count()), (1, 0));
    let facts = linux.survey(&tunnels());
    assert!(facts.links.iter().any(|link| link.mac == Some(C.mac)));
}

#[test]
fn a_vxlan_device_goes_with_the_card_below_it() {
    let mut linux = vxlan_node(A, &[B]);

    linux.delete_link(&eth0());

    assert_eq!(linux.tunnel(), None);
    let again = linux.apply(&KernelOp::Ensure(KernelObject::Link(device(A))));
    assert_eq!(again.map_err(|error| error.kind), Err(KernelErrorKind::NotFound));
}

#[test]
fn a_renamed_device_keeps_its_index_and_all_that_hangs_on_it() {
    let mut linux = vxlan_node(A, &[B]);
    let index = index_of(&linux, "flannel.1");

    linux.rename_link(&flannel1(), LinkName("vx0".to_owned()));

    assert_eq!(index_of(&linux, "vx0"), index);
    assert_eq!(linux.daemon_routes().len(), 1);
    let again = linux.apply(&KernelOp::Ensure(KernelObject::Neighbour(neighbour(B))));
    assert_eq!(again.map_err(|error| error.kind), Err(KernelErrorKind::NotFound));
}

#[test]
fn an_index_is_never_used_again() {
    let mut linux = vxlan_node(A, &[]);
    let first = index_of(&linux, "flannel.1");

    linux.delete_link(&flannel1());
    make(&mut linux, own_objects(A));

    assert!(index_of(&linux, "flannel.1") > first);
}

#[test]
fn two_vxlan_devices_of_one_ip_version_share_no_identifier_and_port() {
    let mut linux = vxlan_node(A, &[]);
    let mut same = device(A);
    same.name = LinkName("vx1".to_owned());
    let mut other_port = same.clone();
    vxlan_of(&mut other_port).port = 4789;
    let mut v6 = same.clone();
    vxlan_of(&mut v6).local = "2001:db8:77::1".parse().unwrap();

    let mut outcome = |link: &Link| {
        let result = linux.apply(&KernelOp::Ensure(KernelObject::Link(link.clone())));
        linux.delete_link(&link.name);
        result.map_err(|error| error.kind)
    };

    assert_eq!(outcome(&same), Err(KernelErrorKind::Taken));
    assert_eq!(outcome(&other_port), Ok(()));
    assert_eq!(outcome(&v6), Ok(()));
}

#[test]
fn a_vxlan_device_is_never_wider_than_the_card_below_allows() {
    let wide = |local: &str| {
        let mut link = device(A);
        link.mtu = 9000;
        vxlan_of(&mut link).local = local.parse().unwrap();
        let mut linux = Linux::new(A.address);
        make(&mut linux, [KernelObject::Link(link)]);
        linux.link_mtu(&flannel1())
    };

    assert_eq!(wide("192.0.2.1"), Some(1450));
    assert_eq!(wide("2001:db8:77::1"), Some(1430));
}

#[test]
fn a_device_of_another_kind_or_with_other_attributes_is_left_alone() {
    let mut occupied = Linux::new(A.address);
    occupied.occupy(Foreign::Link(flannel1()));
    let before = occupied.clone();
    let mut other_port = device(A);
    vxlan_of(&mut other_port).port = 4789;
    let mut different = vxlan_node(A, &[B]);

    let taken = [
        occupied.apply(&KernelOp::Ensure(KernelObject::Link(device(A)))),
        different.apply(&KernelOp::Ensure(KernelObject::Link(other_port))),
    ];
    remove(&mut occupied, KernelObject::Link(device(A)));

    for result in taken {
        assert_eq!(result.map_err(|error| error.kind), Err(KernelErrorKind::Taken));
    }
    assert_eq!(occupied, before);
    assert_eq!(different, vxlan_node(A, &[B]));
}

#[test]
fn a_vxlan_device_of_another_program_keeps_its_identifier_and_its_removal_is_noticed() {
    let mut others = device(A);
    others.name = LinkName("weave".to_owned());
    let mut linux = Linux::new(A.address);
    linux.occupy(Foreign::Tunnel(others.clone()));

    let ours = linux.apply(&KernelOp::Ensure(KernelObject::Link(device(A))));
    let (tunnel, untouched) = (linux.tunnel().cloned(), linux.taken_away().count());
    remove(&mut linux, KernelObject::Link(others));

    assert_eq!(ours.map_err(|error| error.kind), Err(KernelErrorKind::Taken));
    assert_eq!((tunnel, untouched), (None, 0));
    assert_eq!(linux.taken_away().count(), 1);
}

#[test]
fn a_vxlan_device_outlives_the_daemon() {
    let mut linux = vxlan_node(A, &[B]);
    let before = linux.clone();

    linux.end_daemon();

    assert_eq!(linux, before);
}

#[test]
fn what_is_set_up_twice_is_set_up_once_and_what_is_removed_is_gone() {
    let mut linux = vxlan_node(A, &[B, C]);
    let once = linux.clone();
    let objects = || {
        let peers = [B, C].into_iter().flat_map(peer_objects);
        own_objects(A).into_iter().chain(peers)
    };

    make(&mut linux, objects());
    let twice = linux.clone();
    for object in objects().collect::<Vec<_>>().into_iter().rev() {
        remove(&mut linux, object);
    }

    assert_eq!(twice, once);
    assert_eq!((linux.tunnel(), linux.daemon_routes()), (None, vec![]));
}

#[test]
fn a_card_that_comes_up_again_has_its_usual_routes_and_no_others() {
    let mut linux = vxlan_node(A, &[B]);
    let before = linux.survey(&tunnels());
    make(
        &mut linux,
        [KernelObject::Route(super::fixture::gateway_route(
            super::fixture::Node {
                lease: "10.50.7.0/24".parse().unwrap(),
                ..B
            },
        ))],
    );

    linux.detach();
    let down = linux.survey(&tunnels());
    linux.attach();

    let state = |index: usize| down.links.get(index).map(|link| link.state);
    assert_eq!((state(1), state(3)), (Some(LinkState::Down), Some(LinkState::Up)));
    assert_eq!(linux.survey(&tunnels()).routes, before.routes);
}

fn with_mac(mac: selvedge_engine::MacAddress) -> Link {
    let mut link = device(A);
    vxlan_of(&mut link).mac = mac;
    link
}

fn remove(linux: &mut Linux, object: KernelObject) {
    linux.apply(&KernelOp::Remove(object)).unwrap();
}

fn accept_ra() -> KernelObject {
    KernelObject::Sysctl(Sysctl {
        link: flannel1(),
        version: selvedge_engine::IpVersion::V6,
        key: "accept_ra".into(),
        value: "0".into(),
    })
}

fn tunnels() -> Survey {
    Survey {
        tunnels: vec![flannel1()],
        destination: None,
    }
}

fn index_of(linux: &Linux, name: &str) -> Option<u32> {
    let links = linux.survey(&Survey::default()).links;
    let found = links.iter().find(|link| link.name.0 == name);
    found.map(|link| link.index)
}

/// Returns the IPv4 addresses of the tunnel device.
fn v4_addresses(linux: &Linux) -> Vec<String> {
    let index = index_of(linux, "flannel.1");
    let addresses = linux.survey(&Survey::default()).addresses.into_iter();
    addresses
        .filter(|found| Some(found.link) == index && found.address.is_ipv4())
        .map(|found| format!("{}/{}", found.address, found.prefix_len))
        .collect()
}
