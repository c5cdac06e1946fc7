//! The transactions that the keeper makes.

use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{Held, Term};
use crate::event::LeaseOrigin;
use crate::lease::LeaseRecord;
use crate::leases::{Entry, Leases};
use crate::machine_id::Standing;
use crate::setup::StorePrefix;
use crate::store::{
    Compare, CompareOp, CompareTarget, EtcdLeaseId, Header, KeyRange, KeyValue, Revision, StoreRequest, Txn,
    TxnOp,
};
use crate::subnet::Subnet;
use crate::text_bytes;

/// A write of the node's own key, with what must hold for it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Write {
    #[serde(with = "text_bytes")]
    pub(super) key: Vec<u8>,
    pub(super) subnet: Subnet,
    pub(super) origin: LeaseOrigin,
    /// What the key shall be after the write.
    pub(super) standing: Standing,
    /// What the key hangs on before the write.
    pub(super) former: Option<EtcdLeaseId>,
    #[serde(with = "text_bytes")]
    value: Vec<u8>,
    guard: Guard,
    /// What has to be there besides: in a store that was wiped, revisions alone say nothing.
    #[serde(default)]
    witness: Option<Witness>,
}

/// A key of another node as it was seen, which no other history has.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Witness {
    #[serde(with = "text_bytes")]
    key: Vec<u8>,
    state: KeyState,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
enum Guard {
    /// No key was created after the view that the choice was made from.
    NothingCreatedSince(Revision),
    /// The key is as it was seen.
    Unchanged {
        create_revision: Revision,
        state: KeyState,
        is_in_place: bool,
    },
}

/// What tells a write of a key from every other one.
///
/// In a store that was wiped another key may have the same revision; nothing but chance gives it the same etcd lease.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct KeyState {
    mod_revision: Revision,
    lease: Option<EtcdLeaseId>,
}

impl KeyState {
    pub(super) const fn of(entry: &Entry) -> Self {
        Self {
            mod_revision: entry.mod_revision,
            lease: entry.etcd_lease,
        }
    }

    pub(super) fn of_held(held: &Held) -> Self {
        Self {
            mod_revision: held.mod_revision,
            lease: held.term.map(|term| term.id),
        }
    }
}

impl Write {
    /// Creates a key for a subnet that was free in these leases.
    pub(super) fn creation(
        subnet: Subnet,
        origin: LeaseOrigin,
        record: &LeaseRecord,
        leases: &Leases,
    ) -> Self {
        Self {
            key: leases.key_of(&subnet),
            witness: leases.newest().map(|entry| Witness {
                key: entry.key.to_vec(),
                state: KeyState::of(entry),
            }),
            subnet,
            origin,
            standing: Standing::Held,
            former: None,
            value: record.encode(),
            guard: Guard::NothingCreatedSince(leases.revision()),
        }
    }

    /// Takes over the node's own key as it was found.
    pub(super) fn adoption(entry: &Entry, subnet: Subnet, origin: LeaseOrigin, record: &LeaseRecord) -> Self {
        let guard = Guard::Unchanged {
            create_revision: entry.create_revision,
            state: KeyState::of(entry),
            is_in_place: entry.record.as_ref() == Ok(record),
        };
        Self {
            key: entry.key.to_vec(),
            subnet,
            origin,
            standing: Standing::Held,
            former: entry.etcd_lease,
            value: record.encode(),
            guard,
            witness: None,
        }
    }

    /// Claims a key that another machine wrote. The value stays as it is: the other may be alive and reached by it.
    pub(super) fn claim(entry: &Entry, subnet: Subnet, record: &LeaseRecord) -> Self {
        Self {
            standing: Standing::Claimed,
            ..Self::adoption(entry, subnet, LeaseOrigin::Reused, record)
        }
    }

    /// Claims a key that this node most likely wrote before it was booted.
    pub(super) fn resumption(entry: &Entry, subnet: Subnet, record: &LeaseRecord) -> Self {
        Self {
            standing: Standing::Resumed,
            ..Self::adoption(entry, subnet, LeaseOrigin::Reused, record)
        }
    }

    /// Attaches the key that is held to a new etcd lease.
    pub(super) fn renewal(held: &Held, record: &LeaseRecord) -> Self {
        let guard = Guard::Unchanged {
            create_revision: held.create_revision,
            state: KeyState::of_held(held),
            is_in_place: false,
        };
        Self {
            key: held.key.clone(),
            subnet: held.subnet,
            origin: LeaseOrigin::Reused,
            standing: Standing::Held,
            former: None,
            value: record.encode(),
            guard,
            witness: None,
        }
    }

