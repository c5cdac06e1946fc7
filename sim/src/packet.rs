//! IPv4 packets as pods and kernels make them: a small model of its own, so that the engine is not judged by
//! itself.

mod fragment;
mod icmp_error;

use std::net::{Ipv4Addr, SocketAddrV4};

pub(crate) use fragment::{forbids_fragments, fragments};
pub(crate) use icmp_error::{Problem, icmp_error, may_be_answered};

/// The time to live that pods start with (Linux's default).
pub(crate) const TTL: u8 = 64;

const HEADER: usize = 20;
const UDP_HEADER: usize = 8;
const ICMP_HEADER: usize = 8;
const PORT: u16 = 7;

/// Makes a UDP datagram to the echo port.
pub(crate) fn udp(source: Ipv4Addr, destination: Ipv4Addr, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let [source, destination] = [source, destination].map(|address| SocketAddrV4::new(address, PORT));
    udp_between(source, destination, ttl, payload)
}

/// Makes a UDP datagram.
pub(crate) fn udp_between(from: SocketAddrV4, to: SocketAddrV4, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let (source, destination) = (*from.ip(), *to.ip());
    let length = UDP_HEADER + payload.len();
    let mut packet = header(source, destination, ttl, UDP, length);
    packet.extend(from.port().to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    packet.extend(as_u16(length).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(payload);
    let pseudo = [
        checksum_part(&source.octets()),
        checksum_part(&destination.octets()),
        u64::from(UDP),
        u64::from(as_u16(length)),
        checksum_part(packet.get(HEADER..).unwrap_or_default()),
    ];
    let sum = match fold(pseudo.iter().sum()) {
        0 => u16::MAX,
        sum => sum,
    };
    put_u16(&mut packet, HEADER + 6, sum);
    packet
}

/// Makes an ICMP echo request or reply.
pub(crate) fn icmp_echo(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    ttl: u8,
    kind: Echo,
    payload: &[u8],
) -> Vec<u8> {
    let mut packet = header(source, destination, ttl, ICMP, ICMP_HEADER + payload.len());
    packet.extend([kind.icmp_type(), 0, 0, 0, 0, 1, 0, 1]);
    packet.extend(payload);
    let sum = fold(checksum_part(packet.get(HEADER..).unwrap_or_default()));
    put_u16(&mut packet, HEADER + 2, sum);
    packet
}

/// Which half of a ping.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Echo {
    Request,
    Reply,
}

impl Echo {
    const fn icmp_type(self) -> u8 {
        match self {
            Self::Request => 8,
            Self::Reply => 0,
        }
    }
}

pub(crate) fn source(packet: &[u8]) -> Option<Ipv4Addr> {
    address_at(packet, 12)
}

pub(crate) fn destination(packet: &[u8]) -> Option<Ipv4Addr> {
    address_at(packet, 16)
}

pub(crate) fn ttl(packet: &[u8]) -> Option<u8> {
    packet.get(8).copied()
}

/// Returns what an ICMP error is about: the quoted packet, as far as it is quoted.
pub(crate) fn icmp_error_quote(packet: &[u8]) -> Option<&[u8]> {
    let is_icmp = packet.get(9) == Some(&ICMP);
    let is_error = matches!(packet.get(HEADER), Some(3 | 11));
    (is_icmp && is_error).then(|| packet.get(HEADER + ICMP_HEADER..))?
}

/// Tells whether version, lengths and header checksum are right.
pub(crate) fn is_valid(packet: &[u8]) -> bool {
    let Some(first) = packet.first() else {
        return false;
    };
    let header_length = usize::from(first & 0x0f) * 4;
    let Some(header) = packet.get(..header_length) else {
        return false;
    };
    first >> 4 == 4
        && header_length >= HEADER
        && u16_at(packet, 2).map(usize::from) == Some(packet.len())
        && fold(checksum_part(header)) == 0
}

/// Tells whether a valid packet's UDP or ICMP checksum is right, too, as the pod that gets it finds out.
pub(crate) fn has_right_checksum(packet: &[u8]) -> bool {
    let length = packet.first().map_or(0, |first| usize::from(first & 0x0f) * 4);
    let transport = packet.get(length..).unwrap_or_default();
    let pseudo = match packet.get(9) {
        Some(&UDP) => {
            let addresses = checksum_part(packet.get(12..20).unwrap_or_default());
            addresses + u64::from(UDP) + u64::from(as_u16(transport.len()))
        }
        Some(_) | None => 0,
    };
    fold(pseudo + checksum_part(transport)) == 0
}

/// Returns the checksum over bytes (RFC 1071).
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    fold(checksum_part(bytes))
}

