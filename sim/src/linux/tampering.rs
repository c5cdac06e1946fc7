//! What others change behind the daemon's back.

use std::net::IpAddr;

use ipnet::IpNet;
use selvedge_engine::{
    FLANNEL_ROUTE_PROTOCOL, FoundHop, FoundRoute, LinkName, MacAddress, NextHop, ROUTE_PROTOCOL, Route,
    RouteMark,
};

use super::attachment::UNDERLAY;
use super::device::Device;
use super::{Foreign, Linux};

/// A kind of entry of which one may get lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lost {
    /// A route of the daemon's.
    Route,
    /// A neighbour on a tunnel device.
    Neighbour,
    /// A forwarding entry of a tunnel device.
    FdbEntry,
    /// An address of a tunnel device.
    Address,
}

impl Linux {
    /// Deletes a device with all that hangs on it; tells whether it was there.
    pub fn delete_link(&mut self, name: &LinkName) -> bool {
        let index = self.index_of(name);
        if let Some(index) = index {
            self.remove_device(index);
            self.forgive_losses();
        }
        index.is_some()
    }

    /// Sets a device down, which takes its routes but not its IPv4 addresses; tells whether it was up.
    pub fn set_link_down(&mut self, name: &LinkName) -> bool {
        let Some(index) = self.index_of(name) else {
            return false;
        };
        let was_up = self.devices.get(&index).is_some_and(Device::is_up);
        self.set_down(index);
        self.forgive_losses();
        was_up
    }

    /// Gives a device another name; its index and all that hangs on it stay.
    pub fn rename_link(&mut self, name: &LinkName, new: LinkName) {
        if self.index_of(&new).is_none()
            && let Some(index) = self.index_of(name)
            && let Some(device) = self.devices.get_mut(&index)
        {
            device.name = new;
        }
    }

    /// Gives a device another hardware address, which takes its neighbours.
    pub fn set_link_mac(&mut self, name: &LinkName, mac: MacAddress) {
        if let Some(index) = self.index_of(name) {
            self.set_mac(index, mac);
        }
    }

    /// Gives a device another MTU.
    pub fn set_link_mtu(&mut self, name: &LinkName, mtu: u32) {
        if let Some(index) = self.index_of(name)
            && let Some(device) = self.devices.get_mut(&index)
        {
            device.mtu = mtu;
        }
    }

    /// Returns the MTU of a device.
    pub fn link_mtu(&self, name: &LinkName) -> Option<u32> {
        Some(self.devices.get(&self.index_of(name)?)?.mtu)
    }

    /// Tells whether a device has a hardware address.
    pub fn has_mac(&self, name: &LinkName) -> bool {
        let device = self.index_of(name).and_then(|index| self.devices.get(&index));
        device.is_some_and(|device| device.mac.is_some())
    }

    /// Deletes the daemon's routes and returns them.
    pub fn delete_routes(&mut self) -> Vec<Route> {
        let routes = self.daemon_routes();
        let found: Vec<FoundRoute> = self.routes_of_daemons().collect();
        self.drop_routes(|route| found.contains(route));
        routes
    }

    /// Returns the daemon's routes.
    pub fn daemon_routes(&self) -> Vec<Route> {
        self.routes_of_daemons()
            .filter_map(|route| self.described(&route))
            .collect()
    }

    /// Returns how many neighbours the daemon's tunnel devices have.
    pub fn neighbour_count(&self) -> usize {
        self.tunnels().map(|(_, device)| device.neighbours.len()).sum()
    }

