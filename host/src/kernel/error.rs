//! What an errno means, and what to do about it.

use std::fmt;
use std::io;
use std::net::SocketAddrV4;
use std::path::PathBuf;

use nix::errno::Errno;
use selvedge_engine::{
    Address, FdbEntry, KernelError, KernelErrorKind, Link, LinkKind, LinkName, Neighbour, Route,
};

/// What was tried.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Attempt {
    /// Making a TUN device.
    CreateTun(LinkName),
    /// Making a VXLAN device.
    CreateVxlan(Link),
    /// Setting a device's attributes, or setting it up.
    SetLink(Link),
    /// Deleting a device.
    RemoveLink(LinkName),
    /// Adding or deleting an address.
    Address(Address),
    /// Adding or deleting a forwarding entry.
    FdbEntry(FdbEntry),
    /// Adding or deleting a neighbour.
    Neighbour(Neighbour),
    /// Adding or deleting a route.
    Route(Route),
    /// Listing what there is.
    Survey,
    /// Opening the tunnel's socket.
    Bind(SocketAddrV4),
    /// Writing a kernel setting.
    Sysctl(PathBuf),
    /// Writing the subnet file.
    SubnetFile(PathBuf),
    /// Starting the thread that carries packets.
    StartTunnel,
}

impl Attempt {
    /// Puts the failure of this attempt into the engine's terms and people's.
    pub fn failed(&self, error: &io::Error) -> KernelError {
        let errno = error.raw_os_error().map(Errno::from_raw);
        let kind = errno.map_or(KernelErrorKind::Other, |errno| self.kind(errno));
        let advice = errno.and_then(|errno| self.advice(errno));
        let cause = errno.map_or_else(|| error.to_string(), |errno| errno.desc().to_lowercase());
        let message = match advice {
            Some(advice) => format!("{self}: {cause}; {advice}"),
            None => format!("{self}: {cause}"),
        };
        KernelError { kind, message }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "most of the many errnos mean nothing in particular here"
    )]
    fn kind(&self, errno: Errno) -> KernelErrorKind {
        let tun = matches!(self, Self::CreateTun(_));
        let sysctl = matches!(self, Self::Sysctl(_));
        match errno {
            Errno::EPERM | Errno::EACCES => KernelErrorKind::Permission,
            Errno::EROFS if sysctl => KernelErrorKind::Permission,
            // A device of that name that is no TUN device.
            Errno::EINVAL if tun => KernelErrorKind::Taken,
            Errno::EEXIST | Errno::EADDRINUSE | Errno::EBUSY => KernelErrorKind::Taken,
            Errno::ENOENT | Errno::ENODEV | Errno::ENXIO if tun => KernelErrorKind::Unsupported,
            Errno::ENOENT
            | Errno::ENODEV
            | Errno::ENXIO
            | Errno::EADDRNOTAVAIL
            | Errno::ENETDOWN
            | Errno::ESRCH => KernelErrorKind::NotFound,
            Errno::EOPNOTSUPP
            | Errno::ENOSYS
            | Errno::EAFNOSUPPORT
            | Errno::EPROTONOSUPPORT
            | Errno::EROFS => KernelErrorKind::Unsupported,
            _ => KernelErrorKind::Other,
        }
    }

    fn advice(&self, errno: Errno) -> Option<String> {
        match (self, errno) {
            (Self::SubnetFile(path), Errno::EACCES | Errno::EPERM | Errno::EROFS) => Some(format!(
                "make {} writable, or name another file with --subnet-file",
                path.parent().unwrap_or(path).display()
            )),
            (Self::Sysctl(_), Errno::EROFS | Errno::EACCES) => Some(
                "/proc/sys is read-only here; run the container privileged or set it on the host".to_owned(),
            ),
            (_, Errno::EPERM | Errno::EACCES) => Some(
                "run it as root (sudo), or give it CAP_NET_ADMIN (systemd: AmbientCapabilities=CAP_NET_ADMIN; \
                 containers: --cap-add=NET_ADMIN)"
                    .to_owned(),
            ),
            (Self::CreateTun(_), Errno::ENOENT | Errno::ENODEV | Errno::ENXIO) => Some(
                "load the driver with `modprobe tun`; in a container pass --device=/dev/net/tun".to_owned(),
            ),
            (Self::CreateTun(name), Errno::EBUSY | Errno::EINVAL) => Some(format!(
                "{name} belongs to another program, perhaps flanneld; see `ip -d link show {name}`"
            )),
            (Self::CreateVxlan(_), Errno::EOPNOTSUPP) => Some(
                "this kernel has no VXLAN: load it with `modprobe vxlan`, or install the modules of this kernel".to_owned(),
            ),
            (Self::CreateVxlan(link), Errno::EEXIST) => vxlan_rival(link),
            (Self::CreateVxlan(link) | Self::SetLink(link), Errno::EADDRINUSE) => port_in_use(link),
            (Self::SetLink(Link { mtu, .. }), Errno::EINVAL) => Some(format!(
                "perhaps its underlay device carries no packets for an MTU of {mtu}"
            )),
            (Self::Route(route), Errno::ENETUNREACH | Errno::EHOSTUNREACH) => {
                let gateway = route.hop.gateway()?;
                Some(format!("no route of this node leads directly to {gateway} on {}", route.hop.link()))
            }
            (Self::Bind(local), Errno::EADDRINUSE) => Some(format!(
                "another program holds it, perhaps flanneld or another selvedge; see `ss -ulpn sport = :{}`",
                local.port()
            )),
            (Self::Bind(local), Errno::EADDRNOTAVAIL) => {
                Some(format!("no interface of this node has the address {}", local.ip()))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateTun(_) => f.write_str("/dev/net/tun"),
            Self::CreateVxlan(_)
            | Self::SetLink(_)
            | Self::RemoveLink(_)
            | Self::Address(_)
            | Self::FdbEntry(_)
            | Self::Neighbour(_)
            | Self::Route(_)
            | Self::Survey => f.write_str("netlink"),
            Self::Bind(_) => f.write_str("bind"),
            Self::Sysctl(path) | Self::SubnetFile(path) => write!(f, "{}", path.display()),
            Self::StartTunnel => f.write_str("starting the tunnel's thread"),
        }
    }
}

