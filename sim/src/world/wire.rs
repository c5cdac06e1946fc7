//! What nodes put on the underlay: datagrams of daemons, VXLAN datagrams and frames of kernels, and the router that
//! joins the segments.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::World;
use super::event::Event;
use crate::checker::delivery::Dropped;
use crate::checker::{Verdict, hop_limit, right_peer, wire_format};
use crate::links::{Arrival, Carriage, Fate, LossCause};
use crate::linux::{Ingress, LinuxDrop};
use crate::mark::Situation;
use crate::node_id::NodeId;
use crate::packet;
use crate::probe::{Cargo, Probe, ProbeFate};
use crate::ref_cluster::DataPath;
use crate::scenario::Backend;
use crate::trace::PacketStep;
use crate::underlay::ROUTER;

/// Something that goes from a node to another.
struct Parcel {
    to: NodeId,
    carriage: Carriage,
    cargo: Cargo,
    /// The time to live of the inner packet.
    ttl: u8,
    bytes: Vec<u8>,
}

impl World {
    /// Returns the address that a node has at the moment.
    pub(super) fn address_of(&self, node: NodeId) -> Ipv4Addr {
        let state = self.nodes.get(node.index());
        state.map_or_else(|| node.public_ip(), |state| state.linux.underlay_address())
    }

    /// Tells whether a node's kernel takes datagrams to this socket for a VXLAN device.
    pub(super) fn takes_vxlan(&self, node: NodeId, to: SocketAddrV4) -> bool {
        let state = self.nodes.get(node.index());
        state.is_some_and(|state| {
            state.linux.underlay_address() == *to.ip() && state.linux.takes_vxlan_on(to.port())
        })
    }

    /// A VXLAN datagram arrives.
    pub(super) fn take_vxlan(
        &mut self,
        node: NodeId,
        to: SocketAddrV4,
        cargo: Cargo,
        payload: Vec<u8>,
    ) -> Verdict {
        let Some(state) = self.nodes.get(node.index()) else {
            return Ok(());
        };
        let passages = state.linux.handle_vxlan(to.port(), payload);
        self.leave_kernel(node, cargo, passages, Dropped::ByReceiversKernel)
    }

    /// A frame arrives.
    pub(super) fn take_frame(&mut self, node: NodeId, cargo: Cargo, packet: Vec<u8>) -> Verdict {
        let Some(state) = self.nodes.get(node.index()) else {
            return Ok(());
        };
        let passages = state.linux.handle_packet(Ingress::Underlay, packet);
        self.leave_kernel(node, cargo, passages, Dropped::ByReceiversKernel)
    }

    /// A kernel sends a VXLAN datagram.
    pub(super) fn send_vxlan(
        &mut self,
        node: NodeId,
        from: SocketAddrV4,
        to: SocketAddrV4,
        cargo: Cargo,
        payload: Vec<u8>,
    ) -> Verdict {
        self.trace.carry(self.now, from, to, &payload);
        self.judge(wire_format::check_vxlan(node, &payload))?;
        let inner = wire_format::packet_in_vxlan(&payload).unwrap_or_default();
        self.check_peer(node, inner, *to.ip())?;
        self.check_probe_sent(node, cargo, inner)?;
        let ttl = packet::ttl(inner).unwrap_or_default();
        self.put_datagram(node, to, cargo, ttl, payload)
    }

    /// A kernel sends a packet as it is, to a neighbour or to the router.
    pub(super) fn send_frame(
        &mut self,
        node: NodeId,
        next_hop: Ipv4Addr,
        cargo: Cargo,
        packet: Vec<u8>,
    ) -> Verdict {
        self.judge(wire_format::check_frame(node, &packet))?;
        if next_hop == ROUTER {
            return self.pass_router(node, cargo, packet);
        }
        let Some(peer) = self.neighbour(node, next_hop) else {
            return self.drop_packet(node, cargo, Dropped::BySendersKernel(LinuxDrop::NoNeighbour));
        };
        if packet::destination(&packet) != Some(next_hop) {
            self.check_peer(node, &packet, next_hop)?;
            self.check_probe_sent(node, cargo, &packet)?;
            if self.scenario.backend == Backend::Vxlan {
                self.mark(Situation::DirectRoute);
            }
        }
        self.carry_frame(node, peer, cargo, packet)
    }

    /// Checks that a host is the right one for a packet that a node sends there.
    pub(super) fn check_peer(&mut self, node: NodeId, packet: &[u8], host: Ipv4Addr) -> Verdict {
        let destination = packet::destination(packet).unwrap_or(Ipv4Addr::UNSPECIFIED);
        let verdict = right_peer::check(&self.reference, node, destination, host, self.now);
        self.judge(verdict)
    }

    /// Checks that a packet which a node sends is its own to send.
    pub(super) fn check_source_sent(&mut self, node: NodeId, packet: &[u8]) -> Verdict {
        let source = packet::source(packet).unwrap_or(Ipv4Addr::UNSPECIFIED);
        let verdict = right_peer::check_source(&self.reference, node, source, self.now);
        self.judge(verdict)
    }

    /// A kernel passes on whatever it is sent; what its own pods send is the node's to judge.
    fn check_probe_sent(&mut self, node: NodeId, cargo: Cargo, packet: &[u8]) -> Verdict {
        match self.probe_mut(cargo) {
            Some(probe) if probe.from == node => self.check_source_sent(node, packet),
            Some(_) | None => Ok(()),
        }
    }

