//! A scenario makes the same run every time.

use super::Verdict;
use crate::violation::{Finding, Invariant};

/// Compares the trace hashes of two runs of one scenario.
pub(crate) fn check(once: u64, again: u64) -> Verdict {
    if once == again {
        return Ok(());
    }
    let text = format!("the trace hash was {once:016x}, and {again:016x} the second time");
    Err(Finding::new(Invariant::Replay, [], text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_hash_is_found() {
        assert_eq!(check(7, 7), Ok(()));
        assert!(check(7, 8).is_err());
    }
}
