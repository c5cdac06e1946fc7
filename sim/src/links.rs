//! The underlay: a link from every node to every other, each direction with a fate of its own.

mod carriage;
mod journey;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use selvedge_engine::{Instant, Rng};
use serde::{Deserialize, Serialize};

use crate::duration_text;
use crate::fault::LinkFault;
use crate::node_id::NodeId;
use crate::probability::Probability;
pub(crate) use carriage::Carriage;
use journey::{Journey, LinkState};

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
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    Arrives { first: Arrival, copies: Vec<Arrival> },
    Lost(LossCause),
}

/// One copy of a datagram at the end of its link.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    /// The payload, if it is not what was sent.
    pub(crate) damaged: Option<Vec<u8>>,
}

/// Why the underlay lost a datagram.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum LossCause {
    /// By chance.
    Chance,
    /// The link is cut.
    Cut,
    /// It was damaged, and the receiver's kernel noticed.
    Damage,
    /// The link's queue was full.
    Queue,
    /// It was larger than the path allows.
    TooBig,
}

/// All links, and what faults do to them at the moment.
#[derive(Debug)]
pub(crate) struct Links {
    options: LinkOptions,
    faults: Vec<LinkFault>,
    cuts: Vec<Cut>,
    rng: Rng,
    /// The links that something was sent on, by sender and receiver: of n nodes few use all n times n of them.
    used: Vec<BTreeMap<NodeId, Link>>,
    /// The nodes whose datagrams arrive from another address.
    hidden: BTreeSet<NodeId>,
    /// The nodes between which nothing goes wrong.
    spared: BTreeSet<NodeId>,
}

/// Every link from one of the first nodes to one of the second is cut.
#[derive(Debug)]
struct Cut {
    from: BTreeSet<NodeId>,
    to: BTreeSet<NodeId>,
}

#[derive(Debug)]
struct Link {
    rng: Rng,
    state: LinkState,
}

impl Links {
    pub(crate) fn new(nodes: usize, options: LinkOptions, rng: &Rng) -> Self {
        Self {
            options,
            faults: Vec::new(),
            cuts: Vec::new(),
            rng: rng.clone(),
            used: (0..nodes).map(|_| BTreeMap::new()).collect(),
            hidden: BTreeSet::new(),
            spared: BTreeSet::new(),
        }
    }

    /// Sends something and says what becomes of it.
    ///
    /// Draws the same random numbers from the link's stream whatever the options and faults are, so that a changed one
    /// leaves the rest of a run as similar as it can be.
    pub(crate) fn send(
        &mut self,
        (from, to): (NodeId, NodeId),
        carriage: Carriage,
        payload: &[u8],
        now: Instant,
    ) -> Fate {
        let LinkOptions {
            delay,
            jitter,
            loss,
            duplication,
        } = self.options;
        let is_cut = self.is_cut(from, to);
        let is_spared = self.are_spared(from, to);
        if to.index() >= self.used.len() {
            return Fate::Lost(LossCause::Cut);
        }
        let Some(links) = self.used.get_mut(from.index()) else {
            return Fate::Lost(LossCause::Cut);
        };
        let link = links.entry(to).or_insert_with(|| Link::new(from, to, &self.rng));
        let lost = link.rng.chance(loss.as_per_million());
        let doubled = link.rng.chance(duplication.as_per_million());
        let arrival = now + delay + link.rng.between(Duration::ZERO, jitter);
        if is_cut {
            return Fate::Lost(LossCause::Cut);
        }
        if lost {
            return Fate::Lost(LossCause::Chance);
        }
        let mut fate = Fate::arrives(arrival);
        if doubled && let Fate::Arrives { copies, .. } = &mut fate {
            copies.push(Arrival {
                at: arrival + link.rng.between(Duration::ZERO, delay + jitter),
                damaged: None,
            });
        }
        if self.faults.is_empty() || is_spared {
            return fate;
        }
        let journey = Journey {
            state: &mut link.state,
            carriage,
            payload,
            sent_at: now,
            rng: link.rng.fork("faults"),
        };
        journey.suffer(fate, &self.faults)
    }

    /// Tells whether datagrams pass from one node to the other, and come from where they should.
    pub(crate) fn is_open(&self, from: NodeId, to: NodeId) -> bool {
        !self.hidden.contains(&from) && !self.is_cut(from, to)
    }

