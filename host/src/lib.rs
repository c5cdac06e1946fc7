//! The daemon around the engine: its event loop, and the adapters to a real TUN device, UDP, netlink and etcd.
//!
//! Everything here translates and decides nothing: what to do about leases, peers, routes and packets is the
//! engine's business ([`selvedge_engine`]). The [`event_loop`] is generic over its clock, its kernel and its
//! way to the store, so that the very same loop runs in production and in a simulated network.

pub mod cleanup;
pub mod cli;
pub mod clock;
pub mod daemon;
pub mod event_loop;
pub mod exit_code;
pub mod http;
pub mod interface;
pub mod kernel;
pub mod lab;
pub mod logging;
pub mod machine_id;
pub mod net;
pub mod plan;
pub mod program;
mod random;
pub mod recorder;
pub mod secret;
pub mod store;
pub mod supervisor;
pub mod tunnel;
