//! What kinds of events are called.

use super::Event;

impl Event {
    /// Returns the name of its kind, for counters.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::StoreUnreachable { .. } => "store_unreachable",
            Self::StoreReached => "store_reached",
            Self::ConfigMissing { .. } => "config_missing",
            Self::ConfigInvalid { .. } => "config_invalid",
            Self::ConfigKeyUnknown { .. } => "config_key_unknown",
            Self::ConfigUnused { .. } => "config_unused",
            Self::LeaseAcquired { .. } => "lease_acquired",
            Self::CreateRaceLost { .. } => "create_race_lost",
            Self::SubnetsExhausted { .. } => "subnets_exhausted",
            Self::LeaseRenewed { .. } => "lease_renewed",
            Self::LeaseLost { .. } => "lease_lost",
            Self::LeaseClaimed { .. } => "lease_claimed",
            Self::LeaseResumed { .. } => "lease_resumed",
            Self::PublicIpContested { .. } => "public_ip_contested",
            Self::DuplicatePublicIp { .. } => "duplicate_public_ip",
            Self::Fenced { .. } => "fenced",
            Self::PeerAdded { .. } => "peer_added",
            Self::PeerRemoved { .. } => "peer_removed",
            Self::PeersChanged { .. } => "peers_changed",
            Self::PeersStale { .. } => "peers_stale",
            Self::RecordRejected { .. } => "record_rejected",
            Self::RecordsRejected { .. } => "records_rejected",
            Self::TooManyRecords { .. } => "too_many_records",
            Self::Relisted { .. } => "relisted",
            Self::ChangeMissed { .. } => "change_missed",
            Self::StoreRestarted { .. } => "store_restarted",
            Self::KernelFailed { .. } => "kernel_failed",
            Self::SurveyFailed { .. } => "survey_failed",
            Self::UnderlayChanged { .. } => "underlay_changed",
            Self::PeerOffLink { .. } => "peer_off_link",
            Self::KernelRepairing { .. } => "kernel_repairing",
            Self::Ready => "ready",
        }
    }
}
