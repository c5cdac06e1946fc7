//! Machines that announce the same public IP: twins, and one machine after a reboot.

use std::time::Duration;

use proptest::prelude::*;
use selvedge_engine::{PreviousSubnet, Setup};
use selvedge_tests::engine_and_store::{Bench, Fate, setup_on};

const CONFIG: &str = r#"{"Network":"10.50.0.0/16"}"#;
const PUBLIC_IP: [u8; 4] = [10, 0, 2, 15];

/// Longer than any wait after a refusal, with a probation and a half.
const LONG: Duration = Duration::from_mins(11);

#[test]
fn a_rebooted_machine_keeps_its_subnet_and_carries_it_after_a_moment() {
    let mut bench = Bench::new(CONFIG);
    let before = bench.add_with(setup_on(1, PUBLIC_IP));
    bench.settle();
    let subnet = bench.subnet(before);
    bench.kill(before);

    let after = bench.add_with(setup_on(2, PUBLIC_IP));
    bench.run_for(Duration::from_millis(2900));
    assert_eq!(bench.subnet(after), None);
    bench.run_for(Duration::from_millis(200));

    assert_eq!(bench.subnet(after), subnet);
    assert_eq!(bench.leases().len(), 1);
    assert_eq!(
        bench.store.leases().len(),
        1,
        "neither the claim's nor the old etcd lease is left"
    );
}

#[test]
fn a_restarted_daemon_takes_its_subnet_over_at_once() {
    let mut bench = Bench::new(CONFIG);
    let before = bench.add_with(setup_on(1, PUBLIC_IP));
    bench.settle();
    bench.kill(before);

    let after = bench.add_with(setup_on(1, PUBLIC_IP));
    bench.settle();

    assert_eq!(bench.subnet(after), bench.subnet(before));
}

#[test]
fn a_twin_is_refused_with_the_cure_and_the_first_goes_on() {
    let mut bench = Bench::new(CONFIG);
    let first = bench.add_with(setup_on(1, PUBLIC_IP));
    bench.settle();
    let subnet = bench.subnet(first);

    let twin = bench.add_with(setup_on(2, PUBLIC_IP));
    for _ in 0..100 {
        bench.run_for(Duration::from_millis(100));
        assert_eq!(bench.subnet(first), subnet);
        assert_eq!(bench.subnet(twin), None);
    }

    for node in [first, twin] {
        assert!(
            bench
                .node(node)
                .said("give each machine its own with --iface or --public-ip")
        );
    }
    assert_eq!(bench.leases().len(), 1);
    assert_eq!(bench.store.leases().len(), 1);
}

#[test]
fn a_refused_twin_tries_ever_more_rarely() {
    let mut bench = Bench::new(CONFIG);
    bench.add_with(setup_on(1, PUBLIC_IP));
    bench.settle();
    bench.add_with(setup_on(2, PUBLIC_IP));
    bench.run_for(Duration::from_hours(1));
    let revision = bench.store.header().revision;

    bench.run_for(Duration::from_hours(5));

    let writes = bench.store.header().revision.0 - revision.0;
    assert!(
        (60..=120).contains(&writes),
        "two writes every five to ten minutes: {writes}"
    );
}

#[test]
fn a_refused_twin_takes_over_when_the_first_is_gone() {
    let mut bench = Bench::new(CONFIG);
    let first = bench.add_with(setup_on(1, PUBLIC_IP));
    bench.settle();
    let subnet = bench.subnet(first);
    let twin = bench.add_with(setup_on(2, PUBLIC_IP));
    bench.run_for(Duration::from_hours(1));

    bench.kill(first);
    bench.run_for(LONG);

    assert_eq!(bench.subnet(twin), subnet);
    assert_eq!(bench.store.leases().len(), 1);
}

#[test]
fn of_twins_that_start_together_one_wins() {
    let mut bench = Bench::new(CONFIG);
    let twins: Vec<_> = (1..=4)
        .map(|machine| bench.add_with(setup_on(machine, PUBLIC_IP)))
        .collect();

    bench.run_for(Duration::from_secs(30));

    let carrying = twins.iter().filter(|twin| bench.subnet(**twin).is_some());
    assert_eq!(carrying.count(), 1);
    assert_eq!(bench.leases().len(), 1);
}

#[test]
fn a_first_that_was_cut_off_for_long_leaves_the_subnet_to_the_twin() {
    let mut bench = Bench::new(CONFIG);
    let first = bench.add_with(setup_on(1, PUBLIC_IP));
    bench.settle();
    let subnet = bench.subnet(first);
    bench.cut_off(first);

    let twin = bench.add_with(setup_on(2, PUBLIC_IP));
    bench.run_for(Duration::from_secs(4));
    assert_eq!(bench.subnet(twin), subnet);
    bench.reconnect(first);
    bench.run_for(Duration::from_mins(2));

    assert_eq!(bench.subnet(twin), subnet);
    assert_eq!(bench.subnet(first), None);
    assert!(bench.node(first).said("give each machine its own"));
    assert!(!bench.node(twin).said("lost the lease"));
}