    /// Writes the key that is held again, with what is true of the node now.
    pub(super) fn update(held: &Held, record: &LeaseRecord) -> Self {
        Self {
            origin: match held.term {
                Some(_) => LeaseOrigin::Updated,
                None => LeaseOrigin::Reserved,
            },
            former: held.term.map(|term| term.id),
            ..Self::renewal(held, record)
        }
    }

    /// Returns the revision that the key was last written at before, as far as the node saw.
    pub(super) const fn seen(&self) -> Revision {
        match self.guard {
            Guard::NothingCreatedSince(seen) => seen,
            Guard::Unchanged { state, .. } => state.mod_revision,
        }
    }

    /// Tells whether the key has no etcd lease and shall have none.
    pub(super) const fn is_reservation(&self) -> bool {
        matches!(self.origin, LeaseOrigin::Reserved)
    }

    /// Tells whether the store holds this very value already.
    pub(super) const fn is_in_place(&self) -> bool {
        matches!(
            self.guard,
            Guard::Unchanged {
                is_in_place: true,
                ..
            }
        )
    }

    pub(super) fn request(&self, lease: Option<EtcdLeaseId>, prefix: &StorePrefix) -> StoreRequest {
        let mut compares = match &self.guard {
            Guard::NothingCreatedSince(seen) => vec![
                compare(
                    prefix.leases(),
                    CompareTarget::CreateRevision(seen.next()),
                    CompareOp::Less,
                ),
                compare(
                    KeyRange::Key(self.key.clone()),
                    CompareTarget::Version(0),
                    CompareOp::Equal,
                ),
            ],
            Guard::Unchanged { state, .. } => unchanged(&self.key, *state),
        };
        if let Some(Witness { key, state }) = &self.witness {
            compares.extend(unchanged(key, *state));
        }
        let put = TxnOp::Put {
            key: self.key.clone(),
            value: self.value.clone(),
            lease,
        };
        StoreRequest::Txn(Txn {
            compares,
            success: vec![put],
            failure: Vec::new(),
        })
    }

    /// Returns the key as the store holds it after the write at `header`'s revision.
    pub(super) fn key_value(&self, header: &Header, lease: Option<EtcdLeaseId>) -> KeyValue {
        let create_revision = match self.guard {
            Guard::NothingCreatedSince(_) => header.revision,
            Guard::Unchanged { create_revision, .. } => create_revision,
        };
        KeyValue {
            key: self.key.clone(),
            value: self.value.clone(),
            create_revision,
            mod_revision: header.revision,
            version: 1,
            lease,
        }
    }

    /// Returns the lease that the node holds after the write, or without one if nothing had to be written.
    pub(super) fn into_held(self, written: Option<Revision>, term: Option<Term>) -> Held {
        let (create_revision, mod_revision) = match (written, self.guard) {
            (Some(revision), Guard::NothingCreatedSince(_)) => (revision, revision),
            (Some(revision), Guard::Unchanged { create_revision, .. }) => (create_revision, revision),
            (
                None,
                Guard::Unchanged {
                    create_revision,
                    state,
                    ..
                },
            ) => (create_revision, state.mod_revision),
            (None, Guard::NothingCreatedSince(seen)) => (seen, seen),
        };
        Held {
            key: self.key,
            subnet: self.subnet,
            create_revision,
            mod_revision,
            term,
        }
    }
}

/// Deletes a key of the node's own that does not suit, if it is unchanged.
pub(super) fn delete(key: &[u8], state: KeyState) -> StoreRequest {
    StoreRequest::Txn(Txn {
        compares: unchanged(key, state),
        success: vec![TxnOp::Delete(KeyRange::Key(key.to_vec()))],
        failure: Vec::new(),
    })
}

/// Asks whether a key is unchanged.
pub(super) fn verify(key: &[u8], state: KeyState) -> StoreRequest {
    StoreRequest::Txn(Txn {
        compares: unchanged(key, state),
        success: Vec::new(),
        failure: Vec::new(),
    })
}

fn unchanged(key: &[u8], state: KeyState) -> Vec<Compare> {
    let targets = [
        CompareTarget::ModRevision(state.mod_revision),
        CompareTarget::Lease(state.lease),
    ];
    let compares = targets.map(|target| compare(KeyRange::Key(key.to_vec()), target, CompareOp::Equal));
    compares.into()
}

fn compare(range: KeyRange, target: CompareTarget, op: CompareOp) -> Compare {
    Compare { range, target, op }
}
