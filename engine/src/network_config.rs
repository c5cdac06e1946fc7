//! The cluster's network config: JSON in the store, with its defaults and its rules (control-plane.md, 2).

mod cut;
mod error;
mod overlap;
mod spelling;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use self::cut::{Cut, Family, IPV4, IPV6};
pub use self::error::NetworkConfigError;
use self::error::{KNOWN_BACKENDS, excerpt, excerpts, list};
pub use self::spelling::UnknownKey;
pub(crate) use self::spelling::unknown_keys;
use crate::json::{JsonError, Object};
use crate::kernel::IpVersion;
use crate::subnet::Subnet;
use crate::underlay::Families;

/// The longest config that is read, in bytes.
const MAX_CONFIG: usize = 256 * 1024;
/// Every key of the top level.
const KEYS: [&str; 12] = [
    "EnableIPv4",
    "EnableIPv6",
    "EnableNFTables",
    "Network",
    "IPv6Network",
    "SubnetLen",
    "SubnetMin",
    "SubnetMax",
    "IPv6SubnetLen",
    "IPv6SubnetMin",
    "IPv6SubnetMax",
    "Backend",
];

/// A valid network config: every default filled in, every rule checked.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NetworkConfig {
    /// The IPv4 overlay, unless IPv4 is disabled.
    pub v4: Option<Range4>,
    /// The IPv6 overlay, if IPv6 is enabled.
    pub v6: Option<Range6>,
    /// Whether firewall rules go to nftables.
    pub firewall: Firewall,
    /// The backend with its options.
    pub backend: BackendConfig,
}

/// The IPv4 overlay and the subnets cut from it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Range4 {
    /// The whole overlay, without host bits.
    pub network: Ipv4Net,
    /// The prefix length of every subnet.
    pub subnet_len: u8,
    /// The first subnet's address.
    pub subnet_min: Ipv4Addr,
    /// The last subnet's address.
    pub subnet_max: Ipv4Addr,
}

/// The IPv6 overlay and the subnets cut from it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Range6 {
    /// The whole overlay, without host bits.
    pub network: Ipv6Net,
    /// The prefix length of every subnet.
    pub subnet_len: u8,
    /// The first subnet's address.
    pub subnet_min: Ipv6Addr,
    /// The last subnet's address.
    pub subnet_max: Ipv6Addr,
}

/// The kernel facility that firewall rules are written for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Firewall {
    /// `EnableNFTables` is false.
    Iptables,
    /// `EnableNFTables` is true.
    Nftables,
}

/// The `Backend` object.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct BackendConfig {
    /// The type in lower case; `udp` if there is no `Backend`.
    pub kind: String,
    /// The raw JSON object, from which each backend reads its own options; `{}` if there is none.
    pub options: String,
}

impl NetworkConfig {
    /// Reads and validates the config's text.
    ///
    /// Key names match in any case, unknown keys are ignored, the last of equal keys wins. Whether the backend's
    /// type is supported is not judged here.
    ///
    /// # Errors
    ///
    /// The first rule that the text breaks.
    pub fn parse(text: &[u8]) -> Result<Self, NetworkConfigError> {
        let object = Object::parse(text, MAX_CONFIG)?;
        let is_v4_enabled = switch(&object, "EnableIPv4")?.unwrap_or(true);
        let is_v6_enabled = switch(&object, "EnableIPv6")?.unwrap_or(false);
        let is_nftables_enabled = switch(&object, "EnableNFTables")?.unwrap_or(false);
        let v4 = Given::<Ipv4Addr>::read(&object, &IPV4)?;
        let v6 = Given::<Ipv6Addr>::read(&object, &IPV6)?;
        let backend = backend(&object)?;
        if !is_v4_enabled && !is_v6_enabled {
            return Err(NetworkConfigError::NoFamily);
        }
        Ok(Self {
            v4: is_v4_enabled.then(|| v4.range(&object)).transpose()?,
            v6: is_v6_enabled.then(|| v6.range(&object)).transpose()?,
            firewall: if is_nftables_enabled {
                Firewall::Nftables
            } else {
                Firewall::Iptables
            },
            backend,
        })
    }

