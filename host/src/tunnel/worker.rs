//! The loop that carries packets in both directions.

use std::io;

use selvedge_engine::Forwarder;
use tokio::sync::mpsc;

pub use super::device::{DeviceOffloads, Framing, PacketDevice};
pub use super::inbound::ReceiveBuffers;
pub use super::network_error::{NetworkError, NetworkProblem};
pub use super::wire::{Fragmentation, PacketSocket};

use super::inbound::InboundBatch;
use super::linger::{Linger, stay_awake};
use super::outbound::OutboundBatch;
use super::wake_up::WakeUp;
use super::wire::Wire;
use super::{Query, SharedTable, TransportCounters, TunnelReport};
use crate::clock::Clock;

/// How many errors in a row a socket may yield before it is given up.
const SOCKET_PATIENCE: u32 = 16;

/// Why a worker ended.
#[derive(Debug)]
pub enum WorkerEnd {
    /// It was told to.
    Stopped,
    /// The device is gone.
    Device(io::Error),
    /// The socket is of no use any more.
    Socket(io::Error),
}

/// Carries packets between a device and a socket.
#[derive(Debug)]
pub struct Worker<D, S, C> {
    device: D,
    wire: Wire<S>,
    clock: C,
    table: SharedTable,
    forwarder: Forwarder,
    transport: TransportCounters,
    socket_errors: u32,
    /// None for a worker that goes to sleep at once.
    linger: Option<Linger>,
    outbound: OutboundBatch,
    inbound: InboundBatch,
}

impl<D: PacketDevice, S: PacketSocket, C: Clock> Worker<D, S, C> {
    /// Makes a worker; it does nothing before [`Worker::run`].
    pub fn new(device: D, socket: S, clock: C, table: SharedTable) -> Self {
        Self {
            inbound: InboundBatch::new(device.offloads()),
            outbound: OutboundBatch::new(),
            device,
            wire: Wire::new(socket),
            clock,
            table,
            forwarder: Forwarder::new(),
            transport: TransportCounters::default(),
            socket_errors: 0,
            linger: None,
        }
    }

    /// Lets the worker stay awake for answers, for a small part of all time.
    #[must_use]
    pub fn lingering(mut self) -> Self {
        self.linger = Some(Linger::new(self.clock.now()));
        self
    }

    /// Carries packets until the channel of queries is closed or a file descriptor is of no use any more.
    pub async fn run(mut self, mut queries: mpsc::Receiver<Query>) -> WorkerEnd {
        loop {
            let awake_until = self.linger.as_ref().and_then(Linger::until);
            tokio::select! {
                biased;
                query = queries.recv() => match query {
                    Some(Query::Report(reply)) => {
                        // Whoever asked may have gone.
                        drop(reply.send(self.report()));
                        continue;
                    }
                    None => return WorkerEnd::Stopped,
                },
                ready = self.device.readable() => if let Err(error) = ready {
                    return WorkerEnd::Device(error);
                },
                ready = self.wire.socket.readable() => if let Err(error) = ready {
                    return WorkerEnd::Socket(error);
                },
                () = stay_awake(&self.clock, awake_until), if awake_until.is_some() => {
                    self.go_to_sleep();
                    continue;
                },
            }
            self.go_to_sleep();
            if let Err(end) = self.carry() {
                return end;
            }
            if let Some(linger) = &mut self.linger {
                linger.begin(self.clock.now());
            }
        }
    }

    fn go_to_sleep(&mut self) {
        if let Some(linger) = &mut self.linger {
            linger.end(self.clock.now());
        }
    }

    fn report(&self) -> TunnelReport {
        TunnelReport {
            packets: self.forwarder.counters().clone(),
            transport: self.transport,
        }
    }

    /// Carries a batch in each direction.
    fn carry(&mut self) -> Result<(), WorkerEnd> {
        let table = self.table.load_full();
        let mut wake_up = WakeUp {
            forwarder: &mut self.forwarder,
            table: table.as_deref(),
            counters: &mut self.transport,
            now: self.clock.now(),
        };
        if self.wire.socket.has_errors() {
            self.wire.heed(&mut wake_up);
        }
        self.outbound
            .carry(&self.device, &mut self.wire, &mut wake_up)
            .map_err(WorkerEnd::Device)?;
        let carried = self.inbound.carry(&self.device, &self.wire, &mut wake_up);
        self.bear(carried)
    }

    /// Bears an error of the socket, unless there were too many in a row.
    fn bear(&mut self, carried: io::Result<()>) -> Result<(), WorkerEnd> {
        let Err(error) = carried else {
            self.socket_errors = 0;
            return Ok(());
        };
        if matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
        ) {
            return Ok(());
        }
        self.transport.receive_errors = self.transport.receive_errors.saturating_add(1);
        self.socket_errors += 1;
        if self.socket_errors > SOCKET_PATIENCE {
            return Err(WorkerEnd::Socket(error));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
