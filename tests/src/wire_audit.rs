//! Whether what goes over the underlay is what the `udp` backend may put there: in every datagram one whole IPv4 packet,
//! with full checksums (backends.md, 3.3).

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use etherparse::checksum::Sum16BitWords;
use etherparse::{
    Icmpv4Slice, IpNumber, Ipv4HeaderSlice, Ipv4Slice, NetSlice, SlicedPacket, TcpSlice, TransportSlice,
    UdpSlice,
};
use selvedge_host::lab::Namespace;

use crate::capture::Capture;

/// How long the audit waits for another frame before it looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(50);

/// How many faults are told in words.
const TOLD: usize = 10;

/// What is expected on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// The node whose incoming datagrams are judged.
    pub to: Ipv4Addr,
    /// The tunnel's port.
    pub port: u16,
    /// The largest inner packet, in bytes.
    pub tunnel_mtu: u32,
    /// What the wire is like.
    pub wire: WireKind,
}

/// What a frame on the wire can be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WireKind {
    /// What a plain network card sends: one datagram, with its checksum.
    Cut,
    /// Also a super-packet, which is cut where it leaves the machine, and a checksum that is completed there.
    Whole,
}

/// What was judged, and what was wrong.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Datagrams of the tunnel.
    pub datagrams: u64,
    /// Frames that held many datagrams.
    pub super_packets: u64,
    /// Whole inner packets of TCP.
    pub tcp: u64,
    /// Inner datagrams of UDP, those in fragments among them.
    pub udp: u64,
    /// Whole inner messages of ICMP.
    pub icmp: u64,
    /// Fragments of inner packets.
    pub fragments: u64,
    /// How much was wrong.
    pub faults: u64,
    told: Vec<String>,
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} datagrams (in {} super-packets and alone): {} of TCP, {} of UDP, {} of ICMP, {} fragments; {} faults: {}",
            self.datagrams,
            self.super_packets,
            self.tcp,
            self.udp,
            self.icmp,
            self.fragments,
            self.faults,
            self.told.join("; ")
        )
    }
}

/// An audit under way.
#[derive(Debug)]
pub struct WireAudit {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Findings>,
}

impl WireAudit {
    /// Begins to judge what comes to a namespace.
    ///
    /// # Panics
    ///
    /// If frames cannot be captured there.
    pub fn start(namespace: &Namespace, expected: Expected) -> Self {
        let capture = Capture::of_frames(namespace);
        let ended = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&ended);
        let mut auditor = Auditor::new(expected);
        let thread = thread::spawn(move || {
            loop {
                // What is in the capture's queue when the end comes is judged too.
                let is_last = until.load(Ordering::Acquire);
                capture.find(GLANCE, |frame| {
                    auditor.judge(frame);
                    None::<()>
                });
                if is_last {
                    return auditor.finish();
                }
            }
        });
        Self { ended, thread }
    }

    /// Ends the audit and returns what it found.
    ///
    /// # Panics
    ///
    /// If it could not judge on.
    pub fn finish(self) -> Findings {
        self.ended.store(true, Ordering::Release);
        self.thread.join().expect("the audit ends")
    }
}

/// The type of a UDP super-packet in a `virtio_net_hdr`, and the flag of a checksum that is not complete.
const GSO_UDP_L4: u8 = 5;
const NEEDS_CHECKSUM: u8 = 1;

/// An inner packet that comes in fragments: its source, destination, protocol and identification.
type FragmentedPacket = (Ipv4Addr, Ipv4Addr, u8, u16);

struct Auditor {
    expected: Expected,
    findings: Findings,
    /// What is missing, in bytes counted from each fragment's place.
    fragments: BTreeMap<FragmentedPacket, Vec<Fragment>>,
}

struct Fragment {
    start: usize,
    is_last: bool,
    payload: Vec<u8>,
}

impl Auditor {
    fn new(expected: Expected) -> Self {
        Self {
            expected,
            findings: Findings::default(),
            fragments: BTreeMap::new(),
        }
    }

    /// Judges a frame with its `virtio_net_hdr`; what is no datagram of the tunnel is passed over.
    fn judge(&mut self, captured: &[u8]) {
        let Some((vnet, frame)) = captured.split_first_chunk::<10>() else {
            return;
        };
        let Ok(frame) = SlicedPacket::from_ethernet(frame) else {
            return;
        };
        let (Some(NetSlice::Ipv4(outer)), Some(TransportSlice::Udp(udp))) = (frame.net, frame.transport)
        else {
            return;
        };
        if outer.header().destination_addr() != self.expected.to
            || udp.destination_port() != self.expected.port
        {
            return;
        }
        let [flags, gso_type, _, _, low, high, ..] = *vnet;
        let segment_len = usize::from(u16::from_ne_bytes([low, high]));
        if let Err(fault) = judge_outer(&outer, &udp, flags & NEEDS_CHECKSUM != 0, self.expected.wire) {
            self.fault(&fault);
        }
        match (gso_type, self.expected.wire) {
            (0, _) => self.judge_datagram(udp.payload()),
            (GSO_UDP_L4, WireKind::Whole) if segment_len > 0 => {
                self.findings.super_packets += 1;
                for datagram in udp.payload().chunks(segment_len) {
                    self.judge_datagram(datagram);
                }
            }
            (other, wire) => self.fault(&format!(
                "a super-packet of type {other} on a wire that is {wire:?}"
            )),
        }
    }

    fn judge_datagram(&mut self, datagram: &[u8]) {
        self.findings.datagrams += 1;
        if let Err(fault) = self.judge_inner(datagram) {
            self.fault(&fault);
        }
    }

