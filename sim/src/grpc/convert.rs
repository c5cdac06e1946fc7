//! Between etcd's messages and the store's vocabulary.

use std::cmp::Ordering;
use std::sync::Arc;

use etcd_client::proto::{
    PbCompare, PbDeleteRequest, PbDeleteResponse, PbEvent, PbKeyValue, PbPutRequest, PbPutResponse,
    PbRangeRequest, PbRangeResponse, PbResponseHeader, PbResponseOp, PbTargetUnion, PbTxnOpRequest,
    PbTxnOpResponse, PbTxnRequest, PbTxnRequestOp, PbTxnResponse,
};
use selvedge_engine::{CompareOp, EtcdLeaseId, Header, KeyValue, Revision, TxnOutcome, WatchEvent};
use tonic::{Code, Status};

use super::shared_store::Previous;
use crate::etcd_store::{
    Condition, EtcdError, EtcdStore, Field, KeySpan, Operand, Operation, OperationResult, Put, Transaction,
    TransactionResult,
};

pub(super) fn header(header: Header) -> PbResponseHeader {
    PbResponseHeader {
        cluster_id: header.cluster_id,
        member_id: header.member_id,
        revision: header.revision.0,
        raft_term: header.raft_term,
    }
}

/// Returns a refusal with the code that etcd gives it.
pub(super) fn status(error: EtcdError) -> Status {
    let code = match error {
        EtcdError::EmptyKey
        | EtcdError::DuplicateKey
        | EtcdError::TooManyOperations
        | EtcdError::KeyNotFound
        | EtcdError::ValueProvided
        | EtcdError::LeaseProvided
        | EtcdError::UnknownComparison => Code::InvalidArgument,
        EtcdError::Compacted | EtcdError::FutureRevision | EtcdError::LeaseTtlTooLarge => Code::OutOfRange,
        EtcdError::LeaseNotFound => Code::NotFound,
        EtcdError::LeaseExists => Code::FailedPrecondition,
    };
    Status::new(code, error.to_string())
}

pub(super) fn event(event: &WatchEvent, store: &EtcdStore, previous: Previous) -> PbEvent {
    let (kind, kv, revision) = match event {
        WatchEvent::Put(kv) => (PUT, key_value(kv), kv.mod_revision),
        WatchEvent::Delete { key, mod_revision } => {
            let kv = PbKeyValue {
                key: key.clone(),
                mod_revision: mod_revision.0,
                ..PbKeyValue::default()
            };
            (DELETE, kv, *mod_revision)
        }
    };
    let prev_kv = match previous {
        Previous::Wanted => store.previous(&kv.key, revision).map(|kv| key_value(&kv)),
        Previous::Unwanted => None,
    };
    PbEvent {
        r#type: kind,
        kv: Some(kv),
        prev_kv,
    }
}

pub(super) fn range(request: &PbRangeRequest) -> Operation {
    Operation::Range {
        span: KeySpan::from_wire(request.key.clone(), request.range_end.clone()),
        revision: Some(Revision(request.revision)),
    }
}

