//! Peers are let in before they are led to, where the node lets in nobody else.

use super::*;
use crate::kernel::{Member, Ruleset};

#[test]
fn a_peer_is_let_in_before_a_route_leads_to_it_where_others_are_not() {
    let net: IpNet = "10.5.2.0/24".parse().expect("valid");
    let (way, member) = (
        via("192.0.2.2", Reach::Link),
        KernelObject::Member(Member::Direct(net)),
    );
    for (admission, made) in [
        (Admission::Open, vec![way.clone(), member.clone()]),
        (Admission::MembersOnly, vec![member.clone()]),
    ] {
        let (mut reconciler, mut outbox) = settled(vec![filter()]);
        reconciler.admit(admission);
        reconciler.desire(Owner::Peer(net), vec![way.clone(), member.clone()]);

        let begun = begin(&mut reconciler, &mut outbox);

        let ops: Vec<_> = begun.iter().map(|(_, op)| op.clone()).collect();
        assert_eq!(ops, made.into_iter().map(KernelOp::Ensure).collect::<Vec<_>>());
        for (id, _) in begun {
            reconciler.handle_done(id, Ok(()), &mut outbox);
        }
        run(&mut reconciler, &mut outbox);
        assert!(reconciler.plan().is_empty());
    }
}

#[test]
fn a_peer_that_cannot_be_let_in_gets_its_route_all_the_same() {
    let net: IpNet = "10.5.2.0/24".parse().expect("valid");
    let (way, member) = (
        via("192.0.2.2", Reach::Link),
        KernelObject::Member(Member::Direct(net)),
    );
    let (mut reconciler, mut outbox) = settled(vec![filter()]);
    reconciler.admit(Admission::MembersOnly);
    reconciler.desire(Owner::Peer(net), vec![way.clone(), member]);
    let (id, _) = step(&mut reconciler, &mut outbox).expect("an operation");

    reconciler.handle_done(id, Err(error(KernelErrorKind::Other)), &mut outbox);

    let begun = step(&mut reconciler, &mut outbox).map(|(_, op)| op);
    assert_eq!(begun, Some(KernelOp::Ensure(way)));
}

fn filter() -> KernelObject {
    KernelObject::Ruleset(Ruleset {
        name: RulesetName::Membership,
        script: String::new(),
    })
}

/// Returns all operations that are begun at once.
fn begin(reconciler: &mut Reconciler, outbox: &mut Outbox) -> Vec<(OpId, KernelOp)> {
    core::iter::from_fn(|| step(reconciler, outbox)).collect()
}
