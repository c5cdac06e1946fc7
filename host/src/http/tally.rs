//! What happened so far, counted.

use std::collections::BTreeMap;

use selvedge_engine::{Action, Event, Input, KernelErrorKind, KernelEvent, KernelOp, ObjectKind, OpId};

/// Counts what goes into an engine and what comes out, at no cost that grows with the cluster.
#[derive(Debug, Default)]
pub struct Tally {
    counts: Counts,
    /// The engine has at most one under way for each object.
    under_way: BTreeMap<OpId, (Deed, ObjectKind)>,
}

/// How often each thing happened; there are as many as there are kinds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Events, by their names.
    pub events: BTreeMap<&'static str, u64>,
    /// Kernel operations that ended.
    pub operations: BTreeMap<Operation, u64>,
}

/// A sort of kernel operations.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Operation {
    /// What it was about.
    pub kind: ObjectKind,
    /// What was to be done.
    pub deed: Deed,
    /// Why it failed, if it did.
    pub error: Option<KernelErrorKind>,
}

/// What a kernel operation does.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Deed {
    /// It makes an object.
    Ensure,
    /// It changes one in place.
    Replace,
    /// It removes one.
    Remove,
}

impl Tally {
    /// Counts an event.
    pub fn event(&mut self, event: &Event) {
        increment(self.counts.events.entry(event.name()).or_default());
    }

    /// Takes note of an operation that begins.
    pub fn action(&mut self, action: &Action) {
        if let Action::Kernel { id, op } = action {
            self.under_way.insert(*id, (Deed::of(op), op.object().kind()));
        }
    }

    /// Counts an operation that ended.
    pub fn input(&mut self, input: &Input) {
        let Input::Kernel(KernelEvent::OpDone { id, result }) = input else {
            return;
        };
        let Some((deed, kind)) = self.under_way.remove(id) else {
            return;
        };
        let error = result.as_ref().err().map(|error| error.kind);
        let operation = Operation { kind, deed, error };
        increment(self.counts.operations.entry(operation).or_default());
    }

    /// Returns the counts so far.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Deed {
    const fn of(op: &KernelOp) -> Self {
        match op {
            KernelOp::Ensure(_) => Self::Ensure,
            KernelOp::Replace(_) => Self::Replace,
            KernelOp::Remove(_) => Self::Remove,
        }
    }

    /// Returns the name that operators see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ensure => "ensure",
            Self::Replace => "replace",
            Self::Remove => "remove",
        }
    }
}

impl Operation {
    /// Returns the name of what became of it.
    pub const fn outcome(&self) -> &'static str {
        match self.error {
            None => "done",
            Some(kind) => kind.name(),
        }
    }
}

const fn increment(count: &mut u64) {
    *count = count.saturating_add(1);
}

#[cfg(test)]
mod tests {
    use selvedge_engine::{KernelError, KernelObject};

    use super::*;

    #[test]
    fn operations_are_counted_by_kind_and_outcome_when_they_end() {
        let mut tally = Tally::default();
        let socket = KernelObject::Socket("192.0.2.1:8285".parse().unwrap());
        let taken = KernelError {
            kind: KernelErrorKind::Taken,
            message: String::new(),
        };

        for (number, result) in [(1, Ok(())), (2, Err(taken)), (3, Ok(()))] {
            let (id, op) = (OpId(number), KernelOp::Ensure(socket.clone()));
            tally.action(&Action::Kernel { id, op });
            tally.input(&Input::Kernel(KernelEvent::OpDone { id, result }));
        }
        let (id, op) = (OpId(4), KernelOp::Remove(socket));
        tally.action(&Action::Kernel { id, op });

        let counted: Vec<_> = tally.counts().operations.iter().collect();
        let ensured = |error| Operation {
            kind: ObjectKind::Socket,
            deed: Deed::Ensure,
            error,
        };
        let expected = [(ensured(None), 2), (ensured(Some(KernelErrorKind::Taken)), 1)];
        assert_eq!(
            counted,
            expected
                .iter()
                .map(|(sort, count)| (sort, count))
                .collect::<Vec<_>>()
        );
        assert_eq!(tally.under_way.len(), 1);
    }
}
