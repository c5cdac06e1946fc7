//! The host's Linux adapter in a network namespace of its own: devices, addresses, neighbours, routes, surveys,
//! notifications and the tunnel's thread, against the real kernel.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod doubts;
mod objects;
mod peers;
mod routes;
mod support;
mod surveys;
mod udp;
mod vxlan;
