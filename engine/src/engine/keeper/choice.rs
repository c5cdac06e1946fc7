//! Which subnet to take (control-plane.md, 4).

use alloc::vec::Vec;

use ipnet::{Ipv4Net, Ipv6Net};

use super::Claim;
use super::Held;
use super::contest::Claimant;
use super::write::Write;
use crate::allocator::{pick_v4, pick_v6};
use crate::event::LeaseOrigin;
use crate::leases::{Entry, Leases};
use crate::machine_id::{MachineId, Maker, Standing};
use crate::network_config::{NetworkConfig, Range4, Range6};
use crate::rng::Rng;
use crate::store::{EtcdLeaseId, Revision};
use crate::subnet::Subnet;
use crate::subnet_file::PreviousSubnet;

/// The next step towards a lease.
#[derive(Debug)]
pub(super) enum Choice<'a> {
    /// The store reserves a subnet for this node, and its value is right: nothing is to be done.
    Keep { held: Held, origin: LeaseOrigin },
    /// The node's lease is there: its etcd lease has to live on.
    Adopt { write: Write, lease: EtcdLeaseId },
    /// A key has to be written.
    Write(Write),
    /// Another machine claims what this node holds: the key has to be taken back.
    Defend(Write),
    /// The key is claimed, by this node or another machine; that has to have its time.
    Contest {
        entry: &'a Entry,
        subnet: Subnet,
        by: Claimant,
    },
    /// Another machine holds what this node held.
    Refuse(Subnet),
    /// The node's lease does not fit the network; the parts of it that do shall be kept.
    Clear {
        key: Vec<u8>,
        mod_revision: Revision,
        lease: Option<EtcdLeaseId>,
        preferred: PreviousSubnet,
    },
    /// Nothing is free.
    Exhausted,
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
    /// The claim that had its time.
    pub(super) matured: Option<Revision>,
    pub(super) leases: &'a Leases,
}

impl<'a> Situation<'a> {
    /// Decides from the view alone: an own lease that fits, else the subnet held before if it is free, else a free one
    /// at random. A lease that another machine wrote has to become this node's first.
    pub(super) fn choose(&self, rng: &mut Rng) -> Choice<'a> {
        let own: Vec<_> = self
            .leases
            .of_public_ip(self.claim.record.public_ip)
            .map(|(entry, subnet)| (entry, subnet, self.maker_of(entry)))
            .collect();
        let best = |is_wanted: &dyn Fn(&Entry, &Subnet, Maker) -> bool| {
            let wanted = || {
                own.iter()
                    .filter(|(entry, subnet, maker)| is_wanted(entry, subnet, *maker))
            };
            let before = wanted().find(|(_, subnet, _)| self.was_held(subnet));
            before.or_else(|| wanted().next())
        };
        if let Some((entry, subnet, _)) =
            best(&|entry, subnet, maker| !is_contested(maker) && self.is_mine(entry, subnet))
        {
            return self.take_over(entry, *subnet);
        }
        if let Some((entry, subnet, maker)) = best(&|_, _, maker| is_contested(maker)) {
            return self.contest(entry, *subnet, *maker);
        }
        match own.first() {
            Some((entry, subnet, _)) => self.clear(entry, *subnet),
            None => self.create(rng),
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

    fn contest(&self, entry: &'a Entry, subnet: Subnet, maker: Maker) -> Choice<'a> {
        let record = self.claim.record;
        let has_matured = self.matured == Some(entry.mod_revision);
        let is_carried = self.carried == Some(subnet);
        match (maker, entry.etcd_lease) {
            (Maker::This(_) | Maker::Unknown, Some(_)) if has_matured && !self.is_mine(entry, &subnet) => {
                self.clear(entry, subnet)
            }
            (Maker::This(_) | Maker::Unknown, Some(_)) if has_matured => {
                Choice::Write(Write::adoption(entry, subnet, LeaseOrigin::Reused, record))
            }
            (Maker::This(_) | Maker::Unknown, Some(_)) => Choice::Contest {
                entry,
                subnet,
                by: Claimant::This,
            },
            (Maker::Other(Standing::Claimed), _) if is_carried => {
                Choice::Defend(Write::adoption(entry, subnet, LeaseOrigin::Defended, record))
            }
            (Maker::Other(Standing::Claimed), _) if !has_matured => Choice::Contest {
                entry,
                subnet,
                by: Claimant::Other,
            },
            (Maker::Other(Standing::Held), _) if is_carried && self.is_news(entry) => Choice::Refuse(subnet),
            (Maker::Other(_), _) => {
                let found = entry.record.as_ref().unwrap_or(record);
                Choice::Write(Write::claim(entry, subnet, found))
            }
            (Maker::This(_) | Maker::Unknown, None) => self.take_over(entry, subnet),
        }
    }

    fn clear(&self, entry: &Entry, subnet: Subnet) -> Choice<'a> {
        Choice::Clear {
            key: entry.key.to_vec(),
            mod_revision: entry.mod_revision,
            lease: entry.etcd_lease,
            preferred: PreviousSubnet {
                v4: subnet.v4().or(self.preferred.v4),
                v6: subnet.v6().or(self.preferred.v6),
            },
        }
    }

    fn create(&self, rng: &mut Rng) -> Choice<'a> {
        let network = self.claim.network;
        let taken: Vec<Subnet> = self
            .leases
            .subnets_of(network)
            .map(|(_, subnet)| subnet)
            .chain(self.avoided)
            .collect();
        let v4 = network
            .v4
            .map(|range| free_v4(&range, self.preferred.v4, &taken, rng));
        let v6 = network
            .v6
            .map(|range| free_v6(&range, self.preferred.v6, &taken, rng));
        let subnet = match (v4, v6) {
            (Some(Some(v4)), Some(Some(v6))) => Subnet::Dual(v4, v6),
            (Some(Some(v4)), None) => Subnet::V4(v4),
            (None, Some(Some(v6))) => Subnet::V6(v6),
            (Some(None), _) | (_, Some(None)) | (None, None) => return Choice::Exhausted,
        };
        let origin = if self.was_held(&subnet) {
            LeaseOrigin::Previous
        } else {
            LeaseOrigin::Fresh
        };
        Choice::Write(Write::creation(
            self.leases.key_of(&subnet),
            subnet,
            origin,
            self.claim.record,
            self.leases.revision(),
        ))
    }

