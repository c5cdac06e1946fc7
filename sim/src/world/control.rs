//! Driving the engines: inputs, actions, timers, kernel operations.

use std::time::Duration;

use ipnet::Ipv4Net;
use selvedge_engine::{
    Action, Event as Told, ExitReason, KernelEvent, KernelObject, KernelOp, OnLoss, OpId, PreviousSubnet,
    Route, Survey,
};

use super::World;
use super::event::Event;
use crate::checker::store_requests::Counted;
use crate::checker::{Verdict, contract};
use crate::linux::Linux;
use crate::mark::Situation;
use crate::node_id::NodeId;
use crate::scenario::Model;
use crate::sim_node::{Deed, Input};

impl World {
    pub(super) fn start_for_the_first_time(&mut self, node: NodeId) -> Verdict {
        self.started.insert(node);
        if self.is_kept_down(node) {
            return Ok(());
        }
        self.start_daemon(node)
    }

    pub(super) fn start_daemon(&mut self, node: NodeId) -> Verdict {
        let now = self.now;
        self.disturbed_at = now;
        let Some(state) = self.nodes.get_mut(node.index()) else {
            return Ok(());
        };
        self.identities
            .start(node, state.linux.subnet_file().and_then(subnet_in));
        state.start_daemon(&self.scenario, now);
        let model = state.model;
        self.note_presence(node);
        self.set_patience(node, model);
        self.scars.heal(node);
        self.forget_writes(node);
        self.statistics.starts += 1;
        if let Some(rate) = self.rates.get_mut(node.index()) {
            rate.count(node, Counted::Start, now)?;
        }
        self.reference.forget(node, model, now);
        self.note_connections();
        match model {
            Model::Selvedge => self.milestone(Some(node), "starts"),
            Model::Flannel => self.milestone(Some(node), "starts flanneld"),
        }
        self.expect_relapse(node);
        self.feed(node, Input::Start)
    }

    /// Tells an engine something and carries out what it wants done.
    pub(super) fn feed(&mut self, node: NodeId, input: Input) -> Verdict {
        let now = self.now;
        let Some(daemon) = self.daemon_mut(node) else {
            return Ok(());
        };
        let deeds = daemon.feed(input, now)?;
        for deed in deeds {
            self.carry_out(node, deed)?;
        }
        self.set_timer(node);
        self.check_bounds(node)
    }

    pub(super) fn handle_timer(&mut self, node: NodeId, life: u32) -> Verdict {
        let now = self.now;
        if self.life(node) != life {
            return Ok(());
        }
        let Some(daemon) = self.daemon_mut(node) else {
            return Ok(());
        };
        if daemon.timer.is_none_or(|due| due > now) {
            return Ok(());
        }
        daemon.timer = None;
        let reason = daemon.poll_timeout().map_or("nothing", |(_, reason)| reason);
        self.detail(Some(node), format!("wakes up to {reason}"));
        self.feed(node, Input::Timeout)
    }

    pub(super) fn handle_kernel_op(&mut self, node: NodeId, life: u32, id: OpId, op: &KernelOp) -> Verdict {
        if self.life(node) != life {
            return Ok(());
        }
        self.mark_operation(node, op);
        let Some(state) = self.nodes.get_mut(node.index()) else {
            return Ok(());
        };
        let before = Dependents::of(op, &state.linux);
        let result = state.linux.apply(op);
        let lost = before.without(&state.linux);
        let (verb, object) = match op {
            KernelOp::Ensure(object) | KernelOp::Replace(object) => ("has", object),
            KernelOp::Remove(object) => ("has no", object),
        };
        match &result {
            Ok(()) => self.detail(Some(node), format!("kernel {verb} {object}")),
            Err(error) => self.detail(Some(node), format!("kernel refuses {object}: {error}")),
        }
        self.notify(node, lost);
        self.note_presence(node);
        self.note_data_path(node)?;
        self.recoveries.note_change();
        self.feed(node, Input::Kernel(KernelEvent::OpDone { id, result }))
    }

    /// Lets the kernel tell the daemon of changes that it did not ask for, in the next moment.
    pub(super) fn notify(&mut self, node: NodeId, notices: Vec<KernelEvent>) {
        let (life, at) = (self.life(node), self.now + NOTICE);
        for event in notices {
            let event = Box::new(event);
            self.queue.push(at, Event::KernelNotice { node, life, event });
        }
    }

