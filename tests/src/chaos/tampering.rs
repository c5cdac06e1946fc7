//! What people, programs and cables do to a node.

use std::fmt;
use std::fs;
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use selvedge_host::lab::Place;

use super::standing::{Standing, namespace, ways_to_tampered};
use super::{NEIGHBOUR, TAMPERED, nodes};
use crate::backend::{Backend, Families, REMOTE};
use crate::real_nodes::{RealNodes, node, wait_until};

/// An address of the underlay that nobody has.
const NOBODY: &str = "192.0.2.77";
/// What the tampered node has instead of its own.
const OTHER_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 101);
const OWN_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const ROUTER: &str = "192.0.2.254";
const OTHER_MAC: &str = "02:00:00:00:00:99";
const OTHER_NAME: &str = "elsewhere";
const UNDERLAY: &str = "eth0";
const OTHER_UNDERLAY: &str = "ens5";
const SMALLER_MTU: u32 = 1400;
/// How long an interface is down or gone: long enough for whoever tries again and again to try ever more rarely.
const AWAY: Duration = Duration::from_secs(3);

/// A change behind the daemon's back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tampering {
    /// The tunnel's device is deleted.
    DeviceDeleted,
    /// It is set down.
    DeviceDown,
    /// It gets another name.
    DeviceRenamed,
    /// It gets another hardware address.
    MacRewritten,
    /// It gets a smaller MTU.
    MtuChanged,
    /// Its address is deleted.
    AddressDeleted,
    /// The route to the peer is deleted.
    RouteDeleted,
    /// It gets a gateway that leads nowhere.
    RouteChanged,
    /// All routes of ours are deleted.
    RoutesFlushed,
    /// The neighbour that is the peer's device is deleted.
    NeighbourDeleted,
    /// It gets another hardware address.
    NeighbourChanged,
    /// The forwarding entry of the peer's device is deleted.
    FdbEntryDeleted,
    /// It leads to another node.
    FdbEntryChanged,
    /// The interface is down for some seconds.
    UnderlayFlapped,
    /// The interface gets another name.
    UnderlayRenamed,
    /// The interface gets a smaller MTU.
    UnderlayMtuChanged,
    /// After some seconds without it the interface is another one of the same name, as when its driver is loaded anew.
    UnderlayRecreated,
    /// The interface has another address.
    UnderlayAddressChanged,
}

