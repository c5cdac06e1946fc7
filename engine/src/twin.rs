//! What a node says of another machine that announces its public IP.

use core::fmt;
use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::machine_id::Maker;
use crate::subnet::Subnet;

/// Another machine with the node's public IP, and what it keeps the node from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Twin {
    /// The address that both announce.
    pub public_ip: IpAddr,
    /// The subnet that it holds, or wants.
    pub subnet: Subnet,
    /// What it is.
    pub rival: Rival,
}

/// What another machine with the node's public IP is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Rival {
    /// A machine of its own.
    Other,
    /// A machine with this one's identity: one of them was copied from the other.
    Copy,
}

impl Rival {
    pub(crate) const fn of(maker: Maker) -> Self {
        match maker {
            Maker::OtherBoot(_) | Maker::This(_) => Self::Copy,
            Maker::Other(_) | Maker::Unknown => Self::Other,
        }
    }
}

impl Twin {
    /// Returns what ends the quarrel.
    pub const fn cure(&self) -> &'static str {
        match (self.rival, self.public_ip) {
            (Rival::Other, IpAddr::V4(_)) => "give each machine its own with --iface or --public-ip",
            (Rival::Other, IpAddr::V6(_)) => "give each machine its own with --iface or --public-ipv6",
            (Rival::Copy, IpAddr::V4(_)) => {
                "give each machine its own with --iface or --public-ip, and the copy a new /etc/machine-id"
            }
            (Rival::Copy, IpAddr::V6(_)) => {
                "give each machine its own with --iface or --public-ipv6, and the copy a new /etc/machine-id"
            }
        }
    }
}

impl fmt::Display for Rival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Other => "another machine",
            Self::Copy => "a copy of this machine",
        })
    }
}
