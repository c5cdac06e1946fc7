//! What goes wrong with the store, and what operators do to it.

use selvedge_engine::{KeyRange, NetworkConfig, Rng, Subnet, pick_v4};

use super::World;
use crate::checker::Verdict;
use crate::etcd_store::KeySpan;
use crate::fault::StoreFault;
use crate::junk::Junk;
use crate::node_id::NodeId;

impl World {
    pub(super) fn begin_store_fault(&mut self, index: usize, fault: &StoreFault) -> Verdict {
        match fault {
            StoreFault::Cut { .. } | StoreFault::Slow(_) => self.apply_path_faults(),
            StoreFault::Down => self.stop_store(),
            StoreFault::Full => self.service.set_full(true),
            StoreFault::Restore => self.back_up_store(index),
            StoreFault::Wipe => return self.wipe_store(),
            StoreFault::Compaction => self.compact_store(),
            StoreFault::DeleteLease { node } => return self.delete_lease(*node),
            StoreFault::Reserve { node } => return self.reserve(*node),
            StoreFault::WriteJunk(junk) => return self.write_junk(*junk),
        }
        Ok(())
    }

    pub(super) fn end_store_fault(&mut self, index: usize, fault: &StoreFault) -> Verdict {
        match fault {
            StoreFault::Cut { .. } | StoreFault::Slow(_) => self.apply_path_faults(),
            StoreFault::Down => return self.start_store(),
            StoreFault::Full => self.refill_store(),
            StoreFault::Restore => return self.restore_store(index),
            StoreFault::Wipe
            | StoreFault::Compaction
            | StoreFault::DeleteLease { .. }
            | StoreFault::Reserve { .. }
            | StoreFault::WriteJunk(_) => {}
        }
        Ok(())
    }

    /// Writes the network config, as an operator does before the first node starts.
    pub(super) fn write_config(&mut self) -> Verdict {
        let key = self.scenario.prefix.config_key();
        let config = self.scenario.config.clone();
        // The key is not empty and there is no lease: nothing to refuse.
        if self.service.store.put(&key, config.as_bytes(), None).is_ok() {
            self.milestone(None, format!("network config: {config}"));
        }
        self.pump_store()
    }

    fn stop_store(&mut self) {
        self.service.stop();
        for id in self.scenario.node_ids() {
            self.disconnect(id);
        }
        self.note_connections();
    }

    fn start_store(&mut self) -> Verdict {
        let is_down = self
            .lasting_store_faults()
            .any(|fault| *fault == StoreFault::Down);
        if is_down {
            return Ok(());
        }
        self.service.start(self.now);
        self.note_connections();
        self.pump_store()
    }

    fn compact_store(&mut self) {
        let revision = self.service.store.header().revision;
        match self.service.store.compact(revision) {
            Ok(()) => self.detail(None, format!("compacted up to {revision}")),
            Err(error) => self.detail(None, format!("not compacted: {error}")),
        }
    }

    fn delete_lease(&mut self, node: NodeId) -> Verdict {
        let Some(subnet) = self.reference.subnet_held_by(node) else {
            self.detail(Some(node), "holds no lease to delete");
            return Ok(());
        };
        let key = self.scenario.prefix.lease_key(&Subnet::V4(subnet));
        // The key is not empty: nothing to refuse.
        if self.service.store.delete(KeyRange::Key(key)).is_ok() {
            self.detail(None, format!("lease {subnet} deleted"));
        }
        self.pump_store()
    }

    /// Takes the etcd lease from the key that a node holds, or writes a free one without.
    fn reserve(&mut self, node: NodeId) -> Verdict {
        let held = self.reference.key_held_by(node).map(<[u8]>::to_vec);
        let value = held
            .as_ref()
            .and_then(|key| self.service.store.get(key))
            .map(|kv| kv.value.clone());
        let reservation = held.zip(value).or_else(|| self.free_reservation(node));
        let Some((key, value)) = reservation else {
            self.detail(Some(node), "finds no subnet to reserve");
            return Ok(());
        };
        // The key is not empty and there is no lease: nothing to refuse.
        if self.service.store.put(&key, &value, None).is_ok() {
            self.detail(Some(node), format!("has {} reserved", key.escape_ascii()));
        }
        self.pump_store()
    }

    /// In dual stack nothing is reserved for a node that holds nothing.
    fn free_reservation(&self, node: NodeId) -> Option<(Vec<u8>, Vec<u8>)> {
        let config = NetworkConfig::parse(self.scenario.config.as_bytes()).ok()?;
        let range = config.v4.filter(|_| config.v6.is_none())?;
        let taken: Vec<_> = self.reference.leases().map(|(subnet, _)| subnet).collect();
        let subnet = pick_v4(&range, &taken, &mut Rng::new(u64::from(node.number())))?;
        let value = format!(r#"{{"PublicIP":"{}","PublicIPv6":null}}"#, node.public_ip());
        let key = self.scenario.prefix.lease_key(&Subnet::V4(subnet));
        Some((key, value.into_bytes()))
    }

    fn write_junk(&mut self, junk: Junk) -> Verdict {
        let leases = self.scenario.prefix.leases();
        let key = [leases.start(), junk.key()].concat();
        self.reference.expect_junk(key.clone());
        // The key is not empty and there is no lease: nothing to refuse.
        if self.service.store.put(&key, junk.value(), None).is_ok() {
            self.detail(None, "junk written");
        }
        self.pump_store()
    }

    fn refill_store(&mut self) {
        let is_full = self
            .lasting_store_faults()
            .any(|fault| *fault == StoreFault::Full);
        self.service.set_full(is_full);
    }

    /// Makes the backup that the fault at this place in the scenario restores at its end.
    fn back_up_store(&mut self, index: usize) {
        let backup = self.service.store.snapshot();
        self.backups.insert(index, backup);
    }

    fn restore_store(&mut self, index: usize) -> Verdict {
        let Some(backup) = self.backups.remove(&index) else {
            return Ok(());
        };
        self.service.restore(backup, self.now);
        self.note_another_history();
        self.pump_store()
    }

    fn wipe_store(&mut self) -> Verdict {
        self.service.wipe();
        self.note_another_history();
        self.write_config()
    }

    /// Tells the model what the store holds now; every node has to notice that its history is another.
    fn note_another_history(&mut self) {
        let leases = KeySpan::from(&self.scenario.prefix.leases());
        // The newest revision of a span that is not empty: nothing to refuse.
        let kvs = self.service.store.range(&leases, None).unwrap_or_default();
        self.reference.restart_history(&kvs, self.now);
        self.identities.restart_history(self.now);
        for node in self.scenario.node_ids() {
            self.reference.set_connected(node, false, self.now);
        }
        self.note_connections();
        let revision = self.service.store.header().revision;
        self.detail(None, format!("the store continues from {revision}"));
    }
}
