//! Merging: segments from the wire become a super-packet for the TUN device.

use std::hint::black_box;
use std::ops::Range;

use selvedge_engine::{Coalescer, CoalescerOptions, Merging};

use crate::cut::Cut;
use crate::tcp::{HEADER_LEN, SEGMENTS};
use crate::work::Work;

/// Segments that are merged again and again.
#[derive(Debug)]
pub(crate) struct Merge {
    coalescer: Coalescer,
    arena: Vec<u8>,
    segments: Vec<Range<usize>>,
    /// The first segment's header, which merging changes.
    first: [u8; HEADER_LEN],
    /// How many packets came out of the last pass.
    merged: usize,
}

impl Merge {
    pub(crate) fn new() -> Self {
        let segments = Cut::new().segments();
        let mut end = 0;
        let range = |segment: &Vec<u8>| {
            let start = end;
            end += segment.len();
            start..end
        };
        let ranges = segments.iter().map(range).collect();
        let arena = segments.concat();
        let mut merge = Self {
            coalescer: Coalescer::new(CoalescerOptions {
                capacity: segments.len(),
                tcp: Merging::On,
                udp: Merging::On,
            }),
            segments: ranges,
            first: arena[..HEADER_LEN].try_into().unwrap(),
            arena,
            merged: 0,
        };
        merge.pass();
        assert_eq!(merge.merged, 1, "all segments are merged");
        merge
    }
}

impl Work for Merge {
    fn packets(&self) -> u32 {
        SEGMENTS
    }

    fn pass(&mut self) {
        self.arena[..HEADER_LEN].copy_from_slice(&self.first);
        for segment in &self.segments {
            self.coalescer.push(&self.arena, segment.clone()).unwrap();
        }
        self.merged = 0;
        self.coalescer.flush(&mut self.arena, |item, arena| {
            self.merged += 1;
            black_box((item.header(), item.ranges().count(), arena));
        });
    }
}
