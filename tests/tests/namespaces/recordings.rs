//! What real daemons recorded, run again without them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;
use std::time::Duration;

use selvedge_host::lab::{Cut, Ending, Place};
use selvedge_sim::{Replay, ReplayDetail};
use selvedge_tests::need;
use selvedge_tests::real_nodes::{RealNodes, node};

use crate::PROGRAM;

#[test]
fn the_recordings_of_nodes_with_faults_are_replayed_action_for_action() {
    need!(root, tun, ip, etcd);
    let mut real = RealNodes::up("t-record", 2, PROGRAM);
    let (first, second) = (node(1), node(2));

    let namespace = real.lab.namespace(Place::Node(first));
    namespace.ip(&["link", "delete", "flannel0"]).expect("deleted");
    real.await_log(first, "was gone");
    real.lab.cut(first, Cut::Store).expect("it is cut off");
    thread::sleep(Duration::from_secs(1));
    real.lab.heal(first).expect("it is healed");
    real.put("subnets/10.50.250.0-24", r#"{"PublicIP":"192.0.2.77"}"#);
    real.put("subnets/nonsense", "nonsense");
    real.await_log(first, "peer 10.50.250.0-24");
    real.await_log(second, "ignoring");
    real.lab.stop_node(first, Ending::Graceful).expect("it ends");
    real.lab.stop_node(second, Ending::Crash).expect("it ends");

    let told = replayed(&real, 1, 11);
    for line in [
        "holding subnet",
        "was gone; making it again",
        "peer 10.50.250.0-24 via 192.0.2.77",
        "ends: asked to stop",
    ] {
        assert!(told.contains(line), "no {line:?}:\n{told}");
    }
    let told = replayed(&real, 2, 11);
    assert!(told.contains("ignoring"), "{told}");
    assert!(told.contains("the recording has no end"), "{told}");

    let crashed = fs::read(real.lab.recording(second)).expect("the recording");
    real.lab.start_node(second).expect("it starts");
    real.lab.wait_ready().expect("it is ready");
    let kept = real.lab.recording(second).with_extension("rec.1");
    assert_eq!(fs::read(kept).expect("it is kept"), crashed);
}

#[test]
fn a_recording_that_is_full_keeps_the_newest_and_is_replayed_from_a_snapshot() {
    need!(root, tun, ip, etcd);
    let mut real = RealNodes::up_flagged("t-ring", 1, 1, PROGRAM, &["--record-size=1"]);
    let first = node(1);

    // As much as the ring of a MiB holds several times, in pieces of which many that come together still fit into a file.
    for number in 0..700 {
        let data = "x".repeat(4_000);
        let record = format!(r#"{{"PublicIP":"192.0.2.9","BackendType":"udp","Junk":"{number} {data}"}}"#);
        real.put("subnets/nonsense", &record);
        if number == 300 {
            real.lab.cut(first, Cut::Store).expect("it is cut off");
            thread::sleep(Duration::from_secs(1));
            real.lab.heal(first).expect("it is healed");
        }
    }
    real.put("subnets/10.50.250.0-24", r#"{"PublicIP":"192.0.2.77"}"#);
    real.await_log(first, "peer 10.50.250.0-24");
    real.lab.stop_node(first, Ending::Graceful).expect("it ends");

    let told = replayed(&real, 1, 1);
    assert!(told.contains("with a snapshot"), "{told}");
    assert!(told.contains("peer 10.50.250.0-24 via 192.0.2.77"), "{told}");
    assert!(told.contains("ends: asked to stop"), "{told}");
    let newest = real.lab.recording(first);
    let files = ["rec.1", "rec.2", "rec.3"].map(|extension| newest.with_extension(extension));
    for file in &files {
        let text = fs::read_to_string(file).expect("an older file");
        assert!(text.len() <= 1 << 18);
        let replay = Replay::run(&text, ReplayDetail::Events).expect("it can be read");
        assert!(replay.is_identical(), "{replay}");
    }
    assert!(!newest.with_extension("rec.4").exists());
}

/// Runs a node's recording of at least so many inputs again and returns what that tells; the recording's own hash confirms
/// the actions.
fn replayed(real: &RealNodes, number: u8, inputs: usize) -> String {
    let file = real.lab.recording(node(number));
    let text = fs::read_to_string(&file).expect("the recording");
    let replay = Replay::run(&text, ReplayDetail::Events).expect("it can be read");
    assert!(replay.is_identical(), "{replay}");
    assert!(replay.inputs() >= inputs, "{replay}");
    let mode = fs::metadata(&file).expect("the recording").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    replay.to_string()
}
