//! The underlay of several segments, and cards that go down.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use selvedge_sim::{Cluster, NodeFault, NodeId, Scenario, Tampering, View};

#[test]
fn nodes_of_different_segments_reach_each_other_over_the_router() {
    let mut scenario = Scenario::new(1, 5, Duration::from_mins(2));
    for (number, plan) in scenario.nodes.iter_mut().enumerate() {
        plan.segment = u8::try_from(number % 3).unwrap();
    }

    let report = Cluster::of(scenario).run();

    report.assert_ok();
    assert_eq!(report.leases().len(), 5);
    assert!(
        report
            .timeline()
            .contains("at rest: 20 pairs of nodes reach each other"),
        "{report}"
    );
}

#[test]
fn a_node_whose_card_is_down_is_cut_off_from_all_and_finds_back() {
    let is_up = |view: &View<'_>| view.linux(2).is_some_and(selvedge_sim::Linux::is_attached);

    let mut cluster = Cluster::new(1)
        .nodes(3)
        .node_fault_at(seconds(60), 2, NodeFault::UnderlayDown);
    cluster = cluster
        .check_at(seconds(70), "down", move |view| expect(!is_up(view)))
        .resume_card_at(seconds(80), 2)
        .check_at(seconds(81), "up", move |view| expect(is_up(view)));
    let report = cluster.run_for(seconds(200));

    report.assert_ok();
    assert!(
        report
            .timeline()
            .contains("at rest: 6 pairs of nodes reach each other"),
        "{report}"
    );
}

#[test]
fn a_machine_that_boots_while_its_card_is_down_has_no_card() {
    let report = Cluster::new(1)
        .node_fault_at(seconds(60), 2, NodeFault::UnderlayDown)
        .power_loss_at(seconds(70), 2)
        .restart_at(seconds(75), 2)
        .check_at(seconds(80), "down", |view| {
            expect(!view.linux(2).is_some_and(selvedge_sim::Linux::is_attached))
        })
        .resume_card_at(seconds(90), 2)
        .run_for(seconds(240));

    report.assert_ok();
}

#[test]
fn tampering_does_to_the_kernel_what_it_says() {
    let node = NodeId::new(2);
    let tamperings = [
        Tampering::RenameTunnel,
        Tampering::ChangeTunnelMtu,
        Tampering::LoseRoute,
        Tampering::LoseAddress,
        Tampering::MisdirectRoute,
        Tampering::MoveUnderlay,
        Tampering::ChangeUnderlayMtu,
    ];
    for tampering in tamperings {
        let before = Rc::new(RefCell::new(None));
        let seen = Rc::clone(&before);
        let report = Cluster::new(1)
            .check_at(seconds(59), "before", move |view| {
                *seen.borrow_mut() = view.linux(node).cloned();
                Ok(())
            })
            .tamper_at(seconds(60), node, tampering)
            .check_at(seconds(60) + BEFORE_IT_IS_TOLD, "after", move |view| {
                expect(view.linux(node) != before.borrow().as_ref())
            })
            .run_for(seconds(180));

        report.assert_ok();
    }
    for nothing in [
        Tampering::LoseNeighbour,
        Tampering::LoseFdbEntry,
        Tampering::ChangeTunnelMac,
    ] {
        let report = Cluster::new(1)
            .tamper_at(seconds(60), node, nothing)
            .keep_trace()
            .run_for(seconds(120));

        report.assert_ok();
        assert!(
            report
                .trace()
                .iter()
                .any(|line| line.text().contains("has nothing of the kind"))
        );
    }
}

#[test]
fn a_card_that_flaps_costs_a_tunnel_nothing() {
    let report = Cluster::new(1)
        .tamper_at(seconds(60), 2, Tampering::FlapUnderlay)
        .run_for(seconds(120));

    report.assert_ok();
}

/// The kernel takes longer to tell the daemon, which repairs what it can.
const BEFORE_IT_IS_TOLD: Duration = Duration::from_micros(100);

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
