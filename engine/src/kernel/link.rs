//! Devices, and what hangs on them alone: settings and addresses.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;
use core::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::MacAddress;

/// The name of a network device, at most 15 bytes.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct LinkName(pub String);

/// A device, up, and its attributes.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Link {
    /// The device's name.
    pub name: LinkName,
    /// What it is.
    pub kind: LinkKind,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// What marks it as ours (`IFLA_IFALIAS`, `ip link show` prints it); empty for one that nobody marked.
    pub alias: String,
}

/// What a device is.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// A TUN device that carries bare IP packets and lives as long as the daemon holds it.
    Tun,
    /// A VXLAN device, which outlives the daemon.
    Vxlan(Vxlan),
}

/// The attributes of a VXLAN device (backends.md, 4.2); it has no group, and both ends fill UDP checksums.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Vxlan {
    /// The network identifier.
    pub vni: Vni,
    /// The source address of the outer packets; its family is the underlay's.
    pub local: IpAddr,
    /// The device that the outer packets leave by.
    pub underlay: LinkName,
    /// The UDP port that all nodes listen on.
    pub port: u16,
    /// Whether the kernel learns who sends for which MAC address.
    pub learning: Learning,
    /// Whether packets carry a group policy.
    pub group_policy: GroupPolicy,
    /// Its hardware address.
    pub mac: MacAddress,
}

/// A VXLAN network identifier: 24 bits (RFC 7348, section 5).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Vni(u32);

/// A number that is no VXLAN network identifier.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a VXLAN network identifier has 24 bits: {0} is more than {max}", max = Vni::MAX)]
pub struct VniError(u32);

impl Vni {
    const MAX: u32 = 0x00ff_ffff;

    /// Makes an identifier.
    ///
    /// # Errors
    ///
    /// [`VniError`] if it has more than 24 bits.
    pub const fn new(vni: u32) -> Result<Self, VniError> {
        if vni > Self::MAX {
            return Err(VniError(vni));
        }
        Ok(Self(vni))
    }
}

impl TryFrom<u32> for Vni {
    type Error = VniError;

    fn try_from(vni: u32) -> Result<Self, VniError> {
        Self::new(vni)
    }
}

impl From<Vni> for u32 {
    fn from(vni: Vni) -> Self {
        vni.0
    }
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether a VXLAN device learns where MAC addresses are from the packets it receives.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Learning {
    /// It sends by its forwarding entries alone.
    #[default]
    Off,
    /// It learns.
    On,
}

/// Whether a VXLAN device carries a group policy identifier (`gbp`).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupPolicy {
    /// Its header is that of RFC 7348.
    #[default]
    Off,
    /// Its header has the extension.
    On,
}

/// A per-device setting of one IP version.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Sysctl {
    /// The device.
    pub link: LinkName,
    /// The IP version whose setting it is.
    pub version: IpVersion,
    /// The setting, for example `accept_local`.
    pub key: Cow<'static, str>,
    /// Its value.
    pub value: Cow<'static, str>,
}

/// A version of the Internet Protocol.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpVersion {
    /// Returns the version of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// An address on a device, scope global, without label.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Address {
    /// The device.
    pub link: LinkName,
    /// The address with its prefix length.
    pub net: IpNet,
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, kind, mtu, .. } = self;
        match kind {
            LinkKind::Tun => write!(f, "TUN device {name} mtu {mtu}"),
            LinkKind::Vxlan(vxlan) => write!(f, "VXLAN device {name} mtu {mtu} {vxlan}"),
        }
    }
}

impl fmt::Display for Vxlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            vni,
            local,
            underlay,
            port,
            learning,
            group_policy,
            mac,
        } = self;
        let learning = match learning {
            Learning::Off => "nolearning",
            Learning::On => "learning",
        };
        let group_policy = match group_policy {
            GroupPolicy::Off => "",
            GroupPolicy::On => " gbp",
        };
        write!(
            f,
            "address {mac} id {vni} local {local} dev {underlay} dstport {port} {learning}{group_policy}"
        )
    }
}

impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            link,
            version,
            key,
            value,
        } = self;
        let version = match version {
            IpVersion::V4 => "ipv4",
            IpVersion::V6 => "ipv6",
        };
        write!(f, "setting net.{version}.conf.{link}.{key}={value}")
    }
}
