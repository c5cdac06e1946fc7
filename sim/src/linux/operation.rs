//! The operations that the daemon asks of its node.

use std::fmt;
use std::net::SocketAddrV4;

use selvedge_engine::{
    Address, KernelError, KernelErrorKind, KernelObject, KernelOp, Link, LinkName, Route, SubnetFile, Sysctl,
};

use super::device::{Device, DeviceState};
use super::{Foreign, Linux};

impl Linux {
    /// Carries out an operation; a second time it changes nothing.
    ///
    /// Who removes what it did not make takes it from whoever did.
    ///
    /// # Errors
    ///
    /// What Linux would say: [`KernelErrorKind::NotFound`] for a device that is not there or, for a route, down, and
    /// for a socket on an address that is not the node's; [`KernelErrorKind::Taken`] for what another program holds.
    pub fn apply(&mut self, op: &KernelOp) -> Result<(), KernelError> {
        match op {
            KernelOp::Ensure(object) => self.ensure(object),
            KernelOp::Remove(object) => {
                self.remove(object);
                Ok(())
            }
        }
    }

    fn ensure(&mut self, object: &KernelObject) -> Result<(), KernelError> {
        match object {
            KernelObject::Socket(local) => self.bind(*local),
            KernelObject::Link(link) => self.ensure_link(link),
            KernelObject::Sysctl(Sysctl { link, key, value }) => {
                self.device(link)?.settings.insert(key.clone(), value.clone());
                Ok(())
            }
            KernelObject::Address(Address { link, net }) => {
                self.device(link)?.addresses.insert(*net);
                Ok(())
            }
            KernelObject::Route(route) => self.ensure_route(route),
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
            KernelObject::Link(Link { name, .. }) => {
                if !self.delete_link(name) {
                    self.foreign.remove(&Foreign::Link(name.clone()));
                }
            }
            KernelObject::Sysctl(Sysctl { link, key, .. }) => {
                if let Some(device) = self.devices.get_mut(link) {
                    device.settings.remove(key);
                }
            }
            KernelObject::Address(Address { link, net }) => {
                if let Some(device) = self.devices.get_mut(link) {
                    device.addresses.remove(net);
                }
            }
            KernelObject::Route(Route { destination, link }) => {
                if !self.routes.remove(*destination, link) {
                    self.foreign.remove(&Foreign::Route(destination.trunc()));
                }
            }
            KernelObject::SubnetFile(_) => self.subnet_file = None,
        }
    }

    fn bind(&mut self, local: SocketAddrV4) -> Result<(), KernelError> {
        if *local.ip() != self.address && !local.ip().is_unspecified() {
            return Err(not_found(format_args!(
                "cannot bind {local}: no device has this address"
            )));
        }
        if self.foreign.contains(&Foreign::Port(local.port())) {
            return Err(taken(format_args!(
                "cannot bind {local}: another program holds the port"
            )));
        }
        self.sockets.insert(local);
        Ok(())
    }

    fn ensure_link(&mut self, link: &Link) -> Result<(), KernelError> {
        if self.foreign.contains(&Foreign::Link(link.name.clone())) {
            return Err(taken(format_args!(
                "another program holds the device {}",
                link.name
            )));
        }
        let device = self
            .devices
            .entry(link.name.clone())
            .or_insert_with(|| Device::new(link.mtu));
        device.mtu = link.mtu;
        device.state = DeviceState::Up;
        Ok(())
    }

    fn ensure_route(&mut self, route: &Route) -> Result<(), KernelError> {
        let Route { destination, link } = route;
        if self.device(link)?.state == DeviceState::Down {
            return Err(not_found(format_args!(
                "cannot add a route to {destination}: {link} is down"
            )));
        }
        if self.foreign.contains(&Foreign::Route(destination.trunc())) {
            return Err(taken(format_args!(
                "another program's route to {destination} exists already"
            )));
        }
        self.routes.insert(*destination, link.clone());
        Ok(())
    }

    fn device(&mut self, name: &LinkName) -> Result<&mut Device, KernelError> {
        self.devices
            .get_mut(name)
            .ok_or_else(|| not_found(format_args!("there is no device {name}")))
    }

    /// Writes the file; the network plugin reads it and moves the pods' bridge to the subnet.
    fn write_subnet_file(&mut self, file: &SubnetFile) {
        self.subnet_file = Some(file.render());
        if let Some((_, subnet)) = file.v4 {
            self.bridge = Some(subnet.trunc());
        }
    }
}

fn not_found(message: fmt::Arguments<'_>) -> KernelError {
    KernelError {
        kind: KernelErrorKind::NotFound,
        message: message.to_string(),
    }
}

fn taken(message: fmt::Arguments<'_>) -> KernelError {
    KernelError {
        kind: KernelErrorKind::Taken,
        message: message.to_string(),
    }
}
