//! Captures of the underlay, as a parser that is not ours reads them.

use std::time::Duration;

use etherparse::{Ipv4Slice, NetSlice, SlicedPacket, TransportSlice, UdpSlice};
use selvedge_sim::{Cluster, Forgery, NodeId, Probability, Report};

#[test]
fn every_datagram_on_the_wire_is_in_the_capture_with_its_time_and_right_headers() {
    let report = lossy().keep_trace().capture().run_for(Duration::from_mins(2));

    let records = records(&report);

    report.assert_ok();
    let sent: Vec<_> = report
        .trace()
        .iter()
        .filter(|line| line.text().contains("on the wire to"))
        .collect();
    assert!(sent.len() > 500);
    assert_eq!(records.len(), sent.len());
    assert_eq!(report.captured(), sent.len());
    for (Record { at, packet }, line) in records.iter().zip(sent) {
        let from = line.node().expect("a node sends");
        assert_eq!(at.as_micros(), u128::from(line.at().as_nanos() / 1000));
        assert_eq!(outer(packet).header().source_addr(), from.public_ip());
        let inner = Ipv4Slice::from_slice(udp(packet).payload()).expect("a packet is inside");
        assert!(inner.header().source_addr().octets().starts_with(&[10, 5]));
    }
}

#[test]
fn what_no_node_sent_is_captured_as_it_arrives() {
    let report = Cluster::new(2)
        .nodes(3)
        .forge_at(Duration::from_secs(40), 1, Forgery::Stranger)
        .capture()
        .run_for(Duration::from_mins(2));

    let records = records(&report);

    let strange: Vec<_> = records
        .iter()
        .filter(|record| NodeId::by_public_ip(outer(&record.packet).header().source_addr(), 3).is_none())
        .collect();
    let [forged] = strange.as_slice() else {
        panic!("{} datagrams of strangers", strange.len());
    };
    assert_eq!(forged.at, Duration::from_secs(40));
    assert_eq!(
        outer(&forged.packet).header().destination_addr(),
        NodeId::new(1).public_ip()
    );
}

#[test]
fn a_capture_of_the_last_seconds_holds_those_alone_and_changes_nothing() {
    let plain = lossy().run_for(Duration::from_mins(2));
    let report = lossy()
        .capture_last(Duration::from_secs(10))
        .run_for(Duration::from_mins(2));

    let records = records(&report);

    let end = report.statistics().simulated;
    assert_eq!(report.trace_hash(), plain.trace_hash());
    assert_eq!(plain.pcap(), None);
    assert!(
        records
            .iter()
            .all(|record| end.saturating_sub(record.at) <= Duration::from_secs(10))
    );
    assert!(records.len() > 20, "{}", records.len());
}

fn lossy() -> Cluster {
    Cluster::new(1)
        .nodes(4)
        .loss(Probability::percent(5))
        .duplication(Probability::percent(5))
        .partition_at(Duration::from_secs(30), [1])
        .heal_at(Duration::from_secs(40))
}

struct Record {
    at: Duration,
    packet: Vec<u8>,
}

/// Reads the file as its format says (draft-ietf-opsawg-pcap).
fn records(report: &Report) -> Vec<Record> {
    let file = report.pcap().expect("it was captured");
    let (header, mut rest) = file.split_at(24);
    assert_eq!(header[..4], 0xa1b2_c3d4_u32.to_le_bytes());
    assert_eq!(header[20..], 101_u32.to_le_bytes());
    let mut records: Vec<Record> = Vec::new();
    while !rest.is_empty() {
        let [seconds, micros, length, original] =
            [0, 4, 8, 12].map(|at| u32::from_le_bytes(rest[at..at + 4].try_into().expect("four bytes")));
        let (packet, after) = rest[16..].split_at(usize::try_from(length).expect("a short packet"));
        let at = Duration::new(seconds.into(), micros * 1000);
        assert_eq!(length, original);
        assert!(records.last().is_none_or(|before| before.at <= at));
        check_headers(packet);
        records.push(Record {
            at,
            packet: packet.to_vec(),
        });
        rest = after;
    }
    records
}

fn check_headers(packet: &[u8]) {
    let outer = outer(packet);
    let header = outer.header();
    assert_eq!(usize::from(header.total_len()), packet.len());
    assert_eq!(
        header.header_checksum(),
        header.to_header().calc_header_checksum()
    );
    let udp = udp(packet);
    let checksum =
        udp.to_header()
            .calc_checksum_ipv4_raw(header.source(), header.destination(), udp.payload());
    assert_eq!(Ok(udp.checksum()), checksum.map_err(|_| ()));
    assert_eq!((udp.source_port(), udp.destination_port()), (8285, 8285));
}

fn outer(packet: &[u8]) -> Ipv4Slice<'_> {
    match SlicedPacket::from_ip(packet).expect("a packet").net {
        Some(NetSlice::Ipv4(slice)) => slice,
        other => panic!("no IPv4: {other:?}"),
    }
}

fn udp(packet: &[u8]) -> UdpSlice<'_> {
    match SlicedPacket::from_ip(packet).expect("a packet").transport {
        Some(TransportSlice::Udp(slice)) => slice,
        other => panic!("no UDP: {other:?}"),
    }
}
