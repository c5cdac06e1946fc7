//! The vocabulary between the engine and the node it runs on: objects that ought to exist, and what became of
//! them.

mod facts;
mod link;
mod mac_address;
mod neighbour;
mod object_kind;
mod route;
mod ruleset;

use alloc::string::String;
use core::fmt;
use core::net::SocketAddrV4;

use serde::{Deserialize, Serialize};

pub use self::facts::{
    FoundAddress, FoundFirewall, FoundHop, FoundKind, FoundLink, FoundRoute, FoundVxlan, KernelFacts,
    LinkState, Survey,
};
pub use self::link::{
    Address, GroupPolicy, IpVersion, Learning, Link, LinkKind, LinkName, Sysctl, Vni, VniError, Vxlan,
};
pub use self::mac_address::{MacAddress, MacAddressError};
pub use self::neighbour::{FdbEntry, Neighbour};
pub use self::object_kind::ObjectKind;
pub use self::route::{FLANNEL_ROUTE_PROTOCOL, NextHop, ROUTE_PROTOCOL, Route, RouteMark};
pub use self::ruleset::{FirewallTool, Member, Ruleset, RulesetName};
use crate::subnet_file::SubnetFile;

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
    /// A device's setting under `net.ipv4.conf.<link>` or `net.ipv6.conf.<link>`.
    Sysctl(Sysctl),
    /// An address on a device.
    Address(Address),
    /// Rules in the firewall.
    Ruleset(Ruleset),
    /// An entry of a VXLAN device's forwarding database.
    FdbEntry(FdbEntry),
    /// A neighbour entry.
    Neighbour(Neighbour),
    /// A route in the main table.
    Route(Route),
    /// The file for CNI plugins and Docker.
    SubnetFile(SubnetFile),
    /// A member that the rules let pass.
    Member(Member),
}

/// What the driver shall do to the node; all are idempotent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum KernelOp {
    /// Makes the object exist as described; whatever else has its place is another's and stays.
    Ensure(KernelObject),
    /// Makes the object be as described in the place of one of ours, without a gap.
    Replace(KernelObject),
    /// Makes the object not exist.
    Remove(KernelObject),
}

impl KernelOp {
    /// Returns the object that it is about.
    pub const fn object(&self) -> &KernelObject {
        match self {
            Self::Ensure(object) | Self::Replace(object) | Self::Remove(object) => object,
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
            Self::Link(link) => link.fmt(f),
            Self::Sysctl(setting) => setting.fmt(f),
            Self::Address(Address { link, net }) => write!(f, "address {net} on {link}"),
            Self::Ruleset(ruleset) => ruleset.fmt(f),
            Self::Member(member) => member.fmt(f),
            Self::FdbEntry(entry) => entry.fmt(f),
            Self::Neighbour(neighbour) => neighbour.fmt(f),
            Self::Route(route) => route.fmt(f),
            Self::SubnetFile(_) => f.write_str("subnet file"),
        }
    }
}
