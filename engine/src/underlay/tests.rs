use alloc::string::ToString;

use super::*;

const PERMANENT: AddressFlags = AddressFlags::PERMANENT;
const DYNAMIC: AddressFlags = AddressFlags(0);

#[test]
fn the_default_route_chooses_if_nothing_is_asked_for() {
    let underlay = Underlay::select(&host(), &Selection::default()).unwrap();

    assert_eq!(underlay.interface, "eth0");
    assert_eq!(underlay.index, 2);
    assert_eq!(underlay.mtu, 1500);
    assert_eq!(underlay.address, Ipv4Addr::new(192, 0, 2, 1));
    assert_eq!(underlay.public_ip, Ipv4Addr::new(192, 0, 2, 1));
    assert_eq!(underlay.public_ipv6, None);
}

#[test]
fn a_name_chooses_the_interface_with_its_first_address() {
    let underlay = Underlay::select(&host(), &asked(&["dummy0"])).unwrap();

    assert_eq!(underlay.interface, "dummy0");
    assert_eq!(underlay.address, Ipv4Addr::new(1, 10, 100, 1));
}

#[test]
fn an_address_chooses_its_owner_with_that_address() {
    let underlay = Underlay::select(&host(), &asked(&["172.16.30.18"])).unwrap();

    assert_eq!(underlay.interface, "dummy0");
    assert_eq!(underlay.address, Ipv4Addr::new(172, 16, 30, 18));
    assert_eq!(underlay.public_ip, Ipv4Addr::new(172, 16, 30, 18));
}

#[test]
fn the_public_ip_may_differ_from_the_address_of_an_interface_asked_for() {
    let selection = Selection {
        public_ip: Some(Ipv4Addr::new(172, 16, 31, 200)),
        ..asked(&["172.16.30.18"])
    };

    let underlay = Underlay::select(&host(), &selection).unwrap();

    assert_eq!(underlay.address, Ipv4Addr::new(172, 16, 30, 18));
    assert_eq!(underlay.public_ip, Ipv4Addr::new(172, 16, 31, 200));
}

#[test]
fn the_public_ip_alone_chooses_its_owner() {
    let selection = Selection {
        public_ip: Some(Ipv4Addr::new(172, 16, 31, 200)),
        ..Selection::default()
    };

    let underlay = Underlay::select(&host(), &selection).unwrap();

    assert_eq!(underlay.interface, "dummy0");
    assert_eq!(underlay.address, Ipv4Addr::new(172, 16, 31, 200));
}

#[test]
fn a_destination_chooses_the_interface_and_the_source_of_its_route() {
    let source = IpAddr::from([172, 16, 32, 100]);
    let attachments = Attachments {
        lookup: Some(RouteLookup { interface: 3, source }),
        ..host()
    };
    let selection = Selection {
        interfaces: vec![InterfaceChoice::CanReach(IpAddr::from([172, 16, 32, 254]))],
        ..Selection::default()
    };

    let underlay = Underlay::select(&attachments, &selection).unwrap();

    assert_eq!(underlay.interface, "dummy0");
    assert_eq!(underlay.address, Ipv4Addr::new(172, 16, 32, 100));
}

#[test]
fn the_first_choice_that_fits_is_taken() {
    let underlay = Underlay::select(&host(), &asked(&["nope", "10.9.9.9", "dummy0", "eth0"])).unwrap();

    assert_eq!(underlay.interface, "dummy0");
}

#[test]
fn dual_stack_takes_the_v6_address_of_the_same_interface() {
    let selection = Selection {
        families: Families::Dual,
        ..asked(&["172.16.30.18"])
    };
    let announced = Selection {
        public_ipv6: Some("2001:db8::99".parse().unwrap()),
        ..selection.clone()
    };

    let underlay = Underlay::select(&host(), &selection).unwrap();
    let elsewhere = Underlay::select(&host(), &announced).unwrap();

    assert_eq!(underlay.public_ipv6, Some("2001:db8::1".parse().unwrap()));
    assert_eq!(elsewhere.public_ipv6, announced.public_ipv6);
}

#[test]
fn a_v6_address_chooses_its_owner_in_dual_stack() {
    let selection = Selection {
        families: Families::Dual,
        ..asked(&["2001:db8::1"])
    };

    let underlay = Underlay::select(&host(), &selection).unwrap();

    assert_eq!(underlay.address, Ipv4Addr::new(1, 10, 100, 1));
    assert_eq!(underlay.public_ipv6, Some("2001:db8::1".parse().unwrap()));
}

