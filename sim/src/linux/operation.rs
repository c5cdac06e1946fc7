//! The operations that the daemon asks of its node.

mod entries;
mod links;
mod refusal;
mod routes;

use std::net::SocketAddrV4;

use ipnet::{IpNet, Ipv4Net};
use selvedge_engine::{Address, KernelError, KernelObject, KernelOp, Link, Member, SubnetFile, Sysctl};

use super::device::{Device, Kind};
use super::{Linux, gateway_of};
use refusal::{not_found, taken};
pub(super) use routes::found_hop;

/// What may become of that which has an object's place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Occupant {
    /// It stays, unless it is as described.
    Stays,
    /// It gives way.
    GivesWay,
}

impl Linux {
    /// Carries out an operation; a second time it changes nothing.
    ///
    /// # Errors
    ///
    /// What Linux would say: [`KernelErrorKind::NotFound`](selvedge_engine::KernelErrorKind::NotFound) for a device that is not
    /// there or, for a route, down, and for a socket on an address that is not the node's;
    /// [`KernelErrorKind::Taken`](selvedge_engine::KernelErrorKind::Taken) for a place that something else has.
    pub fn apply(&mut self, op: &KernelOp) -> Result<(), KernelError> {
        match op {
            KernelOp::Ensure(object) => self.ensure(object, Occupant::Stays),
            KernelOp::Replace(object) => self.ensure(object, Occupant::GivesWay),
            KernelOp::Remove(object) => {
                self.remove(object);
                Ok(())
            }
        }
    }

    fn ensure(&mut self, object: &KernelObject, occupant: Occupant) -> Result<(), KernelError> {
        match object {
            KernelObject::Socket(local) => self.bind(*local),
            KernelObject::Link(link) => self.ensure_link(link, occupant),
            KernelObject::Sysctl(Sysctl {
                link,
                version,
                key,
                value,
            }) => {
                let (_, device) = self.device(link)?;
                device.settings.insert((*version, key.clone()), value.clone());
                Ok(())
            }
            KernelObject::Address(Address { link, net }) => {
                let (index, _) = self.device(link)?;
                self.add_address(index, *net);
                Ok(())
            }
            KernelObject::Ruleset(ruleset) => {
                self.firewall.ensure_ruleset(ruleset);
                Ok(())
            }
            KernelObject::Member(member) => self.ensure_member(*member),
            KernelObject::FdbEntry(entry) => self.ensure_fdb_entry(entry, occupant),
            KernelObject::Neighbour(neighbour) => self.ensure_neighbour(neighbour, occupant),
            KernelObject::Route(route) => self.ensure_route(route, occupant),
            KernelObject::SubnetFile(file) => {
                self.write_subnet_file(file);
                Ok(())
            }
        }
    }

    fn remove(&mut self, object: &KernelObject) {
        match object {
            KernelObject::Socket(local) => {
                self.sockets.remove(local);
            }
            KernelObject::Link(Link { name, kind, .. }) => self.remove_link(name, kind),
            KernelObject::Sysctl(Sysctl {
                link, version, key, ..
            }) => {
                if let Ok((_, device)) = self.device(link) {
                    device.settings.remove(&(*version, key.clone()));
                }
            }
            KernelObject::Address(Address { link, net }) => {
                if let Some(index) = self.index_of(link) {
                    self.remove_address(index, *net);
                }
            }
            KernelObject::Ruleset(ruleset) => self.firewall.remove_ruleset(ruleset.name),
            KernelObject::Member(member) => self.firewall.remove_member(member),
            KernelObject::FdbEntry(entry) => self.remove_fdb_entry(entry),
            KernelObject::Neighbour(neighbour) => self.remove_neighbour(neighbour),
            KernelObject::Route(route) => self.remove_route(route),
            KernelObject::SubnetFile(_) => self.subnet_file = None,
        }
    }

    fn ensure_member(&mut self, member: Member) -> Result<(), KernelError> {
        if !self.firewall.takes_members() {
            return Err(not_found(format_args!("there are no sets for {member}")));
        }
        self.firewall.ensure_member(member);
        Ok(())
    }

    /// The daemon holds one socket at a time.
    fn bind(&mut self, local: SocketAddrV4) -> Result<(), KernelError> {
        self.sockets.retain(|bound| *bound == local);
        if !self.is_own(*local.ip()) && !local.ip().is_unspecified() {
            return Err(not_found(format_args!(
                "cannot bind {local}: no device has this address"
            )));
        }
        if self.ports.contains(&local.port()) {
            return Err(taken(format_args!(
                "cannot bind {local}: another program holds the port"
            )));
        }
        self.sockets.insert(local);
        Ok(())
    }

    /// Writes the file; the network plugin reads it and moves the pods' bridge to the subnet.
    fn write_subnet_file(&mut self, file: &SubnetFile) {
        self.subnet_file = Some(file.render());
        self.pods_mtu = file.mtu;
        let Some((_, subnet)) = file.v4.filter(|(_, subnet)| self.bridge != Some(subnet.trunc())) else {
            return;
        };
        self.bridge = Some(subnet.trunc());
        let bridge = Device::new(super::bridge_name(), Kind::Bridge, file.mtu, None);
        let index = match self.index_of(&bridge.name) {
            Some(index) => index,
            None => self.add_device(bridge),
        };
        self.set_up(index);
        let old = self.devices.get(&index).map(|bridge| bridge.addresses.clone());
        if let Some(gateway) = gateway_of(subnet) {
            let address = Ipv4Net::new_assert(gateway, subnet.prefix_len());
            self.add_address(index, IpNet::V4(address));
        }
        for address in old.unwrap_or_default() {
            self.remove_address(index, address);
        }
    }
}
