//! VXLAN devices, and what hangs on them.

use std::net::{IpAddr, Ipv4Addr};

use selvedge_engine::{
    GroupPolicy, IpVersion, KernelErrorKind, KernelObject, Learning, Link, MacAddress, Sysctl, Vni, Vxlan,
};
use selvedge_tests::need;

use super::objects::{
    PEERS_MAC, address, device, fdb_entry, link, link_v6, name, neighbour, tunnel, tunnel_v6, vxlan,
};
use super::support::{Node, PEER, add_underlay, bridge, in_namespace, ip};

#[test]
fn the_kernel_holds_what_flannel_would_make() {
    need!(root, ip, bridge);

    in_namespace(async || {
        add_underlay();
        let mut node = Node::new();
        for object in tunnel().into_iter().chain(tunnel_v6()) {
            node.ensure(object).await;
        }

        // backends.md, 14.2.
        let device = ip("-d link show flannel.1");
        assert!(
            device.contains(
                "flannel.1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UNKNOWN"
            ),
            "{device}"
        );
        assert!(!device.contains("qlen"), "{device}");
        assert!(device.contains("link/ether 46:3d:a8:dc:ed:cb"), "{device}");
        assert!(
            device.contains("addrgenmode eui64 numtxqueues 1 numrxqueues 1"),
            "{device}"
        );
        assert!(device.contains("alias selvedge 10.50.0.0/16"), "{device}");
        assert_vxlan(
            &device,
            "vxlan id 1 local 192.0.2.1 dev eth0 srcport 0 0 dstport 8472 nolearning ttl auto ageing 300 udpcsum \
             noudp6zerocsumtx noudp6zerocsumrx",
        );
        let addresses = ip("-o addr show dev flannel.1");
        assert!(
            addresses.contains("inet 10.50.1.0/32 scope global flannel.1"),
            "{addresses}"
        );
        assert!(
            addresses.contains("inet6 fe80::443d:a8ff:fedc:edcb/64 scope link"),
            "{addresses}"
        );
        assert_eq!(
            ip("-d -4 route show dev flannel.1").trim(),
            "unicast 10.50.2.0/24 via 10.50.2.0 proto 83 scope global onlink"
        );
        assert_eq!(
            ip("-4 neigh show dev flannel.1").trim(),
            "10.50.2.0 lladdr 16:00:00:00:00:02 PERMANENT"
        );
        assert_eq!(
            bridge("fdb show dev flannel.1").trim(),
            "16:00:00:00:00:02 dst 192.0.2.2 self permanent"
        );

        // backends.md, 14.4.
        let device = ip("-d link show flannel-v6.1");
        assert!(device.contains("mtu 1430 qdisc noqueue"), "{device}");
        assert_vxlan(
            &device,
            "vxlan id 1 local 2001:db8:77::1 dev eth0 srcport 0 0 dstport 8472 nolearning ttl auto ageing 300 udpcsum \
             noudp6zerocsumtx noudp6zerocsumrx",
        );
        let addresses = ip("-6 -o addr show dev flannel-v6.1 scope global");
        assert!(
            addresses.contains("inet6 fd50:0:0:1::/128 scope global"),
            "{addresses}"
        );
        assert!(!addresses.contains("tentative"), "{addresses}");
        assert_eq!(
            ip("-d -6 route show dev flannel-v6.1 proto 83").trim(),
            "unicast fd50:0:0:2::/64 via fd50:0:0:2:: scope global metric 1024 onlink pref medium"
        );
        assert_eq!(
            ip("-6 neigh show dev flannel-v6.1").trim(),
            "fd50:0:0:2:: lladdr 16:00:00:00:00:02 PERMANENT"
        );
        assert_eq!(
            bridge("fdb show dev flannel-v6.1").trim(),
            "16:00:00:00:00:02 dst 2001:db8:77::2 self permanent"
        );
    });
}

#[test]
fn options_become_attributes() {
    need!(root, ip);

    in_namespace(async || {
        add_underlay();
        let mut node = Node::new();
        node.ensure(KernelObject::Link(device(Vxlan {
            vni: Vni::new(70_000).unwrap(),
            port: 4789,
            learning: Learning::On,
            group_policy: GroupPolicy::On,
            ..vxlan()
        })))
        .await;

        let device = ip("-d link show flannel.1");
        assert_vxlan(
            &device,
            "vxlan id 70000 local 192.0.2.1 dev eth0 srcport 0 0 dstport 4789 ttl auto ageing 300 udpcsum \
             noudp6zerocsumtx noudp6zerocsumrx gbp",
        );
    });
}

