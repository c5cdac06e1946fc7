//! Network configs: what is accepted keeps every rule, what is refused is refused in one readable line.

use ipnet::{Ipv4Net, Ipv6Net};
use selvedge_engine::{Firewall, NetworkConfig, Range4, Range6, Rng, pick_v4, pick_v6};

/// The longest that an error may be, in bytes.
const MAX_ERROR: usize = 2048;

/// Reads the bytes as a network config.
///
/// # Panics
///
/// If the config is accepted against its rules, changes its meaning when all defaults are written out, or is
/// refused in a message that is not fit for a log.
pub fn network_config(data: &[u8]) {
    let config = match NetworkConfig::parse(data) {
        Ok(config) => config,
        Err(error) => return assert_readable(&error.to_string()),
    };
    assert!(config.v4.is_some() || config.v6.is_some());
    assert!(!config.backend.kind.is_empty());
    assert!(config.backend.options.starts_with('{'));
    if let Some(range) = &config.v4 {
        assert_sound_v4(range);
    }
    if let Some(range) = &config.v6 {
        assert_sound_v6(range);
    }
    let written = written_out(&config);
    assert_eq!(NetworkConfig::parse(written.as_bytes()), Ok(config), "{written}");
}

fn assert_readable(message: &str) {
    assert!(!message.is_empty() && message.len() <= MAX_ERROR, "{message}");
    assert!(!message.contains(char::is_control), "{message:?}");
}

fn assert_sound_v4(range: &Range4) {
    assert!(range.network.prefix_len() > 0 && range.network == range.network.trunc());
    assert!(range.subnet_len <= 30 && range.subnet_len >= range.network.prefix_len() + 2);
    assert!(range.subnet_min <= range.subnet_max);
    for address in [range.subnet_min, range.subnet_max] {
        let subnet = Ipv4Net::new(address, range.subnet_len).expect("a subnet's length is valid");
        assert!(subnet == subnet.trunc() && range.network.contains(&subnet));
    }
    let picked = pick_v4(range, &[], &[], &mut Rng::new(1)).expect("an empty overlay has a free subnet");
    assert!(range.subnet_min <= picked.addr() && picked.addr() <= range.subnet_max);
}

fn assert_sound_v6(range: &Range6) {
    assert!(range.network.prefix_len() > 0 && range.network == range.network.trunc());
    assert!(range.subnet_len <= 126 && range.subnet_len >= range.network.prefix_len() + 2);
    assert!(range.subnet_min <= range.subnet_max);
    for address in [range.subnet_min, range.subnet_max] {
        let subnet = Ipv6Net::new(address, range.subnet_len).expect("a subnet's length is valid");
        assert!(subnet == subnet.trunc() && range.network.contains(&subnet));
    }
    let picked = pick_v6(range, &[], &[], &mut Rng::new(1)).expect("an empty overlay has a free subnet");
    assert!(range.subnet_min <= picked.addr() && picked.addr() <= range.subnet_max);
}

/// Writes a config with nothing left to defaults, except for what zero stands for.
fn written_out(config: &NetworkConfig) -> String {
    let mut keys = vec![
        format!("\"EnableIPv4\":{}", config.v4.is_some()),
        format!("\"EnableIPv6\":{}", config.v6.is_some()),
        format!("\"EnableNFTables\":{}", config.firewall == Firewall::Nftables),
    ];
    if let Some(range) = &config.v4 {
        keys.push(format!("\"Network\":\"{}\"", range.network));
        keys.push(format!("\"SubnetLen\":{}", range.subnet_len));
        keys.push(format!("\"SubnetMin\":\"{}\"", range.subnet_min));
        keys.push(format!("\"SubnetMax\":\"{}\"", range.subnet_max));
    }
    if let Some(range) = &config.v6 {
        keys.push(format!("\"IPv6Network\":\"{}\"", range.network));
        keys.push(format!("\"IPv6SubnetLen\":{}", range.subnet_len));
        keys.push(format!("\"IPv6SubnetMin\":\"{}\"", range.subnet_min));
        keys.push(format!("\"IPv6SubnetMax\":\"{}\"", range.subnet_max));
    }
    if config.backend.options != "{}" {
        keys.push(format!("\"Backend\":{}", config.backend.options));
    }
    format!("{{{}}}", keys.join(","))
}
