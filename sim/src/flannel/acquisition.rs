//! How a node comes to a subnet (control-plane.md, 4).

use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use selvedge_engine::{
    Compare, CompareOp, CompareTarget, EtcdLeaseId, Instant, KeyRange, KeyValue, LeaseRecord, NetworkConfig,
    PreviousSubnet, Range4, Range6, Rng, StoreError, StorePrefix, StoreRequest, StoreResponse, Subnet, Txn,
    TxnOp, TxnOutcome,
};

use super::client::{Client, Purpose, TTL};
use super::death::Death;
use super::key::Listed;
use super::lease_watch::{lease_range, list};
use super::renewal::{Ends, blind_put};
use super::{Identity, config_of, config_request};

/// What the acquisition waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    Config,
    List,
    Discard,
    Grant,
    Write { lease: EtcdLeaseId, until: Instant },
}

/// The way to a subnet.
#[derive(Debug)]
pub(super) struct Acquisition {
    config: Option<NetworkConfig>,
    listed: Vec<Listed>,
    plan: Option<Plan>,
}

/// What is to be written.
#[derive(Clone, Debug)]
enum Plan {
    /// The own lease, found by its address.
    Reuse {
        key: Vec<u8>,
        subnet: Subnet,
    },
    Create {
        key: Vec<u8>,
        subnet: Subnet,
    },
}

/// The lease of the node.
#[derive(Clone, Debug)]
pub(super) struct Acquired {
    pub(super) key: Vec<u8>,
    pub(super) subnet: Subnet,
    pub(super) value: Vec<u8>,
    pub(super) lease: EtcdLeaseId,
    pub(super) until: Instant,
}

/// How an acquisition goes on.
#[derive(Debug)]
pub(super) enum Progress {
    Waits,
    Holds(Acquired),
    Dies(Death),
}

impl Acquired {
    /// Returns when the key ends that was written with this etcd lease.
    pub(super) fn ends_at(&self, lease: Option<EtcdLeaseId>, now: Instant) -> Ends {
        match lease {
            None => Ends::BeforeNow(now),
            Some(lease) if lease == self.lease => Ends::At(self.until),
            Some(_) => Ends::At(now + TTL),
        }
    }
}

impl Acquisition {
    /// Reads the network config again; it may be another by now.
    pub(super) fn begin(identity: &Identity, client: &mut Client) -> Self {
        client.ask(Purpose::Acquire(Step::Config), config_request(&identity.prefix));
        Self {
            config: None,
            listed: Vec::new(),
            plan: None,
        }
    }

    pub(super) fn handle_answer(
        &mut self,
        step: Step,
        result: Result<StoreResponse, StoreError>,
        identity: &Identity,
        client: &mut Client,
    ) -> Progress {
        match step {
            Step::Config => {
                let Ok(config) = config_of(result) else {
                    return Progress::Dies(Death::UnfitNetwork);
                };
                self.config = Some(config);
                let request = list(&lease_range(&identity.prefix));
                client.ask(Purpose::Acquire(Step::List), request);
                Progress::Waits
            }
            Step::List => match result {
                Ok(StoreResponse::Range { kvs, .. }) => self.choose(&kvs, identity, client),
                Ok(_) => Progress::Waits,
                Err(error) => Progress::Dies(Death::Store(error)),
            },
            Step::Discard => match result {
                Ok(_) => self.take_another(identity, client),
                Err(error) => Progress::Dies(Death::Store(error)),
            },
            Step::Grant => self.handle_granted(result, identity, client),
            Step::Write { lease, until } => self.handle_written(result, (lease, until), identity, client),
        }
    }

    /// Takes the first lease with the node's address if it fits; one that does not fit is deleted.
    fn choose(&mut self, kvs: &[KeyValue], identity: &Identity, client: &mut Client) -> Progress {
        let Some(config) = &self.config else {
            return Progress::Dies(Death::UnfitNetwork);
        };
        self.listed = kvs.iter().filter_map(Listed::read).collect();
        let own = self
            .listed
            .iter()
            .find(|listed| listed.record.public_ip == identity.public_ip);
        let Some(Listed { key, subnet, .. }) = own.cloned() else {
            return self.take_another(identity, client);
        };
        if fits(config, &subnet) {
            return self.grant_for(Plan::Reuse { key, subnet }, client);
        }
        let delete = TxnOp::Delete(KeyRange::Key(key));
        client.ask(
            Purpose::Acquire(Step::Discard),
            StoreRequest::Txn(Txn {
                success: vec![delete],
                ..Txn::default()
            }),
        );
        Progress::Waits
    }

