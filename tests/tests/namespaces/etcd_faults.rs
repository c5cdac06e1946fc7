//! What happens to etcd: pods talk all the while, and the nodes hold the same subnets afterwards.

use std::thread;
use std::time::Duration;

use selvedge_host::lab::{Cut, Echoes, Pace, Place, ProbeStream};
use selvedge_tests::need;
use selvedge_tests::real_nodes::{RealNodes, node, wait_until};

use crate::PROGRAM;

/// Without end, as far as a test goes.
const STEADY: Pace = Pace {
    interval: Duration::from_millis(20),
    patience: Duration::from_secs(1),
    count: u16::MAX,
};

/// A subnet that no node chooses: the first of the network.
const NEWCOMER: &str = "subnets/10.50.0.0-24";

#[test]
fn a_killed_etcd_comes_back_and_nobody_notices() {
    need!(root, tun, ip, etcd);
    let mut real = RealNodes::up("t-ekill", 2, PROGRAM);
    let leases = real.leases();
    let traffic = Traffic::start(&real);

    real.etcd[0].kill().expect("killed");
    thread::sleep(Duration::from_secs(2));
    real.etcd[0].restart().expect("it starts again");

    await_news(&real, Duration::from_secs(10));
    assert_eq!(real.leases(), leases);
    assert_eq!(traffic.stop().lost(), 0);
}

#[test]
fn a_wiped_etcd_gets_every_lease_back() {
    need!(root, tun, ip, etcd);
    let mut real = RealNodes::up("t-ewipe", 2, PROGRAM);
    let leases = real.leases();
    let traffic = Traffic::start(&real);

    real.etcd[0].kill().expect("killed");
    thread::sleep(Duration::from_secs(1));
    real.etcd[0].wipe().expect("wiped");
    real.etcd[0].restart().expect("it starts again");
    real.lab.put_config().expect("etcd takes the network config");

    assert_healed(&real, &leases, Duration::from_secs(15));
    // A node that is back hears of the others when they are.
    let gap = longest_gap(&traffic.stop());
    assert!(gap < Duration::from_secs(10), "{gap:?} without an answer");
}

#[test]
fn a_deleted_key_and_a_revoked_lease_are_taken_again_at_once() {
    need!(root, tun, ip, etcd);
    let real = RealNodes::up("t-ekey", 2, PROGRAM);
    let leases = real.leases();
    let traffic = Traffic::start(&real);

    real.delete(&leases[0].0);
    assert_healed(&real, &leases, Duration::from_secs(5));
    real.revoke(&leases[1].0);
    assert_healed(&real, &leases, Duration::from_secs(5));

    let gap = longest_gap(&traffic.stop());
    assert!(gap < Duration::from_secs(1), "{gap:?} without an answer");
}

#[test]
fn a_node_that_missed_what_etcd_has_forgotten_catches_up() {
    need!(root, tun, ip, etcd);
    let real = RealNodes::up("t-ecomp", 2, PROGRAM);
    let leases = real.leases();
    real.put("subnets/10.50.0.0-25", r#"{"PublicIP":"192.0.2.98"}"#);
    real.await_log(node(1), "peer 10.50.0.0-25 via");
    let traffic = Traffic::start(&real);

    real.lab.cut(node(1), Cut::Store).expect("cut");
    real.delete("/coreos.com/network/subnets/10.50.0.0-25");
    real.put("subnets/10.50.0.128-25", r#"{"PublicIP":"192.0.2.99"}"#);
    real.compact();
    wait_for_log(&real, "cannot watch the leases", Duration::from_secs(15));
    real.lab.heal(node(1)).expect("healed");

    wait_for_log(&real, "peer 10.50.0.0-25 left", Duration::from_secs(15));
    wait_for_log(&real, "peer 10.50.0.128-25 via", Duration::from_secs(1));
    assert_eq!(real.leases().len(), leases.len() + 1);
    assert_eq!(traffic.stop().lost(), 0);
}

#[test]
fn one_of_three_members_may_be_killed() {
    need!(root, tun, ip, etcd);
    let mut real = RealNodes::up_with("t-ethree", 2, 3, PROGRAM);
    let leases = real.leases();
    let traffic = Traffic::start(&real);

    // The nodes use the first as long as it is well.
    real.etcd[0].kill().expect("killed");
    real.await_etcd();
    await_news(&real, Duration::from_secs(15));
    real.etcd[0].restart().expect("it starts again");
    real.await_etcd();
    real.etcd[1].kill().expect("killed");
    real.await_etcd();
    real.delete(&leases[0].0);
    assert_healed(&real, &leases, Duration::from_secs(15));

    let gap = longest_gap(&traffic.stop());
    assert!(gap < Duration::from_secs(2), "{gap:?} without an answer");
}

/// Echo requests between the pods of the first two nodes, both ways.
struct Traffic(Vec<ProbeStream>);

impl Traffic {
    fn start(real: &RealNodes) -> Self {
        let stream = |(from, to)| {
            let pod = real.lab.namespace(Place::Pod(node(from)));
            ProbeStream::start(&pod, real.pod(to), STEADY).expect("probes start")
        };
        Self([(1, 2), (2, 1)].map(stream).into())
    }

    fn stop(self) -> Echoes {
        let mut all = Echoes::default();
        for stream in self.0 {
            let echoes = stream.stop();
            assert!(echoes.sent() > 0, "nothing was sent");
            all.extend(&echoes);
        }
        all
    }
}

/// Returns for how long no request of either stream was answered.
fn longest_gap(echoes: &Echoes) -> Duration {
    let mut longest = Duration::ZERO;
    let mut begin = None;
    for probe in &echoes.0 {
        if probe.round_trip.is_some() {
            begin = None;
            continue;
        }
        let since = *begin.get_or_insert(probe.sent_at);
        longest = longest.max(probe.sent_at.saturating_sub(since) + STEADY.interval);
    }
    longest
}

/// Puts a new peer, and waits until all nodes have heard of it.
fn await_news(real: &RealNodes, within: Duration) {
    real.put(NEWCOMER, r#"{"PublicIP":"192.0.2.99"}"#);
    for number in real.lab.nodes() {
        let heard = wait_until(within, || real.log(number).contains("peer 10.50.0.0-24 via"));
        assert!(heard, "{}", real.log(number));
    }
    real.delete("/coreos.com/network/subnets/10.50.0.0-24");
}

fn wait_for_log(real: &RealNodes, text: &str, within: Duration) {
    let said = wait_until(within, || real.log(node(1)).contains(text));
    assert!(said, "no {text:?} within {within:?}:\n{}", real.log(node(1)));
}

/// Checks that the leases come back as they were, each on one etcd lease, and that all pods reach each other.
fn assert_healed(real: &RealNodes, leases: &[(String, String)], within: Duration) {
    let healed = wait_until(within, || {
        real.leases() == leases && real.count_etcd_leases() == leases.len()
    });
    assert!(
        healed,
        "{:?} on {} etcd leases\n{}",
        real.leases(),
        real.count_etcd_leases(),
        real.log(node(1))
    );
    let reached = wait_until(within, || {
        let links = real.lab.ping_all_pods(Pace::QUICK).expect("probes are sent");
        links.iter().all(|link| link.echoes.lost() == 0)
    });
    assert!(reached, "{}", real.log(node(1)));
}
