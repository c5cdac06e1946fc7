//! What operators, strangers and other programs write into the store.

use std::time::Duration;

use ipnet::Ipv4Net;
use selvedge_engine::{EtcdLeaseId, KeyRange, KeyValue, NetworkConfig, Rng, Subnet, pick_v4};
use serde_json::Value;

use super::World;
use crate::checker::Verdict;
use crate::fault::StoreFault;
use crate::junk::Junk;
use crate::node_id::NodeId;
use crate::ref_cluster::Hand;
use crate::scenario::Backend;

impl World {
    /// Writes the network config as it should be at the moment, if it is not.
    pub(super) fn write_config(&mut self) -> Verdict {
        let config = self.config_at_the_moment();
        let key = self.scenario.prefix.config_key();
        let known = self.service.store.get(&key).map(|kv| kv.value.as_slice());
        if known == config.as_deref().map(str::as_bytes) {
            return self.pump_store();
        }
        match config {
            // The key is not empty and there is no lease: nothing to refuse.
            Some(config) if self.service.store.put(&key, config.as_bytes(), None).is_ok() => {
                self.milestone(None, format!("network config: {config}"));
            }
            Some(_) => {}
            None => self.delete(key),
        }
        self.pump_store()
    }

    /// Returns what the last of the faults that last makes of the network config.
    fn config_at_the_moment(&self) -> Option<String> {
        let usual = self.scenario.network_config();
        let edits = self.lasting_store_faults().filter_map(|fault| {
            if let StoreFault::BreakConfig(damage) = fault {
                return Some(damage.text().map(str::to_owned));
            }
            (*fault == StoreFault::HalveSubnets).then(|| Some(with_smaller_subnets(&usual)))
        });
        edits.last().unwrap_or_else(|| Some(usual.clone()))
    }

    /// Carries out what somebody does who is no node.
    pub(super) fn operate(&mut self, fault: &StoreFault) -> Verdict {
        self.reference.set_hand(Hand::Operator);
        let verdict = self.write_as_operator(fault);
        self.reference.set_hand(Hand::Node);
        verdict
    }

    fn write_as_operator(&mut self, fault: &StoreFault) -> Verdict {
        match fault {
            StoreFault::BreakConfig(_) | StoreFault::HalveSubnets => {
                self.note_connections();
                return self.write_config();
            }
            StoreFault::DeleteLease { node } => self.delete_lease(*node),
            StoreFault::RevokeLease { node } => self.revoke_lease(*node),
            StoreFault::SpoilLease { node } => self.spoil_lease(*node),
            StoreFault::StealLease { node } => self.steal_lease(*node),
            StoreFault::DoubleLease { node } => self.double_lease(*node),
            StoreFault::AdmitStranger => self.admit_stranger(),
            StoreFault::EndReservation { node } => self.end_reservation(*node),
            StoreFault::Reserve { node } => self.reserve(*node),
            StoreFault::WriteJunk(junk) => self.write_junk(*junk),
            StoreFault::Cut { .. }
            | StoreFault::Down
            | StoreFault::Slow(_)
            | StoreFault::NoLeader
            | StoreFault::Unauthorized
            | StoreFault::Full
            | StoreFault::LagWatches { .. }
            | StoreFault::Repeat { .. }
            | StoreFault::GrantLess(_)
            | StoreFault::DisownLeases
            | StoreFault::Restore
            | StoreFault::Wipe
            | StoreFault::Compaction
            | StoreFault::CutWatches { .. }
            | StoreFault::LoseChange { .. }
            | StoreFault::LoseWrite { .. } => {}
        }
        self.pump_store()
    }

    fn delete_lease(&mut self, node: NodeId) {
        if let Some(KeyValue { key, .. }) = self.lease_of(node) {
            self.delete(key);
        }
    }

