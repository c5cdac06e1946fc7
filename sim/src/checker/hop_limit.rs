//! A packet's time to live only falls, and no packet takes a way twice.

use super::Verdict;
use crate::node_id::NodeId;
use crate::violation::{Finding, Invariant};

/// Checks that a step lowered a packet's time to live, and left some of it.
pub(crate) fn check_step(node: NodeId, before: Option<u8>, after: Option<u8>) -> Verdict {
    match (before, after) {
        (Some(before), Some(after)) if after < before && after > 0 => Ok(()),
        (before, after) => {
            let text =
                format!("{node} passed a packet on with time to live {after:?}, it came with {before:?}");
            Err(Finding::new(Invariant::HopLimit, [node], text))
        }
    }
}

/// Checks that a probe goes on the wire for the first time; `times` counts this one.
pub(crate) fn check_first_way(node: NodeId, probe: u64, times: u32) -> Verdict {
    if times <= 1 {
        return Ok(());
    }
    let text = format!("{node} sends probe {probe} to another node although it came from one: a loop");
    Err(Finding::new(Invariant::HopLimit, [node], text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const N1: NodeId = NodeId::new(1);

    #[test]
    fn a_time_to_live_that_does_not_fall_is_found() {
        assert_eq!(check_step(N1, Some(64), Some(63)), Ok(()));
        assert!(check_step(N1, Some(64), Some(64)).is_err());
        assert!(check_step(N1, Some(0), Some(255)).is_err());
        assert!(check_step(N1, Some(1), Some(0)).is_err());
    }

    #[test]
    fn a_second_way_is_a_loop() {
        assert_eq!(check_first_way(N1, 7, 1), Ok(()));
        assert!(check_first_way(N1, 7, 2).is_err());
    }
}
