//! The way of a packet: pod, kernel, tunnel, forwarder, link, forwarder, tunnel, kernel, pod.

use std::net::{Ipv4Addr, SocketAddrV4};

use selvedge_engine::Instant;

use super::World;
use super::event::Event;
use crate::checker::delivery::{self, Dropped};
use crate::checker::{Verdict, hop_limit, right_peer, wire_format};
use crate::links::{Fate, LossCause};
use crate::linux::{self, Ingress, LinuxDrop, Passage};
use crate::node_id::NodeId;
use crate::packet;
use crate::probe::ProbeFate;
use crate::sim_node::PacketFate;
use crate::trace::{Occurrence, PacketStep};

impl World {
    /// A pod hands a packet to its node.
    pub(super) fn leave_pod(&mut self, node: NodeId, probe: u64, packet: Vec<u8>) -> Verdict {
        let Some(state) = self.nodes.get(node.index()) else {
            return Ok(());
        };
        let passages = state.linux.handle_packet(Ingress::Pod, packet);
        self.leave_kernel(node, Some(probe), passages, Dropped::BySendersKernel)
    }

    /// A datagram arrives at a node.
    pub(super) fn handle_datagram(
        &mut self,
        from: Ipv4Addr,
        (port, node): (u16, NodeId),
        probe: Option<u64>,
        mut packet: Vec<u8>,
    ) -> Verdict {
        let now = self.now;
        let Some(state) = self.nodes.get_mut(node.index()) else {
            return Ok(());
        };
        let listens = state.linux.listens_on(SocketAddrV4::new(node.public_ip(), port));
        let Some(daemon) = state.daemon.as_mut().filter(|_| listens) else {
            return self.drop_packet(node, probe, Dropped::Unreceived);
        };
        let before = packet::ttl(&packet);
        match daemon.inbound(from, &mut packet, now) {
            PacketFate::Deliver => {
                self.judge(hop_limit::check_step(node, before, packet::ttl(&packet)))?;
                self.leave_tunnel(node, probe, packet)
            }
            PacketFate::Reply { reason, to, error } => {
                self.drop_packet(node, probe, Dropped::Inbound(reason))?;
                self.reply(node, to, error)
            }
            PacketFate::Drop(reason) => self.drop_packet(node, probe, Dropped::Inbound(reason)),
            PacketFate::NoTable | PacketFate::Send(_) => self.drop_packet(node, probe, Dropped::Unreceived),
        }
    }

    pub(super) fn step(&mut self, node: NodeId, probe: Option<u64>, step: PacketStep) {
        self.trace
            .record(self.now, Some(node), Occurrence::Packet { probe, step });
    }

    /// The kernel routed a packet into the tunnel device, where the daemon reads it.
    fn enter_tunnel(&mut self, node: NodeId, probe: Option<u64>, mut packet: Vec<u8>) -> Verdict {
        let now = self.now;
        let before = packet::ttl(&packet);
        let Some(daemon) = self.daemon_mut(node) else {
            return self.drop_packet(node, probe, Dropped::WithoutTable);
        };
        match daemon.outbound(&mut packet, now) {
            PacketFate::Send(to) => {
                self.judge(hop_limit::check_step(node, before, packet::ttl(&packet)))?;
                self.send_datagram(node, to, probe, packet)
            }
            PacketFate::Reply { reason, to, error } => {
                self.drop_packet(node, probe, Dropped::Outbound(reason))?;
                self.reply(node, to, error)
            }
            PacketFate::Drop(reason) => self.drop_packet(node, probe, Dropped::Outbound(reason)),
            PacketFate::NoTable | PacketFate::Deliver => self.drop_packet(node, probe, Dropped::WithoutTable),
        }
    }

    /// An ICMP error goes to another node, or to the own kernel.
    fn reply(&mut self, node: NodeId, to: Option<SocketAddrV4>, error: Vec<u8>) -> Verdict {
        match to {
            Some(to) => self.send_datagram(node, to, None, error),
            None => self.leave_tunnel(node, None, error),
        }
    }

