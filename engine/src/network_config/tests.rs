use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

#[test]
fn subnets_are_cut_as_in_the_reference_table() {
    for (network, more, len, min, max) in [
        ("10.3.0.0/16", "", 24, "10.3.1.0", "10.3.255.0"),
        ("10.0.0.0/22", "", 24, "10.0.1.0", "10.0.3.0"),
        ("10.0.0.0/23", "", 25, "10.0.0.128", "10.0.1.128"),
        ("10.0.0.0/24", "", 26, "10.0.0.64", "10.0.0.192"),
        ("10.0.0.0/28", "", 30, "10.0.0.4", "10.0.0.12"),
        ("10.0.0.0/16", r#","SubnetLen":18"#, 18, "10.0.64.0", "10.0.192.0"),
        (
            "10.0.0.0/16",
            r#","SubnetLen":30"#,
            30,
            "10.0.0.4",
            "10.0.255.252",
        ),
        ("10.0.0.0/16", r#","SubnetLen":0"#, 24, "10.0.1.0", "10.0.255.0"),
        ("255.0.0.0/8", "", 24, "255.0.1.0", "255.255.255.0"),
        ("0.0.0.0/1", "", 24, "0.0.1.0", "127.255.255.0"),
        ("10.3.7.9/16", "", 24, "10.3.1.0", "10.3.255.0"),
        (
            "10.3.0.0/16",
            r#","SubnetMin":"10.3.0.0""#,
            24,
            "10.3.0.0",
            "10.3.255.0",
        ),
        (
            "10.3.0.0/16",
            r#","SubnetMin":"0.0.0.0","SubnetMax":null"#,
            24,
            "10.3.1.0",
            "10.3.255.0",
        ),
    ] {
        let range = v4(&format!(r#"{{"Network":"{network}"{more}}}"#));

        let shown = (
            range.subnet_len,
            range.subnet_min.to_string(),
            range.subnet_max.to_string(),
        );
        assert_eq!(shown, (len, min.to_string(), max.to_string()), "{network} {more}");
    }
}

#[test]
fn v6_subnets_are_cut_as_in_the_reference_table() {
    for (network, more, len, min, max) in [
        ("fc00::/48", "", 64, "fc00:0:0:1::", "fc00:0:0:ffff::"),
        (
            "2001:cafe:42::/56",
            "",
            64,
            "2001:cafe:42:1::",
            "2001:cafe:42:ff::",
        ),
        ("fd00::/62", "", 64, "fd00:0:0:1::", "fd00:0:0:3::"),
        ("fd00::/63", "", 65, "fd00::8000:0:0:0", "fd00:0:0:1:8000::"),
        ("fd00::/124", "", 126, "fd00::4", "fd00::c"),
        ("ff00::/8", "", 64, "ff00:0:0:1::", "ffff:ffff:ffff:ffff::"),
        (
            "fc00::/48",
            r#","IPv6SubnetMin":"::","IPv6SubnetMax":null"#,
            64,
            "fc00:0:0:1::",
            "fc00:0:0:ffff::",
        ),
    ] {
        let range = v6(&format!(r#"{{"IPv6Network":"{network}"{more}}}"#));

        let shown = (
            range.subnet_len,
            range.subnet_min.to_string(),
            range.subnet_max.to_string(),
        );
        assert_eq!(shown, (len, min.to_string(), max.to_string()), "{network} {more}");
    }
}

#[test]
fn keys_are_read_in_any_case() {
    let config = parse(r#"{"network":"10.3.0.0/16"}"#).unwrap();
    let v6 = parse(r#"{"enableIPv6":true,"ipv6Network":"fc00::/48","enableIPv4":false}"#).unwrap();

    assert_eq!(config.v4.unwrap().network, "10.3.0.0/16".parse().unwrap());
    assert_eq!(config.v6, None);
    assert_eq!(config.firewall, Firewall::Iptables);
    assert_eq!(v6.v4, None);
    assert_eq!(v6.v6.unwrap().subnet_min.to_string(), "fc00:0:0:1::");
}

#[test]
fn given_bounds_are_kept() {
    let v4 = v4(r#"{"Network":"10.3.0.0/16","SubnetMin":"10.3.5.0","SubnetMax":"10.3.8.0","SubnetLen":28}"#);
    let v6 = v6(
        r#"{"IPv6Network":"fc00::/48","IPv6SubnetMin":"fc00:0:0:1::","IPv6SubnetMax":"fc00:0:0:f::","IPv6SubnetLen":124}"#,
    );

    assert_eq!(
        (
            v4.subnet_len,
            v4.subnet_min.to_string(),
            v4.subnet_max.to_string()
        ),
        (28, "10.3.5.0".to_string(), "10.3.8.0".to_string())
    );
    assert_eq!(
        (
            v6.subnet_len,
            v6.subnet_min.to_string(),
            v6.subnet_max.to_string()
        ),
        (124, "fc00:0:0:1::".to_string(), "fc00:0:0:f::".to_string())
    );
}

#[test]
fn host_bits_of_the_overlay_are_masked_off() {
    assert_eq!(
        v4(r#"{"Network":"10.3.7.9/16"}"#).network,
        "10.3.0.0/16".parse().unwrap()
    );
}

#[test]
fn the_other_family_is_checked_only_where_it_is_enabled() {
    let config =
        parse(r#"{"Network":"10.3.0.0/16","IPv6Network":"fd00::/128","IPv6SubnetLen":127}"#).unwrap();

    assert_eq!(config.v6, None);
}

#[test]
fn the_backend_is_udp_without_options_if_there_is_none() {
    let backend = parse(r#"{"Network":"10.3.0.0/16"}"#).unwrap().backend;

    assert_eq!(backend.kind, "udp");
    assert_eq!(backend.options, "{}");
}

#[test]
fn the_backends_type_is_in_lower_case_and_its_options_stay_as_written() {
    let text = r#"{"Network":"10.3.0.0/16","backend":{"type" : "VXLAN", "vni":7},"EnableNFTables":true}"#;
    let config = parse(text).unwrap();

    assert_eq!(config.backend.kind, "vxlan");
    assert_eq!(config.backend.options, r#"{"type" : "VXLAN", "vni":7}"#);
    assert_eq!(config.firewall, Firewall::Nftables);
}

#[test]
fn types_that_are_not_known_are_not_judged_here() {
    let config = parse(r#"{"Network":"10.3.0.0/16","Backend":{"Type":"carrier-pigeon"}}"#);

    assert_eq!(config.unwrap().backend.kind, "carrier-pigeon");
}

#[test]
fn every_rule_has_an_error_that_says_what_to_do() {
    let report: Vec<_> = BROKEN
        .iter()
        .map(|text| format!("{text}\n    {}", parse(text).expect_err(text)))
        .collect();

    insta::assert_snapshot!(report.join("\n"));
}

#[test]
fn errors_keep_the_phrases_that_people_search_for() {
    for (more, phrase) in [
        (
            r#""Network":"10.0.0.0/29""#,
            "network is too small. Minimum useful network prefix is /28",
        ),
        (
            r#""Network":"10.0.0.0/16","SubnetLen":31"#,
            "SubnetLen must be less than /31",
        ),
        (
            r#""Network":"10.0.0.0/16","SubnetLen":17"#,
            "network must be able to accommodate at least four subnets",
        ),
        (
            r#""Network":"10.0.0.0/16","SubnetMin":"10.1.0.0""#,
            "SubnetMin is not in the range of the Network",
        ),
        (
            r#""Network":"10.0.0.0/16","SubnetMin":"10.0.1.1""#,
            "SubnetMin is not on a SubnetLen boundary: 10.0.1.1",
        ),
        (
            r#""Network":"0.0.0.0/0""#,
            "please define a correct Network parameter",
        ),
        (
            r#""EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00::/125""#,
            "IPv6Network is too small. Minimum useful network prefix is /124",
        ),
        (
            r#""EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00::/48","IPv6SubnetLen":127"#,
            "SubnetLen must be less than /127",
        ),
        (r#""EnableIPv4":false"#, "none defined stack"),
    ] {
        let error = parse(&format!("{{{more}}}")).expect_err(more).to_string();

        assert!(error.contains(phrase), "{error}");
    }
}

#[test]
fn quoted_values_are_short_and_on_one_line() {
    let text = format!("{{\"Network\": [\n\"\u{9b}\"{}]}}", ", 1".repeat(1000));

    let error = parse(&text).unwrap_err().to_string();

    assert!(error.len() < 200, "{error}");
    assert!(!error.contains(char::is_control), "{error}");
}

#[test]
fn of_many_keys_that_mean_nothing_the_first_are_named() {
    let keys: Vec<_> = (0..1000).map(|number| format!("\"key{number}\":0")).collect();

    let error = parse(&format!("{{{}}}", keys.join(","))).unwrap_err().to_string();

    assert!(
        error.ends_with(": key0, key1, key2, key3, key4, and 995 more"),
        "{error}"
    );
}

proptest! {
    #[test]
    fn reading_never_panics(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _parsed = NetworkConfig::parse(&text);
    }

    #[test]
    fn what_is_accepted_keeps_its_promises(
        (bits, network_len) in (any::<u32>(), 0_u8..=32),
        len in 0_u64..40,
        min in proptest::option::of(0_u32..8),
        max in proptest::option::of(0_u32..8),
    ) {
        let base = Ipv4Net::new(Ipv4Addr::from(bits), network_len).unwrap().network().to_bits();
        let shift = u32::try_from(32_u64.saturating_sub(len)).unwrap();
        let bound = |key: &str, slot: Option<u32>| {
            let address = slot.map(|slot| base.wrapping_add(slot.checked_shl(shift).unwrap_or(0)));
            address.map(|address| format!(r#","{key}":"{}""#, Ipv4Addr::from(address))).unwrap_or_default()
        };
        let bounds = bound("SubnetMin", min) + &bound("SubnetMax", max);
        let network = Ipv4Addr::from(bits);

        let config = parse(&format!(r#"{{"Network":"{network}/{network_len}","SubnetLen":{len}{bounds}}}"#));

        if let Ok(config) = config {
            let range = config.v4.unwrap();
            prop_assert_eq!(range.network, range.network.trunc());
            prop_assert!(range.subnet_len <= 30 && range.subnet_len >= network_len + 2);
            prop_assert!(range.subnet_min <= range.subnet_max);
            for address in [range.subnet_min, range.subnet_max] {
                let subnet = Ipv4Net::new(address, range.subnet_len).unwrap();
                prop_assert_eq!(subnet, subnet.trunc());
                prop_assert!(range.network.contains(&subnet));
            }
        }
    }
}

/// At least one text for each rule.
const BROKEN: &[&str] = &[
    "",
    "null",
    r#"{"Network":"10.0.0.0/16"} x"#,
    r#"{"Network":"10.0.0.0/16",}"#,
    "{}",
    r#"{"Netwrok":"10.0.0.0/16"}"#,
    r#"{"Network":"0.0.0.0/0"}"#,
    r#"{"Network":"10.0.0.0"}"#,
    r#"{"Network":""}"#,
    r#"{"Network":null}"#,
    r#"{"Network":["10.0.0.0/16"]}"#,
    r#"{"Network":"10.0.0.0/016"}"#,
    r#"{"Network":"010.0.0.0/16"}"#,
    r#"{"Network":"10.0.0.0/33"}"#,
    r#"{"Network":"fd00::/48"}"#,
    r#"{"Network":"10.0.0.0/29"}"#,
    r#"{"Network":"10.0.0.0/16","SubnetLen":31}"#,
    r#"{"Network":"10.0.0.0/16","SubnetLen":300}"#,
    r#"{"Network":"10.0.0.0/16","SubnetLen":17}"#,
    r#"{"Network":"10.0.0.0/16","SubnetLen":"24"}"#,
    r#"{"Network":"10.0.0.0/16","SubnetLen":-1}"#,
    r#"{"Network":"10.0.0.0/16","SubnetLen":24.0}"#,
    r#"{"Network":"10.0.0.0/16","SubnetMin":"10.1.0.0"}"#,
    r#"{"Network":"10.0.0.0/16","SubnetMin":"10.0.1.1"}"#,
    r#"{"Network":"10.0.0.0/16","SubnetMax":"9.255.255.0"}"#,
    r#"{"Network":"10.0.0.0/16","SubnetMax":"fd00::"}"#,
    r#"{"Network":"10.0.0.0/16","SubnetMax":"10.0.9.0/24"}"#,
    r#"{"Network":"10.0.0.0/16","SubnetMin":"10.0.9.0","SubnetMax":"10.0.8.0"}"#,
    r#"{"Network":"10.0.0.0/16","EnableIPv4":"yes"}"#,
    r#"{"Network":"10.0.0.0/16","EnableIPv4":false}"#,
    r#"{"Network":"10.0.0.0/16","EnableIPv6":true}"#,
    r#"{"Network":"10.0.0.0/16","IPv6Network":"10.9.0.0/16"}"#,
    r#"{"Network":"10.0.0.0/16","IPv6Network":"::ffff:10.9.0.0/112"}"#,
    r#"{"Network":"10.0.0.0/16","Backend":"vxlan"}"#,
    r#"{"Network":"10.0.0.0/16","Backend":["vxlan"]}"#,
    r#"{"Network":"10.0.0.0/16","Backend":{"Type":7}}"#,
    r#"{"Network":"10.0.0.0/16","Backend":{}}"#,
    r#"{"Network":"10.0.0.0/16","Backend":{"VNI":7,"PSK":"hidden"}}"#,
    r#"{"Network":"10.0.0.0/16","Backend":null}"#,
    r#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"::/0"}"#,
    r#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00::/125"}"#,
    r#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00::/48","IPv6SubnetLen":127}"#,
    r#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00::/48","IPv6SubnetLen":49}"#,
    r#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00::/48","IPv6SubnetMin":"10.0.0.0"}"#,
    r#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00::/48","IPv6SubnetMax":"fd00:0:1::"}"#,
    r#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00::/48","IPv6SubnetMin":"fd00::7"}"#,
];

fn parse(text: &str) -> Result<NetworkConfig, NetworkConfigError> {
    NetworkConfig::parse(text.as_bytes())
}

fn v4(text: &str) -> Range4 {
    parse(text).unwrap().v4.unwrap()
}

fn v6(text: &str) -> Range6 {
    let switches = r#"{"EnableIPv4":false,"EnableIPv6":true,"#;
    let text = text.replacen('{', switches, 1);
    parse(&text).unwrap().v6.unwrap()
}

#[test]
fn only_a_subnet_inside_the_network_and_smaller_than_it_takes_addresses_of_it() {
    let config = NetworkConfig::parse(br#"{"Network":"10.5.0.0/16"}"#).unwrap();
    let gives_out = |text: &str| config.gives_out(&Subnet::parse(text).unwrap());

    assert!(gives_out("10.5.1.0-24"));
    assert!(gives_out("10.5.128.0-17"));
    assert!(!gives_out("10.5.0.0-16"));
    assert!(!gives_out("10.0.0.0-8"));
    assert!(!gives_out("0.0.0.0-0"));
    assert!(!gives_out("192.168.7.0-24"));
}
