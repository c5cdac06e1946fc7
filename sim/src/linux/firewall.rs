//! The rules that the daemon gives a node: what there is of them, not what they do to packets.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_engine::{FoundFirewall, Member, Ruleset, RulesetName};

/// The rulesets and the members of the filter's sets.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Firewall {
    rulesets: BTreeMap<RulesetName, String>,
    members: BTreeSet<Member>,
}

impl Firewall {
    /// Makes a ruleset, or puts it in the place of an earlier one; the members stay.
    pub(super) fn ensure_ruleset(&mut self, ruleset: &Ruleset) {
        self.rulesets.insert(ruleset.name, ruleset.script.clone());
    }

    /// Removes a ruleset, and its sets with it.
    pub(super) fn remove_ruleset(&mut self, name: RulesetName) {
        self.rulesets.remove(&name);
        if name == RulesetName::Membership {
            self.members.clear();
        }
    }

    /// Tells whether there are sets that members can join.
    pub(super) fn takes_members(&self) -> bool {
        self.rulesets.contains_key(&RulesetName::Membership)
    }

    /// Lets a member join.
    pub(super) fn ensure_member(&mut self, member: Member) {
        self.members.insert(member);
    }

    /// Lets a member leave.
    pub(super) fn remove_member(&mut self, member: &Member) {
        self.members.remove(member);
    }

    /// Returns what a survey finds.
    pub(super) fn found(&self) -> FoundFirewall {
        FoundFirewall {
            rulesets: self.rulesets.keys().copied().collect(),
            members: self.members.iter().copied().collect(),
        }
    }
}
