//! The way of a packet: pod, kernel, tunnel, forwarder, link, forwarder, tunnel, kernel, pod.

use std::net::{Ipv4Addr, SocketAddrV4};

use selvedge_engine::Membership;

use super::World;
use crate::checker::delivery::{self, Dropped};
use crate::checker::{Verdict, hop_limit, source_binding, wire_format};
use crate::forgery::Forgery;
use crate::links::{Carriage, LossCause};
use crate::linux::{self, Ingress, LinuxDrop, Passage};
use crate::node_id::NodeId;
use crate::packet;
use crate::probe::{Cargo, ProbeFate};
use crate::sim_node::PacketFate;
use crate::trace::{Occurrence, PacketStep};

impl World {
    /// A pod hands a packet to its node.
    pub(super) fn leave_pod(&mut self, node: NodeId, probe: u64, packet: Vec<u8>) -> Verdict {
        let Some(state) = self.nodes.get(node.index()) else {
            return Ok(());
        };
        let passages = state.linux.handle_packet(Ingress::Pod, packet);
        self.leave_kernel(node, Cargo::Probe(probe), passages, Dropped::BySendersKernel)
    }

    /// A datagram or a frame arrives at a node.
    pub(super) fn handle_arrival(
        &mut self,
        from: Ipv4Addr,
        node: NodeId,
        carriage: Carriage,
        cargo: Cargo,
        packet: Vec<u8>,
    ) -> Verdict {
        let Some(state) = self.nodes.get(node.index()) else {
            return Ok(());
        };
        if !state.linux.is_attached() {
            self.lose_packet(node, cargo, node, LossCause::Cut);
            return Ok(());
        }
        let to = match carriage {
            Carriage::Datagram { to } => to,
            Carriage::Frame => return self.take_frame(node, cargo, packet),
        };
        if cargo.was_never_sent() {
            let from = SocketAddrV4::new(from, to.port());
            self.trace.carry(self.now, from, to, &packet);
        }
        if self.takes_vxlan(node, to) {
            return self.take_vxlan(node, to, cargo, packet);
        }
        self.handle_datagram(from, node, to, cargo, packet)
    }

    /// A datagram arrives at the daemon's socket.
    fn handle_datagram(
        &mut self,
        from: Ipv4Addr,
        node: NodeId,
        to: SocketAddrV4,
        cargo: Cargo,
        mut packet: Vec<u8>,
    ) -> Verdict {
        let now = self.now;
        let Some(state) = self.nodes.get_mut(node.index()) else {
            return Ok(());
        };
        let listens = state.linux.listens_on(to);
        let Some(daemon) = state.daemon.as_mut().filter(|_| listens) else {
            return self.drop_packet(node, cargo, Dropped::Unreceived);
        };
        let before = packet::ttl(&packet);
        let fate = daemon.inbound(from, &mut packet, now)?;
        if self.is_disowned(from, cargo) {
            match fate {
                PacketFate::Drop(reason) => {
                    self.mark_drop(reason);
                    self.step(node, cargo, PacketStep::DroppedByForwarder(reason));
                    self.settle(cargo, ProbeFate::Disowned);
                    return Ok(());
                }
                PacketFate::Deliver | PacketFate::Reply { .. } => {
                    self.judge(Err(delivery::taken_from_stranger(node, &fate)))?;
                }
                PacketFate::NoTable | PacketFate::Send(_) => {}
            }
        }
        match fate {
            PacketFate::Deliver => {
                self.judge(hop_limit::check_step(node, before, packet::ttl(&packet)))?;
                self.check_source(node, &packet, from)?;
                self.leave_tunnel(node, cargo, packet)
            }
            PacketFate::Reply { reason, to, error } => {
                self.drop_packet(node, cargo, Dropped::Inbound(reason))?;
                self.reply(node, to, error)
            }
            PacketFate::Drop(reason) => self.drop_packet(node, cargo, Dropped::Inbound(reason)),
            PacketFate::NoTable | PacketFate::Send(_) => self.drop_packet(node, cargo, Dropped::Unreceived),
        }
    }

    /// Tells whether a probe comes from an address that is not its sender's, and that no member may use.
    fn is_disowned(&self, from: Ipv4Addr, cargo: Cargo) -> bool {
        let is_stranger = NodeId::by_public_ip(from, self.nodes.len()).is_none();
        cargo.probe().is_some() && is_stranger && self.scenario.membership == Membership::Enforce
    }

