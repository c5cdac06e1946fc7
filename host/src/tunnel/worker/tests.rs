use std::cell::{Cell, RefCell};
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;
use std::sync::Arc;

use nix::errno::Errno;
use selvedge_engine::{ForwardingTable, Instant, Membership, TunnelParams};
use tokio::sync::oneshot;

use super::*;

const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

#[tokio::test]
async fn a_dead_device_ends_the_worker() {
    let device = StubDevice::default();
    device.0.end.set(Some(Errno::EBADFD));

    let (end, _) = run(device, StubSocket::default()).await;

    assert!(matches!(end, WorkerEnd::Device(error) if error.raw_os_error() == Some(Errno::EBADFD as i32)));
}

#[tokio::test]
async fn a_socket_that_only_yields_errors_ends_the_worker() {
    let socket = StubSocket::default();
    socket.0.end.set(Some(Errno::ENETDOWN));

    let (end, _) = run(StubDevice::default(), socket.clone()).await;

    assert!(matches!(end, WorkerEnd::Socket(_)));
    assert_eq!(socket.0.reads.get(), SOCKET_PATIENCE + 1);
}

#[tokio::test]
async fn packets_are_carried_both_ways_although_one_way_never_runs_dry() {
    let device = StubDevice::default();
    let socket = StubSocket::default();
    *device.0.endless.borrow_mut() = Some(packet([10, 5, 1, 2], [10, 5, 2, 2]));
    socket
        .0
        .waiting
        .borrow_mut()
        .push(packet([10, 5, 2, 2], [10, 5, 1, 2]));

    let (report, _) = run_until_reads(&device, &socket, 640).await;

    assert_eq!(report.packets.delivered, 1);
    assert_eq!(device.0.sent.get(), 1);
    assert_eq!(report.packets.sent, 640);
}

#[tokio::test]
async fn what_cannot_be_sent_is_counted_and_dropped() {
    let device = StubDevice::default();
    let socket = StubSocket::default();
    socket.0.refuses.set(Some(Errno::ENETUNREACH));
    *device.0.endless.borrow_mut() = Some(packet([10, 5, 1, 2], [10, 5, 2, 2]));

    let (report, _) = run_until_reads(&device, &socket, 10).await;

    assert!(report.transport.send_unreachable >= 10);
    assert_eq!(report.transport.send_full, 0);
}

#[tokio::test]
async fn packets_before_the_first_table_are_counted() {
    let device = StubDevice::default();
    *device.0.endless.borrow_mut() = Some(packet([10, 5, 1, 2], [10, 5, 2, 2]));
    device.0.limit.set(3);
    let (queries, receiver) = mpsc::channel(1);
    let worker = Worker::new(device, StubSocket::default(), StubClock, SharedTable::default());
    let asked = ask_after_a_while(queries);

    let (end, report) = tokio::join!(worker.run(receiver), asked);

    assert!(matches!(end, WorkerEnd::Stopped));
    assert_eq!(report.transport.too_early, 3);
}

/// Runs a worker until it ends by itself.
async fn run(device: StubDevice, socket: StubSocket) -> (WorkerEnd, mpsc::Sender<Query>) {
    let (queries, receiver) = mpsc::channel(1);
    let end = Worker::new(device, socket, StubClock, table())
        .run(receiver)
        .await;
    (end, queries)
}

/// Runs a worker until the device was read so often, and returns what it reported then.
async fn run_until_reads(device: &StubDevice, socket: &StubSocket, reads: u32) -> (TunnelReport, WorkerEnd) {
    device.0.limit.set(reads);
    let (queries, receiver) = mpsc::channel(1);
    let worker = Worker::new(device.clone(), socket.clone(), StubClock, table());
    let (end, report) = tokio::join!(worker.run(receiver), ask_after_a_while(queries));
    (report, end)
}

