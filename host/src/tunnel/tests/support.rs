//! A path through the data path whose device and socket the test holds.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU16;

use etherparse::{Ipv4Header, PacketBuilder, SlicedPacket, TransportSlice};
use nix::errno::Errno;
use selvedge_engine::{
    Ecn, Forwarder, ForwardingTable, Gso, GsoKind, Instant, Membership, PartialChecksum, Segmentation,
    TunnelParams, VnetHeader,
};

use crate::tunnel::TransportCounters;
use crate::tunnel::device::{DeviceOffloads, PacketDevice};
use crate::tunnel::inbound::{InboundBatch, ReceiveBuffers};
use crate::tunnel::network_error::{NetworkError, NetworkProblem};
use crate::tunnel::offload::Offload;
use crate::tunnel::outbound::OutboundBatch;
use crate::tunnel::wake_up::WakeUp;
use crate::tunnel::wire::{Fragmentation, PacketSocket, Wire};

pub(super) const PEERS: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 2), Ipv4Addr::new(192, 0, 2, 3)];
const PORT: u16 = 8285;

/// A data path between a device and a socket that the test plays.
pub(super) struct Path {
    pub(super) device: StubDevice,
    pub(super) wire: Wire<StubSocket>,
    pub(super) table: ForwardingTable,
    pub(super) forwarder: Forwarder,
    pub(super) counters: TransportCounters,
    pub(super) outbound: OutboundBatch,
    pub(super) inbound: InboundBatch,
}

impl Path {
    pub(super) fn new(offloads: DeviceOffloads, segmentation: Offload) -> Self {
        Self {
            device: StubDevice::new(offloads),
            wire: Wire::new(StubSocket::new(segmentation)),
            table: table(),
            forwarder: Forwarder::new(),
            counters: TransportCounters::default(),
            outbound: OutboundBatch::new(),
            inbound: InboundBatch::new(offloads),
        }
    }

    pub(super) fn carry_outbound(&mut self) {
        let mut wake_up = WakeUp {
            forwarder: &mut self.forwarder,
            table: Some(&self.table),
            counters: &mut self.counters,
            now: Instant::ZERO,
        };
        self.outbound
            .carry(&self.device, &mut self.wire, &mut wake_up)
            .unwrap();
    }

    pub(super) fn heed(&mut self) {
        let mut wake_up = WakeUp {
            forwarder: &mut self.forwarder,
            table: Some(&self.table),
            counters: &mut self.counters,
            now: Instant::ZERO,
        };
        self.wire.heed(&mut wake_up);
    }

    pub(super) fn carry_all_outbound(&mut self) {
        while !self.device.routed.borrow().is_empty() {
            self.carry_outbound();
        }
    }

    pub(super) fn carry_inbound(&mut self) {
        let mut wake_up = WakeUp {
            forwarder: &mut self.forwarder,
            table: Some(&self.table),
            counters: &mut self.counters,
            now: Instant::ZERO,
        };
        self.inbound
            .carry(&self.device, &self.wire, &mut wake_up)
            .unwrap();
    }
}

pub(super) fn table() -> ForwardingTable {
    let params = TunnelParams {
        network: "10.5.0.0/16".parse().unwrap(),
        subnet: "10.5.1.0/24".parse().unwrap(),
        address: Ipv4Addr::new(10, 5, 1, 0),
        mtu: 1472,
        port: PORT,
        membership: Membership::Enforce,
    };
    let subnets = ["10.5.2.0/24", "10.5.3.0/24"].map(|subnet| subnet.parse().unwrap());
    ForwardingTable::new(params, subnets.into_iter().zip(PEERS))
}

pub(super) fn node(peer: usize) -> SocketAddrV4 {
    SocketAddrV4::new(PEERS[peer], PORT)
}

pub(super) fn udp(peer: usize, payload_len: usize) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4([10, 5, 1, 2], remote(peer), 63)
        .udp(40_000, 9_999)
        .write_to_vec(&mut packet, &bytes(payload_len))
        .unwrap();
    packet
}

