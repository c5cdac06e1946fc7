//! Inner packets: what may leave a forwarder, judged by another parser and a plain search.

use std::net::{Ipv4Addr, SocketAddrV4};

use etherparse::{Icmpv4Slice, Ipv4HeaderSlice, icmpv4};
use ipnet::Ipv4Net;
use selvedge_engine::{
    DropReason, Forwarder, ForwardingTable, Inbound, Instant, Membership, Outbound, PacketCounters,
    TunnelParams,
};

/// The UDP port of every node.
const PORT: u16 = 8285;
/// The subnets of the other nodes, with their public IPs; one lies inside another.
const PEERS: [(&str, [u8; 4]); 4] = [
    ("10.5.2.0/24", [192, 0, 2, 2]),
    ("10.5.3.0/24", [192, 0, 2, 3]),
    ("10.5.3.128/25", [192, 0, 2, 4]),
    ("10.5.64.0/20", [192, 0, 2, 2]),
];

/// Gives a packet to a forwarder: the first two bytes say how, the rest is the packet.
///
/// Of the first byte, the bits from the lowest on: from the tunnel; membership (two bits); packet's length and
/// checksum made right; small MTU. The second byte is the last one of the sender's public IP.
///
/// # Panics
///
/// If a packet passes that should not, is changed where it should not be, or gets an improper ICMP error.
pub fn inner_packet(data: &[u8]) {
    let Some((&[how, sender], packet)) = data.split_first_chunk() else {
        return;
    };
    let mut packet = packet.to_vec();
    if how & 0x08 != 0 {
        make_right(&mut packet);
    }
    let case = Case {
        table: table(how),
        before: packet.clone(),
    };
    if how & 0x01 == 0 {
        case.check_outbound(packet);
    } else {
        case.check_inbound(packet, Ipv4Addr::new(192, 0, 2, sender));
    }
}

/// A packet as it came, and the table that decides about it.
struct Case {
    table: ForwardingTable,
    before: Vec<u8>,
}

impl Case {
    fn check_outbound(&self, mut packet: Vec<u8>) {
        let mut forwarder = Forwarder::new();
        let (sent, dropped) = match forwarder.outbound(&self.table, &mut packet, Instant::ZERO) {
            Outbound::Send(to) => {
                self.check_sent(&packet, to);
                (1, None)
            }
            Outbound::Reply { reason, error } => {
                self.check_error(reason, error);
                (0, Some(reason))
            }
            Outbound::Drop(reason) => (0, Some(reason)),
        };
        self.check_dropped(&packet, dropped);
        let counters = forwarder.counters();
        assert_eq!((counters.sent, counters.delivered), (sent, 0));
        assert_counted(counters, dropped);
    }

    fn check_inbound(&self, mut packet: Vec<u8>, from: Ipv4Addr) {
        let mut forwarder = Forwarder::new();
        let (delivered, dropped) = match forwarder.inbound(&self.table, from, &mut packet, Instant::ZERO) {
            Inbound::Deliver => {
                self.check_delivered(&packet, from);
                (1, None)
            }
            Inbound::Reply { reason, to, error } => {
                assert_eq!(to, SocketAddrV4::new(from, PORT));
                assert!(holds(from, self.header().source_addr()));
                self.check_error(reason, error);
                (0, Some(reason))
            }
            Inbound::Drop(reason) => (0, Some(reason)),
        };
        self.check_dropped(&packet, dropped);
        let counters = forwarder.counters();
        assert_eq!((counters.sent, counters.delivered), (0, delivered));
        assert_counted(counters, dropped);
    }

    fn check_sent(&self, packet: &[u8], to: SocketAddrV4) {
        self.check_passed(packet);
        let header = self.header();
        let destination = header.destination_addr();
        assert!(!self.table.params().subnet.contains(&destination));
        assert_eq!(Some(*to.ip()), next_hop(destination));
        assert_eq!(to.port(), PORT);
        let fits = self.before.len() <= self.table.params().mtu as usize;
        assert!(fits || !header.dont_fragment());
    }

