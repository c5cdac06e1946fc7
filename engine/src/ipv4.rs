//! The header of an IPv4 packet (RFC 791): validation, TTL, checksum.

use core::net::Ipv4Addr;

use crate::checksum::{self, Sum};
use crate::drop_reason::DropReason;

/// The length of a header without options, in bytes.
pub(crate) const MIN_HEADER_LEN: usize = 20;

/// What is needed of a header that is known to be valid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Ipv4Header {
    /// The header's length with its options, in bytes.
    pub(crate) len: usize,
    pub(crate) ttl: u8,
    pub(crate) protocol: u8,
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    pub(crate) fragmentation: Fragmentation,
}

/// The word of flags and fragment offset.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Fragmentation(u16);

impl Fragmentation {
    /// Tells whether the packet must not be fragmented (DF).
    pub(crate) const fn is_forbidden(self) -> bool {
        self.0 & 0x4000 != 0
    }

    /// Tells whether the packet is whole or the first fragment of one, so that it holds the header above IPv4.
    pub(crate) const fn is_first(self) -> bool {
        self.offset() == 0
    }

    /// Tells whether the packet is no fragment.
    pub(crate) const fn is_whole(self) -> bool {
        self.is_first() && self.0 & 0x2000 == 0
    }

    /// Returns where the packet's data belongs, in units of 8 bytes.
    const fn offset(self) -> u16 {
        self.0 & 0x1fff
    }
}

impl Ipv4Header {
    /// Reads the header of a packet that is given in full, with nothing after its end.
    ///
    /// # Errors
    ///
    /// The first rule that the packet breaks, of RFC 1122 3.2.1 and RFC 1812 5.2.2.
    #[inline]
    pub(crate) fn parse(packet: &[u8]) -> Result<Self, DropReason> {
        let (words, _) = packet.as_chunks::<4>();
        let fixed = words.first_chunk::<5>().ok_or(DropReason::Truncated)?;
        let [start, second, third, source, destination] = fixed;
        let [version_and_len, _, total1, total0] = *start;
        let [_, _, fragmentation1, fragmentation0] = *second;
        let [ttl, protocol, _, _] = *third;
        if version_and_len >> 4 != 4 {
            return Err(DropReason::NotIpv4);
        }
        let len = usize::from(version_and_len & 0x0f) * 4;
        if len < MIN_HEADER_LEN {
            return Err(DropReason::BadHeaderLength);
        }
        let options = packet.get(MIN_HEADER_LEN..len).ok_or(DropReason::Truncated)?;
        // A packet that holds its header and is as long as its total length has no total length below its header's.
        if usize::from(u16::from_be_bytes([total1, total0])) != packet.len() {
            return Err(DropReason::BadTotalLength);
        }
        if sum(fixed, options) != 0xffff {
            return Err(DropReason::BadChecksum);
        }
        Ok(Self {
            len,
            ttl,
            protocol,
            source: Ipv4Addr::from_octets(*source),
            destination: Ipv4Addr::from_octets(*destination),
            fragmentation: Fragmentation(u16::from_be_bytes([fragmentation1, fragmentation0])),
        })
    }
}

/// Returns the sum of a header, which usually has no options.
#[inline]
fn sum(fixed: &[[u8; 4]; 5], options: &[u8]) -> u16 {
    let sum = checksum::sum_of_words(fixed);
    if options.is_empty() {
        return sum;
    }
    Sum::default().word(sum).bytes(options).value()
}

/// Lowers the TTL by one, which must not be zero, and updates the checksum.
pub(crate) fn decrement_ttl(packet: &mut [u8]) {
    let Some([_, _, _, _, _, _, _, _, ttl, _, sum1, sum0, ..]) = packet.first_chunk_mut::<MIN_HEADER_LEN>()
    else {
        return;
    };
    let Some(lowered) = ttl.checked_sub(1) else { return };
    let sum = u16::from_be_bytes([*sum1, *sum0]);
    // The TTL is the upper byte of its word, so that the sum of the words is less by as much.
    let [updated1, updated0] = checksum::update(sum, 0x0100, 0).to_be_bytes();
    *ttl = lowered;
    *sum1 = updated1;
    *sum0 = updated0;
}

