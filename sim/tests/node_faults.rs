//! What goes wrong on a node does what it says, and the node copes.

use std::time::Duration;

use selvedge_engine::Revision;
use selvedge_sim::{Cluster, Linux, NodeId, View};

#[test]
fn a_machine_without_power_loses_its_pods_and_its_files_and_a_crashed_daemon_does_not() {
    let has_pod = |view: &View<'_>| view.linux(2).and_then(Linux::pod).is_some();
    let has_file = |view: &View<'_>| view.linux(2).and_then(Linux::subnet_file).is_some();

    let crash = Cluster::new(1)
        .crash_at(seconds(60), 2)
        .check_at(seconds(70), "all is there", move |view| {
            expect(has_pod(view) && has_file(view))
        })
        .restart_at(seconds(80), 2)
        .run_for(seconds(180));
    let outage = Cluster::new(1)
        .power_loss_at(seconds(60), 2)
        .check_at(seconds(70), "nothing is there", move |view| {
            expect(!has_pod(view) && !has_file(view))
        })
        .restart_at(seconds(80), 2)
        .run_for(seconds(180));

    for report in [&crash, &outage] {
        report.assert_ok();
        assert_eq!(report.leases().len(), 3);
        assert_eq!(report.node(2).map(|node| node.starts), Some(2));
    }
    assert_eq!(outage.subnet(2), crash.subnet(2));
}

#[test]
fn what_a_node_asked_for_before_it_died_is_carried_out_and_found_at_its_next_start() {
    let is_leased = |view: &View<'_>| {
        let public_ip = NodeId::new(1).public_ip();
        view.leases().values().any(|owner| *owner == public_ip)
    };

    // A message takes half a second, and the fourth request is the write of the lease.
    let report = Cluster::new(2)
        .store_delay(Duration::from_millis(500))
        .store_jitter(Duration::ZERO)
        .crash_at(Duration::from_millis(3_200), 1)
        .check_at(Duration::from_millis(3_300), "dead without lease", move |view| {
            expect(view.status(1).is_none() && !is_leased(view))
        })
        .check_at(seconds(4), "dead with a lease", move |view| {
            expect(view.status(1).is_none() && is_leased(view))
        })
        .restart_at(seconds(10), 1)
        .run_for(seconds(120));

    report.assert_ok();
    assert_eq!(report.leases().len(), 3);
    assert!(report.timeline().contains("(own lease found)"), "{report}");
}

#[test]
fn a_daemon_that_is_told_to_stop_ends_and_leaves_its_lease() {
    let report = Cluster::new(3)
        .stop_at(seconds(60), 2)
        .check_at(seconds(70), "stopped", |view| {
            expect(view.status(2).is_none() && view.leases().len() == 3)
        })
        .restart_at(seconds(80), 2)
        .run_for(seconds(180));

    report.assert_ok();
    assert!(report.timeline().contains("n2 stops"), "{report}");
    assert!(report.timeline().contains("(own lease found)"), "{report}");
}

#[test]
fn a_daemon_that_crashes_every_second_for_five_minutes_writes_nothing() {
    let is_untouched = |view: &View<'_>| {
        let store = view.store();
        // The config, and three nodes that each wrote once.
        expect(store.header().revision == Revision(5) && store.leases().len() == 3)
    };

    let report = Cluster::new(4)
        .check_at(seconds(60), "three leases", is_untouched)
        .crash_loop_at(seconds(60), 2)
        .restart_at(seconds(360), 2)
        .check_at(seconds(480), "the same three leases", is_untouched)
        .run_for(seconds(481));

    report.assert_ok();
    let starts = report.node(2).map_or(0, |node| node.starts);
    assert!((200..400).contains(&starts), "{starts}");
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn expect(holds: bool) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err("it is not so".to_owned())
    }
}
