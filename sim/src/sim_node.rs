//! A node: its Linux, and the daemon that runs on it.

mod clock;
mod daemon;
mod handling;
mod legacy;
mod saboteur;
mod selvedge;

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use selvedge_engine::{
    FLANNEL_ROUTE_PROTOCOL, Instant, LeasePolicy, LinkName, MachineId, NetworkConfig, NextHop,
    PreviousSubnet, Rng, Selection, Setup, Underlay,
};

pub(crate) use daemon::{Daemon, Deed, Input, PacketFate};
pub(crate) use handling::{Continuity, Handling};
pub(crate) use legacy::former_leases;

use crate::linux::{Attachment, Foreign, ForeignRoute, Linux};
use crate::node_id::NodeId;
use crate::scenario::{Identity, Legacy, Model, NodePlan, Scenario};

/// A node of the cluster; the daemon comes and goes, the rest stays.
#[derive(Debug)]
pub(crate) struct SimNode {
    pub(crate) id: NodeId,
    pub(crate) linux: Linux,
    pub(crate) daemon: Option<Daemon>,
    /// How often the daemon was started; answers to an earlier one are not for this one.
    pub(crate) life: u32,
    /// How often the machine was booted anew.
    reboots: u32,
    /// By how many millionths its clock is too fast.
    drift: i32,
    /// Since when it stands still.
    asleep_since: Option<Instant>,
    /// Which daemon is started.
    pub(crate) model: Model,
    /// Which machine it takes itself for.
    pub(crate) identity: Identity,
    handling: Handling,
    rng: Rng,
    kernel_free_at: Instant,
}

impl SimNode {
    pub(crate) fn new(
        id: NodeId,
        plan: &NodePlan,
        attachment: Attachment,
        handling: Handling,
        rng: &Rng,
    ) -> Self {
        Self {
            id,
            linux: shared_linux(attachment),
            daemon: None,
            life: 0,
            reboots: 0,
            drift: 0,
            asleep_since: None,
            model: plan.model,
            identity: plan.identity,
            handling,
            rng: rng.fork(&format!("node {id}")),
            kernel_free_at: Instant::ZERO,
        }
    }

    /// Puts there what ran on the nodes before.
    pub(crate) fn after(mut self, scenario: &Scenario) -> Self {
        match scenario.legacy {
            Legacy::Nothing => {}
            Legacy::Flannels => legacy::leave(&mut self.linux, scenario, self.id),
        }
        self
    }

    /// Starts the daemon as a service manager would, with what an earlier run left in the subnet file.
    pub(crate) fn start_daemon(&mut self, scenario: &Scenario, now: Instant) {
        let previous = self.linux.subnet_file().map(PreviousSubnet::parse);
        let is_dual =
            NetworkConfig::parse(scenario.config.as_bytes()).is_ok_and(|config| config.v6.is_some());
        let announced = self.identity.original().unwrap_or(self.id);
        let address = self.linux.underlay_address();
        let underlay = Underlay {
            interface: "eth0".to_owned(),
            index: 2,
            mtu: self.linux.attachment().mtu,
            address,
            address_v6: is_dual.then(|| self.id.public_ipv6()),
            public_ip: self.identity.original().map_or(address, NodeId::public_ip),
            public_ipv6: is_dual.then(|| announced.public_ipv6()),
        };
        let setup = Setup {
            selection: Selection {
                public_ip: self.identity.original().map(NodeId::public_ip),
                public_ipv6: self.identity.original().map(NodeId::public_ipv6),
                ..Selection::default()
            },
            prefix: scenario.prefix.clone(),
            previous: previous.unwrap_or_default(),
            renew_margin: scenario.renew_margin,
            peer_grace: scenario.peer_grace,
            lease_policy: LeasePolicy {
                on_expiry: scenario.on_expiry,
                on_loss: scenario.on_loss,
            },
            membership: scenario.membership,
            masquerade: scenario.masquerade,
            ..Setup::new(self.machine(), underlay)
        };
        self.life += 1;
        self.kernel_free_at = now;
        let seed = self.rng.next_u64();
        self.daemon = Some(match self.model {
            Model::Selvedge => Daemon::selvedge(self.id, setup, seed, self.handling, now),
            Model::Flannel => Daemon::flannel(setup, seed, now),
        });
        self.set_drift(self.drift, now);
    }