fn vxlan_rival(link: &Link) -> Option<String> {
    let LinkKind::Vxlan(vxlan) = &link.kind else {
        return None;
    };
    Some(format!(
        "another VXLAN device with VNI {} and port {} exists; see `ip -d link show type vxlan`",
        vxlan.vni, vxlan.port
    ))
}

fn port_in_use(link: &Link) -> Option<String> {
    let LinkKind::Vxlan(vxlan) = &link.kind else {
        return None;
    };
    let port = vxlan.port;
    Some(format!(
        "another program holds UDP port {port}; see `ss -ulpn sport = :{port}`"
    ))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use selvedge_engine::{GroupPolicy, Learning, MacAddress, NextHop, Vni, Vxlan};

    use super::*;

    #[test]
    fn errors_are_classified_and_say_what_to_do() {
        let tun = Attempt::CreateTun(LinkName("flannel0".to_owned()));
        let socket = Attempt::Bind(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 8285));
        let file = Attempt::SubnetFile(PathBuf::from("/run/flannel/subnet.env"));
        let sysctl = Attempt::Sysctl(PathBuf::from("/proc/sys/net/ipv4/conf/flannel0/accept_local"));
        let route = Attempt::Route(Route::new(
            "10.5.0.0/16".parse().unwrap(),
            NextHop::Link(LinkName("flannel0".to_owned())),
        ));
        let gateway = Attempt::Route(Route::new(
            "10.5.2.0/24".parse().unwrap(),
            NextHop::Gateway {
                gateway: Ipv4Addr::new(192, 0, 2, 2).into(),
                link: LinkName("eth0".to_owned()),
            },
        ));
        let create = Attempt::CreateVxlan(vxlan());
        let set = Attempt::SetLink(vxlan());
        let cases = [
            (&tun, Errno::EPERM),
            (&tun, Errno::EBUSY),
            (&tun, Errno::EINVAL),
            (&tun, Errno::ENOENT),
            (&socket, Errno::EADDRINUSE),
            (&socket, Errno::EADDRNOTAVAIL),
            (&file, Errno::EACCES),
            (&file, Errno::ENOSPC),
            (&sysctl, Errno::EROFS),
            (&sysctl, Errno::ENOENT),
            (&route, Errno::EPERM),
            (&route, Errno::ENETDOWN),
            (&route, Errno::EINVAL),
            (&gateway, Errno::ENETUNREACH),
            (&gateway, Errno::EHOSTUNREACH),
            (&create, Errno::EOPNOTSUPP),
            (&create, Errno::EEXIST),
            (&create, Errno::EADDRINUSE),
            (&create, Errno::EPERM),
            (&set, Errno::EINVAL),
        ];

        let lines: Vec<String> = cases
            .iter()
            .map(|(attempt, errno)| {
                let error = attempt.failed(&(*errno).into());
                assert_eq!(error.message.lines().count(), 1);
                format!("{errno:?} {:?}: {}", error.kind, error.message)
            })
            .collect();

        insta::assert_snapshot!("kernel_errors", lines.join("\n"));
    }

    fn vxlan() -> Link {
        Link {
            name: LinkName("flannel.1".to_owned()),
            kind: LinkKind::Vxlan(Vxlan {
                vni: Vni::new(1).unwrap(),
                local: Ipv4Addr::new(192, 0, 2, 1).into(),
                underlay: LinkName("eth0".to_owned()),
                port: 8472,
                learning: Learning::Off,
                group_policy: GroupPolicy::Off,
                mac: MacAddress::local([1; 6]),
            }),
            mtu: 1450,
            alias: "selvedge".to_owned(),
        }
    }
}
