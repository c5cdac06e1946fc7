//! A watch that is opened again where it broke (control-plane.md, 5.1 and 5.3).

use std::time::Duration;

use selvedge_engine::{Instant, KeyRange, Revision, WatchEnd, WatchId};

use super::client::Client;

/// A watch and where to go on after it breaks.
#[derive(Debug)]
pub(super) struct Watch {
    range: KeyRange,
    /// The first revision that was not seen.
    resume: Revision,
    open: Option<WatchId>,
    again_at: Option<Instant>,
    backoff: Duration,
}

/// What has to happen after a watch ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum AfterEnd {
    /// Nothing, or it is opened again later.
    Nothing,
    /// Its start is compacted: everything has to be read again.
    ReadAgain,
}

impl Watch {
    pub(super) const fn new(range: KeyRange) -> Self {
        Self {
            range,
            resume: Revision(0),
            open: None,
            again_at: None,
            backoff: FIRST_BACKOFF,
        }
    }

    /// Watches from the revision after `seen`.
    pub(super) fn open_after(&mut self, seen: Revision, client: &mut Client) {
        self.resume = seen.next();
        self.backoff = FIRST_BACKOFF;
        self.open(client);
    }

    pub(super) fn awaits(&self, id: WatchId) -> bool {
        self.open == Some(id)
    }

    /// Takes note of a response.
    pub(super) const fn heard(&mut self, revision: Revision) {
        self.resume = revision.next();
        self.backoff = FIRST_BACKOFF;
    }

    pub(super) fn handle_end(&mut self, id: WatchId, end: &WatchEnd, client: &Client) -> AfterEnd {
        if !self.awaits(id) {
            return AfterEnd::Nothing;
        }
        self.open = None;
        match end {
            WatchEnd::Compacted(_) => AfterEnd::ReadAgain,
            WatchEnd::Failed(_) => {
                self.again_at = Some(client.now + self.backoff);
                self.backoff = (self.backoff * 2).min(LONGEST_BACKOFF);
                AfterEnd::Nothing
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, client: &mut Client) {
        if self.again_at.is_some_and(|at| at <= client.now) {
            self.open(client);
        }
    }

    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.again_at
    }

    fn open(&mut self, client: &mut Client) {
        self.again_at = None;
        self.open = Some(client.watch(self.range.clone(), self.resume));
    }
}

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
