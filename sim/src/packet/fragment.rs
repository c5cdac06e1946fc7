//! Fragments of IPv4 packets (RFC 791, 3.2).

use super::{HEADER, checksum_part, fold, put_u16, u16_at};

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// Tells whether a packet must not be fragmented.
pub(crate) fn forbids_fragments(packet: &[u8]) -> bool {
    u16_at(packet, 6).is_some_and(|word| word & DONT_FRAGMENT != 0)
}

/// Cuts a packet into pieces of at most `mtu` bytes; none if it has options or nothing fits.
pub(crate) fn fragments(packet: &[u8], mtu: usize) -> Vec<Vec<u8>> {
    let (Some((header, data)), Some(word)) = (packet.split_at_checked(HEADER), u16_at(packet, 6)) else {
        return Vec::new();
    };
    // Offsets count in units of 8 bytes.
    let units = mtu.saturating_sub(HEADER) / 8;
    if units == 0 || packet.first() != Some(&0x45) {
        return Vec::new();
    }
    let pieces = data.chunks(units * 8);
    let last = pieces.len().saturating_sub(1);
    pieces
        .enumerate()
        .filter_map(|(number, piece)| {
            let offset = (word & OFFSET).checked_add(u16::try_from(number * units).ok()?)?;
            let more = if number == last {
                word & MORE_FRAGMENTS
            } else {
                MORE_FRAGMENTS
            };
            Some(fragment(header, offset | more, piece))
        })
        .collect()
}

fn fragment(header: &[u8], word: u16, data: &[u8]) -> Vec<u8> {
    let mut packet = [header, data].concat();
    let length = u16::try_from(packet.len()).unwrap_or(u16::MAX);
    put_u16(&mut packet, 2, length);
    put_u16(&mut packet, 6, word);
    put_u16(&mut packet, 10, 0);
    let sum = fold(checksum_part(packet.get(..HEADER).unwrap_or_default()));
    put_u16(&mut packet, 10, sum);
    packet
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use etherparse::Ipv4HeaderSlice;

    use super::*;
    use crate::packet;

    #[test]
    fn fragments_fit_and_put_together_are_the_packet() {
        let packet = packet::udp(A, B, 64, &(0..=u8::MAX).cycle().take(3000).collect::<Vec<_>>());

        let fragments = fragments(&packet, 1472);

        let mut data = Vec::new();
        for (number, fragment) in fragments.iter().enumerate() {
            let header = Ipv4HeaderSlice::from_slice(fragment).unwrap().to_header();
            assert!(fragment.len() <= 1472 && packet::is_valid(fragment));
            assert_eq!(usize::from(header.fragment_offset.byte_offset()), data.len());
            assert_eq!(header.more_fragments, number + 1 < fragments.len());
            assert!(!header.dont_fragment);
            data.extend_from_slice(&fragment[20..]);
        }
        assert_eq!(fragments.len(), 3);
        assert_eq!(data, packet[20..]);
    }

    #[test]
    fn fragments_of_a_fragment_go_on_where_it_begins() {
        let packet = packet::udp(A, B, 64, &[7; 2000]);
        let middle = fragments(&packet, 1012).swap_remove(1);

        let pieces = fragments(&middle, 516);

        let words: Vec<_> = pieces.iter().map(|piece| u16_at(piece, 6).unwrap()).collect();
        assert_eq!(words, [0x2000 + 124, 0x2000 + 124 + 62]);
    }

    #[test]
    fn an_mtu_without_room_for_data_yields_nothing() {
        let packet = packet::udp(A, B, 64, b"payload");

        let fragments = fragments(&packet, 27);

        assert!(fragments.is_empty());
    }

    const A: Ipv4Addr = Ipv4Addr::new(10, 5, 1, 2);
    const B: Ipv4Addr = Ipv4Addr::new(10, 5, 2, 2);
}