    pub(super) fn handle_survey(&mut self, node: NodeId, life: u32, id: OpId, survey: &Survey) -> Verdict {
        if self.life(node) != life {
            return Ok(());
        }
        let Some(state) = self.nodes.get(node.index()) else {
            return Ok(());
        };
        let result = Ok(Box::new(state.linux.survey(survey)));
        self.detail(Some(node), "looks at its kernel");
        self.feed(node, Input::Kernel(KernelEvent::Surveyed { id, result }))
    }

    pub(super) fn handle_kernel_notice(&mut self, node: NodeId, life: u32, event: KernelEvent) -> Verdict {
        if self.life(node) != life {
            return Ok(());
        }
        self.feed(node, Input::Kernel(event))
    }

    pub(super) fn life(&self, node: NodeId) -> u32 {
        self.nodes.get(node.index()).map_or(0, |state| state.life)
    }

    fn carry_out(&mut self, node: NodeId, deed: Deed) -> Verdict {
        match deed {
            Deed::Act(action) => self.act(node, action),
            Deed::Say(line) => {
                self.milestone(Some(node), line);
                Ok(())
            }
            Deed::Mention(line) => {
                self.detail(Some(node), line);
                Ok(())
            }
            Deed::Die(death) => self.bury_daemon(node, &death),
        }
    }

    fn act(&mut self, node: NodeId, action: Action) -> Verdict {
        match action {
            Action::Request {
                id,
                deadline,
                request,
            } => self.send_request(node, id, deadline, request),
            Action::Watch { id, range, start } => self.open_watch(node, id, range, start),
            Action::CancelWatch(id) => {
                self.cancel_watch(node, id);
                Ok(())
            }
            // The model's messages hang on no connection.
            Action::Reconnect => Ok(()),
            Action::Kernel { id, op } => {
                self.start_kernel_op(node, id, op);
                Ok(())
            }
            Action::Survey { id, survey } => {
                self.start_survey(node, id, survey);
                Ok(())
            }
            Action::Forwarding(table) => {
                let peers = table.len();
                if let Some(daemon) = self.daemon_mut(node) {
                    daemon.set_table(table);
                }
                self.recoveries.note_change();
                self.detail(Some(node), format!("forwards to {peers} peers"));
                self.note_data_path(node)
            }
            Action::Ready => {
                self.detail(Some(node), "is ready");
                Ok(())
            }
            Action::Event(event) => {
                self.tell(node, &event);
                Ok(())
            }
            Action::Exit(ExitReason::Shutdown) if self.is_told_to_stop(node) => {
                self.milestone(Some(node), "stops");
                self.take_down(node);
                Ok(())
            }
            Action::Exit(reason @ ExitReason::LeaseLost { .. }) if self.scenario.on_loss == OnLoss::Exit => {
                self.mark(Situation::EndedOnLoss);
                self.milestone(Some(node), format!("ends: {reason}"));
                self.take_down(node);
                self.expect_restart(node);
                Ok(())
            }
            Action::Exit(reason) => contract::check_exit(node, &reason),
        }
    }

    fn start_kernel_op(&mut self, node: NodeId, id: OpId, op: KernelOp) {
        let now = self.now;
        let Some(state) = self.nodes.get_mut(node.index()) else {
            return;
        };
        let event = Event::KernelOp {
            node,
            life: state.life,
            id,
            op: Box::new(op),
        };
        let done_at = state.occupy_kernel(now);
        self.queue.push(done_at, event);
    }

    /// A survey waits for its turn as an operation does.
    fn start_survey(&mut self, node: NodeId, id: OpId, survey: Survey) {
        let now = self.now;
        let Some(state) = self.nodes.get_mut(node.index()) else {
            return;
        };
        let event = Event::Survey {
            node,
            life: state.life,
            id,
            survey: Box::new(survey),
        };
        let done_at = state.occupy_kernel(now);
        self.queue.push(done_at, event);
    }

