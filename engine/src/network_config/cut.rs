//! The rules by which an overlay is cut into subnets (control-plane.md, 2.2), for both address families.

use alloc::string::{String, ToString};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::error::NetworkConfigError;

/// What differs between the address families.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) network_key: &'static str,
    pub(super) other_network_key: &'static str,
    pub(super) len_key: &'static str,
    pub(super) min_key: &'static str,
    pub(super) max_key: &'static str,
    pub(super) example: &'static str,
    pub(super) len_example: &'static str,
    /// How an error names an overlay that is too small.
    too_small_name: &'static str,
    bits: u8,
    /// The prefix length of subnets where the overlay has room for it.
    usual_len: u8,
}

/// IPv4 and its keys.
pub(super) const IPV4: Family = Family {
    name: "IPv4",
    network_key: "Network",
    other_network_key: "IPv6Network",
    len_key: "SubnetLen",
    min_key: "SubnetMin",
    max_key: "SubnetMax",
    example: "10.244.0.0/16",
    len_example: "a whole number such as 24",
    too_small_name: "network",
    bits: 32,
    usual_len: 24,
};

/// IPv6 and its keys.
pub(super) const IPV6: Family = Family {
    name: "IPv6",
    network_key: "IPv6Network",
    other_network_key: "Network",
    len_key: "IPv6SubnetLen",
    min_key: "IPv6SubnetMin",
    max_key: "IPv6SubnetMax",
    example: "fd00:10:244::/48",
    len_example: "a whole number such as 64",
    too_small_name: "IPv6Network",
    bits: 128,
    usual_len: 64,
};

impl Family {
    /// Tells whether the address is one of this family's; IPv4 in the clothes of IPv6 is of neither.
    pub(super) fn includes(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.bits == 32,
            IpAddr::V6(address) => self.bits == 128 && address.to_ipv4_mapped().is_none(),
        }
    }

    /// Returns how many addresses a network of this prefix length has.
    fn size(&self, len: u8) -> u128 {
        1_u128
            .checked_shl(self.bits.saturating_sub(len).into())
            .unwrap_or_default()
    }

    fn show(&self, address: u128) -> String {
        match self.bits {
            32 => v4_address(address).to_string(),
            _ => Ipv6Addr::from(address).to_string(),
        }
    }
}

/// The subnets of an overlay.
pub(super) struct Cut {
    /// The prefix length of each.
    pub(super) len: u8,
    /// The address of the first.
    pub(super) min: u128,
    /// The address of the last.
    pub(super) max: u128,
}

impl Cut {
    /// Cuts the overlay, given by address and prefix length; a length of zero, and bounds that are absent or
    /// unspecified, stand for the usual ones.
    pub(super) fn new(
        family: &'static Family,
        network: (u128, u8),
        len: u64,
        min: Option<u128>,
        max: Option<u128>,
    ) -> Result<Self, NetworkConfigError> {
        let (first, network_len) = network;
        let len = subnet_len(family, network, len)?;
        let size = family.size(len);
        let beyond_first = family.size(network_len).saturating_sub(size);
        let bound = Bound {
            family,
            network,
            size,
            len,
        };
        let min = bound.check(family.min_key, min, first.saturating_add(size))?;
        let max = bound.check(family.max_key, max, first.saturating_add(beyond_first))?;
        if min > max {
            return Err(NetworkConfigError::MinAfterMax {
                min_key: family.min_key,
                min: family.show(min),
                max_key: family.max_key,
                max: family.show(max),
            });
        }
        Ok(Self { len, min, max })
    }
}

/// Turns a number into an address; numbers that are too large, which no cut has, become the last one.
pub(super) fn v4_address(address: u128) -> Ipv4Addr {
    Ipv4Addr::from(u32::try_from(address).unwrap_or(u32::MAX))
}

/// Returns the prefix length of subnets, as given or the usual one.
fn subnet_len(
    family: &'static Family,
    (first, network_len): (u128, u8),
    given: u64,
) -> Result<u8, NetworkConfigError> {
    let shown = || alloc::format!("{}/{network_len}", family.show(first));
    let limit = family.bits.saturating_sub(1);
    let least = network_len.saturating_add(2);
    if given == 0 {
        let minimum = family.bits.saturating_sub(4);
        if network_len > minimum {
            return Err(NetworkConfigError::TooSmall {
                key: family.network_key,
                network: shown(),
                name: family.too_small_name,
                minimum,
            });
        }
        return Ok(family.usual_len.max(least));
    }
    let Some(len) = u8::try_from(given).ok().filter(|len| *len < limit) else {
        return Err(NetworkConfigError::SubnetLenTooLong {
            key: family.len_key,
            value: given,
            limit,
        });
    };
    if len < least {
        return Err(NetworkConfigError::SubnetLenTooShort {
            key: family.len_key,
            value: len,
            network_key: family.network_key,
            network: shown(),
        });
    }
    Ok(len)
}

/// What the address of a first or last subnet must fit.
struct Bound {
    family: &'static Family,
    network: (u128, u8),
    size: u128,
    len: u8,
}

impl Bound {
    fn check(&self, key: &'static str, given: Option<u128>, usual: u128) -> Result<u128, NetworkConfigError> {
        let Some(address) = given.filter(|address| *address != 0) else {
            return Ok(usual);
        };
        let value = self.family.show(address);
        let (first, network_len) = self.network;
        let network_size = self.family.size(network_len);
        if address
            .checked_sub(first)
            .is_none_or(|offset| offset >= network_size)
        {
            return Err(NetworkConfigError::OutsideNetwork {
                key,
                value,
                network_key: self.family.network_key,
                network: alloc::format!("{}/{network_len}", self.family.show(first)),
            });
        }
        if address.checked_rem(self.size) != Some(0) {
            return Err(NetworkConfigError::OffBoundary {
                key,
                value,
                len_key: self.family.len_key,
                len: self.len,
                nearest: self.family.show(address & !self.size.saturating_sub(1)),
            });
        }
        Ok(address)
    }
}
