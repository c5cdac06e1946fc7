mod admission;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use core::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::action::Action;
use crate::kernel::{
    Address, FdbEntry, GroupPolicy, Learning, Link, LinkKind, MacAddress, Neighbour, NextHop, Route, Vni,
    Vxlan,
};
use crate::rng::Rng;

#[test]
fn what_two_peers_share_stays_until_both_are_gone() {
    let entry = || {
        KernelObject::FdbEntry(FdbEntry {
            link: LinkName("flannel.1".to_string()),
            mac: MacAddress([2, 0, 0, 0, 0, 7]),
            node: "192.0.2.7".parse().unwrap(),
        })
    };
    let peers = ["10.5.7.0/24", "10.5.8.0/24"].map(|net| Owner::Peer(net.parse().unwrap()));
    for [first, second] in [peers, [peers[1], peers[0]]] {
        let mut reconciler = Reconciler::default();
        for owner in [first, second, first] {
            reconciler.desire(owner, vec![entry()]);
        }

        reconciler.desire(first, Vec::new());
        assert_eq!(reconciler.desired().collect::<Vec<_>>(), [&entry()]);

        reconciler.desire(second, Vec::new());
        assert_eq!(reconciler.desired().count(), 0);
        assert_eq!(reconciler.peers().count(), 0);
    }
}

#[test]
fn each_kind_waits_for_the_kinds_it_hangs_on() {
    let (mut reconciler, mut outbox) = new();
    reconciler.desire(
        Owner::Node,
        vec![route("flannel0"), address("10.5.1.0/32"), link("flannel0")],
    );

    let mut made = Vec::new();
    while let Some((id, op)) = step(&mut reconciler, &mut outbox) {
        made.push(op);
        reconciler.handle_done(id, Ok(()), &mut outbox);
    }

    let wanted = [link("flannel0"), address("10.5.1.0/32"), route("flannel0")];
    assert_eq!(made, wanted.map(KernelOp::Ensure));
    assert!(reconciler.is_settled());
    assert!(reconciler.plan().is_empty(), "applied twice, a plan does nothing");
}

#[test]
fn what_is_no_longer_desired_goes_before_its_successor_comes() {
    let (mut reconciler, mut outbox) = settled(vec![link("flannel0")]);

    reconciler.desire(Owner::Node, vec![link("flannel1")]);

    let (id, first) = step(&mut reconciler, &mut outbox).expect("an operation");
    assert_eq!(first, KernelOp::Remove(link("flannel0")));
    assert!(step(&mut reconciler, &mut outbox).is_none(), "one at a time");
    reconciler.handle_done(id, Ok(()), &mut outbox);
    let (_, second) = step(&mut reconciler, &mut outbox).expect("an operation");
    assert_eq!(second, KernelOp::Ensure(link("flannel1")));
}

#[test]
fn a_device_is_never_without_its_address() {
    let (mut reconciler, mut outbox) =
        settled(vec![link("flannel0"), address("10.5.1.0/32"), route("flannel0")]);

    reconciler.desire(
        Owner::Node,
        vec![link("flannel0"), address("10.5.2.0/32"), route("flannel0")],
    );

    assert_eq!(
        run(&mut reconciler, &mut outbox),
        [
            KernelOp::Ensure(address("10.5.2.0/32")),
            KernelOp::Remove(address("10.5.1.0/32"))
        ]
    );
}

#[test]
fn a_failed_operation_is_tried_again_later_and_not_before() {
    let (mut reconciler, mut outbox) = new();
    reconciler.desire(Owner::Node, vec![link("flannel0")]);
    let (id, _) = step(&mut reconciler, &mut outbox).expect("an operation");

    let failure = reconciler.handle_done(id, Err(error(KernelErrorKind::Other)), &mut outbox);

    let retry_in = failure.expect("a failure").retry_in;
    assert!(step(&mut reconciler, &mut outbox).is_none());
    outbox.now = outbox.now + retry_in;
    assert!(step(&mut reconciler, &mut outbox).is_some());
}