    pub(super) fn set_timer(&mut self, node: NodeId) {
        let life = self.life(node);
        let Some(daemon) = self.daemon_mut(node) else {
            return;
        };
        let due = daemon.poll_timeout().map(|(at, _)| at);
        if due == daemon.timer {
            return;
        }
        daemon.timer = due;
        if let Some(at) = due {
            // A clock that is set right may have gone past it.
            self.queue.push(at.max(self.now), Event::Timer { node, life });
        }
    }

    /// Records what an engine tells people; changes of state go into the timeline.
    fn tell(&mut self, node: NodeId, event: &Told) {
        self.mark_event(node, event);
        if let Told::LeaseAcquired { subnet, .. } = event
            && let Some(v4) = subnet.v4()
        {
            self.identities.hold(node, v4.trunc());
        }
        if matches!(event, Told::LeaseLost { .. }) && self.scenario.on_loss == OnLoss::Reallocate {
            self.identities.give_up(node);
        }
        if matches!(event, Told::LeaseLost { .. }) {
            self.reference.lose(node);
        }
        if matches!(event, Told::Fenced { .. }) {
            self.reference.fence(node);
        }
        if matches!(event, Told::LeaseAcquired { .. } | Told::LeaseRenewed { .. }) {
            self.reference.renew(node, self.now);
        }
        match event {
            Told::LeaseAcquired { .. }
            | Told::LeaseResumed { .. }
            | Told::PublicIpContested { .. }
            | Told::DuplicatePublicIp { .. }
            | Told::LeaseLost { .. }
            | Told::Fenced { .. }
            | Told::PeersStale { .. }
            | Told::SubnetsExhausted { .. }
            | Told::ConfigMissing { .. }
            | Told::ConfigInvalid { .. }
            | Told::ConfigKeyUnknown { .. }
            | Told::ConfigUnused { .. }
            | Told::StoreReached
            | Told::StoreRestarted { .. }
            | Told::ChangeMissed { .. }
            | Told::TooManyRecords { .. }
            | Told::KernelRepairing { .. }
            | Told::SurveyFailed { .. }
            | Told::UnderlayChanged { .. }
            | Told::PeerOffLink { .. }
            | Told::KernelFailed { .. }
            | Told::Ready => self.milestone(Some(node), event.to_string()),
            Told::StoreUnreachable { .. }
            | Told::CreateRaceLost { .. }
            | Told::LeaseRenewed { .. }
            | Told::PeerAdded { .. }
            | Told::PeerRemoved { .. }
            | Told::PeersChanged { .. }
            | Told::RecordRejected { .. }
            | Told::LeaseClaimed { .. }
            | Told::RecordsRejected { .. }
            | Told::Relisted { .. } => self.detail(Some(node), event.to_string()),
        }
    }
}

/// What goes along with a device, with one in whose place another is opened, or with its last address, and the daemon did not ask to be removed.
struct Dependents {
    routes: Vec<Route>,
    neighbours: usize,
}

impl Dependents {
    fn of(op: &KernelOp, linux: &Linux) -> Self {
        match op {
            KernelOp::Remove(KernelObject::Address(_) | KernelObject::Link(_))
            | KernelOp::Ensure(KernelObject::Link(_)) => Self {
                routes: linux.daemon_routes(),
                neighbours: linux.neighbour_count(),
            },
            KernelOp::Ensure(_) | KernelOp::Replace(_) | KernelOp::Remove(_) => Self {
                routes: Vec::new(),
                neighbours: 0,
            },
        }
    }

    /// Returns what the kernel tells of those that are gone.
    fn without(mut self, linux: &Linux) -> Vec<KernelEvent> {
        if self.routes.is_empty() && self.neighbours == 0 {
            return Vec::new();
        }
        let left = linux.daemon_routes();
        self.routes.retain(|route| !left.contains(route));
        let is_doubtful = !self.routes.is_empty() || linux.neighbour_count() < self.neighbours;
        let routes = self.routes.into_iter().map(KernelObject::Route);
        let vanished = routes.map(KernelEvent::Vanished);
        vanished
            .chain(is_doubtful.then_some(KernelEvent::Doubted))
            .collect()
    }
}

/// How long the kernel takes to tell of a change.
const NOTICE: Duration = Duration::from_micros(200);

fn subnet_in(file: &str) -> Option<Ipv4Net> {
    PreviousSubnet::parse(file).v4.map(|v4| v4.trunc())
}
