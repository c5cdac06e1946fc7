//! Reading the network config until there is a usable one.

use alloc::boxed::Box;
use alloc::string::String;
use core::time::Duration;

use super::outbox::Outbox;
use crate::action::RequestId;
use crate::backend::{Backend, ConfigError};
use crate::backoff::Backoff;
use crate::event::Event;
use crate::network_config::NetworkConfig;
use crate::setup::StorePrefix;
use crate::store::{KeyRange, StoreError, StoreRequest, StoreResponse};
use crate::time::Instant;

/// Reads `<prefix>/config`, again and again until it is valid.
#[derive(Debug)]
pub(crate) struct ConfigReader {
    prefix: StorePrefix,
    state: State,
    backoff: Backoff,
}

#[derive(Debug)]
enum State {
    Reading(RequestId),
    Waiting(Instant),
    Done,
}

/// A config that this node can serve.
#[derive(Clone, Debug)]
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
        }
    }

    pub(crate) fn awaits(&self, id: RequestId) -> bool {
        matches!(self.state, State::Reading(own) if own == id)
    }

    /// Takes the answer; returns the config once it is usable.
    pub(crate) fn handle_response(
        &mut self,
        result: Result<StoreResponse, StoreError>,
        outbox: &mut Outbox,
    ) -> Option<ActiveConfig> {
        let retry_in = self.backoff.wait(&mut outbox.rng);
        let event = match self.judge(result, retry_in) {
            Ok(active) => {
                self.state = State::Done;
                return Some(active);
            }
            Err(event) => *event,
        };
        outbox.tell(event);
        self.state = State::Waiting(outbox.now + retry_in);
        None
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
            State::Reading(_) | State::Done => None,
        }
    }

    fn judge(
        &self,
        result: Result<StoreResponse, StoreError>,
        retry_in: Duration,
    ) -> Result<ActiveConfig, Box<Event>> {
        let key = String::from_utf8_lossy(&self.prefix.config_key()).into_owned();
        let kvs = match result {
            Ok(StoreResponse::Range { kvs, .. }) => kvs,
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
        let Some(kv) = kvs.first() else {
            return Err(Box::new(Event::ConfigMissing { key, retry_in }));
        };
        activate(&kv.value).map_err(|error| Box::new(Event::ConfigInvalid { key, error, retry_in }))
    }
}

fn read(prefix: &StorePrefix, outbox: &mut Outbox) -> RequestId {
    outbox.request(StoreRequest::Range {
        range: KeyRange::Key(prefix.config_key()),
        revision: None,
    })
}

fn activate(text: &[u8]) -> Result<ActiveConfig, ConfigError> {
    let network = NetworkConfig::parse(text)?;
    let backend = Backend::new(&network)?;
    Ok(ActiveConfig { network, backend })
}