#[test]
fn removing_what_is_gone_already_is_no_failure() {
    let (mut reconciler, mut outbox) = settled(vec![link("flannel0")]);
    reconciler.desire(Owner::Node, Vec::new());
    let (id, _) = step(&mut reconciler, &mut outbox).expect("an operation");

    let failure = reconciler.handle_done(id, Err(error(KernelErrorKind::NotFound)), &mut outbox);

    assert!(failure.is_none());
    assert!(reconciler.plan().is_empty());
}

#[test]
fn a_device_takes_what_hangs_on_it_along() {
    let all = vec![link("flannel0"), address("10.5.1.0/32"), route("flannel0")];
    let (mut reconciler, mut outbox) = settled(all.clone());

    reconciler.handle_link_vanished(&LinkName("flannel0".to_string()), &mut outbox);

    assert_eq!(
        reconciler.plan(),
        all.into_iter().map(KernelOp::Ensure).collect::<Vec<_>>()
    );
}

#[test]
fn what_a_survey_lacks_is_made_again_and_what_it_shows_beside_is_removed() {
    let (mut reconciler, mut outbox) =
        settled(vec![link("flannel0"), address("10.5.1.0/32"), route("flannel0")]);

    reconciler.handle_survey(
        found(&[link("flannel0"), address("10.5.1.0/32"), address("10.5.9.0/32")]),
        &mut outbox,
    );

    assert_eq!(
        reconciler.plan(),
        [
            KernelOp::Remove(address("10.5.9.0/32")),
            KernelOp::Ensure(route("flannel0"))
        ]
    );
}

#[test]
fn what_a_survey_shows_right_is_left_alone() {
    let (mut reconciler, mut outbox) = new();
    let all = [link("flannel0"), address("10.5.1.0/32"), route("flannel0")];
    reconciler.handle_survey(found(&all), &mut outbox);

    reconciler.desire(Owner::Node, all.to_vec());

    assert!(step(&mut reconciler, &mut outbox).is_none());
    assert!(reconciler.is_settled());
}

#[test]
fn a_survey_says_nothing_about_what_is_under_way() {
    let (mut reconciler, mut outbox) = settled(vec![link("flannel0")]);
    reconciler.desire(Owner::Node, vec![link("flannel0"), route("flannel0")]);
    let (id, _) = step(&mut reconciler, &mut outbox).expect("an operation");

    reconciler.handle_survey(found(&[link("flannel0")]), &mut outbox);
    reconciler.handle_done(id, Ok(()), &mut outbox);

    assert!(reconciler.plan().is_empty());
}

#[test]
fn a_device_with_attributes_that_cannot_be_changed_is_made_anew() {
    let (mut reconciler, mut outbox) = settled(vec![vxlan(1, 1450), fdb(1, "192.0.2.1")]);

    reconciler.desire(Owner::Node, vec![vxlan(1, 1400), fdb(1, "192.0.2.1")]);
    assert_eq!(reconciler.plan(), [KernelOp::Replace(vxlan(1, 1400))]);

    reconciler.desire(Owner::Node, vec![vxlan(2, 1450), fdb(1, "192.0.2.1")]);
    let ops = run(&mut reconciler, &mut outbox);
    assert_eq!(
        ops,
        [
            KernelOp::Remove(vxlan(1, 1450)),
            KernelOp::Ensure(vxlan(2, 1450)),
            KernelOp::Ensure(fdb(1, "192.0.2.1"))
        ]
    );
}