    /// Sends a datagram to whichever node has the address, if the sender's kernel finds a way there.
    pub(super) fn put_datagram(
        &mut self,
        node: NodeId,
        to: SocketAddrV4,
        cargo: Cargo,
        ttl: u8,
        bytes: Vec<u8>,
    ) -> Verdict {
        let state = self.nodes.get(node.index());
        let has_way = state.is_some_and(|state| state.linux.reaches(*to.ip()));
        let peer = NodeId::by_public_ip(*to.ip(), self.nodes.len());
        let Some(peer) = peer.filter(|_| has_way) else {
            self.lose_packet(node, cargo, node, LossCause::Cut);
            return Ok(());
        };
        let parcel = Parcel {
            to: peer,
            carriage: Carriage::Datagram { to },
            cargo,
            ttl,
            bytes,
        };
        self.put_on_wire(node, parcel)
    }

    fn put_on_wire(&mut self, node: NodeId, parcel: Parcel) -> Verdict {
        let Parcel {
            to,
            carriage,
            cargo,
            ttl,
            ref bytes,
        } = parcel;
        self.count_way(node, cargo)?;
        self.step(node, cargo, PacketStep::OnTheWire { to, ttl });
        match self.links.send((node, to), carriage, bytes, self.now) {
            Fate::Lost(cause) => self.lose_packet(node, cargo, to, cause),
            Fate::Arrives { first, copies } => {
                if let Some(probe) = self.probe_mut(cargo) {
                    probe.copies += u32::try_from(copies.len()).unwrap_or(u32::MAX);
                }
                for copy in copies {
                    self.push_arrival(copy, node, &parcel, parcel.bytes.clone());
                }
                let bytes = parcel.bytes;
                let parcel = Parcel {
                    bytes: Vec::new(),
                    ..parcel
                };
                self.push_arrival(first, node, &parcel, bytes);
            }
        }
        Ok(())
    }

    /// Finds the node of a node's segment that has an address at the moment, as a host asks for it (ARP).
    fn neighbour(&self, node: NodeId, address: Ipv4Addr) -> Option<NodeId> {
        let peer = NodeId::by_public_ip(address, self.nodes.len())?;
        let state = self.nodes.get(peer.index())?;
        let answers = state.linux.is_attached() && state.linux.underlay_address() == address;
        let shares_link = self.scenario.segment(peer) == self.scenario.segment(node);
        (answers && shares_link && peer != node).then_some(peer)
    }

    /// The router forwards what is for a node, whatever its segment, and drops everything else.
    fn pass_router(&mut self, node: NodeId, cargo: Cargo, mut packet: Vec<u8>) -> Verdict {
        let destination = packet::destination(&packet);
        let host = destination.and_then(|address| NodeId::by_public_ip(address, self.nodes.len()));
        match host.filter(|host| Some(self.address_of(*host)) == destination) {
            Some(host) if packet::decrement_ttl(&mut packet) => self.carry_frame(node, host, cargo, packet),
            Some(_) | None => {
                self.mark(Situation::DroppedByRouter);
                self.drop_packet(node, cargo, Dropped::ByRouter)
            }
        }
    }

    fn carry_frame(&mut self, node: NodeId, to: NodeId, cargo: Cargo, packet: Vec<u8>) -> Verdict {
        let parcel = Parcel {
            to,
            carriage: Carriage::Frame,
            cargo,
            ttl: packet::ttl(&packet).unwrap_or_default(),
            bytes: packet,
        };
        self.put_on_wire(node, parcel)
    }

    /// Lets a copy arrive; a damaged one is no probe any more.
    fn push_arrival(&mut self, arrival: Arrival, from: NodeId, parcel: &Parcel, bytes: Vec<u8>) {
        let Arrival { at, damaged } = arrival;
        let Parcel {
            to, carriage, cargo, ..
        } = *parcel;
        let is_damaged = damaged.is_some();
        if is_damaged {
            self.settle(cargo, ProbeFate::Damaged);
        } else if let Some(probe) = self.probe_mut(cargo) {
            probe.last_arrival = probe.last_arrival.max(at);
        }
        let source = self.links.changed_source(from);
        let event = Event::Arrival {
            from: source.unwrap_or_else(|| self.address_of(from)),
            to,
            carriage,
            cargo: if is_damaged { Cargo::Damaged } else { cargo },
            packet: damaged.unwrap_or(bytes),
        };
        self.queue.push(at, event);
    }

    /// Tells whether a kernel may pass a probe on: it does so with what is for others, if whoever sends it there cannot know
    /// better.
    pub(super) fn may_stray(&self, probe: &Probe) -> bool {
        match self.reference.data_path() {
            DataPath::Daemon => false,
            DataPath::Kernel => {
                let Probe {
                    from,
                    to,
                    destination,
                    ..
                } = *probe;
                !self.reference.must_know(from, destination, to, self.now)
            }
        }
    }

    fn count_way(&mut self, node: NodeId, cargo: Cargo) -> Verdict {
        let Some(probe) = self.probe_mut(cargo) else {
            return Ok(());
        };
        probe.ways += 1;
        let probe = *probe;
        if probe.may_stray || self.may_stray(&probe) {
            return Ok(());
        }
        let verdict = hop_limit::check_first_way(node, probe.id, probe.ways);
        self.judge(verdict)
    }
}

#[cfg(test)]
mod tests;
