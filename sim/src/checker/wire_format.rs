//! Every datagram and frame between nodes carries a valid IPv4 packet that fits the underlay, as a parser that is not ours
//! sees it.

use etherparse::{EtherType, Ethernet2Slice, Ipv4Slice};

use super::Verdict;
use crate::node_id::NodeId;
use crate::violation::{Finding, Invariant};

/// Checks a datagram's payload that the daemon of `node` sends.
pub(crate) fn check(node: NodeId, datagram: &[u8]) -> Verdict {
    judge(
        node,
        "a datagram that is no IPv4 packet",
        defect(datagram, MAX_PAYLOAD),
    )
}

/// Checks a packet that the kernel of `node` sends in a frame as it is.
pub(crate) fn check_frame(node: NodeId, packet: &[u8]) -> Verdict {
    judge(node, "a frame without an IPv4 packet", defect(packet, MTU))
}

/// Checks a datagram's payload that the kernel of `node` sends to the VXLAN port (RFC 7348, 5).
pub(crate) fn check_vxlan(node: NodeId, payload: &[u8]) -> Verdict {
    judge(node, "a datagram that is not VXLAN", vxlan_defect(payload))
}

/// Returns the packet in a VXLAN datagram's payload.
pub(crate) fn packet_in_vxlan(payload: &[u8]) -> Option<&[u8]> {
    payload.get(VXLAN_HEADER + ETHERNET_HEADER..)
}

/// The underlay's MTU, and what the outer IPv4 and UDP headers leave of it.
const MTU: usize = 1500;
const MAX_PAYLOAD: usize = MTU - 20 - 8;
const VXLAN_HEADER: usize = 8;
const ETHERNET_HEADER: usize = 14;
/// The only flag that is set: there is a network identifier.
const FLAGS: u8 = 0x08;

fn judge(node: NodeId, what: &str, wrong: Option<String>) -> Verdict {
    let Some(wrong) = wrong else {
        return Ok(());
    };
    let text = format!("{node} sends {what}: {wrong}");
    Err(Finding::new(Invariant::WireFormat, [node], text))
}

fn vxlan_defect(payload: &[u8]) -> Option<String> {
    let Some(([flags, r1, r2, r3, _, _, _, r4], frame)) = payload.split_first_chunk::<VXLAN_HEADER>() else {
        return Some("it has no VXLAN header".to_owned());
    };
    if *flags != FLAGS || [r1, r2, r3, r4] != [&0; 4] {
        return Some("flags or reserved bits of its VXLAN header are wrong".to_owned());
    }
    let frame = match Ethernet2Slice::from_slice_without_fcs(frame) {
        Ok(frame) => frame,
        Err(error) => return Some(error.to_string()),
    };
    let is_individual = |address: [u8; 6]| address[0] & 1 == 0 && address != [0; 6];
    if !is_individual(frame.source()) || !is_individual(frame.destination()) {
        return Some("its inner frame is not from one host to another".to_owned());
    }
    if frame.ether_type() != EtherType::IPV4 {
        return Some(format!("its inner frame is of type {:?}", frame.ether_type()));
    }
    defect(
        frame.payload().payload,
        MAX_PAYLOAD - VXLAN_HEADER - ETHERNET_HEADER,
    )
}

fn defect(bytes: &[u8], longest: usize) -> Option<String> {
    let packet = match Ipv4Slice::from_slice(bytes) {
        Ok(packet) => packet,
        Err(error) => return Some(error.to_string()),
    };
    let header = packet.header();
    let total = usize::from(header.total_len());
    if total != bytes.len() {
        return Some(format!(
            "its total length is {total}, but {} bytes were sent",
            bytes.len()
        ));
    }
    if total > longest {
        return Some(format!("its {total} bytes do not fit the underlay"));
    }
    let is_right = header.header_checksum() == header.to_header().calc_header_checksum();
    (!is_right).then(|| "its header checksum is wrong".to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::packet;

    #[test]
    fn a_valid_packet_passes_and_a_damaged_one_does_not() {
        let good = packet::udp(Ipv4Addr::new(10, 5, 1, 2), Ipv4Addr::new(10, 5, 2, 2), 62, b"x");
        let mut trailing = good.clone();
        trailing.push(0);
        let mut checksum = good.clone();
        checksum[10] ^= 1;

        let large = packet::udp(
            Ipv4Addr::new(10, 5, 1, 2),
            Ipv4Addr::new(10, 5, 2, 2),
            62,
            &[0; MAX_PAYLOAD],
        );

        assert_eq!(check(N1, &good), Ok(()));
        for bad in [&trailing[..], &checksum, &good[..25], b"", &large] {
            assert!(check(N1, bad).is_err());
        }
    }

    #[test]
    fn a_vxlan_datagram_passes_and_one_with_wrong_headers_or_a_wrong_packet_does_not() {
        let inner = packet::udp(Ipv4Addr::new(10, 5, 1, 2), Ipv4Addr::new(10, 5, 2, 2), 62, b"x");
        let mut good = vec![FLAGS, 0, 0, 0, 0, 0, 1, 0];
        good.extend([0x46, 0, 0, 0, 0, 2, 0x46, 0, 0, 0, 0, 1, 0x08, 0x00]);
        good.extend(&inner);
        let changed = |at: usize, value: u8| {
            let mut bad = good.clone();
            bad[at] = value;
            bad
        };

        assert_eq!(check_vxlan(N1, &good), Ok(()));
        assert_eq!(packet_in_vxlan(&good), Some(&inner[..]));
        let bad = [
            changed(0, 0x88),
            changed(3, 1),
            changed(7, 1),
            changed(8, 0xff),
            changed(14, 0x01),
            changed(21, 0x06),
            changed(32, 0xff),
            good[..7].to_vec(),
            good[..15].to_vec(),
        ];
        for (place, bad) in bad.iter().enumerate() {
            assert!(check_vxlan(N1, bad).is_err(), "{place}");
        }
        let large = packet::udp(
            Ipv4Addr::new(10, 5, 1, 2),
            Ipv4Addr::new(10, 5, 2, 2),
            62,
            &[0; 1451 - 28],
        );
        let too_large = [&good[..22], &large].concat();
        assert!(check_vxlan(N1, &too_large).is_err());
        assert_eq!(check_frame(N1, &large), Ok(()));
    }

    const N1: NodeId = NodeId::new(1);
}
