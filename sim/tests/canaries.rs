//! Every rule has a checker that notices when it is broken: nodes that break it on purpose are found out, and in the same
//! scenarios honest nodes are not.

use std::collections::BTreeSet;
use std::time::Duration;

use selvedge_sim::{Cluster, Forgery, Invariant, Model, Report, Sabotage, Scenario, StoreFault, StoreWay};

#[test]
fn every_sabotage_is_noticed_and_honest_nodes_pass() {
    for sabotage in Sabotage::ALL {
        let canary = canary_of(sabotage);

        let caught =
            (0..SEEDS).find(|seed| canary.dies_of(&(canary.cluster)(*seed).sabotage(sabotage).run()));

        let Some(seed) = caught else {
            panic!("nobody notices a node that {sabotage}");
        };
        (canary.cluster)(seed).run().assert_ok();
    }
}

#[test]
fn a_daemon_that_ends_by_itself_is_noticed() {
    let report = Cluster::new(1)
        .all_run(Model::Flannel)
        .delete_lease_at(second(60), 1)
        .run_for(second(90));

    assert!(DEATH.dies_of(&report), "{report}");
}

#[test]
fn the_check_of_a_runs_author_is_noticed() {
    let report = Cluster::new(1)
        .check_at(second(10), "nothing is ever right", |_| {
            Err("of course".to_owned())
        })
        .run_for(second(20));

    assert!(AUTHORS_CHECK.dies_of(&report), "{report}");
}

#[test]
fn every_invariant_has_its_canary() {
    let canaries = Sabotage::ALL.map(canary_of).into_iter();
    let broken: BTreeSet<Invariant> = canaries
        .chain([DEATH, AUTHORS_CHECK])
        .map(|canary| canary.breaks)
        .collect();

    assert_eq!(Vec::from_iter(broken), Invariant::ALL);
}

/// What shows that a rule is broken, and where to look for it.
struct Canary {
    breaks: Invariant,
    /// Part of what the checker says.
    saying: &'static str,
    cluster: fn(u64) -> Cluster,
}

impl Canary {
    fn dies_of(&self, report: &Report) -> bool {
        report.violation().is_some_and(|violation| {
            violation.invariant == self.breaks && violation.text.contains(self.saying)
        })
    }
}

const SEEDS: u64 = 20;

const DEATH: Canary = Canary {
    breaks: Invariant::Contract,
    saying: "ended: ",
    cluster: quiet,
};
const AUTHORS_CHECK: Canary = Canary {
    breaks: Invariant::Custom,
    saying: "of course",
    cluster: quiet,
};

fn canary_of(sabotage: Sabotage) -> Canary {
    let (breaks, saying, cluster): (_, _, fn(u64) -> Cluster) = match sabotage {
        Sabotage::WriteBlindly => (Invariant::SingleOwner, "whose lease", crowded),
        Sabotage::CarryOn => (Invariant::SingleOwner, "still carries", robbed),
        Sabotage::SendToOldPeer => (Invariant::RightPeer, "sends a packet for", robbed),
        Sabotage::KeepGoneRoutes => (Invariant::Convergence, "has 10.5.", silent),
        Sabotage::TakeAnySource => (Invariant::SourceBinding, "accepts a packet of", forged),
        Sabotage::KeepTtl => (Invariant::HopLimit, "time to live", quiet),
        Sabotage::SendTwice => (Invariant::Amplification, "more than one datagram", quiet),
        Sabotage::AnswerNoise => (Invariant::Amplification, "none must be made about", noisy),
        Sabotage::AnswerEverything => (Invariant::Amplification, "ICMP errors within a second", vanished),
        Sabotage::LosePackets => (Invariant::Delivery, "without excuse", quiet),
        Sabotage::BreakChecksums => (Invariant::WireFormat, "checksum", quiet),
        Sabotage::StayDue => (Invariant::Contract, "not in the future", quiet),
        Sabotage::DeleteForeignRoute => (Invariant::ForeignState, "172.17.0.0/16", quiet),
        Sabotage::SetOtherwise => (Invariant::Idempotence, "would change", quiet),
        Sabotage::AskTwice => (Invariant::StoreRequests, "asks for the same", quiet),
        Sabotage::OpenManyWatches => (Invariant::StoreRequests, "retry storm", quiet),
        Sabotage::WriteIllegibly => (Invariant::StoreValues, "reads back as another", quiet),
        Sabotage::Miscount => (Invariant::Counters, "counted", quiet),
        Sabotage::EndReservations => (Invariant::Reservations, "turns the reservation", reserved),
        Sabotage::SitIdle => (Invariant::AtRest, "holds 0 leases", quiet),
    };
    Canary {
        breaks,
        saying,
        cluster,
    }
}

/// Nothing goes wrong.
fn quiet(seed: u64) -> Cluster {
    Cluster::of(Scenario::new(seed, 3, second(90)))
}

/// All start at once, in a network with hardly more room than they need.
fn crowded(seed: u64) -> Cluster {
    let mut scenario = Scenario::new(seed, 7, second(60));
    SEVEN_SUBNETS.clone_into(&mut scenario.config);
    Cluster::of(scenario).starting_together()
}

/// While a node is cut off from the store, its lease is deleted, and most often another takes the subnet.
fn robbed(seed: u64) -> Cluster {
    let mut scenario = Scenario::new(seed, 7, second(200));
    SEVEN_SUBNETS.clone_into(&mut scenario.config);
    let others = [5, 6, 7];
    let cluster = Cluster::of(scenario)
        .store_cut_at(second(20), [1], StoreWay::Both)
        .delete_lease_at(second(25), 1)
        .heal_at(second(40));
    others
        .into_iter()
        .fold(cluster, |cluster, node| cluster.start_at(second(30), node))
}

/// Someone sends packets as if they came from a pod.
fn forged(seed: u64) -> Cluster {
    quiet(seed).forge_at(second(60), 1, Forgery::ForeignSource)
}

/// Someone sends bytes that mean nothing.
fn noisy(seed: u64) -> Cluster {
    quiet(seed).forge_at(second(60), 1, Forgery::Noise)
}

/// Pods send a lot to a node that is gone, and its subnet with it.
fn vanished(seed: u64) -> Cluster {
    quiet(seed)
        .probe_every(Duration::from_millis(2))
        .crash_at(second(50), 2)
        .delete_lease_at(second(51), 2)
}

/// A node is gone, and its subnet with it, while no pod sends anything.
fn silent(seed: u64) -> Cluster {
    quiet(seed)
        .probe_every(Duration::ZERO)
        .crash_at(second(50), 2)
        .delete_lease_at(second(51), 2)
}

/// An operator reserves the subnet that a node holds.
fn reserved(seed: u64) -> Cluster {
    let node = 1.into();
    quiet(seed).fault_at(second(60), StoreFault::Reserve { node })
}

const SEVEN_SUBNETS: &str =
    r#"{"Network":"10.5.0.0/16","SubnetLen":24,"SubnetMin":"10.5.1.0","SubnetMax":"10.5.7.0"}"#;

const fn second(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
