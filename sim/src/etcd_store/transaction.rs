//! Transactions in etcd's full vocabulary: what they may contain, which branch they take.

use std::collections::BTreeMap;
use std::sync::Arc;

use selvedge_engine::{
    Compare, CompareOp, CompareTarget, EtcdLeaseId, KeyValue, Revision, Txn, TxnOp, TxnOutcome,
};

use super::history::History;
use super::leases::Leases;
use super::{EtcdError, KeySpan};

/// How many conditions, and how many operations in each branch, etcd takes by default.
pub const MAX_OPERATIONS: usize = 128;

/// Operations that depend on conditions: `success` if all of them hold, else `failure`.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// What must hold.
    pub conditions: Vec<Condition>,
    /// What happens then.
    pub success: Vec<Operation>,
    /// What happens otherwise.
    pub failure: Vec<Operation>,
}

/// A comparison that must hold for each key of a span; a span without keys counts as one all-zero key.
#[derive(Clone, Debug)]
pub struct Condition {
    /// The keys.
    pub span: KeySpan,
    /// How the key's property must relate to the operand.
    pub relation: CompareOp,
    /// The property and what it is compared with.
    pub operand: Operand,
}

/// A property of a key with the value to compare it with.
#[derive(Clone, Debug)]
pub enum Operand {
    /// How often the key was written since its creation.
    Version(i64),
    /// The revision that created the key.
    CreateRevision(Revision),
    /// The revision that last wrote the key.
    ModRevision(Revision),
    /// The value's bytes; never holds for a span without keys.
    Value(Vec<u8>),
    /// The attached lease, zero for none.
    Lease(i64),
}

/// One operation of a transaction.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Reads keys, at the newest revision unless `revision` names another.
    Range {
        /// The keys.
        span: KeySpan,
        /// The revision to read at.
        revision: Option<Revision>,
    },
    /// Writes a key.
    Put(Put),
    /// Deletes keys.
    Delete(KeySpan),
    /// Runs a transaction inside this one, in the same revision.
    Transaction(Transaction),
}

/// The write of a key.
#[derive(Clone, Debug)]
pub struct Put {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Field<Vec<u8>>,
    /// The etcd lease to attach the key to.
    pub lease: Field<Option<EtcdLeaseId>>,
}

/// What a write does with one part of a key.
#[derive(Clone, Debug)]
pub enum Field<T> {
    /// Replaces it.
    Set(T),
    /// Leaves it as it is, which needs an existing key.
    Keep,
}

/// What a transaction did.
#[derive(Clone, Debug)]
pub struct TransactionResult {
    /// Which branch ran.
    pub outcome: TxnOutcome,
    /// One result for each operation of that branch.
    pub results: Vec<OperationResult>,
}

/// What an operation did.
#[derive(Clone, Debug)]
pub enum OperationResult {
    /// The keys read, in key order.
    Range(Vec<Arc<KeyValue>>),
    /// The key is written.
    Put {
        /// What the key was before.
        previous: Option<Arc<KeyValue>>,
    },
    /// The keys are deleted.
    Delete {
        /// What the keys were before, in key order.
        previous: Vec<Arc<KeyValue>>,
    },
    /// The nested transaction ran.
    Transaction(TransactionResult),
}

impl OperationResult {
    /// Returns how many keys the operation deleted.
    pub fn deleted(&self) -> usize {
        match self {
            Self::Delete { previous } => previous.len(),
            Self::Range(_) | Self::Put { .. } => 0,
            Self::Transaction(result) => result.results.iter().map(Self::deleted).sum(),
        }
    }
}

/// The branch of a transaction that runs, with those of the transactions nested in it.
pub(super) struct Branch<'a> {
    pub(super) outcome: TxnOutcome,
    pub(super) steps: Vec<Step<'a>>,
}

