//! Once a core of nodes has healed, it comes to rest, whatever else stays broken, and asks the store for little.

use std::fmt;
use std::time::Duration;

use super::Verdict;
use crate::node_id::NodeId;
use crate::violation::{Finding, Invariant};

/// How many requests and watches a node may open at rest at once: it lists all leases anew.
const AT_ONCE: usize = 20;
/// How many it may open within a minute besides: with an etcd lease of ten seconds it renews every five, by two requests.
const PER_MINUTE: u32 = 40;

/// Why a core cannot come to rest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Excuse {
    /// The leases of nodes that are gone, and strangers, fill the network.
    NoSubnetLeft,
    /// A node never heard of a change, and its next list is not due yet.
    MissedAChange,
}

/// Says that a core is not at rest although it has had the time; these nodes are not.
pub(crate) fn not_at_rest(restless: &[NodeId]) -> Verdict {
    let names: Vec<String> = restless.iter().map(NodeId::to_string).collect();
    let text = format!("the core has healed and is not at rest: {}", names.join(" "));
    Err(Finding::new(Invariant::Liveness, restless, text))
}

/// Checks how often a node of the core asked the store in the time since the core came to rest.
pub(crate) fn check_requests(node: NodeId, count: usize, rested: Duration) -> Verdict {
    let minutes = u32::try_from(rested.as_secs().div_ceil(60)).unwrap_or(u32::MAX);
    let most = AT_ONCE + usize::try_from(PER_MINUTE.saturating_mul(minutes)).unwrap_or(usize::MAX);
    if count <= most {
        return Ok(());
    }
    let text = format!("{node} asked the store {count} times in {rested:?} at rest");
    Err(Finding::new(Invariant::Liveness, [node], text))
}

impl fmt::Display for Excuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSubnetLeft => "no subnet is left",
            Self::MissedAChange => "a node missed a change and has still to list the leases anew",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ref_cluster::fixture::N1;

    #[test]
    fn many_requests_at_rest_are_found() {
        let minute = Duration::from_mins(1);

        assert_eq!(check_requests(N1, 60, minute), Ok(()));
        assert!(check_requests(N1, 61, minute).is_err());
        assert_eq!(check_requests(N1, 61, minute * 2), Ok(()));
        assert!(not_at_rest(&[N1]).is_err());
    }
}