/// Lets a framed packet be fragmented.
pub(super) fn without_df(mut framed: Vec<u8>) -> Vec<u8> {
    let packet = &mut framed[VnetHeader::LEN..];
    packet[6] &= !0x40;
    let mut header = Ipv4Header::from_slice(packet).unwrap().0;
    header.header_checksum = header.calc_header_checksum();
    packet[..Ipv4Header::MIN_LEN].copy_from_slice(&header.to_bytes());
    framed
}

pub(super) fn udp_framed(peer: usize, payload_len: usize) -> Vec<u8> {
    [
        &VnetHeader::Complete.to_bytes(),
        udp(peer, payload_len).as_slice(),
    ]
    .concat()
}

/// A super-packet of TCP as a device hands it out, header and all.
pub(super) fn super_packet(peer: usize, payload_len: usize, size: u16) -> Vec<u8> {
    let packet = tcp([10, 5, 1, 2], remote(peer), payload_len);
    [&gso_header(size).to_bytes(), packet.as_slice()].concat()
}

/// What a peer cuts a super-packet into.
pub(super) fn segments_from(peer: usize, payload_len: usize, size: u16) -> Vec<Vec<u8>> {
    let mut packet = tcp(remote(peer), [10, 5, 1, 2], payload_len);
    let Ok(Segmentation::Cut(cut)) = Segmentation::prepare(&gso_header(size), &mut packet) else {
        panic!("it is a super-packet");
    };
    let segment = |index| {
        let mut segment = vec![0; cut.header_len()];
        cut.write_header(&packet, index, &mut segment).unwrap();
        segment.extend_from_slice(&packet[cut.payload(index)]);
        segment
    };
    (0..cut.segments()).map(segment).collect()
}

pub(super) fn gso_header(size: u16) -> VnetHeader {
    VnetHeader::Super {
        gso: Gso {
            kind: GsoKind::TcpV4(Ecn::Plain),
            size: NonZeroU16::new(size).unwrap(),
        },
        checksum: PartialChecksum {
            start: 20,
            offset: 16,
        },
        header_len: 40,
    }
}

pub(super) fn tcp(from: [u8; 4], to: [u8; 4], payload_len: usize) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4(from, to, 63)
        .tcp(40_000, 80, 1_000, 512)
        .ack(7)
        .write_to_vec(&mut packet, &bytes(payload_len))
        .unwrap();
    packet
}

pub(super) fn remote(peer: usize) -> [u8; 4] {
    [10, 5, u8::try_from(2 + peer).unwrap(), 2]
}

pub(super) fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|index| u8::try_from(index % 251).unwrap()).collect()
}

pub(super) fn tcp_payload(packet: &[u8]) -> Vec<u8> {
    let sliced = SlicedPacket::from_ip(packet).unwrap();
    let Some(TransportSlice::Tcp(tcp)) = sliced.transport else {
        panic!("it is TCP");
    };
    tcp.payload().to_vec()
}

pub(super) fn unframed(written: &[u8]) -> (VnetHeader, Vec<u8>) {
    let (header, packet) = written.split_first_chunk().unwrap();
    (VnetHeader::parse(header).unwrap(), packet.to_vec())
}

/// A message as it was sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) to: SocketAddrV4,
    pub(super) segment_len: Option<u16>,
    pub(super) bytes: Vec<u8>,
}

impl Sent {
    pub(super) fn datagrams(&self) -> Vec<Vec<u8>> {
        let len = self.segment_len.map_or(self.bytes.len(), usize::from);
        self.bytes.chunks(len.max(1)).map(<[u8]>::to_vec).collect()
    }
}

pub(super) struct StubDevice {
    pub(super) offloads: DeviceOffloads,
    pub(super) routed: RefCell<VecDeque<Vec<u8>>>,
    pub(super) written: RefCell<Vec<Vec<u8>>>,
    pub(super) refuses_merged: Cell<Option<Errno>>,
}

impl StubDevice {
    pub(super) fn new(offloads: DeviceOffloads) -> Self {
        Self {
            offloads,
            routed: RefCell::default(),
            written: RefCell::default(),
            refuses_merged: Cell::default(),
        }
    }

    pub(super) fn route(&self, packet: Vec<u8>) {
        self.routed.borrow_mut().push_back(packet);
    }

    pub(super) fn take_written(&self) -> Vec<Vec<u8>> {
        self.written.take()
    }
}

