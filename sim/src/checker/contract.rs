//! The engine's contract: a full drain ends, the next timeout lies in the future, and the engine lives until it is
//! told to stop.

use selvedge_engine::{ExitReason, Instant};

use super::Verdict;
use crate::node_id::NodeId;
use crate::violation::{Finding, Invariant};

/// More actions than this after one input are taken for an endless loop.
pub(crate) const MAX_ACTIONS: usize = 10_000;

/// Checks the next timeout after a full drain.
pub(crate) fn check_timeout(node: NodeId, next: Option<(Instant, &str)>, now: Instant) -> Verdict {
    match next {
        Some((at, reason)) if at <= now => {
            let text =
                format!("after a full drain {node}'s next timeout ({reason}) is {at}: not in the future");
            Err(finding(node, text))
        }
        Some(_) | None => Ok(()),
    }
}

/// Checks how many actions one input caused.
pub(crate) fn check_drain(node: NodeId, actions: usize) -> Verdict {
    if actions <= MAX_ACTIONS {
        return Ok(());
    }
    let text = format!("{node} has more than {MAX_ACTIONS} things to do after one input");
    Err(finding(node, text))
}

/// Checks the end of an engine that nobody told to stop.
pub(crate) fn check_exit(node: NodeId, reason: &ExitReason) -> Verdict {
    Err(finding(node, format!("{node} ended: {reason}")))
}

/// Checks that an engine that was told to stop has `stopped`.
pub(crate) fn check_stop(node: NodeId, stopped: bool) -> Verdict {
    if stopped {
        return Ok(());
    }
    Err(finding(node, format!("{node} was told to stop, and goes on")))
}

fn finding(node: NodeId, text: String) -> Finding {
    Finding::new(Invariant::Contract, [node], text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const N1: NodeId = NodeId::new(1);

    #[test]
    fn a_timeout_that_is_due_after_the_drain_is_found() {
        let now = Instant::from_nanos(10);
        let later = Instant::from_nanos(11);

        assert_eq!(check_timeout(N1, None, now), Ok(()));
        assert_eq!(check_timeout(N1, Some((later, "renew")), now), Ok(()));
        assert!(check_timeout(N1, Some((now, "renew")), now).is_err());
    }

    #[test]
    fn an_endless_drain_an_end_and_no_end_are_found() {
        assert_eq!(check_drain(N1, 10), Ok(()));
        assert!(check_drain(N1, MAX_ACTIONS + 1).is_err());
        assert!(check_exit(N1, &ExitReason::Shutdown).is_err());
        assert_eq!(check_stop(N1, true), Ok(()));
        assert!(check_stop(N1, false).is_err());
    }
}
