//! The underlay: a link from every node to every other, each direction with a fate of its own.

use std::time::Duration;

use selvedge_engine::{Instant, Rng};
use serde::{Deserialize, Serialize};

use crate::duration_text;
use crate::node_id::NodeId;
use crate::probability::Probability;

/// How all links of the underlay behave.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LinkOptions {
    /// The least time that a datagram takes.
    #[serde(with = "duration_text")]
    pub delay: Duration,
    /// What is added to the delay at most; datagrams overtake each other by it.
    #[serde(with = "duration_text")]
    pub jitter: Duration,
    /// How likely a datagram is lost.
    pub loss: Probability,
    /// How likely a datagram arrives twice.
    pub duplication: Probability,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(1),
            jitter: Duration::from_micros(500),
            loss: Probability::ZERO,
            duplication: Probability::ZERO,
        }
    }
}

/// What becomes of a datagram on its link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    Arrives(Instant),
    ArrivesTwice(Instant, Instant),
    Lost(LossCause),
}

/// Why the underlay lost a datagram.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum LossCause {
    /// By chance.
    Chance,
    /// The link is cut.
    Cut,
}

/// All links, and what faults do to them at the moment.
#[derive(Debug)]
pub(crate) struct Links {
    options: LinkOptions,
    pairs: Vec<Link>,
    nodes: usize,
}

#[derive(Debug)]
struct Link {
    rng: Rng,
    cut: bool,
}

impl Links {
    pub(crate) fn new(nodes: usize, options: LinkOptions, rng: &Rng) -> Self {
        let pairs = (0..nodes * nodes)
            .map(|index| Link {
                rng: rng.fork(&format!("link {} {}", index / nodes, index % nodes)),
                cut: false,
            })
            .collect();
        Self {
            options,
            pairs,
            nodes,
        }
    }

    /// Sends a datagram and says what becomes of it.
    ///
    /// Draws the same random numbers whatever the options are, so that a changed option leaves the rest of a run
    /// as similar as it can be.
    pub(crate) fn send(&mut self, from: NodeId, to: NodeId, now: Instant) -> Fate {
        let LinkOptions {
            delay,
            jitter,
            loss,
            duplication,
        } = self.options;
        let Some(link) = self.link_mut(from, to) else {
            return Fate::Lost(LossCause::Cut);
        };
        let lost = link.rng.chance(loss.as_per_million());
        let doubled = link.rng.chance(duplication.as_per_million());
        let arrival = now + delay + link.rng.between(Duration::ZERO, jitter);
        if link.cut {
            return Fate::Lost(LossCause::Cut);
        }
        if lost {
            return Fate::Lost(LossCause::Chance);
        }
        if doubled {
            let second = arrival + link.rng.between(Duration::ZERO, delay + jitter);
            return Fate::ArrivesTwice(arrival, second);
        }
        Fate::Arrives(arrival)
    }

    /// Tells whether datagrams pass from one node to the other.
    pub(crate) fn is_open(&self, from: NodeId, to: NodeId) -> bool {
        self.index(from, to)
            .and_then(|index| self.pairs.get(index))
            .is_some_and(|link| !link.cut)
    }

    pub(crate) fn cut(&mut self, from: NodeId, to: NodeId) {
        if let Some(link) = self.link_mut(from, to) {
            link.cut = true;
        }
    }

    /// Gives all links these options; what is cut stays cut.
    pub(crate) const fn calm(&mut self, options: LinkOptions) {
        self.options = options;
    }

    /// Opens every link and gives all of them these options.
    pub(crate) fn reset(&mut self, options: LinkOptions) {
        self.options = options;
        for link in &mut self.pairs {
            link.cut = false;
        }
    }

    fn link_mut(&mut self, from: NodeId, to: NodeId) -> Option<&mut Link> {
        let index = self.index(from, to)?;
        self.pairs.get_mut(index)
    }

    fn index(&self, from: NodeId, to: NodeId) -> Option<usize> {
        let inside = from.index() < self.nodes && to.index() < self.nodes;
        inside.then(|| from.index() * self.nodes + to.index())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_healthy_link_delivers_within_delay_and_jitter() {
        let options = LinkOptions {
            delay: Duration::from_millis(10),
            jitter: Duration::from_millis(5),
            ..LinkOptions::default()
        };
        let mut links = Links::new(2, options, &Rng::new(1));

        for _ in 0..1000 {
            let Fate::Arrives(at) = links.send(N1, N2, Instant::ZERO) else {
                panic!("a healthy link lost a datagram");
            };
            assert!(at >= Instant::from_nanos(10_000_000) && at < Instant::from_nanos(15_000_000));
        }
    }

    #[test]
    fn a_link_cut_one_way_is_open_the_other_way() {
        let mut links = Links::new(2, LinkOptions::default(), &Rng::new(1));

        links.cut(N1, N2);

        assert_eq!(links.send(N1, N2, Instant::ZERO), Fate::Lost(LossCause::Cut));
        assert!(matches!(links.send(N2, N1, Instant::ZERO), Fate::Arrives(_)));
        assert!(!links.is_open(N1, N2) && links.is_open(N2, N1));
    }

    #[test]
    fn loss_and_duplication_come_as_often_as_asked() {
        let options = LinkOptions {
            loss: Probability::percent(20),
            duplication: Probability::percent(10),
            ..LinkOptions::default()
        };
        let mut links = Links::new(2, options, &Rng::new(1));

        let fates: Vec<_> = (0..10_000).map(|_| links.send(N1, N2, Instant::ZERO)).collect();

        let lost = fates.iter().filter(|fate| matches!(fate, Fate::Lost(_))).count();
        let doubled = fates
            .iter()
            .filter(|fate| matches!(fate, Fate::ArrivesTwice(..)))
            .count();
        assert!((1800..2200).contains(&lost), "{lost}");
        assert!((700..900).contains(&doubled), "{doubled}");
    }

    #[test]
    fn links_do_not_share_randomness() {
        let options = LinkOptions {
            jitter: Duration::from_secs(1),
            ..LinkOptions::default()
        };
        let mut alone = Links::new(3, options, &Rng::new(1));
        let mut mixed = Links::new(3, options, &Rng::new(1));

        mixed.send(N2, N1, Instant::ZERO);

        assert_eq!(
            alone.send(N1, N2, Instant::ZERO),
            mixed.send(N1, N2, Instant::ZERO)
        );
    }

    const N1: NodeId = NodeId::new(1);
    const N2: NodeId = NodeId::new(2);
}
