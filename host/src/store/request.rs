//! A request that etcd answers once.

use std::time::Duration;

use etcd_client::{Client, Error, LeaseGrantOptions};
use selvedge_engine::{
    EtcdLeaseId, KeyRange, Page, Revision, StoreError, StoreRequest, StoreResponse, Txn, TxnOutcome,
};

use super::pool::Pool;
use super::translate;

/// The largest answer that is read, in bytes: far more than the leases of any cluster.
pub(super) const MAX_ANSWER: usize = 256 << 20;

/// Sends a request and waits for its answer.
pub(super) async fn answer(
    pool: &Pool,
    timeout: Duration,
    request: StoreRequest,
) -> Result<StoreResponse, StoreError> {
    let answered = pool
        .call(timeout, |client| Box::pin(send(client, request.clone())))
        .await?;
    Ok(answered.value)
}

async fn send(client: Client, request: StoreRequest) -> Result<StoreResponse, Error> {
    match request {
        StoreRequest::Range {
            range,
            page,
            revision,
        } => read(client, range, page, revision).await,
        StoreRequest::Txn(txn) => transact(client, txn).await,
        StoreRequest::LeaseGrant { id, ttl_seconds } => grant(client, id, ttl_seconds).await,
        StoreRequest::LeaseKeepAlive { id } => keep_alive(client, id).await,
        StoreRequest::LeaseRevoke { id } => revoke(client, id).await,
    }
}

async fn read(
    client: Client,
    range: KeyRange,
    page: Page,
    revision: Option<Revision>,
) -> Result<StoreResponse, Error> {
    let (first, options) = translate::range(&range, &page, revision);
    let response = client
        .kv_client()
        .max_decoding_message_size(MAX_ANSWER)
        .get(first, Some(options))
        .await?;
    Ok(StoreResponse::Range {
        header: translate::header(response.header()),
        kvs: translate::key_values(response.kvs()),
        more: response.more(),
    })
}

async fn transact(client: Client, txn: Txn) -> Result<StoreResponse, Error> {
    let response = client
        .kv_client()
        .max_decoding_message_size(MAX_ANSWER)
        .txn(translate::txn(txn))
        .await?;
    let responses = response.op_responses();
    Ok(StoreResponse::Txn {
        header: translate::header(response.header()),
        outcome: if response.succeeded() {
            TxnOutcome::Succeeded
        } else {
            TxnOutcome::Failed
        },
        responses: responses.iter().filter_map(translate::txn_op_response).collect(),
    })
}

async fn grant(client: Client, id: EtcdLeaseId, ttl_seconds: i64) -> Result<StoreResponse, Error> {
    let options = LeaseGrantOptions::new().with_id(id.0);
    let response = client.lease_client().grant(ttl_seconds, Some(options)).await?;
    Ok(StoreResponse::LeaseGrant {
        header: translate::header(response.header()),
        id: EtcdLeaseId(response.id()),
        ttl_seconds: response.ttl(),
    })
}

/// Renews twice, since the client keeps the first answer for itself.
async fn keep_alive(client: Client, id: EtcdLeaseId) -> Result<StoreResponse, Error> {
    let (mut keeper, mut answers) = client.lease_client().keep_alive(id.0).await?;
    keeper.keep_alive().await?;
    let Some(response) = answers.message().await? else {
        return Err(Error::LeaseKeepAliveError("the stream ended".to_owned()));
    };
    Ok(StoreResponse::LeaseKeepAlive {
        header: translate::header(response.header()),
        id: EtcdLeaseId(response.id()),
        ttl_seconds: response.ttl(),
    })
}

async fn revoke(client: Client, id: EtcdLeaseId) -> Result<StoreResponse, Error> {
    let response = client.lease_client().revoke(id.0).await?;
    Ok(StoreResponse::LeaseRevoke {
        header: translate::header(response.header()),
    })
}
