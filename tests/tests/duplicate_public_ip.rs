//! Machines that announce the same public IP: twins, and one machine after a reboot.

use std::time::Duration;

use proptest::prelude::*;
use selvedge_engine::{EtcdLeaseId, Event, Phase, PreviousSubnet, Rival, Setup, StoreRequest};
use selvedge_tests::engine_and_store::{Bench, Fate, PREFIX, Room, setup_after_boots, setup_on};

const CONFIG: &str = r#"{"Network":"10.50.0.0/16"}"#;
const PUBLIC_IP: [u8; 4] = [10, 0, 2, 15];

/// Longer than any wait after a refusal, with a probation and a half.
const LONG: Duration = Duration::from_mins(11);

#[test]
fn a_rebooted_machine_carries_its_subnet_at_once_and_holds_it_after_a_moment() {
    let (mut bench, before, subnet) = bench_with_holder();
    bench.kill(before);

    let after = bench.add_with(setup_after_boots(1, 1, PUBLIC_IP));
    bench.settle();
    assert_eq!(bench.subnet(after), subnet);
    bench.run_for(Duration::from_millis(3100));

    assert_eq!(bench.node(after).engine.status().phase, Phase::Running);
    assert_eq!(bench.subnet(after), subnet);
    assert_eq!(bench.leases().len(), 1);
    assert_eq!(
        bench.store.leases().len(),
        1,
        "neither the claim's nor the old etcd lease is left"
    );
}

#[test]
fn a_rebooted_machine_carries_its_subnet_while_the_store_takes_no_writes() {
    let (mut bench, before, subnet) = bench_with_holder();
    bench.kill(before);
    bench.room = Room::Exhausted;

    let after = bench.add_with(setup_after_boots(1, 1, PUBLIC_IP));
    for _ in 0..60 {
        bench.run_for(Duration::from_mins(1));
        assert_eq!(bench.subnet(after), subnet);
    }
    let asked = bench.node(after).requests.len();
    assert!(asked < 2000, "{asked} requests in an hour");
    bench.room = Room::Left;
    bench.run_for(Duration::from_secs(20));

    assert_eq!(bench.node(after).engine.status().phase, Phase::Running);
    assert_eq!(bench.store.leases().len(), 1);
}

#[test]
fn a_machine_that_was_installed_anew_takes_the_subnet_of_its_address_after_a_moment() {
    let (mut bench, before, subnet) = bench_with_holder();
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
    let revision = bench.store.header().revision;

    let after = bench.add_with(setup_on(1, PUBLIC_IP));
    bench.settle();

    assert_eq!(bench.subnet(after), bench.subnet(before));
    assert_eq!(bench.store.header().revision, revision, "without a write");
}

#[test]
fn a_copy_of_the_machine_withdraws_at_the_first_objection_and_is_told_so() {
    let (mut bench, first, subnet) = bench_with_holder();

    let copy = bench.add_with(setup_after_boots(1, 1, PUBLIC_IP));
    for _ in 0..100 {
        bench.run_for(Duration::from_millis(100));
        assert_eq!(bench.subnet(first), subnet);
        assert_eq!(bench.subnet(copy), None);
    }

    assert!(
        bench
            .node(copy)
            .said("public IP 10.0.2.15 is taken: a copy of this machine announces it and holds")
    );
    assert!(bench.node(copy).said("the copy a new /etc/machine-id"));
    bench.run_for(Duration::from_hours(1));
    let resumed = bench.node(copy).events.iter();
    let resumed = resumed.filter(|event| matches!(event, Event::LeaseResumed { .. }));
    assert_eq!(resumed.count(), 1, "it knows better from then on");
    let twin = bench.node(copy).engine.status().twin;
    assert_eq!(twin.map(|twin| twin.rival), Some(Rival::Copy));
    assert_eq!(bench.node(first).engine.status().twin, None);
    assert_eq!(bench.store.leases().len(), 1);
}

#[test]
fn what_flannel_left_is_carried_at_once_and_signed() {
    let mut bench = Bench::new(CONFIG);
    let subnet = leave_flannels_lease(&mut bench);

    let node = bench.add_with(setup_on(1, PUBLIC_IP));
    bench.settle();
    assert_eq!(bench.subnet(node).as_ref(), Some(&subnet));
    bench.run_for(Duration::from_secs(4));

    let key = format!("{PREFIX}/subnets/{subnet}").into_bytes();
    let lease = bench.store.get(&key).and_then(|kv| kv.lease);
    assert!(lease.is_some_and(|lease| lease != FLANNELS));
    assert_eq!(bench.node(node).engine.status().phase, Phase::Running);
}

