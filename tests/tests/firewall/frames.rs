//! Tunnel packets, and forged ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{PacketBuilder, PacketBuilderStep, UdpHeader};

/// What tunnel packets carry, and what the last one does.
pub(crate) const FORGED: &[u8] = b"forged";
pub(crate) const LAST: &[u8] = b"the last";

/// Returns tunnel packets: what they are, their outer source, the inner frame, and their outer destination.
pub(crate) fn forgeries() -> Vec<(&'static str, IpAddr, Vec<u8>, IpAddr)> {
    let own: IpAddr = Ipv4Addr::new(192, 0, 2, 1).into();
    let own_v6: IpAddr = "2001:db8:2::1".parse().unwrap();
    let (member, stranger) = ("192.0.2.2".parse().unwrap(), "192.0.2.66".parse().unwrap());
    let (member_v6, stranger_v6) = (
        "2001:db8:2::2".parse().unwrap(),
        "2001:db8:2::66".parse().unwrap(),
    );
    let v4 = |source: &str| frame(source.parse().unwrap(), None, FORGED);
    let v6 = |source: &str| frame(source.parse().unwrap(), None, FORGED);
    let tagged = frame("10.5.2.2".parse().unwrap(), Some(5), FORGED);
    let mut arp = v4("10.5.2.2");
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    vec![
        ("member", member, v4("10.5.2.2"), own),
        ("member's tunnel address", member, v4("10.5.2.0"), own),
        ("member's last address", member, v4("10.5.2.254"), own),
        ("stranger", stranger, v4("10.5.2.2"), own),
        ("member with another's source", member, v4("10.5.3.2"), own),
        ("member with our own source", member, v4("10.5.1.2"), own),
        ("member with a VLAN tag", member, tagged, own),
        ("member with ARP", member, arp, own),
        ("member with nothing inside", member, Vec::new(), own),
        ("member over IPv6", member_v6, v6("fd05:0:0:2::2"), own_v6),
        ("stranger over IPv6", stranger_v6, v6("fd05:0:0:2::2"), own_v6),
        (
            "member with another's source over IPv6",
            member_v6,
            v6("fd05:0:0:3::2"),
            own_v6,
        ),
    ]
}

/// Puts a frame behind a VXLAN header.
pub(crate) fn tunnel_packet(frame: &[u8]) -> Vec<u8> {
    [&[8, 0, 0, 0, 0, 0, 1, 0], frame].concat()
}

/// Returns an Ethernet frame with a datagram for this node's end of the tunnel.
pub(crate) fn frame(source: IpAddr, vlan: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]);
    match (source, vlan) {
        (IpAddr::V4(source), None) => {
            let builder = ethernet.ipv4(source.octets(), [10, 5, 1, 0], 64);
            written(builder.udp(7001, 7000), payload)
        }
        (IpAddr::V4(source), Some(vlan)) => {
            let builder = ethernet.single_vlan(vlan.try_into().unwrap());
            let builder = builder.ipv4(source.octets(), [10, 5, 1, 0], 64);
            written(builder.udp(7001, 7000), payload)
        }
        (IpAddr::V6(source), _) => {
            let to = "fd05:0:0:1::".parse::<Ipv6Addr>().unwrap();
            let builder = ethernet.ipv6(source.octets(), to.octets(), 64);
            written(builder.udp(7001, 7000), payload)
        }
    }
}

fn written(builder: PacketBuilderStep<UdpHeader>, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; builder.size(payload.len())];
    builder.write_to_slice(&mut frame, payload).unwrap();
    frame
}
