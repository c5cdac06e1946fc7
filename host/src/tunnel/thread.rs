//! The threads that workers run on.

use std::io;
use std::net::UdpSocket;
use std::thread::JoinHandle;

use futures::future::select_all;
use tokio::sync::{mpsc, oneshot};

use super::offload::Offloads;
use super::tun_device::TunQueue;
use super::worker::{Worker, WorkerEnd};
use super::{Query, SharedTable, TunnelProbe};
use crate::clock::BootClock;
use crate::net::Udp;

/// How many questions wait for a worker.
const QUERY_CAPACITY: usize = 4;

/// Running workers; dropping them ends them and waits for their threads.
#[derive(Debug)]
pub struct WorkerThreads(Vec<WorkerThread>);

#[derive(Debug)]
struct WorkerThread {
    queries: Option<mpsc::Sender<Query>>,
    end: oneshot::Receiver<WorkerEnd>,
    thread: Option<JoinHandle<()>>,
}

impl WorkerThreads {
    /// Starts a worker on a thread of its own for each queue and its socket, and points `probe` at them.
    ///
    /// # Errors
    ///
    /// If a thread or its runtime cannot be made.
    pub fn spawn(
        ends: impl Iterator<Item = (TunQueue, UdpSocket)>,
        table: &SharedTable,
        offloads: Offloads,
        probe: &TunnelProbe,
    ) -> io::Result<Self> {
        let spawn = |(queue, socket)| WorkerThread::spawn(queue, socket, table.clone(), offloads);
        let threads: Vec<_> = ends.map(spawn).collect::<io::Result<_>>()?;
        let queries = threads.iter().filter_map(|worker| worker.queries.as_ref());
        probe.attach(queries.map(mpsc::Sender::downgrade).collect());
        Ok(Self(threads))
    }

    /// Waits for one of the workers to end by itself.
    ///
    /// Nothing is lost if the future is dropped before it ends.
    pub async fn ended(&mut self) -> WorkerEnd {
        let ends = self.0.iter_mut().map(|worker| &mut worker.end);
        let (end, ..) = select_all(ends).await;
        end.unwrap_or_else(|_| WorkerEnd::Device(io::Error::other("the tunnel's thread died")))
    }
}

impl WorkerThread {
    fn spawn(queue: TunQueue, socket: UdpSocket, table: SharedTable, offloads: Offloads) -> io::Result<Self> {
        let (queries, receiver) = mpsc::channel(QUERY_CAPACITY);
        let (sender, end) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let thread = std::thread::Builder::new()
            .name("selvedge-tunnel".to_owned())
            .spawn(move || {
                let ended = runtime.block_on(work(queue, socket, table, offloads, receiver));
                // Nobody listens when the thread was told to end.
                drop(sender.send(ended));
            })?;
        Ok(Self {
            queries: Some(queries),
            end,
            thread: Some(thread),
        })
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
    queue: TunQueue,
    socket: UdpSocket,
    table: SharedTable,
    offloads: Offloads,
    queries: mpsc::Receiver<Query>,
) -> WorkerEnd {
    let registered = match queue.register() {
        Ok(registered) => registered,
        Err(error) => return WorkerEnd::Device(error),
    };
    match Udp::from_std(socket, offloads) {
        Ok(socket) => {
            Worker::new(registered, socket, BootClock, table)
                .lingering()
                .run(queries)
                .await
        }
        Err(error) => WorkerEnd::Socket(error),
    }
}
