//! What every part of the engine needs to act: the time, the numbers, the randomness, the action queue.

use alloc::collections::VecDeque;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::{Action, OpId, RequestId, WatchId};
use crate::event::Event;
use crate::health::Reachability;
use crate::kernel::{KernelOp, Survey};
use crate::rng::Rng;
use crate::store::{KeyRange, Revision, StoreRequest};
use crate::time::Instant;

/// How long a store request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The engine's way out, shared by its parts.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Outbox {
    pub(crate) now: Instant,
    pub(crate) rng: Rng,
    /// None between two inputs.
    #[serde(skip)]
    actions: VecDeque<Action>,
    last_id: u64,
    /// Whether people believe that the store answers.
    reachability: Reachability,
}

impl Outbox {
    pub(crate) fn new(rng: Rng, now: Instant) -> Self {
        Self {
            now,
            rng,
            actions: VecDeque::new(),
            last_id: 0,
            reachability: Reachability::Untried,
        }
    }

    pub(crate) const fn reachability(&self) -> Reachability {
        self.reachability
    }

    pub(crate) fn request(&mut self, request: StoreRequest) -> RequestId {
        let id = RequestId(self.number());
        let deadline = self.now + REQUEST_TIMEOUT;
        self.actions.push_back(Action::Request {
            id,
            deadline,
            request,
        });
        id
    }

    pub(crate) fn watch(&mut self, range: KeyRange, start: Revision) -> WatchId {
        let id = WatchId(self.number());
        self.actions.push_back(Action::Watch { id, range, start });
        id
    }

    pub(crate) fn kernel(&mut self, op: KernelOp) -> OpId {
        let id = OpId(self.number());
        self.actions.push_back(Action::Kernel { id, op });
        id
    }

    pub(crate) fn survey(&mut self, survey: Survey) -> OpId {
        let id = OpId(self.number());
        self.actions.push_back(Action::Survey { id, survey });
        id
    }

    pub(crate) fn tell(&mut self, event: Event) {
        if matches!(event, Event::StoreUnreachable { .. }) {
            self.reachability = Reachability::Lost;
        }
        self.actions.push_back(Action::Event(event));
    }

    /// Tells people that the store answers if the last they heard is that it does not.
    pub(crate) fn note_reached(&mut self) {
        let before = core::mem::replace(&mut self.reachability, Reachability::Reached);
        if before == Reachability::Lost {
            self.tell(Event::StoreReached);
        }
    }

    pub(crate) fn push(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(crate) fn pop(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    fn number(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;
    use crate::store::{StoreError, StoreErrorKind};

    #[test]
    fn people_hear_once_that_the_store_answers_again() {
        let mut outbox = Outbox::new(Rng::new(1), Instant::ZERO);
        outbox.note_reached();
        assert!(outbox.is_empty());

        outbox.tell(unreachable_event());
        outbox.note_reached();
        outbox.note_reached();

        assert!(matches!(
            outbox.pop(),
            Some(Action::Event(Event::StoreUnreachable { .. }))
        ));
        assert!(matches!(outbox.pop(), Some(Action::Event(Event::StoreReached))));
        assert!(outbox.is_empty());
    }

    fn unreachable_event() -> Event {
        Event::StoreUnreachable {
            wanted: "watch the leases",
            error: StoreError {
                kind: StoreErrorKind::Unavailable,
                message: String::new(),
            },
            retry_in: Duration::from_secs(1),
        }
    }
}