#[test]
fn ipv6_alone_takes_the_interface_of_its_own_default_route() {
    let selection = Selection {
        families: Families::V6,
        ..Selection::default()
    };
    let attachments = Attachments {
        default_routes_v6: vec![3],
        ..host()
    };

    let underlay = Underlay::select(&attachments, &selection).unwrap();

    assert_eq!(underlay.interface, "dummy0");
    assert_eq!(underlay.public_ipv6, Some("2001:db8::1".parse().unwrap()));
    assert!(underlay.address.is_unspecified() && underlay.public_ip.is_unspecified());
    assert!(underlay.serves(Families::V6) && !underlay.serves(Families::V4));
}

#[test]
fn the_public_ipv6_alone_chooses_its_owner() {
    for families in [Families::V6, Families::Any] {
        let selection = Selection {
            families,
            public_ipv6: Some("2001:db8::1".parse().unwrap()),
            ..Selection::default()
        };

        let underlay = Underlay::select(&host(), &selection).unwrap();

        assert_eq!(underlay.interface, "dummy0");
        assert_eq!(underlay.public_ipv6, selection.public_ipv6);
    }
}

#[test]
fn any_family_is_ipv4_with_what_else_there_is_and_ipv6_only_without_ipv4() {
    let any = Selection {
        families: Families::Any,
        ..Selection::default()
    };
    let link_local = Attachments {
        interfaces: vec![interface(
            "eth0",
            2,
            1500,
            &[("192.0.2.1", PERMANENT), ("fe80::1", PERMANENT)],
        )],
        ..host()
    };
    let both = Attachments {
        default_routes: vec![3],
        ..host()
    };
    let v6 = Attachments {
        interfaces: vec![interface("eth0", 2, 1500, &[("2001:db8::7", PERMANENT)])],
        default_routes: Vec::new(),
        default_routes_v6: vec![2],
        lookup: None,
    };

    let [link_local, both, v6] =
        [link_local, both, v6].map(|attachments| Underlay::select(&attachments, &any).unwrap());

    assert!(link_local.serves(Families::V4) && !link_local.serves(Families::V6));
    assert!(both.serves(Families::Dual));
    assert!(v6.serves(Families::V6) && !v6.serves(Families::V4));
    assert!(Underlay::select(&Attachments::default(), &any).is_err());
}

#[test]
fn better_addresses_come_first_whatever_the_kernels_order() {
    let secondary = AddressFlags(PERMANENT.0 | AddressFlags::TEMPORARY.0);
    let deprecated = AddressFlags(PERMANENT.0 | AddressFlags::DEPRECATED.0);
    let ranked = [
        ("198.51.100.1", PERMANENT),
        ("198.51.100.2", PERMANENT),
        ("198.51.100.3", secondary),
        ("198.51.100.4", DYNAMIC),
        ("169.254.0.5", PERMANENT),
        ("198.51.100.6", deprecated),
        ("127.0.0.7", PERMANENT),
    ];

    for best in 0..5 {
        let mut addresses = ranked[best..].to_vec();
        if best != 0 {
            addresses.reverse();
        }
        let eth0 = interface("eth0", 2, 1500, &addresses);

        assert_eq!(eth0.best_v4(), Some(ranked[best].0.parse().unwrap()));
    }
    assert_eq!(interface("eth0", 2, 1500, &ranked[5..]).best_v4(), None);
}

#[test]
fn a_link_local_address_is_no_successor_of_another() {
    let with = |addresses: &[(&str, AddressFlags)]| Attachments {
        interfaces: vec![interface("eth0", 2, 1500, addresses)],
        default_routes: vec![2],
        ..Attachments::default()
    };
    let selection = Selection {
        families: Families::Any,
        ..Selection::default()
    };
    let both = with(&[
        ("192.0.2.1", PERMANENT),
        ("2001:db8::1", PERMANENT),
        ("fe80::1", PERMANENT),
    ]);
    let underlay = Underlay::select(&both, &selection).unwrap();
    let followed = |addresses: &[(&str, AddressFlags)]| underlay.follow(&with(addresses), &selection);

    assert_eq!(
        followed(&[("192.0.2.1", PERMANENT), ("fe80::1", PERMANENT)]),
        None
    );
    assert_eq!(
        followed(&[("169.254.0.1", PERMANENT), ("2001:db8::1", PERMANENT)]),
        None
    );
    let moved = followed(&[
        ("192.0.2.9", PERMANENT),
        ("fe80::1", PERMANENT),
        ("2001:db8::9", PERMANENT),
    ]);
    let moved = moved.unwrap();
    assert_eq!(moved.public_ip, Ipv4Addr::new(192, 0, 2, 9));
    assert_eq!(moved.public_ipv6, Some("2001:db8::9".parse().unwrap()));
}