    /// Deletes one entry of a kind, the chosen one modulo their number; tells whether there was one.
    pub fn lose(&mut self, kind: Lost, choice: u64) -> bool {
        match kind {
            Lost::Route => {
                let routes: Vec<FoundRoute> = self.routes_of_daemons().collect();
                let chosen = pick(&routes, choice);
                self.drop_routes(|route| chosen == Some(*route));
                chosen.is_some()
            }
            Lost::Address => {
                let addresses: Vec<(u32, IpNet)> = self
                    .tunnels()
                    .flat_map(|(index, device)| device.addresses.iter().map(move |net| (index, *net)))
                    .collect();
                let chosen = pick(&addresses, choice);
                if let Some((index, net)) = chosen {
                    self.remove_address(index, net);
                }
                chosen.is_some()
            }
            Lost::Neighbour => {
                let neighbours: Vec<(u32, IpAddr)> = self
                    .tunnels()
                    .flat_map(|(index, device)| {
                        device.neighbours.keys().map(move |address| (index, *address))
                    })
                    .collect();
                let chosen = pick(&neighbours, choice);
                if let Some((index, address)) = chosen
                    && let Some(device) = self.devices.get_mut(&index)
                {
                    device.neighbours.remove(&address);
                }
                chosen.is_some()
            }
            Lost::FdbEntry => {
                let entries: Vec<(u32, MacAddress)> = self
                    .tunnels()
                    .flat_map(|(index, device)| device.fdb.keys().map(move |mac| (index, *mac)))
                    .collect();
                let chosen = pick(&entries, choice);
                if let Some((index, mac)) = chosen
                    && let Some(device) = self.devices.get_mut(&index)
                {
                    device.fdb.remove(&mac);
                }
                chosen.is_some()
            }
        }
    }

    /// Lets one of the daemon's IPv4 routes lead to the router of the underlay, as `ip route change` does, which
    /// leaves its own mark; tells whether there was one.
    pub fn misdirect_route(&mut self, choice: u64) -> bool {
        let is_v4 = |route: &FoundRoute| route.destination.addr().is_ipv4();
        let routes: Vec<FoundRoute> = self.routes_of_daemons().filter(is_v4).collect();
        let gateway = self.attachment.gateway.filter(|gateway| self.reaches(*gateway));
        let (Some(route), Some(gateway)) = (pick(&routes, choice), gateway) else {
            return false;
        };
        self.routes.insert(&FoundRoute {
            hop: FoundHop::Gateway {
                gateway: gateway.into(),
                link: UNDERLAY,
            },
            protocol: FLANNEL_ROUTE_PROTOCOL,
            ..route
        });
        true
    }

    fn routes_of_daemons(&self) -> impl Iterator<Item = FoundRoute> {
        let placed = self.placed.iter().filter_map(|foreign| match foreign {
            Foreign::Route(route) => self.foreign_route(route),
            Foreign::Port(_) | Foreign::Link(_) | Foreign::Tunnel(_) => None,
        });
        let placed: Vec<FoundRoute> = placed.collect();
        let routes = self.routes.iter();
        routes.filter(move |route| is_of_daemon(route) && !placed.contains(route))
    }

    pub(super) fn described(&self, route: &FoundRoute) -> Option<Route> {
        let name = |link: u32| self.name_of(link);
        let hop = match route.hop {
            FoundHop::Link(link) => NextHop::Link(name(link)?),
            FoundHop::Gateway { gateway, link } => NextHop::Gateway {
                gateway,
                link: name(link)?,
            },
            FoundHop::OnLink { gateway, link } => NextHop::OnLink {
                gateway,
                link: name(link)?,
            },
            FoundHop::Other => return None,
        };
        let mark = match route.protocol {
            FLANNEL_ROUTE_PROTOCOL => RouteMark::Flannel,
            _ => RouteMark::Ours,
        };
        Some(Route {
            destination: route.destination,
            hop,
            mark,
        })
    }
}

/// Tells whether a route bears the mark of a daemon, ours or flannel's.
const fn is_of_daemon(route: &FoundRoute) -> bool {
    matches!(route.protocol, ROUTE_PROTOCOL | FLANNEL_ROUTE_PROTOCOL)
}

fn pick<T: Copy>(from: &[T], choice: u64) -> Option<T> {
    let place = choice.checked_rem(u64::try_from(from.len()).ok()?)?;
    from.get(usize::try_from(place).ok()?).copied()
}
