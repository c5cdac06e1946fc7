//! The hardware addresses of this node's VXLAN devices.

use alloc::collections::BTreeMap;
use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::kernel::{LinkName, MacAddress};
use crate::machine_id::MachineId;
use crate::rng::Rng;
use crate::snapshot::pairs;

/// The address of each device: the one that it has, and until it is there one that follows from the machine, so that a
/// device which is made anew is reached by what its peers know.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Vteps {
    origin: u64,
    #[serde(with = "pairs")]
    found: BTreeMap<LinkName, MacAddress>,
}

impl Vteps {
    /// Two copies of a machine get different addresses if their nodes do.
    pub(crate) fn new(machine: MachineId, node: IpAddr) -> Self {
        let mut rng = Rng::new(machine.hardware).fork(&alloc::format!("vtep of {node}"));
        Self {
            origin: rng.next_u64(),
            found: BTreeMap::new(),
        }
    }

    /// Returns the address of a device.
    pub(crate) fn mac_of(&self, link: &LinkName) -> MacAddress {
        self.found.get(link).copied().unwrap_or_else(|| {
            let drawn = Rng::new(self.origin).fork(&link.0).next_u64().to_be_bytes();
            let [bytes @ .., _, _] = drawn;
            MacAddress::local(bytes)
        })
    }

    /// Takes note of the address that a device has; tells whether that is news.
    pub(crate) fn note(&mut self, link: &LinkName, mac: MacAddress) -> bool {
        if !mac.is_unicast() || self.mac_of(link) == mac {
            return false;
        }
        self.found.insert(link.clone(), mac);
        true
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;
    use core::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_address_follows_from_machine_node_and_device_until_the_device_has_another() {
        let (v4, v6) = (link("flannel.1"), link("flannel-v6.1"));
        let mut vteps = vteps(1, 1);

        assert_eq!(vteps.mac_of(&v4), self::vteps(1, 1).mac_of(&v4));
        for other in [self::vteps(1, 2), self::vteps(2, 1)] {
            assert_ne!(vteps.mac_of(&v4), other.mac_of(&v4));
        }
        assert_ne!(vteps.mac_of(&v4), vteps.mac_of(&v6));
        assert!(vteps.mac_of(&v4).is_unicast());

        let found = MacAddress([2, 0, 0, 0, 0, 7]);
        assert!(vteps.note(&v4, found));
        assert!(!vteps.note(&v4, found) && !vteps.note(&v4, MacAddress([0; 6])));
        assert_eq!(vteps.mac_of(&v4), found);
    }

    fn vteps(hardware: u64, last: u8) -> Vteps {
        let machine = MachineId { hardware, boot: 7 };
        Vteps::new(machine, Ipv4Addr::new(192, 0, 2, last).into())
    }

    fn link(name: &str) -> LinkName {
        LinkName(name.to_string())
    }
}
