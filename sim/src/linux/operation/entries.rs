//! Neighbours and forwarding entries.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use selvedge_engine::{FdbEntry, IpVersion, KernelError, Neighbour};

use super::refusal::{taken, unsupported};
use super::{Linux, Occupant};

impl Linux {
    pub(super) fn ensure_neighbour(
        &mut self,
        neighbour: &Neighbour,
        occupant: Occupant,
    ) -> Result<(), KernelError> {
        let Neighbour { link, address, mac } = neighbour;
        let (_, device) = self.device(link)?;
        put(&mut device.neighbours, *address, *mac, occupant, neighbour)
    }

    pub(super) fn remove_neighbour(&mut self, neighbour: &Neighbour) {
        if let Ok((_, device)) = self.device(&neighbour.link) {
            device.neighbours.remove(&neighbour.address);
        }
    }

    pub(super) fn ensure_fdb_entry(
        &mut self,
        entry: &FdbEntry,
        occupant: Occupant,
    ) -> Result<(), KernelError> {
        let FdbEntry { link, mac, node } = entry;
        let (_, device) = self.device(link)?;
        let Some(vxlan) = device.vxlan() else {
            return Err(unsupported(format_args!("{link} has no forwarding database")));
        };
        if vxlan.local.map(IpVersion::of) != Some(IpVersion::of(*node)) {
            return Err(unsupported(format_args!("{link} does not send to {node}")));
        }
        put(&mut device.fdb, *mac, *node, occupant, entry)
    }

    /// Deletes an entry if it leads to the node that it says.
    pub(super) fn remove_fdb_entry(&mut self, entry: &FdbEntry) {
        if let Ok((_, device)) = self.device(&entry.link)
            && device.fdb.get(&entry.mac) == Some(&entry.node)
        {
            device.fdb.remove(&entry.mac);
        }
    }
}

fn put<K: Ord, V: PartialEq>(
    entries: &mut BTreeMap<K, V>,
    key: K,
    value: V,
    occupant: Occupant,
    described: &impl fmt::Display,
) -> Result<(), KernelError> {
    match (entries.entry(key), occupant) {
        (Entry::Occupied(there), Occupant::Stays) if *there.get() != value => Err(taken(format_args!(
            "the place of {described} is taken by another"
        ))),
        (Entry::Occupied(mut there), Occupant::Stays | Occupant::GivesWay) => {
            there.insert(value);
            Ok(())
        }
        (Entry::Vacant(free), Occupant::Stays | Occupant::GivesWay) => {
            free.insert(value);
            Ok(())
        }
    }
}
