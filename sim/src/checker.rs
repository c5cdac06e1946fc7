//! The invariants that every run is checked against, one file each.
//!
//! A checker is told what happened and what the model knows; what it finds is a value. None of them looks into the
//! engine: they judge what it does.
//!
//! # The rules, who checks them, and what shows that they do
//!
//! The rules are those of faults.md, 1. A canary is a [`crate::Sabotage`] that the checker has to notice; the table of
//! `tests/canaries.rs` runs them all, and no invariant goes without.
//!
//! | rule | checker | it looks | canaries |
//! |---|---|---|---|
//! | I1 single owner: leases, writes | [`single_owner`] | at every write to the store | `WriteBlindly` |
//! | I1 single owner: what nodes carry | [`single_owner`] | every second | `CarryOn` |
//! | I1 single owner: sending | [`right_peer`] | at every datagram sent | `SendToOldPeer`, `Impersonate` |
//! | I1 single owner: accepting | [`source_binding`] | at every packet that a node of ours takes, where membership is enforced | `TakeAnySource` |
//! | I1s strict mode | [`one_data_path`] | at every change of a node's table and kernel and every second, where nodes fence themselves | `IgnoreFence` |
//! | I2 convergence | [`convergence`] | every second, at nodes of ours that had the time to learn everything | `KeepGoneRoutes`, `KeepStalePeers` |
//! | I2 convergence: leases of nodes that moved | [`announcement`] | every second, at nodes of ours that had the time to write | `KeepOldAddress` |
//! | I2 at the end | [`at_rest`] | when the scenario is over, and by a probe between every pair, or many pairs of many nodes | `SitIdle` |
//! | I3 identity | [`identity`] | at every lease that a node of ours creates | `ForgetItself` |
//! | I4 one datagram for a packet, ICMP errors | [`amplification`] | at every packet of a forwarder of ours | `SendTwice`, `AnswerNoise`, `AnswerEverything` |
//! | I4 time to live, loops | [`hop_limit`] | at every packet passed on | `KeepTtl` |
//! | I5 memory | [`bounds`] | after every input of an engine | `Hoard` |
//! | I5 crashes | a panic ends the run by itself; [`survival`] for flanneld | at the end of a daemon | flannel's model |
//! | I6 foreign state | [`foreign_state`] | every second | `DeleteForeignRoute` |
//! | I7 fail static | [`fail_static`] | after every input of an engine | `ForgetPeers`, `ForgetPeersWithStore` |
//! | I8 idempotence | [`idempotence`] | at rest | `SetOtherwise` |
//! | I9 replay | [`replay`] | at one seed of 64 of a campaign | `DrawElsewhere` |
//! | I10 monotone | [`monotone`] | after every input of an engine | `HideRestart`, `ActOnOldNews` |
//!
//! What else simulator.md, 3 asks for:
//!
//! | rule | checker | it looks | canaries |
//! |---|---|---|---|
//! | liveness of a core | [`liveness`] | 90 seconds after a core healed, and when the scenario is over | `Despair` |
//! | the engine's contract | [`contract`] | after every input of an engine | `StayDue`, `GiveUp` |
//! | a probe's fate | [`delivery`] | at every drop and every arrival | `LosePackets` |
//! | packets on the wire | [`wire_format`] | at every datagram and frame sent | `BreakChecksums` |
//! | requests to the store | [`store_requests`] | at every request and watch | `AskTwice`, `AskInVain`, `OpenManyWatches` |
//! | records in the store | [`store_values`] | at every write to the store | `WriteIllegibly` |
//! | reservations | [`reservation`] | at every write to the store | `EndReservations` |
//! | the forwarder's counters | [`counters`] | every second, and at rest | `Miscount` |
//! | an author's own check | [`crate::Cluster::check_at`] | when the author says | a check that refuses |

pub(crate) mod amplification;
pub(crate) mod announcement;
pub(crate) mod at_rest;
pub(crate) mod bounds;
pub(crate) mod contract;
pub(crate) mod convergence;
pub(crate) mod counters;
pub(crate) mod delivery;
pub(crate) mod fail_static;
pub(crate) mod foreign_state;
pub(crate) mod hop_limit;
pub(crate) mod idempotence;
pub(crate) mod identity;
pub(crate) mod liveness;
pub(crate) mod monotone;
pub(crate) mod one_data_path;
pub(crate) mod replay;
pub(crate) mod reservation;
pub(crate) mod right_peer;
pub(crate) mod single_owner;
pub(crate) mod source_binding;
pub(crate) mod store_requests;
pub(crate) mod store_values;
pub(crate) mod survival;
pub(crate) mod twins;
pub(crate) mod wire_format;

use crate::violation::Finding;

/// What a checker says: nothing, or what is wrong.
pub(crate) type Verdict = Result<(), Finding>;
