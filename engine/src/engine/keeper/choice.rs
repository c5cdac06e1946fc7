//! Which subnet to take (control-plane.md, 4).

use alloc::vec::Vec;

use ipnet::{Ipv4Net, Ipv6Net};

use super::Claim;
use super::Held;
use super::contest::{Claimant, Sighting};
use super::write::{KeyState, Write};
use crate::allocator::{pick_v4, pick_v6};
use crate::event::LeaseOrigin;
use crate::leases::{Entry, Extent, Leases};
use crate::machine_id::{MachineId, Maker, Standing};
use crate::network_config::{NetworkConfig, Range4, Range6};
use crate::rng::Rng;
use crate::store::{EtcdLeaseId, Revision};
use crate::subnet::Subnet;
use crate::subnet_file::PreviousSubnet;
use crate::twin::{Rival, Twin};

/// The next step towards a lease.
#[derive(Debug)]
pub(super) enum Choice<'a> {
    /// The store reserves a subnet for this node, and its value is right: nothing is to be done.
    Keep { held: Held, origin: LeaseOrigin },
    /// The node's lease is there, or most likely is its own: the etcd lease that it hangs on has to live on.
    Adopt { write: Write, lease: EtcdLeaseId },
    /// A key has to be written.
    Write(Write),
    /// Another machine claims what this node holds: the key has to be taken back.
    Defend { write: Write, rival: Rival },
    /// The key is claimed, by this node or another machine; that has to have its time.
    Contest {
        entry: &'a Entry,
        subnet: Subnet,
        by: Claimant,
    },
    /// Another machine holds what this node held.
    Refuse(Sighting),
    /// The node's lease does not fit the network; the parts of it that do shall be kept.
    Clear {
        key: Vec<u8>,
        state: KeyState,
        lease: Option<EtcdLeaseId>,
        preferred: PreviousSubnet,
    },
    /// Nothing is free.
    Exhausted,
}

impl Choice<'_> {
    /// Returns the subnet that the node has in the end if all goes well.
    pub(super) const fn subnet(&self) -> Option<Subnet> {
        match self {
            Self::Keep { held, .. } => Some(held.subnet),
            Self::Adopt { write, .. } | Self::Write(write) | Self::Defend { write, .. } => Some(write.subnet),
            Self::Contest { subnet, .. } => Some(*subnet),
            Self::Refuse(_) | Self::Clear { .. } | Self::Exhausted => None,
        }
    }
}

/// What the choice follows from, besides chance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation<'a> {
    pub(super) claim: &'a Claim<'a>,
    pub(super) machine: MachineId,
    pub(super) preferred: PreviousSubnet,
    pub(super) avoided: Option<Subnet>,
    pub(super) carried: Option<Subnet>,
    /// Up to which revision the subnet carried is known to be this node's, zero for none.
    pub(super) known: Revision,
    /// Another machine is known to hold the subnet that goes with the public IP.
    pub(super) twin: Option<Twin>,
    /// The claim that had its time.
    pub(super) matured: Option<Revision>,
    pub(super) leases: &'a Leases,
}

/// A lease that may be this node's.
#[derive(Clone, Copy, Debug)]
struct Candidate<'a> {
    entry: &'a Entry,
    subnet: Subnet,
    maker: Maker,
    title: Title,
}

/// What gives the node a right to a lease; the rules are told in [`super::contest`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Title {
    /// It wrote it, since the machine was booted, or an operator reserved it.
    Own,
    /// It most likely wrote it before: it carries the subnet while it claims the lease.
    Old,
    /// Another machine may hold it.
    Doubtful,
    /// It does not fit the network, and nobody is asked.
    Void,
}

