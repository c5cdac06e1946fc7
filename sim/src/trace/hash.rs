//! The hash over a trace: the same on every machine, for ever.

use std::hash::Hasher;

/// FNV-1a with words of 64 bits in place of bytes, and a rotation that carries high bits down.
#[derive(Clone, Debug)]
pub(super) struct TraceHasher(u64);

impl TraceHasher {
    pub(super) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for TraceHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let word = chunk
                .iter()
                .rev()
                .fold(0, |word, byte| word << 8 | u64::from(*byte));
            self.write_u64(word);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word)
            .wrapping_mul(0x0000_0100_0000_01b3)
            .rotate_left(29);
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(u64::try_from(word).unwrap_or(u64::MAX));
    }

    fn write_isize(&mut self, word: isize) {
        self.write_u64(i64::try_from(word).unwrap_or(i64::MAX).cast_unsigned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_known_input_never_changes() {
        let mut hasher = TraceHasher::new();

        hasher.write(b"a line of a trace");
        hasher.write_usize(7);

        assert_eq!(hasher.finish(), hasher.clone().finish());
        assert_ne!(hasher.finish(), TraceHasher::new().finish());
    }
}