    fn send_datagram(
        &mut self,
        node: NodeId,
        to: SocketAddrV4,
        probe: Option<u64>,
        packet: Vec<u8>,
    ) -> Verdict {
        self.judge(wire_format::check(node, &packet))?;
        let destination = packet::destination(&packet).unwrap_or(Ipv4Addr::UNSPECIFIED);
        let verdict = right_peer::check(&self.reference, node, destination, *to.ip(), self.now);
        self.judge(verdict)?;
        let source = packet::source(&packet).unwrap_or(Ipv4Addr::UNSPECIFIED);
        let verdict = right_peer::check_source(&self.reference, node, source, self.now);
        self.judge(verdict)?;
        let Some(peer) = NodeId::by_public_ip(*to.ip(), self.nodes.len()) else {
            self.lose_probe(node, probe, node, LossCause::Cut);
            return Ok(());
        };
        self.count_way(node, probe)?;
        let ttl = packet::ttl(&packet).unwrap_or_default();
        self.step(node, probe, PacketStep::OnTheWire { to: peer, ttl });
        let to = (to.port(), peer);
        match self.links.send(node, peer, self.now) {
            Fate::Lost(cause) => self.lose_probe(node, probe, peer, cause),
            Fate::Arrives(at) => self.push_datagram(at, node, to, probe, packet),
            Fate::ArrivesTwice(first, second) => {
                if let Some(probe) = probe.and_then(|id| self.probes.get_mut(id)) {
                    probe.copies += 1;
                }
                self.push_datagram(first, node, to, probe, packet.clone());
                self.push_datagram(second, node, to, probe, packet);
            }
        }
        Ok(())
    }

    fn push_datagram(
        &mut self,
        at: Instant,
        from: NodeId,
        to: (u16, NodeId),
        probe: Option<u64>,
        packet: Vec<u8>,
    ) {
        let event = Event::Datagram {
            from: from.public_ip(),
            to,
            probe,
            packet,
        };
        self.queue.push(at, event);
    }

    fn count_way(&mut self, node: NodeId, probe: Option<u64>) -> Verdict {
        let Some(probe) = probe.and_then(|id| self.probes.get_mut(id)) else {
            return Ok(());
        };
        probe.ways += 1;
        let verdict = hop_limit::check_first_way(node, probe.id, probe.ways);
        self.judge(verdict)
    }

    /// The daemon wrote a packet to the tunnel device, where the kernel takes it.
    fn leave_tunnel(&mut self, node: NodeId, probe: Option<u64>, packet: Vec<u8>) -> Verdict {
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
        self.leave_kernel(node, probe, passages, Dropped::ByReceiversKernel)
    }

    /// The kernel has made up its mind about a packet; what follows a dropped one is the error about it.
    fn leave_kernel(
        &mut self,
        node: NodeId,
        probe: Option<u64>,
        passages: Vec<Passage>,
        dropped: fn(LinuxDrop) -> Dropped,
    ) -> Verdict {
        let mut probe = probe;
        for Passage { verdict, packet } in passages {
            match verdict {
                linux::Verdict::Tunnel(_) => self.enter_tunnel(node, probe, packet)?,
                linux::Verdict::Pod(pod) => self.reach_pod(node, pod, probe, &packet)?,
                linux::Verdict::Host => self.reach_host(node, probe)?,
                linux::Verdict::Dropped(reason) => {
                    self.drop_packet(node, probe, dropped(reason))?;
                    probe = None;
                }
            }
        }
        Ok(())
    }

    fn reach_pod(&mut self, node: NodeId, pod: Ipv4Addr, probe: Option<u64>, packet: &[u8]) -> Verdict {
        let ttl = packet::ttl(packet).unwrap_or_default();
        self.step(node, probe, PacketStep::PodGets { ttl });
        if let Some(id) = probe {
            return self.receive_probe(node, id, packet);
        }
        self.statistics.probes.icmp_errors += 1;
        let quoted = packet::icmp_error_quote(packet).and_then(packet::source);
        self.judge(delivery::check_error(node, pod, quoted))
    }

    /// No probe is for a node itself: its address was a pod's on another node.
    fn reach_host(&mut self, node: NodeId, probe: Option<u64>) -> Verdict {
        self.step(node, probe, PacketStep::HostGets);
        self.judge_drop(node, probe, Dropped::ByReceiversKernel(LinuxDrop::NoSuchPod))
    }

    fn drop_packet(&mut self, node: NodeId, probe: Option<u64>, dropped: Dropped) -> Verdict {
        let step = match dropped {
            Dropped::BySendersKernel(reason) | Dropped::ByReceiversKernel(reason) => {
                PacketStep::DroppedByKernel(reason)
            }
            Dropped::WithoutTable => PacketStep::NoTable,
            Dropped::Unreceived => PacketStep::NobodyListens,
            Dropped::Outbound(reason) | Dropped::Inbound(reason) => PacketStep::DroppedByForwarder(reason),
        };
        self.step(node, probe, step);
        self.judge_drop(node, probe, dropped)
    }

    fn judge_drop(&mut self, node: NodeId, probe: Option<u64>, dropped: Dropped) -> Verdict {
        let Some(probe) = probe.and_then(|id| self.probes.get_mut(id)).copied() else {
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
        self.settle_probe(Some(probe.id), fate);
        Ok(())
    }
}