    /// Returns the address from which a node's datagrams arrive, if it is not the node's own.
    pub(crate) fn changed_source(&self, from: NodeId) -> Option<Ipv4Addr> {
        self.hidden.contains(&from).then_some(NAT)
    }

    /// Cuts every link from one of the first nodes to one of the second.
    pub(crate) fn cut(
        &mut self,
        from: impl IntoIterator<Item = NodeId>,
        to: impl IntoIterator<Item = NodeId>,
    ) {
        self.cuts.push(Cut {
            from: from.into_iter().collect(),
            to: to.into_iter().collect(),
        });
    }

    /// Lets a node's datagrams arrive from another address.
    pub(crate) fn hide(&mut self, node: NodeId) {
        self.hidden.insert(node);
    }

    /// Lets every link do this to datagrams, too.
    pub(crate) fn add_fault(&mut self, fault: LinkFault) {
        self.faults.push(fault);
    }

    /// Gives all links these options and ends what they do besides; what is cut stays cut.
    pub(crate) fn calm(&mut self, options: LinkOptions) {
        self.options = options;
        self.faults.clear();
    }

    /// Ends all faults.
    pub(crate) fn reset(&mut self) {
        self.faults.clear();
        self.hidden.clear();
        self.cuts.clear();
    }

    /// Lets nothing go wrong between these nodes any more.
    pub(crate) fn spare(&mut self, nodes: &[NodeId]) {
        self.spared.extend(nodes);
    }

    fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        let mut cuts = self.cuts.iter();
        cuts.any(|cut| cut.from.contains(&from) && cut.to.contains(&to)) && !self.are_spared(from, to)
    }

    fn are_spared(&self, from: NodeId, to: NodeId) -> bool {
        self.spared.contains(&from) && self.spared.contains(&to)
    }
}

impl Link {
    fn new(from: NodeId, to: NodeId, rng: &Rng) -> Self {
        Self {
            rng: rng.fork(&format!("link {} {}", from.index(), to.index())),
            state: LinkState::default(),
        }
    }
}

impl Fate {
    /// Makes the fate of a datagram that arrives once and as it was sent.
    const fn arrives(at: Instant) -> Self {
        Self::Arrives {
            first: Arrival { at, damaged: None },
            copies: Vec::new(),
        }
    }
}

/// The address of a host that no node has (RFC 5737).
const NAT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);

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
            let Fate::Arrives { first, .. } = send(&mut links, N1, N2) else {
                panic!("a healthy link lost a datagram");
            };
            assert!(
                first.at >= Instant::from_nanos(10_000_000) && first.at < Instant::from_nanos(15_000_000)
            );
        }
    }

    #[test]
    fn a_link_cut_one_way_is_open_the_other_way() {
        let mut links = Links::new(2, LinkOptions::default(), &Rng::new(1));

        links.cut([N1], [N2]);

        assert_eq!(send(&mut links, N1, N2), Fate::Lost(LossCause::Cut));
        assert!(matches!(send(&mut links, N2, N1), Fate::Arrives { .. }));
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

        let fates: Vec<_> = (0..10_000).map(|_| send(&mut links, N1, N2)).collect();

        let lost = fates.iter().filter(|fate| matches!(fate, Fate::Lost(_))).count();
        let doubled = fates
            .iter()
            .filter(|fate| matches!(fate, Fate::Arrives { copies, .. } if copies.len() == 1))
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

        send(&mut mixed, N2, N1);

        assert_eq!(send(&mut alone, N1, N2), send(&mut mixed, N1, N2));
    }

    #[test]
    fn a_node_behind_another_address_does_not_count_as_open() {
        let mut links = Links::new(2, LinkOptions::default(), &Rng::new(1));

        links.hide(N1);

        assert!(!links.is_open(N1, N2) && links.is_open(N2, N1));
        assert!(links.changed_source(N1).is_some() && links.changed_source(N2).is_none());
        links.reset();
        assert!(links.is_open(N1, N2));
    }

    fn send(links: &mut Links, from: NodeId, to: NodeId) -> Fate {
        let carriage = Carriage::Frame;
        links.send((from, to), carriage, b"payload", Instant::ZERO)
    }

    const N1: NodeId = NodeId::new(1);
    const N2: NodeId = NodeId::new(2);
}
