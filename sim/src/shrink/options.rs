//! Options as usual.

use super::attempts::Attempts;

pub(super) fn make_usual(attempts: &mut Attempts<'_>) {
    // Each step leaves one unusual option fewer, or the next one is tried.
    let mut tried = 0;
    loop {
        let simpler = attempts.best().simpler();
        let Some(next) = simpler.into_iter().nth(tried) else {
            return;
        };
        if !attempts.keeps_failing(next) {
            tried += 1;
        }
    }
}
