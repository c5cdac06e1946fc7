//! Reading the network config until there is a usable one, and noticing what becomes of it.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::outbox::Outbox;
use crate::action::{RequestId, WatchId};
use crate::backend::{Backend, ConfigError};
use crate::backoff::Backoff;
use crate::event::{ConfigUnused, Event};
use crate::health::{ConfigProblem, Reachability};
use crate::network_config::{NetworkConfig, unknown_keys};
use crate::setup::StorePrefix;
use crate::store::{
    Header, KeyRange, KeyValue, Page, Revision, StoreError, StoreRequest, StoreResponse, WatchEnd, WatchEvent,
};
use crate::text_bytes;
use crate::time::Instant;

/// Reads `<prefix>/config` until it is valid, then follows it.
///
/// A node serves one config as long as it runs: another one, an invalid one or none is told and not used, so that
/// no node is ever half on one network and half on another.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct ConfigReader {
    prefix: StorePrefix,
    state: State,
    backoff: Backoff,
    served: Option<ActiveConfig>,
    /// The text that was last looked at, and up to which revision; none if there is none.
    #[serde(with = "text_bytes::option")]
    text: Option<Vec<u8>>,
    revision: Revision,
}

#[derive(Debug, Deserialize, Serialize)]
enum State {
    Reading(RequestId),
    /// The answer may be of a history that is gone: whatever it says, the config is read again after it.
    Outdated(RequestId),
    Waiting(Instant),
    Following(WatchId),
}

/// A config that this node can serve.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct ActiveConfig {
    pub(crate) network: NetworkConfig,
    pub(crate) backend: Backend,
}

impl ConfigReader {
    pub(crate) fn new(prefix: StorePrefix, outbox: &mut Outbox) -> Self {
        let state = State::Reading(read(&prefix, outbox));
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        Self {
            prefix,
            state,
            backoff,
            served: None,
            text: None,
            revision: Revision(0),
        }
    }

    pub(crate) fn awaits(&self, id: RequestId) -> bool {
        matches!(self.state, State::Reading(own) | State::Outdated(own) if own == id)
    }

    pub(crate) fn follows(&self, id: WatchId) -> bool {
        matches!(self.state, State::Following(own) if own == id)
    }

    /// Returns what is wrong with the config that the store had the last time; nothing is known of it before a first
    /// answer.
    pub(crate) fn problem(&self, store: Reachability) -> Option<ConfigProblem> {
        let key = self.key();
        if self.served.is_some() {
            let reason = self.difference()?;
            return Some(ConfigProblem::Unused { key, reason });
        }
        match self.text.as_deref() {
            Some(text) => {
                let error = activate(text).err()?;
                Some(ConfigProblem::Invalid { key, error })
            }
            None if store == Reachability::Reached => Some(ConfigProblem::Missing { key }),
            None => None,
        }
    }

    /// Takes the answer; returns the config once it is usable.
    pub(crate) fn handle_response(
        &mut self,
        result: Result<StoreResponse, StoreError>,
        outbox: &mut Outbox,
    ) -> Option<ActiveConfig> {
        if matches!(self.state, State::Outdated(_)) {
            self.state = State::Reading(read(&self.prefix, outbox));
            return None;
        }
        let retry_in = self.backoff.wait(&mut outbox.rng);
        match self.judge(result, retry_in, outbox) {
            Ok((header, news)) => {
                self.revision = header.revision;
                self.state = State::Following(self.watch(outbox));
                news
            }
            Err(event) => {
                outbox.tell(*event);
                self.state = State::Waiting(outbox.now + retry_in);
                None
            }
        }
    }

    /// What was read counts for nothing while no watch stands: the next try waits all the longer.
    pub(crate) const fn handle_watch_created(&mut self) {
        self.backoff.reset();
    }

    pub(crate) fn handle_watch_batch(&mut self, events: Vec<WatchEvent>, outbox: &mut Outbox) {
        for event in events {
            let (revision, text) = match event {
                WatchEvent::Put(KeyValue {
                    mod_revision, value, ..
                }) => (mod_revision, Some(value)),
                WatchEvent::Delete { mod_revision, .. } => (mod_revision, None),
            };
            if revision > self.revision {
                self.revision = revision;
                self.notice(text, outbox);
            }
        }
    }

    /// The watch on the leases tells people about a store that is away; this one keeps quiet.
    pub(crate) fn handle_watch_ended(&mut self, end: &WatchEnd, outbox: &mut Outbox) {
        match end {
            WatchEnd::Compacted(_) => self.read_again(outbox),
            WatchEnd::Failed(_) => {
                let retry_in = self.backoff.wait(&mut outbox.rng);
                self.state = State::Waiting(outbox.now + retry_in);
            }
        }
    }

    /// Reads the config anew, because what is known of the store's history does not count any more.
    pub(crate) fn read_again(&mut self, outbox: &mut Outbox) {
        match self.state {
            State::Reading(id) | State::Outdated(id) => {
                self.state = State::Outdated(id);
                return;
            }
            State::Following(id) => outbox.push(crate::Action::CancelWatch(id)),
            State::Waiting(_) => {}
        }
        self.state = State::Reading(read(&self.prefix, outbox));
    }