#[test]
fn a_peer_changes_over_without_a_gap() {
    let peer = Owner::Peer("10.5.2.0/24".parse().expect("a network"));
    let encapsulated = vec![fdb(2, "192.0.2.2"), neighbour(2), via("10.5.2.0", Reach::OnLink)];
    let direct = vec![via("192.0.2.2", Reach::Link)];
    let (mut reconciler, mut outbox) = settled(vec![vxlan(1, 1450)]);

    reconciler.desire(peer, encapsulated.clone());
    let made = run(&mut reconciler, &mut outbox);
    reconciler.desire(peer, direct.clone());
    let direct_ops = run(&mut reconciler, &mut outbox);
    reconciler.desire(peer, encapsulated.clone());
    let back = run(&mut reconciler, &mut outbox);
    reconciler.desire(peer, Vec::new());
    let gone = run(&mut reconciler, &mut outbox);

    let [fdb, neighbour, on_link] = <[KernelObject; 3]>::try_from(encapsulated).expect("three");
    assert_eq!(
        made,
        [fdb.clone(), neighbour.clone(), on_link.clone()].map(KernelOp::Ensure)
    );
    assert_eq!(
        direct_ops,
        [
            KernelOp::Replace(direct[0].clone()),
            KernelOp::Remove(neighbour.clone()),
            KernelOp::Remove(fdb.clone())
        ]
    );
    assert_eq!(
        back,
        [
            KernelOp::Ensure(fdb.clone()),
            KernelOp::Ensure(neighbour.clone()),
            KernelOp::Replace(on_link.clone())
        ]
    );
    assert_eq!(gone, [on_link, neighbour, fdb].map(KernelOp::Remove));
}

#[test]
fn a_peer_that_fails_holds_up_no_other() {
    let [bad, good] = ["10.5.2.0/24", "10.5.3.0/24"].map(|net| Owner::Peer(net.parse().expect("a network")));
    let (mut reconciler, mut outbox) = settled(vec![vxlan(1, 1450)]);
    reconciler.desire(
        bad,
        vec![fdb(2, "192.0.2.2"), neighbour(2), via("10.5.2.0", Reach::OnLink)],
    );
    reconciler.desire(good, vec![fdb(3, "192.0.2.3"), neighbour(3)]);

    let mut done = Vec::new();
    while let Some((id, op)) = step(&mut reconciler, &mut outbox) {
        let fails = matches!(op.object(), KernelObject::Neighbour(entry) if entry.mac == mac(2));
        let result = if fails {
            Err(error(KernelErrorKind::Other))
        } else {
            Ok(())
        };
        done.push(op);
        reconciler.handle_done(id, result, &mut outbox);
    }

    let wanted = [
        fdb(2, "192.0.2.2"),
        fdb(3, "192.0.2.3"),
        neighbour(2),
        neighbour(3),
    ];
    assert!(
        wanted
            .into_iter()
            .map(KernelOp::Ensure)
            .all(|op| done.contains(&op))
    );
    assert_eq!(done.len(), 4, "the route waits for what it leads over");
    assert!(reconciler.is_settled(), "the node itself is ready");
}

#[test]
fn who_wants_something_else_again_and_again_is_not_raced_against() {
    let (mut reconciler, mut outbox) = settled(vec![link("flannel0"), route("flannel0")]);
    let mut at_once = 0;

    while at_once < 50 {
        reconciler.handle_vanished(&route("flannel0"), &mut outbox);
        let Some((id, _)) = step(&mut reconciler, &mut outbox) else {
            break;
        };
        reconciler.handle_done(id, Ok(()), &mut outbox);
        at_once += 1;
    }

    assert_eq!(at_once, 5);
    let due = reconciler.poll_timeout().expect("a time");
    outbox.now = due;
    assert!(step(&mut reconciler, &mut outbox).is_some());
}

