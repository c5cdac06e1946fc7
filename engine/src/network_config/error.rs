//! Why a network config is refused, in words for the person who wrote it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Display;

/// The backend types that a network config may name.
pub(super) const KNOWN_BACKENDS: [&str; 9] = [
    "alloc",
    "extension",
    "host-gw",
    "ipip",
    "ipsec",
    "tencent-vpc",
    "udp",
    "vxlan",
    "wireguard",
];

/// How many keys an error names.
const MAX_KEYS: usize = 5;

/// How much of a value an error quotes, in characters.
const MAX_EXCERPT: usize = 60;

/// Why a network config is refused: the key, the offending value, the rule.
///
/// The texts hold the phrases that flannel uses for the same rules, so that people find them.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NetworkConfigError {
    /// Not the JSON that it should be.
    #[error("the network config is not a JSON object: {0}; correct its text")]
    Syntax(String),
    /// A key holds another type than it should.
    #[error("{key} is {value}; it must be {expected}")]
    WrongType {
        /// The key.
        key: &'static str,
        /// Its value as JSON.
        value: String,
        /// What it should be.
        expected: String,
    },
    /// A network's text is not `address/length`.
    #[error("{key} is {value}; it must be an {family} network such as \"{example}\"")]
    NotANetwork {
        /// The key.
        key: &'static str,
        /// Its value as JSON.
        value: String,
        /// The address family that it should have.
        family: &'static str,
        /// A good value.
        example: &'static str,
    },
    /// A network is of the other address family.
    #[error("{key} is {value}, which is not {family}; networks of the other family belong into {right_key}")]
    OtherFamily {
        /// The key.
        key: &'static str,
        /// Its value as JSON.
        value: String,
        /// The address family that it should have.
        family: &'static str,
        /// The key for the family that it has.
        right_key: &'static str,
    },
    /// The bound of a range is not an address of the right family.
    #[error("{key} is {value}; it must be an {family} address without prefix length")]
    NotAnAddress {
        /// The key.
        key: &'static str,
        /// Its value as JSON.
        value: String,
        /// The address family that it should have.
        family: &'static str,
    },
    /// Neither address family is enabled.
    #[error(
        "none defined stack: EnableIPv4 is false and EnableIPv6 is not true; enable at least one of them"
    )]
    NoFamily,
    /// The overlay of an enabled family is absent or everything.
    #[error("please define a correct {key} parameter: {}", no_network(key, value.as_deref(), example, unknown))]
    NoNetwork {
        /// The key.
        key: &'static str,
        /// Its value as JSON, unless it is absent.
        value: Option<String>,
        /// A good value.
        example: &'static str,
        /// The keys in the config that mean nothing: one of them may be meant.
        unknown: Vec<String>,
    },
    /// The overlay has no room for four subnets of a useful size.
    #[error(
        "{key} is {network}: {name} is too small. Minimum useful network prefix is /{minimum}; \
         give it a shorter prefix"
    )]
    TooSmall {
        /// The key.
        key: &'static str,
        /// The overlay.
        network: String,
        /// What the message calls it.
        name: &'static str,
        /// The longest prefix length allowed.
        minimum: u8,
    },
    /// The subnets would have fewer than four addresses.
    #[error("{key} is {value}: {key} must be less than /{limit}; make it shorter, or leave it out")]
    SubnetLenTooLong {
        /// The key.
        key: &'static str,
        /// The prefix length given.
        value: u64,
        /// The shortest prefix length that is too long.
        limit: u8,
    },
    /// The overlay would have fewer than four subnets.
    #[error(
        "{key} is {value} with {network_key} {network}: network must be able to accommodate at least four \
         subnets; make {key} at least 2 longer than the prefix of {network_key}, or leave it out"
    )]
    SubnetLenTooShort {
        /// The key.
        key: &'static str,
        /// The prefix length given.
        value: u8,
        /// The overlay's key.
        network_key: &'static str,
        /// The overlay.
        network: String,
    },
    /// The bound of a range lies outside the overlay.
    #[error(
        "{key} is {value}: {key} is not in the range of the {network_key} {network}; \
         choose an address inside it, or leave it out"
    )]
    OutsideNetwork {
        /// The key.
        key: &'static str,
        /// The address given.
        value: String,
        /// The overlay's key.
        network_key: &'static str,
        /// The overlay.
        network: String,
    },
    /// The bound of a range is not where a subnet begins.
    #[error(
        "{key} is not on a {len_key} boundary: {value}; subnets have /{len}, so {nearest} is the nearest one below"
    )]
    OffBoundary {
        /// The key.
        key: &'static str,
        /// The address given.
        value: String,
        /// The key of the subnets' prefix length.
        len_key: &'static str,
        /// The subnets' prefix length.
        len: u8,
        /// The subnet's address that the given one lies in.
        nearest: String,
    },
    /// The range of subnets is empty.
    #[error(
        "{min_key} {min} lies after {max_key} {max}, so there would be no subnets; exchange or correct them"
    )]
    MinAfterMax {
        /// The key of the first subnet.
        min_key: &'static str,
        /// The first subnet's address.
        min: String,
        /// The key of the last subnet.
        max_key: &'static str,
        /// The last subnet's address.
        max: String,
    },
    /// There is a `Backend` without a type.
    #[error("Backend {0}, but needs a Type; set Type to one of {types}, or leave Backend out for udp", types = list(&KNOWN_BACKENDS))]
    NoBackendType(String),
}

/// Returns a value's text for an error: one line, not too long.
pub(super) fn excerpt(value: &str) -> String {
    let mut letters = value.chars();
    let shown = letters.by_ref().take(MAX_EXCERPT);
    let mut shown: String = shown
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    if letters.next().is_some() {
        shown.push_str("...");
    }
    shown
}

/// Returns the texts of the first few keys for an error.
pub(super) fn excerpts(keys: &[&str]) -> Vec<String> {
    let mut shown: Vec<_> = keys.iter().take(MAX_KEYS).map(|key| excerpt(key)).collect();
    if let Some(more) = keys.len().checked_sub(MAX_KEYS).filter(|more| *more > 0) {
        shown.push(format!("and {more} more"));
    }
    shown
}

/// Returns items with commas between them.
pub(super) fn list<T: Display>(items: &[T]) -> String {
    let items: Vec<_> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}

fn no_network(key: &str, value: Option<&str>, example: &str, unknown: &[String]) -> String {
    let found = match value {
        Some(value) => format!("{key} is {value}"),
        None => format!("there is no key {key}"),
    };
    let hint = match unknown {
        [] => String::new(),
        _ => format!("; these keys mean nothing: {}", list(unknown)),
    };
    format!("{found}; set it to a range such as \"{example}\"{hint}")
}
