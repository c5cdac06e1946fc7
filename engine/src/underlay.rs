//! The network under the overlay, as this node is attached to it, and the choice of the interface
//! (control-plane.md, 8).

mod attachments;
mod following;
mod selection;

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

pub use self::attachments::{AddressFlags, Attachments, Interface, InterfaceAddress, RouteLookup};
pub use self::selection::{Families, InterfaceChoice, Refusal, SelectError, Selection};
use crate::kernel::IpVersion;

impl fmt::Display for Underlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with", self.interface)?;
        for version in [IpVersion::V4, IpVersion::V6] {
            let Some(address) = self.address_of(version) else {
                continue;
            };
            write!(f, " {address}")?;
            match self.public_of(version) {
                Some(public_ip) if public_ip != address => write!(f, " (announced as {public_ip})")?,
                Some(_) | None => {}
            }
        }
        write!(f, " and MTU {}", self.mtu)
    }
}

/// The interface that carries the tunnel, and the addresses that other nodes reach it by.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Underlay {
    /// The interface's name.
    pub interface: String,
    /// Its index in the kernel.
    pub index: u32,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its IPv4 address: what the tunnel binds to; unspecified if it has none.
    pub address: Ipv4Addr,
    /// Its IPv6 address, if it has one that others can reach.
    #[serde(default)]
    pub address_v6: Option<Ipv6Addr>,
    /// The IPv4 address announced to other nodes; differs from `address` behind NAT, unspecified if there is none.
    pub public_ip: Ipv4Addr,
    /// The IPv6 address announced to other nodes.
    pub public_ipv6: Option<Ipv6Addr>,
}

impl Underlay {
    /// Chooses the interface: the first of the selection's choices that fits; without choices the one that owns
    /// the public IP, without that the one of the default route.
    ///
    /// An interface that was asked for and does not fit is never replaced by the default route's.
    ///
    /// # Errors
    ///
    /// [`SelectError`]: why each choice does not fit, and which interfaces there are.
    pub fn select(attachments: &Attachments, selection: &Selection) -> Result<Self, SelectError> {
        let found = select(attachments, selection);
        if selection.families != Families::Any || found.is_ok() {
            return found;
        }
        let v6 = Selection {
            families: Families::V6,
            ..selection.clone()
        };
        select(attachments, &v6).or(found)
    }

    /// Returns the address that tells the node from the others.
    pub(crate) fn main_address(&self) -> IpAddr {
        let v6 = self.public_ipv6.map(IpAddr::V6);
        let v4 = IpAddr::V4(self.public_ip);
        v6.filter(|_| v4.is_unspecified()).unwrap_or(v4)
    }

    /// Returns its address of an IP version.
    pub(crate) fn address_of(&self, version: IpVersion) -> Option<IpAddr> {
        match version {
            IpVersion::V4 => Some(self.address)
                .filter(|address| !address.is_unspecified())
                .map(IpAddr::V4),
            IpVersion::V6 => self.address_v6.map(IpAddr::V6),
        }
    }

    /// Returns the address of an IP version that it announces.
    pub(crate) fn public_of(&self, version: IpVersion) -> Option<IpAddr> {
        match version {
            IpVersion::V4 => Some(self.public_ip)
                .filter(|address| !address.is_unspecified())
                .map(IpAddr::V4),
            IpVersion::V6 => self.public_ipv6.map(IpAddr::V6),
        }
    }

    /// Tells whether it has an address of each of these families.
    pub(crate) const fn serves(&self, families: Families) -> bool {
        let (has_v4, has_v6) = (!self.public_ip.is_unspecified(), self.public_ipv6.is_some());
        match families {
            Families::V4 => has_v4,
            Families::V6 => has_v6,
            Families::Dual => has_v4 && has_v6,
            Families::Any => has_v4 || has_v6,
        }
    }
}

fn select(attachments: &Attachments, selection: &Selection) -> Result<Underlay, SelectError> {
    let mut refusals = Vec::new();
    for choice in choices(selection) {
        match candidate(attachments, selection.families, &choice) {
            Ok(candidate) => {
                let underlay = candidate.announced_as(selection);
                return underlay.map_err(|refusal| error(vec![refusal], attachments, selection));
            }
            Err(refusal) => refusals.push(refusal),
        }
    }
    Err(error(refusals, attachments, selection))
}

/// A way to find the interface.
enum Choice<'a> {
    Given(&'a InterfaceChoice),
    OwnerOf(IpAddr),
    DefaultRoute,
}

/// An interface that fits, with its addresses.
struct Candidate<'a> {
    interface: &'a Interface,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