proptest! {
    /// Whatever is wanted, found and refused in whatever order: in the end the node has what is wanted, and a second time
    /// there is nothing to do.
    #[test]
    fn everything_that_is_wanted_is_there_in_the_end(steps in vec(any_step(), 1..40)) {
        let (mut reconciler, mut outbox) = new();
        let mut node: BTreeMap<ObjectId, KernelObject> = BTreeMap::new();
        let base = vec![vxlan(1, 1450), tunnel_address()];
        reconciler.desire(Owner::Node, base.clone());
        for step in steps {
            take(step, &mut reconciler, &mut node, &mut outbox);
            carry_out(&mut reconciler, &mut node, &mut outbox, 3);
        }
        let mut patience = 500;
        while let Some(due) = reconciler.poll_timeout().or_else(|| (!reconciler.plan().is_empty()).then_some(outbox.now)) {
            outbox.now = outbox.now.max(due);
            carry_out(&mut reconciler, &mut node, &mut outbox, usize::MAX);
            patience -= 1;
            prop_assert!(patience > 0, "it does not come to rest: {:?}", reconciler.plan());
        }

        let wanted: BTreeMap<_, _> = reconciler.desired().map(|object| (ObjectId::of(object), object.clone())).collect();
        prop_assert_eq!(node, wanted);
        prop_assert!(reconciler.is_settled());
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Encapsulate(u8, u8),
    Direct(u8),
    Leave(u8),
    OtherDevice(u8),
    Lose(u8),
    Alter(u8),
    Survey,
    Fail,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (2..6_u8, 2..8_u8).prop_map(|(peer, node)| Step::Encapsulate(peer, node)),
        (2..6_u8).prop_map(Step::Direct),
        (2..6_u8).prop_map(Step::Leave),
        (1..3_u8).prop_map(Step::OtherDevice),
        any::<u8>().prop_map(Step::Lose),
        any::<u8>().prop_map(Step::Alter),
        Just(Step::Survey),
        Just(Step::Fail),
    ]
}

fn take(
    step: Step,
    reconciler: &mut Reconciler,
    node: &mut BTreeMap<ObjectId, KernelObject>,
    outbox: &mut Outbox,
) {
    let owner = |peer: u8| Owner::Peer(format!("10.5.{peer}.0/24").parse().expect("a network"));
    let nth = |node: &BTreeMap<ObjectId, KernelObject>, n: u8| {
        let index = usize::from(n) % node.len().max(1);
        node.keys().nth(index).cloned()
    };
    match step {
        Step::Encapsulate(peer, host) => {
            let route = via(&format!("10.5.{peer}.0"), Reach::OnLink);
            let objects = vec![fdb(peer, &format!("192.0.2.{host}")), neighbour(peer), route];
            reconciler.desire(owner(peer), objects);
        }
        Step::Direct(peer) => {
            let KernelObject::Route(mut route) = via(&format!("192.0.2.{peer}"), Reach::Link) else {
                return;
            };
            route.destination = format!("10.5.{peer}.0/24").parse().expect("a network");
            reconciler.desire(owner(peer), vec![KernelObject::Route(route)]);
        }
        Step::Leave(peer) => reconciler.desire(owner(peer), Vec::new()),
        Step::OtherDevice(vni) => {
            reconciler.desire(Owner::Node, vec![vxlan(vni.into(), 1450), tunnel_address()]);
        }
        Step::Lose(n) => {
            if let Some(id) = nth(node, n) {
                drop_object(node, &id);
                reconciler.handle_survey(node.clone(), outbox);
            }
        }
        Step::Alter(n) => {
            if let Some(id) = nth(node, n)
                && let Some(KernelObject::FdbEntry(entry)) = node.get_mut(&id)
            {
                entry.node = "192.0.2.99".parse().expect("an address");
                reconciler.handle_survey(node.clone(), outbox);
            }
        }
        Step::Survey => reconciler.handle_survey(node.clone(), outbox),
        Step::Fail => {
            if let Some((id, _)) = self::step(reconciler, outbox) {
                reconciler.handle_done(id, Err(error(KernelErrorKind::Other)), outbox);
            }
        }
    }
}

/// Carries out at most this many operations on a node, which has the kernel's rules for devices and what hangs on them.
fn carry_out(
    reconciler: &mut Reconciler,
    node: &mut BTreeMap<ObjectId, KernelObject>,
    outbox: &mut Outbox,
    most: usize,
) {
    let mut left = most;
    loop {
        reconciler.reconcile(outbox);
        let mut is_idle = true;
        while let Some(action) = outbox.pop() {
            let Action::Kernel { id, op } = action else {
                continue;
            };
            is_idle = false;
            let result = apply(node, op);
            reconciler.handle_done(id, result, outbox);
            left = left.saturating_sub(1);
        }
        if is_idle || left == 0 {
            return;
        }
    }
}

