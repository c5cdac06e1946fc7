//! The vocabulary between the engine and the node it runs on: objects that ought to exist, and what became of
//! them.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;
use core::net::SocketAddrV4;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::subnet_file::SubnetFile;

/// The protocol number that marks our routes in the kernel (`rtm_protocol`, `rtnetlink(7)`); nothing unmarked
/// is ever deleted.
pub const ROUTE_PROTOCOL: u8 = 83;

/// The name of a network device, at most 15 bytes.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct LinkName(pub String);

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An object on the node that ought to exist.
///
/// The order of the variants is the order in which they are made; they are removed in reverse.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KernelObject {
    /// The tunnel's UDP socket, bound and unconnected.
    Socket(SocketAddrV4),
    /// A device, up.
    Link(Link),
    /// A device's IPv4 setting under `net.ipv4.conf.<link>`.
    Sysctl(Sysctl),
    /// An address on a device.
    Address(Address),
    /// A route in the main table, marked with [`ROUTE_PROTOCOL`].
    Route(Route),
    /// The file for CNI plugins and Docker.
    SubnetFile(SubnetFile),
}

/// A device and its attributes.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Link {
    /// The device's name.
    pub name: LinkName,
    /// What it is.
    pub kind: LinkKind,
    /// Its MTU in bytes.
    pub mtu: u32,
}

/// What a device is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// A TUN device that carries bare IP packets and lives as long as the daemon holds it.
    Tun,
}

/// A per-device IPv4 setting.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Sysctl {
    /// The device.
    pub link: LinkName,
    /// The setting, for example `accept_local`.
    pub key: Cow<'static, str>,
    /// Its value.
    pub value: Cow<'static, str>,
}

/// An address on a device, scope global, without label.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Address {
    /// The device.
    pub link: LinkName,
    /// The address with its prefix length.
    pub net: Ipv4Net,
}

/// A unicast route through a device, without gateway, scope global.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Route {
    /// The destinations.
    pub destination: Ipv4Net,
    /// The device.
    pub link: LinkName,
}

/// What the driver shall do to the node; both are idempotent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum KernelOp {
    /// Makes the object exist as described, changing an own one that differs.
    Ensure(KernelObject),
    /// Makes the object not exist.
    Remove(KernelObject),
}

impl KernelOp {
    /// Returns the object that it is about.
    pub const fn object(&self) -> &KernelObject {
        match self {
            Self::Ensure(object) | Self::Remove(object) => object,
        }
    }
}

/// Why an operation failed, as the engine has to tell apart.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KernelErrorKind {
    /// The name, address or port is taken by someone else.
    Taken,
    /// The object or the device it hangs on does not exist.
    NotFound,
    /// A capability or permission is missing.
    Permission,
    /// The kernel or the file system lacks the facility (`/dev/net/tun` missing, module absent).
    Unsupported,
    /// Anything else; it may work later.
    Other,
}

/// Why an operation failed, for the engine and for people.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct KernelError {
    /// What the engine goes by.
    pub kind: KernelErrorKind,
    /// What people read: what was tried, the errno text, and what to do about it.
    pub message: String,
}

impl fmt::Display for KernelObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(local) => write!(f, "UDP socket {local}"),
            Self::Link(Link {
                name,
                kind: LinkKind::Tun,
                mtu,
            }) => write!(f, "TUN device {name} mtu {mtu}"),
            Self::Sysctl(Sysctl { link, key, value }) => {
                write!(f, "setting net.ipv4.conf.{link}.{key}={value}")
            }
            Self::Address(Address { link, net }) => write!(f, "address {net} on {link}"),
            Self::Route(Route { destination, link }) => write!(f, "route {destination} dev {link}"),
            Self::SubnetFile(_) => f.write_str("subnet file"),
        }
    }
}
