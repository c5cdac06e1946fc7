//! The rules that hide pods from the outside and let the node forward for them.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::thread;
use std::time::Duration;

use nix::unistd::Pid;
use selvedge_host::lab::{Ending, Namespace, Pace, Place, ProbeStream, Stopwatch};
use selvedge_tests::backend::{Backend, Families};
use selvedge_tests::need;
use selvedge_tests::real_nodes::{RealNodes, STORE, node, wait_until};

use crate::PROGRAM;
use crate::firewall::{Filter, SOON, await_filter, nft, restart, run, try_run};

const PORT: u16 = 7002;
/// How long rules that were taken away may be missing.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The programs that the rules can be for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Nftables,
    Iptables,
}

#[test]
fn masquerading_by_nftables_is_exact_held_to_and_removed() {
    need!(root, ip, nft, iptables, etcd);

    masquerades("t-masqnft", Kind::Nftables);
}

#[test]
fn masquerading_by_iptables_is_exact_held_to_and_removed() {
    need!(root, ip, nft, iptables, etcd);

    masquerades("t-masqipt", Kind::Iptables);
}

#[test]
fn pods_reach_each_other_where_forwarding_is_forbidden_by_default() {
    need!(root, ip, iptables, etcd);
    let mut real = wire("t-fwddrop", Kind::Iptables);
    for number in [1, 2] {
        run(&host(&real, number), "iptables -P FORWARD DROP");
    }

    real.start_all();

    assert!(reaches(&real, 1, 2));
    restart(&mut real, 1, &["--iptables-forward-rules=false"]);
    let is_shut = wait_until(SOON, || !reaches(&real, 1, 2));
    assert!(is_shut, "without our rules the policy counts");
    restart(&mut real, 1, &["--iptables-forward-rules=true"]);
    assert!(wait_until(SOON, || reaches(&real, 1, 2)), "{}", real.log(node(1)));
}

#[test]
fn nothing_is_left_to_do_on_a_node_that_runs_and_all_of_it_can_be_removed() {
    need!(root, ip, nft, iptables, etcd);
    let mut real = wire("t-fwplan", Kind::Iptables);
    real.lab.add_node_flags(&["--ip-masq", "--membership=enforce"]);
    real.start_all();
    let namespace = host(&real, 1);
    await_filter(&real, 1, Filter::Dropping);
    nft(&namespace, &["add table ip theirs"]);
    run(
        &namespace,
        "iptables -t nat -A POSTROUTING -s 10.9.0.0/16 -j MASQUERADE",
    );
    let file = real.lab.subnet_file(node(1)).display().to_string();
    let plan = format!(
        "{PROGRAM} plan --etcd-endpoints http://{STORE}:2379 --subnet-file {file} --ip-masq --membership=enforce"
    );
    let cleanup = format!("{PROGRAM} cleanup --subnet-file {file}");

    let planned = try_run(&namespace, &plan);
    real.lab.stop_node(node(1), Ending::Graceful).expect("it ends");
    run(&namespace, "iptables -t nat -F FLANNEL-POSTRTG");
    run(&namespace, "nft add rule inet selvedge tunnel accept");
    let differing = try_run(&namespace, &plan);
    let dry = run(&namespace, &format!("{cleanup} --dry-run"));
    let before = rules(&namespace);
    let cleaned = run(&namespace, &cleanup);

    assert_eq!(planned.as_deref().map(str::trim), Ok("nothing to do"));
    assert_eq!(
        differing.unwrap_or_else(|plan| plan),
        "~ iptables chains FLANNEL-POSTRTG and FLANNEL-FWD\n~ nftables table inet selvedge\n"
    );
    assert!(
        before.contains("FLANNEL-POSTRTG") && before.contains("table inet selvedge"),
        "{before}"
    );
    for line in ["nftables table inet selvedge", "iptables"] {
        assert!(
            cleaned.contains(line) && dry.contains(line),
            "{line}: {cleaned}\n{dry}"
        );
    }
    let left = rules(&namespace);
    for ours in ["FLANNEL", "flannel", "selvedge"] {
        assert!(!left.contains(ours), "{left}");
    }
    assert!(
        left.contains("table ip theirs") && left.contains("10.9.0.0/16"),
        "{left}"
    );
    assert_eq!(run(&namespace, &cleanup).trim(), "nothing to remove");
}

