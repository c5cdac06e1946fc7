//! The data path: packets between the TUN device and the UDP socket, apart from control.
//!
//! Control and packets meet at two places only: the table, which control replaces as a whole, and the counters,
//! which the workers report when asked.

mod counters;
mod device;
mod inbound;
mod linger;
pub mod network_error;
pub mod offload;
mod outbound;
pub(crate) mod raw;
#[cfg(test)]
mod tests;
pub mod thread;
pub mod tun_device;
mod wake_up;
mod wire;
pub mod worker;
pub mod worker_count;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use selvedge_engine::ForwardingTable;
use tokio::sync::{mpsc, oneshot};

use self::offload::Offloads;
use self::worker_count::WorkerCount;

pub use self::counters::{TransportCounters, TunnelReport};

/// The table that packets are forwarded by, none before the node has a lease.
pub type SharedTable = Arc<ArcSwapOption<ForwardingTable>>;

/// How packets are carried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DataPath {
    /// What the kernel may do for it.
    pub offloads: Offloads,
    /// How many workers there are.
    pub workers: WorkerCount,
}

/// A question to a worker; a closed channel tells it to end.
#[derive(Debug)]
pub enum Query {
    /// How many packets went where?
    Report(oneshot::Sender<TunnelReport>),
}

/// Where the running workers, if any, can be asked; shared between whoever starts workers and whoever asks.
#[derive(Clone, Debug, Default)]
pub struct TunnelProbe {
    queries: Arc<ArcSwapOption<Vec<mpsc::WeakSender<Query>>>>,
}

impl TunnelProbe {
    /// Asks the running workers for their counters; `None` if none runs.
    pub async fn report(&self) -> Option<TunnelReport> {
        let mut total = TunnelReport::default();
        for queries in self.queries.load_full()?.iter() {
            let (sender, receiver) = oneshot::channel();
            queries.upgrade()?.send(Query::Report(sender)).await.ok()?;
            total.add(&receiver.await.ok()?);
        }
        Some(total)
    }

    /// Points the probe at workers; it does not keep them running.
    pub fn attach(&self, queries: Vec<mpsc::WeakSender<Query>>) {
        self.queries.store(Some(Arc::new(queries)));
    }
}