    /// Returns its address families.
    pub(crate) const fn families(&self) -> Families {
        match (self.v4, self.v6) {
            (Some(_), Some(_)) => Families::Dual,
            (None, Some(_)) => Families::V6,
            (Some(_) | None, None) => Families::V4,
        }
    }

    /// Returns the overlay's networks.
    pub(crate) fn networks(&self) -> Vec<IpNet> {
        let v4 = self.v4.map(|range| IpNet::V4(range.network));
        let v6 = self.v6.map(|range| IpNet::V6(range.network));
        v4.into_iter().chain(v6).collect()
    }

    /// Returns the whole overlay of an IP version, if it has one.
    pub(crate) fn of_version(&self, version: IpVersion) -> Option<IpNet> {
        match version {
            IpVersion::V4 => self.v4.map(|range| IpNet::V4(range.network)),
            IpVersion::V6 => self.v6.map(|range| IpNet::V6(range.network)),
        }
    }

    /// Tells whether a subnet takes addresses of this network: it lies inside, and is less than all of it, in a
    /// family that both have.
    pub(crate) fn gives_out(&self, subnet: &Subnet) -> bool {
        let v4 = self.v4.zip(subnet.v4()).is_some_and(|(range, net)| {
            range.network.contains(&net) && net.prefix_len() > range.network.prefix_len()
        });
        let v6 = self.v6.zip(subnet.v6()).is_some_and(|(range, net)| {
            range.network.contains(&net) && net.prefix_len() > range.network.prefix_len()
        });
        v4 || v6
    }
}

/// What the config says about one address family, before any rule.
struct Given<A> {
    network: Option<IpNet>,
    subnet_len: u64,
    subnet_min: Option<A>,
    subnet_max: Option<A>,
}

impl<A: FromStr> Given<A> {
    fn read(object: &Object<'_>, family: &'static Family) -> Result<Self, NetworkConfigError> {
        Ok(Self {
            network: network(object, family)?,
            subnet_len: read(object, family.len_key, family.len_example)?.unwrap_or_default(),
            subnet_min: address(object, family, family.min_key)?,
            subnet_max: address(object, family, family.max_key)?,
        })
    }
}

impl Given<Ipv4Addr> {
    fn range(&self, object: &Object<'_>) -> Result<Range4, NetworkConfigError> {
        let Some(IpNet::V4(network)) = self.network.filter(|net| net.prefix_len() > 0) else {
            return Err(no_network(object, &IPV4));
        };
        let bound = |address: Option<Ipv4Addr>| address.map(|address| u128::from(address.to_bits()));
        let first = network.network().to_bits().into();
        let cut = Cut::new(
            &IPV4,
            (first, network.prefix_len()),
            self.subnet_len,
            bound(self.subnet_min),
            bound(self.subnet_max),
        )?;
        Ok(Range4 {
            network,
            subnet_len: cut.len,
            subnet_min: cut::v4_address(cut.min),
            subnet_max: cut::v4_address(cut.max),
        })
    }
}

impl Given<Ipv6Addr> {
    fn range(&self, object: &Object<'_>) -> Result<Range6, NetworkConfigError> {
        let Some(IpNet::V6(network)) = self.network.filter(|net| net.prefix_len() > 0) else {
            return Err(no_network(object, &IPV6));
        };
        let cut = Cut::new(
            &IPV6,
            (network.network().to_bits(), network.prefix_len()),
            self.subnet_len,
            self.subnet_min.map(Ipv6Addr::to_bits),
            self.subnet_max.map(Ipv6Addr::to_bits),
        )?;
        Ok(Range6 {
            network,
            subnet_len: cut.len,
            subnet_min: Ipv6Addr::from(cut.min),
            subnet_max: Ipv6Addr::from(cut.max),
        })
    }
}

impl From<JsonError> for NetworkConfigError {
    fn from(error: JsonError) -> Self {
        Self::Syntax(error.to_string())
    }
}

