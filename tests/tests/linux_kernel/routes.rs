//! Routes, of every backend.

use selvedge_engine::{KernelErrorKind, KernelObject, NextHop, Route, RouteMark};
use selvedge_tests::need;

use super::objects::{gateway, gateways, link, name, onlink, route};
use super::support::{Node, add_underlay, in_namespace, ip};

const NET: &str = "10.50.2.0/24";
const NET_V6: &str = "fd50:0:0:2::/64";

#[test]
fn gateway_routes_are_what_flannel_would_make() {
    need!(root, ip);

    in_namespace(async || {
        add_underlay();
        let mut node = Node::new();
        for _ in 0..2 {
            for object in gateways() {
                node.ensure(object).await;
            }
        }

        // backends.md, 14.5.
        assert_eq!(
            ip("-d -4 route show 10.50.2.0/24").trim(),
            "unicast 10.50.2.0/24 via 192.0.2.2 dev eth0 proto 83 scope global"
        );
        assert_eq!(
            ip("-d -6 route show fd50:0:0:2::/64").trim(),
            "unicast fd50:0:0:2::/64 via 2001:db8:77::2 dev eth0 proto 83 scope global metric 1024 pref medium"
        );
        for _ in 0..2 {
            for object in gateways() {
                node.remove(object).await;
            }
        }
        assert_eq!(ip("-4 route show 10.50.2.0/24"), "");
        assert_eq!(ip("-6 route show fd50:0:0:2::/64"), "");
    });
}

#[test]
fn a_route_is_replaced_in_one_step_by_any_other_kind() {
    need!(root, ip);

    in_namespace(async || {
        add_underlay();
        let mut node = Node::new();
        node.ensure(link()).await;
        let kinds = |net: &str, peer: &str, own: &str| {
            [
                (
                    gateway("eth0", net, peer),
                    format!("{net} via {peer} dev eth0 proto 83"),
                ),
                (
                    onlink("flannel.1", net, own),
                    format!("{net} via {own} dev flannel.1 proto 83"),
                ),
                (
                    route(net, NextHop::Link(name("flannel.1"))),
                    format!("{net} dev flannel.1 proto 83"),
                ),
            ]
        };
        for (net, peer, own, ip_version) in [
            (NET, "192.0.2.2", "10.50.2.0", "-4"),
            (NET_V6, "2001:db8:77::2", "fd50:0:0:2::", "-6"),
        ] {
            for (first, _) in kinds(net, peer, own) {
                for (second, shown) in kinds(net, peer, own) {
                    node.replace(first.clone()).await;
                    node.replace(second).await;
                    let present = ip(&format!("{ip_version} route show {net}"));
                    assert!(present.starts_with(&shown), "{present} instead of {shown}");
                    assert_eq!(present.lines().count(), 1, "{present}");
                }
            }
        }
    });
}

#[test]
fn routes_of_others_stay() {
    need!(root, ip);

    in_namespace(async || {
        add_underlay();
        let mut node = Node::new();
        for (net, wanted, other, ip_version, message) in [
            (
                NET,
                gateway("eth0", NET, "192.0.2.2"),
                "192.0.2.9",
                "-4",
                "a route to 10.50.2.0/24 via 192.0.2.9 through eth0 (protocol 4) exists already and is not ours; remove it \
                 with `ip route del 10.50.2.0/24` or change Network",
            ),
            (
                NET_V6,
                gateway("eth0", NET_V6, "2001:db8:77::2"),
                "2001:db8:77::9",
                "-6",
                "a route to fd50:0:0:2::/64 via 2001:db8:77::9 through eth0 (protocol 4) exists already and is not ours; \
                 remove it with `ip -6 route del fd50:0:0:2::/64` or change Network",
            ),
        ] {
            ip(&format!(
                "{ip_version} route add {net} via {other} dev eth0 proto static"
            ));
            let before = ip(&format!("{ip_version} route show {net}"));

            let error = node.refusal(wanted.clone()).await;

            assert_eq!(
                (error.kind, error.message.as_str()),
                (KernelErrorKind::Taken, message)
            );
            node.remove(wanted.clone()).await;
            assert_eq!(ip(&format!("{ip_version} route show {net}")), before);

            // The same way by another's hand is not ours either: it goes when they want.
            let same = wanted_gateway(&wanted);
            ip(&format!(
                "{ip_version} route replace {net} via {same} dev eth0 proto static"
            ));
            assert_eq!(node.refusal(wanted.clone()).await.kind, KernelErrorKind::Taken);
            node.remove(wanted).await;
            assert_ne!(ip(&format!("{ip_version} route show {net}")), "");
        }
    });
}

