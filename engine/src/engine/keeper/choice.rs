//! Which subnet to take (control-plane.md, 4).

use alloc::vec::Vec;

use ipnet::{Ipv4Net, Ipv6Net};

use super::write::Write;
use super::{Claim, Held};
use crate::allocator::{pick_v4, pick_v6};
use crate::event::LeaseOrigin;
use crate::leases::{Entry, Leases};
use crate::network_config::{NetworkConfig, Range4, Range6};
use crate::rng::Rng;
use crate::store::{EtcdLeaseId, Revision};
use crate::subnet::Subnet;
use crate::subnet_file::PreviousSubnet;

/// The next step towards a lease.
#[derive(Debug)]
pub(super) enum Choice {
    /// The store reserves a subnet for this node, and its value is right: nothing is to be done.
    Keep { held: Held, origin: LeaseOrigin },
    /// The node's lease is there: its etcd lease has to live on.
    Adopt { write: Write, lease: EtcdLeaseId },
    /// A key has to be written.
    Write(Write),
    /// The node's lease does not fit the network; the parts of it that do shall be kept.
    Clear {
        key: Vec<u8>,
        mod_revision: Revision,
        preferred: PreviousSubnet,
    },
    /// Nothing is free.
    Exhausted,
}

/// Decides from the view alone: an own lease that fits, else the subnet held before if it is free, else a free
/// one at random.
pub(super) fn choose(
    claim: &Claim<'_>,
    preferred: &PreviousSubnet,
    avoided: Option<Subnet>,
    leases: &Leases,
    rng: &mut Rng,
) -> Choice {
    let own: Vec<_> = leases.of_public_ip(claim.record.public_ip).collect();
    let is_mine = |entry: &Entry, subnet: &Subnet| {
        fits(claim.network, subnet)
            && !leases.is_shadowed(entry, subnet, claim.record.public_ip, claim.network)
    };
    let fitting = || own.iter().filter(|(entry, subnet)| is_mine(entry, subnet));
    let held_before =
        fitting().find(|(_, subnet)| subnet.v4() == preferred.v4 && subnet.v6() == preferred.v6);
    if let Some((entry, subnet)) = held_before.or_else(|| fitting().next()) {
        return take_over(entry, *subnet, claim);
    }
    if let Some((entry, subnet)) = own.first() {
        return Choice::Clear {
            key: entry.key.to_vec(),
            mod_revision: entry.mod_revision,
            preferred: PreviousSubnet {
                v4: subnet.v4().or(preferred.v4),
                v6: subnet.v6().or(preferred.v6),
            },
        };
    }
    create(claim, preferred, avoided, leases, rng)
}

/// A key without etcd lease is a reservation and stays one (control-plane.md, 3.4).
fn take_over(entry: &Entry, subnet: Subnet, claim: &Claim<'_>) -> Choice {
    if let Some(lease) = entry.etcd_lease {
        let write = Write::adoption(entry, subnet, LeaseOrigin::Reused, claim.record);
        return Choice::Adopt { write, lease };
    }
    let write = Write::adoption(entry, subnet, LeaseOrigin::Reserved, claim.record);
    if !write.is_in_place() {
        return Choice::Write(write);
    }
    Choice::Keep {
        held: write.into_held(None, None),
        origin: LeaseOrigin::Reserved,
    }
}

fn create(
    claim: &Claim<'_>,
    preferred: &PreviousSubnet,
    avoided: Option<Subnet>,
    leases: &Leases,
    rng: &mut Rng,
) -> Choice {
    let taken: Vec<Subnet> = leases
        .subnets_of(claim.network)
        .map(|(_, subnet)| subnet)
        .chain(avoided)
        .collect();
    let v4 = claim
        .network
        .v4
        .map(|range| free_v4(&range, preferred.v4, &taken, rng));
    let v6 = claim
        .network
        .v6
        .map(|range| free_v6(&range, preferred.v6, &taken, rng));
    let subnet = match (v4, v6) {
        (Some(Some(v4)), Some(Some(v6))) => Subnet::Dual(v4, v6),
        (Some(Some(v4)), None) => Subnet::V4(v4),
        (None, Some(Some(v6))) => Subnet::V6(v6),
        (Some(None), _) | (_, Some(None)) | (None, None) => return Choice::Exhausted,
    };
    let is_previous = subnet.v4() == preferred.v4 && subnet.v6() == preferred.v6;
    let origin = if is_previous {
        LeaseOrigin::Previous
    } else {
        LeaseOrigin::Fresh
    };
    let key = leases.key_of(&subnet);
    Choice::Write(Write::creation(
        key,
        subnet,
        origin,
        claim.record,
        leases.revision(),
    ))
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