    pub(super) fn step(&mut self, node: NodeId, cargo: Cargo, step: PacketStep) {
        self.trace
            .record(self.now, Some(node), Occurrence::Packet { cargo, step });
    }

    /// The kernel routed a packet into the tunnel device, where the daemon reads it.
    fn enter_tunnel(&mut self, node: NodeId, cargo: Cargo, mut packet: Vec<u8>) -> Verdict {
        let now = self.now;
        let before = packet::ttl(&packet);
        let Some(daemon) = self.daemon_mut(node) else {
            return self.drop_packet(node, cargo, Dropped::WithoutTable);
        };
        match daemon.outbound(&mut packet, now)? {
            PacketFate::Send(to) => {
                self.judge(hop_limit::check_step(node, before, packet::ttl(&packet)))?;
                self.send_datagram(node, to, cargo, packet)
            }
            PacketFate::Reply { reason, to, error } => {
                self.drop_packet(node, cargo, Dropped::Outbound(reason))?;
                self.reply(node, to, error)
            }
            PacketFate::Drop(reason) => self.drop_packet(node, cargo, Dropped::Outbound(reason)),
            PacketFate::NoTable | PacketFate::Deliver => self.drop_packet(node, cargo, Dropped::WithoutTable),
        }
    }

    /// An ICMP error goes to another node, or to the own kernel.
    fn reply(&mut self, node: NodeId, to: Option<SocketAddrV4>, error: Vec<u8>) -> Verdict {
        match to {
            Some(to) => self.send_datagram(node, to, Cargo::IcmpError, error),
            None => self.leave_tunnel(node, Cargo::IcmpError, error),
        }
    }

    /// Where membership is enforced, checks whether a node of ours may take a packet from this sender.
    fn check_source(&self, node: NodeId, packet: &[u8], sender: Ipv4Addr) -> Verdict {
        if self.is_flannel(node) {
            return Ok(());
        }
        match self.scenario.membership {
            Membership::Enforce => {
                let source = packet::source(packet).unwrap_or(Ipv4Addr::UNSPECIFIED);
                source_binding::check(&self.reference, node, source, sender, self.now)
            }
            Membership::Off | Membership::Log => Ok(()),
        }
    }

    fn send_datagram(&mut self, node: NodeId, to: SocketAddrV4, cargo: Cargo, packet: Vec<u8>) -> Verdict {
        let sendings = self.daemon_mut(node).map_or(1, |daemon| daemon.sendings());
        for _ in 1..sendings {
            self.send_once(node, to, cargo, packet.clone())?;
        }
        self.send_once(node, to, cargo, packet)
    }

    fn send_once(&mut self, node: NodeId, to: SocketAddrV4, cargo: Cargo, packet: Vec<u8>) -> Verdict {
        let from = SocketAddrV4::new(self.address_of(node), to.port());
        self.trace.carry(self.now, from, to, &packet);
        if let Some(daemon) = self.daemon_mut(node) {
            daemon.check_datagram()?;
        }
        self.judge(wire_format::check(node, &packet))?;
        self.check_peer(node, &packet, *to.ip())?;
        self.check_source_sent(node, &packet)?;
        let ttl = packet::ttl(&packet).unwrap_or_default();
        self.put_datagram(node, to, cargo, ttl, packet)
    }

    /// The daemon wrote a packet to the tunnel device, where the kernel takes it.
    fn leave_tunnel(&mut self, node: NodeId, cargo: Cargo, packet: Vec<u8>) -> Verdict {
        let Some(state) = self.nodes.get(node.index()) else {
            return Ok(());
        };
        let passages = match state.linux.tunnel() {
            Some(link) => state.linux.handle_packet(Ingress::Tunnel(link), packet),
            None => vec![Passage {
                verdict: linux::Verdict::Dropped(LinuxDrop::NoDevice),
                packet,
            }],
        };
        self.leave_kernel(node, cargo, passages, Dropped::ByReceiversKernel)
    }

