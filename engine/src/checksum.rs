//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

/// Returns the one's complement sum of the bytes as big-endian 16-bit words; an odd last byte is padded with zero.
///
/// Over data that holds its own checksum it is `0xffff`; its complement is the checksum of data whose checksum
/// field is zero.
pub(crate) fn sum(bytes: &[u8]) -> u16 {
    // The sum may be taken in any byte order and any width (RFC 1071, 2).
    let (blocks, rest) = bytes.as_chunks::<32>();
    let (words, rest) = rest.as_chunks::<4>();
    let mut last = [0; 4];
    for (padded, byte) in last.iter_mut().zip(rest) {
        *padded = *byte;
    }
    // Eight words at most: no carry is lost.
    let words = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word)));
    let sum = words.fold(u64::from(u32::from_ne_bytes(last)), u64::wrapping_add);
    let sum = if blocks.is_empty() {
        sum
    } else {
        add(sum_of_blocks(blocks), sum)
    };
    u16::from_be_bytes(fold(sum).to_ne_bytes())
}

/// Returns the same as [`sum`] for few words whose number is known, so that no loop is needed.
#[inline]
pub(crate) fn sum_of_words<const N: usize>(words: &[[u8; 4]; N]) -> u16 {
    let words = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word)));
    u16::from_be_bytes(fold(words.fold(0, u64::wrapping_add)).to_ne_bytes())
}

/// Takes four sums at once, whose carries are counted apart, which keeps the processor's adders busy.
fn sum_of_blocks(blocks: &[[u8; 32]]) -> u64 {
    let (mut sums, mut carries) = ([0_u64; 4], 0_u64);
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for (sum, word) in sums.iter_mut().zip(words) {
            let (next, carry) = sum.overflowing_add(u64::from_ne_bytes(*word));
            *sum = next;
            carries = carries.wrapping_add(u64::from(carry));
        }
    }
    sums.into_iter().fold(carries, add)
}

/// Adds with the carry added back in.
fn add(sum: u64, word: u64) -> u64 {
    let (sum, carry) = sum.overflowing_add(word);
    sum.wrapping_add(u64::from(carry))
}

/// A one's complement sum over data that lies in several pieces.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Sum(u64);

impl Sum {
    /// Starts with the pseudo-header of TCP and UDP over IPv4 or IPv6 (RFC 9293, 3.1; RFC 8200, 8.1).
    ///
    /// The addresses are the source's and the destination's, as they lie in the IP header.
    pub(crate) fn of_pseudo_header(addresses: &[u8], protocol: u8) -> Self {
        Self::default().bytes(addresses).word(u16::from(protocol))
    }

    /// Adds bytes that begin at an even place of the data, as [`sum`] adds them.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        self.word(sum(bytes))
    }

    /// Adds a word.
    pub(crate) fn word(self, word: u16) -> Self {
        Self(self.0.wrapping_add(u64::from(word)))
    }

    /// Adds a double word.
    pub(crate) fn double_word(self, double_word: u32) -> Self {
        Self(self.0.wrapping_add(u64::from(double_word)))
    }

    /// Returns the sum.
    pub(crate) fn value(self) -> u16 {
        fold(self.0)
    }
}

/// Returns the checksum after one of the words that it covers has changed (RFC 1624, equation 3).
pub(crate) fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(u64::from(!checksum) + u64::from(!old) + u64::from(new))
}

/// Adds the carries back in until 16 bits are left.
///
/// Both halves are added to each other, swapped: the carry out of the lower half goes into the upper one.
#[inline]
fn fold(sum: u64) -> u16 {
    let [a, b, c, d, ..] = sum.wrapping_add(sum.rotate_left(32)).to_be_bytes();
    let sum = u32::from_be_bytes([a, b, c, d]);
    let [high, low, ..] = sum.wrapping_add(sum.rotate_left(16)).to_be_bytes();
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_rfc_1071_sums_to_what_it_says() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];

        let sum = sum(&bytes);

        assert_eq!(sum, 0xddf2);
    }

    #[test]
    fn the_example_of_rfc_1624_does_not_become_negative_zero() {
        let updated = update(0xdd2f, 0x5555, 0x3285);

        assert_eq!(updated, 0x0000);
    }

    #[test]
    fn no_bytes_sum_to_zero() {
        let sum = sum(&[]);

        assert_eq!(sum, 0);
    }

    #[test]
    fn a_sum_of_pieces_is_the_sum_of_the_whole() {
        let bytes: Vec<u8> = (0..=254).collect();

        let pieces = Sum::default()
            .bytes(&bytes[..100])
            .word(0x6465)
            .double_word(0x6667_6869)
            .bytes(&bytes[106..]);

        assert_eq!(pieces.value(), sum(&bytes));
    }

    #[test]
    fn a_pseudo_header_sums_up_both_addresses_and_the_protocol() {
        let addresses = [10, 5, 1, 2, 10, 5, 2, 3];

        let pseudo_header = Sum::of_pseudo_header(&addresses, 17);

        assert_eq!(pseudo_header.value(), 0x0a05 + 0x0102 + 0x0a05 + 0x0203 + 17);
    }

    proptest! {
        #[test]
        fn the_sum_agrees_with_one_taken_word_by_word(
            bytes in prop_oneof![
                30 => proptest::collection::vec(any::<u8>(), 0..80),
                1 => proptest::collection::vec(0xff_u8.., 65_000..65_536),
            ],
        ) {
            let mut words = 0_u32;
            for word in bytes.chunks(2) {
                words += u32::from(word[0]) * 256 + u32::from(word.get(1).copied().unwrap_or(0));
                words = (words & 0xffff) + (words >> 16);
            }

            prop_assert_eq!(u32::from(sum(&bytes)), words);
        }

        #[test]
        fn an_update_agrees_with_a_sum_taken_anew(
            bytes in proptest::collection::vec(any::<u8>(), 20),
            new in any::<[u8; 2]>(),
        ) {
            let old = [bytes[8], bytes[9]];
            let mut changed: Vec<u8> = bytes.clone();
            changed[8..10].copy_from_slice(&new);
            prop_assume!(sum(&changed) != 0);

            let updated = update(!sum(&bytes), u16::from_be_bytes(old), u16::from_be_bytes(new));

            prop_assert_eq!(updated, !sum(&changed));
        }
    }
}
