//! What the tests that cross packages share.

pub mod engine_and_store;
pub mod etcd;
pub mod requirement;
pub mod skip;
