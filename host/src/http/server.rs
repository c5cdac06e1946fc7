//! The HTTP server: HTTP/1.1, one request to a connection, and limits on everything that a client decides about.
//!
//! The newest connections are served: when there are too many, the oldest is closed, so that whoever opens many and says
//! nothing keeps no one else out. Bodies of requests are not read.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use super::pages::{Pages, Visitor};
use crate::net::Listener;

/// How many connections there are at most.
const MAX_CONNECTIONS: usize = 16;
/// How many bytes the head of a request may have, and how many lines.
const MAX_HEAD: (usize, usize) = (8 << 10, 32);
/// How long a client has for the head of its request, and for everything.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(8));
/// How long nothing is accepted after that failed, for example because there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves for ever.
pub(super) async fn serve(listener: Listener, pages: Pages) {
    let pages = Arc::new(pages);
    let mut connections = Connections::default();
    loop {
        match listener.accept().await {
            Ok((stream, ends)) => {
                let visitor = if ends.is_on_this_node() {
                    Visitor::Node
                } else {
                    Visitor::Stranger
                };
                let served = serve_connection(stream, visitor, Arc::clone(&pages));
                connections.add(tokio::spawn(served));
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection.
async fn serve_connection<S>(stream: S, visitor: Visitor, pages: Arc<Pages>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| answer(request, visitor, &pages));
    let connection = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE.0)
        .max_buf_size(MAX_HEAD.0)
        .max_headers(MAX_HEAD.1)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(PATIENCE.1, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection to the health port ended"),
        Err(_) => tracing::debug!("a connection to the health port took too long"),
    }
}

async fn answer(
    request: Request<Incoming>,
    visitor: Visitor,
    pages: &Pages,
) -> Result<Response<String>, Infallible> {
    Ok(pages
        .answer(request.method(), request.uri().path(), visitor)
        .await)
}

/// The connections that are served, the oldest first.
#[derive(Debug, Default)]
struct Connections(VecDeque<JoinHandle<()>>);

impl Connections {
    /// Adds one; if there are too many, the oldest ends.
    fn add(&mut self, connection: JoinHandle<()>) {
        self.0.retain(|connection| !connection.is_finished());
        if self.0.len() >= MAX_CONNECTIONS
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
        self.0.push_back(connection);
    }
}

#[cfg(test)]
mod tests;
