//! The engine's firewall rules made real by `nft` and `iptables-restore`, watched, and held to.
//!
//! What the kernel lists after a ruleset was made is remembered, and compared when something casts doubt on it. For
//! nftables that is a notification of a change by somebody else, which costs nothing while nothing happens. The older
//! iptables (`iptables-legacy`) tells nobody, so that [`Firewall::check`] is to be called now and then.

pub mod counters;
mod listing;
pub mod probe;
pub mod rehearsal;
pub(super) mod task;
mod tool;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use selvedge_engine::{
    FirewallTool, FoundFirewall, KernelError, KernelErrorKind, KernelEvent, KernelObject, KernelOp, Member,
    Ruleset, RulesetName, fit_iptables_script,
};
use tokio::time::Instant;

use self::listing::Listing;
use self::tool::{Purpose, ToolError};
use self::watch::{Touched, Watch};

/// How long changes gather before they are looked at: whoever reloads a firewall makes many at once.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// How often a ruleset is made while others change the same tables.
const MAX_ATTEMPTS: u32 = 3;

/// The rules and members that were made, and what the kernel says about them.
#[derive(Debug)]
pub struct Firewall {
    made: BTreeMap<RulesetName, Made>,
    /// What others or an earlier run made, as far as it was looked for.
    left: BTreeSet<RulesetName>,
    members: BTreeSet<Member>,
    watch: Watch,
    /// What others changed, and when it is to be looked at.
    doubt: Option<(Instant, Touched)>,
}

/// A ruleset that was made.
#[derive(Debug)]
struct Made {
    ruleset: Ruleset,
    /// How the kernel listed its rules then.
    rules: Vec<String>,
}

/// What becomes of a member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MemberChange {
    /// It is let pass.
    Join(Member),
    /// It is no more.
    Leave(Member),
}

impl MemberChange {
    /// Returns what an operation does to a member, or `None` if it is about something else. Those that follow each other
    /// belong into one [`Firewall::change_members`].
    pub const fn of(op: &KernelOp) -> Option<Self> {
        match op {
            KernelOp::Ensure(KernelObject::Member(member))
            | KernelOp::Replace(KernelObject::Member(member)) => Some(Self::Join(*member)),
            KernelOp::Remove(KernelObject::Member(member)) => Some(Self::Leave(*member)),
            KernelOp::Ensure(_) | KernelOp::Replace(_) | KernelOp::Remove(_) => None,
        }
    }
}

impl Firewall {
    /// Begins to watch the firewall of the current network namespace; must be called inside a tokio runtime.
    ///
    /// Where the kernel has no nftables there is nothing to watch.
    pub fn open() -> Self {
        Self {
            made: BTreeMap::new(),
            left: BTreeSet::new(),
            members: BTreeSet::new(),
            watch: Watch::open(),
            doubt: None,
        }
    }

    /// Makes a ruleset, or puts it in the place of an earlier one without a gap. The members stay, those of an earlier run
    /// too.
    ///
    /// # Errors
    ///
    /// If its program is missing or refuses it; nothing is changed then.
    pub async fn ensure_ruleset(&mut self, ruleset: &Ruleset) -> Result<(), KernelError> {
        let name = ruleset.name;
        let listing = self.replace(ruleset).await;
        let rules = listing.map_err(|error| error.of(Purpose::Ruleset(name)))?.rules;
        let ruleset = ruleset.clone();
        self.left.remove(&name);
        self.made.insert(name, Made { ruleset, rules });
        Ok(())
    }

    /// Removes a ruleset, whoever made it, with its members; one that is not there is fine, and where its program is not
    /// installed there is none.
    ///
    /// # Errors
    ///
    /// If its program refuses it.
    pub async fn remove_ruleset(&mut self, name: RulesetName) -> Result<(), KernelError> {
        self.made.remove(&name);
        if name == RulesetName::Membership {
            self.members.clear();
        }
        match self.apply(name, &name.removal()).await {
            Ok(()) => {}
            Err(ToolError::Missing(program)) => {
                tracing::debug!("{program} is not installed, so that there is no {name} to remove");
            }
            Err(error) => return Err(error.of(Purpose::Ruleset(name))),
        }
        self.left.remove(&name);
        Ok(())
    }