/// Lowers the time to live by one and mends the checksum; tells whether the packet may go on.
pub(crate) fn decrement_ttl(packet: &mut [u8]) -> bool {
    let Some(ttl) = packet.get_mut(8) else {
        return false;
    };
    if *ttl <= 1 {
        return false;
    }
    *ttl -= 1;
    mend_checksum(packet);
    true
}

/// Changes the source and mends the header's checksum.
pub(crate) fn set_source(packet: &mut [u8], source: Ipv4Addr) {
    if let Some(bytes) = packet.get_mut(12..16) {
        bytes.copy_from_slice(&source.octets());
        mend_checksum(packet);
    }
}

fn mend_checksum(packet: &mut [u8]) {
    put_u16(packet, 10, 0);
    let length = packet.first().map_or(0, |first| usize::from(first & 0x0f) * 4);
    let sum = fold(checksum_part(packet.get(..length).unwrap_or_default()));
    put_u16(packet, 10, sum);
}

const ICMP: u8 = 1;
const UDP: u8 = 17;

fn header(source: Ipv4Addr, destination: Ipv4Addr, ttl: u8, protocol: u8, payload: usize) -> Vec<u8> {
    let mut packet = Vec::with_capacity(HEADER + payload);
    packet.extend([0x45, 0]);
    packet.extend(as_u16(HEADER + payload).to_be_bytes());
    packet.extend([0, 0, 0x40, 0, ttl, protocol, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    let sum = fold(checksum_part(&packet));
    put_u16(&mut packet, 10, sum);
    packet
}

/// Adds up 16-bit words (RFC 1071), an odd byte at the end counting as the high half of a word.
fn checksum_part(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2);
    words
        .map(|word| match *word {
            [high, low] => u64::from(u16::from_be_bytes([high, low])),
            [high] => u64::from(u16::from_be_bytes([high, 0])),
            _ => 0,
        })
        .sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !as_u16(usize::try_from(sum).unwrap_or_default())
}

fn as_u16(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

fn u16_at(packet: &[u8], at: usize) -> Option<u16> {
    let bytes: [u8; 2] = packet.get(at..at + 2)?.try_into().ok()?;
    Some(u16::from_be_bytes(bytes))
}

fn put_u16(packet: &mut [u8], at: usize, value: u16) {
    if let Some(bytes) = packet.get_mut(at..at + 2) {
        bytes.copy_from_slice(&value.to_be_bytes());
    }
}

fn address_at(packet: &[u8], at: usize) -> Option<Ipv4Addr> {
    let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
    Some(Ipv4Addr::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_valid_for_an_independent_parser() {
        let udp = udp(A, B, 64, b"odd");
        let ping = icmp_echo(A, B, 64, Echo::Request, b"ping");

        let udp = etherparse::SlicedPacket::from_ip(&udp).unwrap();
        let ping = etherparse::SlicedPacket::from_ip(&ping).unwrap();

        let Some(etherparse::TransportSlice::Udp(udp)) = udp.transport else {
            panic!("not UDP");
        };
        let Some(etherparse::TransportSlice::Icmpv4(ping)) = ping.transport else {
            panic!("not ICMP");
        };
        let expected = udp
            .to_header()
            .calc_checksum_ipv4_raw(A.octets(), B.octets(), udp.payload());
        assert_eq!(udp.checksum(), expected.unwrap());
        assert_eq!(
            ping.header().icmp_type.calc_checksum(ping.payload()),
            ping.checksum()
        );
    }

    #[test]
    fn a_lower_ttl_keeps_the_checksum_right() {
        let mut packet = udp(A, B, 2, b"");

        assert!(decrement_ttl(&mut packet));
        assert!(is_valid(&packet));
        assert_eq!(ttl(&packet), Some(1));
        assert!(!decrement_ttl(&mut packet));
    }

    #[test]
    fn a_pod_notices_a_damaged_payload() {
        for good in [udp(A, B, 64, b"odd"), icmp_echo(A, B, 64, Echo::Reply, b"ping")] {
            let mut bad = good.clone();
            *bad.last_mut().unwrap() ^= 1;

            assert!(has_right_checksum(&good));
            assert!(is_valid(&bad) && !has_right_checksum(&bad));
        }
    }

    #[test]
    fn damage_is_noticed() {
        let good = udp(A, B, 64, b"payload");
        let mut cases = vec![Vec::new(), vec![0x45], good[..30].to_vec()];
        for at in [0, 2, 8, 10, 12, 16] {
            let mut bad = good.clone();
            bad[at] ^= 0x11;
            cases.push(bad);
        }

        assert!(is_valid(&good));
        assert!(cases.iter().all(|bad| !is_valid(bad)));
    }

    const A: Ipv4Addr = Ipv4Addr::new(10, 5, 1, 2);
    const B: Ipv4Addr = Ipv4Addr::new(10, 5, 2, 2);
}
