//! The network under the overlay, as this node is attached to it, and the choice of the interface
//! (control-plane.md, 8).

mod attachments;
mod selection;

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

pub use self::attachments::{AddressFlags, Attachments, Interface, InterfaceAddress, RouteLookup};
pub use self::selection::{Families, InterfaceChoice, Refusal, SelectError, Selection};

/// The interface that carries the tunnel, and the addresses that other nodes reach it by.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Underlay {
    /// The interface's name.
    pub interface: String,
    /// Its index in the kernel.
    pub index: u32,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its IPv4 address: what the tunnel binds to.
    pub address: Ipv4Addr,
    /// The IPv4 address announced to other nodes; differs from `address` behind NAT.
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
    v4: Ipv4Addr,
    v6: Option<Ipv6Addr>,
}

impl Candidate<'_> {
    fn announced_as(&self, selection: &Selection) -> Result<Underlay, Refusal> {
        let interface = self.interface.name.clone();
        if self.interface.mtu == 0 {
            return Err(Refusal::NoMtu(interface));
        }
        let public_ip = selection.public_ip.unwrap_or(self.v4);
        if is_unreachable(public_ip) {
            return Err(Refusal::UnusablePublicIp(public_ip));
        }
        Ok(Underlay {
            interface,
            index: self.interface.index,
            mtu: self.interface.mtu,
            address: self.v4,
            public_ip,
            public_ipv6: self.v6.map(|address| selection.public_ipv6.unwrap_or(address)),
        })
    }
}

fn choices(selection: &Selection) -> Vec<Choice<'_>> {
    if !selection.interfaces.is_empty() {
        return selection.interfaces.iter().map(Choice::Given).collect();
    }
    let public_ipv6 = selection
        .public_ipv6
        .filter(|_| selection.families == Families::Dual);
    let public = selection
        .public_ip
        .map(IpAddr::V4)
        .or(public_ipv6.map(IpAddr::V6));
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
    let v6 = match (families, wanted) {
        (Families::V4, _) => None,
        (Families::Dual, Some(IpAddr::V6(address))) => Some(address),
        (Families::Dual, Some(IpAddr::V4(_)) | None) => {
            Some(interface.best_v6().ok_or_else(|| Refusal::NoV6Address(name()))?)
        }
    };
    let v4 = v4.ok_or_else(|| Refusal::NoV4Address(name()))?;
    Ok(Candidate { interface, v4, v6 })
}

fn default_interface(attachments: &Attachments, families: Families) -> Result<&Interface, Refusal> {
    let first = |routes: &[u32]| routes.iter().find_map(|index| attachments.indexed(*index));
    let v4 = first(&attachments.default_routes).ok_or(Refusal::NoDefaultRoute)?;
    if families == Families::V4 {
        return Ok(v4);
    }
    let v6 = first(&attachments.default_routes_v6).ok_or(Refusal::NoDefaultRouteV6)?;
    if v4.index != v6.index {
        return Err(Refusal::DefaultRoutesDiffer {
            v4: v4.name.clone(),
            v6: v6.name.clone(),
        });
    }
    Ok(v4)
}

/// Tells whether other nodes can never reach the address.
fn is_unreachable(address: Ipv4Addr) -> bool {
    address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.is_broadcast()
}

fn error(refusals: Vec<Refusal>, attachments: &Attachments, selection: &Selection) -> SelectError {
    SelectError {
        refusals,
        available: attachments.usable(selection.families),
    }
}

#[cfg(test)]
mod tests;
