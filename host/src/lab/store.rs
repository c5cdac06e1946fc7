//! A lab's store: started, given the network config, and read for what people are shown.

mod embedded;
mod relay;

use std::fs;
use std::future::Future;
use std::net::Ipv4Addr;
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, DeleteOptions, GetOptions};
use selvedge_engine::{LeaseRecord, NetworkConfig, StorePrefix, Subnet};

pub(super) use embedded::serve;
pub(super) use relay::relay;

use super::error::{IoContext, LabError};
use super::name::{LabName, Place};
use super::namespace::Namespace;
use super::stopwatch::Stopwatch;
use super::{Lab, LabOptions, StoreChoice};

const PATIENCE: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// A node's lease as the store has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredLease {
    /// The node's part of the overlay.
    pub subnet: Subnet,
    /// The node's address on the underlay.
    pub public_ip: Ipv4Addr,
    /// The backend that carries its packets.
    pub backend: String,
    /// How long it lives on unless it is renewed; `None` for one that never ends.
    pub time_left: Option<Duration>,
}

impl Lab {
    /// Starts the store's process, unless the caller provides the store.
    ///
    /// # Errors
    ///
    /// [`LabError::Io`] if it cannot be started.
    pub fn start_store(&mut self) -> Result<(), LabError> {
        let mut command = self.namespace(Place::Store).command(&self.options.program);
        command.arg("lab");
        match &self.options.store {
            StoreChoice::Provided => return Ok(()),
            StoreChoice::Embedded => command.args(["serve-store", "--listen", LabOptions::ENDPOINT]),
            StoreChoice::Relayed(targets) => {
                let outside = format!("/proc/{}/ns/net", std::process::id());
                command
                    .args(["relay", "--listen", LabOptions::ENDPOINT, "--outside", &outside])
                    .args(targets)
            }
        };
        self.spawn(Place::Store, command, None)
    }

    /// Writes the network config as soon as the store answers.
    ///
    /// # Errors
    ///
    /// [`LabError::Store`] if it does not within 10 seconds, [`LabError::NotReady`] if its process ends.
    pub fn put_config(&mut self) -> Result<(), LabError> {
        let waiting = Stopwatch::start();
        let config = self.options.network_config();
        let key = self.prefix().config_key();
        loop {
            self.check_alive(Place::Store)?;
            let put = with_client(&self.namespace(Place::Store), async |mut client| {
                client.put(key.clone(), config.clone(), None).await.map(drop)
            });
            match put {
                Ok(()) => return Ok(()),
                Err(error) if waiting.elapsed() > PATIENCE => return Err(error),
                Err(_) => self.interrupt.sleep(Duration::from_millis(50))?,
            }
        }
    }

    /// Reads all leases, in the order of their public addresses.
    ///
    /// # Errors
    ///
    /// [`LabError::Store`] if the store does not answer.
    pub fn leases(&self) -> Result<Vec<StoredLease>, LabError> {
        let prefix = self.prefix();
        let mut leases = with_client(&self.namespace(Place::Store), async |client| {
            read_leases(client, &prefix).await
        })?;
        leases.sort_by_key(|lease| lease.public_ip);
        Ok(leases)
    }

    /// Returns where the lab's keys are: in a store that others use too, apart from theirs.
    pub fn prefix(&self) -> StorePrefix {
        fs::read_to_string(prefix_file(self.name()))
            .map_or_else(|_| StorePrefix::default(), |text| StorePrefix::new(&text))
    }

    /// Notes that the keys are kept apart from those of a real cluster in the same store.
    pub(super) fn choose_prefix(&mut self) -> Result<(), LabError> {
        match self.options.store {
            StoreChoice::Embedded | StoreChoice::Provided => return Ok(()),
            StoreChoice::Relayed(_) => {}
        }
        let prefix = own_prefix(self.name());
        let file = prefix_file(self.name());
        self.options
            .node_flags
            .extend(["--etcd-prefix".to_owned(), prefix.clone()]);
        fs::write(&file, prefix).trying(|| format!("writing {}", file.display()))
    }
}

/// Removes the keys that a lab put into a store outside, if it did and the store still answers.
pub(super) fn remove_keys(name: &LabName) {
    if !prefix_file(name).exists() {
        return;
    }
    let keys = format!("{}/", own_prefix(name));
    let removed = with_client(
        &Namespace::named(name.namespace(Place::Store)),
        async |mut client| {
            client
                .delete(keys.as_str(), Some(DeleteOptions::new().with_prefix()))
                .await
                .map(drop)
        },
    );
    if let Err(error) = removed {
        eprintln!("the keys under {keys} stay in the store: {error}");
    }
}

fn own_prefix(name: &LabName) -> String {
    format!("/selvedge-lab/{name}")
}

fn prefix_file(name: &LabName) -> std::path::PathBuf {
    name.state_dir().join("etcd-prefix")
}

async fn read_leases(
    mut client: Client,
    prefix: &StorePrefix,
) -> Result<Vec<StoredLease>, etcd_client::Error> {
    let config = client.get(prefix.config_key(), None).await?;
    let backend = config
        .kvs()
        .first()
        .and_then(|kv| NetworkConfig::parse(kv.value()).ok())
        .map_or_else(String::new, |config| config.backend.kind);
    let all = client
        .get(prefix.lease_prefix(), Some(GetOptions::new().with_prefix()))
        .await?;
    let mut leases = Vec::new();
    for kv in all.kvs() {
        let parsed = prefix
            .subnet_text(kv.key())
            .and_then(|text| Subnet::parse(text).ok());
        let (Some(subnet), Ok(record)) = (parsed, LeaseRecord::decode(kv.value())) else {
            continue;
        };
        let seconds = match kv.lease() {
            0 => None,
            id => Some(client.lease_time_to_live(id, None).await?.ttl()),
        };
        leases.push(StoredLease {
            subnet,
            public_ip: record.public_ip,
            backend: if record.backend_type.is_empty() {
                backend.clone()
            } else {
                record.backend_type
            },
            time_left: seconds.map(|left| Duration::from_secs(left.try_into().unwrap_or(0))),
        });
    }
    Ok(leases)
}

/// Runs a conversation with the store from within its own namespace, which no cut reaches.
fn with_client<T: Send, F: Future<Output = Result<T, etcd_client::Error>>>(
    namespace: &Namespace,
    talk: impl FnOnce(Client) -> F + Send,
) -> Result<T, LabError> {
    let failed = |reason: String| LabError::Store {
        endpoint: LabOptions::ENDPOINT.to_owned(),
        reason,
    };
    namespace.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed(error.to_string()))?;
        runtime.block_on(async {
            let options = ConnectOptions::new()
                .with_connect_timeout(REQUEST_TIMEOUT)
                .with_timeout(REQUEST_TIMEOUT);
            let client = Client::connect([LabOptions::ENDPOINT], Some(options)).await;
            let client = client.map_err(|error| failed(error.to_string()))?;
            talk(client).await.map_err(|error| failed(error.to_string()))
        })
    })?
}