impl Candidate<'_> {
    fn announced_as(&self, selection: &Selection) -> Result<Underlay, Refusal> {
        let interface = self.interface.name.clone();
        if self.interface.mtu == 0 {
            return Err(Refusal::NoMtu(interface));
        }
        let public_ip = self.v4.map(|address| selection.public_ip.unwrap_or(address));
        let public_ipv6 = self.v6.map(|address| selection.public_ipv6.unwrap_or(address));
        let announced = public_ip.map(IpAddr::V4);
        let mut announced = announced.into_iter().chain(public_ipv6.map(IpAddr::V6));
        if let Some(address) = announced.find(is_unreachable) {
            return Err(Refusal::UnusablePublicIp(address));
        }
        Ok(Underlay {
            interface,
            index: self.interface.index,
            mtu: self.interface.mtu,
            address: self.v4.unwrap_or(Ipv4Addr::UNSPECIFIED),
            address_v6: self.v6,
            public_ip: public_ip.unwrap_or(Ipv4Addr::UNSPECIFIED),
            public_ipv6,
        })
    }
}

fn choices(selection: &Selection) -> Vec<Choice<'_>> {
    if !selection.interfaces.is_empty() {
        return selection.interfaces.iter().map(Choice::Given).collect();
    }
    let v4 = selection.public_ip.map(IpAddr::V4);
    let v6 = selection.public_ipv6.map(IpAddr::V6);
    let public = match selection.families {
        Families::V4 => v4,
        Families::V6 => v6,
        Families::Dual | Families::Any => v4.or(v6),
    };
    vec![public.map_or(Choice::DefaultRoute, Choice::OwnerOf)]
}

fn candidate<'a>(
    attachments: &'a Attachments,
    families: Families,
    choice: &Choice<'_>,
) -> Result<Candidate<'a>, Refusal> {
    let (interface, wanted) = match choice {
        Choice::Given(InterfaceChoice::Name(name)) => {
            let found = attachments.named(name);
            (found.ok_or_else(|| Refusal::NoSuchName(name.clone()))?, None)
        }
        Choice::Given(InterfaceChoice::Address(address)) => {
            let found = attachments.owner_of(*address);
            (found.ok_or(Refusal::NoSuchAddress(*address))?, Some(*address))
        }
        Choice::Given(InterfaceChoice::CanReach(destination)) => {
            let lookup = attachments.lookup.ok_or(Refusal::Unreachable(*destination))?;
            let found = attachments.indexed(lookup.interface);
            (
                found.ok_or(Refusal::Unreachable(*destination))?,
                Some(lookup.source),
            )
        }
        Choice::OwnerOf(public_ip) => {
            let found = attachments.owner_of(*public_ip);
            (
                found.ok_or(Refusal::PublicIpElsewhere(*public_ip))?,
                Some(*public_ip),
            )
        }
        Choice::DefaultRoute => (default_interface(attachments, families)?, None),
    };
    let name = || interface.name.clone();
    let v4 = match wanted {
        Some(IpAddr::V4(address)) => Some(address),
        Some(IpAddr::V6(_)) | None => interface.best_v4(),
    };
    let v6 = match wanted {
        Some(IpAddr::V6(address)) => Some(address),
        Some(IpAddr::V4(_)) | None => interface.best_v6(),
    };
    let v4 = match families {
        Families::V4 | Families::Dual | Families::Any => {
            Some(v4.ok_or_else(|| Refusal::NoV4Address(name()))?)
        }
        Families::V6 => None,
    };
    let v6 = match families {
        Families::V4 => None,
        Families::V6 | Families::Dual => Some(v6.ok_or_else(|| Refusal::NoV6Address(name()))?),
        Families::Any => v6.filter(|address| !address.is_unicast_link_local()),
    };
    Ok(Candidate { interface, v4, v6 })
}

fn default_interface(attachments: &Attachments, families: Families) -> Result<&Interface, Refusal> {
    let first = |routes: &[u32]| routes.iter().find_map(|index| attachments.indexed(*index));
    let v4 = first(&attachments.default_routes).ok_or(Refusal::NoDefaultRoute);
    let v6 = first(&attachments.default_routes_v6).ok_or(Refusal::NoDefaultRouteV6);
    let (v4, v6) = match families {
        Families::V4 | Families::Any => return v4,
        Families::V6 => return v6,
        Families::Dual => (v4?, v6?),
    };
    if v4.index != v6.index {
        return Err(Refusal::DefaultRoutesDiffer {
            v4: v4.name.clone(),
            v6: v6.name.clone(),
        });
    }
    Ok(v4)
}

/// Tells whether other nodes can never reach the address.
pub(crate) fn is_unreachable(address: &IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    address.is_unspecified() || address.is_loopback() || address.is_multicast() || is_broadcast
}

fn error(refusals: Vec<Refusal>, attachments: &Attachments, selection: &Selection) -> SelectError {
    SelectError {
        refusals,
        available: attachments.usable(selection.families),
    }
}

#[cfg(test)]
mod tests;