impl Tampering {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::DeviceDeleted,
        Self::DeviceDown,
        Self::DeviceRenamed,
        Self::MacRewritten,
        Self::MtuChanged,
        Self::AddressDeleted,
        Self::RouteDeleted,
        Self::RouteChanged,
        Self::RoutesFlushed,
        Self::NeighbourDeleted,
        Self::NeighbourChanged,
        Self::FdbEntryDeleted,
        Self::FdbEntryChanged,
        Self::UnderlayFlapped,
        Self::UnderlayRenamed,
        Self::UnderlayMtuChanged,
        Self::UnderlayRecreated,
        Self::UnderlayAddressChanged,
    ];

    /// Tells whether a backend has what is changed.
    pub const fn applies_to(self, backend: Backend) -> bool {
        let has_device = !backend.devices(Families::V4).is_empty();
        let is_ethernet = matches!(backend, Backend::Vxlan | Backend::VxlanDirect);
        match self {
            Self::DeviceDeleted
            | Self::DeviceDown
            | Self::DeviceRenamed
            | Self::MtuChanged
            | Self::AddressDeleted => has_device,
            Self::MacRewritten
            | Self::NeighbourDeleted
            | Self::NeighbourChanged
            | Self::FdbEntryDeleted
            | Self::FdbEntryChanged => is_ethernet,
            Self::RouteDeleted
            | Self::RouteChanged
            | Self::RoutesFlushed
            | Self::UnderlayFlapped
            | Self::UnderlayRenamed
            | Self::UnderlayMtuChanged
            | Self::UnderlayRecreated
            | Self::UnderlayAddressChanged => true,
        }
    }

    /// Returns the node that the one that is tampered with talks to meanwhile, and that it loses the way to. Where nodes of
    /// a link need no device, what has to do with the device is shown by the one behind the router.
    pub(super) const fn peer(self, backend: Backend) -> u8 {
        let needs_device = matches!(
            self,
            Self::DeviceDeleted
                | Self::DeviceDown
                | Self::DeviceRenamed
                | Self::MacRewritten
                | Self::MtuChanged
                | Self::AddressDeleted
                | Self::NeighbourDeleted
                | Self::NeighbourChanged
                | Self::FdbEntryDeleted
                | Self::FdbEntryChanged
        );
        match backend {
            Backend::VxlanDirect if needs_device => REMOTE,
            Backend::VxlanDirect | Backend::Udp | Backend::Vxlan | Backend::HostGw => NEIGHBOUR,
        }
    }

    /// Returns how long it may take until everything is right.
    pub const fn limit(self) -> Duration {
        Duration::from_secs(1)
    }

    /// Does it; tells when time begins to count: at once, but for an interface when it can be used again.
    pub(super) fn carry_out(self, real: &RealNodes, backend: Backend, mut begin: impl FnMut()) {
        let node = namespace(real, TAMPERED);
        let ip = |arguments: &[&str]| {
            let done = node.ip(arguments);
            done.unwrap_or_else(|error| panic!("{self}: {error}"));
        };
        let device = backend.devices(Families::V4).first().copied().unwrap_or_default();
        let own = format!("{}/32", real.subnet_address(TAMPERED));
        let number = self.peer(backend);
        let peer = real.subnet_address(number).to_string();
        let peers = match backend {
            Backend::Udp => "10.50.0.0/16".to_owned(),
            Backend::Vxlan | Backend::VxlanDirect | Backend::HostGw => format!("{peer}/24"),
        };
        let default_route = ["route", "replace", "default", "via", ROUTER];
        let bridge = |arguments: &[&str]| {
            let done = node
                .command("bridge")
                .args(arguments)
                .output()
                .expect("bridge runs");
            assert!(done.status.success(), "{self}: {done:?}");
        };
        let is_outage = matches!(
            self,
            Self::UnderlayFlapped | Self::UnderlayRecreated | Self::UnderlayAddressChanged
        );
        if !is_outage {
            begin();
        }
        match self {
            Self::DeviceDeleted => ip(&["link", "delete", device]),
            Self::DeviceDown => ip(&["link", "set", device, "down"]),
            Self::DeviceRenamed => ip(&["link", "set", device, "name", OTHER_NAME]),
            Self::MacRewritten => ip(&["link", "set", device, "address", OTHER_MAC]),
            Self::MtuChanged => ip(&["link", "set", device, "mtu", "1300"]),
            Self::AddressDeleted => ip(&["address", "delete", &own, "dev", device]),
            Self::RouteDeleted => ip(&["route", "delete", &peers]),
            Self::RouteChanged => ip(&["route", "replace", &peers, "via", NOBODY]),
            Self::RoutesFlushed => ip(&["route", "flush", "proto", "83"]),
            Self::NeighbourDeleted => ip(&["neighbour", "delete", &peer, "dev", device]),
            Self::NeighbourChanged => ip(&[
                "neighbour",
                "replace",
                &peer,
                "lladdr",
                OTHER_MAC,
                "nud",
                "permanent",
                "dev",
                device,
            ]),
            Self::FdbEntryDeleted => {
                bridge(&[
                    "fdb",
                    "delete",
                    &mac_of(real, number, device),
                    "dev",
                    device,
                    "self",
                ]);
            }
            Self::FdbEntryChanged => bridge(&[
                "fdb",
                "replace",
                &mac_of(real, number, device),
                "dev",
                device,
                "dst",
                NOBODY,
                "self",
                "permanent",
            ]),
            Self::UnderlayFlapped => {
                ip(&["link", "set", UNDERLAY, "down"]);
                thread::sleep(AWAY);
                ip(&["link", "set", UNDERLAY, "up"]);
                ip(&default_route);
                begin();
            }
            Self::UnderlayRenamed => ip(&["link", "set", UNDERLAY, "name", OTHER_UNDERLAY]),
            Self::UnderlayMtuChanged => ip(&["link", "set", UNDERLAY, "mtu", &SMALLER_MTU.to_string()]),
            Self::UnderlayRecreated => {
                plug_in_anew(real);
                ip(&default_route);
                begin();
            }
            Self::UnderlayAddressChanged => {
                ip(&["address", "delete", &format!("{OWN_ADDRESS}/24"), "dev", UNDERLAY]);
                ip(&["address", "add", &format!("{OTHER_ADDRESS}/24"), "dev", UNDERLAY]);
                ip(&default_route);
                begin();
            }
        }
    }

    /// Tells whether everything is as it ought to be: as it was, or as it follows from what cannot be undone.
    pub(super) fn is_right(self, real: &RealNodes, backend: Backend, before: &Standing) -> bool {
        match self {
            Self::UnderlayRenamed => {
                Standing::of(real, backend) == before.with_device_renamed(UNDERLAY, OTHER_UNDERLAY)
            }
            Self::MacRewritten => {
                let ways = ways_to_tampered(real, self.peer(backend), backend);
                ways.matches(OTHER_MAC).count() == 2
            }
            Self::UnderlayAddressChanged => {
                let public_ip = format!(r#""PublicIP":"{OTHER_ADDRESS}""#);
                let own = format!("/{}-24", real.subnet_address(TAMPERED));
                let leases = real.leases();
                let mut own = leases.iter().filter(|(key, _)| key.ends_with(&own));
                let is_announced = own.any(|(_, value)| value.contains(&public_ip))
                    && leases.len() == usize::from(nodes(backend));
                let is_known = match backend {
                    Backend::Udp => true,
                    Backend::Vxlan | Backend::VxlanDirect | Backend::HostGw => {
                        ways_to_tampered(real, NEIGHBOUR, backend).contains(&OTHER_ADDRESS.to_string())
                    }
                };
                is_announced && is_known
            }
            Self::UnderlayMtuChanged => {
                let mtu = SMALLER_MTU - overhead(backend);
                let file = fs::read_to_string(real.lab.subnet_file(node(TAMPERED)));
                let is_written = file.is_ok_and(|text| text.contains(&format!("FLANNEL_MTU={mtu}\n")));
                let is_set = |device: &&str| device_mtu(real, device) == Some(mtu);
                is_written && backend.devices(Families::V4).iter().all(is_set)
            }
            Self::DeviceDeleted
            | Self::DeviceDown
            | Self::DeviceRenamed
            | Self::MtuChanged
            | Self::AddressDeleted
            | Self::RouteDeleted
            | Self::RouteChanged
            | Self::RoutesFlushed
            | Self::NeighbourDeleted
            | Self::NeighbourChanged
            | Self::FdbEntryDeleted
            | Self::FdbEntryChanged
            | Self::UnderlayFlapped
            | Self::UnderlayRecreated => Standing::of(real, backend) == *before,
        }
    }

    /// Takes back what the daemon follows, and waits until it has followed back.
    pub(super) fn undo(self, real: &RealNodes, backend: Backend, before: &Standing) {
        let command: &[&str] = match self {
            Self::UnderlayMtuChanged => &["link", "set", UNDERLAY, "mtu", "1500"],
            Self::UnderlayRenamed => &["link", "set", OTHER_UNDERLAY, "name", UNDERLAY],
            Self::DeviceDeleted
            | Self::DeviceDown
            | Self::DeviceRenamed
            | Self::MacRewritten
            | Self::MtuChanged
            | Self::AddressDeleted
            | Self::RouteDeleted
            | Self::RouteChanged
            | Self::RoutesFlushed
            | Self::NeighbourDeleted
            | Self::NeighbourChanged
            | Self::FdbEntryDeleted
            | Self::FdbEntryChanged
            | Self::UnderlayFlapped
            | Self::UnderlayRecreated
            | Self::UnderlayAddressChanged => return,
        };
        let undone = namespace(real, TAMPERED).ip(command);
        undone.unwrap_or_else(|error| panic!("{self}: {error}"));
        let is_back = wait_until(Duration::from_secs(5), || Standing::of(real, backend) == *before);
        assert!(is_back, "{self} is not followed back");
    }
}