pub(super) fn put(request: &PbPutRequest) -> Result<Operation, EtcdError> {
    if request.ignore_value && !request.value.is_empty() {
        return Err(EtcdError::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(EtcdError::LeaseProvided);
    }
    let value = if request.ignore_value {
        Field::Keep
    } else {
        Field::Set(request.value.clone())
    };
    let lease = if request.ignore_lease {
        Field::Keep
    } else {
        Field::Set(Some(EtcdLeaseId(request.lease)))
    };
    Ok(Operation::Put(Put {
        key: request.key.clone(),
        value,
        lease,
    }))
}

pub(super) fn delete(request: &PbDeleteRequest) -> Operation {
    Operation::Delete(KeySpan::from_wire(request.key.clone(), request.range_end.clone()))
}

pub(super) fn transaction(request: &PbTxnRequest) -> Result<Transaction, EtcdError> {
    Ok(Transaction {
        conditions: request.compare.iter().map(condition).collect::<Result<_, _>>()?,
        success: request.success.iter().map(operation).collect::<Result<_, _>>()?,
        failure: request.failure.iter().map(operation).collect::<Result<_, _>>()?,
    })
}

/// Shapes the keys read as the request wants them: filtered, sorted, cut and stripped.
pub(super) fn range_response(request: &PbRangeRequest, kvs: &[Arc<KeyValue>]) -> PbRangeResponse {
    let count = length(kvs.len());
    if request.count_only {
        return PbRangeResponse {
            count,
            ..PbRangeResponse::default()
        };
    }
    let mut kvs: Vec<&KeyValue> = kvs
        .iter()
        .map(Arc::as_ref)
        .filter(|kv| admits(request, kv))
        .collect();
    sort(request, &mut kvs);
    let limit = usize::try_from(request.limit)
        .ok()
        .filter(|limit| *limit > 0)
        .unwrap_or(usize::MAX);
    let more = kvs.len() > limit;
    kvs.truncate(limit);
    let kvs = kvs.into_iter().map(|kv| {
        if request.keys_only {
            bare_key(kv)
        } else {
            key_value(kv)
        }
    });
    PbRangeResponse {
        header: None,
        kvs: kvs.collect(),
        more,
        count,
    }
}

pub(super) fn put_response(request: &PbPutRequest, previous: Option<&KeyValue>) -> PbPutResponse {
    PbPutResponse {
        header: None,
        prev_kv: previous.filter(|_| request.prev_kv).map(key_value),
    }
}

pub(super) fn delete_response(request: &PbDeleteRequest, previous: &[Arc<KeyValue>]) -> PbDeleteResponse {
    let prev_kvs = if request.prev_kv {
        previous.iter().map(|kv| key_value(kv)).collect()
    } else {
        Vec::new()
    };
    PbDeleteResponse {
        header: None,
        deleted: length(previous.len()),
        prev_kvs,
    }
}

/// Answers a transaction; `before` is the store's revision before it.
pub(super) fn txn_response(
    request: &PbTxnRequest,
    result: &TransactionResult,
    before: Revision,
) -> PbTxnResponse {
    branch_response(request, result, &mut { before }, before.next())
}

/// Answers a branch; the revision that operations report moves from `seen` to `after` with the first write.
fn branch_response(
    request: &PbTxnRequest,
    result: &TransactionResult,
    seen: &mut Revision,
    after: Revision,
) -> PbTxnResponse {
    let (succeeded, operations) = match result.outcome {
        TxnOutcome::Succeeded => (true, &request.success),
        TxnOutcome::Failed => (false, &request.failure),
    };
    let answered = operations
        .iter()
        .filter_map(|operation| operation.request.as_ref())
        .zip(&result.results);
    let responses = answered.filter_map(|(request, result)| operation_response(request, result, seen, after));
    let responses = responses
        .map(|response| PbResponseOp {
            response: Some(response),
        })
        .collect();
    PbTxnResponse {
        header: Some(PbResponseHeader::default()),
        succeeded,
        responses,
    }
}

/// Answers an operation; the result is of the request's kind, else there is no answer.
fn operation_response(
    request: &PbTxnOpRequest,
    result: &OperationResult,
    seen: &mut Revision,
    after: Revision,
) -> Option<PbTxnOpResponse> {
    match (request, result) {
        (PbTxnOpRequest::RequestRange(request), OperationResult::Range(kvs)) => {
            let response = PbRangeResponse {
                header: revision_only(*seen),
                ..range_response(request, kvs)
            };
            Some(PbTxnOpResponse::ResponseRange(response))
        }
        (PbTxnOpRequest::RequestPut(request), OperationResult::Put { previous }) => {
            *seen = after;
            let response = put_response(request, previous.as_deref());
            Some(PbTxnOpResponse::ResponsePut(PbPutResponse {
                header: revision_only(*seen),
                ..response
            }))
        }
        (PbTxnOpRequest::RequestDeleteRange(request), OperationResult::Delete { previous }) => {
            if !previous.is_empty() {
                *seen = after;
            }
            let response = delete_response(request, previous);
            let response = PbDeleteResponse {
                header: revision_only(*seen),
                ..response
            };
            Some(PbTxnOpResponse::ResponseDeleteRange(response))
        }
        (PbTxnOpRequest::RequestTxn(request), OperationResult::Transaction(result)) => Some(
            PbTxnOpResponse::ResponseTxn(branch_response(request, result, seen, after)),
        ),
        (
            PbTxnOpRequest::RequestRange(_)
            | PbTxnOpRequest::RequestPut(_)
            | PbTxnOpRequest::RequestDeleteRange(_)
            | PbTxnOpRequest::RequestTxn(_),
            OperationResult::Range(_)
            | OperationResult::Put { .. }
            | OperationResult::Delete { .. }
            | OperationResult::Transaction(_),
        ) => None,
    }
}

/// Returns the header inside a transaction's answers, in which etcd fills in the revision alone.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the messages have the header as an option"
)]
fn revision_only(revision: Revision) -> Option<PbResponseHeader> {
    Some(PbResponseHeader {
        revision: revision.0,
        ..PbResponseHeader::default()
    })
}

