//! The watch of all leases, and what it makes of what it hears (control-plane.md, 5.1 and 5.2).

use std::collections::BTreeMap;
use std::fmt;

use selvedge_engine::{
    KeyRange, Page, Revision, StoreError, StorePrefix, StoreRequest, StoreResponse, Subnet, WatchEnd,
    WatchEvent, WatchId,
};

use super::client::{Client, Purpose};
use super::defect::Defect;
use super::key::{Listed, parse_subnet};
use super::watch::{AfterEnd, Watch};

/// What the backend is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Change {
    Added(Listed),
    Removed(Subnet),
}

/// The watch of all leases with the list of those that are known.
#[derive(Debug)]
pub(super) struct LeaseWatch {
    watch: Watch,
    range: KeyRange,
    own: Subnet,
    known: Vec<Listed>,
    /// The routes that are not as the leases say, and why.
    wrong: BTreeMap<Subnet, Defect>,
    gave_up: bool,
}

impl LeaseWatch {
    /// Lists all leases; the watch follows.
    pub(super) fn begin(prefix: &StorePrefix, own: Subnet, client: &mut Client) -> Self {
        let range = lease_range(prefix);
        client.ask(Purpose::ListLeases, list(&range));
        Self {
            watch: Watch::new(range.clone()),
            range,
            own,
            known: Vec::new(),
            wrong: BTreeMap::new(),
            gave_up: false,
        }
    }

    /// Returns the defect that made the routes differ from the leases, if one did.
    pub(super) fn defect(&self) -> Option<Defect> {
        let silent = self.gave_up.then_some(Defect::NeverWatches);
        self.wrong.values().next().copied().or(silent)
    }

    pub(super) fn awaits(&self, id: WatchId) -> bool {
        self.watch.awaits(id)
    }

    /// Takes a list: a snapshot. If it fails there is no watch, ever.
    pub(super) fn handle_list(
        &mut self,
        result: Result<StoreResponse, StoreError>,
        client: &mut Client,
    ) -> Vec<Change> {
        let Ok(StoreResponse::Range { header, kvs, .. }) = result else {
            self.gave_up = true;
            client.say("cannot list the leases, and will not watch them".to_owned());
            return Vec::new();
        };
        self.watch.open_after(header.revision, client);
        let listed: Vec<Listed> = kvs.iter().filter_map(Listed::read).collect();
        self.wrong = self.hidden_by(&listed);
        self.handle_snapshot(listed)
    }

    /// Takes a response of the watch. What cannot be read becomes an empty snapshot.
    pub(super) fn handle_batch(&mut self, revision: Revision, events: &[WatchEvent]) -> Vec<Change> {
        self.watch.heard(revision);
        let mut changes = Vec::new();
        for event in events {
            match event {
                WatchEvent::Put(kv) => match Listed::read(kv) {
                    Some(listed) => changes.extend(self.add(listed)),
                    None => changes.extend(self.drop_all()),
                },
                WatchEvent::Delete { key, .. } => match parse_subnet(key) {
                    Some(subnet) => changes.extend(self.remove(subnet)),
                    None => changes.extend(self.drop_all()),
                },
            }
        }
        changes
    }

    pub(super) fn handle_end(&mut self, id: WatchId, end: &WatchEnd, client: &mut Client) {
        match self.watch.handle_end(id, end, client) {
            AfterEnd::Nothing => {}
            AfterEnd::ReadAgain => client.ask(Purpose::ListLeases, list(&self.range)),
        }
    }

    pub(super) fn handle_timeout(&mut self, client: &mut Client) {
        self.watch.handle_timeout(client);
    }

    pub(super) const fn poll_timeout(&self) -> Option<selvedge_engine::Instant> {
        self.watch.poll_timeout()
    }

    /// Reports what is new and what is missing; what is known already is left as it is, even if it changed. The own
    /// lease is never new, but kept among the known ones, and so is missing from the next snapshot.
    fn handle_snapshot(&mut self, listed: Vec<Listed>) -> Vec<Change> {
        let others = || listed.iter().filter(|one| !is_same(&one.subnet, &self.own));
        let is_known = |one: &&Listed| self.known.iter().any(|known| is_same(&one.subnet, &known.subnet));
        let added = others().filter(|one| !is_known(one)).cloned().map(Change::Added);
        let is_listed = |known: &&Listed| others().any(|one| is_same(&one.subnet, &known.subnet));
        let removed = self.known.iter().filter(|known| !is_listed(known));
        let removed = removed.map(|known| Change::Removed(known.subnet));
        let changes = added.chain(removed).collect();
        self.known = listed;
        changes
    }

    /// Takes an empty snapshot for what it cannot read.
    fn drop_all(&mut self) -> Vec<Change> {
        let changes = self.handle_snapshot(Vec::new());
        let dropped = changes.iter().filter_map(|change| match change {
            Change::Removed(subnet) if !is_same(subnet, &self.own) => Some(*subnet),
            Change::Removed(_) | Change::Added(_) => None,
        });
        self.wrong
            .extend(dropped.map(|subnet| (subnet, Defect::RoutesDropped)));
        changes
    }

    /// Returns the leases that a list shows to have changed, and whose routes stay as they are.
    fn hidden_by(&self, listed: &[Listed]) -> BTreeMap<Subnet, Defect> {
        let others = listed.iter().filter(|one| !is_same(&one.subnet, &self.own));
        let changed = others.filter(|one| {
            let known = self
                .known
                .iter()
                .find(|known| is_same(&one.subnet, &known.subnet));
            known.is_some_and(|known| known.record != one.record)
        });
        changed.map(|one| (one.subnet, Defect::ChangeHidden)).collect()
    }

    fn add(&mut self, listed: Listed) -> Option<Change> {
        self.wrong.remove(&listed.subnet);
        if is_same(&listed.subnet, &self.own) {
            return None;
        }
        let known = self
            .known
            .iter_mut()
            .find(|known| is_same(&listed.subnet, &known.subnet));
        match known {
            Some(known) => *known = listed.clone(),
            None => self.known.push(listed.clone()),
        }
        Some(Change::Added(listed))
    }

    fn remove(&mut self, subnet: Subnet) -> Option<Change> {
        self.wrong.remove(&subnet);
        if is_same(&subnet, &self.own) {
            return None;
        }
        self.known.retain(|known| !is_same(&subnet, &known.subnet));
        Some(Change::Removed(subnet))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added(Listed { subnet, record, .. }) => write!(f, "adds {subnet} via {}", record.public_ip),
            Self::Removed(subnet) => write!(f, "removes {subnet}"),
        }
    }
}

/// The keys that are listed and watched: without a slash at the end (control-plane.md, 3.1).
pub(super) fn lease_range(prefix: &StorePrefix) -> KeyRange {
    let prefix = prefix.lease_prefix();
    KeyRange::Prefix(prefix.trim_end_matches('/').as_bytes().to_vec())
}

pub(super) fn list(range: &KeyRange) -> StoreRequest {
    StoreRequest::Range {
        range: range.clone(),
        page: Page::default(),
        revision: None,
    }
}

/// Compares the families that the first of the two has.
fn is_same(one: &Subnet, other: &Subnet) -> bool {
    match one {
        Subnet::V4(v4) => other.v4() == Some(*v4),
        Subnet::V6(v6) => other.v6() == Some(*v6),
        Subnet::Dual(v4, v6) => other.v4() == Some(*v4) && other.v6() == Some(*v6),
    }
}
