use alloc::string::{String, ToString};
use alloc::vec;

use super::*;
use crate::action::Action;
use crate::kernel::{Address, Link, LinkKind, NextHop, Route};
use crate::rng::Rng;

#[test]
fn each_kind_waits_for_the_kinds_it_hangs_on() {
    let (mut reconciler, mut outbox) = new();
    reconciler.desire(vec![route("flannel0"), address("10.5.1.0/32"), link("flannel0")]);

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
    let (mut reconciler, mut outbox) = settled(vec![link("flannel0"), address("10.5.1.0/32")]);

    reconciler.desire(vec![link("flannel0"), address("10.5.2.0/32")]);

    let (id, first) = step(&mut reconciler, &mut outbox).expect("an operation");
    assert_eq!(first, KernelOp::Remove(address("10.5.1.0/32")));
    assert!(step(&mut reconciler, &mut outbox).is_none(), "one at a time");
    reconciler.handle_done(id, Ok(()), &mut outbox);
    let (_, second) = step(&mut reconciler, &mut outbox).expect("an operation");
    assert_eq!(second, KernelOp::Ensure(address("10.5.2.0/32")));
}

#[test]
fn a_failed_operation_is_tried_again_later_and_not_before() {
    let (mut reconciler, mut outbox) = new();
    reconciler.desire(vec![link("flannel0")]);
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
    reconciler.desire(Vec::new());
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
fn a_device_set_down_loses_its_routes_and_keeps_its_addresses() {
    let all = vec![link("flannel0"), address("10.5.1.0/32"), route("flannel0")];
    let (mut reconciler, mut outbox) = settled(all);

    reconciler.handle_link_down(&LinkName("flannel0".to_string()), &mut outbox);

    let wanted = [link("flannel0"), route("flannel0")].map(KernelOp::Ensure);
    assert_eq!(reconciler.plan(), wanted);
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
fn what_others_have_to_precede_is_not_waited_for() {
    let (mut reconciler, mut outbox) = failed(address("10.5.1.0/32"));
    let due = reconciler.poll_timeout().expect("a time");

    reconciler.desire(vec![link("flannel0"), address("10.5.1.0/32")]);
    outbox.now = due;
    let next = step(&mut reconciler, &mut outbox);

    assert!(next.is_some_and(|(_, op)| op == KernelOp::Ensure(link("flannel0"))));
    assert_eq!(reconciler.poll_timeout(), None);
}

fn failed(object: KernelObject) -> (Reconciler, Outbox) {
    let (mut reconciler, mut outbox) = new();
    reconciler.desire(vec![object]);
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
    reconciler.desire(objects);
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

fn error(kind: KernelErrorKind) -> KernelError {
    KernelError {
        kind,
        message: "it failed".to_string(),
    }
}