#[test]
fn of_twins_on_a_lease_of_flannel_one_wins() {
    let mut bench = Bench::new(CONFIG);
    let subnet = leave_flannels_lease(&mut bench);
    let twins = [1, 2].map(|machine| bench.add_with(setup_on(machine, PUBLIC_IP)));

    bench.run_for(Duration::from_secs(30));

    let carried = twins.map(|twin| bench.subnet(twin));
    assert!(
        carried == [Some(subnet.clone()), None] || carried == [None, Some(subnet)],
        "{carried:?}"
    );
}

/// A twin must not win because the store refused the winner's objection as well.
#[test]
fn a_claim_that_outlasts_a_full_store_takes_nothing_from_the_holder() {
    for full_after in [0, 500, 1500, 2900] {
        let mut bench = Bench::new(CONFIG);
        let first = bench.add_with(setup_on(1, PUBLIC_IP));
        bench.settle();
        let subnet = bench.subnet(first);
        bench.cut_off(first);
        let twin = bench.add_with(setup_on(2, PUBLIC_IP));
        bench.run_for(Duration::from_millis(full_after));
        bench.room = Room::Exhausted;
        bench.reconnect(first);
        bench.run_for(Duration::from_mins(20));
        assert_eq!(bench.subnet(first), subnet, "full after {full_after} ms");

        bench.room = Room::Left;
        bench.run_for(Duration::from_mins(1));

        assert_eq!(bench.subnet(first), subnet, "full after {full_after} ms");
        assert_eq!(bench.subnet(twin), None);
        assert_eq!(bench.leases().len(), 1);
    }
}

#[test]
fn a_daemon_restarted_with_another_public_ip_keeps_its_subnet() {
    let mut bench = Bench::new(CONFIG);
    let before = bench.add_with(setup_on(1, PUBLIC_IP));
    let peer = bench.add([10, 0, 2, 16]);
    bench.settle();
    let subnet = bench.subnet(before);
    bench.kill(before);

    let after = bench.add_with(setup_on(1, [10, 0, 2, 99]));
    bench.settle();

    assert_eq!(bench.subnet(after), subnet);
    assert_eq!(bench.leases().len(), 2);
    let route = format!("{} 10.0.2.99", subnet.expect("it carries a subnet"));
    assert_eq!(bench.node(peer).peers(), [route]);
}

#[test]
fn a_copy_with_another_public_ip_takes_a_subnet_of_its_own() {
    let mut bench = Bench::new(CONFIG);
    let first = bench.add_with(setup_on(1, PUBLIC_IP));
    bench.settle();

    let copy = bench.add_with(setup_after_boots(1, 1, [10, 0, 2, 99]));
    bench.run_for(Duration::from_secs(10));

    assert!(bench.subnet(copy).is_some());
    assert_ne!(bench.subnet(copy), bench.subnet(first));
    assert!(!bench.node(first).said("public IP"));
}