#[test]
fn a_route_with_our_mark_is_ours_to_replace() {
    need!(root, ip);

    in_namespace(async || {
        add_underlay();
        let mut node = Node::new();
        ip("route add 10.50.2.0/24 via 192.0.2.9 proto 83");
        ip("-6 route add fd50:0:0:2::/64 via 2001:db8:77::9 proto 83");

        for object in gateways() {
            node.ensure(object).await;
        }

        assert!(ip("route show 10.50.2.0/24").contains("via 192.0.2.2"));
        assert!(ip("-6 route show fd50:0:0:2::/64").contains("via 2001:db8:77::2"));
    });
}

#[test]
fn removing_a_route_leaves_others_to_the_same_destination() {
    need!(root, ip);

    in_namespace(async || {
        add_underlay();
        let mut node = Node::new();
        ip("route add 10.50.2.0/24 via 192.0.2.9 proto 83");
        ip("-6 route add fd50:0:0:2::/64 via 2001:db8:77::2 metric 7 proto 83");

        for object in gateways() {
            node.remove(object).await;
        }

        assert!(ip("route show 10.50.2.0/24").contains("via 192.0.2.9"));
        assert!(ip("-6 route show fd50:0:0:2::/64").contains("metric 7"));
    });
}

#[test]
fn flannels_routes_go_only_when_they_are_meant() {
    need!(root, ip);

    in_namespace(async || {
        add_underlay();
        let mut node = Node::new();
        ip("route add 10.50.2.0/24 via 192.0.2.2 dev eth0 proto boot");
        let ours = gateway("eth0", NET, "192.0.2.2");
        let KernelObject::Route(described) = ours.clone() else {
            panic!("a route")
        };
        let flannels = KernelObject::Route(Route {
            mark: RouteMark::Flannel,
            ..described
        });

        node.remove(ours.clone()).await;
        assert_ne!(ip("route show 10.50.2.0/24"), "");

        // Adopting it is replacing it.
        node.replace(ours.clone()).await;
        assert!(ip("route show 10.50.2.0/24").contains("proto 83"));
        node.remove(flannels.clone()).await;
        assert!(ip("route show 10.50.2.0/24").contains("proto 83"));
        node.remove(ours).await;

        ip("route add 10.50.2.0/24 via 192.0.2.2 dev eth0 proto boot");
        node.remove(flannels).await;
        assert_eq!(ip("route show 10.50.2.0/24"), "");
    });
}

#[test]
fn a_gateway_has_to_be_on_the_link() {
    need!(root, ip);

    in_namespace(async || {
        add_underlay();
        let mut node = Node::new();

        let error = node.refusal(gateway("eth0", NET, "198.51.100.2")).await;
        assert_eq!(
            error.message,
            "netlink: network is unreachable; no route of this node leads directly to 198.51.100.2 on eth0"
        );
        let error = node.refusal(gateway("eth0", NET_V6, "2001:db8:99::2")).await;
        assert_eq!(
            error.message,
            "netlink: no route to host; no route of this node leads directly to 2001:db8:99::2 on eth0"
        );
        let error = node.refusal(gateway("eth7", NET, "192.0.2.2")).await;
        assert_eq!(error.kind, KernelErrorKind::NotFound);
        assert_eq!(error.message, "there is no device eth7");
    });
}

fn wanted_gateway(object: &KernelObject) -> String {
    let KernelObject::Route(route) = object else {
        panic!("a route")
    };
    route.hop.gateway().unwrap().to_string()
}
