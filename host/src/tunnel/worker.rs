//! The loop that carries packets in both directions.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};

use selvedge_engine::{Forwarder, ForwardingTable, Inbound, Instant, Outbound};
use tokio::sync::mpsc;

use super::{Query, SharedTable, TransportCounters, TunnelReport};
use crate::clock::Clock;

/// How many packets are carried in one direction in one wake-up.
const BATCH: usize = 64;

/// The largest packet, in bytes: what an IPv4 header can announce.
const LARGEST_PACKET: usize = 65_536;

/// How many errors in a row a socket may yield before it is given up.
const SOCKET_PATIENCE: u32 = 16;

/// A TUN device, read and written without blocking.
pub trait PacketDevice {
    /// Waits until a packet, or an error, can be read.
    ///
    /// # Errors
    ///
    /// If the device is gone.
    fn readable(&self) -> impl Future<Output = io::Result<()>>;

    /// Reads a packet the kernel routed into the device.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if there is none; anything else means that the device is gone.
    fn try_recv(&self, packet: &mut [u8]) -> io::Result<usize>;

    /// Hands a packet to the kernel.
    ///
    /// # Errors
    ///
    /// If the kernel does not take it.
    fn try_send(&self, packet: &[u8]) -> io::Result<usize>;
}

/// A UDP socket, read and written without blocking.
pub trait PacketSocket {
    /// Waits until a datagram, or an error, can be read.
    ///
    /// # Errors
    ///
    /// If the socket is of no use any more.
    fn readable(&self) -> impl Future<Output = io::Result<()>>;

    /// Reads a datagram.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if there is none.
    fn try_recv_from(&self, packet: &mut [u8]) -> io::Result<(usize, SocketAddr)>;

    /// Sends a datagram.
    ///
    /// # Errors
    ///
    /// If it cannot be sent now.
    fn try_send_to(&self, packet: &[u8], to: SocketAddrV4) -> io::Result<usize>;
}

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
    socket: S,
    clock: C,
    table: SharedTable,
    forwarder: Forwarder,
    transport: TransportCounters,
    socket_errors: u32,
    buffer: Vec<u8>,
}

impl<D: PacketDevice, S: PacketSocket, C: Clock> Worker<D, S, C> {
    /// Makes a worker; it does nothing before [`Worker::run`].
    pub fn new(device: D, socket: S, clock: C, table: SharedTable) -> Self {
        Self {
            device,
            socket,
            clock,
            table,
            forwarder: Forwarder::new(),
            transport: TransportCounters::default(),
            socket_errors: 0,
            buffer: vec![0; LARGEST_PACKET],
        }
    }

    /// Carries packets until the channel of queries is closed or a file descriptor is of no use any more.
    pub async fn run(mut self, mut queries: mpsc::Receiver<Query>) -> WorkerEnd {
        loop {
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
                ready = self.socket.readable() => if let Err(error) = ready {
                    return WorkerEnd::Socket(error);
                },
            }
            if let Err(end) = self.carry() {
                return end;
            }
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
        let now = self.clock.now();
        self.carry_outbound(table.as_deref(), now)?;
        self.carry_inbound(table.as_deref(), now)
    }

    fn carry_outbound(&mut self, table: Option<&ForwardingTable>, now: Instant) -> Result<(), WorkerEnd> {
        for _ in 0..BATCH {
            let length = match self.device.try_recv(&mut self.buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(WorkerEnd::Device(error)),
            };
            self.outbound(table, length, now);
        }
        Ok(())
    }

    fn outbound(&mut self, table: Option<&ForwardingTable>, length: usize, now: Instant) {
        let Some(table) = table else {
            self.transport.too_early = self.transport.too_early.saturating_add(1);
            return;
        };
        let packet = self.buffer.get_mut(..length).unwrap_or_default();
        match self.forwarder.outbound(table, packet, now) {
            Outbound::Send(to) => send(&self.socket, &mut self.transport, packet, to),
            Outbound::Reply { reason, error } => {
                tracing::trace!(reason = reason.name(), "answered a packet from this node");
                deliver(&self.device, &mut self.transport, error);
            }
            Outbound::Drop(reason) => {
                tracing::trace!(reason = reason.name(), "dropped a packet from this node");
            }
        }
    }

    fn carry_inbound(&mut self, table: Option<&ForwardingTable>, now: Instant) -> Result<(), WorkerEnd> {
        for _ in 0..BATCH {
            let (length, from) = match self.socket.try_recv_from(&mut self.buffer) {
                Ok(datagram) => datagram,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return self.bear(error),
            };
            self.socket_errors = 0;
            self.inbound(table, length, from.ip(), now);
        }
        Ok(())
    }

    /// Bears an error of the socket, unless there were too many in a row.
    fn bear(&mut self, error: io::Error) -> Result<(), WorkerEnd> {
        self.transport.receive_errors = self.transport.receive_errors.saturating_add(1);
        self.socket_errors += 1;
        if self.socket_errors > SOCKET_PATIENCE {
            return Err(WorkerEnd::Socket(error));
        }
        Ok(())
    }

    fn inbound(&mut self, table: Option<&ForwardingTable>, length: usize, from: IpAddr, now: Instant) {
        let (Some(table), IpAddr::V4(from)) = (table, from) else {
            self.transport.too_early = self.transport.too_early.saturating_add(1);
            return;
        };
        let packet = self.buffer.get_mut(..length).unwrap_or_default();
        match self.forwarder.inbound(table, from, packet, now) {
            Inbound::Deliver => deliver(&self.device, &mut self.transport, packet),
            Inbound::Reply { reason, to, error } => {
                tracing::trace!(reason = reason.name(), %from, "answered a packet from the tunnel");
                send(&self.socket, &mut self.transport, error, to);
            }
            Inbound::Drop(reason) => {
                tracing::trace!(reason = reason.name(), %from, "dropped a packet from the tunnel");
            }
        }
    }
}

fn send(socket: &impl PacketSocket, transport: &mut TransportCounters, packet: &[u8], to: SocketAddrV4) {
    if let Err(error) = socket.try_send_to(packet, to) {
        transport.count_send_error(&error);
    }
}

fn deliver(device: &impl PacketDevice, transport: &mut TransportCounters, packet: &[u8]) {
    if let Err(error) = device.try_send(packet) {
        transport.count_deliver_error(&error);
    }
}

#[cfg(test)]
mod tests;
