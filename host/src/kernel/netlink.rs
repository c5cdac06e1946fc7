//! Devices, addresses and routes by netlink.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures::{StreamExt as _, TryStreamExt as _};
use netlink_packet_core::NetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;
use rtnetlink::{AddressMessageBuilder, Error, Handle, LinkUnspec, MulticastGroup, RouteMessageBuilder};
use selvedge_engine::{Address, KernelError, KernelErrorKind, Link, ROUTE_PROTOCOL, Route};

use super::error::Attempt;

/// Returns a value from the first attribute of a message that matches.
macro_rules! attribute {
    ($message:expr, $pattern:pat => $value:expr) => {
        $message
            .attributes
            .iter()
            .find_map(|attribute| if let $pattern = attribute { $value } else { None })
    };
}
pub(crate) use attribute;

/// Messages that the kernel sends by itself.
pub(crate) type Notifications = futures::channel::mpsc::UnboundedReceiver<(
    NetlinkMessage<RouteNetlinkMessage>,
    rtnetlink::sys::SocketAddr,
)>;

/// A connection to the kernel's `NETLINK_ROUTE`.
#[derive(Clone, Debug)]
pub(crate) struct Netlink {
    handle: Handle,
}

impl Netlink {
    /// Opens a connection in the current network namespace; must be called inside a tokio runtime.
    pub(crate) fn open() -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// Opens a connection on which the kernel tells about devices, IPv4 addresses and IPv4 routes.
    pub(crate) fn subscribe() -> io::Result<Notifications> {
        let (connection, _, notifications) = rtnetlink::new_multicast_connection(&[
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv4Route,
        ])?;
        tokio::spawn(connection);
        Ok(notifications)
    }

    /// Sets a device's name and MTU, and sets it up.
    pub(super) async fn set_link(&self, index: u32, link: &Link) -> io::Result<()> {
        let message = LinkUnspec::new_with_index(index)
            .name(link.name.0.as_str())
            .mtu(link.mtu)
            .up()
            .build();
        self.handle.link().set(message).execute().await.map_err(into_io)
    }

    /// Adds an address with scope global, without broadcast address and label; one that is there is fine.
    pub(super) async fn add_address(&self, index: u32, address: &Address) -> io::Result<()> {
        let mut request =
            self.handle
                .address()
                .add(index, address.net.addr().into(), address.net.prefix_len());
        request
            .message_mut()
            .attributes
            .retain(|attribute| !matches!(attribute, AddressAttribute::Broadcast(_)));
        ignoring(Errno::EEXIST, request.execute().await)
    }

    /// Deletes an address; one that is not there is fine.
    pub(super) async fn delete_address(&self, index: u32, address: &Address) -> io::Result<()> {
        let message = AddressMessageBuilder::<Ipv4Addr>::new()
            .index(index)
            .address(address.net.addr(), address.net.prefix_len())
            .build();
        ignoring(
            Errno::EADDRNOTAVAIL,
            self.handle.address().del(message).execute().await,
        )
    }

    /// Adds a route marked as ours; an equal one is fine, one of ours through another device is replaced, and
    /// another's is left alone.
    pub(super) async fn add_route(&self, index: u32, route: &Route) -> Result<(), KernelError> {
        let message = route_message(index, route);
        let attempt = Attempt::Route(route.clone());
        let added = self.handle.route().add(message.clone()).execute().await;
        match added.map_err(into_io) {
            Ok(()) => return Ok(()),
            Err(error) if is(&error, Errno::EEXIST) => {}
            Err(error) => return Err(attempt.failed(&error)),
        }

        let present = self
            .routes()
            .await
            .map_err(|error| attempt.failed(&error))?
            .into_iter()
            .find(|present| competes(present, route));
        match present {
            Some(present) if is_through(&present, index) => Ok(()),
            Some(present) if is_ours(&present) => {
                let replaced = self.handle.route().add(message).replace().execute().await;
                replaced.map_err(|error| attempt.failed(&into_io(error)))
            }
            Some(present) => Err(taken(route, &present)),
            // It vanished in the meantime.
            None => Err(attempt.failed(&Errno::EEXIST.into())),
        }
    }

    /// Deletes a route if it is marked as ours; one that is not there is fine.
    pub(super) async fn delete_route(&self, index: u32, route: &Route) -> io::Result<()> {
        let message = route_message(index, route);
        ignoring(Errno::ESRCH, self.handle.route().del(message).execute().await)
    }

    /// Lists the devices.
    pub(crate) async fn links(&self) -> io::Result<Vec<LinkMessage>> {
        let links = self.handle.link().get().execute();
        links.try_collect().await.map_err(into_io)
    }

    /// Lists the addresses of all devices, in the kernel's order.
    pub(crate) async fn addresses(&self) -> io::Result<Vec<AddressMessage>> {
        let addresses = self.handle.address().get().execute();
        addresses.try_collect().await.map_err(into_io)
    }