    /// The kernel has made up its mind about a packet; what follows a dropped one is the error about it.
    pub(super) fn leave_kernel(
        &mut self,
        node: NodeId,
        cargo: Cargo,
        passages: Vec<Passage>,
        dropped: fn(LinuxDrop) -> Dropped,
    ) -> Verdict {
        let mut cargo = cargo;
        for Passage { verdict, packet } in passages {
            match verdict {
                linux::Verdict::Tunnel => self.enter_tunnel(node, cargo, packet)?,
                linux::Verdict::Datagram { from, to } => self.send_vxlan(node, from, to, cargo, packet)?,
                linux::Verdict::Frame { next_hop } => self.send_frame(node, next_hop, cargo, packet)?,
                linux::Verdict::Pod(pod) => self.reach_pod(node, pod, cargo, &packet)?,
                linux::Verdict::Host => self.reach_host(node, cargo)?,
                linux::Verdict::Dropped(reason) => {
                    self.drop_packet(node, cargo, dropped(reason))?;
                    cargo = Cargo::IcmpError;
                }
            }
        }
        Ok(())
    }

    fn reach_pod(&mut self, node: NodeId, pod: Ipv4Addr, cargo: Cargo, packet: &[u8]) -> Verdict {
        let ttl = packet::ttl(packet).unwrap_or_default();
        match cargo {
            Cargo::Damaged if !packet::has_right_checksum(packet) => {
                self.step(node, cargo, PacketStep::PodRefuses);
                return self.judge(delivery::check_damaged(node, packet));
            }
            Cargo::Probe(_) | Cargo::IcmpError | Cargo::Damaged | Cargo::Forged(_) => {
                self.step(node, cargo, PacketStep::PodGets { ttl });
            }
        }
        match cargo {
            Cargo::Probe(id) => self.receive_probe(node, id, packet),
            Cargo::IcmpError => {
                self.statistics.probes.icmp_errors += 1;
                let quoted = packet::icmp_error_quote(packet).and_then(packet::source);
                self.judge(delivery::check_error(node, pod, quoted))
            }
            Cargo::Damaged => self.judge(delivery::check_damaged(node, packet)),
            // A flanneld passes on what is for another node.
            Cargo::Forged(Forgery::ForeignDestination) if !self.is_flannel(node) && self.has_flannel() => {
                self.scars.attack(node);
                Ok(())
            }
            Cargo::Forged(forgery) => {
                self.scars.attack(node);
                let path = self.reference.data_path();
                let verdict = delivery::check_forged(node, forgery, path, self.scenario.membership);
                self.judge(verdict)
            }
        }
    }

    fn has_flannel(&self) -> bool {
        self.scenario.node_ids().any(|node| self.is_flannel(node))
    }

    /// No probe is for a node itself: its address was a pod's on another node.
    fn reach_host(&mut self, node: NodeId, cargo: Cargo) -> Verdict {
        self.step(node, cargo, PacketStep::HostGets);
        self.judge_drop(node, cargo, Dropped::ByReceiversKernel(LinuxDrop::NoSuchPod))
    }

    pub(super) fn drop_packet(&mut self, node: NodeId, cargo: Cargo, dropped: Dropped) -> Verdict {
        let step = match dropped {
            Dropped::BySendersKernel(reason) | Dropped::ByReceiversKernel(reason) => {
                PacketStep::DroppedByKernel(reason)
            }
            Dropped::ByRouter => PacketStep::DroppedByRouter,
            Dropped::WithoutTable => PacketStep::NoTable,
            Dropped::Unreceived => PacketStep::NobodyListens,
            Dropped::Outbound(reason) | Dropped::Inbound(reason) => PacketStep::DroppedByForwarder(reason),
        };
        if let PacketStep::DroppedByForwarder(reason) = step {
            self.mark_drop(reason);
        }
        self.step(node, cargo, step);
        self.judge_drop(node, cargo, dropped)
    }

    fn judge_drop(&mut self, node: NodeId, cargo: Cargo, dropped: Dropped) -> Verdict {
        let Some(probe) = self.probe_mut(cargo).copied() else {
            return Ok(());
        };
        // Whoever passed on what is not its own is to blame for all that follows.
        let verdict = if probe.ways > 1 {
            Ok(())
        } else {
            delivery::check_drop(&self.reference, &probe, node, dropped, self.now)
        };
        self.judge(verdict.map_err(|finding| finding.by(node)))?;
        let is_down = self
            .nodes
            .get(node.index())
            .is_none_or(|state| state.daemon.is_none());
        let fate = if is_down {
            ProbeFate::NobodyListened
        } else {
            ProbeFate::Excused
        };
        self.settle(cargo, fate);
        Ok(())
    }
}