#[test]
fn ensuring_and_removing_twice_changes_nothing() {
    need!(root, ip, bridge);

    in_namespace(async || {
        add_underlay();
        let mut node = Node::new();
        let objects = || tunnel().into_iter().chain(tunnel_v6());
        for object in objects() {
            node.ensure(object).await;
        }
        let before = state();

        for object in objects() {
            node.ensure(object).await;
        }
        assert_eq!(state(), before);
        for object in objects() {
            node.replace(object).await;
        }
        assert_eq!(state(), before);

        for _ in 0..2 {
            for object in objects().collect::<Vec<_>>().into_iter().rev() {
                node.remove(object).await;
            }
            assert!(!ip("-o link show").contains("flannel"));
            assert!(!ip("route show").contains("10.50"));
        }
    });
}

#[test]
fn a_device_of_ours_is_set_right_without_making_another() {
    need!(root, ip);

    in_namespace(async || {
        add_underlay();
        ip("addr add 192.0.2.9/24 dev eth0");
        let mut node = Node::new();
        node.ensure(link()).await;
        let index = index_of("flannel.1");

        ip("link set flannel.1 down");
        ip("link set flannel.1 mtu 1300 alias other");
        node.ensure(link()).await;
        let device_now = ip("-d link show flannel.1");
        assert!(device_now.contains(",UP,"), "{device_now}");
        assert!(device_now.contains("mtu 1450"), "{device_now}");
        assert!(device_now.contains("alias selvedge"), "{device_now}");

        ip("link set flannel.1 address 02:00:00:00:00:77");
        node.ensure(link()).await;
        assert!(ip("link show flannel.1").contains("02:00:00:00:00:77"));
        let elsewhere = KernelObject::Link(device(Vxlan {
            local: Ipv4Addr::new(192, 0, 2, 9).into(),
            learning: Learning::On,
            ..vxlan()
        }));
        node.replace(elsewhere).await;
        let device_now = ip("-d link show flannel.1");
        assert!(
            device_now.contains("link/ether 46:3d:a8:dc:ed:cb"),
            "{device_now}"
        );
        assert_vxlan(
            &device_now,
            "vxlan id 1 local 192.0.2.9 dev eth0 srcport 0 0 dstport 8472 ttl auto ageing 300 udpcsum \
             noudp6zerocsumtx noudp6zerocsumrx",
        );
        assert_eq!(index_of("flannel.1"), index);
    });
}

#[test]
fn devices_of_others_stay() {
    need!(root, ip);

    in_namespace(async || {
        add_underlay();
        let mut node = Node::new();

        ip("link add flannel.1 type bridge");
        let error = node.refusal(link()).await;
        assert_eq!(error.kind, KernelErrorKind::Taken);
        assert_eq!(
            error.message,
            "flannel.1 exists already as a bridge device and is not ours; remove it with `ip link del flannel.1` or \
             change VNI"
        );
        node.remove(link()).await;
        assert!(ip("-d link show flannel.1").contains("bridge"));
        ip("link del flannel.1");

        ip("link add flannel.1 type vxlan id 5 dstport 4789 local 192.0.2.1 dev eth0");
        let error = node.refusal(link()).await;
        assert_eq!(error.kind, KernelErrorKind::Taken);
        assert_eq!(
            error.message,
            "flannel.1 exists already as a VXLAN device with other attributes (id 5 local 192.0.2.1 dev eth0 dstport \
             4789) and is not ours; remove it with `ip link del flannel.1` or change VNI"
        );
        ip("link del flannel.1");

        ip("link add other type vxlan id 1 dstport 8472 local 192.0.2.1 dev eth0 nolearning");
        let error = node.refusal(link()).await;
        assert_eq!(error.kind, KernelErrorKind::Taken);
        assert_eq!(
            error.message,
            "netlink: file exists; another VXLAN device with VNI 1 and port 8472 exists; see `ip -d link show type vxlan`"
        );
        assert!(ip("-o link show").contains("other"));
    });
}

