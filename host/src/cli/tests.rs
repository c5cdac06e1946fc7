use std::net::IpAddr;

use selvedge_engine::{ForwardRules, InterfaceChoice, Masquerade, Membership, SourcePorts, StorePrefix};

use super::*;
use crate::http::{Audience, HttpOptions};

/// Arguments and variables.
type Case = (&'static [&'static str], &'static [(&'static str, &'static str)]);

#[test]
fn the_help_reads_well() {
    insta::assert_snapshot!("help", printed(&["--help"]));
    insta::assert_snapshot!("run_help", printed(&["run", "--help"]));
}

#[test]
fn the_version_is_printed() {
    assert_eq!(printed(&["--version"]), "selvedge 0.1.0\n");
    assert_eq!(printed(&["run", "-version"]), "selvedge 0.1.0\n");
}

#[test]
fn flannels_way_of_writing_flags_is_understood() {
    let options = run(&[
        "run",
        "-etcd-endpoints=http://10.0.0.1:2379,10.0.0.2:2379",
        "--etcd-prefix",
        "//atomic.io/network/",
        "-iface",
        "eth1",
        "-iface=eth0",
        "--ip-masq",
        "--ip-masq-fully-random-disable",
        "--iptables-forward-rules=false",
        "--iptables-resync",
        "10",
        "-v",
        "2",
        "-subnet-lease-renew-margin=0x1e",
    ]);

    let endpoints: Vec<String> = options.endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(endpoints, ["http://10.0.0.1:2379", "http://10.0.0.2:2379"]);
    assert_eq!(options.prefix, StorePrefix::new("/atomic.io/network"));
    assert_eq!(options.selection.interfaces, [named("eth1"), named("eth0")]);
    assert_eq!(options.masquerade, Masquerade::On);
    assert_eq!(options.source_ports, SourcePorts::Kept);
    assert_eq!(options.forward_rules, ForwardRules::Off);
    assert_eq!(options.log_level, LogLevel::Debug);
    assert_eq!(options.renew_margin.as_secs(), 1800);
}

#[test]
fn the_defaults_are_flannels() {
    let options = run(&["run"]);

    let endpoints: Vec<String> = options.endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(endpoints, ["http://127.0.0.1:4001", "http://127.0.0.1:2379"]);
    assert_eq!(options.prefix, StorePrefix::default());
    assert_eq!(options.subnet_file.to_str(), Some("/run/flannel/subnet.env"));
    assert_eq!(options.renew_margin.as_secs(), 3600);
    assert_eq!(options.masquerade, Masquerade::Off);
    assert_eq!(options.source_ports, SourcePorts::FullyRandom);
    assert_eq!(options.forward_rules, ForwardRules::On);
    assert_eq!(options.membership, Membership::Log);
    assert_eq!(options.log_level, LogLevel::Info);
}

#[test]
fn the_last_of_repeated_flags_wins() {
    let options = run(&["run", "--etcd-prefix=/a", "--etcd-prefix=/b"]);

    assert_eq!(options.prefix, StorePrefix::new("/b"));
}

#[test]
fn variables_stand_in_for_flags() {
    let options = parse_with(
        &["run", "--iface=eth0"],
        &[
            ("FLANNELD_IFACE", "eth1,eth2"),
            ("FLANNELD_ETCD_PREFIX", "/x"),
            ("FLANNELD_IP_MASQ", "true"),
            ("FLANNELD_PUBLIC_IP", ""),
            ("FLANNELD_VERSION", "true"),
        ],
    );

    let Ok(Invocation::Run(options)) = options else {
        panic!("not a run: {options:?}");
    };
    assert_eq!(options.selection.interfaces, [named("eth0")]);
    assert_eq!(options.prefix, StorePrefix::new("/x"));
    assert_eq!(options.masquerade, Masquerade::On);
    assert_eq!(options.selection.public_ip, None);
}

#[test]
fn the_program_called_flanneld_runs() {
    let parsed = parse(["/usr/bin/flanneld", "-iface=eth7"].map(str::to_owned), |_| None);

    let Ok(Invocation::Run(options)) = parsed else {
        panic!("not a run: {parsed:?}");
    };
    assert_eq!(options.selection.interfaces, [named("eth7")]);
}