    fn check_delivered(&self, packet: &[u8], from: Ipv4Addr) {
        self.check_passed(packet);
        let params = self.table.params();
        let header = self.header();
        assert!(params.subnet.contains(&header.destination_addr()));
        assert!(!params.subnet.contains(&header.source_addr()));
        if params.membership == Membership::Enforce {
            assert!(holds(from, header.source_addr()));
        }
    }

    /// Checks that a packet was proper and changed in its TTL and checksum alone.
    fn check_passed(&self, packet: &[u8]) {
        let before = self.header();
        assert!(self.is_proper(), "passed: {:02x?}", self.before);
        let after = Ipv4HeaderSlice::from_slice(packet).expect("a packet that passes has a header");
        assert!(after.ttl() >= 1);
        assert_eq!(after.ttl(), before.ttl() - 1);
        assert_eq!(after.header_checksum(), checksum(after.slice()));
        let mut undone = packet.to_vec();
        undone[8] = self.before[8];
        undone[10..12].copy_from_slice(&self.before[10..12]);
        assert_eq!(undone, self.before);
    }

    /// Checks that a packet that does not pass is left alone, and that what is said about it is true.
    fn check_dropped(&self, packet: &[u8], reason: Option<DropReason>) {
        let Some(reason) = reason else { return };
        assert_eq!(packet, self.before);
        match reason {
            DropReason::Truncated => assert!(self.before.len() < 60),
            DropReason::NotIpv4 => assert_ne!(self.before[0] >> 4, 4),
            DropReason::BadHeaderLength => assert!(self.before[0] & 0x0f < 5),
            DropReason::BadTotalLength | DropReason::BadChecksum => assert!(!self.is_proper()),
            DropReason::TtlExceeded => assert!(self.header().ttl() <= 1),
            DropReason::TooBig => assert!(self.before.len() > self.table.params().mtu as usize),
            DropReason::NoRoute => {
                let destination = self.header().destination_addr();
                let is_own = self.table.params().subnet.contains(&destination);
                assert!(is_own || next_hop(destination).is_none());
            }
            DropReason::NotOurs => {
                let destination = self.header().destination_addr();
                assert!(!self.table.params().subnet.contains(&destination));
            }
            DropReason::OwnSource => {
                let source = self.header().source_addr();
                assert!(self.table.params().subnet.contains(&source));
            }
            DropReason::BadSource | DropReason::BadDestination => assert!(self.is_proper()),
            DropReason::UnknownSender | DropReason::ForeignSource => {
                assert_eq!(self.table.params().membership, Membership::Enforce);
            }
        }
    }

    /// Checks an ICMP error by RFC 792, RFC 1122 3.2.2 and RFC 1812 4.3.2.
    fn check_error(&self, reason: DropReason, error: &[u8]) {
        let offender = self.header();
        assert!(error.len() <= 576);
        let header = Ipv4HeaderSlice::from_slice(error).expect("an error has a header");
        assert_eq!(header.header_checksum(), checksum(header.slice()));
        assert_eq!(usize::from(header.total_len()), error.len());
        assert_eq!(header.source_addr(), self.table.params().address);
        assert_eq!(header.destination_addr(), offender.source_addr());
        assert!(self.is_proper());
        assert_eq!(offender.fragments_offset().value(), 0);
        if offender.protocol().0 == 1 {
            let kind = self.before.get(offender.slice().len());
            let is_error = kind.is_none_or(|kind| matches!(kind, 3 | 4 | 5 | 11 | 12));
            assert!(!is_error, "an error about an error");
        }

        let icmp = Icmpv4Slice::from_slice(&error[header.slice().len()..]).expect("an error is ICMP");
        let checksum = icmp.icmp_type().calc_checksum(icmp.payload());
        assert_eq!(icmp.checksum(), checksum);
        assert!(self.before.starts_with(icmp.payload()));
        assert!(icmp.payload().len() >= self.before.len().min(offender.slice().len() + 8));
        let expected = match reason {
            DropReason::TtlExceeded => (icmpv4::TYPE_TIME_EXCEEDED, 0),
            DropReason::NoRoute => (icmpv4::TYPE_DEST_UNREACH, 0),
            DropReason::TooBig => (icmpv4::TYPE_DEST_UNREACH, 4),
            DropReason::Truncated
            | DropReason::NotIpv4
            | DropReason::BadHeaderLength
            | DropReason::BadTotalLength
            | DropReason::BadChecksum
            | DropReason::BadSource
            | DropReason::BadDestination
            | DropReason::NotOurs
            | DropReason::OwnSource
            | DropReason::UnknownSender
            | DropReason::ForeignSource => panic!("{} is never answered", reason.name()),
        };
        assert_eq!((icmp.type_u8(), icmp.code_u8()), expected);
    }

