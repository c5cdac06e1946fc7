//! What a lab and its parts are called.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::str::FromStr;

use super::error::LabError;

/// The name of a lab: part of its namespaces' names and of its state directory.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct LabName(String);

/// The number of a node and of the pod behind it, from 1.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct NodeNumber(u8);

/// A part of a lab, with a namespace of its own.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Place {
    /// The bridge that joins the nodes and the store.
    Switch,
    /// The store.
    Store,
    /// A node.
    Node(NodeNumber),
    /// The pod behind the node of the same number.
    Pod(NodeNumber),
}

impl LabName {
    /// The name of a lab that was given none.
    pub const DEFAULT: &str = "lab";

    /// Returns the name of the namespace of a place, for example `selvedge-lab.node-1`.
    ///
    /// A lab's name has no dot, so no lab's prefix is the beginning of another's.
    pub fn namespace(&self, place: Place) -> String {
        format!("{}{place}", self.prefix())
    }

    /// Returns the place that a namespace belongs to, if it is one of this lab.
    pub fn place(&self, namespace: &str) -> Option<Place> {
        namespace.strip_prefix(&self.prefix())?.parse().ok()
    }

    /// Returns where the lab keeps its logs and subnet files.
    pub fn state_dir(&self) -> PathBuf {
        PathBuf::from("/run/selvedge-lab").join(&self.0)
    }

    fn prefix(&self) -> String {
        format!("selvedge-{}.", self.0)
    }
}

impl FromStr for LabName {
    type Err = LabError;

    fn from_str(text: &str) -> Result<Self, LabError> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.len() > 20 || text.starts_with('-') || !text.chars().all(allowed) {
            return Err(LabError::BadName(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl NodeNumber {
    /// The most nodes that a lab has.
    pub const MAX: u8 = 100;

    /// Makes a number; `None` outside 1 to [`Self::MAX`].
    pub fn new(number: u8) -> Option<Self> {
        (1..=Self::MAX).contains(&number).then_some(Self(number))
    }

    /// Returns all numbers of a lab of `count` nodes.
    pub fn all(count: u8) -> impl Iterator<Item = Self> {
        (1..=count).filter_map(Self::new)
    }

    /// Returns the node's address on the underlay (RFC 5737, TEST-NET-1).
    pub fn public_ip(self) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, self.0)
    }
}

impl fmt::Display for NodeNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Place {
    type Err = LabError;

    fn from_str(text: &str) -> Result<Self, LabError> {
        let number = |digits: &str| digits.parse().ok().and_then(NodeNumber::new);
        let place = match text.split_once('-') {
            None if text == "switch" => Some(Self::Switch),
            None if text == "store" => Some(Self::Store),
            Some(("node", digits)) => number(digits).map(Self::Node),
            Some(("pod", digits)) => number(digits).map(Self::Pod),
            None | Some(_) => None,
        };
        place.ok_or_else(|| LabError::BadPlace(text.to_owned()))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch => f.pad("switch"),
            Self::Store => f.pad("store"),
            Self::Node(number) => f.pad(&format!("node-{number}")),
            Self::Pod(number) => f.pad(&format!("pod-{number}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_survive_being_printed_and_parsed() {
        let node = NodeNumber::new(17).unwrap();

        for place in [Place::Switch, Place::Store, Place::Node(node), Place::Pod(node)] {
            assert_eq!(place.to_string().parse::<Place>().unwrap(), place);
        }
    }

    #[test]
    fn places_outside_a_lab_are_refused() {
        for text in [
            "", "node", "node-", "node-0", "node-101", "node--1", "pod-x", "router", "switch-1",
        ] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_that_would_leave_the_state_directory_or_meet_another_lab_are_refused() {
        for text in [
            "",
            "-a",
            "..",
            "a/b",
            "a.b",
            "A",
            "ä",
            "a b",
            "aaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert!(text.parse::<LabName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_namespace_belongs_to_exactly_one_lab() {
        let a: LabName = "a".parse().unwrap();
        let a_b: LabName = "a-b".parse().unwrap();
        let namespace = a_b.namespace(Place::Store);

        assert_eq!(a_b.place(&namespace), Some(Place::Store));
        assert_eq!(a.place(&namespace), None);
    }
}
