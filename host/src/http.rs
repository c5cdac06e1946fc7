//! What the daemon says about itself over HTTP: health, readiness, metrics and status.
//!
//! It runs on a thread of its own, so that it can tell of an event loop that does not turn, and asks the loop only when
//! it is asked itself: the loop's wake-ups cost nothing more. Connections, sizes, times and
//! questions are limited, so that nobody can hold or flood the daemon by it.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 if the event loop turns, else 503 |
//! | `/readyz` | 200 if the node carries traffic as the leases say, else 503 and why not, line by line |
//! | `/metrics` | counters and gauges, as `OpenMetrics` text |
//! | `/status` | all that is known, as JSON |
//!
//! The first two, and their first lines, are flannel's (control-plane.md, 11).

mod fresh;
pub mod inquiry;
mod metrics;
mod pages;
pub mod report;
mod server;
mod status;
pub mod tally;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use self::inquiry::Inquirer;
use self::pages::Pages;
use crate::net::Listener;
use crate::tunnel::TunnelProbe;

/// The first and the longest pause between two tries to listen.
const LISTEN_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Where the daemon answers, and to whom.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HttpOptions {
    /// The address.
    pub address: SocketAddr,
    /// Who may read metrics and status.
    pub audience: Audience,
}

/// Who may read metrics and status, which tell of peers and addresses; health and readiness are for everybody.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Audience {
    /// Programs on this node.
    Node,
    /// Everybody who reaches the address.
    Everybody,
}

/// Answers from now on, on a thread of its own; a port that is taken is waited for.
///
/// # Errors
///
/// If the thread or its runtime cannot be made.
pub fn start(options: HttpOptions, inquirer: Inquirer, probe: TunnelProbe) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let pages = Pages::new(options.audience, inquirer, probe);
    std::thread::Builder::new()
        .name("selvedge-http".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                let listener = listen(options.address).await;
                server::serve(listener, pages).await;
            });
        })?;
    Ok(())
}

/// Listens as soon as it can, and says once why it cannot yet.
async fn listen(address: SocketAddr) -> Listener {
    let (mut pause, longest) = LISTEN_PAUSE;
    let mut told = None;
    loop {
        let error = match bind(address).await {
            Ok(listener) => return listener,
            Err(error) => error,
        };
        if told.replace(error.kind()) == Some(error.kind()) {
            tracing::debug!("cannot listen on {address}: {error}; trying again in {pause:?}");
        } else {
            tracing::warn!(
                "cannot listen on {address} for --healthz-port: {error}; trying again until it works, and carrying \
                 traffic meanwhile"
            );
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

async fn bind(address: SocketAddr) -> io::Result<Listener> {
    let listener = Listener::bind(address).await?;
    tracing::info!("health, metrics and status are at http://{}", listener.address()?);
    Ok(listener)
}
