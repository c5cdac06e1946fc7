//! The decision about a packet that leaves the node or arrives at it: validity, look-up, TTL.
//!
//! What is measured is what a worker does for a packet between reading and sending it, and no more: the packets are made
//! before. They lie one behind the other in memory and fit into the second cache, as what the kernel has just copied to a
//! worker does. Each goes to, or comes from, another node than the one before, drawn at random, which is the worst for the
//! table: real traffic comes in flows.

use std::hint::black_box;
use std::net::Ipv4Addr;

use etherparse::PacketBuilder;
use ipnet::Ipv4Net;
use selvedge_engine::{
    Forwarder, ForwardingTable, Inbound, Instant, Membership, Outbound, Rng, TunnelParams,
};

use crate::work::Work;

/// So many that the look-ups of a pass are not all in the nearest cache.
const PACKETS: u32 = 16_384;
/// An IPv4 and a UDP header.
const PACKET_LEN: usize = 28;
/// Each pass lowers the TTL by one.
const PASSES_OF_A_PACKET: u8 = 250;

/// In the last subnet of the network.
const OWN_POD: Ipv4Addr = Ipv4Addr::new(10, 255, 255, 193);
/// How many leases change in a pass.
const CHANGES: u32 = 64;

const PREFIX_LEN: u8 = 26;
const SUBNETS: u32 = 1 << (PREFIX_LEN - 8);

/// A packet's way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Direction {
    /// From this node to a peer.
    Outbound,
    /// From a peer to this node.
    Inbound,
}

/// Small packets to or from random addresses in all subnets of a table.
#[derive(Debug)]
pub(crate) struct Forward {
    direction: Direction,
    table: ForwardingTable,
    forwarder: Forwarder,
    /// The node at the other end of each packet.
    nodes: Vec<Ipv4Addr>,
    fresh: Vec<u8>,
    packets: Vec<u8>,
    passes_left: u8,
}

impl Forward {
    /// Makes a table of so many subnets, spread over the network, and the packets.
    pub(crate) fn among(subnets: u32, direction: Direction) -> Self {
        let mut rng = Rng::new(7);
        let ends = (0..PACKETS).map(|_| {
            let number = below(&mut rng, subnets);
            let first = subnet(number, subnets).network().to_bits();
            (node(number), Ipv4Addr::from_bits(first + 1 + below(&mut rng, 60)))
        });
        let (nodes, pods): (Vec<_>, Vec<_>) = ends.unzip();
        let packets = pods.into_iter().flat_map(|pod| match direction {
            Direction::Outbound => packet(OWN_POD, pod),
            Direction::Inbound => packet(pod, OWN_POD),
        });
        let fresh: Vec<u8> = packets.collect();
        let mut forward = Self {
            direction,
            table: table(subnets),
            forwarder: Forwarder::new(),
            nodes,
            packets: fresh.clone(),
            fresh,
            passes_left: PASSES_OF_A_PACKET,
        };
        forward.pass();
        let counters = forward.forwarder.counters();
        assert_eq!(counters.sent + counters.delivered, u64::from(PACKETS));
        forward
    }

    fn send(&mut self) {
        for packet in self.packets.chunks_exact_mut(PACKET_LEN) {
            let outbound: Outbound<'_> =
                self.forwarder
                    .outbound(black_box(&self.table), packet, Instant::from_nanos(0));
            black_box(outbound);
        }
    }

    fn receive(&mut self) {
        let packets = self.packets.chunks_exact_mut(PACKET_LEN);
        for (packet, from) in packets.zip(&self.nodes) {
            let inbound: Inbound<'_> =
                self.forwarder
                    .inbound(black_box(&self.table), *from, packet, Instant::from_nanos(0));
            black_box(inbound);
        }
    }
}

impl Work for Forward {
    fn packets(&self) -> u32 {
        PACKETS
    }

    fn pass(&mut self) {
        if self.passes_left == 0 {
            self.packets.copy_from_slice(&self.fresh);
            self.passes_left = PASSES_OF_A_PACKET;
        }
        self.passes_left -= 1;
        match self.direction {
            Direction::Outbound => self.send(),
            Direction::Inbound => self.receive(),
        }
    }
}

/// A lease that changes hands again and again: each time a table is made from the one before, which is dropped.
#[derive(Debug)]
pub(crate) struct Update {
    table: ForwardingTable,
    subnets: u32,
    rng: Rng,
}

impl Update {
    /// Makes a table of so many subnets.
    pub(crate) fn among(subnets: u32) -> Self {
        Self {
            table: table(subnets),
            subnets,
            rng: Rng::new(7),
        }
    }
}

impl Work for Update {
    fn packets(&self) -> u32 {
        CHANGES
    }

    fn pass(&mut self) {
        for _ in 0..CHANGES {
            let subnet = subnet(below(&mut self.rng, self.subnets), self.subnets);
            let holder = node(below(&mut self.rng, self.subnets));
            self.table = self.table.with(*self.table.params(), [(subnet, Some(holder))]);
        }
    }
}

fn table(subnets: u32) -> ForwardingTable {
    let own = nth_subnet(SUBNETS - 1);
    let params = TunnelParams {
        network: Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8),
        subnet: own,
        address: own.network(),
        mtu: 1472,
        port: 8285,
        membership: Membership::Enforce,
    };
    let peers = (0..subnets).map(|number| (subnet(number, subnets), node(number)));
    ForwardingTable::new(params, peers)
}

fn node(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(172, 16, 0, 1).to_bits() + number)
}

/// Returns one of so many subnets that are spread over the network; none is the node's own.
fn subnet(number: u32, of: u32) -> Ipv4Net {
    nth_subnet(number * (SUBNETS / of))
}

fn nth_subnet(number: u32) -> Ipv4Net {
    let first = Ipv4Addr::new(10, 0, 0, 0).to_bits();
    let address = Ipv4Addr::from_bits(first + (number << (32 - PREFIX_LEN)));
    Ipv4Net::new_assert(address, PREFIX_LEN)
}

fn packet(source: Ipv4Addr, destination: Ipv4Addr) -> [u8; PACKET_LEN] {
    let mut packet = [0; PACKET_LEN];
    PacketBuilder::ipv4(source.octets(), destination.octets(), u8::MAX)
        .udp(40_000, 53)
        .write_to_slice(&mut packet, &[])
        .unwrap();
    packet
}

fn below(rng: &mut Rng, limit: u32) -> u32 {
    u32::try_from(rng.below(u64::from(limit))).unwrap()
}
