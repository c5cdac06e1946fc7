//! The backends as tests in namespaces bring them up: each with its network config and the wires that it needs.

use std::fmt;
use std::fs;
use std::net::Ipv6Addr;
use std::time::Duration;

use selvedge_host::lab::{Namespace, NodeNumber, Place};

use crate::real_nodes::{RealNodes, node, run_ip, wait_until};

/// The node that is behind the router where there are two segments.
pub const REMOTE: u8 = 3;

/// How packets travel between the nodes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Backend {
    /// By the daemon, in UDP.
    Udp,
    /// By the kernel, in UDP.
    Vxlan,
    /// By the kernel: by plain routes on the link, in UDP to node [`REMOTE`], which is behind a router.
    VxlanDirect,
    /// By the kernel, by plain routes.
    HostGw,
}

/// The versions of IP that the pods speak.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Families {
    /// IPv4 alone.
    V4,
    /// IPv4 and IPv6.
    Dual,
}

impl Backend {
    /// Returns the devices that a node of a network with both versions of IP has.
    pub const fn devices(self, families: Families) -> &'static [&'static str] {
        match (self, families) {
            (Self::Udp, Families::V4 | Families::Dual) => &["flannel0"],
            (Self::Vxlan | Self::VxlanDirect, Families::V4) => &["flannel.1"],
            (Self::Vxlan | Self::VxlanDirect, Families::Dual) => &["flannel.1", "flannel-v6.1"],
            (Self::HostGw, Families::V4 | Families::Dual) => &[],
        }
    }

    /// Returns the text of the network config.
    pub fn config(self, families: Families) -> String {
        let backend = match self {
            Self::Udp => r#"{"Type":"udp"}"#,
            Self::Vxlan => r#"{"Type":"vxlan"}"#,
            Self::VxlanDirect => r#"{"Type":"vxlan","DirectRouting":true}"#,
            Self::HostGw => r#"{"Type":"host-gw"}"#,
        };
        let v6 = match families {
            Families::V4 => "",
            Families::Dual => r#""EnableIPv6":true,"IPv6Network":"fd50::/48","#,
        };
        format!(r#"{{"Network":"10.50.0.0/16",{v6}"Backend":{backend}}}"#)
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Udp => "udp",
            Self::Vxlan => "vxlan",
            Self::VxlanDirect => "vxlan, direct",
            Self::HostGw => "host-gw",
        })
    }
}

impl RealNodes {
    /// Brings up nodes with a backend and waits until all pods reach each other.
    ///
    /// # Panics
    ///
    /// If it does not come up; the message has the log of the node that fails.
    pub fn up_with_backend(
        name: &str,
        nodes: u8,
        backend: Backend,
        families: Families,
        program: &str,
    ) -> Self {
        let mut real = Self::wire_with_backend(name, nodes, backend, families, program);
        real.start_all();
        real.attach_pods_v6(families);
        real
    }

    /// Wires the namespaces for a backend and starts etcd with the network config, without any daemon.
    ///
    /// # Panics
    ///
    /// If the namespaces cannot be had.
    pub fn wire_with_backend(
        name: &str,
        nodes: u8,
        backend: Backend,
        families: Families,
        program: &str,
    ) -> Self {
        let mut real = Self::wire(name, nodes, program);
        match backend {
            Backend::VxlanDirect => move_behind_router(&real),
            Backend::Udp | Backend::Vxlan | Backend::HostGw => {}
        }
        match families {
            Families::V4 => {}
            Families::Dual => add_underlay_v6(&real),
        }
        real.start_etcd();
        real.put("config", &backend.config(families));
        real
    }

    /// Returns the IPv6 address of the pod behind a node.
    ///
    /// # Panics
    ///
    /// If the node's subnet file has none.
    pub fn pod_v6(&self, number: u8) -> Ipv6Addr {
        let gateway = self.gateway_v6(number).expect("a subnet of IPv6");
        Ipv6Addr::from_bits(gateway.to_bits() + 1)
    }

    /// Returns the network address of a node's subnet for IPv6, if it has one.
    pub fn subnet_address_v6(&self, number: u8) -> Option<Ipv6Addr> {
        let gateway = self.gateway_v6(number)?;
        Some(Ipv6Addr::from_bits(gateway.to_bits() - 1))
    }

    /// Gives the pods and their bridges addresses of IPv6, as a CNI plugin would.
    fn attach_pods_v6(&self, families: Families) {
        match families {
            Families::V4 => return,
            Families::Dual => {}
        }
        for (number, place) in (1..).zip(self.lab.nodes()) {
            let [inside, outside] = [Place::Pod(place), Place::Node(place)].map(|at| self.lab.namespace(at));
            let gateway = self.gateway_v6(number).expect("a subnet of IPv6");
            let pod = self.pod_v6(number);
            add_address(&outside, "cni0", &format!("{gateway}/64"));
            add_address(&inside, "eth0", &format!("{pod}/64"));
            run_ip(
                &inside,
                &["-6", "route", "add", "default", "via", &gateway.to_string()],
            );
        }
        for place in self.lab.nodes() {
            let node = self.lab.namespace(Place::Node(place));
            await_link_local(&node, "cni0");
        }
    }

    fn gateway_v6(&self, number: u8) -> Option<Ipv6Addr> {
        let file = fs::read_to_string(self.lab.subnet_file(node(number))).ok()?;
        let mut lines = file.lines();
        let value = lines.find_map(|line| line.strip_prefix("FLANNEL_IPV6_SUBNET="))?;
        value.split_once('/')?.0.parse().ok()
    }
}

/// Makes the switch a router with the last node on a segment of its own.
fn move_behind_router(real: &RealNodes) {
    let switch = real.lab.namespace(Place::Switch);
    let remote = real.lab.namespace(Place::Node(node(REMOTE)));
    let port = Place::Node(node(REMOTE)).to_string();
    run_ip(&switch, &["link", "set", &port, "nomaster"]);
    run_ip(&switch, &["address", "add", "198.51.100.254/24", "dev", &port]);
    set(&switch, "net/ipv4/ip_forward", "1");
    run_ip(&remote, &["address", "flush", "dev", "eth0"]);
    run_ip(&remote, &["address", "add", "198.51.100.3/24", "dev", "eth0"]);
    run_ip(&remote, &["route", "add", "default", "via", "198.51.100.254"]);
}

/// Waits until a device may use its link-local address: before that the kernel asks for no neighbour there (RFC 4862).
fn await_link_local(namespace: &Namespace, device: &str) {
    let tentative = ["-6", "address", "show", "dev", device, "tentative"];
    let is_usable = wait_until(Duration::from_secs(5), || {
        namespace
            .ip_output(&tentative)
            .is_ok_and(|shown| shown.is_empty())
    });
    assert!(is_usable, "{device} has no link-local address");
}

fn add_underlay_v6(real: &RealNodes) {
    for number in real.lab.nodes() {
        let namespace = real.lab.namespace(Place::Node(number));
        add_address(&namespace, "eth0", &underlay_v6(number));
        set(&namespace, "net/ipv6/conf/all/forwarding", "1");
    }
}

fn underlay_v6(number: NodeNumber) -> String {
    format!("2001:db8:77::{number}/64")
}

fn add_address(namespace: &Namespace, device: &str, address: &str) {
    run_ip(namespace, &["address", "add", address, "dev", device, "nodad"]);
}

fn set(namespace: &Namespace, key: &str, value: &str) {
    let file = format!("/proc/sys/{key}");
    let written = namespace.enter(|| fs::write(&file, value));
    written
        .expect("the namespace is there")
        .unwrap_or_else(|error| panic!("{file}: {error}"));
}
