//! The data path of the `udp` backend: a process that copies packets between the tunnel device and a socket
//! (backends.md, 3.5 and 3.6).
//!
//! It checks neither who sends a datagram nor what is in it. The ICMP error that it makes when no route matches is left
//! out: every kernel throws it away, for it comes in with the node's own address as its source.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;
use selvedge_engine::DropReason;

use super::lease_watch::Change;
use crate::sim_node::PacketFate;

/// The list of routes, and the port that every node listens on.
#[derive(Debug)]
pub(super) struct DataPath {
    network: Ipv4Net,
    port: u16,
    mtu: usize,
    /// The first that matches is taken, and changes places with the first of all.
    routes: Vec<(Ipv4Net, Ipv4Addr)>,
}

impl DataPath {
    pub(super) fn new(network: Ipv4Net, port: u16, mtu: u32) -> Self {
        Self {
            network,
            port,
            mtu: usize::try_from(mtu).unwrap_or(usize::MAX),
            routes: Vec::new(),
        }
    }

    /// Takes what the watch of all leases reports; leases of other backends are ignored.
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Added(listed) if !listed.record.backend_type.is_empty() => {}
            Change::Added(listed) => {
                if let Some(net) = listed.subnet.v4() {
                    self.set(net.trunc(), listed.record.public_ip);
                }
            }
            Change::Removed(subnet) => {
                if let Some(net) = subnet.v4() {
                    self.delete(net.trunc());
                }
            }
        }
    }

    /// Returns the routes that packets can take: the kernel hands over what is inside the network only, and a route to
    /// everything never matches.
    pub(super) fn peers(&self) -> BTreeMap<Ipv4Net, Ipv4Addr> {
        let inside = self.routes.iter().filter(|(net, _)| self.network.contains(net));
        inside.copied().collect()
    }

    pub(super) fn outbound(&mut self, packet: &mut [u8]) -> PacketFate {
        let Some(destination) = packet
            .get(16..20)
            .and_then(|octets| <[u8; 4]>::try_from(octets).ok())
        else {
            return PacketFate::Drop(DropReason::Truncated);
        };
        let Some(peer) = self.next_hop(Ipv4Addr::from(destination)) else {
            return PacketFate::Drop(DropReason::NoRoute);
        };
        if lower_ttl(packet).is_none() {
            return PacketFate::Drop(DropReason::TtlExceeded);
        }
        PacketFate::Send(SocketAddrV4::new(peer, self.port))
    }

    pub(super) fn inbound(&self, packet: &mut [u8]) -> PacketFate {
        if packet.len() < SHORTEST || packet.len() > self.mtu {
            // A longer one is cut, and the kernel drops it.
            return PacketFate::Drop(DropReason::Truncated);
        }
        match lower_ttl(packet) {
            Some(()) => PacketFate::Deliver,
            None => PacketFate::Drop(DropReason::TtlExceeded),
        }
    }

    fn set(&mut self, net: Ipv4Net, peer: Ipv4Addr) {
        match self.routes.iter_mut().find(|(other, _)| *other == net) {
            Some((_, next_hop)) => *next_hop = peer,
            None => self.routes.push((net, peer)),
        }
    }

    fn delete(&mut self, net: Ipv4Net) {
        if let Some(index) = self.routes.iter().position(|(other, _)| *other == net) {
            self.routes.swap_remove(index);
        }
    }

    fn next_hop(&mut self, destination: Ipv4Addr) -> Option<Ipv4Addr> {
        let matches = |(net, _): &(Ipv4Net, Ipv4Addr)| net.prefix_len() > 0 && net.contains(&destination);
        let index = self.routes.iter().position(matches)?;
        self.routes.swap(0, index);
        self.routes.first().map(|(_, peer)| *peer)
    }
}

/// The length of an IPv4 header without options.
const SHORTEST: usize = 20;

/// Lowers the time to live by one and adds to the checksum what that takes away; `None` if nothing is left of it.
fn lower_ttl(packet: &mut [u8]) -> Option<()> {
    let header = packet.get_mut(..SHORTEST)?;
    header[8] = header[8].wrapping_sub(1);
    if header[8] == 0 {
        return None;
    }
    let (sum, carry) = u16::from_be_bytes([header[10], header[11]]).overflowing_add(0x0100);
    // Both zeros of the one's complement become the positive one, as in the kernel.
    let folded = sum.wrapping_add(u16::from(carry || sum == u16::MAX));
    header[10..12].copy_from_slice(&folded.to_be_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::wire_format;
    use crate::node_id::NodeId;
    use crate::packet;

    #[test]
    fn the_first_route_that_matches_wins_even_if_a_longer_one_does_too() {
        let mut path = path(&[("10.5.0.0/16", 1), ("10.5.2.0/24", 2)]);

        assert_eq!(path.outbound(&mut ping(9)), sent(1));
    }

    #[test]
    fn a_route_to_everything_never_matches_and_a_deleted_one_neither() {
        let mut path = path(&[("0.0.0.0/0", 1), ("10.5.2.0/24", 2)]);
        path.delete("10.5.2.0/24".parse().unwrap());

        assert_eq!(path.outbound(&mut ping(9)), PacketFate::Drop(DropReason::NoRoute));
        assert!(path.peers().is_empty());
    }

    #[test]
    fn the_time_to_live_falls_on_both_sides_and_the_packet_stays_valid() {
        let mut path = path(&[("10.5.2.0/24", 2)]);
        let mut packet = ping(9);

        let fates = (path.outbound(&mut packet), path.inbound(&mut packet));

        assert_eq!(fates, (sent(2), PacketFate::Deliver));
        assert_eq!(packet::ttl(&packet), Some(7));
        assert!(packet::is_valid(&packet));
    }

    #[test]
    fn every_checksum_stays_right_as_the_time_to_live_falls() {
        let packet = ping(9);
        for source in (0..=u16::MAX).map(|low| Ipv4Addr::from(0x0a05_0000 | u32::from(low))) {
            let mut packet = packet.clone();
            packet::set_source(&mut packet, source);

            lower_ttl(&mut packet).unwrap();

            assert_eq!(wire_format::check(NodeId::new(1), &packet), Ok(()), "{source}");
        }
    }

    #[test]
    fn a_packet_at_the_end_of_its_life_and_a_short_or_long_one_are_dropped() {
        let path = path(&[]);
        let dropped = |mut packet: Vec<u8>| matches!(path.inbound(&mut packet), PacketFate::Drop(_));

        assert!(dropped(ping(1)));
        assert!(dropped(vec![0x45; 19]));
        assert!(dropped(vec![0x45; 1473]));
    }

    fn path(routes: &[(&str, u8)]) -> DataPath {
        let mut path = DataPath::new("10.5.0.0/16".parse().unwrap(), 8285, 1472);
        for (net, peer) in routes {
            path.set(net.parse().unwrap(), Ipv4Addr::new(198, 18, 0, *peer));
        }
        path
    }

    fn ping(ttl: u8) -> Vec<u8> {
        let (from, to) = (Ipv4Addr::new(10, 5, 1, 2), Ipv4Addr::new(10, 5, 2, 2));
        packet::icmp_echo(from, to, ttl, packet::Echo::Request, b"12345678")
    }

    fn sent(peer: u8) -> PacketFate {
        PacketFate::Send(SocketAddrV4::new(Ipv4Addr::new(198, 18, 0, peer), 8285))
    }
}
