//! Subnet files: whatever an earlier run left can be read.

use selvedge_engine::{Masquerade, PreviousSubnet, SubnetFile};

/// Reads the bytes as an earlier subnet file.
///
/// # Panics
///
/// If a subnet keeps host bits, or a new file with the same subnets reads back as something else.
pub fn subnet_file(data: &[u8]) {
    let previous = PreviousSubnet::parse(&String::from_utf8_lossy(data));
    assert!(previous.v4.is_none_or(|net| net == net.trunc()));
    assert!(previous.v6.is_none_or(|net| net == net.trunc()));
    let file = SubnetFile {
        // A single address has no room for the gateway beside it.
        v4: previous
            .v4
            .filter(|net| net.prefix_len() < 32)
            .map(|net| (net, net)),
        v6: previous
            .v6
            .filter(|net| net.prefix_len() < 128)
            .map(|net| (net, net)),
        mtu: 1472,
        masquerade: Masquerade::Off,
    };
    let again = PreviousSubnet::parse(&file.render());
    assert_eq!(again.v4, file.v4.map(|(_, subnet)| subnet));
    assert_eq!(again.v6, file.v6.map(|(_, subnet)| subnet));
}