#[test]
fn a_device_needs_its_underlay() {
    need!(root, ip);

    in_namespace(async || {
        let mut node = Node::new();

        let error = node.refusal(link()).await;

        assert_eq!(error.kind, KernelErrorKind::NotFound);
        assert_eq!(error.message, "there is no device eth0");
    });
}

#[test]
fn a_device_on_a_taken_port_says_so() {
    need!(root, ip);

    in_namespace(async || {
        add_underlay();
        let mut node = Node::new();
        let _holder = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 8472)).unwrap();

        let error = node.refusal(link()).await;

        assert_eq!(error.kind, KernelErrorKind::Taken);
        assert!(error.message.contains("ss -ulpn sport = :8472"), "{error}");
        assert!(!ip("-o link show").contains("flannel.1"));
    });
}

#[test]
fn an_mtu_that_the_underlay_does_not_carry_is_refused() {
    need!(root, ip);

    in_namespace(async || {
        add_underlay();
        let mut node = Node::new();

        let error = node
            .refusal(KernelObject::Link(Link {
                mtu: 1500,
                ..device(vxlan())
            }))
            .await;

        assert_eq!(error.kind, KernelErrorKind::Other);
        assert_eq!(
            error.message,
            "netlink: invalid argument; perhaps its underlay device carries no packets for an MTU of 1500"
        );
        // What was made so far is made right later.
        node.ensure(link()).await;
        assert!(ip("-d link show flannel.1").contains("alias selvedge"));
    });
}

#[test]
fn what_has_the_place_of_an_entry_stays_unless_it_is_ours() {
    need!(root, ip, bridge);

    in_namespace(async || {
        add_underlay();
        let mut node = Node::new();
        node.ensure(link()).await;
        let wanted_neighbour = || neighbour("flannel.1", "10.50.2.0", PEERS_MAC);
        let wanted_entry = || fdb_entry("flannel.1", PEERS_MAC, PEER.into());

        ip("neigh add 10.50.2.0 lladdr 02:00:00:00:00:99 dev flannel.1 nud permanent");
        let error = node.refusal(wanted_neighbour()).await;
        assert_eq!(error.kind, KernelErrorKind::Taken);
        assert_eq!(
            error.message,
            "the neighbour 10.50.2.0 lladdr 02:00:00:00:00:99 dev flannel.1 exists already and is not ours; remove it \
             with `ip neigh del 10.50.2.0 dev flannel.1`"
        );
        node.replace(wanted_neighbour()).await;
        assert!(ip("neigh show dev flannel.1").contains("16:00:00:00:00:02 PERMANENT"));

        // What the kernel found out by itself belongs to nobody.
        ip("neigh replace 10.50.3.0 lladdr 02:00:00:00:00:99 dev flannel.1 nud stale");
        node.ensure(neighbour("flannel.1", "10.50.3.0", PEERS_MAC)).await;
        assert!(ip("neigh show 10.50.3.0 dev flannel.1").contains("16:00:00:00:00:02 PERMANENT"));

        bridge("fdb add 16:00:00:00:00:02 dev flannel.1 dst 192.0.2.9 self permanent");
        let error = node.refusal(wanted_entry()).await;
        assert_eq!(error.kind, KernelErrorKind::Taken);
        assert!(error.message.contains("dst 192.0.2.9"), "{error}");
        node.replace(wanted_entry()).await;
        assert_eq!(
            bridge("fdb show dev flannel.1").trim(),
            "16:00:00:00:00:02 dst 192.0.2.2 self permanent"
        );
    });
}

#[test]
fn removing_an_entry_leaves_what_took_its_place() {
    need!(root, ip, bridge);

    in_namespace(async || {
        add_underlay();
        let mut node = Node::new();
        let new = MacAddress([0x16, 0, 0, 0, 0, 3]);
        let other: IpAddr = Ipv4Addr::new(192, 0, 2, 3).into();
        for object in tunnel() {
            node.ensure(object).await;
        }

        node.replace(neighbour("flannel.1", "10.50.2.0", new)).await;
        node.remove(neighbour("flannel.1", "10.50.2.0", PEERS_MAC)).await;
        assert!(ip("neigh show dev flannel.1").contains("16:00:00:00:00:03 PERMANENT"));

        node.replace(fdb_entry("flannel.1", PEERS_MAC, other)).await;
        node.remove(fdb_entry("flannel.1", PEERS_MAC, PEER.into())).await;
        assert!(bridge("fdb show dev flannel.1").contains("dst 192.0.2.3"));
    });
}

