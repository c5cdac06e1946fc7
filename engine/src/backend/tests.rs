use ::alloc::format;
use ::alloc::string::ToString;
use ::alloc::vec;

use super::*;
use crate::kernel::{FoundHop, FoundKind, FoundLink, FoundRoute, KernelFacts, LinkState, MacAddress};
use crate::machine_id::MachineId;

const VXLAN: &str = r#"{"Network": "10.50.0.0/16", "Backend": {"Type": "vxlan"}}"#;
const DUAL: &str = r#"{"Network": "10.50.0.0/16", "EnableIPv6": true, "IPv6Network": "fd50::/48",
    "Backend": {"Type": "TYPE"}}"#;

#[test]
fn a_node_with_vxlan_has_what_flannels_has() {
    insta::assert_snapshot!(node(VXLAN, "10.50.1.0-24"));
}

#[test]
fn a_dual_stack_node_with_vxlan_has_two_devices_and_the_smaller_mtu() {
    insta::assert_snapshot!(node(
        &DUAL.replace("TYPE", "vxlan"),
        "10.50.1.0-24&fd50:0:0:1::-64"
    ));
}

#[test]
fn direct_routing_needs_no_device_for_a_peer_on_the_link() {
    let config = VXLAN.replace(r#""vxlan""#, r#""vxlan", "directrouting": true"#);

    insta::assert_snapshot!(node(&config, "10.50.1.0-24"));
}

#[test]
fn every_option_of_vxlan_reaches_its_device() {
    let options = r#""VXLAN", "VNI": 42, "port": 4789, "MTU": 1400, "GBP": true, "Learning": true"#;

    insta::assert_snapshot!(node(&VXLAN.replace(r#""vxlan""#, options), "10.50.1.0-24"));
}

#[test]
fn a_node_with_host_gw_has_routes_alone() {
    insta::assert_snapshot!(node(
        &DUAL.replace("TYPE", "host-gw"),
        "10.50.1.0-24&fd50:0:0:1::-64"
    ));
}

#[test]
fn an_mtu_above_the_interfaces_changes_nothing() {
    let config = VXLAN.replace(r#""vxlan""#, r#""vxlan", "MTU": 9000"#);

    assert!(node(&config, "10.50.1.0-24").contains("flannel.1 mtu 1450"));
}

#[test]
fn wrong_options_are_refused_in_one_line() {
    let lines = [
        r#""VNI": "1""#,
        r#""VNI": 16777216"#,
        r#""VNI": -1"#,
        r#""VNI": 1.5"#,
        r#""Port": 65536"#,
        r#""Port": "8472""#,
        r#""MTU": 100"#,
        r#""MTU": 70000"#,
        r#""GBP": "yes""#,
        r#""Learning": 1"#,
        r#""DirectRouting": "true""#,
    ]
    .map(|option| {
        let text = VXLAN.replace(r#""vxlan""#, &format!(r#""vxlan", {option}"#));
        let config = NetworkConfig::parse(text.as_bytes()).unwrap();
        Backend::new(&config).unwrap_err().to_string()
    });

    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn host_gw_refuses_a_public_ip_that_is_elsewhere() {
    let config = NetworkConfig::parse(DUAL.replace("TYPE", "host-gw").as_bytes()).unwrap();
    let backend = Backend::new(&config).unwrap();
    let behind_nat = Underlay {
        public_ip: Ipv4Addr::new(203, 0, 113, 7),
        ..underlay()
    };

    assert_eq!(backend.check(&underlay(), &config), Ok(()));
    let error = backend.check(&behind_nat, &config).unwrap_err().to_string();
    insta::assert_snapshot!(error);
}

/// Describes what a node wants: for its lease, for itself, and for a peer on its link and one behind a router.
fn node(config: &str, subnet: &str) -> String {
    let network = NetworkConfig::parse(config.as_bytes()).unwrap();
    let backend = Backend::new(&network).unwrap();
    let mut setup = Setup::new(MachineId { hardware: 1, boot: 1 }, underlay());
    setup.underlay = underlay();
    let mut vteps = Vteps::new(setup.machine, IpAddr::from([192, 0, 2, 1]));
    for (link, last) in backend.tunnels(&network).into_iter().zip(1..) {
        vteps.note(&link, MacAddress([2, 0, 0, 0, 1, last]));
    }
    let placement = Placement {
        setup: &setup,
        network: &network,
        subnet: Subnet::parse(subnet).unwrap(),
        vteps: &vteps,
        names_taken: 0,
    };
    let record = backend.lease_record(&setup.underlay, &network, &vteps);
    let mut lines = vec![String::from_utf8(record.encode()).unwrap()];
    let own = backend.desired(&placement);
    lines.extend(own.iter().map(|object| match object {
        KernelObject::SubnetFile(file) => file.render().trim_end().to_string(),
        KernelObject::Socket(_)
        | KernelObject::Link(_)
        | KernelObject::Sysctl(_)
        | KernelObject::Address(_)
        | KernelObject::Ruleset(_)
        | KernelObject::FdbEntry(_)
        | KernelObject::Neighbour(_)
        | KernelObject::Route(_)
        | KernelObject::Member(_) => object.to_string(),
    }));
    let ways = Ways::of(&routes(), &network.networks());
    for (number, v4, v6) in [
        (2, "192.0.2.2", "2001:db8:77::2"),
        (3, "198.51.100.3", "2001:db8:78::3"),
    ] {
        let v4 = (format!("10.50.{number}.0/24"), v4);
        let v6 = network.v6.map(|_| (format!("fd50:0:0:{number}::/64"), v6));
        for (net, public_ip) in [v4].into_iter().chain(v6) {
            let place = Place {
                public_ip: public_ip.parse().unwrap(),
                vtep: Some(MacAddress([2, 0, 0, 0, 0, number])),
            };
            lines.push(format!("- peer {net} at {public_ip}"));
            match backend.peer_objects(net.parse().unwrap(), &place, &ways) {
                Ok(objects) => lines.extend(objects.iter().map(ToString::to_string)),
                Err(OffLink) => lines.push("it is on no link".to_string()),
            }
        }
    }
    lines.join("\n")
}

fn underlay() -> Underlay {
    Underlay {
        interface: "eth0".to_string(),
        index: 2,
        mtu: 1500,
        address: Ipv4Addr::new(192, 0, 2, 1),
        address_v6: Some("2001:db8:77::1".parse().unwrap()),
        public_ip: Ipv4Addr::new(192, 0, 2, 1),
        public_ipv6: Some("2001:db8:77::1".parse().unwrap()),
    }
}

/// A node with an interface, its connected routes and a default route for each IP version.
fn routes() -> KernelFacts {
    let route = |destination: &str, hop| FoundRoute {
        destination: destination.parse().unwrap(),
        hop,
        protocol: 2,
        priority: 0,
    };
    let gateway = |gateway: &str| FoundHop::Gateway {
        gateway: gateway.parse().unwrap(),
        link: 2,
    };
    KernelFacts {
        links: vec![FoundLink {
            name: LinkName("eth0".to_string()),
            index: 2,
            kind: FoundKind::Other,
            mtu: 1500,
            mac: None,
            state: LinkState::Up,
            alias: String::new(),
        }],
        routes: vec![
            route("0.0.0.0/0", gateway("192.0.2.254")),
            route("192.0.2.0/24", FoundHop::Link(2)),
            route("::/0", gateway("2001:db8:77::fe")),
            route("2001:db8:77::/64", FoundHop::Link(2)),
        ],
        ..KernelFacts::default()
    }
}
