//! The probes whose fate is open, or that a late copy may still belong to.

use std::collections::VecDeque;
use std::time::Duration;

use selvedge_engine::Instant;

use super::{Probe, ProbeFate};

/// Probes in the order of their ids.
#[derive(Debug, Default)]
pub(crate) struct ProbesInFlight {
    first: u64,
    probes: VecDeque<Probe>,
}

impl ProbesInFlight {
    /// Returns the id of the next probe.
    pub(crate) fn next_id(&self) -> u64 {
        self.first + u64::try_from(self.probes.len()).unwrap_or(u64::MAX)
    }

    /// Takes a probe that bears the next id.
    pub(crate) fn insert(&mut self, probe: Probe) {
        debug_assert_eq!(probe.id, self.next_id(), "probes are numbered without gaps");
        self.probes.push_back(probe);
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Probe> {
        let index = usize::try_from(id.checked_sub(self.first)?).ok()?;
        self.probes.get_mut(index)
    }

    /// Notes what became of a probe; what was delivered once stays delivered, and a delivery outweighs what became of
    /// other copies.
    pub(crate) fn settle(&mut self, id: u64, fate: ProbeFate) {
        let Some(probe) = self.get_mut(id) else { return };
        if probe.fate.is_none() || fate == ProbeFate::Delivered {
            probe.fate = Some(fate);
        }
        probe.queued = false;
    }

    /// Takes the oldest probe if all that can happen to it has happened.
    pub(crate) fn pop_settled(&mut self, now: Instant) -> Option<Probe> {
        let oldest = self.probes.front()?;
        let is_over = !oldest.queued && now >= oldest.sent_at + LIFETIME && now > oldest.last_arrival;
        if !is_over {
            return None;
        }
        self.first += 1;
        self.probes.pop_front()
    }

    /// Returns when the oldest probe was sent, `None` if there is none.
    pub(crate) fn oldest_sent_at(&self) -> Option<Instant> {
        self.probes.front().map(|probe| probe.sent_at)
    }

    /// Takes the oldest probe, whatever became of it.
    pub(crate) fn pop(&mut self) -> Option<Probe> {
        let oldest = self.probes.pop_front()?;
        self.first += 1;
        Some(oldest)
    }
}

/// After this time every node has done with a probe what it will do, unless a link is very slow.
const LIFETIME: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::tests::probe;

    #[test]
    fn probes_are_found_by_id_after_older_ones_are_gone() {
        let mut probes = ProbesInFlight::default();
        for id in 0..3 {
            probes.insert(probe(id));
        }
        probes.get_mut(1).unwrap().queued = true;
        let later = Instant::ZERO + LIFETIME;

        assert_eq!(probes.pop_settled(Instant::ZERO), None);
        assert_eq!(probes.pop_settled(later).map(|probe| probe.id), Some(0));
        assert_eq!(probes.pop_settled(later), None);
        assert!(probes.get_mut(0).is_none());
        assert_eq!(probes.get_mut(2).map(|probe| probe.id), Some(2));
        assert_eq!(probes.next_id(), 3);
    }

    #[test]
    fn a_probe_is_awaited_for_as_long_as_a_copy_of_it_is_on_a_link() {
        let mut probes = ProbesInFlight::default();
        probes.insert(probe(0));
        let later = Instant::ZERO + LIFETIME;

        probes.get_mut(0).unwrap().last_arrival = later;

        assert_eq!(probes.pop_settled(later), None);
        assert!(probes.pop_settled(later + LIFETIME).is_some());
    }

    #[test]
    fn a_delivery_outweighs_the_loss_of_another_copy() {
        let mut probes = ProbesInFlight::default();
        probes.insert(probe(0));

        probes.settle(0, ProbeFate::LostByChance);
        probes.settle(0, ProbeFate::Delivered);
        probes.settle(0, ProbeFate::NobodyListened);

        assert_eq!(
            probes.get_mut(0).and_then(|probe| probe.fate),
            Some(ProbeFate::Delivered)
        );
    }
}
