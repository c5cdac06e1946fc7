//! When the node is looked at.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::OpId;
use crate::backoff::Backoff;
use crate::engine::outbox::Outbox;
use crate::kernel::Survey;
use crate::time::Instant;

/// How long after a survey the next one is made at the earliest and at the latest although nothing was heard: notices get
/// lost.
const PERIOD: (Duration, Duration) = (Duration::from_mins(4), Duration::from_mins(5));
/// How long after a survey a doubt waits for others to come.
const CALM: Duration = Duration::from_millis(50);
/// The first and the longest wait after a survey that failed.
const WAIT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Asks for surveys, one at a time.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Surveyor {
    state: State,
    backoff: Backoff,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
enum State {
    /// Nothing is to be known yet.
    Idle,
    /// The next one is due then.
    Waiting {
        earliest: Instant,
        due: Instant,
    },
    Asked {
        id: OpId,
        doubt: Doubt,
    },
}

/// Whether something changed while the node was looked at.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Doubt {
    None,
    Raised,
}

impl Surveyor {
    pub(super) const fn new() -> Self {
        Self {
            state: State::Idle,
            backoff: Backoff::new(WAIT.0, WAIT.1),
        }
    }

    /// Asks for a survey as soon as possible.
    pub(super) const fn begin(&mut self, now: Instant) {
        self.state = State::Waiting {
            earliest: now,
            due: now,
        };
    }

    /// Takes note that the last survey may be true no more.
    pub(super) fn doubt(&mut self, now: Instant) {
        match &mut self.state {
            State::Idle => {}
            State::Waiting { earliest, due } => *due = (*due).min((*earliest).max(now)),
            State::Asked { doubt, .. } => *doubt = Doubt::Raised,
        }
    }

    /// Tells whether it is time to ask.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        matches!(self.state, State::Waiting { due, .. } if due <= now)
    }

    /// Asks.
    pub(super) fn ask(&mut self, survey: Survey, outbox: &mut Outbox) {
        let id = outbox.survey(survey);
        let doubt = Doubt::None;
        self.state = State::Asked { id, doubt };
    }

    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        match self.state {
            State::Waiting { due, .. } => Some((due, "look at the node")),
            State::Idle | State::Asked { .. } => None,
        }
    }

    pub(super) fn awaits(&self, id: OpId) -> bool {
        matches!(self.state, State::Asked { id: asked, .. } if asked == id)
    }

    /// Takes note that a survey came.
    pub(super) fn handle_found(&mut self, outbox: &mut Outbox) {
        self.backoff.reset();
        let (now, earliest) = (outbox.now, outbox.now + CALM);
        let doubt = matches!(
            self.state,
            State::Asked {
                doubt: Doubt::Raised,
                ..
            }
        );
        let due = if doubt {
            earliest
        } else {
            now + outbox.rng.between(PERIOD.0, PERIOD.1)
        };
        self.state = State::Waiting { earliest, due };
    }

    /// Takes note that a survey failed; returns how long the next one has to wait.
    pub(super) fn handle_failed(&mut self, outbox: &mut Outbox) -> Duration {
        let wait = self.backoff.wait(&mut outbox.rng);
        let due = outbox.now + wait;
        self.state = State::Waiting { earliest: due, due };
        wait
    }
}