    fn maker_of(&self, entry: &Entry) -> Maker {
        entry
            .etcd_lease
            .map_or(Maker::Unknown, |lease| self.machine.maker_of(lease))
    }

    fn is_mine(&self, entry: &Entry, subnet: &Subnet) -> bool {
        let network = self.claim.network;
        fits(network, subnet)
            && !self
                .leases
                .is_shadowed(entry, subnet, self.claim.record.public_ip, network)
    }

    fn was_held(&self, subnet: &Subnet) -> bool {
        subnet.v4() == self.preferred.v4 && subnet.v6() == self.preferred.v6
    }

    /// Tells whether the key was written after this node held it last.
    fn is_news(&self, entry: &Entry) -> bool {
        self.known > Revision(0) && entry.mod_revision > self.known
    }
}

/// Tells whether a key may still be another machine's.
const fn is_contested(maker: Maker) -> bool {
    match maker {
        Maker::Other(_) | Maker::This(Standing::Claimed) => true,
        Maker::This(Standing::Held) | Maker::Unknown => false,
    }
}

fn free_v4(range: &Range4, preferred: Option<Ipv4Net>, taken: &[Subnet], rng: &mut Rng) -> Option<Ipv4Net> {
    let taken: Vec<_> = taken.iter().filter_map(Subnet::v4).collect();
    let is_free = |net: &Ipv4Net| {
        !taken
            .iter()
            .any(|other| other.contains(net) || net.contains(other))
    };
    preferred
        .filter(|net| fits_v4(range, *net) && is_free(net))
        .or_else(|| pick_v4(range, &taken, rng))
}

fn free_v6(range: &Range6, preferred: Option<Ipv6Net>, taken: &[Subnet], rng: &mut Rng) -> Option<Ipv6Net> {
    let taken: Vec<_> = taken.iter().filter_map(Subnet::v6).collect();
    let is_free = |net: &Ipv6Net| {
        !taken
            .iter()
            .any(|other| other.contains(net) || net.contains(other))
    };
    preferred
        .filter(|net| fits_v6(range, net) && is_free(net))
        .or_else(|| pick_v6(range, &taken, rng))
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