fn apply(node: &mut BTreeMap<ObjectId, KernelObject>, op: KernelOp) -> Result<(), KernelError> {
    let id = ObjectId::of(op.object());
    let device = ObjectId::Link(LinkName("flannel.1".to_string()));
    let hangs = !matches!(op.object(), KernelObject::Link(_))
        && !matches!(op.object(), KernelObject::Route(route) if route.hop.link().0 == "eth0");
    match op {
        KernelOp::Ensure(_) | KernelOp::Replace(_) if hangs && !node.contains_key(&device) => {
            Err(error(KernelErrorKind::NotFound))
        }
        KernelOp::Ensure(object) if node.get(&id).is_some_and(|present| *present != object) => {
            Err(error(KernelErrorKind::Taken))
        }
        KernelOp::Ensure(object) | KernelOp::Replace(object) => {
            node.insert(id, object);
            Ok(())
        }
        KernelOp::Remove(_) => {
            drop_object(node, &id);
            Ok(())
        }
    }
}

fn drop_object(node: &mut BTreeMap<ObjectId, KernelObject>, id: &ObjectId) {
    node.remove(id);
    if matches!(id, ObjectId::Link(_)) {
        node.retain(|_, object| matches!(object, KernelObject::Route(route) if route.hop.link().0 == "eth0"));
    }
}

#[test]
fn a_retry_is_waited_for_until_it_is_under_way() {
    let (mut reconciler, mut outbox) = failed(link("flannel0"));
    let due = reconciler.poll_timeout().expect("a time");
    assert!(due > outbox.now);

    outbox.now = due;
    let retried = step(&mut reconciler, &mut outbox);

    assert!(retried.is_some());
    assert_eq!(reconciler.poll_timeout(), None);
}

#[test]
fn what_failed_is_tried_at_once_when_told_to_hurry() {
    let (mut reconciler, mut outbox) = failed(link("flannel0"));
    assert!(step(&mut reconciler, &mut outbox).is_none());

    reconciler.hurry(&outbox);

    let next = step(&mut reconciler, &mut outbox);
    assert!(next.is_some_and(|(_, op)| op == KernelOp::Ensure(link("flannel0"))));
}

#[test]
fn what_others_have_to_precede_is_not_waited_for() {
    let (mut reconciler, mut outbox) = failed(address("10.5.1.0/32"));
    let due = reconciler.poll_timeout().expect("a time");

    reconciler.desire(Owner::Node, vec![link("flannel0"), address("10.5.1.0/32")]);
    outbox.now = due;
    let next = step(&mut reconciler, &mut outbox);

    assert!(next.is_some_and(|(_, op)| op == KernelOp::Ensure(link("flannel0"))));
    assert_eq!(reconciler.poll_timeout(), None);
}

fn failed(object: KernelObject) -> (Reconciler, Outbox) {
    let (mut reconciler, mut outbox) = new();
    reconciler.desire(Owner::Node, vec![object]);
    let (id, _) = step(&mut reconciler, &mut outbox).expect("an operation");
    reconciler
        .handle_done(id, Err(error(KernelErrorKind::Other)), &mut outbox)
        .expect("a failure");
    (reconciler, outbox)
}

fn new() -> (Reconciler, Outbox) {
    (Reconciler::default(), Outbox::new(Rng::new(1), Instant::ZERO))
}

fn settled(objects: Vec<KernelObject>) -> (Reconciler, Outbox) {
    let (mut reconciler, mut outbox) = new();
    reconciler.desire(Owner::Node, objects);
    while let Some((id, _)) = step(&mut reconciler, &mut outbox) {
        reconciler.handle_done(id, Ok(()), &mut outbox);
    }
    (reconciler, outbox)
}