fn switch(object: &Object<'_>, key: &'static str) -> Result<Option<bool>, NetworkConfigError> {
    read(object, key, "true or false")
}

/// Reads the overlay of a family, without host bits.
fn network(object: &Object<'_>, family: &'static Family) -> Result<Option<IpNet>, NetworkConfigError> {
    let key = family.network_key;
    if !object.has(key) {
        return Ok(None);
    }
    let value = object.raw(key).unwrap_or("null");
    let refusal = || NetworkConfigError::NotANetwork {
        key,
        value: excerpt(value),
        family: family.name,
        example: family.example,
    };
    let text: String = serde_json::from_str(value).map_err(|_| refusal())?;
    let net = parse_network(&text).ok_or_else(refusal)?;
    if family.includes(net.addr()) {
        return Ok(Some(net.trunc()));
    }
    Err(NetworkConfigError::OtherFamily {
        key,
        value: excerpt(value),
        family: family.name,
        right_key: family.other_network_key,
    })
}

fn address<A: FromStr>(
    object: &Object<'_>,
    family: &'static Family,
    key: &'static str,
) -> Result<Option<A>, NetworkConfigError> {
    let Some(value) = object.raw(key) else {
        return Ok(None);
    };
    let refusal = || NetworkConfigError::NotAnAddress {
        key,
        value: excerpt(value),
        family: family.name,
    };
    let text: String = serde_json::from_str(value).map_err(|_| refusal())?;
    text.parse().map(Some).map_err(|_| refusal())
}

fn backend(object: &Object<'_>) -> Result<BackendConfig, NetworkConfigError> {
    let Some(options) = object.raw("Backend") else {
        if object.has("Backend") {
            return Err(NetworkConfigError::NoBackendType("is null".to_string()));
        }
        return Ok(BackendConfig {
            kind: "udp".to_string(),
            options: "{}".to_string(),
        });
    };
    if !options.starts_with('{') {
        let value = if options.starts_with('[') {
            "[...]"
        } else {
            options
        };
        return Err(wrong_type(
            "Backend",
            value,
            "an object such as {\"Type\": \"vxlan\"}",
        ));
    }
    let inner = Object::parse(options.as_bytes(), MAX_CONFIG)?;
    let kind: Option<String> = inner.get("Type").map_err(|error| {
        wrong_type(
            "Backend.Type",
            error.value,
            &format!("one of {}", list(&KNOWN_BACKENDS)),
        )
    })?;
    let Some(kind) = kind.filter(|kind| !kind.is_empty()) else {
        // Values stay out of the message: options may hold secrets.
        let keys = excerpts(&inner.unknown_keys(&[]));
        return Err(NetworkConfigError::NoBackendType(match keys.as_slice() {
            [] => "is {}".to_string(),
            keys => format!("has only {}", list(keys)),
        }));
    };
    Ok(BackendConfig {
        kind: kind.to_lowercase(),
        options: options.to_string(),
    })
}

fn read<'a, T: Deserialize<'a>>(
    object: &Object<'a>,
    key: &'static str,
    expected: &str,
) -> Result<Option<T>, NetworkConfigError> {
    object
        .get(key)
        .map_err(|error| wrong_type(key, error.value, expected))
}

fn wrong_type(key: &'static str, value: &str, expected: &str) -> NetworkConfigError {
    NetworkConfigError::WrongType {
        key,
        value: excerpt(value),
        expected: expected.to_string(),
    }
}

fn no_network(object: &Object<'_>, family: &'static Family) -> NetworkConfigError {
    NetworkConfigError::NoNetwork {
        key: family.network_key,
        value: object.raw(family.network_key).map(excerpt),
        example: family.example,
        unknown: excerpts(&object.unknown_keys(&KEYS)),
    }
}

/// Reads `address/length` strictly: no leading zeros, no signs.
fn parse_network(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let length: u8 = length
        .parse()
        .ok()
        .filter(|number: &u8| number.to_string() == length)?;
    IpNet::new(address, length).ok()
}

#[cfg(test)]
mod tests;