#[test]
fn a_first_that_comes_back_in_time_takes_its_subnet_back() {
    let mut bench = Bench::new(CONFIG);
    let first = bench.add_with(setup_on(1, PUBLIC_IP));
    bench.settle();
    let subnet = bench.subnet(first);
    bench.cut_off(first);
    let twin = bench.add_with(setup_on(2, PUBLIC_IP));
    bench.run_for(Duration::from_secs(1));

    bench.reconnect(first);
    bench.run_for(Duration::from_secs(5));

    assert_eq!(bench.subnet(first), subnet);
    assert_eq!(bench.subnet(twin), None);
}

/// The objection and the end of the probation are under way at once, and arrive in either order.
#[test]
fn an_objection_and_a_confirmation_under_way_at_once_have_one_winner() {
    for objection_is_first in [false, true] {
        let mut bench = Bench::new(CONFIG);
        let first = bench.add_with(setup_on(1, PUBLIC_IP));
        bench.settle();
        let twin = bench.add_with(setup_on(2, PUBLIC_IP));
        bench.node(first).fates.extend([Fate::HeldBack]);
        bench.node(twin).fates.extend([Fate::Answered; 5]);
        bench.node(twin).fates.extend([Fate::HeldBack]);
        bench.run_for(Duration::from_secs(4));

        let (one, other) = if objection_is_first {
            (first, twin)
        } else {
            (twin, first)
        };
        bench.release(one);
        bench.settle();
        bench.release(other);
        bench.run_for(Duration::from_secs(1));

        assert!(
            bench.subnet(one).is_some(),
            "objection first: {objection_is_first}"
        );
        assert_eq!(bench.subnet(other), None, "objection first: {objection_is_first}");
    }
}

#[test]
fn a_claim_whose_answer_is_lost_is_still_one_claim() {
    for lost in 0..8 {
        let mut bench = Bench::new(CONFIG);
        let before = bench.add_with(setup_on(1, PUBLIC_IP));
        bench.settle();
        let subnet = bench.subnet(before);
        bench.kill(before);

        let after = bench.add_with(setup_on(2, PUBLIC_IP));
        bench.node(after).fates.extend(vec![Fate::Answered; lost]);
        bench.node(after).fates.extend([Fate::AnswerLost]);
        bench.run_for(Duration::from_mins(1));

        assert_eq!(bench.subnet(after), subnet, "answer {lost} lost");
        assert_eq!(bench.leases().len(), 1);
        assert!(bench.store.leases().len() <= 2, "answer {lost} lost");
    }
}

#[test]
fn a_machine_that_reboots_in_its_probation_keeps_its_subnet_all_the_same() {
    let mut bench = Bench::new(CONFIG);
    let mut node = bench.add_with(setup_on(1, PUBLIC_IP));
    bench.settle();
    let subnet = bench.subnet(node);

    for machine in 2..5 {
        bench.kill(node);
        node = bench.add_with(setup_on(machine, PUBLIC_IP));
        bench.run_for(Duration::from_secs(1));
    }
    bench.run_for(Duration::from_secs(20));

    assert_eq!(bench.subnet(node), subnet);
    assert!(!bench.node(node).said("give each machine"));
}