#[test]
fn bad_input_gives_one_clear_line() {
    let cases: &[Case] = &[
        (&["run", "--ifac", "eth0"], &[]),
        (&["run", "-frobnicate"], &[]),
        (&["run", "--kube-subnet-mgr"], &[]),
        (&["run", "--iface"], &[]),
        (&["run", "--ip-masq", "false"], &[]),
        (&["run", "--ip-masq=maybe"], &[]),
        (&["run", "--public-ip=10.0.0.300"], &[]),
        (&["run", "--public-ip=127.0.0.1"], &[]),
        (&["run", "--public-ipv6=10.0.0.1"], &[]),
        (&["run", "--public-ipv6=::1"], &[]),
        (&["run", "--subnet-lease-renew-margin=1440"], &[]),
        (&["run", "--membership=strict"], &[]),
        (&["run", "--healthz-port=65536"], &[]),
        (&["run", "--healthz-port=http"], &[]),
        (&["run", "--healthz-port=8081", "--healthz-ip=node"], &[]),
        (&["run", "--etcd-endpoints=ftp://a"], &[]),
        (&["run", "--etcd-certfile=/a"], &[]),
        (&["run", "--etcd-cafile=/nonexistent"], &[]),
        (&["run", "--etcd-endpoints=http://a b"], &[]),
        (&["run", "--etcd-endpoints=http://user:hunter2@a:2379"], &[]),
        (&["run", "--etcd-endpoints=,"], &[]),
        (&["run", "--etcd-username=root"], &[]),
        (&["run", "--etcd-password=hunter2"], &[]),
        (
            &["run", "--etcd-username=root", "--etcd-password-file=/nonexistent"],
            &[],
        ),
        (&["run"], &[("FLANNELD_SUBNET_LEASE_RENEW_MARGIN", "soon")]),
        (&["run"], &[("FLANNELD_LOG_LEVEL", "loud")]),
        (&["walk"], &[]),
        (&["--walk"], &[]),
    ];

    let lines: Vec<String> = cases
        .iter()
        .map(|(args, variables)| {
            let line = parse_with(args, variables).expect_err("bad input").to_string();
            assert_eq!(line.lines().count(), 1, "{line}");
            assert!(!line.contains("hunter2"), "{line}");
            let variables: Vec<String> = variables
                .iter()
                .map(|(name, value)| format!("{name}={value} "))
                .collect();
            let variables = variables.concat();
            format!("$ {variables}selvedge {}\n{line}\n", args.join(" "))
        })
        .collect();

    insta::assert_snapshot!("bad_input", lines.join("\n"));
}

#[test]
fn health_is_answered_where_flannel_answers_and_the_rest_to_this_node_alone_unless_an_address_is_given() {
    let http = |args: &[&str]| run(&[&["run"], args].concat()).http;
    let options = |address: &str, audience| {
        let address = address.parse().unwrap();
        Some(HttpOptions { address, audience })
    };

    assert_eq!(http(&[]), None);
    assert_eq!(http(&["--healthz-port=0"]), None);
    assert_eq!(http(&["--healthz-port", "-1"]), None);
    assert_eq!(http(&["--healthz-ip=127.0.0.1"]), None);
    assert_eq!(
        http(&["--healthz-port=8081"]),
        options("0.0.0.0:8081", Audience::Node)
    );
    assert_eq!(
        http(&["--healthz-port=8081", "-healthz-ip", "0.0.0.0"]),
        options("0.0.0.0:8081", Audience::Everybody)
    );
    assert_eq!(
        http(&["-healthz-port=8081", "-healthz-ip=::1"]),
        options("[::1]:8081", Audience::Everybody)
    );
    let variables = [
        ("FLANNELD_HEALTHZ_PORT", "8081"),
        ("FLANNELD_HEALTHZ_IP", "127.0.0.1"),
    ];
    let Ok(Invocation::Run(from_variables)) = parse_with(&["run"], &variables) else {
        panic!("not a run");
    };
    assert_eq!(
        from_variables.http,
        options("127.0.0.1:8081", Audience::Everybody)
    );
}

#[test]
fn passwords_never_show_in_debug_output() {
    let options = run(&["run", "--etcd-username=root", "--etcd-password=hunter2"]);

    assert!(!format!("{options:?}").contains("hunter2"));
}

#[test]
fn interfaces_are_taken_by_name_by_address_and_by_what_they_reach() {
    let options = run(&[
        "run",
        "-iface-can-reach=192.0.2.9",
        "-iface=10.0.0.1",
        "-iface=eth0",
    ]);

    assert_eq!(
        options.selection.interfaces,
        [
            InterfaceChoice::Address(IpAddr::from([10, 0, 0, 1])),
            named("eth0"),
            InterfaceChoice::CanReach(IpAddr::from([192, 0, 2, 9])),
        ]
    );
}

fn named(name: &str) -> InterfaceChoice {
    InterfaceChoice::Name(name.to_owned())
}

fn printed(args: &[&str]) -> String {
    match parse_with(args, &[]) {
        Ok(Invocation::Print(text)) => text,
        other => panic!("nothing to print: {other:?}"),
    }
}

fn run(args: &[&str]) -> RunOptions {
    match parse_with(args, &[]) {
        Ok(Invocation::Run(options)) => *options,
        other => panic!("not a run: {other:?}"),
    }
}

fn parse_with(args: &[&str], variables: &[(&str, &str)]) -> Result<Invocation, UsageError> {
    let args = std::iter::once("selvedge")
        .chain(args.iter().copied())
        .map(str::to_owned);
    parse(args, |wanted| {
        variables
            .iter()
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| (*value).to_owned())
    })
}