/// Lets the worker run until it waits, asks it for its counters, and tells it to end.
async fn ask_after_a_while(queries: mpsc::Sender<Query>) -> TunnelReport {
    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    let (sender, receiver) = oneshot::channel();
    queries.send(Query::Report(sender)).await.unwrap();
    receiver.await.unwrap()
}

fn table() -> SharedTable {
    let params = TunnelParams {
        network: "10.5.0.0/16".parse().unwrap(),
        subnet: "10.5.1.0/24".parse().unwrap(),
        address: Ipv4Addr::new(10, 5, 1, 0),
        mtu: 1472,
        port: 8285,
        membership: Membership::Enforce,
    };
    let table = ForwardingTable::new(params, [("10.5.2.0/24".parse().unwrap(), PEER)]);
    SharedTable::new(Some(Arc::new(table)).into())
}

/// A 20-byte IPv4 header alone, with a right checksum.
fn packet(from: [u8; 4], to: [u8; 4]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 20, 0, 0, 0, 0, 63, 17, 0, 0];
    packet.extend(from);
    packet.extend(to);
    let sum: u32 = packet
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet
}

#[derive(Clone, Copy)]
struct StubClock;

impl Clock for StubClock {
    fn now(&self) -> Instant {
        Instant::ZERO
    }
}

/// A device or socket that yields what it is told to.
#[derive(Default)]
struct Stub {
    /// What every read fails with.
    end: Cell<Option<Errno>>,
    /// What every send fails with.
    refuses: Cell<Option<Errno>>,
    /// A packet that is read again and again, `limit` times.
    endless: RefCell<Option<Vec<u8>>>,
    limit: Cell<u32>,
    waiting: RefCell<Vec<Vec<u8>>>,
    reads: Cell<u32>,
    sent: Cell<u32>,
}

impl Stub {
    async fn readable(&self) {
        let endless = self.endless.borrow().is_some() && self.limit.get() > 0;
        if self.end.get().is_none() && !endless && self.waiting.borrow().is_empty() {
            std::future::pending::<()>().await;
        }
    }

    fn read(&self, packet: &mut [u8]) -> io::Result<usize> {
        self.reads.set(self.reads.get() + 1);
        if let Some(errno) = self.end.get() {
            return Err(errno.into());
        }
        let next = match self.waiting.borrow_mut().pop() {
            Some(next) => Some(next),
            None if self.limit.get() > 0 => {
                self.limit.set(self.limit.get() - 1);
                self.endless.borrow().clone()
            }
            None => None,
        };
        let next = next.ok_or(io::ErrorKind::WouldBlock)?;
        packet[..next.len()].copy_from_slice(&next);
        Ok(next.len())
    }

    fn send(&self, _parts: &[IoSlice<'_>]) -> io::Result<()> {
        if let Some(errno) = self.refuses.get() {
            return Err(errno.into());
        }
        self.sent.set(self.sent.get() + 1);
        Ok(())
    }
}

#[derive(Clone, Default)]
struct StubDevice(Rc<Stub>);

impl PacketDevice for StubDevice {
    async fn readable(&self) -> io::Result<()> {
        self.0.readable().await;
        Ok(())
    }

    fn try_recv(&self, packet: &mut [u8]) -> io::Result<usize> {
        self.0.read(packet)
    }

    fn try_send(&self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.0.send(parts)
    }
}

#[derive(Clone, Default)]
struct StubSocket(Rc<Stub>);

impl PacketSocket for StubSocket {
    async fn readable(&self) -> io::Result<()> {
        self.0.readable().await;
        Ok(())
    }

    fn try_recv(&self, buffers: &mut ReceiveBuffers) -> io::Result<()> {
        buffers.receive_one(|packet| Ok((self.0.read(packet)?, (PEER, 8285).into())))
    }

    fn try_send(
        &self,
        parts: &[IoSlice<'_>],
        _to: SocketAddrV4,
        _segment_len: Option<u16>,
    ) -> io::Result<()> {
        self.0.send(parts)
    }
}