#[test]
fn errors_say_what_there_is_and_what_to_do() {
    let without_routes = Attachments {
        default_routes: Vec::new(),
        ..host()
    };
    let bare = Attachments {
        interfaces: vec![interface("lo", 1, 65536, &[("127.0.0.1", PERMANENT)])],
        ..Attachments::default()
    };
    let dual = |selection: Selection| Selection {
        families: Families::Dual,
        ..selection
    };
    let two_ways = Attachments {
        default_routes_v6: vec![3],
        ..host()
    };
    let public = |text: &str| Selection {
        public_ip: Some(text.parse().unwrap()),
        ..Selection::default()
    };
    let unreachable = Selection {
        interfaces: vec![InterfaceChoice::CanReach(IpAddr::from([203, 0, 113, 1]))],
        ..Selection::default()
    };
    let loopback = Selection {
        public_ip: Some(Ipv4Addr::LOCALHOST),
        ..asked(&["eth0"])
    };

    let v6_alone = |selection: Selection| Selection {
        families: Families::V6,
        ..selection
    };
    let multicast = Selection {
        public_ipv6: Some("ff02::1".parse().unwrap()),
        ..asked(&["dummy0"])
    };

    let report = [
        (&without_routes, Selection::default()),
        (&bare, Selection::default()),
        (&host(), asked(&["nope"])),
        (&host(), asked(&["nope", "10.9.9.9"])),
        (&host(), public("203.0.113.7")),
        (&host(), unreachable),
        (&host(), asked(&["lo"])),
        (&host(), asked(&["down0"])),
        (&host(), asked(&["127.0.0.1"])),
        (&host(), loopback),
        (&host(), dual(asked(&["eth0"]))),
        (&host(), dual(Selection::default())),
        (&two_ways, dual(Selection::default())),
        (&host(), v6_alone(Selection::default())),
        (&host(), v6_alone(asked(&["eth0"]))),
        (&host(), v6_alone(multicast)),
    ]
    .map(|(attachments, selection)| Underlay::select(attachments, &selection).unwrap_err().to_string())
    .join("\n");

    insta::assert_snapshot!(report);
}

/// A host with a default route by `eth0`, and the `dummy0` of the conformance statements.
fn host() -> Attachments {
    let dummy0 = [
        ("1.10.100.1", PERMANENT),
        ("192.168.200.128", PERMANENT),
        ("172.16.30.18", PERMANENT),
        ("172.16.31.200", PERMANENT),
        ("172.16.32.100", PERMANENT),
        ("2001:db8::1", PERMANENT),
    ];
    Attachments {
        interfaces: vec![
            interface("lo", 1, 65536, &[("127.0.0.1", PERMANENT), ("::1", PERMANENT)]),
            interface("eth0", 2, 1500, &[("192.0.2.1", DYNAMIC)]),
            interface("dummy0", 3, 1400, &dummy0),
            interface("down0", 4, 0, &[("198.51.100.1", PERMANENT)]),
        ],
        default_routes: vec![2],
        default_routes_v6: Vec::new(),
        lookup: None,
    }
}

fn interface(name: &str, index: u32, mtu: u32, addresses: &[(&str, AddressFlags)]) -> Interface {
    let addresses = addresses.iter().map(|(address, flags)| InterfaceAddress {
        address: address.parse().unwrap(),
        flags: *flags,
    });
    Interface {
        name: name.to_string(),
        index,
        mtu,
        addresses: addresses.collect(),
    }
}

fn asked(interfaces: &[&str]) -> Selection {
    Selection {
        interfaces: interfaces.iter().map(|text| text.parse().unwrap()).collect(),
        ..Selection::default()
    }
}
