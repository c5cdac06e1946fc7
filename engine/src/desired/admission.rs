//! Whose packets the node lets in, as far as it matters for the order in which objects are made.

use serde::{Deserialize, Serialize};

use super::{ObjectId, Owner, Reconciler};
use crate::kernel::RulesetName;

/// Whether those who are no members yet are heard.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Admission {
    /// They are.
    #[default]
    Open,
    /// They are not: no route is made to a peer whose answers would be dropped.
    MembersOnly,
}

impl Reconciler {
    /// Sets whose packets are let in from now on.
    pub(crate) fn admit(&mut self, admission: Admission) {
        self.admission = admission;
    }

    /// Tells whether a route waits until its peer is let in. It does not if that fails: what can be sent is sent.
    pub(super) fn waits_for_admission(&self, owner: Owner, id: &ObjectId) -> bool {
        if self.admission == Admission::Open || !matches!(id, ObjectId::Route(_)) || self.holds(id) {
            return false;
        }
        let belongings = self.belongings.get(&owner).into_iter().flatten();
        let mut members = belongings.filter(|other| other.is_member());
        self.holds(&ObjectId::Ruleset(RulesetName::Membership))
            && members.any(|member| self.differs_and_may_heal(member) && self.desired.contains_key(member))
    }
}
