//! etcd's `Lease` service.

use etcd_client::proto::{
    PbLeaseGrantRequest, PbLeaseGrantResponse, PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse,
    PbLeaseLeasesRequest, PbLeaseLeasesResponse, PbLeaseRevokeRequest, PbLeaseRevokeResponse, PbLeaseService,
    PbLeaseStatus, PbLeaseTimeToLiveRequest, PbLeaseTimeToLiveResponse,
};
use selvedge_engine::{EtcdLeaseId, Instant};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::convert;
use super::fate::Call;
use super::member::Member;
use crate::etcd_store::EtcdStore;

#[tonic::async_trait]
impl PbLeaseService for Member {
    type LeaseKeepAliveStream = UnboundedReceiverStream<Result<PbLeaseKeepAliveResponse, Status>>;

    async fn lease_grant(
        &self,
        request: Request<PbLeaseGrantRequest>,
    ) -> Result<Response<PbLeaseGrantResponse>, Status> {
        let request = request.into_inner();
        self.respond(Call::LeaseGrant, |store, now| {
            let (id, ttl) = store.grant(EtcdLeaseId(request.id), request.ttl, now)?;
            let header = Some(convert::header(store.header()));
            Ok(PbLeaseGrantResponse {
                header,
                id: id.0,
                ttl,
                error: String::new(),
            })
        })
        .await
    }

    async fn lease_revoke(
        &self,
        request: Request<PbLeaseRevokeRequest>,
    ) -> Result<Response<PbLeaseRevokeResponse>, Status> {
        let id = EtcdLeaseId(request.into_inner().id);
        self.respond(Call::LeaseRevoke, |store, _| {
            store.revoke(id)?;
            Ok(PbLeaseRevokeResponse {
                header: Some(convert::header(store.header())),
            })
        })
        .await
    }

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<PbLeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let (responses, stream) = mpsc::unbounded_channel();
        tokio::spawn(keep_alive(self.clone(), request.into_inner(), responses));
        Ok(Response::new(UnboundedReceiverStream::new(stream)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<PbLeaseTimeToLiveRequest>,
    ) -> Result<Response<PbLeaseTimeToLiveResponse>, Status> {
        let request = request.into_inner();
        self.respond(Call::LeaseTimeToLive, |store, now| {
            Ok(time_to_live(store, &request, now))
        })
        .await
    }

    async fn lease_leases(
        &self,
        _: Request<PbLeaseLeasesRequest>,
    ) -> Result<Response<PbLeaseLeasesResponse>, Status> {
        self.respond(Call::LeaseLeases, |store, _| {
            let leases = store
                .leases()
                .into_iter()
                .map(|id| PbLeaseStatus { id: id.0 })
                .collect();
            Ok(PbLeaseLeasesResponse {
                header: Some(convert::header(store.header())),
                leases,
            })
        })
        .await
    }
}

/// Answers each request of a keep-alive stream until the client, the server or fate ends it.
async fn keep_alive(
    member: Member,
    mut requests: Streaming<PbLeaseKeepAliveRequest>,
    responses: mpsc::UnboundedSender<Result<PbLeaseKeepAliveResponse, Status>>,
) {
    loop {
        let request = tokio::select! {
            request = requests.message() => request,
            () = member.stopped() => Err(Status::unavailable("the server stops")),
            () = responses.closed() => return,
        };
        let response = match request {
            Ok(Some(request)) => keep_alive_once(&member, EtcdLeaseId(request.id)).await,
            Ok(None) => return,
            Err(status) => Err(status),
        };
        let ends = response.is_err();
        if responses.send(response).is_err() || ends {
            return;
        }
    }
}

async fn keep_alive_once(member: &Member, id: EtcdLeaseId) -> Result<PbLeaseKeepAliveResponse, Status> {
    member
        .answer(Call::LeaseKeepAlive, |store, now| {
            let ttl = store.keep_alive(id, now).unwrap_or(0);
            Ok(PbLeaseKeepAliveResponse {
                header: Some(convert::header(store.header())),
                id: id.0,
                ttl,
            })
        })
        .await
}

/// Tells the whole seconds that a lease has left, -1 for an unknown one.
fn time_to_live(
    store: &EtcdStore,
    request: &PbLeaseTimeToLiveRequest,
    now: Instant,
) -> PbLeaseTimeToLiveResponse {
    let response = PbLeaseTimeToLiveResponse {
        header: Some(convert::header(store.header())),
        id: request.id,
        ttl: -1,
        ..PbLeaseTimeToLiveResponse::default()
    };
    let Some(lease) = store.lease(EtcdLeaseId(request.id)) else {
        return response;
    };
    let left = lease.expires.saturating_since(now).as_secs();
    PbLeaseTimeToLiveResponse {
        ttl: i64::try_from(left).unwrap_or(i64::MAX),
        granted_ttl: lease.ttl_seconds,
        keys: if request.keys { lease.keys } else { Vec::new() },
        ..response
    }
}