#[test]
fn an_ipv4_address_may_have_several_prefixes() {
    need!(root, ip);

    in_namespace(async || {
        add_underlay();
        let mut node = Node::new();
        node.ensure(link()).await;
        ip("addr add 10.50.1.0/24 dev flannel.1");

        for _ in 0..2 {
            node.ensure(address("flannel.1", "10.50.1.0/32")).await;
        }
        node.remove(address("flannel.1", "10.50.1.0/32")).await;

        let addresses = ip("-4 -o addr show dev flannel.1");
        assert!(addresses.contains("10.50.1.0/24"), "{addresses}");
        assert!(!addresses.contains("10.50.1.0/32"), "{addresses}");
    });
}

#[test]
fn an_ipv6_address_has_one_prefix() {
    need!(root, ip);

    in_namespace(async || {
        add_underlay();
        let mut node = Node::new();
        node.ensure(link_v6()).await;
        ip("addr add fd50:0:0:1::/64 dev flannel-v6.1 nodad");
        let wanted = || address("flannel-v6.1", "fd50:0:0:1::/128");

        let error = node.refusal(wanted()).await;
        assert_eq!(error.kind, KernelErrorKind::Taken);
        assert_eq!(
            error.message,
            "flannel-v6.1 has the address fd50:0:0:1:: with another prefix, /64; remove it with \
             `ip addr del fd50:0:0:1::/64 dev flannel-v6.1`"
        );

        node.replace(wanted()).await;
        let addresses = ip("-6 -o addr show dev flannel-v6.1 scope global");
        assert!(addresses.contains("fd50:0:0:1::/128"), "{addresses}");
        assert!(!addresses.contains("/64"), "{addresses}");
    });
}

#[test]
fn settings_of_both_ip_versions_reach_a_device_with_a_dot_in_its_name() {
    need!(root, ip);

    in_namespace(async || {
        add_underlay();
        let mut node = Node::new();
        node.ensure(link()).await;

        for (version, key) in [(IpVersion::V4, "accept_local"), (IpVersion::V6, "accept_ra")] {
            let value = if version == IpVersion::V4 { "1" } else { "0" };
            node.ensure(KernelObject::Sysctl(Sysctl {
                link: name("flannel.1"),
                version,
                key: key.into(),
                value: value.into(),
            }))
            .await;
        }

        let read = |path| std::fs::read_to_string(path).unwrap();
        assert_eq!(read("/proc/sys/net/ipv4/conf/flannel.1/accept_local"), "1\n");
        assert_eq!(read("/proc/sys/net/ipv6/conf/flannel.1/accept_ra"), "0\n");
    });
}

#[test]
fn a_link_without_alias_has_none() {
    need!(root, ip);

    in_namespace(async || {
        add_underlay();
        let mut node = Node::new();
        node.ensure(link()).await;

        node.ensure(KernelObject::Link(Link {
            alias: String::new(),
            ..device(vxlan())
        }))
        .await;

        assert!(!ip("-d link show flannel.1").contains("alias"));
        assert_eq!(node.survey(&[]).await.links.last().unwrap().alias, "");
    });
}

fn state() -> [String; 5] {
    [
        ip("-d -o addr show scope global"),
        ip("-d -4 route show"),
        ip("-d -6 route show"),
        ip("neigh show nud permanent"),
        bridge("fdb show dev flannel.1"),
    ]
}

fn index_of(name: &str) -> String {
    std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).unwrap_or_else(|_| {
        let shown = ip(&format!("-o link show {name}"));
        shown.split(':').next().unwrap().to_owned()
    })
}

/// Newer versions of `ip` print more attributes, among them and behind them.
fn assert_vxlan(device: &str, wanted: &str) {
    let printed = device
        .lines()
        .find(|line| line.trim_start().starts_with("vxlan "))
        .unwrap_or(device);
    let newer = ["localbypass", "nolocalbypass"];
    let printed: Vec<&str> = printed
        .split_whitespace()
        .filter(|word| !newer.contains(word))
        .collect();
    let printed = printed.join(" ");
    assert!(printed.starts_with(wanted), "{printed}\nis not\n{wanted}");
}
