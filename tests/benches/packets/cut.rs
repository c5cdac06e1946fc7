//! Cutting: a super-packet from the TUN device becomes segments for the wire.

use std::hint::black_box;

use selvedge_engine::{Segmentation, SuperPacket, VnetHeader};

use crate::tcp::{HEADER_LEN, SEGMENTS, super_packet};
use crate::work::Work;

/// A super-packet that is cut again and again.
#[derive(Debug)]
pub(crate) struct Cut {
    header: VnetHeader,
    packet: Vec<u8>,
    out: [u8; HEADER_LEN],
}

impl Cut {
    pub(crate) fn new() -> Self {
        let (header, packet) = super_packet();
        let mut cut = Self {
            header,
            packet,
            out: [0; HEADER_LEN],
        };
        assert_eq!(cut.prepare().segments(), usize::try_from(SEGMENTS).unwrap());
        cut
    }

    /// Returns the segments, one after the other, each as a whole packet.
    pub(crate) fn segments(mut self) -> Vec<Vec<u8>> {
        let cut = self.prepare();
        let segment = |index| {
            cut.write_header(&self.packet, index, &mut self.out).unwrap();
            [&self.out[..], &self.packet[cut.payload(index)]].concat()
        };
        (0..cut.segments()).map(segment).collect()
    }

    fn prepare(&mut self) -> SuperPacket {
        let Ok(Segmentation::Cut(cut)) = Segmentation::prepare(black_box(&self.header), &mut self.packet)
        else {
            panic!("the super-packet is to be cut");
        };
        cut
    }
}

impl Work for Cut {
    fn packets(&self) -> u32 {
        SEGMENTS
    }

    fn pass(&mut self) {
        let cut = self.prepare();
        for index in 0..cut.segments() {
            let written = cut.write_header(&self.packet, index, &mut self.out);
            black_box((written, &self.out, cut.payload(index)));
        }
    }
}