impl fmt::Display for Tampering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::DeviceDeleted => "device deleted",
            Self::DeviceDown => "device set down",
            Self::DeviceRenamed => "device renamed",
            Self::MacRewritten => "device's MAC rewritten",
            Self::MtuChanged => "device's MTU changed",
            Self::AddressDeleted => "device's address deleted",
            Self::RouteDeleted => "route deleted",
            Self::RouteChanged => "route's gateway changed",
            Self::RoutesFlushed => "all our routes flushed",
            Self::NeighbourDeleted => "neighbour deleted",
            Self::NeighbourChanged => "neighbour's MAC changed",
            Self::FdbEntryDeleted => "FDB entry deleted",
            Self::FdbEntryChanged => "FDB entry's node changed",
            Self::UnderlayFlapped => "interface down and up",
            Self::UnderlayRenamed => "interface renamed",
            Self::UnderlayMtuChanged => "interface's MTU changed",
            Self::UnderlayRecreated => "interface made anew",
            Self::UnderlayAddressChanged => "interface's address changed",
        })
    }
}

/// Pulls the node's cable and plugs in another one, with the same hardware and network address.
fn plug_in_anew(real: &RealNodes) {
    let node_namespace = namespace(real, TAMPERED);
    let switch = real.lab.namespace(Place::Switch);
    let mac = mac_of(real, TAMPERED, UNDERLAY);
    let port = Place::Node(node(TAMPERED)).to_string();
    let run = |done: Result<(), _>| done.unwrap_or_else(|error| panic!("{error}"));
    run(node_namespace.ip(&["link", "delete", UNDERLAY]));
    thread::sleep(AWAY);
    let peer = [
        "type",
        "veth",
        "peer",
        "name",
        UNDERLAY,
        "address",
        &mac,
        "netns",
        node_namespace.name(),
    ];
    run(switch.ip(&[&["link", "add", &port, "master", "bridge", "up"][..], &peer[..]].concat()));
    run(node_namespace.ip(&["address", "add", &format!("{OWN_ADDRESS}/24"), "dev", UNDERLAY]));
    run(node_namespace.ip(&["link", "set", UNDERLAY, "up"]));
}

fn mac_of(real: &RealNodes, number: u8, device: &str) -> String {
    attribute(real, number, device, "address").expect("the device is there")
}

fn device_mtu(real: &RealNodes, device: &str) -> Option<u32> {
    attribute(real, TAMPERED, device, "mtu")?.parse().ok()
}

/// Reads an attribute of a device; `ip netns exec` shows the devices of the namespace in `/sys`.
fn attribute(real: &RealNodes, number: u8, device: &str, name: &str) -> Option<String> {
    let file = format!("/sys/class/net/{device}/{name}");
    let output = namespace(real, number).command("cat").arg(file).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

const fn overhead(backend: Backend) -> u32 {
    match backend {
        Backend::Udp => 28,
        Backend::Vxlan | Backend::VxlanDirect => 50,
        Backend::HostGw => 0,
    }
}
