//! Every rule has a checker that notices when it is broken: nodes that break it on purpose are found out, and in the same
//! scenarios honest nodes are not.

use std::collections::BTreeSet;
use std::time::Duration;

use selvedge_sim::{
    Cluster, Forgery, Invariant, Liveness, Model, Sabotage, Scenario, StoreFault, StoreWay, Tampering,
    Violation,
};

#[test]
fn every_sabotage_is_noticed_and_honest_nodes_pass() {
    for sabotage in Sabotage::ALL {
        let Canary {
            breaks,
            saying,
            cluster,
        } = canary_of(sabotage);

        let caught = (0..SEEDS).find(|seed| {
            let broken = broken_by(breaks, || cluster(*seed).sabotage(sabotage));
            broken.is_some_and(|violation| violation.invariant == breaks && violation.text.contains(saying))
        });

        let Some(seed) = caught else {
            panic!("nobody notices a node that {sabotage}");
        };
        assert_eq!(broken_by(breaks, || cluster(seed)), None, "{sabotage}");
    }
}

#[test]
fn a_daemon_that_ends_by_itself_is_noticed() {
    let broken = broken_by(Invariant::Contract, || {
        quiet(1).all_run(Model::Flannel).delete_lease_at(second(60), 1)
    });

    let broken = broken.expect("flanneld ends when its lease is deleted");
    assert!(
        broken.invariant == Invariant::Contract && broken.text.contains("ended: "),
        "{broken}"
    );
}

#[test]
fn the_refusal_of_an_authors_check_is_noticed() {
    let broken = broken_by(Invariant::Custom, || {
        quiet(1).check_at(second(10), "author", |_| Err("no".to_owned()))
    });

    assert_eq!(broken.map(|broken| broken.invariant), Some(Invariant::Custom));
}

#[test]
fn every_invariant_has_its_canary() {
    let of_nodes = Sabotage::ALL.map(|sabotage| canary_of(sabotage).breaks);
    let broken: BTreeSet<Invariant> = of_nodes.into_iter().chain([Invariant::Custom]).collect();

    assert_eq!(broken, BTreeSet::from(Invariant::ALL));
}

/// What shows that a rule is broken, and where to look for it.
struct Canary {
    breaks: Invariant,
    /// Part of what the checker says.
    saying: &'static str,
    cluster: fn(u64) -> Cluster,
}

/// In so many seeds a sabotage has to be noticed.
const SEEDS: u64 = 20;

/// Returns what breaks in a run, or by running it again where that is the question.
fn broken_by(breaks: Invariant, cluster: impl Fn() -> Cluster) -> Option<Violation> {
    let report = cluster().run();
    let again = || report.check_replay(&cluster().run());
    match report.violation() {
        None if breaks == Invariant::Replay => again(),
        violation => violation.cloned(),
    }
}

