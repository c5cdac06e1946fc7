//! A scenario makes the same run every time, and an engine that is restored from a snapshot goes on as the one before.

use selvedge_engine::Engine;

use super::Verdict;
use crate::node_id::NodeId;
use crate::violation::{Finding, Invariant};

/// Compares the trace hashes of two runs of one scenario.
pub(crate) fn check(once: u64, again: u64) -> Verdict {
    if once == again {
        return Ok(());
    }
    let text = format!("the trace hash was {once:016x}, and {again:016x} the second time");
    Err(Finding::new(Invariant::Replay, [], text))
}

/// Restores an engine from its snapshot, and checks that nothing of it is lost.
pub(crate) fn check_snapshot(node: NodeId, engine: &Engine) -> Result<Engine, Finding> {
    let restored = engine.snapshot().and_then(|snapshot| Engine::restore(&snapshot));
    let restored = restored.map_err(|error| no_snapshot(node, &error.to_string()))?;
    check_restored(node, &format!("{engine:?}"), &format!("{restored:?}"))?;
    Ok(restored)
}

fn check_restored(node: NodeId, before: &str, after: &str) -> Verdict {
    if before == after {
        return Ok(());
    }
    let same = before
        .bytes()
        .zip(after.bytes())
        .take_while(|(one, other)| one == other)
        .count();
    let [before, after] = [before, after].map(|text| excerpt(text, same));
    Err(no_snapshot(
        node,
        &format!("it had `{before}`, and has `{after}`"),
    ))
}

fn no_snapshot(node: NodeId, problem: &str) -> Finding {
    let text = format!("a snapshot of {node}'s engine makes another engine: {problem}");
    Finding::new(Invariant::Replay, [node], text)
}

/// Returns what is around a place.
fn excerpt(text: &str, place: usize) -> String {
    let from = place.saturating_sub(BEFORE);
    let bytes = text.bytes().skip(from).take(BEFORE + AFTER).collect::<Vec<u8>>();
    String::from_utf8_lossy(&bytes).into_owned()
}

const BEFORE: usize = 60;
const AFTER: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_hash_is_found() {
        assert_eq!(check(7, 7), Ok(()));
        assert!(check(7, 8).is_err());
    }

    #[test]
    fn an_engine_that_lost_something_is_found() {
        let node = NodeId::new(1);

        let finding = check_restored(node, "Engine { orphan: Some(7) }", "Engine { orphan: None }");

        let text = finding.unwrap_err().text;
        assert!(
            text.ends_with("it had `Engine { orphan: Some(7) }`, and has `Engine { orphan: None }`"),
            "{text}"
        );
        assert_eq!(check_restored(node, "same", "same"), Ok(()));
    }
}