    /// Lets members join and leave, all in one transaction. If that fails, those that it fails for are told from the
    /// others by halves. The results have the order of the changes.
    pub async fn change_members(&mut self, changes: &[MemberChange]) -> Vec<Result<(), KernelError>> {
        if !self.made.contains_key(&RulesetName::Membership) {
            return self.change_without_ruleset(changes).await;
        }
        let mut results = Vec::with_capacity(changes.len());
        // The parts that are left, the next one last.
        let mut parts = vec![changes];
        while let Some(part) = parts.pop() {
            match tool::run(FirewallTool::Nft, &listing::member_script(part), &mut self.watch).await {
                Ok(_) => {
                    self.note(part);
                    results.extend(part.iter().map(|_| Ok(())));
                }
                Err(error) if part.len() == 1 || !error.is_about_one_of_many() => {
                    let error = error.of(Purpose::Members);
                    results.extend(part.iter().map(|_| Err(error.clone())));
                }
                Err(_) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
            }
        }
        results
    }

    /// Waits until somebody else has changed what may be ours; [`Firewall::check`] tells then.
    ///
    /// Nothing is lost if the future is dropped before it ends.
    pub async fn doubted(&mut self) {
        loop {
            let due = self.doubt.as_ref().map(|(due, _)| *due);
            tokio::select! {
                biased;
                touched = self.watch.touched() => {
                    if touched.concerns(self.made.keys().copied()) {
                        let due = due.unwrap_or_else(|| Instant::now() + DEBOUNCE);
                        let touched = match self.doubt.take() {
                            Some((_, before)) => touched.and(before),
                            None => touched,
                        };
                        self.doubt = Some((due, touched));
                    }
                }
                () = sleep_until(due) => return,
            }
        }
    }

    /// Compares what others have changed with what was made; everything if nothing is known to have changed. Tells what is
    /// gone or differs, and forgets it.
    pub async fn check(&mut self) -> Vec<KernelEvent> {
        let doubted = self.doubt.as_ref().map(|(_, touched)| touched.clone());
        let names: Vec<RulesetName> = self.made.keys().copied().collect();
        let mut events = Vec::new();
        for name in names {
            if doubted.as_ref().is_none_or(|touched| touched.concerns([name])) {
                events.extend(self.compare(name).await);
            }
        }
        // Only now, so that nothing is lost if the future is dropped.
        self.doubt = None;
        for event in &events {
            self.forget(event);
        }
        events
    }

    /// Looks for what is there of these rulesets, made by this run, an earlier one or flannel.
    ///
    /// Members of an earlier run are kept until [`Firewall::change_members`] lets them leave.
    pub async fn found(&mut self, names: &[RulesetName]) -> FoundFirewall {
        let found = listing::find(names, &mut self.watch).await;
        let is_left = |name: &RulesetName| !self.made.contains_key(name);
        self.left = found.rulesets.iter().copied().filter(is_left).collect();
        found
    }

    /// Returns what was made and is there still, as far as is known.
    fn known(&self) -> FoundFirewall {
        FoundFirewall {
            rulesets: self.made.keys().chain(&self.left).copied().collect(),
            members: self.members.iter().copied().collect(),
        }
    }

    async fn replace(&mut self, ruleset: &Ruleset) -> Result<Listing, ToolError> {
        let script = self.script(ruleset).await?;
        let mut attempts = 1;
        loop {
            let before = self.watch.take();
            self.apply(ruleset.name, &script).await?;
            let listing = listing::list(ruleset.name, &mut self.watch).await?;
            let meanwhile = self.watch.take();
            // What others changed before it was listed would be taken for ours.
            let is_certain = meanwhile
                .as_ref()
                .is_none_or(|touched| !touched.concerns([ruleset.name]));
            self.watch.note(before);
            self.watch.note(meanwhile);
            if is_certain || attempts == MAX_ATTEMPTS {
                return Ok(listing);
            }
            attempts += 1;
        }
    }