/// Tells whether no single host can have the address: unspecified, loopback, multicast, broadcast.
#[inline]
pub(crate) const fn is_no_host(address: Ipv4Addr) -> bool {
    // Most addresses are told by their first byte.
    if matches!(address.octets(), [1..=126 | 128..=223, ..]) {
        return false;
    }
    address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.is_broadcast()
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use etherparse::{Ipv4HeaderSlice, PacketBuilder};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_valid_header_is_read() {
        let packet = packet(7);

        let header = Ipv4Header::parse(&packet);

        let expected = Ipv4Header {
            len: 20,
            ttl: 7,
            protocol: 17,
            source: Ipv4Addr::new(10, 5, 1, 2),
            destination: Ipv4Addr::new(10, 5, 2, 3),
            fragmentation: Fragmentation(0x4000),
        };
        assert_eq!(header, Ok(expected));
    }

    #[test]
    fn fewer_bytes_than_the_smallest_header_are_truncated() {
        let packet = packet(64);

        for len in 0..20 {
            assert_eq!(Ipv4Header::parse(&packet[..len]), Err(DropReason::Truncated));
        }
    }

    #[test]
    fn fewer_bytes_than_the_header_announces_are_truncated() {
        let packet = with(&packet(64)[..24], 0, 0x4f);

        let header = Ipv4Header::parse(&packet);

        assert_eq!(header, Err(DropReason::Truncated));
    }

    #[test]
    fn every_other_version_is_not_ipv4() {
        for version in (0..16).filter(|version| *version != 4) {
            let packet = with(&packet(64), 0, version << 4 | 5);

            assert_eq!(Ipv4Header::parse(&packet), Err(DropReason::NotIpv4));
        }
    }

    #[test]
    fn a_header_length_below_five_words_is_bad() {
        for words in 0..5 {
            let packet = with(&packet(64), 0, 0x40 | words);

            assert_eq!(Ipv4Header::parse(&packet), Err(DropReason::BadHeaderLength));
        }
    }

    #[test]
    fn a_total_length_below_or_above_the_bytes_given_is_bad() {
        let packet = packet(64);
        let trailing = [&packet[..], &[0]].concat();

        let verdicts = [
            &with(&packet, 3, 0),
            &with(&packet, 3, 19),
            &packet[..packet.len() - 1],
            &trailing,
        ]
        .map(Ipv4Header::parse);

        assert_eq!(verdicts, [Err(DropReason::BadTotalLength); 4]);
    }

    #[test]
    fn every_single_bit_that_flips_is_noticed() {
        let packet = packet(64);

        for bit in 0..160 {
            let flipped = with(&packet, bit / 8, packet[bit / 8] ^ (1 << (bit % 8)));

            assert!(Ipv4Header::parse(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn options_belong_to_the_header() {
        let packet = packet_with_options(64);

        let header = Ipv4Header::parse(&packet).unwrap();
        let damaged = Ipv4Header::parse(&with(&packet, 23, 0xee));

        assert_eq!(header.len, 24);
        assert_eq!(damaged, Err(DropReason::BadChecksum));
    }

    #[test]
    fn only_the_first_fragment_has_offset_zero() {
        let whole = Fragmentation(0x4000);
        let first = Fragmentation(0x2000);
        let later = Fragmentation(0x2001);

        assert!(whole.is_forbidden() && whole.is_first() && whole.is_whole());
        assert!(!first.is_forbidden() && first.is_first() && !first.is_whole());
        assert!(!later.is_first() && !later.is_whole());
    }

    #[test]
    fn a_checksum_of_negative_zero_is_valid_and_becomes_the_usual_one() {
        let packet = packet(64);
        let zero = (0..=u16::MAX)
            .map(|id| with_identification(&packet, id))
            .find(|packet| packet[10..12] == [0, 0])
            .unwrap();
        let mut negative_zero = with(&with(&zero, 10, 0xff), 11, 0xff);

        let verdict = Ipv4Header::parse(&negative_zero);
        decrement_ttl(&mut negative_zero);

        assert!(verdict.is_ok());
        let header = Ipv4HeaderSlice::from_slice(&negative_zero).unwrap().to_header();
        assert_eq!(header.header_checksum, header.calc_header_checksum());
    }

    #[test]
    fn addresses_of_no_host_are_told_apart() {
        let none = [
            [0, 0, 0, 0],
            [127, 0, 0, 1],
            [224, 0, 0, 1],
            [239, 255, 255, 255],
            [255; 4],
        ];
        let some = [[10, 5, 1, 0], [0, 0, 0, 1], [223, 255, 255, 255], [240, 0, 0, 1]];

        assert!(none.into_iter().map(Ipv4Addr::from).all(is_no_host));
        assert!(!some.into_iter().map(Ipv4Addr::from).any(is_no_host));
    }

    proptest! {
        #[test]
        fn after_the_ttl_is_lowered_the_checksum_is_right(
            source in any::<[u8; 4]>(),
            id in any::<u16>(),
            ttl in 1..=u8::MAX,
        ) {
            let mut packet = with_identification(&packet(ttl), id);
            packet[12..16].copy_from_slice(&source);
            packet = with_identification(&packet, id);

            decrement_ttl(&mut packet);

            let header = Ipv4HeaderSlice::from_slice(&packet).unwrap().to_header();
            prop_assert_eq!(header.time_to_live, ttl - 1);
            prop_assert_eq!(header.header_checksum, header.calc_header_checksum());
        }
    }

    fn packet(ttl: u8) -> Vec<u8> {
        let mut packet = Vec::new();
        PacketBuilder::ipv4([10, 5, 1, 2], [10, 5, 2, 3], ttl)
            .udp(40_000, 9_999)
            .write_to_vec(&mut packet, b"payload")
            .unwrap();
        packet
    }

    fn packet_with_options(ttl: u8) -> Vec<u8> {
        let plain = packet(ttl);
        let mut header = Ipv4HeaderSlice::from_slice(&plain).unwrap().to_header();
        header.options = [1, 1, 1, 0].into();
        header.total_len += 4;
        header.header_checksum = header.calc_header_checksum();
        let mut packet = header.to_bytes().to_vec();
        packet.extend_from_slice(&plain[20..]);
        packet
    }

    fn with(packet: &[u8], at: usize, byte: u8) -> Vec<u8> {
        let mut packet = packet.to_vec();
        packet[at] = byte;
        packet
    }

    /// Sets the identification and makes the checksum anew.
    fn with_identification(packet: &[u8], id: u16) -> Vec<u8> {
        let mut header = Ipv4HeaderSlice::from_slice(packet).unwrap().to_header();
        header.identification = id;
        header.header_checksum = header.calc_header_checksum();
        [&header.to_bytes(), &packet[20..]].concat()
    }
}