    fn judge_inner(&mut self, datagram: &[u8]) -> Result<(), String> {
        let packet = Ipv4Slice::from_slice(datagram).map_err(|error| format!("no IPv4 packet: {error}"))?;
        let header = packet.header();
        let (length, limit) = (datagram.len(), self.expected.tunnel_mtu);
        if usize::from(header.total_len()) != length {
            return Err(format!(
                "a packet of {} bytes in a datagram of {length}",
                header.total_len()
            ));
        }
        if u32::try_from(length).is_ok_and(|length| length > limit) {
            return Err(format!("{length} bytes in a tunnel for {limit}"));
        }
        judge_header(&header)?;
        if header.is_fragmenting_payload() {
            self.findings.fragments += 1;
            return self.judge_fragment(&header, packet.payload().payload);
        }
        self.judge_payload(&header, packet.payload().payload)
    }

    /// Keeps a fragment; when its packet is complete, that is judged.
    fn judge_fragment(&mut self, header: &Ipv4HeaderSlice<'_>, payload: &[u8]) -> Result<(), String> {
        let key = (
            header.source_addr(),
            header.destination_addr(),
            header.protocol().0,
            header.identification(),
        );
        let fragments = self.fragments.entry(key).or_default();
        fragments.push(Fragment {
            start: usize::from(header.fragments_offset().byte_offset()),
            is_last: !header.more_fragments(),
            payload: payload.to_vec(),
        });
        fragments.sort_by_key(|fragment| fragment.start);
        let Some(whole) = assembled(fragments) else {
            return Ok(());
        };
        self.fragments.remove(&key);
        self.judge_payload(header, &whole)
    }

    fn judge_payload(&mut self, header: &Ipv4HeaderSlice<'_>, payload: &[u8]) -> Result<(), String> {
        let (from, to) = (header.source_addr(), header.destination_addr());
        let (name, counter) = match header.protocol() {
            IpNumber::TCP => {
                TcpSlice::from_slice(payload).map_err(|error| format!("no TCP: {error}"))?;
                ("TCP", &mut self.findings.tcp)
            }
            IpNumber::UDP => {
                let udp = UdpSlice::from_slice(payload).map_err(|error| format!("no UDP: {error}"))?;
                if usize::from(udp.length()) != payload.len() || udp.checksum() == 0 {
                    return Err(format!(
                        "UDP from {from} to {to} of a wrong length or without checksum"
                    ));
                }
                ("UDP", &mut self.findings.udp)
            }
            IpNumber::ICMP => {
                Icmpv4Slice::from_slice(payload).map_err(|error| format!("no ICMP: {error}"))?;
                ("ICMP", &mut self.findings.icmp)
            }
            other => return Err(format!("protocol {} from {from} to {to}", other.0)),
        };
        *counter += 1;
        let pseudo_header = (header.protocol() != IpNumber::ICMP).then_some(header);
        if is_sum_right(pseudo_header, payload) {
            return Ok(());
        }
        Err(format!(
            "a wrong {name} checksum from {from} to {to}, {} bytes",
            payload.len()
        ))
    }

    fn finish(mut self) -> Findings {
        let incomplete = self.fragments.len();
        if incomplete > 0 {
            self.fault(&format!("{incomplete} packets of which fragments are missing"));
        }
        self.findings
    }

    fn fault(&mut self, what: &str) {
        self.findings.faults += 1;
        if self.findings.told.len() < TOLD {
            self.findings.told.push(what.to_owned());
        }
    }
}

fn judge_outer(
    outer: &Ipv4Slice<'_>,
    udp: &UdpSlice<'_>,
    is_sum_due: bool,
    wire: WireKind,
) -> Result<(), String> {
    judge_header(&outer.header())?;
    if !outer.header().dont_fragment() {
        return Err("an outer packet without DF".to_owned());
    }
    if usize::from(udp.length()) != outer.payload().payload.len() {
        return Err(format!(
            "a datagram of {} bytes that says {}",
            outer.payload().payload.len(),
            udp.length()
        ));
    }
    if is_sum_due && wire == WireKind::Whole {
        return Ok(());
    }
    if is_sum_due || !is_sum_right(Some(&outer.header()), outer.payload().payload) {
        return Err("a wrong outer checksum".to_owned());
    }
    Ok(())
}

fn judge_header(header: &Ipv4HeaderSlice<'_>) -> Result<(), String> {
    if header.header_checksum() == header.to_header().calc_header_checksum() {
        return Ok(());
    }
    Err(format!(
        "a wrong header checksum from {} to {}",
        header.source_addr(),
        header.destination_addr()
    ))
}

/// Tells whether the sum over a payload, its checksum in it, is what it is when that is right (RFC 1071); for TCP and UDP
/// with what they take from the IP header.
fn is_sum_right(pseudo_header: Option<&Ipv4HeaderSlice<'_>>, payload: &[u8]) -> bool {
    let mut sum = Sum16BitWords::new();
    if let Some(header) = pseudo_header {
        let length = u16::try_from(payload.len()).unwrap_or_default();
        sum = sum
            .add_4bytes(header.source())
            .add_4bytes(header.destination())
            .add_2bytes([0, header.protocol().0])
            .add_2bytes(length.to_be_bytes());
    }
    sum.add_slice(payload).ones_complement() == 0
}

/// Puts sorted fragments together if none is missing.
fn assembled(fragments: &[Fragment]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    for fragment in fragments {
        if fragment.start != whole.len() {
            return None;
        }
        whole.extend_from_slice(&fragment.payload);
        if fragment.is_last {
            return Some(whole);
        }
    }
    None
}

#[cfg(test)]
mod tests;
