//! What operators and other programs write among the leases without being one.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A record below the leases' prefix that no node may use, and that must not disturb the rest.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Junk {
    /// A key that is no subnet.
    NoSubnet,
    /// A subnet with something behind it.
    TrailingText,
    /// A subnet outside the network, with a good value.
    OutsideNetwork,
    /// All addresses, with a good value.
    Everything,
    /// A good key with a value that is not JSON.
    NoJson,
    /// A good key with a value of the wrong shape.
    WrongShape,
    /// A good key whose public IP is the loopback address.
    LoopbackAddress,
    /// A key of bytes that are not text.
    NotText,
    /// A good key with a value that is too large.
    TooLarge,
    /// A subnet of the other family alone, with a good value.
    OtherFamily,
}

impl Junk {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::NoSubnet,
        Self::TrailingText,
        Self::OutsideNetwork,
        Self::Everything,
        Self::NoJson,
        Self::WrongShape,
        Self::LoopbackAddress,
        Self::NotText,
        Self::TooLarge,
        Self::OtherFamily,
    ];

    /// Returns the last part of the key; no node of the usual network takes such a subnet, for its first 256 addresses
    /// are given to nobody (control-plane.md, 2.2).
    pub const fn key(self) -> &'static [u8] {
        match self {
            Self::NoSubnet => b"hello world",
            Self::TrailingText => b"10.5.250.0-24/old",
            Self::OutsideNetwork => b"192.168.7.0-24",
            Self::Everything => b"0.0.0.0-0",
            Self::NoJson => b"10.5.0.0-26",
            Self::WrongShape => b"10.5.0.64-26",
            Self::LoopbackAddress => b"10.5.0.128-26",
            Self::NotText => b"\xff\xfe-24",
            Self::TooLarge => b"10.5.0.192-26",
            Self::OtherFamily => b"0.0.0.0-0&fd05:0:0:7::-64",
        }
    }

    /// Returns the value.
    pub const fn value(self) -> &'static [u8] {
        match self {
            Self::NoSubnet => b"how do I use this",
            Self::TrailingText
            | Self::OutsideNetwork
            | Self::Everything
            | Self::NotText
            | Self::OtherFamily => br#"{"PublicIP":"203.0.113.7","PublicIPv6":null}"#,
            Self::TooLarge => LARGE.as_slice(),
            Self::NoJson => b"\x00\x01{{{",
            Self::WrongShape => br#"{"PublicIP":[1,2,3]}"#,
            Self::LoopbackAddress => br#"{"PublicIP":"127.0.0.1","PublicIPv6":null}"#,
        }
    }
}

/// More than a record may have.
static LARGE: [u8; 64 * 1024 + 1] = [b' '; 64 * 1024 + 1];
/// How much of a value people see.
const MOST_SHOWN: usize = 80;

impl fmt::Display for Junk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value();
        let shown = value.get(..MOST_SHOWN).unwrap_or(value);
        write!(f, "{} = {}", self.key().escape_ascii(), shown.escape_ascii())
    }
}
