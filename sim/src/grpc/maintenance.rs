//! As much of etcd's `Maintenance` and `Cluster` services as ordinary clients need.

use std::pin::Pin;

use etcd_client::proto::{
    PbAlarmRequest, PbAlarmResponse, PbClusterService, PbDefragmentRequest, PbDefragmentResponse,
    PbDowngradeRequest, PbDowngradeResponse, PbHashKvRequest, PbHashKvResponse, PbHashRequest,
    PbHashResponse, PbMaintenanceService, PbMember, PbMemberAddRequest, PbMemberAddResponse,
    PbMemberListRequest, PbMemberListResponse, PbMemberPromoteRequest, PbMemberPromoteResponse,
    PbMemberRemoveRequest, PbMemberRemoveResponse, PbMemberUpdateRequest, PbMemberUpdateResponse,
    PbMoveLeaderRequest, PbMoveLeaderResponse, PbSnapshotRequest, PbSnapshotResponse, PbStatusRequest,
    PbStatusResponse,
};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::convert;
use super::fate::Call;
use super::member::Member;

/// The version of etcd whose answers the store gives.
const VERSION: &str = "3.4.23";

#[tonic::async_trait]
impl PbMaintenanceService for Member {
    type SnapshotStream = Pin<Box<dyn Stream<Item = Result<PbSnapshotResponse, Status>> + Send>>;

    async fn alarm(&self, _: Request<PbAlarmRequest>) -> Result<Response<PbAlarmResponse>, Status> {
        self.respond(Call::Maintenance, |store, _| {
            Ok(PbAlarmResponse {
                header: Some(convert::header(store.header())),
                alarms: Vec::new(),
            })
        })
        .await
    }

    async fn status(&self, _: Request<PbStatusRequest>) -> Result<Response<PbStatusResponse>, Status> {
        self.respond(Call::Maintenance, |store, _| {
            let header = store.header();
            let index = u64::try_from(header.revision.0).unwrap_or(0);
            Ok(PbStatusResponse {
                header: Some(convert::header(header)),
                version: VERSION.to_owned(),
                leader: header.member_id,
                raft_index: index,
                raft_term: header.raft_term,
                raft_applied_index: index,
                ..PbStatusResponse::default()
            })
        })
        .await
    }

    async fn defragment(
        &self,
        _: Request<PbDefragmentRequest>,
    ) -> Result<Response<PbDefragmentResponse>, Status> {
        self.respond(Call::Maintenance, |store, _| {
            Ok(PbDefragmentResponse {
                header: Some(convert::header(store.header())),
            })
        })
        .await
    }

    async fn hash(&self, _: Request<PbHashRequest>) -> Result<Response<PbHashResponse>, Status> {
        Err(not_modelled("Hash"))
    }

    async fn hash_kv(&self, _: Request<PbHashKvRequest>) -> Result<Response<PbHashKvResponse>, Status> {
        Err(not_modelled("HashKV"))
    }

    async fn snapshot(
        &self,
        _: Request<PbSnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        Err(not_modelled("Snapshot"))
    }

    async fn move_leader(
        &self,
        _: Request<PbMoveLeaderRequest>,
    ) -> Result<Response<PbMoveLeaderResponse>, Status> {
        Err(not_modelled("MoveLeader"))
    }

    async fn downgrade(
        &self,
        _: Request<PbDowngradeRequest>,
    ) -> Result<Response<PbDowngradeResponse>, Status> {
        Err(not_modelled("Downgrade"))
    }
}

#[tonic::async_trait]
impl PbClusterService for Member {
    async fn member_add(
        &self,
        _: Request<PbMemberAddRequest>,
    ) -> Result<Response<PbMemberAddResponse>, Status> {
        Err(not_modelled("MemberAdd"))
    }

    async fn member_remove(
        &self,
        _: Request<PbMemberRemoveRequest>,
    ) -> Result<Response<PbMemberRemoveResponse>, Status> {
        Err(not_modelled("MemberRemove"))
    }

    async fn member_update(
        &self,
        _: Request<PbMemberUpdateRequest>,
    ) -> Result<Response<PbMemberUpdateResponse>, Status> {
        Err(not_modelled("MemberUpdate"))
    }

    async fn member_list(
        &self,
        _: Request<PbMemberListRequest>,
    ) -> Result<Response<PbMemberListResponse>, Status> {
        self.respond(Call::Maintenance, |store, _| {
            let header = store.header();
            let member = PbMember {
                id: header.member_id,
                name: "selvedge-sim".to_owned(),
                ..PbMember::default()
            };
            Ok(PbMemberListResponse {
                header: Some(convert::header(header)),
                members: vec![member],
            })
        })
        .await
    }

    async fn member_promote(
        &self,
        _: Request<PbMemberPromoteRequest>,
    ) -> Result<Response<PbMemberPromoteResponse>, Status> {
        Err(not_modelled("MemberPromote"))
    }
}

fn not_modelled(method: &str) -> Status {
    Status::unimplemented(format!("the store model does not offer {method}"))
}
