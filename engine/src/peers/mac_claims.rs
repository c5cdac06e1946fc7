//! Which leases say that a hardware address is their node's.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Age, Peer};
use crate::kernel::{IpVersion, MacAddress};
use crate::snapshot::keyed::Keyed as _;

/// The hardware addresses that leases name for each of their ranges, whether the range is a peer or other leases stand
/// against it.
///
/// For n leases a change takes O(log n) steps.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(from = "Vec<MacClaim>", into = "Vec<MacClaim>")]
pub(super) struct MacClaims {
    by_mac: BTreeMap<(IpVersion, MacAddress), BTreeMap<Age, MacClaim>>,
    of_leases: BTreeMap<RangeId, (MacAddress, Age)>,
}

/// A lease's range, by the lease's key.
type RangeId = (Arc<[u8]>, IpVersion);

/// What a lease says for one of its ranges.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct MacClaim {
    mac: MacAddress,
    pub(super) age: Age,
    /// The first address of the range.
    pub(super) address: IpAddr,
    public_ip: IpAddr,
}

impl From<Vec<MacClaim>> for MacClaims {
    fn from(saved: Vec<MacClaim>) -> Self {
        let mut claims = Self::default();
        for claim in saved {
            claims.add(claim);
        }
        claims
    }
}

impl From<MacClaims> for Vec<MacClaim> {
    fn from(claims: MacClaims) -> Self {
        let by_age = claims.by_mac.into_values();
        by_age.flat_map(BTreeMap::into_values).collect()
    }
}

impl MacClaims {
    /// Takes note of what a lease says for a range; without a hardware address it says nothing.
    pub(super) fn insert(&mut self, peer: &Peer) {
        let Some(mac) = peer.place.vtep else { return };
        self.add(MacClaim {
            mac,
            age: peer.age.clone(),
            address: peer.key(),
            public_ip: peer.place.public_ip,
        });
    }

    /// Forgets what a lease said.
    pub(super) fn remove(&mut self, key: &Arc<[u8]>) {
        for version in [IpVersion::V4, IpVersion::V6] {
            let Some((mac, age)) = self.of_leases.remove(&(key.clone(), version)) else {
                continue;
            };
            let Some(claims) = self.by_mac.get_mut(&(version, mac)) else {
                continue;
            };
            claims.remove(&age);
            if claims.is_empty() {
                self.by_mac.remove(&(version, mac));
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.by_mac.clear();
        self.of_leases.clear();
    }

    /// Returns what leases of other nodes say of a peer's hardware address, the oldest first. One node may hold several
    /// leases: with one hardware address at one public IP there is nothing to decide.
    pub(super) fn rivals(&self, peer: &Peer) -> impl Iterator<Item = &MacClaim> {
        let version = peer.version();
        let claims = peer.place.vtep.and_then(|mac| self.by_mac.get(&(version, mac)));
        let public_ip = peer.place.public_ip;
        claims
            .into_iter()
            .flat_map(BTreeMap::values)
            .filter(move |claim| claim.public_ip != public_ip)
    }

    fn add(&mut self, claim: MacClaim) {
        let (mac, age) = (claim.mac, claim.age.clone());
        let version = IpVersion::of(claim.address);
        self.of_leases
            .insert((age.key.clone(), version), (mac, age.clone()));
        self.by_mac.entry((version, mac)).or_default().insert(age, claim);
    }
}
