//! The classic capture file of `tcpdump` (draft-ietf-opsawg-pcap): little-endian, microseconds, raw IP packets.

use std::time::Duration;

/// Returns a file with these packets, each with its time since 1970.
pub(super) fn file<'a>(packets: impl Iterator<Item = (Duration, &'a [u8])>) -> Vec<u8> {
    let mut file = header();
    for (at, packet) in packets {
        add(&mut file, at, packet);
    }
    file
}

fn header() -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(MAGIC.to_le_bytes());
    header.extend(VERSION.0.to_le_bytes());
    header.extend(VERSION.1.to_le_bytes());
    // The time zone and the accuracy of the times: both zero in every file.
    header.extend([0; 8]);
    header.extend(LONGEST.to_le_bytes());
    header.extend(LINKTYPE_RAW.to_le_bytes());
    header
}

fn add(file: &mut Vec<u8>, at: Duration, packet: &[u8]) {
    let length = u32::try_from(packet.len()).unwrap_or(u32::MAX);
    let seconds = u32::try_from(at.as_secs()).unwrap_or(u32::MAX);
    file.extend(seconds.to_le_bytes());
    file.extend(at.subsec_micros().to_le_bytes());
    // How much of the packet is in the file, and how long it was.
    file.extend(length.to_le_bytes());
    file.extend(length.to_le_bytes());
    file.extend(packet);
}

const MAGIC: u32 = 0xa1b2_c3d4;
const VERSION: (u16, u16) = (2, 4);
/// The longest packet that a reader has to expect.
const LONGEST: u32 = 65_535;
/// Every packet begins with its IP header (<https://www.tcpdump.org/linktypes.html>).
const LINKTYPE_RAW: u32 = 101;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_header_and_a_record_for_each_packet() {
        let at = Duration::from_millis(12_345);

        let file = file([(at, &b"one"[..]), (at, b"three")].into_iter());

        assert_eq!(file.len(), 24 + (16 + 3) + (16 + 5));
        assert_eq!(
            file[..24],
            [
                0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 101, 0, 0, 0
            ]
        );
        let record = [
            12, 0, 0, 0, 0xa8, 0x43, 5, 0, 3, 0, 0, 0, 3, 0, 0, 0, b'o', b'n', b'e',
        ];
        assert_eq!(file[24..43], record);
    }
}
