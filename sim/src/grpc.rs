//! The [`EtcdStore`](crate::EtcdStore) behind etcd's gRPC services, for real clients.
//!
//! [`serve`] listens on TCP; [`serve_incoming`] takes any stream of connections, simulated ones too. Time is
//! tokio's clock, so that it may be paused. A [`SharedStore`] outlives its servers and lets its owner look into
//! the store and act on it meanwhile:
//!
//! ```
//! use selvedge_sim::grpc::{SharedStore, serve};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = SharedStore::new(0x5e1f);
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let endpoint = listener.local_addr()?.to_string();
//! let server = tokio::spawn(serve(store.clone(), listener, std::future::pending()));
//!
//! let mut client = etcd_client::Client::connect([endpoint], None).await?;
//! client.put("/coreos.com/network/config", "{}", None).await?;
//!
//! let config = store.act(|store, _now| store.get(b"/coreos.com/network/config").cloned());
//! assert_eq!(config.map(|kv| kv.value.clone()), Some(b"{}".to_vec()));
//! # server.abort();
//! # Ok(())
//! # }
//! ```

mod convert;
mod fate;
mod kv;
mod lease;
mod maintenance;
mod member;
mod shared_store;
#[cfg(test)]
mod tests;
mod watch;

use std::future::Future;

use etcd_client::proto::{PbClusterServer, PbKvServer, PbLeaseServer, PbMaintenanceServer, PbWatchServer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch as signal;
use tokio_stream::Stream;
use tonic::transport::Server;
use tonic::transport::server::{Connected, TcpIncoming};

pub use fate::{Call, Fate};
pub use shared_store::SharedStore;

use member::Member;

/// Serves clients that connect to `listener` until `shutdown` resolves; streams then end.
///
/// # Errors
///
/// Fails if accepting connections fails for good.
pub async fn serve(
    store: SharedStore,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    serve_incoming(store, incoming, shutdown).await
}

/// Serves the clients of a stream of connections until `shutdown` resolves; streams then end.
///
/// Several servers may share one store and then look like members of one cluster to its clients. Etcd leases
/// expire only while one of them runs.
///
/// # Errors
///
/// Fails if the stream of connections fails.
pub async fn serve_incoming<C, E>(
    store: SharedStore,
    incoming: impl Stream<Item = Result<C, E>>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error>
where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (stop, stopped) = signal::channel(());
    let member = Member::new(store, stopped);
    let services = Server::builder()
        .add_service(PbKvServer::new(member.clone()))
        .add_service(PbLeaseServer::new(member.clone()))
        .add_service(PbWatchServer::new(member.clone()))
        .add_service(PbMaintenanceServer::new(member.clone()))
        .add_service(PbClusterServer::new(member.clone()));
    let server = services.serve_with_incoming_shutdown(incoming, async move {
        shutdown.await;
        drop(stop);
    });
    tokio::select! {
        result = server => result,
        never = member.expire_leases() => match never {},
    }
}
