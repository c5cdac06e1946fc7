//! Packets between all pods all the time, and which of them were lost.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use etherparse::{IpNumber, Ipv4HeaderSlice, PacketBuilder, UdpHeaderSlice};

use super::{TurmoilCluster, TurmoilNode};

/// How long a packet may be under way.
const PATIENCE: Duration = Duration::from_secs(1);

/// What became of the packets from one node's pod to another's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Loss {
    /// The sender.
    pub from: usize,
    /// The receiver.
    pub to: usize,
    /// How many were sent.
    pub sent: usize,
    /// How many did not arrive.
    pub lost: usize,
    /// For how long none arrived at most.
    pub longest: Duration,
}

/// A packet from each pod to each other, over and over.
#[derive(Debug)]
pub(super) struct Traffic {
    interval: Duration,
    next: Duration,
    flows: Vec<Flow>,
}

#[derive(Debug)]
struct Flow {
    from: usize,
    to: usize,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    sent: u32,
    arrived: BTreeSet<u32>,
}

impl TurmoilCluster {
    /// Sends a packet from each pod to each other from now on, again after each `interval`; what is under way of
    /// earlier traffic is waited for.
    ///
    /// # Panics
    ///
    /// If a node has no subnet to put a pod in.
    pub fn start_traffic(&mut self, interval: Duration) {
        self.traffic = None;
        self.run_for(PATIENCE);
        for node in &self.nodes {
            node.tun.take_delivered();
        }
        let pairs = (0..self.nodes.len()).flat_map(|from| (0..self.nodes.len()).map(move |to| (from, to)));
        let flows = pairs.filter(|(from, to)| from != to).map(|(from, to)| Flow {
            from,
            to,
            source: self.nodes[from].pod(),
            destination: self.nodes[to].pod(),
            sent: 0,
            arrived: BTreeSet::new(),
        });
        let traffic = Traffic {
            interval,
            next: self.sim.elapsed(),
            flows: flows.collect(),
        };
        self.traffic = Some(traffic);
    }

    /// Stops the traffic, waits for what is under way, and tells what was lost.
    ///
    /// # Panics
    ///
    /// If there was no traffic.
    pub fn stop_traffic(&mut self) -> Vec<Loss> {
        let traffic = self.traffic.as_mut().expect("there is traffic");
        traffic.next = Duration::MAX;
        self.run_for(PATIENCE);
        let traffic = self.traffic.take().expect("there is traffic");
        traffic
            .flows
            .iter()
            .map(|flow| flow.loss(traffic.interval))
            .collect()
    }

    /// Stops the traffic and checks that every single packet arrived.
    ///
    /// # Panics
    ///
    /// If one did not, or none was sent.
    pub fn assert_traffic_was_whole(&mut self) {
        let losses = self.stop_traffic();
        assert!(
            losses.iter().all(|loss| loss.sent > 0 && loss.lost == 0),
            "{losses:#?}"
        );
    }
}

impl Traffic {
    pub(super) fn step(&mut self, now: Duration, nodes: &[TurmoilNode]) {
        self.collect(nodes);
        if now < self.next {
            return;
        }
        self.next += self.interval;
        for flow in &mut self.flows {
            nodes[flow.from].tun.route(flow.packet());
            flow.sent += 1;
        }
    }

    fn collect(&mut self, nodes: &[TurmoilNode]) {
        for (to, node) in nodes.iter().enumerate() {
            for packet in node
                .tun
                .take_delivered()
                .into_iter()
                .filter(|packet| !is_icmp(packet))
            {
                let flow = self
                    .flows
                    .iter_mut()
                    .find(|flow| flow.to == to && flow.owns(&packet));
                let flow =
                    flow.unwrap_or_else(|| panic!("{} got a stranger's packet: {packet:x?}", node.name));
                let number = number(&packet).expect("a number");
                assert!(number < flow.sent, "packet {number} was never sent");
                assert!(flow.arrived.insert(number), "packet {number} arrived twice");
            }
        }
    }
}

impl Flow {
    fn packet(&self) -> Vec<u8> {
        let payload = self.sent.to_be_bytes();
        let builder =
            PacketBuilder::ipv4(self.source.octets(), self.destination.octets(), 63).udp(1234, 5678);
        let mut packet = vec![0; builder.size(payload.len())];
        builder
            .write_to_slice(&mut packet, &payload)
            .expect("the packet is as long as it says");
        packet
    }

    /// Tells whether a packet is one of this flow's.
    fn owns(&self, packet: &[u8]) -> bool {
        Ipv4HeaderSlice::from_slice(packet).is_ok_and(|header| {
            header.source_addr() == self.source && header.destination_addr() == self.destination
        })
    }

    fn loss(&self, interval: Duration) -> Loss {
        let (mut longest, mut running) = (0, 0);
        for number in 0..self.sent {
            running = if self.arrived.contains(&number) {
                0
            } else {
                running + 1
            };
            longest = running.max(longest);
        }
        let sent = self.sent as usize;
        Loss {
            from: self.from,
            to: self.to,
            sent,
            lost: sent - self.arrived.len(),
            longest: interval * longest,
        }
    }
}

/// Tells whether a packet is what a node answers to one that it cannot forward.
fn is_icmp(packet: &[u8]) -> bool {
    Ipv4HeaderSlice::from_slice(packet).is_ok_and(|header| header.protocol() == IpNumber::ICMP)
}

/// Reads which packet of its flow this is.
fn number(packet: &[u8]) -> Option<u32> {
    let header = Ipv4HeaderSlice::from_slice(packet).ok()?;
    let udp = packet.get(header.slice().len()..)?;
    UdpHeaderSlice::from_slice(udp).ok()?;
    let payload = udp.get(8..12)?;
    Some(u32::from_be_bytes(payload.try_into().ok()?))
}
