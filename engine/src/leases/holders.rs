//! Who has the subnets of a network.

use alloc::collections::BTreeMap;
use core::fmt;
use core::net::IpAddr;

use super::Entry;

/// How the leases are spread over nodes, for people who look for some to delete.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Holders {
    /// How many leases there are.
    pub leases: usize,
    /// How many of them have no end.
    pub reservations: usize,
    /// How many nodes they name.
    pub nodes: usize,
    /// The node that has most of them, with their number, if it has more than one.
    pub most: Option<(IpAddr, usize)>,
}

impl Holders {
    pub(super) fn of<'a>(entries: impl Iterator<Item = &'a Entry>) -> Self {
        let (mut leases, mut reservations) = (0, 0);
        let mut by_node: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for entry in entries {
            leases += 1;
            reservations += usize::from(entry.etcd_lease.is_none());
            let addresses = entry.addresses();
            let v4 = addresses.and_then(|addresses| addresses.v4).map(IpAddr::V4);
            let v6 = addresses.and_then(|addresses| addresses.v6).map(IpAddr::V6);
            if let Some(node) = v4.or(v6) {
                *by_node.entry(node).or_default() += 1;
            }
        }
        let most = by_node.iter().max_by_key(|(_, count)| **count);
        Self {
            leases,
            reservations,
            nodes: by_node.len(),
            most: most
                .map(|(node, count)| (*node, *count))
                .filter(|(_, count)| *count > 1),
        }
    }
}

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            leases,
            reservations,
            nodes,
            most,
        } = self;
        write!(f, "{leases} leases of {nodes} nodes")?;
        if *reservations > 0 {
            write!(f, ", {reservations} of them without an end")?;
        }
        if let Some((node, count)) = most {
            write!(f, ", {count} of {node} alone,")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString as _;

    use super::*;

    #[test]
    fn people_read_whose_leases_to_look_at() {
        let plain = Holders {
            leases: 3,
            reservations: 0,
            nodes: 3,
            most: None,
        };
        let crowded = Holders {
            leases: 9,
            reservations: 2,
            nodes: 4,
            most: Some(([10, 0, 0, 7].into(), 6)),
        };

        assert_eq!(plain.to_string(), "3 leases of 3 nodes");
        assert_eq!(
            crowded.to_string(),
            "9 leases of 4 nodes, 2 of them without an end, 6 of 10.0.0.7 alone,"
        );
    }
}
