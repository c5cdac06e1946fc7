//! What daemons have made in the kernel.

use ipnet::IpNet;
use selvedge_engine::{
    Address, FLANNEL_ROUTE_PROTOCOL, FdbEntry, FoundRoute, KernelObject, Link, LinkKind, LinkName, Neighbour,
    ROUTE_PROTOCOL, Vni, Vxlan,
};

use super::Linux;
use super::device::{Device, Kind};
use super::route_table::link_of;

impl Linux {
    /// Returns the sockets, the tunnel devices with all that hangs on them, and the routes that bear our mark, or flannel's
    /// and lead out of such a device; settings are left out.
    pub fn possessions(&self) -> Vec<KernelObject> {
        let sockets = self.sockets.iter().copied().map(KernelObject::Socket);
        let devices = self
            .tunnels()
            .flat_map(|(_, device)| self.with_dependents(device));
        let tunnels: Vec<u32> = self.tunnels().map(|(index, _)| index).collect();
        let is_of_tunnel =
            |route: &FoundRoute| link_of(route.hop).is_some_and(|link| tunnels.contains(&link));
        let routes = self.routes.iter().filter(|route| match route.protocol {
            ROUTE_PROTOCOL => true,
            FLANNEL_ROUTE_PROTOCOL => is_of_tunnel(route),
            _ => false,
        });
        let routes = routes
            .filter_map(|route| self.described(&route))
            .map(KernelObject::Route);
        sockets.chain(devices).chain(routes).collect()
    }

    fn with_dependents(&self, device: &Device) -> Vec<KernelObject> {
        let link = &device.name;
        let addresses = device.addresses.iter().filter(|net| !is_of_link(net));
        let addresses = addresses.map(|net| {
            KernelObject::Address(Address {
                link: link.clone(),
                net: *net,
            })
        });
        let neighbours = device.neighbours.iter().map(|(address, mac)| {
            KernelObject::Neighbour(Neighbour {
                link: link.clone(),
                address: *address,
                mac: *mac,
            })
        });
        let entries = device.fdb.iter().map(|(mac, node)| {
            KernelObject::FdbEntry(FdbEntry {
                link: link.clone(),
                mac: *mac,
                node: *node,
            })
        });
        let device = self.link(device).map(KernelObject::Link).into_iter();
        device.chain(addresses).chain(entries).chain(neighbours).collect()
    }

    fn link(&self, device: &Device) -> Option<Link> {
        let kind = match &device.kind {
            Kind::Tun => LinkKind::Tun,
            Kind::Vxlan(vxlan) => LinkKind::Vxlan(Vxlan {
                vni: Vni::new(vxlan.vni).ok()?,
                local: vxlan.local?,
                underlay: self.name_of(vxlan.underlay?)?,
                port: vxlan.port,
                learning: vxlan.learning,
                group_policy: vxlan.group_policy,
                mac: device.mac?,
            }),
            Kind::Ethernet | Kind::Bridge | Kind::Other => return None,
        };
        Some(Link {
            name: device.name.clone(),
            kind,
            mtu: device.mtu,
            alias: device.alias.clone(),
        })
    }

    pub(super) fn name_of(&self, index: u32) -> Option<LinkName> {
        self.devices.get(&index).map(|device| device.name.clone())
    }
}

/// Tells whether an address is one that the kernel gives every link.
fn is_of_link(net: &IpNet) -> bool {
    matches!(net, IpNet::V6(net) if net.addr().is_unicast_link_local())
}