    fn revoke_lease(&mut self, node: NodeId) {
        let Some(id) = self.lease_of(node).and_then(|kv| kv.lease) else {
            self.detail(Some(node), "holds no etcd lease to revoke");
            return;
        };
        // A key hangs on it, so that it exists: nothing to refuse.
        if self.service.store.revoke(id).is_ok() {
            self.detail(Some(node), "has its etcd lease revoked");
        }
    }

    fn spoil_lease(&mut self, node: NodeId) {
        if let Some(KeyValue { key, .. }) = self.lease_of(node) {
            self.put(&key, Junk::NoJson.value(), None);
        }
    }

    fn steal_lease(&mut self, node: NodeId) {
        if let Some(KeyValue { key, .. }) = self.lease_of(node) {
            let lease = self.lease_of_a_stranger();
            self.put(&key, self.stranger().as_bytes(), lease);
        }
    }

    /// Returns what a host writes that is no node of the cluster.
    const fn stranger(&self) -> &'static str {
        match self.scenario.backend {
            Backend::Udp => STRANGER,
            Backend::Vxlan => STRANGER_WITH_VXLAN,
            Backend::HostGw => STRANGER_WITH_HOST_GW,
        }
    }

    /// Writes the key that a node of a dual-stack flannel would write that chose the same IPv4 subnet.
    fn double_lease(&mut self, node: NodeId) {
        let Some(subnet) = self.reference.subnet_held_by(node) else {
            self.detail(Some(node), "holds no lease to double");
            return;
        };
        let v4 = Subnet::V4(subnet);
        let key = [&self.scenario.prefix.lease_key(&v4)[..], DOUBLES_V6].concat();
        let lease = self.lease_of_a_stranger();
        self.put(&key, self.stranger().as_bytes(), lease);
    }

    fn admit_stranger(&mut self) {
        let Some(subnet) = self.free_subnet(&mut Rng::new(0)) else {
            self.detail(None, "no subnet is free for a stranger");
            return;
        };
        let key = self.scenario.prefix.lease_key(&Subnet::V4(subnet));
        let lease = self.lease_of_a_stranger();
        let value = match self.scenario.backend {
            Backend::Udp | Backend::HostGw => OF_ANOTHER_BACKEND,
            Backend::Vxlan => WITHOUT_DEVICE,
        };
        self.put(&key, value.as_bytes(), lease);
    }

    /// Puts the key of a node on an etcd lease of a minute, if it is on none.
    fn end_reservation(&mut self, node: NodeId) {
        let reserved = self.lease_of(node).filter(|kv| kv.lease.is_none());
        let Some(KeyValue { key, value, .. }) = reserved else {
            self.detail(Some(node), "has no reservation to end");
            return;
        };
        let lease = self.grant(Duration::from_mins(1));
        self.put(&key, &value, lease);
    }

    /// Takes the etcd lease from the key that a node holds, or writes a free one without.
    fn reserve(&mut self, node: NodeId) {
        let held = self.lease_of(node).map(|kv| (kv.key, kv.value));
        let Some((key, value)) = held.or_else(|| self.free_reservation(node)) else {
            self.detail(Some(node), "finds no subnet to reserve");
            return;
        };
        self.put(&key, &value, None);
        self.detail(Some(node), format!("has {} reserved", key.escape_ascii()));
    }

    /// In dual stack nothing is reserved for a node that holds nothing.
    fn free_reservation(&self, node: NodeId) -> Option<(Vec<u8>, Vec<u8>)> {
        let config = NetworkConfig::parse(self.scenario.config.as_bytes()).ok()?;
        if config.v6.is_some() {
            return None;
        }
        let subnet = self.free_subnet(&mut Rng::new(u64::from(node.number())))?;
        let value = format!(r#"{{"PublicIP":"{}","PublicIPv6":null}}"#, self.address_of(node));
        let key = self.scenario.prefix.lease_key(&Subnet::V4(subnet));
        Some((key, value.into_bytes()))
    }

    /// Returns a subnet of the network that no key covers.
    pub(super) fn free_subnet(&self, rng: &mut Rng) -> Option<Ipv4Net> {
        let config = NetworkConfig::parse(self.scenario.config.as_bytes()).ok()?;
        let taken: Vec<Ipv4Net> = self.reference.covered().collect();
        pick_v4(&config.v4?, &taken, &[], rng)
    }

    fn write_junk(&mut self, junk: Junk) {
        let leases = self.scenario.prefix.leases();
        let key = [leases.start(), junk.key()].concat();
        self.reference.expect_junk(key.clone());
        self.put(&key, junk.value(), None);
    }

    /// Returns the key of the lease that a node holds as the store has it.
    fn lease_of(&mut self, node: NodeId) -> Option<KeyValue> {
        let key = self.reference.key_held_by(node);
        let held = key.and_then(|key| self.service.store.get(key));
        let held = held.map(|kv| KeyValue::clone(kv));
        if held.is_none() {
            self.detail(Some(node), "holds no lease");
        }
        held
    }

    fn lease_of_a_stranger(&mut self) -> Option<EtcdLeaseId> {
        self.grant(STRANGERS_STAY)
    }

    fn grant(&mut self, ttl: Duration) -> Option<EtcdLeaseId> {
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        let granted = self.service.store.grant(EtcdLeaseId(0), seconds, self.now);
        granted.ok().map(|(id, _)| id)
    }

    /// The key is not empty, and the etcd lease exists: nothing to refuse.
    fn put(&mut self, key: &[u8], value: &[u8], lease: Option<EtcdLeaseId>) {
        if self.service.store.put(key, value, lease).is_ok() {
            let shown = value.get(..MOST_SHOWN).unwrap_or(value);
            let (key, value) = (key.escape_ascii(), shown.escape_ascii());
            self.detail(None, format!("somebody writes {key} = {value}"));
        }
    }

    /// The key is not empty: nothing to refuse.
    fn delete(&mut self, key: Vec<u8>) {
        let name = key.escape_ascii().to_string();
        if self.service.store.delete(KeyRange::Key(key)).is_ok() {
            self.detail(None, format!("somebody deletes {name}"));
        }
    }
}

