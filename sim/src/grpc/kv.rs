//! etcd's `KV` service.

use std::pin::Pin;

use etcd_client::proto::{
    PbCompactionRequest, PbCompactionResponse, PbDeleteRequest, PbDeleteResponse, PbKvService, PbPutRequest,
    PbPutResponse, PbRangeRequest, PbRangeResponse, PbRangeStreamResponse, PbTxnRequest, PbTxnResponse,
};
use selvedge_engine::Revision;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::convert;
use super::fate::Call;
use super::member::Member;
use crate::etcd_store::{EtcdError, EtcdStore, KeySpan, Operation, OperationResult, Transaction};

#[tonic::async_trait]
impl PbKvService for Member {
    type RangeStreamStream = Pin<Box<dyn Stream<Item = Result<PbRangeStreamResponse, Status>> + Send>>;

    async fn range(&self, request: Request<PbRangeRequest>) -> Result<Response<PbRangeResponse>, Status> {
        let request = request.into_inner();
        self.respond(Call::Range, |store, _| {
            let span = KeySpan::from_wire(request.key.clone(), request.range_end.clone());
            let kvs = store.range(&span, Some(Revision(request.revision)))?;
            let header = Some(convert::header(store.header()));
            Ok(PbRangeResponse {
                header,
                ..convert::range_response(&request, &kvs)
            })
        })
        .await
    }

    async fn range_stream(
        &self,
        _: Request<PbRangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        Err(Status::unimplemented("etcd 3.4 has no RangeStream"))
    }

    async fn put(&self, request: Request<PbPutRequest>) -> Result<Response<PbPutResponse>, Status> {
        let request = request.into_inner();
        self.respond(Call::Put, |store, _| {
            let result = run(store, convert::put(&request)?)?;
            let previous = match &result {
                OperationResult::Put { previous } => previous.as_deref(),
                OperationResult::Range(_)
                | OperationResult::Delete { .. }
                | OperationResult::Transaction(_) => None,
            };
            let header = Some(convert::header(store.header()));
            Ok(PbPutResponse {
                header,
                ..convert::put_response(&request, previous)
            })
        })
        .await
    }

    async fn delete_range(
        &self,
        request: Request<PbDeleteRequest>,
    ) -> Result<Response<PbDeleteResponse>, Status> {
        let request = request.into_inner();
        self.respond(Call::DeleteRange, |store, _| {
            let result = run(store, convert::delete(&request))?;
            let previous = match &result {
                OperationResult::Delete { previous } => previous.as_slice(),
                OperationResult::Range(_) | OperationResult::Put { .. } | OperationResult::Transaction(_) => {
                    &[]
                }
            };
            let header = Some(convert::header(store.header()));
            Ok(PbDeleteResponse {
                header,
                ..convert::delete_response(&request, previous)
            })
        })
        .await
    }

    async fn txn(&self, request: Request<PbTxnRequest>) -> Result<Response<PbTxnResponse>, Status> {
        let request = request.into_inner();
        self.respond(Call::Txn, |store, _| {
            let before = store.header().revision;
            let result = store.transact(&convert::transaction(&request)?)?;
            let header = Some(convert::header(store.header()));
            Ok(PbTxnResponse {
                header,
                ..convert::txn_response(&request, &result, before)
            })
        })
        .await
    }

    async fn compact(
        &self,
        request: Request<PbCompactionRequest>,
    ) -> Result<Response<PbCompactionResponse>, Status> {
        let revision = Revision(request.into_inner().revision);
        self.respond(Call::Compact, |store, _| {
            store.compact(revision)?;
            Ok(PbCompactionResponse {
                header: Some(convert::header(store.header())),
            })
        })
        .await
    }
}

/// Runs one operation by itself.
fn run(store: &mut EtcdStore, operation: Operation) -> Result<OperationResult, EtcdError> {
    let result = store.transact(&Transaction::of(operation))?;
    Ok(result
        .results
        .into_iter()
        .next()
        .unwrap_or(OperationResult::Range(Vec::new())))
}