#[test]
fn a_node_whose_key_is_written_over_says_so_and_does_not_race() {
    let mut bench = Bench::new(CONFIG);
    let node = bench.add_with(setup_on(1, PUBLIC_IP));
    bench.settle();

    for _ in 0..100 {
        let Some((key, _)) = bench
            .leases()
            .into_iter()
            .find(|(_, value)| value.contains("10.0.2.15"))
        else {
            bench.run_for(Duration::from_secs(1));
            continue;
        };
        bench.put(&format!("subnets/{key}"), r#"{"PublicIP":"10.0.2.66"}"#);
        bench.run_for(Duration::from_secs(1));
    }

    assert!(bench.node(node).said("to 10.0.2.66, which its key names now"));
    let taken = bench.leases().len();
    assert!(taken < 15, "{taken} subnets in 100 seconds");
    bench.run_for(Duration::from_mins(2));
    assert!(bench.subnet(node).is_some());
    let own = bench
        .leases()
        .into_iter()
        .filter(|(_, value)| value.contains("10.0.2.15"));
    assert_eq!(own.count(), 1);
}

#[test]
fn a_twin_is_refused_with_the_cure_and_the_first_goes_on() {
    let (mut bench, first, subnet) = bench_with_holder();

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
    let (mut bench, first, subnet) = bench_with_holder();
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
    let (mut bench, first, subnet) = bench_with_holder();
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
    let (mut bench, first, subnet) = bench_with_holder();
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

    for boots in 1..4 {
        bench.kill(node);
        node = bench.add_with(setup_after_boots(1, boots, PUBLIC_IP));
        bench.settle();
        assert_eq!(bench.subnet(node), subnet);
        bench.run_for(Duration::from_secs(1));
    }
    bench.run_for(Duration::from_secs(20));

    assert_eq!(bench.subnet(node), subnet);
    assert!(!bench.node(node).said("give each machine"));
}

#[test]
fn a_machine_installed_anew_that_reboots_in_its_probation_waits_again() {
    let mut bench = Bench::new(CONFIG);
    let mut node = bench.add_with(setup_on(1, PUBLIC_IP));
    bench.settle();
    let subnet = bench.subnet(node);

    for boots in 0..3 {
        bench.kill(node);
        node = bench.add_with(setup_after_boots(2, boots, PUBLIC_IP));
        bench.run_for(Duration::from_secs(1));
        assert_eq!(bench.subnet(node), None);
    }
    bench.run_for(Duration::from_secs(20));

    assert_eq!(bench.subnet(node), subnet);
    assert!(!bench.node(node).said("give each machine"));
}

#[test]
fn the_lease_of_another_machine_outside_the_network_is_replaced() {
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
fn what_another_machine_resumed_after_its_reboot_is_lost_to_it() {
    let (mut bench, before, subnet) = bench_with_holder();
    bench.cut_off(before);
    let twin = bench.add_with(setup_on(2, PUBLIC_IP));
    bench.run_for(Duration::from_secs(10));
    assert_eq!(bench.subnet(twin), subnet);

    bench.kill(twin);
    let rebooted = bench.add_with(setup_after_boots(2, 1, PUBLIC_IP));
    bench.settle();
    assert_eq!(bench.subnet(rebooted), subnet);
    bench.cut_off(rebooted);
    bench.reconnect(before);
    for _ in 0..100 {
        bench.run_for(Duration::from_millis(100));
        if bench.subnet(before).is_none() {
            break;
        }
    }

    assert_eq!(bench.subnet(before), None);
    assert!(bench.node(before).said("give each machine"));
}

#[test]
fn a_store_restored_from_before_the_last_boot_stops_no_traffic() {
    let (mut bench, before, subnet) = bench_with_holder();
    let backup = bench.store.snapshot();
    bench.kill(before);
    let after = bench.add_with(setup_after_boots(1, 1, PUBLIC_IP));
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

/// Makes a bench with a machine that holds the subnet of its public IP; returns its number and the subnet.
fn bench_with_holder() -> (Bench, usize, Option<String>) {
    let mut bench = Bench::new(CONFIG);
    let holder = bench.add_with(setup_on(1, PUBLIC_IP));
    bench.settle();
    let subnet = bench.subnet(holder);
    (bench, holder, subnet)
}

/// The etcd lease of a lease that flannel wrote.
const FLANNELS: EtcdLeaseId = EtcdLeaseId(77);

/// Leaves a lease for the public IP as flannel does, and returns its subnet.
fn leave_flannels_lease(bench: &mut Bench) -> String {
    let grant = StoreRequest::LeaseGrant {
        id: FLANNELS,
        ttl_seconds: 86_400,
    };
    bench.store.handle(&grant, bench.now).expect("the store grants");
    let key = format!("{PREFIX}/subnets/10.50.7.0-24");
    let value = r#"{"PublicIP":"10.0.2.15","PublicIPv6":null}"#;
    bench
        .store
        .put(key.as_bytes(), value.as_bytes(), Some(FLANNELS))
        .expect("the store accepts a put");
    "10.50.7.0-24".to_owned()
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
        let mut triplets = Triplets::new([1, 2, 3]);

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

    /// A copy is taken for the machine's past until the other objects, which requests that are lost delay.
    #[test]
    fn whatever_happens_one_of_three_copies_wins(steps in proptest::collection::vec(step(), 1..40)) {
        let mut triplets = Triplets::new([1, 1, 1]);

        for step in steps {
            triplets.take(step);
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
}

#[derive(Clone, Copy, Debug)]
struct Machine {
    node: usize,
    hardware: u64,
    boots: u64,
    sees_store: bool,
}

impl Triplets {
    /// Makes machines with these identities; equal ones are copies, and were booted at different times.
    fn new(hardware: [u64; 3]) -> Self {
        let mut bench = Bench::new(CONFIG);
        let mut boots = [0, 1000, 2000].into_iter();
        let machines = hardware.map(|hardware| {
            let boots = boots.next().expect("three machines");
            Machine {
                node: bench.add_with(setup_after_boots(hardware, boots, PUBLIC_IP)),
                hardware,
                boots,
                sees_store: true,
            }
        });
        bench.settle();
        Self { bench, machines }
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
                self.machines[index].boots += 1;
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
            ..setup_after_boots(machine.hardware, machine.boots, PUBLIC_IP)
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