/// An operation that runs.
pub(super) enum Step<'a> {
    Range {
        span: &'a KeySpan,
        revision: Option<Revision>,
    },
    Put(&'a Put),
    Delete(&'a KeySpan),
    Branch(Branch<'a>),
}

impl Transaction {
    /// Makes a transaction of one unconditional operation.
    pub fn of(operation: Operation) -> Self {
        Self {
            success: vec![operation],
            ..Self::default()
        }
    }

    /// Checks what can be checked without looking at any key, in both branches.
    pub(super) fn validate(&self) -> Result<(), EtcdError> {
        self.validate_shape()?;
        Writes::of(&self.success)?;
        Writes::of(&self.failure)?;
        Ok(())
    }

    /// Chooses the branches to run, all by the state before the transaction.
    pub(super) fn choose(&self, history: &History) -> Branch<'_> {
        let holds = self.conditions.iter().all(|condition| condition.holds(history));
        let (outcome, operations) = if holds {
            (TxnOutcome::Succeeded, &self.success)
        } else {
            (TxnOutcome::Failed, &self.failure)
        };
        Branch {
            outcome,
            steps: operations
                .iter()
                .map(|operation| operation.choose(history))
                .collect(),
        }
    }

    fn validate_shape(&self) -> Result<(), EtcdError> {
        let lengths = [self.conditions.len(), self.success.len(), self.failure.len()];
        if lengths.into_iter().any(|length| length > MAX_OPERATIONS) {
            return Err(EtcdError::TooManyOperations);
        }
        if self.conditions.iter().any(|condition| condition.span.lacks_key()) {
            return Err(EtcdError::EmptyKey);
        }
        self.success
            .iter()
            .chain(&self.failure)
            .try_for_each(Operation::validate_shape)
    }
}

impl Operation {
    fn validate_shape(&self) -> Result<(), EtcdError> {
        let lacks_key = match self {
            Self::Range { span, .. } | Self::Delete(span) => span.lacks_key(),
            Self::Put(put) => put.key.is_empty(),
            Self::Transaction(transaction) => return transaction.validate_shape(),
        };
        if lacks_key {
            Err(EtcdError::EmptyKey)
        } else {
            Ok(())
        }
    }

    fn choose(&self, history: &History) -> Step<'_> {
        match self {
            Self::Range { span, revision } => Step::Range {
                span,
                revision: revision.filter(|revision| revision.0 != 0),
            },
            Self::Put(put) => Step::Put(put),
            Self::Delete(span) => Step::Delete(span),
            Self::Transaction(transaction) => Step::Branch(transaction.choose(history)),
        }
    }
}

impl Condition {
    fn holds(&self, history: &History) -> bool {
        let kvs = history.range(&self.span);
        if !kvs.is_empty() {
            return kvs.iter().all(|kv| self.holds_for(kv));
        }
        match &self.operand {
            Operand::CreateRevision(operand) | Operand::ModRevision(operand) => {
                holds(self.relation, &Revision(0), operand)
            }
            Operand::Version(operand) | Operand::Lease(operand) => holds(self.relation, &0, operand),
            Operand::Value(_) => false,
        }
    }

    fn holds_for(&self, kv: &KeyValue) -> bool {
        match &self.operand {
            Operand::Version(operand) => holds(self.relation, &kv.version, operand),
            Operand::CreateRevision(operand) => holds(self.relation, &kv.create_revision, operand),
            Operand::ModRevision(operand) => holds(self.relation, &kv.mod_revision, operand),
            Operand::Value(operand) => holds(self.relation, &kv.value, operand),
            Operand::Lease(operand) => holds(self.relation, &kv.lease.map_or(0, |lease| lease.0), operand),
        }
    }
}

impl Branch<'_> {
    /// Checks what depends on the state before the transaction, so that nothing can fail half-way.
    pub(super) fn check(&self, history: &History, leases: &Leases) -> Result<(), EtcdError> {
        self.check_puts(history, leases)?;
        self.check_ranges(history)
    }

    fn check_puts(&self, history: &History, leases: &Leases) -> Result<(), EtcdError> {
        self.steps.iter().try_for_each(|step| match step {
            Step::Put(put) => put.check(history, leases),
            Step::Branch(branch) => branch.check_puts(history, leases),
            Step::Range { .. } | Step::Delete(_) => Ok(()),
        })
    }

    fn check_ranges(&self, history: &History) -> Result<(), EtcdError> {
        self.steps.iter().try_for_each(|step| match step {
            Step::Range {
                revision: Some(revision),
                ..
            } => history.check_readable(*revision),
            Step::Branch(branch) => branch.check_ranges(history),
            Step::Range { revision: None, .. } | Step::Put(_) | Step::Delete(_) => Ok(()),
        })
    }
}

