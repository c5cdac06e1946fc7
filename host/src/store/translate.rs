//! Between the engine's vocabulary and etcd-client's.

use etcd_client as etcd;
use selvedge_engine::{
    Compare, CompareOp, CompareTarget, EtcdLeaseId, Header, KeyRange, KeyValue, Page, Revision, Txn, TxnOp,
    TxnOpResponse, WatchEvent,
};

/// Translates a header; etcd always sends one.
pub(super) fn header(header: Option<&etcd::ResponseHeader>) -> Header {
    header.map_or_else(Header::default, |header| Header {
        cluster_id: header.cluster_id(),
        member_id: header.member_id(),
        revision: Revision(header.revision()),
        raft_term: header.raft_term(),
    })
}

/// Translates a read: its first key, and what goes with it.
pub(super) fn range(
    range: &KeyRange,
    page: &Page,
    revision: Option<Revision>,
) -> (Vec<u8>, etcd::GetOptions) {
    let first = page.first_key(range.start());
    let limit = page.limit.map_or(0, |limit| i64::from(limit.get()));
    let options = etcd::GetOptions::new()
        .with_limit(limit)
        .with_revision(revision.map_or(0, |Revision(revision)| revision));
    // A zero byte is etcd's word for no end.
    let end = range.end().unwrap_or_else(|| vec![0]);
    (first, options.with_range(end))
}

/// Translates key-value pairs.
pub(super) fn key_values(kvs: &[etcd::KeyValue]) -> Vec<KeyValue> {
    kvs.iter().map(key_value).collect()
}

/// Translates a transaction.
pub(super) fn txn(txn: Txn) -> etcd::Txn {
    let ops = |ops: Vec<TxnOp>| ops.into_iter().map(txn_op).collect::<Vec<_>>();
    etcd::Txn::new()
        .when(txn.compares.iter().map(compare).collect::<Vec<_>>())
        .and_then(ops(txn.success))
        .or_else(ops(txn.failure))
}

/// Translates the answer to an operation; `None` for a read and a nested transaction, which the engine never sends.
pub(super) fn txn_op_response(response: &etcd::TxnOpResponse) -> Option<TxnOpResponse> {
    match response {
        etcd::TxnOpResponse::Put(_) => Some(TxnOpResponse::Put),
        etcd::TxnOpResponse::Delete(delete) => Some(TxnOpResponse::Delete(delete.deleted())),
        etcd::TxnOpResponse::Get(_) | etcd::TxnOpResponse::Txn(_) => None,
    }
}

/// Translates a watch's event; `None` for one without a key, which etcd never sends.
pub(super) fn watch_event(event: &etcd::Event) -> Option<WatchEvent> {
    let kv = event.kv()?;
    Some(match event.event_type() {
        etcd::EventType::Put => WatchEvent::Put(key_value(kv)),
        etcd::EventType::Delete => WatchEvent::Delete {
            key: kv.key().to_vec(),
            mod_revision: Revision(kv.mod_revision()),
        },
    })
}

fn key_value(kv: &etcd::KeyValue) -> KeyValue {
    KeyValue {
        key: kv.key().to_vec(),
        value: kv.value().to_vec(),
        create_revision: Revision(kv.create_revision()),
        mod_revision: Revision(kv.mod_revision()),
        version: kv.version(),
        lease: Some(kv.lease()).filter(|id| *id != 0).map(EtcdLeaseId),
    }
}

fn compare(compare: &Compare) -> etcd::Compare {
    let op = match compare.op {
        CompareOp::Equal => etcd::CompareOp::Equal,
        CompareOp::Less => etcd::CompareOp::Less,
        CompareOp::Greater => etcd::CompareOp::Greater,
        CompareOp::NotEqual => etcd::CompareOp::NotEqual,
    };
    let key = compare.range.start().to_vec();
    let translated = match compare.target {
        CompareTarget::Version(version) => etcd::Compare::version(key, op, version),
        CompareTarget::CreateRevision(revision) => etcd::Compare::create_revision(key, op, revision.0),
        CompareTarget::ModRevision(revision) => etcd::Compare::mod_revision(key, op, revision.0),
        CompareTarget::Lease(lease) => etcd::Compare::lease(key, op, lease.map_or(0, |lease| lease.0)),
    };
    match compare.range {
        KeyRange::Key(_) => translated,
        KeyRange::Prefix(_) => translated.with_prefix(),
    }
}

fn txn_op(op: TxnOp) -> etcd::TxnOp {
    match op {
        TxnOp::Put { key, value, lease } => {
            let options = lease.map(|EtcdLeaseId(id)| etcd::PutOptions::new().with_lease(id));
            etcd::TxnOp::put(key, value, options)
        }
        TxnOp::Delete(KeyRange::Key(key)) => etcd::TxnOp::delete(key, None),
        TxnOp::Delete(KeyRange::Prefix(key)) => {
            etcd::TxnOp::delete(key, Some(etcd::DeleteOptions::new().with_prefix()))
        }
    }
}
