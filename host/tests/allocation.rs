//! Counts heap allocations: two workers that carry packets over real sockets make none.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU16;
use std::rc::Rc;
use std::sync::Arc;

use etherparse::PacketBuilder;
use selvedge_engine::{
    Ecn, ForwardingTable, Gso, GsoKind, Instant, Membership, Merging, PartialChecksum, TunnelParams,
    VnetHeader,
};
use selvedge_host::clock::Clock;
use selvedge_host::net::{Udp, bind};
use selvedge_host::tunnel::SharedTable;
use selvedge_host::tunnel::offload::Offloads;
use selvedge_host::tunnel::worker::{DeviceOffloads, Framing, PacketDevice, Worker};
use tokio::sync::{Notify, mpsc};

/// Reads that warm everything up, and reads that are counted.
const WARM_UP: usize = 200;
const COUNTED: usize = 2_000;

const NODES: [Ipv4Addr; 2] = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)];

#[tokio::test]
async fn carrying_packets_allocates_nothing() {
    for offloads in [Offloads::ALL, Offloads::NONE] {
        let sender = StubDevice::new(vec![
            super_packet(4_000, 1_000),
            framed([10, 5, 2, 2], 100),
            framed([10, 5, 2, 2], 100),
            framed([10, 5, 77, 2], 10),
        ]);
        let receiver = StubDevice::new(Vec::new());

        carry(&sender, &receiver, offloads).await;

        assert_eq!(sender.allocations(), 0, "{offloads}");
        let written = receiver.written.get();
        assert!(written > COUNTED / 4, "{offloads}: {written}");
    }
}

#[test]
fn the_counter_sees_an_allocation() {
    let before = ALLOCATIONS.get();

    drop(std::hint::black_box(Box::new(1)));

    assert_eq!(ALLOCATIONS.get() - before, 1);
}

/// Runs two workers until the first one's device has been read as often as is counted.
async fn carry(sender: &StubDevice, receiver: &StubDevice, offloads: Offloads) {
    let first = bind(SocketAddrV4::new(NODES[0], 0)).unwrap();
    let port = first.local_addr().unwrap().port();
    let second = bind(SocketAddrV4::new(NODES[1], port)).unwrap();
    let worker = |device: &StubDevice, socket, own: u8, peer| {
        let socket = Udp::from_std(socket, offloads).unwrap();
        Worker::new(device.clone(), socket, StubClock, table(own, peer, port))
    };
    let first = worker(sender, first, 1, NODES[1]);
    let second = worker(receiver, second, 2, NODES[0]);
    let ((of_first, first_queries), (of_second, second_queries)) = (mpsc::channel(1), mpsc::channel(1));
    let stop = async {
        sender.done.notified().await;
        drop((of_first, of_second));
    };
    tokio::join!(first.run(first_queries), second.run(second_queries), stop);
}

fn table(own: u8, peer: Ipv4Addr, port: u16) -> SharedTable {
    let params = TunnelParams {
        network: "10.5.0.0/16".parse().unwrap(),
        subnet: format!("10.5.{own}.0/24").parse().unwrap(),
        address: Ipv4Addr::new(10, 5, own, 0),
        mtu: 1472,
        port,
        membership: Membership::Enforce,
    };
    let subnet = format!("10.5.{}.0/24", 3 - own).parse().unwrap();
    SharedTable::new(Some(Arc::new(ForwardingTable::new(params, [(subnet, peer)]))).into())
}

fn super_packet(payload_len: usize, size: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4([10, 5, 1, 2], [10, 5, 2, 2], 63)
        .tcp(40_000, 80, 1_000, 512)
        .write_to_vec(&mut packet, &vec![7; payload_len])
        .unwrap();
    let header = VnetHeader::Super {
        gso: Gso {
            kind: GsoKind::TcpV4(Ecn::Plain),
            size: NonZeroU16::new(size).unwrap(),
        },
        checksum: PartialChecksum {
            start: 20,
            offset: 16,
        },
        header_len: 40,
    };
    [&header.to_bytes(), packet.as_slice()].concat()
}

fn framed(to: [u8; 4], payload_len: usize) -> Vec<u8> {
    let mut packet = VnetHeader::Complete.to_bytes().to_vec();
    PacketBuilder::ipv4([10, 5, 1, 2], to, 63)
        .udp(40_000, 9_999)
        .write_to_vec(&mut packet, &vec![7; payload_len])
        .unwrap();
    packet
}

#[derive(Clone, Copy)]
struct StubClock;

impl Clock for StubClock {
    fn now(&self) -> Instant {
        Instant::ZERO
    }
}

/// A device that hands out the same packets again and again, one for each time that it is readable.
#[derive(Clone)]
struct StubDevice(Rc<State>);

struct State {
    packets: Vec<Vec<u8>>,
    reads: Cell<usize>,
    written: Cell<usize>,
    before: Cell<usize>,
    after: Cell<usize>,
    done: Notify,
}

impl StubDevice {
    fn new(packets: Vec<Vec<u8>>) -> Self {
        Self(Rc::new(State {
            packets,
            reads: Cell::default(),
            written: Cell::default(),
            before: Cell::default(),
            after: Cell::default(),
            done: Notify::new(),
        }))
    }

    fn allocations(&self) -> usize {
        self.0.after.get() - self.0.before.get()
    }
}

impl std::ops::Deref for StubDevice {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl PacketDevice for StubDevice {
    fn offloads(&self) -> DeviceOffloads {
        DeviceOffloads {
            framing: Framing::Vnet,
            tcp: Merging::On,
            udp: Merging::On,
        }
    }

    async fn readable(&self) -> io::Result<()> {
        if self.packets.is_empty() {
            std::future::pending::<()>().await;
        }
        // Lets the other worker have its turn.
        tokio::task::yield_now().await;
        Ok(())
    }

    fn try_recv(&self, packet: &mut [u8]) -> io::Result<usize> {
        if self.packets.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let reads = self.reads.replace(self.reads.get() + 1);
        if reads == WARM_UP {
            self.before.set(ALLOCATIONS.get());
        }
        if reads == WARM_UP + COUNTED {
            self.after.set(ALLOCATIONS.get());
            self.done.notify_one();
        }
        // Every other read finds nothing.
        if reads.is_multiple_of(2) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let next = &self.packets[(reads / 2) % self.packets.len()];
        packet[..next.len()].copy_from_slice(next);
        Ok(next.len())
    }

    fn try_send(&self, _parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.written.set(self.written.get() + 1);
        Ok(())
    }
}

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, with a count for each thread.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }
}
