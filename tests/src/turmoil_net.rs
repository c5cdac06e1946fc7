//! The host's ways to the world, over turmoil's network.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use etcd_client::Channel;
use futures::Stream;
use hyper_util::rt::TokioIo;
use selvedge_engine::Instant;
use selvedge_host::clock::Clock;
use selvedge_host::store::endpoint::Endpoint;
use selvedge_host::store::transport;
use selvedge_host::tunnel::worker::{PacketSocket, ReceiveBuffers};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::Uri;
use tonic::transport::server::Connected;
use turmoil::net::{TcpListener, TcpStream, UdpSocket};

/// The simulation's time, which goes on while a host is down, and what a machine slept besides.
#[derive(Clone, Debug, Default)]
pub struct SimClock {
    slept: Arc<Mutex<Duration>>,
}

impl SimClock {
    /// Jumps ahead, as after the machine was suspended: timers stood still meanwhile.
    pub fn jump(&self, time: Duration) {
        *self.slept.lock().unwrap_or_else(PoisonError::into_inner) += time;
    }
}

impl Clock for SimClock {
    fn now(&self) -> Instant {
        let slept = *self.slept.lock().unwrap_or_else(PoisonError::into_inner);
        Instant::ZERO + turmoil::sim_elapsed().unwrap_or_default() + slept
    }
}

/// Makes the way to an etcd member over simulated TCP, with the production settings.
pub fn channel(endpoint: &Endpoint) -> Channel {
    let connector = tower::service_fn(|uri: Uri| async move {
        let host = uri.host().unwrap_or_default().to_owned();
        let port = uri.port_u16().unwrap_or(2379);
        TcpStream::connect((host, port)).await.map(TokioIo::new)
    });
    Channel::Tonic(transport(endpoint).connect_with_connector_lazy(connector))
}

/// Accepts connections on a port of the current host.
///
/// # Errors
///
/// Fails if the port is taken.
pub async fn incoming(port: u16) -> io::Result<impl Stream<Item = io::Result<Connection>>> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
    Ok(futures::stream::unfold(listener, |listener| async move {
        let accepted = listener.accept().await;
        Some((accepted.map(|(stream, _)| Connection(stream)), listener))
    }))
}

/// A connection that a server accepted.
#[derive(Debug)]
pub struct Connection(TcpStream);

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The tunnel's socket, over simulated UDP.
#[derive(Debug)]
pub struct SimUdp(UdpSocket);

impl SimUdp {
    /// Opens a socket on a port of the current host, which has one address.
    ///
    /// # Errors
    ///
    /// Fails if the port is taken.
    pub async fn bind(port: u16) -> io::Result<Self> {
        Ok(Self(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).await?))
    }
}

impl PacketSocket for SimUdp {
    async fn readable(&self) -> io::Result<()> {
        self.0.readable().await
    }

    fn try_recv(&self, buffers: &mut ReceiveBuffers) -> io::Result<()> {
        buffers.receive_one(|packet| self.0.try_recv_from(packet))
    }

    fn try_send(&self, parts: &[IoSlice<'_>], to: SocketAddrV4, _segment_len: Option<u16>) -> io::Result<()> {
        let packet: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        self.0.try_send_to(&packet, to).map(drop)
    }
}