    /// Takes the subnet that the node had before, or a free one.
    fn take_another(&mut self, identity: &Identity, client: &mut Client) -> Progress {
        let Some(config) = &self.config else {
            return Progress::Dies(Death::UnfitNetwork);
        };
        let subnet = match previous(config, &identity.previous, &self.listed) {
            Some(subnet) => Ok(subnet),
            None => free(config, &self.listed, &mut client.rng),
        };
        match subnet {
            Ok(subnet) => {
                let key = key_of(&identity.prefix, subnet);
                self.grant_for(Plan::Create { key, subnet }, client)
            }
            Err(death) => Progress::Dies(death),
        }
    }

    fn grant_for(&mut self, plan: Plan, client: &mut Client) -> Progress {
        self.plan = Some(plan);
        client.grant(Purpose::Acquire(Step::Grant));
        Progress::Waits
    }

    fn handle_granted(
        &self,
        result: Result<StoreResponse, StoreError>,
        identity: &Identity,
        client: &mut Client,
    ) -> Progress {
        let (id, ttl_seconds) = match result {
            Ok(StoreResponse::LeaseGrant { id, ttl_seconds, .. }) => (id, ttl_seconds),
            Ok(_) => return Progress::Waits,
            Err(error) => return Progress::Dies(Death::Store(error)),
        };
        let until = client.now + Duration::from_secs(u64::try_from(ttl_seconds).unwrap_or(0));
        let request = match &self.plan {
            Some(Plan::Reuse { key, .. }) => blind_put(key, &value(identity), id),
            Some(Plan::Create { key, .. }) => create(key, value(identity), id),
            None => return Progress::Waits,
        };
        client.ask(Purpose::Acquire(Step::Write { lease: id, until }), request);
        Progress::Waits
    }

    /// A lost race is meant to be tried again, but the error is not recognised, and the daemon ends.
    fn handle_written(
        &self,
        result: Result<StoreResponse, StoreError>,
        (lease, until): (EtcdLeaseId, Instant),
        identity: &Identity,
        client: &mut Client,
    ) -> Progress {
        let Some(Plan::Reuse { key, subnet } | Plan::Create { key, subnet }) = self.plan.clone() else {
            return Progress::Waits;
        };
        match result {
            Ok(StoreResponse::Txn {
                outcome: TxnOutcome::Succeeded,
                ..
            }) => Progress::Holds(Acquired {
                key,
                subnet,
                value: value(identity),
                lease,
                until,
            }),
            Ok(_) => {
                client.ask(Purpose::Forget, StoreRequest::LeaseRevoke { id: lease });
                Progress::Dies(Death::LostCreateRace(subnet))
            }
            Err(error) => Progress::Dies(Death::Store(error)),
        }
    }
}

/// The value of a lease with the `udp` backend, which adds no type and no data (control-plane.md, 3.2).
fn value(identity: &Identity) -> Vec<u8> {
    let record = LeaseRecord {
        public_ip: identity.public_ip,
        public_ipv6: identity.public_ipv6,
        backend_type: String::new(),
        backend_data: None,
        backend_v6_data: None,
    };
    record.encode()
}

fn key_of(prefix: &StorePrefix, subnet: Subnet) -> Vec<u8> {
    prefix.lease_key(&subnet)
}

/// Writes a key that does not exist.
fn create(key: &[u8], value: Vec<u8>, lease: EtcdLeaseId) -> StoreRequest {
    StoreRequest::Txn(Txn {
        compares: vec![Compare {
            range: KeyRange::Key(key.to_vec()),
            target: CompareTarget::Version(0),
            op: CompareOp::Equal,
        }],
        success: vec![TxnOp::Put {
            key: key.to_vec(),
            value,
            lease: Some(lease),
        }],
        failure: Vec::new(),
    })
}