#[test]
fn a_lease_of_an_older_boot_outside_the_network_is_replaced() {
    let mut bench = Bench::new(r#"{"Network":"10.60.0.0/16"}"#);
    let before = bench.add_with(setup_on(1, PUBLIC_IP));
    bench.settle();
    bench.kill(before);
    bench.put("config", CONFIG);

    let after = bench.add_with(setup_on(2, PUBLIC_IP));
    bench.run_for(Duration::from_secs(5));

    assert!(
        bench
            .subnet(after)
            .is_some_and(|subnet| subnet.starts_with("10.50."))
    );
    assert_eq!(bench.leases().len(), 1);
    assert_eq!(bench.store.leases().len(), 1);
}

#[test]
fn a_store_restored_from_before_the_last_boot_stops_no_traffic() {
    let mut bench = Bench::new(CONFIG);
    let before = bench.add_with(setup_on(1, PUBLIC_IP));
    bench.settle();
    let subnet = bench.subnet(before);
    let backup = bench.store.snapshot();
    bench.kill(before);
    let after = bench.add_with(setup_on(2, PUBLIC_IP));
    bench.run_for(Duration::from_secs(5));
    assert_eq!(bench.subnet(after), subnet);

    bench.store.restore(backup, bench.now);
    bench.break_watches(after);
    for _ in 0..200 {
        bench.run_for(Duration::from_millis(100));
        assert_eq!(bench.subnet(after), subnet);
    }

    assert!(!bench.node(after).said("give each machine"));
}

/// What happens to one of three machines with the same public IP.
#[derive(Clone, Copy, Debug)]
enum Step {
    CutOff(usize),
    Reconnect(usize),
    RestartDaemon(usize),
    Reboot(usize),
    LoseAnswers(usize, usize),
    LoseRequests(usize, usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let machine = || 0..3_usize;
    prop_oneof![
        machine().prop_map(Step::CutOff),
        machine().prop_map(Step::Reconnect),
        machine().prop_map(Step::RestartDaemon),
        machine().prop_map(Step::Reboot),
        (machine(), 1..4_usize).prop_map(|(machine, count)| Step::LoseAnswers(machine, count)),
        (machine(), 1..4_usize).prop_map(|(machine, count)| Step::LoseRequests(machine, count)),
        (0..8_000_u64).prop_map(Step::Wait),
        (0..60_000_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_happens_one_machine_wins(steps in proptest::collection::vec(step(), 1..40)) {
        let mut triplets = Triplets::new();

        for step in steps {
            triplets.take(step);
            let carrying = triplets.carrying_with_sight();
            prop_assert!(carrying.len() <= 1, "{carrying:?} carry the subnet after {step:?}");
        }
        triplets.heal();

        prop_assert_eq!(triplets.carrying_with_sight().len(), 1);
        prop_assert_eq!(triplets.bench.leases().len(), 1);
        let writes = triplets.writes_in(Duration::from_hours(1));
        prop_assert!(writes <= 2 * 2 * 13, "{} writes", writes);
    }
}

/// Three machines with the same public IP.
struct Triplets {
    bench: Bench,
    machines: [Machine; 3],
    boots: u64,
}

#[derive(Clone, Copy, Debug)]
struct Machine {
    node: usize,
    id: u64,
    sees_store: bool,
}

impl Triplets {
    fn new() -> Self {
        let mut bench = Bench::new(CONFIG);
        let machines = [1, 2, 3].map(|id| Machine {
            node: bench.add_with(setup_on(id, PUBLIC_IP)),
            id,
            sees_store: true,
        });
        bench.settle();
        Self {
            bench,
            machines,
            boots: 3,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::CutOff(index) => {
                self.machines[index].sees_store = false;
                self.bench.cut_off(self.machines[index].node);
            }
            Step::Reconnect(index) => {
                self.machines[index].sees_store = true;
                self.bench.reconnect(self.machines[index].node);
            }
            Step::RestartDaemon(index) => self.start_again(index),
            Step::Reboot(index) => {
                self.boots += 1;
                self.machines[index].id = self.boots;
                self.start_again(index);
            }
            Step::LoseAnswers(index, count) => self.doom(index, Fate::AnswerLost, count),
            Step::LoseRequests(index, count) => self.doom(index, Fate::Lost, count),
            Step::Wait(millis) => self.bench.run_for(Duration::from_millis(millis)),
        }
        self.bench.settle();
    }

    fn start_again(&mut self, index: usize) {
        let machine = &mut self.machines[index];
        let status = self.bench.node(machine.node).engine.status();
        let previous = status
            .subnet
            .map_or_else(PreviousSubnet::default, |subnet| PreviousSubnet {
                v4: subnet.v4(),
                v6: None,
            });
        self.bench.kill(machine.node);
        machine.node = self.bench.add_with(Setup {
            previous,
            ..setup_on(machine.id, PUBLIC_IP)
        });
        machine.sees_store = true;
    }

    fn doom(&mut self, index: usize, fate: Fate, count: usize) {
        let node = self.machines[index].node;
        self.bench.node(node).fates.extend(vec![fate; count]);
    }

    /// Returns the machines that carry the subnet and have seen all that the store has.
    fn carrying_with_sight(&mut self) -> Vec<Machine> {
        let newest = self.bench.store.header().revision;
        let bench = &mut self.bench;
        let is_carrying = |machine: &Machine| {
            let status = bench.node(machine.node).engine.status();
            machine.sees_store && status.subnet.is_some() && status.revision == newest
        };
        self.machines.into_iter().filter(is_carrying).collect()
    }

    fn heal(&mut self) {
        for index in 0..3 {
            self.take(Step::Reconnect(index));
            let node = self.machines[index].node;
            self.bench.node(node).fates.clear();
        }
        self.bench.run_for(LONG);
    }

    fn writes_in(&mut self, time: Duration) -> i64 {
        let before = self.bench.store.header().revision;
        self.bench.run_for(time);
        self.bench.store.header().revision.0 - before.0
    }
}
