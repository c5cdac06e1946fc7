//! The wiring of a lab: the switch, the nodes' links to it, the pods behind the nodes.

use std::fs;

use super::error::{IoContext, LabError};
use super::name::{NodeNumber, Place};
use super::{Cut, Lab};

const SWITCH_ADDRESS: &str = "192.0.2.254";
const STORE_ADDRESS: &str = "192.0.2.250";

impl Lab {
    /// Attaches to every node a pod that lacks one, as a CNI plugin would from the subnet file.
    ///
    /// # Errors
    ///
    /// What `ip` says, and what reading the subnet files returns.
    pub fn attach_pods(&self) -> Result<(), LabError> {
        for number in self.nodes() {
            self.interrupt.check()?;
            if !self.namespace(Place::Pod(number)).exists() {
                self.attach_pod(number)?;
            }
        }
        Ok(())
    }

    /// Cuts a node off.
    ///
    /// # Errors
    ///
    /// [`LabError::NoSuchPlace`] if there is no such node, and what `ip` says.
    pub fn cut(&self, number: NodeNumber, cut: Cut) -> Result<(), LabError> {
        self.require(Place::Node(number))?;
        match cut {
            Cut::Underlay => {
                self.namespace(Place::Switch)
                    .ip(&["link", "set", &Place::Node(number).to_string(), "down"])
            }
            Cut::Store => {
                let node = format!("{}/32", number.public_ip());
                self.namespace(Place::Store)
                    .ip(&["route", "replace", "blackhole", &node])
            }
        }
    }

    /// Undoes every cut of a node.
    ///
    /// # Errors
    ///
    /// [`LabError::NoSuchPlace`] if there is no such node, and what `ip` says.
    pub fn heal(&self, number: NodeNumber) -> Result<(), LabError> {
        self.require(Place::Node(number))?;
        self.namespace(Place::Switch)
            .ip(&["link", "set", &Place::Node(number).to_string(), "up"])?;
        let store = self.namespace(Place::Store);
        let node = format!("{}/32", number.public_ip());
        if store
            .ip_output(&["route", "show", "exact", &node, "type", "blackhole"])?
            .is_empty()
        {
            return Ok(());
        }
        store.ip(&["route", "delete", "blackhole", &node])
    }

    /// Makes sure that the lab has a place.
    ///
    /// # Errors
    ///
    /// [`LabError::NoSuchPlace`] if it has not.
    pub fn require(&self, place: Place) -> Result<(), LabError> {
        if self.namespace(place).exists() {
            return Ok(());
        }
        Err(LabError::NoSuchPlace {
            lab: self.name().to_string(),
            place,
        })
    }

    pub(super) fn build_underlay(&self) -> Result<(), LabError> {
        let switch = self.namespace(Place::Switch);
        switch.create()?;
        switch.ip(&["link", "add", "bridge", "up", "type", "bridge"])?;
        switch.ip(&["address", "add", &format!("{SWITCH_ADDRESS}/24"), "dev", "bridge"])?;
        self.plug_in(Place::Store, STORE_ADDRESS)?;
        for number in self.nodes() {
            self.interrupt.check()?;
            let place = Place::Node(number);
            self.plug_in(place, &number.public_ip().to_string())?;
            let forwarding = "/proc/sys/net/ipv4/ip_forward";
            self.namespace(place)
                .enter(|| fs::write(forwarding, "1"))?
                .trying(|| format!("writing {forwarding} in {place}"))?;
        }
        Ok(())
    }

    /// Makes a namespace with an `eth0` whose other end, named like the place, is a port of the switch.
    fn plug_in(&self, place: Place, address: &str) -> Result<(), LabError> {
        let namespace = self.namespace(place);
        let port = place.to_string();
        namespace.create()?;
        let peer = ["type", "veth", "peer", "name", "eth0", "netns", namespace.name()];
        let link = ["link", "add", &port, "master", "bridge", "up"];
        self.namespace(Place::Switch)
            .ip(&[&link[..], &peer[..]].concat())?;
        namespace.ip(&["address", "add", &format!("{address}/24"), "dev", "eth0"])?;
        namespace.ip(&["link", "set", "eth0", "up"])?;
        namespace.ip(&["route", "add", "default", "via", SWITCH_ADDRESS])
    }

    fn attach_pod(&self, number: NodeNumber) -> Result<(), LabError> {
        let network = self.pod_network(number)?;
        let node = self.namespace(Place::Node(number));
        let pod = self.namespace(Place::Pod(number));
        let Some(address) = network.pod() else {
            let problem = format!("subnet {} has no room for a pod", network.subnet());
            return Err(LabError::BadSubnetFile {
                path: self.subnet_file(number),
                problem,
            });
        };
        let (mtu, length) = (network.mtu.to_string(), network.gateway.prefix_len());
        node.ip(&["link", "add", "cni0", "up", "mtu", &mtu, "type", "bridge"])?;
        node.ip(&["address", "add", &network.gateway.to_string(), "dev", "cni0"])?;
        pod.create()?;
        let peer = [
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "mtu",
            &mtu,
            "netns",
            pod.name(),
        ];
        let link = ["link", "add", "pod", "master", "cni0", "mtu", &mtu, "up"];
        node.ip(&[&link[..], &peer[..]].concat())?;
        pod.ip(&["address", "add", &format!("{address}/{length}"), "dev", "eth0"])?;
        pod.ip(&["link", "set", "eth0", "up"])?;
        pod.ip(&[
            "route",
            "add",
            "default",
            "via",
            &network.gateway.addr().to_string(),
        ])
    }
}
