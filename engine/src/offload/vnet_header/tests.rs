use proptest::prelude::*;

use super::*;

#[test]
fn a_super_packet_of_tcp_is_read() {
    let bytes = header(1, 0x81, [66, 1_400, 20, 16]);

    let header = VnetHeader::parse(&bytes);

    let expected = VnetHeader::Super {
        gso: Gso {
            kind: GsoKind::TcpV4(Ecn::Cwr),
            size: NonZeroU16::new(1_400).unwrap(),
        },
        checksum: PartialChecksum {
            start: 20,
            offset: 16,
        },
        header_len: 66,
    };
    assert_eq!(header, Ok(expected));
}

#[test]
fn a_packet_may_be_complete_or_have_a_partial_checksum() {
    let complete = VnetHeader::parse(&header(0, 0, [1, 2, 3, 4]));
    let partial = VnetHeader::parse(&header(1, 0, [1, 2, 40, 6]));

    let checksum = PartialChecksum { start: 40, offset: 6 };
    assert_eq!(complete, Ok(VnetHeader::Complete));
    assert_eq!(partial, Ok(VnetHeader::Partial(checksum)));
}

#[test]
fn valid_data_and_coalesced_segments_are_nothing_to_do() {
    let header = VnetHeader::parse(&header(2 | 4, 0, [0, 0, 9, 9]));

    assert_eq!(header, Ok(VnetHeader::Complete));
}

#[test]
fn kinds_that_were_not_asked_for_are_refused() {
    for gso_type in (0..=u8::MAX).filter(|kind| !matches!(kind, 0 | 1 | 4 | 5 | 0x81 | 0x84)) {
        let header = VnetHeader::parse(&header(1, gso_type, [54, 1_400, 20, 16]));

        assert_eq!(header, Err(OffloadError::UnknownGsoType), "{gso_type:#x}");
    }
}

#[test]
fn segments_of_no_size_are_refused() {
    let header = VnetHeader::parse(&header(1, 5, [28, 0, 20, 6]));

    assert_eq!(header, Err(OffloadError::ZeroGsoSize));
}

#[test]
fn a_super_packet_with_a_complete_checksum_is_refused() {
    let header = VnetHeader::parse(&header(2, 4, [60, 1_400, 40, 16]));

    assert_eq!(header, Err(OffloadError::MissingChecksum));
}

proptest! {
    #[test]
    fn whatever_is_read_is_written_so_that_the_same_is_read_again(bytes in any::<[u8; 10]>(), gso_type in 0_u8..6) {
        let mut bytes = bytes;
        bytes[1] = bytes[1] & GSO_ECN | gso_type;

        let Ok(header) = VnetHeader::parse(&bytes) else { return Ok(()) };

        prop_assert_eq!(VnetHeader::parse(&header.to_bytes()), Ok(header));
        if let VnetHeader::Super { .. } = header {
            prop_assert_eq!(&header.to_bytes()[1..], &bytes[1..]);
        }
    }
}

fn header(flags: u8, gso_type: u8, fields: [u16; 4]) -> [u8; VnetHeader::LEN] {
    let [len, size, start, offset] = fields.map(u16::to_ne_bytes);
    let mut header = [0; VnetHeader::LEN];
    header[..2].copy_from_slice(&[flags, gso_type]);
    header[2..].copy_from_slice(&[len, size, start, offset].concat());
    header
}
