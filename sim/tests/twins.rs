//! Machines that announce the public IP of another node.

use std::time::Duration;

use selvedge_engine::{OnExpiry, Rival};
use selvedge_sim::{Backend, Cluster, Fault, Identity, NodeId, Profile, Report, Scenario, StoreFault};

const ORIGINAL: NodeId = NodeId::new(1);

#[test]
fn a_twin_takes_nothing_from_the_first_whatever_else_goes_wrong() {
    for (identity, rival) in [
        (Identity::TwinOf(ORIGINAL), Rival::Other),
        (Identity::CopyOf(ORIGINAL), Rival::Copy),
    ] {
        let mut refused = 0;
        for seed in 0..40 {
            let report = Cluster::of(scenario(seed, identity)).run();

            report.assert_ok();
            assert_eq!(leases_of_the_first(&report), 1, "seed {seed}");
            assert!(report.subnet(1).is_some(), "seed {seed}");
            let twin = report.status(5).and_then(|status| status.twin);
            assert!(
                twin.is_none_or(|twin| twin.rival == rival),
                "seed {seed}: {twin:?}"
            );
            refused += u32::from(twin.is_some());
        }
        assert!(
            refused > 30,
            "{identity:?}: {refused} of 40 were refused to the end"
        );
    }
}

#[test]
fn a_twin_is_written_and_read_and_has_to_be_another_nodes() {
    let scenario = scenario(1, Identity::CopyOf(ORIGINAL));

    let text = scenario.to_string();

    assert!(text.contains("copy_of = \"n1\""), "{text}");
    assert_eq!(Scenario::parse(&text), Ok(scenario));
    for wrong in ["n9", "n5"] {
        let text = text.replace("copy_of = \"n1\"", &format!("copy_of = \"{wrong}\""));
        assert!(Scenario::parse(&text).is_err(), "{wrong}");
    }
}

/// Draws what goes wrong, but with the first node itself; the fifth starts later and is what `identity` says.
fn scenario(seed: u64, identity: Identity) -> Scenario {
    let mut scenario = Profile::Usual.generate(seed, 5, Duration::from_mins(5));
    for plan in &mut scenario.nodes {
        plan.identity = Identity::Own;
    }
    scenario.nodes[0].starts_at = Duration::ZERO;
    scenario.nodes[4].starts_at = Duration::from_secs(30);
    scenario.nodes[4].identity = identity;
    // With host-gw a node refuses to announce an address that is not its own.
    scenario.backend = Backend::Udp;
    if identity == Identity::CopyOf(ORIGINAL) {
        // Until the first objection a copy carries what the first does, which strict mode forbids.
        scenario.on_expiry = OnExpiry::Keep;
    }
    scenario.faults.retain(|timed| match &timed.fault {
        Fault::Node { node, .. } => *node != ORIGINAL,
        Fault::Store(fault) => *fault == StoreFault::Full && timed.at > Duration::from_secs(20),
        Fault::Underlay(_) | Fault::Link(_) => false,
    });
    scenario
}

fn leases_of_the_first(report: &Report) -> usize {
    let owners = report.leases().values();
    owners.filter(|owner| **owner == ORIGINAL.public_ip()).count()
}
