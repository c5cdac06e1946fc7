//! The firewall beside the rest of the node: its programs may wait for others' locks, and nothing else waits for them.

use std::time::Duration;

use selvedge_engine::{
    FoundFirewall, KernelError, KernelEvent, KernelObject, KernelOp, OpId, Ruleset, RulesetName,
};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::{Firewall, MemberChange};

/// How often everything is compared with what was made, for those changes that nobody tells of.
const PERIOD: Duration = Duration::from_mins(5);
/// How long the first look at the firewall is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// A firewall that carries out its operations on its own.
///
/// Those on traffic rules have their order and those on the membership filter theirs: a node that joins is not kept out
/// because somebody holds the lock of iptables.
#[derive(Debug)]
pub(in crate::kernel) struct FirewallTask {
    traffic: Part,
    membership: Part,
    events: mpsc::UnboundedReceiver<KernelEvent>,
}

/// What a part of the firewall is told, and what it knows.
#[derive(Debug)]
struct Part {
    orders: mpsc::UnboundedSender<(OpId, KernelOp)>,
    found: watch::Receiver<Option<FoundFirewall>>,
}

impl FirewallTask {
    /// Starts it; must be called inside a tokio runtime. It ends when this is dropped.
    pub(in crate::kernel) fn start() -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let (membership, traffic) = RulesetName::ALL
            .into_iter()
            .partition(|name| is_membership(*name));
        Self {
            traffic: Part::start(traffic, sender.clone()),
            membership: Part::start(membership, sender),
            events,
        }
    }

    /// Begins an operation; its end comes as an event.
    pub(in crate::kernel) fn begin(&self, id: OpId, op: KernelOp) {
        let part = match op.object() {
            KernelObject::Ruleset(ruleset) if !is_membership(ruleset.name) => &self.traffic,
            KernelObject::Ruleset(_)
            | KernelObject::Member(_)
            | KernelObject::Socket(_)
            | KernelObject::Link(_)
            | KernelObject::Sysctl(_)
            | KernelObject::Address(_)
            | KernelObject::FdbEntry(_)
            | KernelObject::Neighbour(_)
            | KernelObject::Route(_)
            | KernelObject::SubnetFile(_) => &self.membership,
        };
        // Fails only if the task has ended, and that it does with the runtime.
        drop(part.orders.send((id, op)));
    }

    /// Waits for the end of an operation, or for what others did to what was made.
    ///
    /// Nothing is lost if the future is dropped before it ends.
    pub(in crate::kernel) async fn next_event(&mut self) -> KernelEvent {
        match self.events.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    /// Returns what is there of our rules, as far as is known.
    pub(in crate::kernel) async fn found(&mut self) -> FoundFirewall {
        let (mut found, membership) = tokio::join!(self.traffic.found(), self.membership.found());
        found.rulesets.extend(membership.rulesets);
        found.members.extend(membership.members);
        found
    }
}

impl Part {
    fn start(names: Vec<RulesetName>, events: mpsc::UnboundedSender<KernelEvent>) -> Self {
        let (orders, receiver) = mpsc::unbounded_channel();
        let (finder, found) = watch::channel(None);
        tokio::spawn(
            Task {
                firewall: Firewall::open(),
                names,
                orders: receiver,
                events,
                found: finder,
            }
            .run(),
        );
        Self { orders, found }
    }

    async fn found(&mut self) -> FoundFirewall {
        let first = self.found.wait_for(Option::is_some);
        if let Ok(Ok(found)) = tokio::time::timeout(PATIENCE, first).await {
            return found.clone().unwrap_or_default();
        }
        tracing::warn!("the firewall does not tell in {PATIENCE:?} what rules there are");
        FoundFirewall::default()
    }
}

fn is_membership(name: RulesetName) -> bool {
    match name {
        RulesetName::Membership => true,
        RulesetName::NftablesTraffic(_) | RulesetName::IptablesTraffic(_) => false,
    }
}

struct Task {
    firewall: Firewall,
    /// Its rulesets.
    names: Vec<RulesetName>,
    orders: mpsc::UnboundedReceiver<(OpId, KernelOp)>,
    events: mpsc::UnboundedSender<KernelEvent>,
    found: watch::Sender<Option<FoundFirewall>>,
}

impl Task {
    async fn run(mut self) {
        let left = self.firewall.found(&self.names).await;
        self.found.send_replace(Some(left));
        let mut period = tokio::time::interval(PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        period.reset();
        loop {
            tokio::select! {
                biased;
                order = self.orders.recv() => match order {
                    Some(order) => self.carry_out(order).await,
                    None => return,
                },
                () = self.firewall.doubted() => self.check().await,
                _ = period.tick() => self.check().await,
            }
        }
    }

    /// Carries out what waits, changes of members that follow each other at once.
    async fn carry_out(&mut self, first: (OpId, KernelOp)) {
        let mut members = Vec::new();
        let mut next = Some(first);
        while let Some((id, op)) = next.take().or_else(|| self.orders.try_recv().ok()) {
            if let Some(change) = MemberChange::of(&op) {
                members.push((id, change));
            } else {
                self.change_members(std::mem::take(&mut members)).await;
                let result = self.change_ruleset(op).await;
                self.tell(KernelEvent::OpDone { id, result });
            }
        }
        self.change_members(members).await;
        self.found.send_replace(Some(self.firewall.known()));
    }

    async fn change_members(&mut self, changes: Vec<(OpId, MemberChange)>) {
        if changes.is_empty() {
            return;
        }
        let (ids, changes): (Vec<_>, Vec<_>) = changes.into_iter().unzip();
        let results = self.firewall.change_members(&changes).await;
        for (id, result) in ids.into_iter().zip(results) {
            self.tell(KernelEvent::OpDone { id, result });
        }
    }

    async fn change_ruleset(&mut self, op: KernelOp) -> Result<(), KernelError> {
        let ruleset = |object| match object {
            KernelObject::Ruleset(ruleset) => Some(ruleset),
            KernelObject::Socket(_)
            | KernelObject::Link(_)
            | KernelObject::Sysctl(_)
            | KernelObject::Address(_)
            | KernelObject::FdbEntry(_)
            | KernelObject::Neighbour(_)
            | KernelObject::Route(_)
            | KernelObject::Member(_)
            | KernelObject::SubnetFile(_) => None,
        };
        match op {
            KernelOp::Ensure(object) | KernelOp::Replace(object) => match ruleset(object) {
                Some(ruleset) => self.firewall.ensure_ruleset(&ruleset).await,
                None => Ok(()),
            },
            KernelOp::Remove(object) => match ruleset(object) {
                Some(Ruleset { name, .. }) => self.firewall.remove_ruleset(name).await,
                None => Ok(()),
            },
        }
    }

    async fn check(&mut self) {
        for event in self.firewall.check().await {
            self.tell(event);
        }
        self.found.send_replace(Some(self.firewall.known()));
    }

    fn tell(&self, event: KernelEvent) {
        // Fails only if nobody wants to know any more.
        drop(self.events.send(event));
    }
}