/// Returns a network config whose IPv4 subnets are half as large; one that is not valid as it is.
fn with_smaller_subnets(config: &str) -> String {
    let parsed = NetworkConfig::parse(config.as_bytes()).ok();
    let subnet_len = parsed.and_then(|config| config.v4).map(|v4| v4.subnet_len + 1);
    let (Some(subnet_len), Ok(Value::Object(mut keys))) = (subnet_len, serde_json::from_str(config)) else {
        return config.to_owned();
    };
    keys.retain(|key, _| !key.eq_ignore_ascii_case(SUBNET_LEN));
    keys.insert(SUBNET_LEN.to_owned(), subnet_len.into());
    Value::Object(keys).to_string()
}

const SUBNET_LEN: &str = "SubnetLen";
/// How much of a value the trace shows.
const MOST_SHOWN: usize = 200;
/// What a host writes that is no node of the cluster (RFC 5737).
const STRANGER: &str = r#"{"PublicIP":"203.0.113.77","PublicIPv6":null}"#;
const STRANGER_WITH_VXLAN: &str = r#"{"PublicIP":"203.0.113.77","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"4e:86:8b:50:5f:c3"}}"#;
const STRANGER_WITH_HOST_GW: &str =
    r#"{"PublicIP":"203.0.113.77","PublicIPv6":null,"BackendType":"host-gw"}"#;
const OF_ANOTHER_BACKEND: &str = r#"{"PublicIP":"203.0.113.78","PublicIPv6":null,"BackendType":"ipip"}"#;
const WITHOUT_DEVICE: &str =
    r#"{"PublicIP":"203.0.113.78","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1}}"#;
const DOUBLES_V6: &[u8] = b"&fd99:0:0:7::-64";
const STRANGERS_STAY: Duration = Duration::from_mins(2);