impl Put {
    fn check(&self, history: &History, leases: &Leases) -> Result<(), EtcdError> {
        let keeps = matches!(self.value, Field::Keep) || matches!(self.lease, Field::Keep);
        if keeps && history.get(&self.key).is_none() {
            return Err(EtcdError::KeyNotFound);
        }
        match self.lease {
            Field::Set(Some(lease)) if lease.0 != 0 && !leases.contains(lease) => {
                Err(EtcdError::LeaseNotFound)
            }
            Field::Set(_) | Field::Keep => Ok(()),
        }
    }
}

/// The keys that one branch writes and the spans that it deletes.
#[derive(Default)]
struct Writes<'a> {
    /// Each key with the position of the nested transaction that writes it, if one does.
    puts: BTreeMap<&'a [u8], Option<usize>>,
    deletes: Vec<&'a KeySpan>,
}

impl<'a> Writes<'a> {
    /// Collects the writes of a branch.
    ///
    /// A key may be written once, and not be deleted as well, except that the two branches of one nested
    /// transaction, of which only one runs, may write the same key. Operations are judged in etcd's order:
    /// the branch's own deletes, then nested transactions, then its own puts.
    fn of(operations: &'a [Operation]) -> Result<Self, EtcdError> {
        let mut writes = Self::default();
        for operation in operations {
            if let Operation::Delete(span) = operation {
                writes.deletes.push(span);
            }
        }
        for (position, operation) in operations.iter().enumerate() {
            if let Operation::Transaction(nested) = operation {
                writes.add_nested(nested, position)?;
            }
        }
        for operation in operations {
            if let Operation::Put(put) = operation {
                writes.add_put(&put.key, None)?;
            }
        }
        Ok(writes)
    }

    fn add_nested(&mut self, nested: &'a Transaction, position: usize) -> Result<(), EtcdError> {
        let success = Self::of(&nested.success)?;
        let failure = Self::of(&nested.failure)?;
        for key in success.puts.keys().chain(failure.puts.keys()) {
            self.add_put(key, Some(position))?;
        }
        self.deletes.extend(success.deletes);
        self.deletes.extend(failure.deletes);
        Ok(())
    }

    fn add_put(&mut self, key: &'a [u8], nested: Option<usize>) -> Result<(), EtcdError> {
        if self.deletes.iter().any(|span| span.contains(key)) {
            return Err(EtcdError::DuplicateKey);
        }
        match self.puts.insert(key, nested) {
            None => Ok(()),
            Some(earlier) if earlier.is_some() && earlier == nested => Ok(()),
            Some(_) => Err(EtcdError::DuplicateKey),
        }
    }
}

impl From<&Txn> for Transaction {
    fn from(txn: &Txn) -> Self {
        Self {
            conditions: txn.compares.iter().map(Condition::from).collect(),
            success: txn.success.iter().map(Operation::from).collect(),
            failure: txn.failure.iter().map(Operation::from).collect(),
        }
    }
}

impl From<&Compare> for Condition {
    fn from(compare: &Compare) -> Self {
        let operand = match compare.target {
            CompareTarget::Version(version) => Operand::Version(version),
            CompareTarget::CreateRevision(revision) => Operand::CreateRevision(revision),
            CompareTarget::ModRevision(revision) => Operand::ModRevision(revision),
            CompareTarget::Lease(lease) => Operand::Lease(lease.map_or(0, |lease| lease.0)),
        };
        Self {
            span: KeySpan::from(&compare.range),
            relation: compare.op,
            operand,
        }
    }
}

impl From<&TxnOp> for Operation {
    fn from(op: &TxnOp) -> Self {
        match op {
            TxnOp::Put { key, value, lease } => Self::Put(Put {
                key: key.clone(),
                value: Field::Set(value.clone()),
                lease: Field::Set(*lease),
            }),
            TxnOp::Delete(range) => Self::Delete(KeySpan::from(range)),
        }
    }
}

fn holds<T: Ord>(relation: CompareOp, property: &T, operand: &T) -> bool {
    match relation {
        CompareOp::Equal => property == operand,
        CompareOp::Less => property < operand,
        CompareOp::Greater => property > operand,
        CompareOp::NotEqual => property != operand,
    }
}
