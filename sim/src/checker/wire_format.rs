//! Every datagram between nodes carries a valid IPv4 packet that fits the underlay, as a parser that is not ours sees it.

use etherparse::Ipv4Slice;

use super::Verdict;
use crate::node_id::NodeId;
use crate::violation::{Finding, Invariant};

/// Checks a datagram's payload that `node` sends.
pub(crate) fn check(node: NodeId, datagram: &[u8]) -> Verdict {
    let Some(wrong) = defect(datagram) else {
        return Ok(());
    };
    let text = format!("{node} sends a datagram that is no IPv4 packet: {wrong}");
    Err(Finding::new(Invariant::WireFormat, [node], text))
}

/// The underlay's MTU without the outer IPv4 and UDP headers.
const MAX_PAYLOAD: usize = 1500 - 20 - 8;

fn defect(datagram: &[u8]) -> Option<String> {
    let packet = match Ipv4Slice::from_slice(datagram) {
        Ok(packet) => packet,
        Err(error) => return Some(error.to_string()),
    };
    let header = packet.header();
    let total = usize::from(header.total_len());
    if total != datagram.len() {
        return Some(format!(
            "its total length is {total}, but {} bytes were sent",
            datagram.len()
        ));
    }
    if total > MAX_PAYLOAD {
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

    const N1: NodeId = NodeId::new(1);
}