impl<'a> Situation<'a> {
    /// Decides from the view alone: an own lease that fits, else the subnet held before if it is free, else a free one
    /// at random. A lease that another machine may hold has to become this node's first.
    pub(super) fn choose(&self, rng: &mut Rng) -> Choice<'a> {
        let candidates = self.candidates();
        let best = |title: Title| {
            let titled = || {
                candidates
                    .iter()
                    .filter(move |candidate| candidate.title == title)
            };
            let before = titled().find(|candidate| self.was_held(&candidate.subnet));
            before.or_else(|| titled().next())
        };
        if let Some(own) = best(Title::Own) {
            return self.take_over(own.entry, own.subnet);
        }
        if let Some(old) = best(Title::Old) {
            return self.resume(old);
        }
        if let Some(doubtful) = best(Title::Doubtful) {
            return self.contest(doubtful);
        }
        match candidates.first() {
            Some(void) => self.clear(void.entry, void.subnet),
            None => self.create(rng),
        }
    }

    /// Returns this node's leases by its public addresses; if there are none, those that it had under others since the
    /// machine was booted.
    fn candidates(&self) -> Vec<Candidate<'a>> {
        let announced = self.leases.of_node(self.claim.addresses());
        let announced: Vec<_> = announced
            .map(|(entry, subnet)| self.candidate(entry, subnet))
            .collect();
        if !announced.is_empty() {
            return announced;
        }
        let moved = self.leases.subnets_of(self.claim.network);
        let moved = moved.map(|(entry, subnet)| self.candidate(entry, subnet));
        let is_own = |candidate: &Candidate<'_>| {
            candidate.maker == Maker::This(Standing::Held) || self.is_as_known(candidate)
        };
        moved.filter(is_own).collect()
    }

    fn candidate(&self, entry: &'a Entry, subnet: Subnet) -> Candidate<'a> {
        let maker = entry
            .etcd_lease
            .map_or(Maker::Unknown, |lease| self.machine.maker_of(lease));
        let title = match maker {
            Maker::This(Standing::Held) => Title::Own,
            Maker::Unknown if entry.etcd_lease.is_none() => Title::Own,
            Maker::This(Standing::Resumed)
            | Maker::OtherBoot(Standing::Held | Standing::Resumed)
            | Maker::Unknown => Title::Old,
            Maker::This(Standing::Claimed) | Maker::OtherBoot(Standing::Claimed) | Maker::Other(_) => {
                Title::Doubtful
            }
        };
        let title = match (title, maker) {
            // It was no echo of this machine's past.
            (Title::Old, Maker::OtherBoot(_)) if self.twin.is_some() => Title::Doubtful,
            (title, _) if self.is_mine(entry, &subnet) => title,
            (Title::Own, _) | (_, Maker::Unknown) => Title::Void,
            (Title::Old | Title::Doubtful | Title::Void, _) => Title::Doubtful,
        };
        Candidate {
            entry,
            subnet,
            maker,
            title,
        }
    }

    /// A key without etcd lease is a reservation and stays one (control-plane.md, 3.4).
    fn take_over(&self, entry: &Entry, subnet: Subnet) -> Choice<'a> {
        let record = self.claim.record;
        if let Some(lease) = entry.etcd_lease {
            let write = Write::adoption(entry, subnet, LeaseOrigin::Reused, record);
            return Choice::Adopt { write, lease };
        }
        let write = Write::adoption(entry, subnet, LeaseOrigin::Reserved, record);
        if !write.is_in_place() {
            return Choice::Write(write);
        }
        Choice::Keep {
            held: write.into_held(None, None),
            origin: LeaseOrigin::Reserved,
        }
    }

    /// Carries the subnet while it claims the lease, and takes it over once the claim had its time.
    fn resume(&self, candidate: &Candidate<'a>) -> Choice<'a> {
        let record = self.claim.record;
        let Candidate {
            entry, subnet, maker, ..
        } = *candidate;
        match (maker, entry.etcd_lease) {
            (Maker::OtherBoot(_), _) if self.is_lost(entry, &subnet) => self.answer(candidate),
            (Maker::This(_), _) if self.has_matured(entry) => {
                Choice::Write(Write::adoption(entry, subnet, LeaseOrigin::Reused, record))
            }
            (_, Some(lease)) => Choice::Adopt {
                write: Write::resumption(entry, subnet, record),
                lease,
            },
            (_, None) => self.take_over(entry, subnet),
        }
    }

    /// Claims the lease, and takes it over once the claim had its time.
    fn contest(&self, candidate: &Candidate<'a>) -> Choice<'a> {
        let record = self.claim.record;
        let Candidate {
            entry, subnet, maker, ..
        } = *candidate;
        let is_carried = self.carried == Some(subnet);
        match maker {
            Maker::This(_) | Maker::Unknown if !self.has_matured(entry) => Choice::Contest {
                entry,
                subnet,
                by: Claimant::This,
            },
            Maker::This(_) | Maker::Unknown if !self.is_mine(entry, &subnet) => self.clear(entry, subnet),
            Maker::This(_) | Maker::Unknown => {
                Choice::Write(Write::adoption(entry, subnet, LeaseOrigin::Reused, record))
            }
            Maker::OtherBoot(standing) | Maker::Other(standing)
                if is_carried && (standing.is_claim() || self.is_lost(entry, &subnet)) =>
            {
                self.answer(candidate)
            }
            Maker::Other(standing) if standing.is_claim() && !self.has_matured(entry) => Choice::Contest {
                entry,
                subnet,
                by: Claimant::Other,
            },
            Maker::OtherBoot(_) | Maker::Other(_) => {
                let found = entry.record.as_ref().unwrap_or(record);
                Choice::Write(Write::claim(entry, subnet, found))
            }
        }
    }

    /// Answers another machine that wrote the lease of the subnet carried.
    fn answer(&self, candidate: &Candidate<'a>) -> Choice<'a> {
        let Candidate {
            entry, subnet, maker, ..
        } = *candidate;
        let rival = Rival::of(maker);
        if maker.has_taken() && self.is_lost(entry, &subnet) {
            return Choice::Refuse(Sighting { subnet, rival });
        }
        let write = Write::adoption(entry, subnet, LeaseOrigin::Defended, self.claim.record);
        Choice::Defend { write, rival }
    }

    fn clear(&self, entry: &Entry, subnet: Subnet) -> Choice<'a> {
        Choice::Clear {
            key: entry.key.to_vec(),
            state: KeyState::of(entry),
            lease: entry.etcd_lease,
            preferred: self.kept_of(&subnet),
        }
    }

    /// Returns what of a lease that goes fits the network; in place of the rest, what was held before.
    fn kept_of(&self, subnet: &Subnet) -> PreviousSubnet {
        let network = self.claim.network;
        let v4 = subnet
            .v4()
            .filter(|net| network.v4.is_some_and(|range| fits_v4(&range, *net)));
        let v6 = subnet
            .v6()
            .filter(|net| network.v6.is_some_and(|range| fits_v6(&range, net)));
        PreviousSubnet {
            v4: v4.or(self.preferred.v4),
            v6: v6.or(self.preferred.v6),
        }
    }

    fn create(&self, rng: &mut Rng) -> Choice<'a> {
        match self.leases.extent() {
            Extent::Whole => {}
            Extent::Cut => return Choice::Exhausted,
        }
        let taken = self
            .leases
            .subnets_of(self.claim.network)
            .map(|(_, subnet)| subnet);
        let used = Used {
            taken: taken.collect(),
            released: self.leases.released().collect(),
        };
        let Some(subnet) = self.free_subnet(used, rng) else {
            return Choice::Exhausted;
        };
        let origin = if self.was_held(&subnet) {
            LeaseOrigin::Previous
        } else {
            LeaseOrigin::Fresh
        };
        Choice::Write(Write::creation(subnet, origin, self.claim.record, self.leases))
    }

    /// Picks a free subnet; the one that shall not be taken again only if there is no other.
    fn free_subnet(&self, mut used: Used, rng: &mut Rng) -> Option<Subnet> {
        let Some(avoided) = self.avoided else {
            return self.pick(&used, rng);
        };
        used.taken.push(avoided);
        let other = self.pick(&used, rng);
        used.taken.pop();
        other.or_else(|| self.pick(&used, rng))
    }

    fn pick(&self, used: &Used, rng: &mut Rng) -> Option<Subnet> {
        let network = self.claim.network;
        let v4 = network
            .v4
            .map(|range| free_v4(&range, self.preferred.v4, used, rng));
        let v6 = network
            .v6
            .map(|range| free_v6(&range, self.preferred.v6, used, rng));
        match (v4, v6) {
            (Some(Some(v4)), Some(Some(v6))) => Some(Subnet::Dual(v4, v6)),
            (Some(Some(v4)), None) => Some(Subnet::V4(v4)),
            (None, Some(Some(v6))) => Some(Subnet::V6(v6)),
            (Some(None), _) | (_, Some(None)) | (None, None) => None,
        }
    }

    fn is_mine(&self, entry: &Entry, subnet: &Subnet) -> bool {
        let network = self.claim.network;
        fits(network, subnet)
            && !self
                .leases
                .is_shadowed(entry, subnet, self.claim.addresses(), network)
    }

    fn was_held(&self, subnet: &Subnet) -> bool {
        subnet.v4() == self.preferred.v4 && subnet.v6() == self.preferred.v6
    }

    /// Tells whether this node carries the subnet, and the key was written after it last was this node's.
    fn is_lost(&self, entry: &Entry, subnet: &Subnet) -> bool {
        self.carried.as_ref() == Some(subnet) && self.known > Revision(0) && entry.mod_revision > self.known
    }

    /// Tells whether the key of the subnet carried is as it last was this node's: of a reservation no maker tells.
    fn is_as_known(&self, candidate: &Candidate<'_>) -> bool {
        let is_carried = self.carried == Some(candidate.subnet) && self.known > Revision(0);
        is_carried && candidate.entry.mod_revision == self.known
    }

    fn has_matured(&self, entry: &Entry) -> bool {
        self.matured == Some(entry.mod_revision)
    }
}