fn condition(compare: &PbCompare) -> Result<Condition, EtcdError> {
    let relation = match compare.result {
        0 => CompareOp::Equal,
        1 => CompareOp::Greater,
        2 => CompareOp::Less,
        3 => CompareOp::NotEqual,
        _ => return Err(EtcdError::UnknownComparison),
    };
    let span = KeySpan::from_wire(compare.key.clone(), compare.range_end.clone());
    Ok(Condition {
        span,
        relation,
        operand: operand(compare)?,
    })
}

/// Returns the operand that belongs to the target; etcd reads one of another kind as zero.
fn operand(compare: &PbCompare) -> Result<Operand, EtcdError> {
    let union = compare.target_union.as_ref();
    let number = |wanted: fn(&PbTargetUnion) -> Option<i64>| union.and_then(wanted).unwrap_or(0);
    match compare.target {
        0 => Ok(Operand::Version(number(version))),
        1 => Ok(Operand::CreateRevision(Revision(number(create_revision)))),
        2 => Ok(Operand::ModRevision(Revision(number(mod_revision)))),
        3 => Ok(Operand::Value(union.and_then(value).unwrap_or_default())),
        4 => Ok(Operand::Lease(number(lease))),
        _ => Err(EtcdError::UnknownComparison),
    }
}

fn operation(operation: &PbTxnRequestOp) -> Result<Operation, EtcdError> {
    match &operation.request {
        Some(PbTxnOpRequest::RequestRange(request)) => Ok(range(request)),
        Some(PbTxnOpRequest::RequestPut(request)) => put(request),
        Some(PbTxnOpRequest::RequestDeleteRange(request)) => Ok(delete(request)),
        Some(PbTxnOpRequest::RequestTxn(request)) => Ok(Operation::Transaction(transaction(request)?)),
        None => Err(EtcdError::KeyNotFound),
    }
}

fn admits(request: &PbRangeRequest, kv: &KeyValue) -> bool {
    let bounds = [
        (
            kv.mod_revision,
            request.min_mod_revision,
            request.max_mod_revision,
        ),
        (
            kv.create_revision,
            request.min_create_revision,
            request.max_create_revision,
        ),
    ];
    bounds
        .into_iter()
        .all(|(revision, min, max)| (min == 0 || revision.0 >= min) && (max == 0 || revision.0 <= max))
}

/// Sorts keys that come in key order; a target other than the key without an order means ascending.
fn sort(request: &PbRangeRequest, kvs: &mut [&KeyValue]) {
    match request.sort_order {
        DESCEND => kvs.sort_by(|a, b| order(request.sort_target, b, a)),
        _ => kvs.sort_by(|a, b| order(request.sort_target, a, b)),
    }
}

fn order(target: i32, a: &KeyValue, b: &KeyValue) -> Ordering {
    match target {
        1 => a.version.cmp(&b.version),
        2 => a.create_revision.cmp(&b.create_revision),
        3 => a.mod_revision.cmp(&b.mod_revision),
        4 => a.value.cmp(&b.value),
        _ => a.key.cmp(&b.key),
    }
}

fn key_value(kv: &KeyValue) -> PbKeyValue {
    PbKeyValue {
        value: kv.value.clone(),
        ..bare_key(kv)
    }
}

fn bare_key(kv: &KeyValue) -> PbKeyValue {
    PbKeyValue {
        key: kv.key.clone(),
        create_revision: kv.create_revision.0,
        mod_revision: kv.mod_revision.0,
        version: kv.version,
        value: Vec::new(),
        lease: kv.lease.map_or(0, |lease| lease.0),
    }
}

fn length(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

const PUT: i32 = 0;
const DELETE: i32 = 1;
const DESCEND: i32 = 2;

fn version(union: &PbTargetUnion) -> Option<i64> {
    if let PbTargetUnion::Version(version) = union {
        Some(*version)
    } else {
        None
    }
}

fn create_revision(union: &PbTargetUnion) -> Option<i64> {
    if let PbTargetUnion::CreateRevision(revision) = union {
        Some(*revision)
    } else {
        None
    }
}

fn mod_revision(union: &PbTargetUnion) -> Option<i64> {
    if let PbTargetUnion::ModRevision(revision) = union {
        Some(*revision)
    } else {
        None
    }
}

fn lease(union: &PbTargetUnion) -> Option<i64> {
    if let PbTargetUnion::Lease(lease) = union {
        Some(*lease)
    } else {
        None
    }
}

fn value(union: &PbTargetUnion) -> Option<Vec<u8>> {
    if let PbTargetUnion::Value(value) = union {
        Some(value.clone())
    } else {
        None
    }
}
