//! What it costs when somebody changes a node behind the daemon's back: how long until everything is right again, and how
//! many packets are lost.

mod standing;
mod tampering;

use std::fmt;
use std::thread;
use std::time::Duration;

use selvedge_host::lab::{Pace, Place, ProbeStream};

pub use self::tampering::Tampering;

use self::standing::Standing;
use crate::backend::{Backend, Families, REMOTE};
use crate::real_nodes::{HUNDRED_A_SECOND, RealNodes, node, wait_until};

/// The node that is tampered with.
const TAMPERED: u8 = 1;
/// A node on its link.
const NEIGHBOUR: u8 = 2;

/// How long traffic flows undisturbed before, and how long it is watched after everything is right.
const BEFORE: Duration = Duration::from_millis(200);
const AFTER: Duration = Duration::from_millis(700);
/// How long is waited at most.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a change cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// What carried the packets.
    pub backend: Backend,
    /// What was changed.
    pub tampering: Tampering,
    /// From the change until the node, and what its peer knows of it, was as it ought to be.
    pub right_after: Option<Duration>,
    /// From the change to the first answer after the last packet that was lost.
    pub flows_after: Option<Duration>,
    /// How many packets were lost.
    pub lost: usize,
    /// How many were sent.
    pub sent: usize,
}

impl Cost {
    /// Tells whether everything was right in time.
    pub fn is_in_time(&self) -> bool {
        let limit = self.tampering.limit();
        let is_in_time = |after: Option<Duration>| after.is_some_and(|after| after <= limit);
        is_in_time(self.right_after) && is_in_time(self.flows_after)
    }
}

impl fmt::Display for Cost {
    /// A row of the table that [`head`] begins.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Option<Duration>| {
            time.map_or_else(|| "never".to_owned(), |time| format!("{} ms", time.as_millis()))
        };
        let late = if self.is_in_time() { "" } else { "  TOO LATE" };
        write!(
            f,
            "{:<14} {:<28} {:>10} {:>10} {:>6}{late}",
            self.backend,
            self.tampering,
            ms(self.right_after),
            ms(self.flows_after),
            self.lost
        )
    }
}

/// Returns the head of the table.
pub fn head() -> String {
    format!(
        "{:<14} {:<28} {:>10} {:>10} {:>6}",
        "backend", "change", "right", "flows", "lost"
    )
}

/// Brings up two nodes, three if one is behind a router, changes everything that can be changed once, and returns what each change cost; `tell` hears of
/// each at once.
///
/// # Panics
///
/// If the nodes do not come up, or cannot be tampered with.
pub fn measure(name: &str, backend: Backend, program: &str, mut tell: impl FnMut(&Cost)) -> Vec<Cost> {
    let real = RealNodes::up_with_backend(name, nodes(backend), backend, Families::V4, program);
    let tamperings = Tampering::ALL.into_iter();
    let tamperings = tamperings.filter(|tampering| tampering.applies_to(backend));
    let cost_of = |tampering| {
        let before = Standing::of(&real, backend);
        let cost = cost(&real, backend, tampering, &before);
        tell(&cost);
        tampering.undo(&real, backend, &before);
        wait_until(PATIENCE, || flows(&real, tampering.peer(backend)));
        cost
    };
    tamperings.map(cost_of).collect()
}

fn cost(real: &RealNodes, backend: Backend, tampering: Tampering, before: &Standing) -> Cost {
    let peer = tampering.peer(backend);
    let stream = start(real, peer, HUNDRED_A_SECOND);
    thread::sleep(BEFORE);
    let mut began = stream.elapsed();
    tampering.carry_out(real, backend, || began = stream.elapsed());

    let is_right = wait_until(PATIENCE, || tampering.is_right(real, backend, before));
    let right_after = is_right.then(|| stream.elapsed().saturating_sub(began));
    wait_until(PATIENCE, || flows(real, peer));
    thread::sleep(AFTER);

    let end = stream.elapsed();
    let echoes = stream.stop().between(began, end);
    let last_lost = echoes.0.iter().rev().find(|probe| probe.round_trip.is_none());
    let flows_after = match last_lost {
        None => Some(Duration::ZERO),
        Some(last) => {
            let answered = echoes.first_answer_since(last.sent_at);
            answered.map(|at| at.saturating_sub(began))
        }
    };
    Cost {
        backend,
        tampering,
        right_after,
        flows_after,
        lost: echoes.lost(),
        sent: echoes.sent(),
    }
}

/// Returns how many nodes a backend needs to show all that it does.
const fn nodes(backend: Backend) -> u8 {
    match backend {
        Backend::Udp | Backend::Vxlan | Backend::HostGw => NEIGHBOUR,
        Backend::VxlanDirect => REMOTE,
    }
}

fn flows(real: &RealNodes, peer: u8) -> bool {
    let once = Pace {
        count: 1,
        ..HUNDRED_A_SECOND
    };
    start(real, peer, once).finish().lost() == 0
}

fn start(real: &RealNodes, peer: u8, pace: Pace) -> ProbeStream {
    let from = real.lab.namespace(Place::Pod(node(TAMPERED)));
    ProbeStream::start(&from, real.pod(peer), pace).expect("probes are sent")
}