/// Tells whether the network would give a node this subnet; the alignment is not looked at.
fn fits(config: &NetworkConfig, subnet: &Subnet) -> bool {
    let v4 = config.v4.zip(subnet.v4()).is_some_and(|(range, net)| {
        net.prefix_len() == range.subnet_len && (range.subnet_min..=range.subnet_max).contains(&net.addr())
    });
    let v6 = match (config.v6, subnet.v6()) {
        (None, None) => true,
        (Some(range), Some(net)) => {
            net.prefix_len() == range.subnet_len
                && (range.subnet_min..=range.subnet_max).contains(&net.addr())
        }
        (Some(_), None) | (None, Some(_)) => false,
    };
    v4 && v6
}

/// Returns the subnet of the earlier run, unless a lease has exactly its IPv4 part.
fn previous(config: &NetworkConfig, previous: &PreviousSubnet, listed: &[Listed]) -> Option<Subnet> {
    let v4 = previous.v4?;
    let subnet = match previous.v6 {
        Some(v6) => Subnet::Dual(v4, v6),
        None => Subnet::V4(v4),
    };
    let is_taken = listed.iter().any(|listed| listed.subnet.v4() == Some(v4));
    (!is_taken && fits(config, &subnet)).then_some(subnet)
}

/// Draws from the first hundred free subnets of each family, independently.
fn free(config: &NetworkConfig, listed: &[Listed], rng: &mut Rng) -> Result<Subnet, Death> {
    let range = config.v4.ok_or(Death::UnfitNetwork)?;
    let v4 = pick(&free_v4(&range, listed), rng).ok_or(Death::OutOfSubnets)?;
    let Some(range) = config.v6 else {
        return Ok(Subnet::V4(v4));
    };
    if listed.iter().any(|listed| listed.subnet.v6().is_none()) {
        return Err(Death::Crashed);
    }
    let v6 = pick(&free_v6(&range, listed), rng).ok_or(Death::OutOfSubnets)?;
    Ok(Subnet::Dual(v4, v6))
}

fn free_v4(range: &Range4, listed: &[Listed]) -> Vec<Ipv4Net> {
    let step = 1_u64 << (32 - range.subnet_len);
    let (first, last) = (
        u64::from(range.subnet_min.to_bits()),
        u64::from(range.subnet_max.to_bits()),
    );
    let candidates = (0..)
        .map(|number| first + number * step)
        .take_while(|address| *address <= last);
    let taken: Vec<Ipv4Net> = listed.iter().filter_map(|listed| listed.subnet.v4()).collect();
    candidates
        .filter_map(|address| Ipv4Net::new(u32::try_from(address).ok()?.into(), range.subnet_len).ok())
        .filter(|net| {
            !taken
                .iter()
                .any(|other| other.contains(net) || net.contains(other))
        })
        .take(CANDIDATES)
        .collect()
}

fn free_v6(range: &Range6, listed: &[Listed]) -> Vec<Ipv6Net> {
    let step = 1_u128
        .checked_shl(u32::from(128 - range.subnet_len))
        .unwrap_or(u128::MAX);
    let last = range.subnet_max.to_bits();
    let candidates = std::iter::successors(Some(range.subnet_min.to_bits()), |address| {
        address.checked_add(step)
    })
    .take_while(|address| *address <= last);
    let taken: Vec<Ipv6Net> = listed.iter().filter_map(|listed| listed.subnet.v6()).collect();
    candidates
        .filter_map(|address| Ipv6Net::new(address.into(), range.subnet_len).ok())
        .filter(|net| {
            !taken
                .iter()
                .any(|other| other.contains(net) || net.contains(other))
        })
        .take(CANDIDATES)
        .collect()
}

fn pick<T: Copy>(free: &[T], rng: &mut Rng) -> Option<T> {
    let count = u64::try_from(free.len()).ok().filter(|count| *count > 0)?;
    free.get(usize::try_from(rng.below(count)).ok()?).copied()
}

/// How many free subnets are looked for.
const CANDIDATES: usize = 100;
