//! The real host loop with the real etcd client: what an event loop over pure engines cannot see, such as
//! reconnects, dead connections, cancelled watches and shutdown.
//!
//! Time is simulated; each test says within how much of it the cluster heals.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod connections;
mod joining;
mod leases;
mod outages;
mod recordings;
mod renewals;
mod stopping;
mod support;
mod watches;
