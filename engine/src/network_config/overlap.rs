//! Whether the overlay would take addresses away from the networks that this node is attached to (faults.md, 53).

use core::net::IpAddr;

use ipnet::IpNet;

use super::NetworkConfig;

impl NetworkConfig {
    /// Returns the overlay's network that gives out addresses of this one, if one does: a lease of them would lead the
    /// traffic of the underlay into the overlay.
    pub(crate) fn claims(&self, underlay: IpNet) -> Option<IpNet> {
        let (first, last) = (underlay.network(), underlay.broadcast());
        let is_shared = |min: IpAddr, max: IpAddr| min <= last && first <= max;
        match underlay {
            IpNet::V4(_) => {
                let range = self.v4?;
                let max = IpNet::new(range.subnet_max.into(), range.subnet_len).ok()?;
                is_shared(range.subnet_min.into(), max.broadcast()).then_some(range.network.into())
            }
            IpNet::V6(_) => {
                let range = self.v6?;
                let max = IpNet::new(range.subnet_max.into(), range.subnet_len).ok()?;
                is_shared(range.subnet_min.into(), max.broadcast()).then_some(range.network.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_are_given_out_are_claimed() {
        let config = br#"{"Network": "10.5.0.0/16", "SubnetMin": "10.5.16.0", "SubnetMax": "10.5.31.0",
            "EnableIPv6": true, "IPv6Network": "fd05::/48"}"#;
        let config = NetworkConfig::parse(config).unwrap();
        let claims = |net: &str| config.claims(net.parse().unwrap());

        for free in [
            "10.5.0.0/20",
            "10.5.32.0/24",
            "10.6.0.0/16",
            "10.5.15.255/32",
            "fd06::/48",
        ] {
            assert_eq!(claims(free), None, "{free}");
        }
        for claimed in ["10.5.16.0/32", "10.5.31.255/32", "10.0.0.0/8", "10.5.17.0/24"] {
            assert_eq!(claims(claimed), Some("10.5.0.0/16".parse().unwrap()), "{claimed}");
        }
        for claimed in ["fd05:0:0:7::1/128", "fd00::/8"] {
            assert_eq!(claims(claimed), Some("fd05::/48".parse().unwrap()), "{claimed}");
        }
    }
}
