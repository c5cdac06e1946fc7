//! Working out how well the node does.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{Engine, Life};
use crate::desired::Owner;
use crate::health::{Health, Obstacle, Reachability};
use crate::kernel::KernelObject;
use crate::status::Phase;
use crate::time::Instant;

/// How many objects that fail are named among the obstacles.
const MOST_NAMED: usize = 5;

impl Engine {
    /// Says how well the node does at a time that is no earlier than the last input's.
    ///
    /// It looks at every object, so it is for those who ask, not for every wake-up.
    pub fn health(&self, now: Instant) -> Health {
        let mut desired = BTreeMap::new();
        let mut rulesets = Vec::new();
        for object in self.reconciler.desired() {
            *desired.entry(object.kind()).or_default() += 1;
            if let KernelObject::Ruleset(ruleset) = object {
                rulesets.push(ruleset.name);
            }
        }
        Health {
            obstacles: self.obstacles(now),
            store: self.outbox.reachability(),
            lease_until: self.lease_until(),
            config_problem: self.config.problem(self.outbox.reachability()),
            desired,
            rulesets,
            failing: self.reconciler.failing().collect(),
        }
    }

    fn obstacles(&self, now: Instant) -> Vec<Obstacle> {
        let mut obstacles = self.own_obstacles(now);
        if !obstacles.is_empty() && self.life != Life::Stopped {
            obstacles.extend(match self.outbox.reachability() {
                Reachability::Untried => Some(Obstacle::StoreUntried),
                Reachability::Lost => Some(Obstacle::StoreLost),
                Reachability::Reached => None,
            });
        }
        obstacles
    }

    fn own_obstacles(&self, now: Instant) -> Vec<Obstacle> {
        let first = match self.phase() {
            Phase::Stopped => Some(Obstacle::Stopping),
            Phase::Configuring => Some(self.config_obstacle()),
            Phase::Acquiring => Some(self.lease_obstacle()),
            Phase::Preparing | Phase::Running => match self.keeper.carried() {
                None => Some(Obstacle::Fenced),
                Some(subnet) => {
                    let has_ended = self.lease_until().is_some_and(|until| until <= now);
                    has_ended.then_some(Obstacle::LeaseEnded(subnet))
                }
            },
        };
        let objects = match self.phase() {
            Phase::Preparing => self.object_obstacles(),
            Phase::Stopped | Phase::Configuring | Phase::Acquiring | Phase::Running => Vec::new(),
        };
        first.into_iter().chain(objects).collect()
    }

    fn config_obstacle(&self) -> Obstacle {
        match self.config.problem(self.outbox.reachability()) {
            Some(problem) if self.found_config.is_none() => Obstacle::Config(problem),
            Some(_) | None => Obstacle::Looking,
        }
    }

    fn lease_obstacle(&self) -> Obstacle {
        if let Some(twin) = self.keeper.twin() {
            return Obstacle::PublicIpTaken(twin);
        }
        match self.keeper.carried() {
            Some(subnet) => Obstacle::LeaseLost(subnet),
            None if self.keeper.finds_no_room() => Obstacle::SubnetsExhausted,
            None => Obstacle::NoSubnet,
        }
    }

    /// A node that was ready once stays so while it sets up what a new peer needs.
    fn object_obstacles(&self) -> Vec<Obstacle> {
        let missing = self.reconciler.missing();
        let missing = missing.filter(|(owner, ..)| self.life == Life::Starting || *owner == Owner::Node);
        let mut failing = Vec::new();
        let mut others = 0;
        for (_, object, error) in missing {
            match error {
                Some(error) if failing.len() < MOST_NAMED => failing.push(Obstacle::ObjectFails {
                    object: object.clone(),
                    error: error.clone(),
                }),
                Some(_) | None => others += 1,
            }
        }
        if others > 0 {
            failing.push(Obstacle::ObjectsMissing(others));
        }
        failing
    }

    fn lease_until(&self) -> Option<Instant> {
        self.keeper.held()?.until()
    }
}