impl PacketDevice for StubDevice {
    fn offloads(&self) -> DeviceOffloads {
        self.offloads
    }

    async fn readable(&self) -> io::Result<()> {
        Ok(())
    }

    fn try_recv(&self, packet: &mut [u8]) -> io::Result<usize> {
        let routed = self.routed.borrow_mut().pop_front();
        let routed = routed.ok_or(io::ErrorKind::WouldBlock)?;
        packet[..routed.len()].copy_from_slice(&routed);
        Ok(routed.len())
    }

    fn try_send(&self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        if let Some(errno) = self.refuses_merged.get()
            && parts.len() > 2
        {
            return Err(errno.into());
        }
        self.written.borrow_mut().push(joined(parts));
        Ok(())
    }
}

pub(super) struct StubSocket {
    pub(super) segmentation: Offload,
    pub(super) received: RefCell<VecDeque<(SocketAddrV4, Vec<u8>, usize)>>,
    pub(super) sent: RefCell<Vec<Sent>>,
    pub(super) tries: Cell<usize>,
    /// What a message of more than one datagram fails with.
    pub(super) refuses_many: Cell<Option<Errno>>,
    /// The largest packet that the path lets through, outer headers included.
    pub(super) path_mtu: Cell<Option<u32>>,
    pub(super) fragmentation: Cell<Fragmentation>,
    pub(super) errors: RefCell<VecDeque<NetworkError>>,
}

impl StubSocket {
    pub(super) fn new(segmentation: Offload) -> Self {
        Self {
            segmentation,
            received: RefCell::default(),
            sent: RefCell::default(),
            tries: Cell::default(),
            refuses_many: Cell::default(),
            path_mtu: Cell::default(),
            fragmentation: Cell::new(Fragmentation::Refused),
            errors: RefCell::default(),
        }
    }

    /// Lets datagrams come at once, as the kernel merges them.
    pub(super) fn receive(&self, from: SocketAddrV4, datagrams: &[Vec<u8>]) {
        let len = datagrams.first().map_or(0, Vec::len);
        self.received
            .borrow_mut()
            .push_back((from, datagrams.concat(), len));
    }

    pub(super) fn take_sent(&self) -> Vec<Sent> {
        self.sent.take()
    }
}

impl PacketSocket for StubSocket {
    fn segmentation(&self) -> Offload {
        self.segmentation
    }

    fn set_fragmentation(&self, fragmentation: Fragmentation) {
        self.fragmentation.set(fragmentation);
    }

    fn has_errors(&self) -> bool {
        !self.errors.borrow().is_empty()
    }

    fn try_recv_error(&self) -> Option<NetworkError> {
        self.errors.borrow_mut().pop_front()
    }

    async fn readable(&self) -> io::Result<()> {
        Ok(())
    }

    fn try_recv(&self, buffers: &mut ReceiveBuffers) -> io::Result<()> {
        let received = self.received.borrow_mut().pop_front();
        let (from, bytes, segment_len) = received.ok_or(io::ErrorKind::WouldBlock)?;
        buffers.receive_merged(from, &bytes, segment_len);
        Ok(())
    }

    fn try_send(&self, parts: &[IoSlice<'_>], to: SocketAddrV4, segment_len: Option<u16>) -> io::Result<()> {
        self.tries.set(self.tries.get() + 1);
        if let (Some(_), Some(errno)) = (segment_len, self.refuses_many.get()) {
            return Err(errno.into());
        }
        if let (None, Some(path_mtu)) = (segment_len, self.path_mtu.get())
            && joined(parts).len() + 28 > path_mtu as usize
            && self.fragmentation.get() == Fragmentation::Refused
        {
            let problem = NetworkProblem::TooBig { path_mtu };
            self.errors.borrow_mut().push_back(NetworkError { to, problem });
            return Err(Errno::EMSGSIZE.into());
        }
        self.sent.borrow_mut().push(Sent {
            to,
            segment_len,
            bytes: joined(parts),
        });
        Ok(())
    }
}

pub(super) fn joined(parts: &[IoSlice<'_>]) -> Vec<u8> {
    parts.iter().flat_map(|part| part.iter().copied()).collect()
}
