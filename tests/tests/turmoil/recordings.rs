//! What the host loop told its engines, told to engines alone: they do the same.

use std::time::Duration;

use selvedge_engine::{ActionHash, Event, ExitReason, Recording};
use selvedge_sim::{Replay, ReplayDetail, ReplayVerdict};
use selvedge_tests::turmoil_cluster::{ClusterOptions, TurmoilCluster};

use crate::support::{MINUTE, joined, knows, news_spread, put_newcomer};

#[test]
fn recordings_of_a_run_with_faults_are_replayed_action_for_action() {
    for seed in 90..93 {
        let cluster = a_run_with_faults(seed);

        for node in &cluster.nodes {
            let (recording, actions) = node.recording();
            let replay = Replay::run(&recording, ReplayDetail::Events).unwrap();

            assert!(replay.is_identical(), "{}: {replay}", node.name);
            assert_eq!(replay.actions(), actions, "{}", node.name);
            assert!(replay.inputs() > 30, "{}: {replay}", node.name);
        }
        let (recording, _) = cluster.nodes[2].recording();
        let told = Replay::run(&recording, ReplayDetail::Events).unwrap().to_string();
        for line in ["peer 10.5.250.0-24 via 192.0.2.7", "ends: asked to stop"] {
            assert!(told.contains(line), "{told}");
        }
    }
}

#[test]
fn a_recording_of_bounded_size_ends_with_the_newest_and_is_replayed_action_for_action() {
    let options = ClusterOptions {
        ring_size: Some(RING),
        ..ClusterOptions::new(95)
    };
    let mut cluster = a_run_with_faults_in(options);
    for _ in 0..400 {
        put_newcomer(&cluster);
        cluster.run_for(Duration::from_secs(1));
    }

    for node in &cluster.nodes {
        let files = node.ring();
        let size: usize = files.iter().map(String::len).sum();
        assert!(u64::try_from(size).unwrap() <= RING, "{}: {size}", node.name);
        let (_, mut actions) = node.recording();
        for file in &files {
            let replay = Replay::run(file, ReplayDetail::Events).unwrap();

            assert!(replay.is_identical(), "{}: {replay}", node.name);
            assert_eq!(replay.actions(), actions, "{}", node.name);
            let Some(begun) = continued(file) else { break };
            assert!(replay.to_string().contains("with a snapshot"), "{replay}");
            actions = begun;
        }
    }
    let oldest = cluster.nodes[0].ring().pop().unwrap();
    assert!(continued(&oldest).is_some(), "nothing was dropped");
}

#[test]
fn a_replay_says_where_a_changed_recording_leads_elsewhere() {
    let mut cluster = joined(ClusterOptions::new(94));
    cluster.run_for(MINUTE);
    let (recording, _) = cluster.nodes[0].recording();
    let told = 1 + recording
        .lines()
        .position(|line| line.contains("10.5.0.0/16"))
        .unwrap();
    let changed = recording.replace("10.5.0.0/16", "10.6.0.0/16");

    let replay = Replay::run(&changed, ReplayDetail::Events).unwrap();

    let ReplayVerdict::Differs {
        line,
        recorded,
        replayed,
        ..
    } = replay.verdict()
    else {
        panic!("{replay}");
    };
    assert_eq!(line, told, "{replay}");
    assert_ne!(recorded, replayed);
    assert!(replay.to_string().contains("identical actions: no"), "{replay}");
}

/// Returns the actions before a recording, if it goes on from another.
fn continued(recording: &str) -> Option<ActionHash> {
    let recording = Recording::parse(recording).expect("it can be read");
    Some(recording.header().continued.as_ref()?.actions)
}

fn a_run_with_faults(seed: u64) -> TurmoilCluster {
    a_run_with_faults_in(ClusterOptions::new(seed))
}

fn a_run_with_faults_in(options: ClusterOptions) -> TurmoilCluster {
    let mut cluster = joined(options);
    cluster.partition(0);
    let newcomer = put_newcomer(&cluster);
    cluster.compact();
    cluster.run_for(MINUTE);
    cluster.heal(0);
    cluster.run_until(MINUTE, "the node learns what it missed", |cluster| {
        knows(&cluster.nodes[0], &newcomer)
    });
    cluster.stop_etcd(0);
    cluster.run_for(2 * MINUTE);
    cluster.start_etcd(0);
    news_spread(&mut cluster, MINUTE);
    let lost = cluster.nodes[1].subnet().unwrap();
    cluster.delete_key(&lost);
    cluster.run_for(10 * MINUTE);
    let told = cluster.nodes[1].take_events();
    assert!(
        told.iter().any(|event| matches!(event, Event::LeaseLost { .. })),
        "{told:?}"
    );
    cluster.nodes[2].stop();
    cluster.run_until(Duration::from_secs(10), "the node ends", |cluster| {
        cluster.nodes[2].exit() == Some(ExitReason::Shutdown)
    });
    cluster
}

/// A recording's size in bytes: so small that a run wraps it.
const RING: u64 = 96 * 1024;
