//! What the tests that cross packages share.

pub mod etcd;
pub mod skip;