fn masquerades(name: &str, kind: Kind) {
    let mut real = wire(name, kind);
    let namespace = host(&real, 1);
    nft(&namespace, &["add table ip theirs", "add chain ip theirs own"]);
    run(
        &namespace,
        "iptables -t nat -A POSTROUTING -s 10.9.0.0/16 -j MASQUERADE",
    );
    run(&namespace, "iptables -N THEIRS");
    real.lab.add_node_flags(&["--ip-masq"]);
    real.start_all();
    let rules_stand =
        || kind.ours(&namespace).contains("masquerade") || kind.ours(&namespace).contains("MASQUERADE");
    assert!(wait_until(SOON, rules_stand), "{}", real.log(node(1)));

    for number in [1, 2] {
        let pod = real.lab.namespace(Place::Pod(node(number)));
        let outside = real.lab.namespace(Place::Store);
        let host_address = IpAddr::from(node(number).public_ip());
        let hidden = || source_of(&pod, real.pod(number), &outside, STORE) == Some(host_address);
        assert!(wait_until(SOON, hidden), "{}", real.log(node(number)));
    }
    let pods = [1, 2].map(|number| real.lab.namespace(Place::Pod(node(number))));
    let seen = source_of(&pods[0], real.pod(1), &pods[1], real.pod(2));
    assert_eq!(seen, Some(real.pod(1).into()));

    let daemon = *namespace
        .pids()
        .expect("listed")
        .first()
        .expect("the daemon runs");
    let standing = kind.ours(&namespace);
    thread::sleep(AT_ONCE);
    let idle = Children::of(daemon);
    thread::sleep(Duration::from_secs(5));
    assert_eq!(Children::of(daemon), idle, "no process while nothing happens");
    for tampering in kind.tamperings() {
        run(&namespace, tampering);
        let began = Stopwatch::start();
        let is_back = wait_until(SOON, || kind.ours(&namespace) == standing);
        let took = began.elapsed();
        assert!(
            is_back,
            "{tampering}: {}\n{}",
            kind.ours(&namespace),
            real.log(node(1))
        );
        assert!(took < AT_ONCE, "{tampering}: {took:?}");
        println!("{kind:?}: right {took:.0?} after {tampering}");
        assert_ne!(Children::of(daemon), idle, "a process is seen if there is one");
    }

    let other = kind.other();
    real.put("config", &other.config());
    restart(&mut real, 1, &[]);
    let is_other = wait_until(SOON, || {
        kind.is_absent(&namespace) && !other.is_absent(&namespace)
    });
    assert!(is_other, "{}\n{}", rules(&namespace), real.log(node(1)));
    restart(
        &mut real,
        1,
        &["--ip-masq=false", "--iptables-forward-rules=false"],
    );
    let is_gone = wait_until(SOON, || other.is_absent(&namespace) && kind.is_absent(&namespace));
    assert!(is_gone, "{}\n{}", rules(&namespace), real.log(node(1)));
    let left = rules(&namespace);
    for theirs in ["table ip theirs", "10.9.0.0/16", "THEIRS"] {
        assert!(left.contains(theirs), "{theirs}: {left}");
    }
}

impl Kind {
    pub(crate) fn config(self) -> String {
        let enabled = self == Self::Nftables;
        let config = Backend::Vxlan.config(Families::V4);
        config.replacen('{', &format!(r#"{{"EnableNFTables":{enabled},"#), 1)
    }

    const fn other(self) -> Self {
        match self {
            Self::Nftables => Self::Iptables,
            Self::Iptables => Self::Nftables,
        }
    }

    /// Returns its rules, our own and those beside them.
    fn ours(self, namespace: &Namespace) -> String {
        match self {
            Self::Nftables => try_run(namespace, "nft list table ip flannel-ipv4").unwrap_or_default(),
            Self::Iptables => {
                let tables = ["nat", "filter"];
                let saved = tables.map(|table| run(namespace, &format!("iptables-save -t {table}")));
                let saved = saved.concat();
                let lines = saved.lines().filter(|line| line.contains("FLANNEL"));
                lines.collect::<Vec<_>>().join("\n")
            }
        }
    }

    fn is_absent(self, namespace: &Namespace) -> bool {
        self.ours(namespace).is_empty()
    }

    const fn tamperings(self) -> &'static [&'static str] {
        match self {
            Self::Nftables => &[
                "nft delete table ip flannel-ipv4",
                "nft flush chain ip flannel-ipv4 postrtg",
                "nft add rule ip flannel-ipv4 forward drop",
            ],
            Self::Iptables => &[
                "iptables -t nat -F FLANNEL-POSTRTG",
                "iptables -t nat -D POSTROUTING 2",
                "iptables -I FLANNEL-FWD -j DROP",
            ],
        }
    }
}

/// What the kernel keeps of the processes that a process started and that ended: the page faults that they had
/// (`cminflt` of proc(5)), and every process has some.
#[derive(Debug, Eq, PartialEq)]
struct Children {
    faults: u64,
}

impl Children {
    fn of(daemon: Pid) -> Self {
        let stat = fs::read_to_string(format!("/proc/{daemon}/stat")).expect("the process runs");
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let field = after_name.split_whitespace().nth(8);
        Self {
            faults: field.and_then(|field| field.parse().ok()).expect("a number"),
        }
    }
}

fn wire(name: &str, kind: Kind) -> RealNodes {
    let real = RealNodes::wire_with_backend(name, 2, Backend::Vxlan, Families::V4, PROGRAM);
    real.put("config", &kind.config());
    real
}

fn host(real: &RealNodes, number: u8) -> Namespace {
    real.lab.namespace(Place::Node(node(number)))
}

fn rules(namespace: &Namespace) -> String {
    run(namespace, "nft list ruleset")
}

pub(crate) fn reaches(real: &RealNodes, from: u8, to: u8) -> bool {
    let pod = real.lab.namespace(Place::Pod(node(from)));
    let once = Pace {
        count: 1,
        patience: Duration::from_millis(300),
        ..Pace::QUICK
    };
    let probe = ProbeStream::start(&pod, real.pod(to), once).expect("a probe is sent");
    probe.finish().lost() == 0
}

/// Sends a datagram and returns the source that it has where it arrives.
fn source_of(from: &Namespace, source: Ipv4Addr, to: &Namespace, destination: Ipv4Addr) -> Option<IpAddr> {
    let bind = |namespace: &Namespace, address| {
        let socket = namespace.enter(|| UdpSocket::bind(address));
        socket.expect("the namespace is there").expect("the port is free")
    };
    let receiver = bind(to, (destination, PORT));
    let patience = Some(Duration::from_millis(500));
    receiver.set_read_timeout(patience).expect("a timeout");
    let sender = bind(from, (source, 0));
    sender.send_to(b"whose", (destination, PORT)).expect("sent");
    receiver.recv_from(&mut [0; 100]).ok().map(|(_, from)| from.ip())
}
