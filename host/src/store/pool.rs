//! One client for each etcd member, and the choice among them.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Channel, Client, ConnectOptions, Error};
use selvedge_engine::{StoreError, StoreErrorKind};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};
use tonic::transport::Endpoint as Transport;

use super::classify::{classify, is_auth_disabled, is_connect_failure, with_hint};
use super::endpoint::Endpoint;
use crate::cli::Credentials;

/// Makes the way to an etcd member; it connects when it is first used.
pub type ChannelFactory<'a> = dyn Fn(&Endpoint) -> Channel + 'a;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a connection with open streams is probed; etcd forbids less than five seconds
/// (`--grpc-keepalive-min-time`), and probes without streams.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(6);

/// How long a probe may go unanswered.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(4);

/// Returns the connection settings that every way to etcd shares.
pub fn transport(endpoint: &Endpoint) -> Transport {
    Transport::from(endpoint.uri().clone())
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .tcp_nodelay(true)
}

/// The clients, and which of them is in use.
pub(super) struct Pool {
    members: Vec<Member>,
    current: AtomicUsize,
    credentials: Option<Credentials>,
}

/// An etcd member, and the client to it once it has been reached.
struct Member {
    endpoint: Endpoint,
    channel: Channel,
    client: OnceCell<Client>,
    /// Whether it ever answered.
    answered: AtomicBool,
}

/// What a call yielded, and who answered.
pub(super) struct Answered<'a, T> {
    pub(super) value: T,
    pub(super) endpoint: &'a Endpoint,
}

impl Pool {
    pub(super) fn new(
        endpoints: &[Endpoint],
        credentials: Option<Credentials>,
        channels: &ChannelFactory<'_>,
    ) -> Self {
        let member = |endpoint: &Endpoint| Member {
            endpoint: endpoint.clone(),
            channel: channels(endpoint),
            client: OnceCell::new(),
            answered: AtomicBool::new(false),
        };
        Self {
            members: endpoints.iter().map(member).collect(),
            current: AtomicUsize::new(0),
            credentials,
        }
    }

    /// Makes a call to the member in use.
    ///
    /// If no connection comes about, so that nothing can have been carried out, the others are tried in turn
    /// within the same time. A member that fails is left for the next.
    pub(super) async fn call<T, F>(
        &self,
        timeout: Duration,
        call: impl Fn(Client) -> F,
    ) -> Result<Answered<'_, T>, StoreError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let deadline = Instant::now() + timeout;
        let first = self.current.load(Ordering::Relaxed);
        let mut refusals: Vec<String> = Vec::new();

        for offset in 0..self.members.len() {
            let index = (first + offset) % self.members.len();
            let member = &self.members[index];
            let attempt = async { call(member.client(self.credentials.as_ref()).await?).await };
            match timeout_at(deadline, attempt).await {
                Ok(Ok(value)) => {
                    self.current.store(index, Ordering::Relaxed);
                    member.answered.store(true, Ordering::Relaxed);
                    let endpoint = &member.endpoint;
                    return Ok(Answered { value, endpoint });
                }
                Ok(Err(error)) if is_connect_failure(&error) => {
                    refusals.push(member.explain(&error).message);
                }
                Ok(Err(error)) => return Err(self.failed(index, member.explain(&error))),
                Err(_) => return Err(self.failed(index, no_answer(&member.endpoint, timeout))),
            }
        }
        self.leave(first);
        Err(StoreError {
            kind: StoreErrorKind::Unavailable,
            message: refusals.join("; "),
        })
    }

    /// Leaves the member at `endpoint` for the next, because a stream from it broke.
    pub(super) fn leave_endpoint(&self, endpoint: &Endpoint) {
        if let Some(index) = self
            .members
            .iter()
            .position(|member| member.endpoint == *endpoint)
        {
            self.leave(index);
        }
    }

    fn failed(&self, index: usize, error: StoreError) -> StoreError {
        match error.kind {
            StoreErrorKind::Unavailable | StoreErrorKind::DeadlineExceeded => self.leave(index),
            StoreErrorKind::Auth
            | StoreErrorKind::NoSpace
            | StoreErrorKind::Compacted
            | StoreErrorKind::FutureRevision
            | StoreErrorKind::LeaseNotFound
            | StoreErrorKind::LeaseExists
            | StoreErrorKind::Invalid => {}
        }
        error
    }

    /// Turns to the next member, unless another call has done so already.
    fn leave(&self, index: usize) {
        if self.current.load(Ordering::Relaxed) == index {
            let next = (index + 1) % self.members.len();
            self.current.store(next, Ordering::Relaxed);
        }
    }
}

impl Member {
    fn explain(&self, error: &Error) -> StoreError {
        let classified = classify(&self.endpoint, error);
        if self.answered.load(Ordering::Relaxed) {
            classified
        } else {
            with_hint(classified, &self.endpoint)
        }
    }

    /// Returns the client; with credentials the first time authenticates, which may fail and is then done
    /// again the next time.
    async fn client(&self, credentials: Option<&Credentials>) -> Result<Client, Error> {
        self.client
            .get_or_try_init(|| self.connect(credentials))
            .await
            .cloned()
    }

    async fn connect(&self, credentials: Option<&Credentials>) -> Result<Client, Error> {
        let anonymous = ConnectOptions::new().with_require_leader(true);
        let Some(Credentials { name, password }) = credentials else {
            return Client::from_channel(self.channel.clone(), Some(anonymous)).await;
        };
        let authenticated = anonymous
            .clone()
            .with_user(name, password.expose())
            .with_auto_token_refresh(true);
        match Client::from_channel(self.channel.clone(), Some(authenticated)).await {
            Err(error) if is_auth_disabled(&error) => {
                tracing::warn!(endpoint = %self.endpoint, "etcd has authentication disabled; going on without the credentials");
                Client::from_channel(self.channel.clone(), Some(anonymous)).await
            }
            result => result,
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints = self.members.iter().map(|member| member.endpoint.to_string());
        f.debug_list().entries(endpoints).finish()
    }
}

fn no_answer(endpoint: &Endpoint, timeout: Duration) -> StoreError {
    StoreError {
        kind: StoreErrorKind::DeadlineExceeded,
        message: format!("etcd at {endpoint}: no answer within {timeout:.1?}"),
    }
}
