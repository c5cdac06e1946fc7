//! Counts heap allocations: the forwarder makes none, whatever becomes of a packet.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::Ipv4Addr;

use etherparse::PacketBuilder;
use selvedge_engine::{
    DropReason, Forwarder, ForwardingTable, Inbound, Instant, Membership, Outbound, TunnelParams,
};

const OWN: Ipv4Addr = Ipv4Addr::new(10, 5, 1, 2);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 5, 2, 2);
const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 6, 0, 2);
const PEER_NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const STRANGE_NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 66);

#[test]
fn the_counter_sees_an_allocation() {
    let count = allocations(|| drop(std::hint::black_box(Box::new(1))));

    assert_eq!(count, 1);
}

#[test]
fn forwarding_a_packet_allocates_nothing() {
    let mut forwarder = Forwarder::new();

    for table in tables() {
        let mut out = udp(OWN, PEER, 64);
        let mut into = udp(PEER, OWN, 64);
        let count = allocations(|| {
            for _ in 0..60 {
                let sent = forwarder.outbound(&table, &mut out, Instant::ZERO);
                assert!(matches!(sent, Outbound::Send(_)));
                let delivered = forwarder.inbound(&table, PEER_NODE, &mut into, Instant::ZERO);
                assert!(matches!(delivered, Inbound::Deliver));
            }
        });

        assert_eq!(count, 0);
    }
}

#[test]
fn refusing_a_packet_allocates_nothing_with_an_error_or_without() {
    let mut forwarder = Forwarder::new();

    for table in tables() {
        let mut no_route = udp(OWN, STRANGER, 64);
        let mut too_late = udp(PEER, OWN, 1);
        let mut unknown = udp(PEER, OWN, 64);
        let mut garbage = [0_u8; 64];
        let count = allocations(|| {
            for nanos in (0..60).map(|count| count * 1_000_000_000) {
                let now = Instant::from_nanos(nanos);
                let unreachable = forwarder.outbound(&table, &mut no_route, now);
                assert!(matches!(unreachable, Outbound::Reply { .. }));
                let exceeded = forwarder.inbound(&table, PEER_NODE, &mut too_late, now);
                assert!(matches!(exceeded, Inbound::Reply { .. }));
                let refused = forwarder.inbound(&table, STRANGE_NODE, &mut unknown, now);
                assert_eq!(refused, Inbound::Drop(DropReason::UnknownSender));
                let invalid = forwarder.outbound(&table, &mut garbage, now);
                assert_eq!(invalid, Outbound::Drop(DropReason::NotIpv4));
            }
        });

        assert_eq!(count, 0);
        forwarder = Forwarder::new();
    }
}

thread_local! {
    /// The allocations of this thread; others (the test harness's) do not disturb.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, which counts.
struct CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

// SAFETY: everything is passed on to the system's allocator as it came; the counter is a constant-initialised
// thread local without a destructor, so that it neither allocates nor panics.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System.alloc` with this layout, as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

/// One with a direct index, one with ranges.
fn tables() -> [ForwardingTable; 2] {
    let params = TunnelParams {
        network: "10.5.0.0/16".parse().unwrap(),
        subnet: "10.5.1.0/24".parse().unwrap(),
        address: Ipv4Addr::new(10, 5, 1, 0),
        mtu: 1472,
        port: 8285,
        membership: Membership::Enforce,
    };
    let peer = ("10.5.2.0/24".parse().unwrap(), PEER_NODE);
    let larger_peer = ("10.5.64.0/20".parse().unwrap(), Ipv4Addr::new(192, 0, 2, 3));
    [
        ForwardingTable::new(params, [peer]),
        ForwardingTable::new(params, [peer, larger_peer]),
    ]
}

fn udp(source: Ipv4Addr, destination: Ipv4Addr, ttl: u8) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4(source.octets(), destination.octets(), ttl)
        .udp(40_000, 9_999)
        .write_to_vec(&mut packet, b"payload")
        .unwrap();
    packet
}
