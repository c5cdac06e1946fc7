//! What is wrong is said in one clear line; what may get better is waited for.

use std::fs;
use std::net::UdpSocket;
use std::process::{Command, Output, Stdio};

use selvedge_host::lab::Place;
use selvedge_tests::need;
use selvedge_tests::real_nodes::{RealNodes, node};

use crate::PROGRAM;

const NETWORK: &str = r#"{"Network":"10.50.0.0/16"}"#;

#[test]
fn a_bad_flag_is_refused() {
    let refused = output(Command::new(PROGRAM).args(["run", "--ifac", "eth0"]));

    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(
        one_line(&refused),
        "selvedge: unknown flag --ifac; did you mean --iface?"
    );
}

#[test]
fn etcd_is_waited_for() {
    need!(root, tun, ip, etcd);
    let mut real = RealNodes::wire("t-noetcd", 1, PROGRAM);

    real.lab.start_node(node(1)).expect("it starts");

    let line = real.await_log(node(1), "etcd at");
    assert!(line.contains("http://192.0.2.250:2379"), "{line}");
    real.start_etcd();
    real.put("config", NETWORK);
    real.await_traffic();
}

#[test]
fn a_network_config_is_waited_for_until_it_is_valid() {
    need!(root, tun, ip, etcd);
    let mut real = RealNodes::wire("t-config", 1, PROGRAM);
    real.start_etcd();

    real.lab.start_node(node(1)).expect("it starts");

    real.await_log(node(1), "/coreos.com/network/config");
    real.put("config", r#"{"Network":"10.50.0.0/33"}"#);
    let line = real.await_log(node(1), "10.50.0.0/33");
    assert!(line.contains("Network"), "{line}");
    real.put("config", NETWORK);
    real.await_traffic();
}

#[test]
fn a_taken_port_is_named_and_waited_for() {
    need!(root, tun, ip, etcd);
    let mut real = RealNodes::wire("t-port", 1, PROGRAM);
    real.start_etcd();
    real.put("config", NETWORK);

    a_taken_port_is_waited_for(&mut real);
}

#[test]
fn a_default_route_is_waited_for() {
    need!(root, tun, ip, etcd);
    let mut real = RealNodes::wire("t-nodefault", 1, PROGRAM);
    real.start_etcd();
    real.put("config", NETWORK);
    let namespace = real.lab.namespace(Place::Node(node(1)));
    namespace.ip(&["route", "delete", "default"]).expect("deleted");

    real.lab.start_node(node(1)).expect("it starts");

    let line = real.await_log(node(1), "default route");
    assert!(line.contains("--iface"), "it says what to do: {line}");
    namespace
        .ip(&["route", "add", "default", "via", "192.0.2.254"])
        .expect("added");
    real.await_traffic();
}

#[test]
fn a_machine_without_tun_device_is_told_so() {
    need!(root, tun, ip, unshare, etcd);
    let mut real = RealNodes::wire("t-notun", 1, PROGRAM);
    real.start_etcd();
    real.put("config", NETWORK);
    let script = r#"mount -t tmpfs none /dev/net && exec "$@""#;
    let hidden = ["--mount", "sh", "-c", script, "sh"];

    let ended = run_inside(&real, "unshare", &hidden, &[]);

    assert_eq!(ended.status.code(), Some(69), "{ended:?}");
    assert!(errors(&ended).contains("/dev/net/tun"), "{ended:?}");
}

#[test]
fn a_missing_capability_is_named() {
    need!(root, tun, ip, setpriv, etcd);
    let mut real = RealNodes::wire("t-cap", 1, PROGRAM);
    real.start_etcd();
    real.put("config", NETWORK);

    let ended = run_inside(
        &real,
        "setpriv",
        &["--inh-caps=-net_admin", "--bounding-set=-net_admin"],
        &[],
    );

    assert_eq!(ended.status.code(), Some(77), "{ended:?}");
    assert!(errors(&ended).contains("CAP_NET_ADMIN"), "{ended:?}");
}

#[test]
fn an_unreadable_old_subnet_file_is_replaced_only_by_a_good_one() {
    need!(root, tun, ip, etcd);
    let mut real = RealNodes::wire("t-oldfile", 1, PROGRAM);
    real.start_etcd();
    let file = real.lab.subnet_file(node(1));
    fs::create_dir_all(file.parent().expect("a directory")).expect("made");
    fs::write(&file, "FLANNEL_SUBNET=rubbish\n\u{0}").expect("written");

    real.lab.start_node(node(1)).expect("it starts");

    real.await_log(node(1), "/coreos.com/network/config");
    assert!(fs::read_to_string(&file).expect("kept").contains("rubbish"));
    real.put("config", NETWORK);
    real.await_traffic();
    assert!(
        fs::read_to_string(&file)
            .expect("replaced")
            .contains("FLANNEL_SUBNET=10.50.")
    );
}

/// Runs the daemon in node 1's namespace, wrapped by another program, until it ends by itself.
pub(crate) fn run_inside(real: &RealNodes, wrapper: &str, arguments: &[&str], flags: &[&str]) -> Output {
    let mut command = real.lab.namespace(Place::Node(node(1))).command("timeout");
    command.arg("20").arg(wrapper).args(arguments).arg(PROGRAM);
    command.args([
        "run",
        "--etcd-endpoints",
        "http://192.0.2.250:2379",
        "--subnet-file",
    ]);
    output(command.arg(real.lab.subnet_file(node(1))).args(flags))
}

fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("it runs")
}

fn one_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(text.lines().count(), 1, "{text}");
    text.trim_end().to_owned()
}

/// Returns the lines at error level, wherever the daemon logs.
pub(crate) fn errors(output: &Output) -> String {
    let all = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let text = String::from_utf8_lossy(&all).into_owned();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    lines.concat()
}

/// Takes the tunnel's port of node 1, starts its daemon, and gives the port back when the daemon has named it.
pub(crate) fn a_taken_port_is_waited_for(real: &mut RealNodes) {
    let namespace = real.lab.namespace(Place::Node(node(1)));
    let other = namespace.enter(|| UdpSocket::bind((node(1).public_ip(), 8285)));
    let other = other.expect("the node is there").expect("the port is free");

    real.lab.start_node(node(1)).expect("it starts");

    let line = real.await_log(node(1), "192.0.2.1:8285");
    assert!(line.contains("in use") || line.contains("taken"), "{line}");
    drop(other);
    real.await_traffic();
}
