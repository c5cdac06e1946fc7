//! Connections to the kernel's `NETLINK_ROUTE`: requests that change something, dumps, and notifications.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures::{StreamExt as _, TryStreamExt as _};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::sys::AsyncSocket as _;
use rtnetlink::{Error, Handle, MulticastGroup, RouteMessageBuilder};
use selvedge_engine::{IpVersion, LinkName};

/// Returns a value from the first attribute of a message that matches.
macro_rules! attribute {
    ($message:expr, $pattern:pat => $value:expr) => {
        $message
            .attributes
            .iter()
            .find_map(|attribute| if let $pattern = attribute { $value } else { None })
    };
}
pub(super) use attribute;

/// A message that the kernel sends by itself.
pub(super) type Notification = NetlinkMessage<RouteNetlinkMessage>;

/// Messages that the kernel sends by itself.
pub(super) type Notifications =
    futures::channel::mpsc::UnboundedReceiver<(Notification, rtnetlink::sys::SocketAddr)>;

/// How many bytes of notifications the kernel keeps for us: those of several thousand changes.
const NOTIFICATION_BUFFER: usize = 4 << 20;

/// What becomes of an object that has the place already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mode {
    /// It stays.
    Ensure,
    /// It is replaced.
    Replace,
}

impl Mode {
    /// Returns the flags of a request that makes an object.
    pub(super) const fn flags(self) -> u16 {
        match self {
            Self::Ensure => NLM_F_CREATE | NLM_F_EXCL,
            Self::Replace => NLM_F_CREATE | NLM_F_REPLACE,
        }
    }
}

/// A connection for requests.
#[derive(Clone, Debug)]
pub(crate) struct Netlink {
    handle: Handle,
    port: u32,
}

impl Netlink {
    /// Opens a connection in the current network namespace; must be called inside a tokio runtime.
    pub(crate) fn open() -> io::Result<Self> {
        let (mut connection, handle, _) = rtnetlink::new_connection()?;
        // Without this a request on a connection that has ended would look like one that succeeded.
        connection.set_forward_ack(true);
        let address = connection.socket_mut().socket_mut().bind_auto()?;
        tokio::spawn(connection);
        Ok(Self {
            handle,
            port: address.port_number(),
        })
    }

    /// Opens a connection on which the kernel tells about devices, addresses, neighbours and routes.
    pub(super) fn subscribe() -> io::Result<Notifications> {
        let (mut connection, _, notifications) = rtnetlink::new_multicast_connection(&[
            MulticastGroup::Link,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv6Route,
        ])?;
        let socket = connection.socket_mut().socket_mut();
        if let Err(error) = setsockopt(socket, sockopt::RcvBufForce, &NOTIFICATION_BUFFER) {
            // The kernel's default is enough for all but bursts.
            tracing::debug!(%error, "cannot enlarge the buffer for notifications");
        }
        tokio::spawn(connection);
        Ok(notifications)
    }

    /// Returns the port that the kernel names in notifications of what this connection did.
    pub(super) const fn port(&self) -> u32 {
        self.port
    }

    /// Sends a request that changes something, at once; the future waits for the kernel's acknowledgement.
    ///
    /// The kernel carries out requests in the order in which they are sent.
    pub(super) fn change(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> impl Future<Output = io::Result<()>> + use<> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let answers = self.handle.clone().request(request);
        async move {
            let mut answers = answers.map_err(into_io)?;
            while let Some(answer) = answers.next().await {
                if let NetlinkPayload::Error(outcome) = answer.payload {
                    return outcome.code.map_or(Ok(()), |_| Err(outcome.to_io()));
                }
            }
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    /// Finds a device by its name.
    pub(super) async fn link(&self, name: &LinkName) -> io::Result<Option<LinkMessage>> {
        let request = self.handle.link().get().match_name(name.0.as_str());
        match request.execute().boxed().try_next().await.map_err(into_io) {
            Err(error) if is(&error, Errno::ENODEV) => Ok(None),
            found => found,
        }
    }

    /// Lists the devices.
    pub(super) async fn links(&self) -> io::Result<Vec<LinkMessage>> {
        let links = self.handle.link().get().execute();
        links.try_collect().await.map_err(into_io)
    }

    /// Lists the addresses of all devices, in the kernel's order.
    pub(super) async fn addresses(&self) -> io::Result<Vec<AddressMessage>> {
        let addresses = self.handle.address().get().execute();
        addresses.try_collect().await.map_err(into_io)
    }

    /// Lists the routes of all tables, in the kernel's order.
    pub(super) async fn routes(&self, version: IpVersion) -> io::Result<Vec<RouteMessage>> {
        let filter = match version {
            IpVersion::V4 => RouteMessageBuilder::<Ipv4Addr>::new().build(),
            IpVersion::V6 => RouteMessageBuilder::<Ipv6Addr>::new().build(),
        };
        let routes = self.handle.route().get(filter).execute();
        routes.try_collect().await.map_err(into_io)
    }

    /// Lists the neighbours of both IP versions on all devices.
    pub(super) async fn neighbours(&self) -> io::Result<Vec<NeighbourMessage>> {
        let neighbours = self.handle.neighbours().get().execute();
        neighbours.try_collect().await.map_err(into_io)
    }

    /// Lists the forwarding entries of all devices.
    pub(super) async fn fdb(&self) -> io::Result<Vec<NeighbourMessage>> {
        let request = self.handle.neighbours().get();
        let entries = request.set_address_family(AddressFamily::Bridge).execute();
        entries.try_collect().await.map_err(into_io)
    }

    /// Asks for the way that a packet to `destination` would take.
    pub(super) async fn way_to(&self, destination: IpAddr) -> io::Result<RouteMessage> {
        let bits = if destination.is_ipv4() { 32 } else { 128 };
        let wanted = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(destination, bits)
            .map_err(io::Error::other)?
            .build();
        let mut routes = self.handle.route().get(wanted).execute().boxed();
        let route = routes.try_next().await.map_err(into_io)?;
        route.ok_or_else(|| Errno::ENETUNREACH.into())
    }
}

/// What became of something that was to be removed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Removal {
    /// It was there.
    Removed,
    /// It was not.
    Absent,
}

/// Takes these reasons for not deleting something as its absence.
pub(super) fn removal(result: io::Result<()>, absent: &[Errno]) -> io::Result<Removal> {
    match result {
        Ok(()) => Ok(Removal::Removed),
        Err(error) if absent.iter().any(|errno| is(&error, *errno)) => Ok(Removal::Absent),
        Err(error) => Err(error),
    }
}

/// Tells whether the kernel gave this reason.
pub(super) fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

fn into_io(error: Error) -> io::Error {
    if let Error::NetlinkError(message) = error {
        return message.to_io();
    }
    io::Error::other(error)
}
