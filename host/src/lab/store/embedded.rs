//! The simulator's model of etcd, served to real daemons.

use std::future::pending;
use std::io;
use std::net::SocketAddr;

use selvedge_sim::grpc::{SharedStore, serve as serve_store};
use tokio::net::TcpListener;

use super::super::error::{IoContext, LabError};

/// Serves until it is ended.
///
/// # Errors
///
/// [`LabError::Io`] if the address cannot be bound.
pub(in crate::lab) fn serve(listen: SocketAddr) -> Result<(), LabError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .trying(|| "starting the store".to_owned())?;
    runtime
        .block_on(async {
            let listener = TcpListener::bind(listen).await?;
            // The cluster's id differs from run to run, as that of a new etcd does.
            let store = SharedStore::new(u64::from(std::process::id()));
            serve_store(store, listener, pending())
                .await
                .map_err(io::Error::other)
        })
        .trying(|| format!("serving the store at {listen}"))
}
