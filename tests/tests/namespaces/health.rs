//! What the daemon says about itself over HTTP: whether it is ready, what fails, and who may know.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use selvedge_host::lab::{Namespace, Place};
use selvedge_tests::backend::{Backend, Families};
use selvedge_tests::need;
use selvedge_tests::real_nodes::{RealNodes, node, run_ip, wait_until};
use serde_json::Value;

use crate::PROGRAM;

const PORT: u16 = 8081;
const FLAGS: &[&str] = &["--healthz-port=8081"];
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SOON: Duration = Duration::from_secs(15);

#[test]
fn a_node_is_ready_when_it_carries_its_lease_and_says_before_what_it_waits_for() {
    need!(root, tun, ip, etcd);
    let mut real = RealNodes::wire_flagged("t-ready", 1, PROGRAM, FLAGS);
    let namespace = real.lab.namespace(Place::Node(node(1)));
    run_ip(&namespace, &["route", "delete", "default"]);

    real.lab.start_node(node(1)).expect("it starts");

    await_obstacle(&real, "default route");
    assert_eq!(got(&real, "/healthz"), (200, "flanneld is running".to_owned()));
    assert_eq!(status(&real)["phase"], "searching");
    run_ip(&namespace, &["route", "add", "default", "via", "192.0.2.254"]);
    await_obstacle(&real, "etcd does not answer");
    assert_eq!(metric(&real, "store_connected"), Some(0.0));
    real.start_etcd();
    await_obstacle(&real, "no network config at /coreos.com/network/config");
    assert_eq!(metric(&real, r#"config_problem{problem="missing"}"#), Some(1.0));
    assert_eq!(metric(&real, "lease_remaining_seconds"), None);
    real.put("config", r#"{"Network":"10.50.0.0/16"}"#);

    real.await_traffic();

    assert_eq!(got(&real, "/readyz"), (200, "flanneld is ready".to_owned()));
    let remaining = metric(&real, "lease_remaining_seconds").expect("a lease");
    assert!((86_000.0..=86_400.0).contains(&remaining), "{remaining}");
    assert_eq!(metric(&real, "ready"), Some(1.0));
    assert_eq!(
        metric(&real, r#"events_total{event="lease_acquired"}"#),
        Some(1.0)
    );
    let status = status(&real);
    let lease = real.leases().remove(0).0;
    let subnet = status["lease"]["subnet"].as_str().expect("a subnet");
    assert!(lease.ends_with(subnet), "{lease} {subnet}");

    real.etcd[0].kill().expect("killed");
    let is_told = || metric(&real, "store_connected") == Some(0.0);
    assert!(wait_until(SOON, is_told), "{}", real.log(node(1)));
    assert_eq!(got(&real, "/readyz").0, 200, "it carries traffic all the same");
    assert_eq!(got(&real, "/healthz").0, 200);
}

#[test]
fn a_route_that_fails_for_one_peer_is_told_until_it_is_there_and_the_other_peers_have_theirs() {
    need!(root, ip, nft, etcd);
    let mut real = RealNodes::wire_flagged("t-failing", 2, PROGRAM, FLAGS);
    real.start_etcd();
    real.put("config", &Backend::HostGw.config(Families::V4));
    real.start_all();
    let namespace = real.lab.namespace(Place::Node(node(1)));
    assert_eq!(
        metric(&real, r#"kernel_objects_failing{kind="route"}"#),
        Some(0.0)
    );
    run_ip(&namespace, &["route", "add", "blackhole", "10.50.77.0/24"]);

    for number in [77, 78] {
        let key = format!("subnets/10.50.{number}.0-24");
        let value = format!(r#"{{"PublicIP":"192.0.2.{number}","BackendType":"host-gw"}}"#);
        real.put(&key, &value);
    }

    let is_tried_again = || {
        let failing = &status(&real)["failing"];
        failing[0]["attempts"]
            .as_u64()
            .is_some_and(|attempts| attempts >= 3)
    };
    assert!(wait_until(SOON, is_tried_again), "{}", status(&real));
    let told = status(&real);
    assert_eq!(told["failing"].as_array().map(Vec::len), Some(1), "{told}");
    let failing = &told["failing"][0];
    assert_eq!(failing["kind"], "route");
    assert_eq!(failing["owner"], "peer 10.50.77.0/24");
    assert_eq!(failing["object"], "route 10.50.77.0/24 via 192.0.2.77 dev eth0");
    assert_eq!(failing["error"], "taken");
    assert!(
        failing["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("is not ours")),
        "{failing}"
    );
    assert!(
        failing["retry_in_seconds"]
            .as_f64()
            .is_some_and(|wait| wait <= 30.0),
        "{failing}"
    );
    assert_eq!(
        metric(&real, r#"kernel_objects_failing{kind="route"}"#),
        Some(1.0)
    );
    assert_eq!(
        metric(&real, r#"kernel_objects_desired{kind="route"}"#),
        Some(3.0)
    );
    let refused = r#"kernel_operations_total{kind="route",operation="ensure",outcome="taken"}"#;
    assert!(metric(&real, refused).is_some_and(|count| count >= 3.0));
    assert_eq!(metric(&real, "peers"), Some(3.0));
    let filtered = r#"membership_filter_packets_total{reason="unknown_sender"}"#;
    assert_eq!(metric(&real, filtered), Some(0.0), "the kernel's filter is asked");
    let routes = namespace
        .ip_output(&["route", "show", "proto", "83"])
        .expect("listed");
    assert!(routes.contains("10.50.78.0/24 via 192.0.2.78"), "{routes}");
    assert_eq!(
        got(&real, "/readyz").0,
        200,
        "one peer's trouble is not the node's"
    );

    run_ip(&namespace, &["route", "delete", "blackhole", "10.50.77.0/24"]);

    let is_repaired = || metric(&real, r#"kernel_objects_failing{kind="route"}"#) == Some(0.0);
    assert!(wait_until(2 * SOON, is_repaired), "{}", status(&real));
    assert_eq!(status(&real)["failing"], Value::Array(Vec::new()));
    let routes = namespace
        .ip_output(&["route", "show", "proto", "83"])
        .expect("listed");
    assert!(routes.contains("10.50.77.0/24 via 192.0.2.77"), "{routes}");
}

#[test]
fn a_taken_health_port_is_named_once_and_waited_for_while_traffic_flows() {
    need!(root, tun, ip, etcd);
    let mut real = RealNodes::wire_flagged("t-hport", 1, PROGRAM, FLAGS);
    real.start_etcd();
    real.put("config", r#"{"Network":"10.50.0.0/16"}"#);
    let namespace = real.lab.namespace(Place::Node(node(1)));
    let other = namespace.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)));
    let other = other.expect("the node is there").expect("the port is free");

    real.start_all();

    let named = real.await_log(node(1), "cannot listen on 0.0.0.0:8081");
    assert!(
        named.contains("in use") && named.contains("--healthz-port"),
        "{named}"
    );
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(real.log(node(1)).matches("cannot listen on").count(), 1);
    drop(other);
    let answers = || get(&namespace, HERE, "/readyz").is_ok_and(|(code, _)| code == 200);
    assert!(wait_until(SOON, answers), "{}", real.log(node(1)));
}

#[test]
fn other_nodes_see_health_and_read_metrics_only_where_an_address_was_given() {
    need!(root, tun, ip, etcd);
    let mut real = RealNodes::wire_flagged("t-audience", 2, PROGRAM, FLAGS);
    real.start_etcd();
    real.put("config", r#"{"Network":"10.50.0.0/16"}"#);
    real.lab.start_node(node(1)).expect("it starts");
    real.lab.add_node_flags(&["--healthz-ip=192.0.2.2"]);
    real.lab.start_node(node(2)).expect("it starts");
    real.await_traffic();
    let elsewhere = real.lab.namespace(Place::Store);

    let codes = |number: u8| {
        let address = node(number).public_ip().into();
        let pages = ["/healthz", "/readyz", "/metrics", "/status"];
        pages.map(|path| get(&elsewhere, address, path).expect("it answers").0)
    };

    assert_eq!(codes(1), [200, 200, 403, 403]);
    assert_eq!(codes(2), [200, 200, 200, 200]);
    let own = real.lab.namespace(Place::Node(node(1)));
    let own_address = node(1).public_ip().into();
    assert_eq!(get(&own, own_address, "/metrics").expect("it answers").0, 200);
    assert!(get(&real.lab.namespace(Place::Node(node(2))), HERE, "/healthz").is_err());
    for direction in ["sent", "delivered"] {
        for unit in ["packets", "bytes"] {
            let count = metric(
                &real,
                &format!(r#"tunnel_{unit}_total{{direction="{direction}"}}"#),
            );
            assert!(count.is_some_and(|count| count > 0.0), "{unit} {direction}");
        }
    }
}

/// Waits until node 1 says that it is not ready for a reason.
fn await_obstacle(real: &RealNodes, text: &str) {
    let mut last = String::new();
    let is_told = wait_until(SOON, || {
        let namespace = real.lab.namespace(Place::Node(node(1)));
        let Ok((code, body)) = get(&namespace, HERE, "/readyz") else {
            return false;
        };
        last = body;
        code == 503 && last.starts_with("flanneld is not ready yet\n") && last.contains(text)
    });
    assert!(is_told, "no {text:?} in {last:?}:\n{}", real.log(node(1)));
}

/// Returns a metric of node 1 by its name without the prefix, with its labels.
fn metric(real: &RealNodes, series: &str) -> Option<f64> {
    let (code, text) = got(real, "/metrics");
    assert_eq!(code, 200, "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    let line = text.lines().find_map(|line| {
        let rest = line.strip_prefix("selvedge_")?.strip_prefix(series)?;
        rest.strip_prefix(' ')
    });
    line.map(|value| value.parse().expect("a number"))
}

fn status(real: &RealNodes) -> Value {
    let (code, text) = got(real, "/status");
    assert_eq!(code, 200, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

/// Asks node 1 from inside.
fn got(real: &RealNodes, path: &str) -> (u16, String) {
    let namespace = real.lab.namespace(Place::Node(node(1)));
    get(&namespace, HERE, path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Asks for a page from inside a namespace; returns the code and the text.
fn get(from: &Namespace, address: IpAddr, path: &str) -> io::Result<(u16, String)> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let ask = || {
        let mut stream = TcpStream::connect((address, PORT))?;
        stream.set_read_timeout(Some(SOON))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, io::Error>(answer)
    };
    let answer = from.enter(ask).expect("the namespace is there")?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
    let code = head.split_whitespace().nth(1).and_then(|code| code.parse().ok());
    Ok((code.ok_or(io::ErrorKind::InvalidData)?, body.to_owned()))
}
