//! Large clusters of few engines.

use std::time::Duration;

use selvedge_sim::{Cluster, TraceLine, View};

#[test]
fn engines_forward_to_hollow_nodes_until_their_leases_end() {
    let report = Cluster::new(1)
        .nodes(3)
        .hollow(130)
        .probe_every(Duration::ZERO)
        .check_at(Duration::from_secs(30), "all are peers", |view| {
            has_peers(view, 132)
        })
        .check_at(Duration::from_hours(25), "the dead are not", |view| {
            has_peers(view, 132 - DEAD)
        })
        .run_for(Duration::from_hours(26));

    report.assert_ok();
    assert_eq!(report.leases().len(), 133 - DEAD);
}

#[test]
fn hollow_nodes_leave_a_store_that_was_wiped_to_those_that_run() {
    let report = Cluster::new(1)
        .nodes(3)
        .hollow(50)
        .wipe_store_at(Duration::from_mins(1))
        .run_for(Duration::from_mins(5));

    report.assert_ok();
    assert_eq!(report.leases().len(), 3);
}

#[test]
fn engines_without_room_beside_hollow_nodes_wait() {
    let report = Cluster::new(1)
        .nodes(2)
        .hollow(254)
        .network("10.5.0.0/16")
        .check_at(Duration::from_mins(2), "one of them waits", |view| {
            match view.leases().len() {
                255 => Ok(()),
                other => Err(format!("there are {other} leases")),
            }
        })
        .run_for(Duration::from_mins(2));

    assert_eq!(report.leases().len(), 255);
}

#[test]
fn a_node_that_finds_many_peers_counts_them_and_names_those_that_follow() {
    let report = Cluster::new(1)
        .nodes(2)
        .hollow(300)
        .probe_every(Duration::ZERO)
        .keep_trace()
        .run_for(Duration::from_mins(1));

    let told = |text: &str| {
        let lines = report.trace().iter().map(TraceLine::text);
        lines.filter(|line| line.starts_with(text)).count()
    };
    assert_eq!(told("n1 300 peers came or changed, 0 left: 300 now"), 1);
    assert_eq!(told("n1 peer "), 1);
}

fn has_peers(view: &View<'_>, expected: usize) -> Result<(), String> {
    for node in 1..=3 {
        let peers = view.status(node).map(|status| status.peers.len());
        if peers != Some(expected) {
            return Err(format!("n{node} has {peers:?} peers, not {expected}"));
        }
    }
    Ok(())
}

/// One hollow node of 64 is dead.
const DEAD: usize = 3;