    /// Tells whether the packet is whole and its checksum right.
    fn is_proper(&self) -> bool {
        Ipv4HeaderSlice::from_slice(&self.before).is_ok_and(|header| {
            usize::from(header.total_len()) == self.before.len()
                && header.header_checksum() == checksum(header.slice())
        })
    }

    fn header(&self) -> Ipv4HeaderSlice<'_> {
        Ipv4HeaderSlice::from_slice(&self.before).expect("the packet has a header")
    }
}

fn table(how: u8) -> ForwardingTable {
    let params = TunnelParams {
        network: net("10.5.0.0/16"),
        subnet: net("10.5.1.0/24"),
        address: Ipv4Addr::new(10, 5, 1, 0),
        mtu: if how & 0x10 == 0 { 1472 } else { 600 },
        port: PORT,
        membership: match how >> 1 & 0x03 {
            0 => Membership::Off,
            1 => Membership::Log,
            _ => Membership::Enforce,
        },
    };
    ForwardingTable::new(params, peers())
}

fn peers() -> impl Iterator<Item = (Ipv4Net, Ipv4Addr)> {
    PEERS
        .into_iter()
        .map(|(subnet, public_ip)| (net(subnet), Ipv4Addr::from(public_ip)))
}

fn next_hop(destination: Ipv4Addr) -> Option<Ipv4Addr> {
    let matching = peers().filter(|(subnet, _)| subnet.contains(&destination));
    matching
        .max_by_key(|(subnet, _)| subnet.prefix_len())
        .map(|(_, public_ip)| public_ip)
}

fn holds(public_ip: Ipv4Addr, address: Ipv4Addr) -> bool {
    peers().any(|(subnet, holder)| holder == public_ip && subnet.contains(&address))
}

fn assert_counted(counters: &PacketCounters, dropped: Option<DropReason>) {
    for reason in DropReason::ALL {
        let expected = u64::from(dropped == Some(reason));
        assert_eq!(counters.dropped(reason), expected, "{}", reason.name());
    }
}

/// Writes the packet's true length and checksum into its header, which random bytes never hit on.
fn make_right(packet: &mut [u8]) {
    let Ok(total_len) = u16::try_from(packet.len()) else {
        return;
    };
    if packet.len() < 20 {
        return;
    }
    packet[2..4].copy_from_slice(&total_len.to_be_bytes());
    let Ok(header) = Ipv4HeaderSlice::from_slice(packet) else {
        return;
    };
    let checksum = checksum(header.slice());
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// Computes the checksum of an IPv4 header from its bytes: etherparse's forgets the reserved flag.
fn checksum(header: &[u8]) -> u16 {
    let words = header
        .chunks_exact(2)
        .enumerate()
        .filter(|(place, _)| *place != 5);
    let sum: u32 = words
        .map(|(_, word)| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum();
    // The sum modulo 2^16 - 1, which is zero only for a header of zeros.
    let folded = u16::try_from(sum % 0xffff).unwrap_or_default();
    !if folded == 0 && sum != 0 { 0xffff } else { folded }
}

fn net(text: &str) -> Ipv4Net {
    text.parse().expect("the network is valid")
}
