//! The thread that a worker runs on.

use std::io;
use std::net::UdpSocket;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::offload::Offloads;
use super::tun_device::TunDevice;
use super::worker::{Worker, WorkerEnd};
use super::{Query, SharedTable, TunnelProbe};
use crate::clock::BootClock;
use crate::net::Udp;

/// How many questions wait for a worker.
const QUERY_CAPACITY: usize = 4;

/// A running worker; dropping it ends the worker and waits for its thread.
#[derive(Debug)]
pub struct WorkerThread {
    queries: Option<mpsc::Sender<Query>>,
    end: oneshot::Receiver<WorkerEnd>,
    thread: Option<JoinHandle<()>>,
}

impl WorkerThread {
    /// Starts a worker on a thread of its own, and points `probe` at it.
    ///
    /// # Errors
    ///
    /// If the thread or its runtime cannot be made.
    pub fn spawn(
        device: TunDevice,
        socket: UdpSocket,
        table: SharedTable,
        offloads: Offloads,
        probe: &TunnelProbe,
    ) -> io::Result<Self> {
        let (queries, receiver) = mpsc::channel(QUERY_CAPACITY);
        probe.attach(queries.downgrade());
        let (sender, end) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let thread = std::thread::Builder::new()
            .name("selvedge-tunnel".to_owned())
            .spawn(move || {
                let ended = runtime.block_on(work(device, socket, table, offloads, receiver));
                // Nobody listens when the thread was told to end.
                drop(sender.send(ended));
            })?;
        Ok(Self {
            queries: Some(queries),
            end,
            thread: Some(thread),
        })
    }

    /// Waits for the worker to end by itself.
    ///
    /// Nothing is lost if the future is dropped before it ends.
    pub async fn ended(&mut self) -> WorkerEnd {
        (&mut self.end)
            .await
            .unwrap_or_else(|_| WorkerEnd::Device(io::Error::other("the tunnel's thread died")))
    }
}

impl Drop for WorkerThread {
    fn drop(&mut self) {
        drop(self.queries.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has been reported already.
            drop(thread.join());
        }
    }
}

async fn work(
    device: TunDevice,
    socket: UdpSocket,
    table: SharedTable,
    offloads: Offloads,
    queries: mpsc::Receiver<Query>,
) -> WorkerEnd {
    let registered = match device.register() {
        Ok(registered) => registered,
        Err(error) => return WorkerEnd::Device(error),
    };
    match Udp::from_std(socket, offloads) {
        Ok(socket) => {
            Worker::new(registered, socket, BootClock, table)
                .run(queries)
                .await
        }
        Err(error) => WorkerEnd::Socket(error),
    }
}
