//! Shorter runs and faults.

use std::time::Duration;

use selvedge_engine::Instant;

use super::attempts::Attempts;
use crate::fault::TimedFault;
use crate::scenario::Scenario;

/// Ends the run where the invariant broke, without what would have begun later.
pub(super) fn cut_the_end(attempts: &mut Attempts<'_>) {
    let broken_at = attempts.violation().at.saturating_since(Instant::ZERO);
    let end = seconds(broken_at) + SECOND;
    if end < attempts.best().duration {
        attempts.keeps_failing_with(|scenario| {
            scenario.duration = end;
            scenario.faults.retain(|timed| timed.at < end);
        });
    }
}

pub(super) fn shorten(attempts: &mut Attempts<'_>) {
    shorten_run(attempts);
    heal_sooner(attempts);
    for place in 0..attempts.best().faults.len() {
        change(attempts, place, end_sooner);
        change(attempts, place, |timed| move_to(timed, timed.at / 2));
        change(attempts, place, |timed| move_to(timed, seconds(timed.at)));
        change(attempts, place, |timed| {
            timed.until = timed.until.map(|until| seconds(until).max(timed.at));
        });
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Ends the run sooner: by a half of it, a quarter and so on.
fn shorten_run(attempts: &mut Attempts<'_>) {
    let mut step = attempts.best().duration / 2;
    while step >= SECOND {
        let duration = seconds(attempts.best().duration.saturating_sub(step));
        if !attempts.keeps_failing_with(|scenario| scenario.duration = duration) {
            step /= 2;
        }
    }
}

/// Lets the core heal sooner, and the run end as much sooner.
fn heal_sooner(attempts: &mut Attempts<'_>) {
    let sooner = |scenario: &mut Scenario| {
        if let Some(liveness) = &mut scenario.liveness {
            let sooner = seconds(liveness.at / 2);
            let by = liveness.at.saturating_sub(sooner);
            liveness.at = sooner;
            scenario.duration = scenario.duration.saturating_sub(by);
        }
    };
    while attempts.keeps_failing_with(sooner) {}
}

/// Changes the times of a fault, as often as that makes them earlier and the run fails still.
fn change(attempts: &mut Attempts<'_>, place: usize, change: impl Fn(&mut TimedFault)) {
    let apply = |scenario: &mut Scenario| {
        if let Some(timed) = scenario.faults.get_mut(place) {
            change(timed);
        }
    };
    while attempts.keeps_failing_with(apply) {}
}

fn end_sooner(timed: &mut TimedFault) {
    let at = timed.at;
    timed.until = timed.until.map(|until| at + millis(until.saturating_sub(at) / 2));
}

/// Moves the fault to another beginning; it lasts as long.
fn move_to(timed: &mut TimedFault, at: Duration) {
    let length = timed.until.map(|until| until.saturating_sub(timed.at));
    timed.at = millis(at);
    timed.until = length.map(|length| timed.at + length);
}

fn millis(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

const fn seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}