fn canary_of(sabotage: Sabotage) -> Canary {
    let (breaks, saying, cluster): (_, _, fn(u64) -> Cluster) = match sabotage {
        Sabotage::WriteBlindly => (Invariant::SingleOwner, "whose lease", crowded),
        Sabotage::CarryOn => (Invariant::SingleOwner, "still carries", robbed),
        Sabotage::IgnoreFence => (Invariant::OneDataPath, "while n1 carries", expired),
        Sabotage::SendToOldPeer => (Invariant::RightPeer, "sends a packet for", robbed),
        Sabotage::Impersonate => (Invariant::RightPeer, "sends a packet from", quiet),
        Sabotage::KeepGoneRoutes => (Invariant::Convergence, "has 10.5.", silent),
        Sabotage::ForgetItself => (Invariant::Identity, "although its lease of", restarted),
        Sabotage::TakeAnySource => (Invariant::SourceBinding, "accepts a packet of", forged),
        Sabotage::KeepTtl => (Invariant::HopLimit, "time to live", quiet),
        Sabotage::SendTwice => (Invariant::Amplification, "more than one datagram", quiet),
        Sabotage::AnswerNoise => (Invariant::Amplification, "none must be made about", noisy),
        Sabotage::AnswerEverything => (Invariant::Amplification, "ICMP errors within a second", vanished),
        Sabotage::LosePackets => (Invariant::Delivery, "without excuse", quiet),
        Sabotage::BreakChecksums => (Invariant::WireFormat, "checksum", quiet),
        Sabotage::StayDue => (Invariant::Contract, "not in the future", quiet),
        Sabotage::GiveUp => (Invariant::Contract, "ended: asked to stop", quiet),
        Sabotage::Hoard => (Invariant::Bounds, "4 records", rebooted),
        Sabotage::DeleteForeignRoute => (Invariant::ForeignState, "172.18.0.0/16", quiet),
        Sabotage::ForgetPeers => (Invariant::FailStatic, "the store has said nothing", storeless),
        Sabotage::ForgetPeersWithStore => (Invariant::FailStatic, "nothing stands against", wiped),
        Sabotage::KeepStalePeers => (Invariant::Convergence, "has 10.5.", wiped_without_one),
        Sabotage::HideRestart => (Invariant::Monotone, "goes back", wiped),
        Sabotage::ActOnOldNews => (Invariant::Monotone, "over what it knew", storeless),
        Sabotage::SetOtherwise => (Invariant::Idempotence, "would change", quiet),
        Sabotage::AskTwice => (Invariant::StoreRequests, "asks for the same", quiet),
        Sabotage::AskInVain => (Invariant::StoreRequests, "in which nothing happened", idle),
        Sabotage::OpenManyWatches => (Invariant::StoreRequests, "retry storm", quiet),
        Sabotage::WriteIllegibly => (Invariant::StoreValues, "reads back as another", quiet),
        Sabotage::Miscount => (Invariant::Counters, "counted", quiet),
        Sabotage::EndReservations => (Invariant::Reservations, "turns the reservation", reserved),
        Sabotage::DrawElsewhere => (Invariant::Replay, "the second time", quiet),
        Sabotage::NeverCompare => (Invariant::Convergence, "has 10.5.", deafened),
        Sabotage::StayFenced => (Invariant::Delivery, "without excuse", fenced),
        Sabotage::Despair => (Invariant::Liveness, "is not at rest: n1", healed),
        Sabotage::SitIdle => (Invariant::AtRest, "holds 0 leases", quiet),
        Sabotage::KeepOldAddress => (Invariant::Convergence, "to say where it is", moved),
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

/// Nothing goes wrong for hours, and no pod sends anything.
fn idle(seed: u64) -> Cluster {
    Cluster::of(Scenario::new(seed, 2, Duration::from_hours(3))).probe_every(Duration::ZERO)
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
    Cluster::of(Scenario::new(seed, 3, second(20)))
        .probe_every(Duration::from_millis(2))
        .crash_at(second(10), 2)
        .delete_lease_at(second(11), 2)
}

/// A node is gone, and its subnet with it, while no pod sends anything.
fn silent(seed: u64) -> Cluster {
    quiet(seed)
        .probe_every(Duration::ZERO)
        .crash_at(second(50), 2)
        .delete_lease_at(second(51), 2)
}

/// A node is cut off from the store until its lease has ended, and another takes the only subnet that is free then.
fn expired(seed: u64) -> Cluster {
    let hour = Duration::from_hours(1);
    let mut scenario = Scenario::new(seed, 4, hour * 24 + second(600));
    THREE_SUBNETS.clone_into(&mut scenario.config);
    Cluster::of(scenario)
        .probe_every(Duration::ZERO)
        .fence_on_expiry()
        .store_cut_at(second(60), [1], StoreWay::Both)
        .start_at(hour * 24 + second(300), 4)
}

/// A daemon is started again, with its subnet file.
fn restarted(seed: u64) -> Cluster {
    quiet(seed).crash_at(second(30), 1).restart_at(second(32), 1)
}

/// A node boots anew, and takes another lease as soon as all have to know that an operator deleted the one it had.
fn rebooted(seed: u64) -> Cluster {
    quiet(seed)
        .power_loss_at(second(30), 2)
        .delete_lease_at(Duration::from_millis(30_050), 2)
        .restart_at(Duration::from_millis(32_200), 2)
}

/// The store is away for a while.
fn storeless(seed: u64) -> Cluster {
    Cluster::of(Scenario::new(seed, 3, second(180)))
        .store_down_at(second(60))
        .heal_at(second(80))
}

/// A node never hears that a lease is gone, until it lists all leases.
fn deafened(seed: u64) -> Cluster {
    let node = 1.into();
    Cluster::of(Scenario::new(seed, 3, second(560)))
        .fault_at(second(30), StoreFault::LoseChange { node })
        .crash_at(second(40), 2)
        .delete_lease_at(second(41), 2)
}

/// Leases are short, and a node cannot renew its own for longer than that.
fn fenced(seed: u64) -> Cluster {
    let short = StoreFault::GrantLess(second(10));
    Cluster::of(Scenario::new(seed, 3, second(120)))
        .fence_on_expiry()
        .fault_at(Duration::ZERO, short)
        .store_cut_at(second(20), [1], StoreWay::Both)
        .heal_at(second(40))
}

/// A core heals whose node has lost its lease, while another node stays cut off.
fn healed(seed: u64) -> Cluster {
    let mut scenario = Scenario::new(seed, 3, second(140));
    scenario.liveness = Some(Liveness {
        at: second(40),
        core: vec![1.into(), 2.into()],
    });
    Cluster::of(scenario)
        .store_cut_at(second(20), [1, 3], StoreWay::Both)
        .delete_lease_at(second(30), 1)
}

/// The store loses all its data.
fn wiped(seed: u64) -> Cluster {
    Cluster::of(Scenario::new(seed, 3, second(180))).wipe_store_at(second(60))
}

/// The store loses all its data while a node is gone that never comes back.
fn wiped_without_one(seed: u64) -> Cluster {
    Cluster::of(Scenario::new(seed, 3, second(300)))
        .probe_every(Duration::ZERO)
        .crash_at(second(50), 2)
        .wipe_store_at(second(60))
}

/// A node gets another underlay address.
fn moved(seed: u64) -> Cluster {
    Cluster::of(Scenario::new(seed, 3, second(180))).tamper_at(second(60), 1, Tampering::MoveUnderlay)
}

/// An operator reserves the subnet that a node holds.
fn reserved(seed: u64) -> Cluster {
    let node = 1.into();
    quiet(seed).fault_at(second(60), StoreFault::Reserve { node })
}

const THREE_SUBNETS: &str =
    r#"{"Network":"10.5.0.0/16","SubnetLen":24,"SubnetMin":"10.5.1.0","SubnetMax":"10.5.3.0"}"#;
const SEVEN_SUBNETS: &str =
    r#"{"Network":"10.5.0.0/16","SubnetLen":24,"SubnetMin":"10.5.1.0","SubnetMax":"10.5.7.0"}"#;

const fn second(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
