//! One client for each etcd member, and the choice among them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use etcd_client::{Channel, Client, ConnectOptions, Error};
use selvedge_engine::{StoreError, StoreErrorKind};
use tokio::sync::{OnceCell, watch};
use tokio::time::{Instant, timeout_at};
use tonic::transport::Endpoint as Transport;

use super::classify::{classify, is_auth_disabled, is_connect_failure, is_login_refused, with_hint};
use super::credentials::{Credentials, Login};
use super::endpoint::Endpoint;
use super::tls::TlsError;

/// Makes the way to an etcd member, anew after each failure; it connects when it is first used.
pub(super) type ChannelFactory = dyn Fn(&Endpoint) -> Result<Channel, TlsError> + Send + Sync;

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
    login: Option<Login>,
    channels: Box<ChannelFactory>,
    given_up: watch::Sender<()>,
}

/// An etcd member, and the way to it.
struct Member {
    endpoint: Endpoint,
    connection: ArcSwap<Connection>,
    /// Whether it ever answered.
    answered: AtomicBool,
}

/// A way to a member, and the client over it once it has been used.
struct Connection {
    channel: Channel,
    client: OnceCell<Client>,
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
        channels: Box<ChannelFactory>,
    ) -> Result<Self, TlsError> {
        let member = |endpoint: &Endpoint| {
            Ok(Member {
                endpoint: endpoint.clone(),
                connection: ArcSwap::from_pointee(Connection::over(channels(endpoint)?)),
                answered: AtomicBool::new(false),
            })
        };
        Ok(Self {
            members: endpoints.iter().map(member).collect::<Result<_, _>>()?,
            current: AtomicUsize::new(0),
            login: credentials.map(Login::new),
            channels,
            given_up: watch::Sender::new(()),
        })
    }

    /// Makes a call to the member in use.
    ///
    /// If no connection comes about, so that nothing can have been carried out, the others are tried in turn
    /// within the same time. A member that fails is left for the next, and connected to anew the next time.
    pub(super) async fn call<T, F>(
        &self,
        timeout: Duration,
        call: impl Fn(Client) -> F,
    ) -> Result<Answered<'_, T>, StoreError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let deadline = Instant::now() + timeout;
        let mut given_up = self.given_up();
        let first = self.current.load(Ordering::Relaxed);
        let mut refusals: Vec<String> = Vec::new();

        for offset in 0..self.members.len() {
            let index = (first + offset) % self.members.len();
            let member = &self.members[index];
            let connection = member.connection.load_full();
            let attempt = async { call(connection.client(member, self.login.as_ref()).await?).await };
            let outcome = tokio::select! {
                outcome = timeout_at(deadline, attempt) => outcome,
                Ok(()) = given_up.changed() => return Err(no_connection(&member.endpoint)),
            };
            match outcome {
                Ok(Ok(value)) => {
                    self.current.store(index, Ordering::Relaxed);
                    member.answered.store(true, Ordering::Relaxed);
                    let endpoint = &member.endpoint;
                    return Ok(Answered { value, endpoint });
                }
                Ok(Err(error)) if is_connect_failure(&error) => {
                    self.replace(member, &connection);
                    refusals.push(member.explain(&error).message);
                }
                Ok(Err(error)) => {
                    if is_login_refused(&error) {
                        self.log_in_again(member, &connection);
                    }
                    let error = member.explain(&error);
                    if error.kind == StoreErrorKind::Unavailable {
                        self.replace(member, &connection);
                    }
                    return Err(self.failed(index, error));
                }
                Err(_) => return Err(self.failed(index, no_answer(&member.endpoint, timeout))),
            }
        }
        self.leave(first);
        Err(StoreError {
            kind: StoreErrorKind::Unavailable,
            message: refusals.join("; "),
        })
    }

    /// Gives up all connections, and makes new ones when they are needed.
    pub(super) fn reconnect(&self) {
        for member in &self.members {
            self.replace(member, &member.connection.load_full());
        }
        self.given_up.send_replace(());
    }

    /// Returns what changes when all connections that are in use by now are given up.
    pub(super) fn given_up(&self) -> watch::Receiver<()> {
        self.given_up.subscribe()
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

    /// Takes every password out of what others wrote.
    pub(super) fn redact(&self, text: &mut String) {
        if let Some(login) = &self.login {
            login.redact(text);
        }
    }

    /// Reads the password again if it is in a file, and shows it the next time.
    fn log_in_again(&self, member: &Member, refused: &Arc<Connection>) {
        if let Some(login) = &self.login {
            login.renew();
            self.replace(member, refused);
        }
    }

    /// Makes a new way to the member, with the certificates that the files have by now.
    fn replace(&self, member: &Member, failed: &Arc<Connection>) {
        match (self.channels)(&member.endpoint) {
            // Of the calls that one connection fails only the first finds it in its place.
            Ok(channel) => drop(
                member
                    .connection
                    .compare_and_swap(failed, Arc::new(Connection::over(channel))),
            ),
            Err(error) => tracing::warn!("{error}; going on with the certificates read before"),
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
}

impl Connection {
    fn over(channel: Channel) -> Self {
        Self {
            channel,
            client: OnceCell::new(),
        }
    }

    /// Returns the client; with credentials the first time authenticates, which may fail and is then done
    /// again the next time.
    async fn client(&self, member: &Member, login: Option<&Login>) -> Result<Client, Error> {
        self.client
            .get_or_try_init(|| self.connect(member, login))
            .await
            .cloned()
    }

    async fn connect(&self, member: &Member, login: Option<&Login>) -> Result<Client, Error> {
        let anonymous = ConnectOptions::new().with_require_leader(true);
        let Some(login) = login else {
            return Client::from_channel(self.channel.clone(), Some(anonymous)).await;
        };
        let credentials = login.credentials();
        let authenticated = anonymous
            .clone()
            .with_user(credentials.name(), credentials.password().expose())
            .with_auto_token_refresh(true);
        match Client::from_channel(self.channel.clone(), Some(authenticated)).await {
            Err(error) if is_auth_disabled(&error) => {
                tracing::warn!(endpoint = %member.endpoint, "etcd has authentication disabled; going on without the credentials");
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

/// Says that a connection was given up.
pub(super) fn no_connection(endpoint: &Endpoint) -> StoreError {
    StoreError {
        kind: StoreErrorKind::Unavailable,
        message: format!(
            "etcd at {endpoint}: the connection was given up, because this node has another address"
        ),
    }
}

fn no_answer(endpoint: &Endpoint, timeout: Duration) -> StoreError {
    StoreError {
        kind: StoreErrorKind::DeadlineExceeded,
        message: format!("etcd at {endpoint}: no answer within {timeout:.1?}"),
    }
}