    pub(crate) fn handle_timeout(&mut self, outbox: &mut Outbox) {
        let State::Waiting(until) = self.state else { return };
        if until <= outbox.now {
            self.state = State::Reading(read(&self.prefix, outbox));
        }
    }

    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Waiting(until) => Some(until),
            State::Reading(_) | State::Outdated(_) | State::Following(_) => None,
        }
    }

    /// Returns the config if it is the first usable one; one that is served already is compared with what is there.
    fn judge(
        &mut self,
        result: Result<StoreResponse, StoreError>,
        retry_in: Duration,
        outbox: &mut Outbox,
    ) -> Result<(Header, Option<ActiveConfig>), Box<Event>> {
        let key = self.key();
        let (header, kv) = match result {
            Ok(StoreResponse::Range { header, kvs, .. }) => (header, kvs.into_iter().next()),
            Ok(_) => return Err(Box::new(Event::ConfigMissing { key, retry_in })),
            Err(error) => {
                let wanted = "read the network config";
                return Err(Box::new(Event::StoreUnreachable {
                    wanted,
                    error,
                    retry_in,
                }));
            }
        };
        let text = kv.map(|kv| kv.value);
        if self.served.is_some() {
            self.notice(text, outbox);
            return Ok((header, None));
        }
        self.text = text;
        let Some(text) = self.text.as_deref() else {
            return Err(Box::new(Event::ConfigMissing { key, retry_in }));
        };
        match activate(text) {
            Ok(active) => {
                self.served = Some(active.clone());
                self.tell_unknown_keys(text, outbox);
                Ok((header, Some(active)))
            }
            Err(error) => Err(Box::new(Event::ConfigInvalid { key, error, retry_in })),
        }
    }

    /// Tells people what differs from the config that is served.
    fn notice(&mut self, text: Option<Vec<u8>>, outbox: &mut Outbox) {
        if text == self.text {
            return;
        }
        if let Some(text) = &text {
            self.tell_unknown_keys(text, outbox);
        }
        self.text = text;
        if let Some(reason) = self.difference() {
            outbox.tell(Event::ConfigUnused {
                key: self.key(),
                reason,
            });
        }
    }

    /// Returns why the text that was last looked at is not what is served.
    fn difference(&self) -> Option<ConfigUnused> {
        match self.text.as_deref().map(activate) {
            None => Some(ConfigUnused::Deleted),
            Some(Err(error)) => Some(ConfigUnused::Invalid(error)),
            Some(Ok(config)) if self.served.as_ref() == Some(&config) => None,
            Some(Ok(_)) => Some(ConfigUnused::Changed),
        }
    }

    fn tell_unknown_keys(&self, text: &[u8], outbox: &mut Outbox) {
        for unknown in unknown_keys(text) {
            outbox.tell(Event::ConfigKeyUnknown {
                key: self.key(),
                unknown,
            });
        }
    }

    /// Starts at the newest revision known, as the watch on the leases does.
    fn watch(&self, outbox: &mut Outbox) -> WatchId {
        outbox.watch(KeyRange::Key(self.prefix.config_key()), self.revision)
    }

    fn key(&self) -> String {
        String::from_utf8_lossy(&self.prefix.config_key()).into_owned()
    }
}

fn read(prefix: &StorePrefix, outbox: &mut Outbox) -> RequestId {
    outbox.request(StoreRequest::Range {
        range: KeyRange::Key(prefix.config_key()),
        page: Page::default(),
        revision: None,
    })
}

fn activate(text: &[u8]) -> Result<ActiveConfig, ConfigError> {
    let network = NetworkConfig::parse(text)?;
    let backend = Backend::new(&network)?;
    Ok(ActiveConfig { network, backend })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Action;
    use crate::rng::Rng;

    #[test]
    fn a_read_under_way_is_repeated_after_its_answer_and_not_beside_it() {
        let mut outbox = Outbox::new(Rng::new(1), Instant::ZERO);
        let mut reader = ConfigReader::new(StorePrefix::default(), &mut outbox);
        let first = asked(&mut outbox);

        reader.read_again(&mut outbox);
        let beside = asked(&mut outbox);
        let outdated = StoreResponse::Range {
            header: Header::default(),
            kvs: Vec::new(),
            more: false,
        };
        reader.handle_response(Ok(outdated), &mut outbox);
        let after = asked(&mut outbox);

        assert_eq!((first.len(), beside.len(), after.len()), (1, 0, 1));
        assert!(after.iter().all(|id| reader.awaits(*id)));
    }

    fn asked(outbox: &mut Outbox) -> Vec<RequestId> {
        core::iter::from_fn(|| outbox.pop())
            .filter_map(|action| match action {
                Action::Request { id, .. } => Some(id),
                Action::Watch { .. }
                | Action::CancelWatch(_)
                | Action::Reconnect
                | Action::Kernel { .. }
                | Action::Survey { .. }
                | Action::Forwarding(_)
                | Action::Ready
                | Action::Event(_)
                | Action::Exit(_) => None,
            })
            .collect()
    }
}
