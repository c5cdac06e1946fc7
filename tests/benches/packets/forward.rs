//! The decision about a packet that leaves the node: validity, look-up, TTL.

use std::hint::black_box;
use std::net::Ipv4Addr;

use etherparse::PacketBuilder;
use ipnet::Ipv4Net;
use selvedge_engine::{Forwarder, ForwardingTable, Instant, Membership, Outbound, Rng, TunnelParams};

use crate::work::Work;

/// So many that the look-ups of a pass are not all in the nearest cache.
const PACKETS: u32 = 16_384;
/// An IPv4 and a UDP header.
const PACKET_LEN: usize = 28;
/// Each pass lowers the TTL by one.
const PASSES_OF_A_PACKET: u8 = 250;

const PREFIX_LEN: u8 = 26;
const SUBNETS: u32 = 1 << (PREFIX_LEN - 8);

/// Small packets to random destinations in all subnets of a table.
#[derive(Debug)]
pub(crate) struct Forward {
    table: ForwardingTable,
    forwarder: Forwarder,
    fresh: Vec<u8>,
    packets: Vec<u8>,
    passes_left: u8,
}

impl Forward {
    /// Makes a table of so many subnets, spread over the network, and the packets.
    pub(crate) fn among(subnets: u32) -> Self {
        let mut rng = Rng::new(7);
        let packets = (0..PACKETS).flat_map(|_| {
            let subnet = subnet(below(&mut rng, subnets), subnets);
            packet_to(Ipv4Addr::from_bits(
                subnet.network().to_bits() + 1 + below(&mut rng, 60),
            ))
        });
        let fresh: Vec<u8> = packets.collect();
        let mut forward = Self {
            table: table(subnets),
            forwarder: Forwarder::new(),
            packets: fresh.clone(),
            fresh,
            passes_left: PASSES_OF_A_PACKET,
        };
        forward.pass();
        assert_eq!(forward.forwarder.counters().sent, u64::from(PACKETS));
        forward
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
        for packet in self.packets.chunks_exact_mut(PACKET_LEN) {
            let outbound: Outbound<'_> =
                self.forwarder
                    .outbound(black_box(&self.table), packet, Instant::from_nanos(0));
            black_box(outbound);
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
    let peers = (0..subnets).map(|number| {
        let node = Ipv4Addr::from_bits(Ipv4Addr::new(172, 16, 0, 1).to_bits() + number);
        (subnet(number, subnets), node)
    });
    ForwardingTable::new(params, peers)
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

fn packet_to(destination: Ipv4Addr) -> [u8; PACKET_LEN] {
    let source = [10, 255, 255, 193];
    let mut packet = [0; PACKET_LEN];
    PacketBuilder::ipv4(source, destination.octets(), u8::MAX)
        .udp(40_000, 53)
        .write_to_slice(&mut packet, &[])
        .unwrap();
    packet
}

fn below(rng: &mut Rng, limit: u32) -> u32 {
    u32::try_from(rng.below(u64::from(limit))).unwrap()
}