    /// Sets by how many millionths its clock is too fast from now on.
    pub(crate) fn set_drift(&mut self, drift: i32, now: Instant) {
        self.drift = drift;
        if let Some(daemon) = &mut self.daemon {
            daemon.set_drift(drift, now);
        }
    }

    /// Kills the daemon; tells whether one ran.
    pub(crate) fn kill_daemon(&mut self) -> bool {
        self.linux.end_daemon();
        self.daemon.take().is_some()
    }

    /// Stands still from now on.
    pub(crate) fn fall_asleep(&mut self, now: Instant) {
        self.asleep_since.get_or_insert(now);
    }

    /// Goes on.
    pub(crate) fn wake_up(&mut self, now: Instant) {
        let since = self.asleep_since.take();
        if let Some((since, daemon)) = since.zip(self.daemon.as_mut()) {
            daemon.wake_up(since, now);
        }
    }

    /// Boots the machine anew: what lay in its memory is gone, `/run` included.
    pub(crate) fn reboot(&mut self) {
        self.linux = shared_linux(self.linux.attachment().clone());
        self.reboots += 1;
    }

    /// Returns how long a daemon lives that crashes again and again: a second on average.
    pub(crate) fn short_life(&mut self) -> Duration {
        self.rng.between(Duration::ZERO, SHORT_LIFE * 2)
    }

    /// Returns when the kernel has carried out one more operation; it does one at a time.
    pub(crate) fn occupy_kernel(&mut self, now: Instant) -> Instant {
        let work = self.rng.between(KERNEL_WORK / 2, KERNEL_WORK * 3 / 2);
        self.kernel_free_at = self.kernel_free_at.max(now) + work;
        self.kernel_free_at
    }

    /// The boot's identity is another after each boot, as the kernel's boot id is.
    fn machine(&self) -> MachineId {
        let machine = match self.identity {
            Identity::Own | Identity::TwinOf(_) => self.id,
            Identity::CopyOf(original) => original,
        };
        let boot = u64::from(self.id.number()) << 32 | u64::from(self.reboots);
        MachineId::new(machine.number().into(), boot)
    }
}

/// Makes a node on which other programs are at home.
fn shared_linux(attachment: Attachment) -> Linux {
    let docker0 = LinkName(DOCKERS_BRIDGE.to_owned());
    let by_docker0 = |destination: Ipv4Net, protocol| ForeignRoute {
        destination: destination.into(),
        hop: Some(NextHop::Link(docker0.clone())),
        protocol,
        priority: 0,
    };
    let mut linux = Linux::new(attachment);
    linux.occupy(Foreign::Link(docker0.clone()));
    linux.occupy(Foreign::Route(by_docker0(DOCKERS_NETWORK, KERNEL_ROUTE)));
    linux.occupy(Foreign::Route(by_docker0(
        OPERATORS_NETWORK,
        FLANNEL_ROUTE_PROTOCOL,
    )));
    linux.occupy(Foreign::Port(RESOLVERS_PORT));
    linux
}

pub(crate) const DOCKERS_BRIDGE: &str = "docker0";
const DOCKERS_NETWORK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(172, 17, 0, 0), 16);
/// `RTPROT_KERNEL`.
const KERNEL_ROUTE: u8 = 2;
/// A route that somebody added by hand, which gives it the mark of flannel's.
pub(crate) const OPERATORS_NETWORK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(172, 18, 0, 0), 16);
const RESOLVERS_PORT: u16 = 53;
/// How long the kernel takes for an operation on average.
const KERNEL_WORK: Duration = Duration::from_micros(100);
const SHORT_LIFE: Duration = Duration::from_secs(1);