/// The subnets that a new one is chosen beside.
struct Used {
    taken: Vec<Subnet>,
    /// The one that was released first at the beginning.
    released: Vec<Subnet>,
}

fn free_v4(range: &Range4, preferred: Option<Ipv4Net>, used: &Used, rng: &mut Rng) -> Option<Ipv4Net> {
    let taken: Vec<_> = used.taken.iter().filter_map(Subnet::v4).collect();
    let released: Vec<_> = used.released.iter().filter_map(Subnet::v4).collect();
    let is_free = |net: &Ipv4Net| {
        !taken
            .iter()
            .any(|other| other.contains(net) || net.contains(other))
    };
    preferred
        .filter(|net| fits_v4(range, *net) && is_free(net))
        .or_else(|| pick_v4(range, &taken, &released, rng))
}

fn free_v6(range: &Range6, preferred: Option<Ipv6Net>, used: &Used, rng: &mut Rng) -> Option<Ipv6Net> {
    let taken: Vec<_> = used.taken.iter().filter_map(Subnet::v6).collect();
    let released: Vec<_> = used.released.iter().filter_map(Subnet::v6).collect();
    let is_free = |net: &Ipv6Net| {
        !taken
            .iter()
            .any(|other| other.contains(net) || net.contains(other))
    };
    preferred
        .filter(|net| fits_v6(range, net) && is_free(net))
        .or_else(|| pick_v6(range, &taken, &released, rng))
}

/// Tells whether a lease is one that the network config would give out.
fn fits(network: &NetworkConfig, subnet: &Subnet) -> bool {
    let v4 = match (network.v4, subnet.v4()) {
        (Some(range), Some(net)) => fits_v4(&range, net),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    let v6 = match (network.v6, subnet.v6()) {
        (Some(range), Some(net)) => fits_v6(&range, &net),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    v4 && v6
}

fn fits_v4(range: &Range4, net: Ipv4Net) -> bool {
    net.prefix_len() == range.subnet_len
        && net.addr() == net.network()
        && (range.subnet_min..=range.subnet_max).contains(&net.network())
}

fn fits_v6(range: &Range6, net: &Ipv6Net) -> bool {
    net.prefix_len() == range.subnet_len
        && net.addr() == net.network()
        && (range.subnet_min..=range.subnet_max).contains(&net.network())
}
