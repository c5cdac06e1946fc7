//! Devices that the daemon makes.

use selvedge_engine::{FoundVxlan, KernelError, Link, LinkKind, LinkName, Vxlan};

use super::refusal::{not_found, taken};
use super::{Device, Kind, Linux, Occupant};

impl Linux {
    pub(super) fn ensure_link(&mut self, link: &Link, occupant: Occupant) -> Result<(), KernelError> {
        let (kind, mac) = match &link.kind {
            LinkKind::Tun => (Kind::Tun, None),
            LinkKind::Vxlan(vxlan) => (Kind::Vxlan(self.attributes(vxlan)?), Some(vxlan.mac)),
        };
        let mtu = self
            .largest_mtu(&kind)
            .map_or(link.mtu, |largest| link.mtu.min(largest));
        let index = if let Some(index) = self.index_of(&link.name) {
            self.reuse(index, &kind, link, occupant)?;
            if occupant == Occupant::GivesWay
                && let Some(device) = self.devices.get_mut(&index)
            {
                device.kind = kind;
            }
            index
        } else {
            self.check_vni(&kind)?;
            if kind == Kind::Tun {
                self.close_tuns();
            }
            self.add_device(Device::new(link.name.clone(), kind, mtu, mac))
        };
        if let Some(mac) = mac.filter(|_| occupant == Occupant::GivesWay) {
            self.set_mac(index, mac);
        }
        if let Some(device) = self.devices.get_mut(&index) {
            device.mtu = mtu;
            device.alias.clone_from(&link.alias);
        }
        self.set_up(index);
        Ok(())
    }

    /// Deletes a device, if it is of the kind.
    pub(super) fn remove_link(&mut self, name: &LinkName, kind: &LinkKind) {
        let found = self.index_of(name).zip(self.device(name).ok());
        let Some((index, (_, device))) = found else {
            return;
        };
        let is_meant = match (&device.kind, kind) {
            (Kind::Tun, LinkKind::Tun) | (Kind::Vxlan(_), LinkKind::Vxlan(_)) => true,
            (Kind::Ethernet | Kind::Bridge | Kind::Other | Kind::Tun | Kind::Vxlan(_), _) => false,
        };
        if is_meant {
            self.remove_device(index);
        }
    }

    pub(super) fn device(&mut self, name: &LinkName) -> Result<(u32, &mut Device), KernelError> {
        let mut devices = self.devices.iter_mut();
        devices
            .find(|(_, device)| device.name == *name)
            .map(|(index, device)| (*index, device))
            .ok_or_else(|| not_found(format_args!("there is no device {name}")))
    }

    /// Checks that a device can be what is wanted; what cannot be changed about it has to be equal.
    fn reuse(&self, index: u32, wanted: &Kind, link: &Link, occupant: Occupant) -> Result<(), KernelError> {
        let name = &link.name;
        // Who opened a TUN device holds it.
        let is_held = *wanted == Kind::Tun && self.placed.iter().any(|foreign| foreign.is_link(name));
        match self.devices.get(&index) {
            Some(device) if can_become(&device.kind, wanted, occupant) && !is_held => Ok(()),
            Some(_) | None => Err(taken(format_args!(
                "there is a device {name} already, and it is another"
            ))),
        }
    }

    /// Two VXLAN devices cannot take the packets of one identifier from one port.
    fn check_vni(&self, wanted: &Kind) -> Result<(), KernelError> {
        let Kind::Vxlan(wanted) = wanted else {
            return Ok(());
        };
        let is_same = |other: &FoundVxlan| {
            let version = |vxlan: &FoundVxlan| vxlan.local.map(|local| local.is_ipv4());
            (other.vni, other.port, version(other)) == (wanted.vni, wanted.port, version(wanted))
        };
        let mut others = self.devices.values();
        match others.find(|device| device.vxlan().is_some_and(is_same)) {
            None => Ok(()),
            Some(other) => Err(taken(format_args!(
                "the VXLAN device {} has the identifier {} and the port {} already",
                other.name, wanted.vni, wanted.port
            ))),
        }
    }

    fn attributes(&self, vxlan: &Vxlan) -> Result<FoundVxlan, KernelError> {
        let underlay = &vxlan.underlay;
        let below = self.index_of(underlay);
        let below = below.ok_or_else(|| not_found(format_args!("there is no device {underlay} below")))?;
        Ok(FoundVxlan {
            vni: vxlan.vni.into(),
            local: Some(vxlan.local),
            underlay: Some(below),
            port: vxlan.port,
            learning: vxlan.learning,
            group_policy: vxlan.group_policy,
        })
    }

    /// Returns the largest MTU that the kernel gives a device: what the one below leaves.
    pub(in crate::linux) fn largest_mtu(&self, kind: &Kind) -> Option<u32> {
        let Kind::Vxlan(vxlan) = kind else {
            return None;
        };
        let below = self.devices.get(&vxlan.underlay?)?;
        let overhead = if vxlan.local?.is_ipv4() {
            V4_OVERHEAD
        } else {
            V6_OVERHEAD
        };
        Some(below.mtu.saturating_sub(overhead))
    }
}

/// Tells whether a device can be changed into another: what makes up a VXLAN device's socket stays, and only of one of ours
/// does the way of its outer packets change.
fn can_become(found: &Kind, wanted: &Kind, occupant: Occupant) -> bool {
    let (Kind::Vxlan(found), Kind::Vxlan(wanted)) = (found, wanted) else {
        return found == wanted;
    };
    let is_v4 = |vxlan: &FoundVxlan| vxlan.local.is_some_and(|local| local.is_ipv4());
    let socket = |vxlan: &FoundVxlan| (vxlan.vni, vxlan.port, vxlan.group_policy, is_v4(vxlan));
    let way = |vxlan: &FoundVxlan| (vxlan.local, vxlan.underlay);
    match occupant {
        Occupant::Stays => socket(found) == socket(wanted) && way(found) == way(wanted),
        Occupant::GivesWay => socket(found) == socket(wanted),
    }
}

/// The outer IPv4 and UDP headers, the VXLAN header and the inner Ethernet header.
const V4_OVERHEAD: u32 = 20 + 8 + 8 + 14;
const V6_OVERHEAD: u32 = 40 + 8 + 8 + 14;
