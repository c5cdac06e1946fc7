//! What makes an object the same one although its attributes change.

use alloc::borrow::Cow;
use core::net::{IpAddr, SocketAddrV4};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::kernel::{IpVersion, KernelObject, LinkName, MacAddress, Member, RulesetName};

/// The identity of an object; in the order of making.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) enum ObjectId {
    Socket(SocketAddrV4),
    Link(LinkName),
    Sysctl(LinkName, IpVersion, Cow<'static, str>),
    Address(LinkName, IpNet),
    Ruleset(RulesetName),
    FdbEntry(LinkName, MacAddress),
    Neighbour(LinkName, IpAddr),
    Route(IpNet),
    SubnetFile,
    Member(Member),
}

impl ObjectId {
    pub(crate) fn of(object: &KernelObject) -> Self {
        match object {
            KernelObject::Socket(local) => Self::Socket(*local),
            KernelObject::Link(link) => Self::Link(link.name.clone()),
            KernelObject::Sysctl(sysctl) => {
                Self::Sysctl(sysctl.link.clone(), sysctl.version, sysctl.key.clone())
            }
            KernelObject::Address(address) => Self::Address(address.link.clone(), address.net),
            KernelObject::Ruleset(ruleset) => Self::Ruleset(ruleset.name),
            KernelObject::Member(member) => Self::Member(*member),
            KernelObject::FdbEntry(entry) => Self::FdbEntry(entry.link.clone(), entry.mac),
            KernelObject::Neighbour(neighbour) => Self::Neighbour(neighbour.link.clone(), neighbour.address),
            KernelObject::Route(route) => Self::Route(route.destination),
            KernelObject::SubnetFile(_) => Self::SubnetFile,
        }
    }

    /// Returns the place of its kind in the order of making.
    pub(super) const fn rank(&self) -> u8 {
        match self {
            Self::Socket(_) => 0,
            Self::Link(_) => 1,
            Self::Sysctl(..) => 2,
            Self::Address(..) => 3,
            Self::Ruleset(_) => 4,
            Self::FdbEntry(..) => 5,
            Self::Neighbour(..) => 6,
            Self::Route(_) => 7,
            Self::SubnetFile => 8,
            Self::Member(_) => 9,
        }
    }

    /// Returns the device that it hangs on and vanishes with; a route's is not part of its identity.
    pub(super) const fn link(&self) -> Option<&LinkName> {
        match self {
            Self::Sysctl(link, ..)
            | Self::Address(link, _)
            | Self::FdbEntry(link, _)
            | Self::Neighbour(link, _) => Some(link),
            Self::Socket(_)
            | Self::Link(_)
            | Self::Ruleset(_)
            | Self::Member(_)
            | Self::Route(_)
            | Self::SubnetFile => None,
        }
    }

    pub(super) const fn is_member(&self) -> bool {
        matches!(self, Self::Member(_))
    }

    pub(super) const fn is_address(&self) -> bool {
        matches!(self, Self::Address(..))
    }

    /// Without a setting or a rule the node still carries traffic.
    pub(super) const fn is_optional(&self) -> bool {
        match self {
            Self::Sysctl(..) | Self::Ruleset(_) | Self::Member(_) => true,
            Self::Socket(_)
            | Self::Link(_)
            | Self::Address(..)
            | Self::FdbEntry(..)
            | Self::Neighbour(..)
            | Self::Route(_)
            | Self::SubnetFile => false,
        }
    }

    /// Tells whether a survey shows all objects of this kind.
    pub(super) const fn is_surveyed(&self) -> bool {
        match self {
            Self::Link(_)
            | Self::Address(..)
            | Self::Ruleset(_)
            | Self::Member(_)
            | Self::FdbEntry(..)
            | Self::Neighbour(..)
            | Self::Route(_) => true,
            Self::Socket(_) | Self::Sysctl(..) | Self::SubnetFile => false,
        }
    }
}
