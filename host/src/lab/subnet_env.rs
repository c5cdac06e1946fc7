//! What a node's subnet file tells the one who attaches pods (control-plane.md, 7.3).

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::str::FromStr;

use ipnet::Ipv4Net;

use super::error::{IoContext, LabError};

/// How the pods of a node are attached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PodNetwork {
    /// The node's address on the pods' bridge, with the length of its subnet.
    pub gateway: Ipv4Net,
    /// The MTU of the pods' devices.
    pub mtu: u32,
}

impl PodNetwork {
    /// Reads a node's subnet file.
    ///
    /// # Errors
    ///
    /// [`LabError::BadSubnetFile`] if a key is missing or unreadable, [`LabError::Io`] if the file is.
    pub fn read(path: &Path) -> Result<Self, LabError> {
        let text = fs::read_to_string(path).trying(|| format!("reading {}", path.display()))?;
        Self::parse(&text).map_err(|problem| LabError::BadSubnetFile {
            path: path.to_owned(),
            problem,
        })
    }

    /// Returns the node's subnet.
    pub fn subnet(&self) -> Ipv4Net {
        self.gateway.trunc()
    }

    /// Returns the pod's address: the first that is free.
    pub fn pod(&self) -> Option<Ipv4Addr> {
        self.subnet()
            .hosts()
            .find(|address| *address > self.gateway.addr())
    }

    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self {
            gateway: value(text, "FLANNEL_SUBNET")?,
            mtu: value(text, "FLANNEL_MTU")?,
        })
    }
}

fn value<T: FromStr>(text: &str, key: &str) -> Result<T, String> {
    let raw = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .ok_or_else(|| format!("{key} is missing"))?;
    raw.parse().map_err(|_| format!("{key}={raw} cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pod_gets_the_first_address_after_the_gateway() {
        let text = "FLANNEL_NETWORK=10.50.0.0/16\nFLANNEL_SUBNET=10.50.7.1/24\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=false\n";

        let network = PodNetwork::parse(text).unwrap();

        assert_eq!(network.subnet(), "10.50.7.0/24".parse().unwrap());
        assert_eq!(network.pod(), Some(Ipv4Addr::new(10, 50, 7, 2)));
        assert_eq!(network.mtu, 1472);
    }

    #[test]
    fn a_missing_or_broken_key_is_named() {
        assert_eq!(
            PodNetwork::parse("FLANNEL_MTU=1472\n").unwrap_err(),
            "FLANNEL_SUBNET is missing"
        );
        let broken = PodNetwork::parse("FLANNEL_SUBNET=10.50.7.1/24\nFLANNEL_MTU=big\n");
        assert_eq!(broken.unwrap_err(), "FLANNEL_MTU=big cannot be read");
    }
}