    async fn apply(&mut self, name: RulesetName, script: &str) -> Result<(), ToolError> {
        let FirewallTool::Iptables(version) = name.tool() else {
            return tool::run(name.tool(), script, &mut self.watch).await.map(drop);
        };
        let saved = listing::save(version, script, &mut self.watch).await?;
        let fitted = fit_iptables_script(script, &saved);
        if fitted.is_empty() {
            return Ok(());
        }
        tool::run(name.tool(), &fitted, &mut self.watch).await.map(drop)
    }

    /// Returns a ruleset's script, with all members that the kernel has or had: nobody is to be refused until they are
    /// there again one by one.
    async fn script(&mut self, ruleset: &Ruleset) -> Result<String, ToolError> {
        if ruleset.name != RulesetName::Membership {
            return Ok(ruleset.script.clone());
        }
        if !self.made.contains_key(&ruleset.name) {
            self.members = listing::list(ruleset.name, &mut self.watch).await?.members;
        }
        Ok(format!(
            "{}{}",
            ruleset.script,
            listing::all_members(&self.members)
        ))
    }

    async fn compare(&mut self, name: RulesetName) -> Vec<KernelEvent> {
        let Some(made) = self.made.get(&name) else {
            return Vec::new();
        };
        match listing::list(name, &mut self.watch).await {
            // Whoever has put himself among the members goes when the sets are written again.
            Ok(found) if found.rules != made.rules || !found.members.is_subset(&self.members) => {
                vec![KernelEvent::Vanished(KernelObject::Ruleset(made.ruleset.clone()))]
            }
            Ok(found) if name == RulesetName::Membership => {
                let lost = self.members.difference(&found.members);
                lost.map(|member| KernelEvent::Vanished(KernelObject::Member(*member)))
                    .collect()
            }
            Ok(_) => Vec::new(),
            Err(error) => {
                tracing::warn!(
                    "cannot see what became of the {name}: {}",
                    error.of(Purpose::Ruleset(name))
                );
                Vec::new()
            }
        }
    }

    /// Forgets a member that is gone. Of a ruleset that is gone the members are kept: they come back with it.
    fn forget(&mut self, event: &KernelEvent) {
        if let KernelEvent::Vanished(KernelObject::Member(member)) = event {
            self.members.remove(member);
        }
    }

    fn note(&mut self, changes: &[MemberChange]) {
        for change in changes {
            match change {
                MemberChange::Join(member) => self.members.insert(*member),
                MemberChange::Leave(member) => self.members.remove(member),
            };
        }
    }

    /// Members of an earlier run leave before the ruleset is made again; none can join.
    async fn change_without_ruleset(&mut self, changes: &[MemberChange]) -> Vec<Result<(), KernelError>> {
        let is_leaving = |change: &MemberChange| matches!(change, MemberChange::Leave(_));
        let leaving: Vec<_> = changes.iter().copied().filter(is_leaving).collect();
        let left = match tool::run(
            FirewallTool::Nft,
            &listing::member_script(&leaving),
            &mut self.watch,
        )
        .await
        {
            Err(error) if !error.is_absence() => Err(error.of(Purpose::Members)),
            Ok(_) | Err(_) => Ok(()),
        };
        let result = |change: &MemberChange| match change {
            MemberChange::Leave(_) => left.clone(),
            MemberChange::Join(member) => Err(KernelError {
                kind: KernelErrorKind::NotFound,
                message: format!("{member} waits for the {}", RulesetName::Membership),
            }),
        };
        changes.iter().map(result).collect()
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
