//! The invariants that every run is checked against, one file each.
//!
//! A checker is told what happened and what the model knows; what it finds is a value. None of them looks into the
//! engine: they judge what it does.

pub(crate) mod amplification;
pub(crate) mod at_rest;
pub(crate) mod contract;
pub(crate) mod convergence;
pub(crate) mod counters;
pub(crate) mod delivery;
pub(crate) mod foreign_state;
pub(crate) mod hop_limit;
pub(crate) mod idempotence;
pub(crate) mod reservation;
pub(crate) mod right_peer;
pub(crate) mod single_owner;
pub(crate) mod source_binding;
pub(crate) mod store_requests;
pub(crate) mod store_values;
pub(crate) mod survival;
pub(crate) mod wire_format;

use crate::violation::Finding;

/// What a checker says: nothing, or what is wrong.
pub(crate) type Verdict = Result<(), Finding>;