fn step(reconciler: &mut Reconciler, outbox: &mut Outbox) -> Option<(OpId, KernelOp)> {
    reconciler.reconcile(outbox);
    while let Some(action) = outbox.pop() {
        if let Action::Kernel { id, op } = action {
            return Some((id, op));
        }
    }
    None
}

fn link(name: &str) -> KernelObject {
    KernelObject::Link(Link {
        name: LinkName(name.to_string()),
        kind: LinkKind::Tun,
        mtu: 1472,
        alias: String::new(),
    })
}

fn address(net: &str) -> KernelObject {
    let net = net.parse().expect("a network");
    KernelObject::Address(Address {
        link: LinkName("flannel0".to_string()),
        net,
    })
}

fn route(link: &str) -> KernelObject {
    let destination = "10.5.0.0/16".parse().expect("a network");
    KernelObject::Route(Route::new(destination, NextHop::Link(LinkName(link.to_string()))))
}

fn found(objects: &[KernelObject]) -> BTreeMap<ObjectId, KernelObject> {
    let objects = objects.iter();
    objects
        .map(|object| (ObjectId::of(object), object.clone()))
        .collect()
}

/// Carries everything out at once and returns what was done.
fn run(reconciler: &mut Reconciler, outbox: &mut Outbox) -> Vec<KernelOp> {
    let mut done = Vec::new();
    while let Some((id, op)) = step(reconciler, outbox) {
        done.push(op);
        reconciler.handle_done(id, Ok(()), outbox);
    }
    done
}

fn vxlan(vni: u32, mtu: u32) -> KernelObject {
    KernelObject::Link(Link {
        name: LinkName("flannel.1".to_string()),
        kind: LinkKind::Vxlan(Vxlan {
            vni: Vni::new(vni).expect("a VNI"),
            local: "192.0.2.1".parse().expect("an address"),
            underlay: LinkName("eth0".to_string()),
            port: 8472,
            learning: Learning::Off,
            group_policy: GroupPolicy::Off,
            mac: mac(1),
        }),
        mtu,
        alias: String::new(),
    })
}

fn tunnel_address() -> KernelObject {
    KernelObject::Address(Address {
        link: LinkName("flannel.1".to_string()),
        net: "10.5.1.0/32".parse().expect("a network"),
    })
}

fn fdb(peer: u8, node: &str) -> KernelObject {
    KernelObject::FdbEntry(FdbEntry {
        link: LinkName("flannel.1".to_string()),
        mac: mac(peer),
        node: node.parse().expect("an address"),
    })
}

fn neighbour(peer: u8) -> KernelObject {
    KernelObject::Neighbour(Neighbour {
        link: LinkName("flannel.1".to_string()),
        address: format!("10.5.{peer}.0").parse().expect("an address"),
        mac: mac(peer),
    })
}

#[derive(Clone, Copy)]
enum Reach {
    OnLink,
    Link,
}

/// A route to the second subnet, or to the one that the gateway is the first address of.
fn via(gateway: &str, reach: Reach) -> KernelObject {
    let gateway: IpAddr = gateway.parse().expect("an address");
    let (destination, hop) = match reach {
        Reach::OnLink => {
            let link = LinkName("flannel.1".to_string());
            (IpNet::new(gateway, 24), NextHop::OnLink { gateway, link })
        }
        Reach::Link => {
            let link = LinkName("eth0".to_string());
            let second = IpAddr::from([10, 5, 2, 0]);
            (IpNet::new(second, 24), NextHop::Gateway { gateway, link })
        }
    };
    KernelObject::Route(Route::new(destination.expect("a network"), hop))
}

fn mac(last: u8) -> MacAddress {
    MacAddress([2, 0, 0, 0, 0, last])
}

fn error(kind: KernelErrorKind) -> KernelError {
    KernelError {
        kind,
        message: "it failed".to_string(),
    }
}