    /// Lists the IPv4 routes of the main table, in the kernel's order.
    pub(crate) async fn routes(&self) -> io::Result<Vec<RouteMessage>> {
        self.main_routes(RouteMessageBuilder::<Ipv4Addr>::new().build())
            .await
    }

    /// Lists the IPv6 routes of the main table, in the kernel's order.
    pub(crate) async fn routes_v6(&self) -> io::Result<Vec<RouteMessage>> {
        self.main_routes(RouteMessageBuilder::<Ipv6Addr>::new().build())
            .await
    }

    /// Asks for the way that a packet to `destination` would take.
    pub(crate) async fn way_to(&self, destination: IpAddr) -> io::Result<RouteMessage> {
        let bits = if destination.is_ipv4() { 32 } else { 128 };
        let wanted = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(destination, bits)
            .map_err(io::Error::other)?
            .build();
        let mut routes = self.handle.route().get(wanted).execute().boxed();
        let route = routes.try_next().await.map_err(into_io)?;
        route.ok_or_else(|| Errno::ENETUNREACH.into())
    }

    async fn main_routes(&self, filter: RouteMessage) -> io::Result<Vec<RouteMessage>> {
        let routes = self.handle.route().get(filter).execute();
        routes
            .try_filter(|route| std::future::ready(table(route) == u32::from(RouteHeader::RT_TABLE_MAIN)))
            .boxed()
            .try_collect()
            .await
            .map_err(into_io)
    }
}

/// Returns the destination of a route, the unspecified address for a default route.
pub(crate) fn destination(route: &RouteMessage) -> IpAddr {
    attribute!(route, RouteAttribute::Destination(address) => ip(address))
        .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// Returns the source address that a route prefers.
pub(crate) fn preferred_source(route: &RouteMessage) -> Option<IpAddr> {
    attribute!(route, RouteAttribute::PrefSource(address) => ip(address))
}

/// Returns the device of a route with one next hop.
pub(crate) fn output(route: &RouteMessage) -> Option<u32> {
    attribute!(route, RouteAttribute::Oif(index) => Some(*index))
}

/// Tells whether a route carries our mark.
pub(super) fn is_ours(route: &RouteMessage) -> bool {
    route.header.protocol == RouteProtocol::from(ROUTE_PROTOCOL)
}

/// Returns the routing table of a route.
pub(super) fn table(route: &RouteMessage) -> u32 {
    attribute!(route, RouteAttribute::Table(table) => Some(*table))
        .unwrap_or_else(|| u32::from(route.header.table))
}

pub(super) fn route_message(index: u32, route: &Route) -> RouteMessage {
    RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(route.destination.network(), route.destination.prefix_len())
        .output_interface(index)
        .protocol(RouteProtocol::from(ROUTE_PROTOCOL))
        .build()
}

/// Tells whether the kernel takes two routes for the same: destination, TOS and priority are equal.
pub(super) fn competes(present: &RouteMessage, wanted: &Route) -> bool {
    let priority = attribute!(present, RouteAttribute::Priority(priority) => Some(*priority));
    present.header.address_family == AddressFamily::Inet
        && destination(present) == IpAddr::V4(wanted.destination.network())
        && present.header.destination_prefix_length == wanted.destination.prefix_len()
        && present.header.tos == 0
        && priority.unwrap_or(0) == 0
}

/// Tells whether a route is a unicast route through a device, without a gateway.
pub(super) fn is_through(route: &RouteMessage, index: u32) -> bool {
    let gateway = route
        .attributes
        .iter()
        .any(|attribute| matches!(attribute, RouteAttribute::Gateway(_) | RouteAttribute::Via(_)));
    output(route) == Some(index) && route.header.kind == RouteType::Unicast && !gateway
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    if let RouteAddress::Inet(address) = address {
        return Some(IpAddr::V4(*address));
    }
    if let RouteAddress::Inet6(address) = address {
        return Some(IpAddr::V6(*address));
    }
    None
}

fn taken(wanted: &Route, present: &RouteMessage) -> KernelError {
    let device = output(present)
        .and_then(|index| nix::net::if_::if_indextoname(index).ok())
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "another device".to_owned());
    let protocol = u8::from(present.header.protocol);
    let destination = wanted.destination;
    KernelError {
        kind: KernelErrorKind::Taken,
        message: format!(
            "a route to {destination} through {device} (protocol {protocol}) exists already and is not ours; \
             remove it with `ip route del {destination}` or change Network"
        ),
    }
}

fn ignoring(errno: Errno, result: Result<(), Error>) -> io::Result<()> {
    match result.map_err(into_io) {
        Err(error) if is(&error, errno) => Ok(()),
        result => result,
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

fn into_io(error: Error) -> io::Error {
    if let Error::NetlinkError(message) = error {
        return message.to_io();
    }
    io::Error::other(error)
}
