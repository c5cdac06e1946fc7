//! How a node is attached to the underlay.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use selvedge_engine::{FoundHop, FoundRoute, LinkName, MacAddress};

use super::Linux;
use super::device::{Device, Kind};
use super::foreign::STATIC;

/// What a node's network manager sets up for its only network card, `eth0`, and sets up again whenever the card comes
/// up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attachment {
    /// The address, and the prefix of the addresses that are on the link.
    pub address: Ipv4Net,
    /// The same for IPv6, if there is any.
    pub address_v6: Option<Ipv6Net>,
    /// Other addresses that are on the link.
    pub on_link: Vec<Ipv4Addr>,
    /// The router to everywhere else, on the link.
    pub gateway: Option<Ipv4Addr>,
    /// The card's hardware address.
    pub mac: MacAddress,
    /// The card's MTU in bytes.
    pub mtu: u32,
}

impl From<Ipv4Addr> for Attachment {
    /// A network of 256 addresses without a router.
    fn from(address: Ipv4Addr) -> Self {
        let [_, b, c, d] = address.octets();
        Self {
            address: Ipv4Net::new_assert(address, 24),
            address_v6: None,
            on_link: Vec::new(),
            gateway: None,
            mac: MacAddress::local([0x02, 0, 0, b, c, d]),
            mtu: 1500,
        }
    }
}

impl Linux {
    /// Sets the card up with all that belongs to it, if it is there.
    pub fn attach(&mut self) {
        let Attachment {
            address,
            address_v6,
            on_link,
            gateway,
            ..
        } = self.attachment.clone();
        self.set_up(UNDERLAY);
        self.add_address(UNDERLAY, address.into());
        if let Some(address) = address_v6 {
            self.add_address(UNDERLAY, address.into());
        }
        for neighbour in on_link {
            let destination = IpNet::from(IpAddr::V4(neighbour));
            self.manage_route(destination, FoundHop::Link(UNDERLAY), STATIC);
        }
        if let Some(gateway) = gateway {
            let hop = FoundHop::Gateway {
                gateway: gateway.into(),
                link: UNDERLAY,
            };
            self.manage_route(IpNet::V4(Ipv4Net::default()), hop, DHCP);
        }
    }

    /// Gives the node another address in place of the one that it has, as a DHCP client does: first the old one goes.
    pub fn move_to(&mut self, address: Ipv4Net) {
        let old = std::mem::replace(&mut self.attachment.address, address);
        self.remove_address(UNDERLAY, old.into());
        self.attach();
        self.forgive_losses();
    }

    /// Gives the node's card another MTU.
    pub fn set_underlay_mtu(&mut self, mtu: u32) {
        self.attachment.mtu = mtu;
        if let Some(card) = self.devices.get_mut(&UNDERLAY) {
            card.mtu = mtu;
        }
    }

    /// Sets the node's card down.
    pub fn detach(&mut self) {
        self.set_down(UNDERLAY);
        self.forgive_losses();
    }

    /// Tells whether the node's card is up.
    pub fn is_attached(&self) -> bool {
        self.devices.get(&UNDERLAY).is_some_and(Device::is_up)
    }

    /// Returns the node's address in the underlay.
    pub const fn underlay_address(&self) -> Ipv4Addr {
        self.attachment.address.addr()
    }

    /// Returns how the node is attached to the underlay.
    pub const fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    pub(super) fn card(&self) -> Device {
        let Attachment { mac, mtu, .. } = self.attachment;
        Device::new(LinkName(CARD.to_owned()), Kind::Ethernet, mtu, Some(mac))
    }

    fn manage_route(&mut self, destination: IpNet, hop: FoundHop, protocol: u8) {
        let is_up = self.devices.get(&UNDERLAY).is_some_and(Device::is_up);
        if is_up {
            self.routes.insert_if_free(&FoundRoute {
                destination,
                hop,
                protocol,
                priority: 0,
            });
        }
    }
}

/// The index of the card.
pub(super) const UNDERLAY: u32 = 2;
const CARD: &str = "eth0";
/// `RTPROT_DHCP`.
const DHCP: u8 = 16;
