//! A packet reaches the pod that it is for, once and unchanged, unless something excuses its loss.

use std::net::Ipv4Addr;

use selvedge_engine::{DropReason, Instant, Membership};

use super::Verdict;
use crate::flannel::Defect;
use crate::forgery::Forgery;
use crate::linux::LinuxDrop;
use crate::node_id::NodeId;
use crate::packet;
use crate::probe::Probe;
use crate::ref_cluster::{DataPath, RefCluster};
use crate::sim_node::PacketFate;
use crate::violation::{Finding, Invariant};

/// Where on its way a probe was dropped, and by what.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Dropped {
    /// On the sender's node, before the forwarder.
    BySendersKernel(LinuxDrop),
    /// By the router of the underlay, which the sender's kernel sent it to.
    ByRouter,
    /// On the sender's node, which has no forwarding table.
    WithoutTable,
    /// By the sender's forwarder.
    Outbound(DropReason),
    /// On the receiver's node: no daemon, no socket or no table.
    Unreceived,
    /// By the receiver's forwarder.
    Inbound(DropReason),
    /// On the receiver's node, behind the forwarder.
    ByReceiversKernel(LinuxDrop),
}

/// Checks that a drop on `node` is excused: it need not have known better, or was not meant.
pub(crate) fn check_drop(
    cluster: &RefCluster,
    probe: &Probe,
    node: NodeId,
    dropped: Dropped,
    now: Instant,
) -> Verdict {
    let path = cluster.data_path();
    let Probe {
        from,
        to,
        source,
        destination,
        ..
    } = *probe;
    let knows_receiver = |node| cluster.must_know(node, destination, to, now);
    let knows_sender = |node| cluster.must_know(node, source, from, now);
    let is_misdirected = node != to && node != from;
    let dropped = match dropped {
        // A node passed on what it was sent.
        Dropped::BySendersKernel(reason) if node != from => Dropped::ByReceiversKernel(reason),
        Dropped::ByRouter if node != from => Dropped::ByReceiversKernel(LinuxDrop::NoRoute),
        Dropped::BySendersKernel(_)
        | Dropped::ByRouter
        | Dropped::WithoutTable
        | Dropped::Outbound(_)
        | Dropped::Unreceived
        | Dropped::Inbound(_)
        | Dropped::ByReceiversKernel(_) => dropped,
    };
    let is_wrong = match dropped {
        Dropped::Unreceived
        | Dropped::ByReceiversKernel(_)
        | Dropped::Inbound(DropReason::NotOurs | DropReason::ForeignSource | DropReason::UnknownSender)
            if is_misdirected =>
        {
            false
        }
        Dropped::BySendersKernel(reason) => {
            let knows_better = match (path, reason) {
                (DataPath::Daemon, _) => true,
                // It asks on the link for the receiver, which may be down.
                (DataPath::Kernel, LinuxDrop::NoNeighbour) => {
                    knows_receiver(from) && cluster.must_carry(to, now)
                }
                (DataPath::Kernel, _) => knows_receiver(from),
            };
            cluster.must_carry(from, now) && knows_sender(from) && knows_better
        }
        Dropped::ByRouter | Dropped::WithoutTable => {
            let knows_better = match path {
                DataPath::Daemon => true,
                DataPath::Kernel => knows_receiver(from),
            };
            cluster.must_carry(from, now) && knows_sender(from) && knows_better
        }
        Dropped::Outbound(DropReason::NoRoute) => knows_receiver(from),
        Dropped::Unreceived | Dropped::ByReceiversKernel(_) => {
            // A sender may not have heard yet where the receiver is.
            let was_sent_well = match path {
                DataPath::Daemon if !cluster.has_moved(to) => true,
                DataPath::Daemon | DataPath::Kernel => knows_receiver(from),
            };
            cluster.must_carry(to, now) && knows_receiver(to) && was_sent_well
        }
        Dropped::Inbound(DropReason::NotOurs) => knows_receiver(to),
        Dropped::Inbound(DropReason::UnknownSender | DropReason::ForeignSource | DropReason::OwnSource) => {
            knows_sender(to)
        }
        Dropped::Outbound(
            DropReason::Truncated
            | DropReason::NotIpv4
            | DropReason::BadHeaderLength
            | DropReason::BadTotalLength
            | DropReason::BadChecksum
            | DropReason::TtlExceeded
            | DropReason::TooBig
            | DropReason::BadSource
            | DropReason::BadDestination
            | DropReason::NotOurs
            | DropReason::OwnSource
            | DropReason::UnknownSender
            | DropReason::ForeignSource,
        )
        | Dropped::Inbound(
            DropReason::Truncated
            | DropReason::NotIpv4
            | DropReason::BadHeaderLength
            | DropReason::BadTotalLength
            | DropReason::BadChecksum
            | DropReason::TtlExceeded
            | DropReason::NoRoute
            | DropReason::TooBig
            | DropReason::BadSource
            | DropReason::BadDestination,
        ) => true,
    };
    if !is_wrong {
        return Ok(());
    }
    let text = format!(
        "probe {} from {from} ({source}) to {to} ({destination}) was dropped without excuse: {dropped:?}",
        probe.id
    );
    Err(finding(probe, text))
}

/// Checks a packet that a pod on `node` got as `probe`.
pub(crate) fn check_arrival(
    cluster: &RefCluster,
    probe: &Probe,
    node: NodeId,
    packet: &[u8],
    now: Instant,
) -> Verdict {
    if node != probe.to
        && !cluster.may_hold(node, probe.destination, now)
        && !may_pass(cluster, probe, node, now)
    {
        let text = format!(
            "probe {} for {} on {} reached {node}, which does not hold that address",
            probe.id, probe.destination, probe.to
        );
        return Err(finding(probe, text));
    }
    if probe.arrivals > probe.copies {
        let text = format!(
            "probe {} arrived {} times, but there are {} copies of it",
            probe.id, probe.arrivals, probe.copies
        );
        return Err(finding(probe, text));
    }
    if !probe.is_intact(packet) {
        let text = format!("probe {} reached {node} damaged: {}", probe.id, hex(packet));
        return Err(finding(probe, text));
    }
    Ok(())
}

/// Tells whether a kernel may still send packets to a node that has lost the subnet: what the node does not hold any more
/// keeps the pods that it has there.
fn may_pass(cluster: &RefCluster, probe: &Probe, node: NodeId, now: Instant) -> bool {
    let address = cluster.address_of(node);
    cluster.data_path() == DataPath::Kernel
        && cluster.subnet_held_by(node).is_none()
        && cluster.may_send(probe.from, probe.destination, address, now)
}

/// Checks an ICMP error that the pod `pod` on `node` got: it has to be about a packet that the pod sent.
pub(crate) fn check_error(node: NodeId, pod: Ipv4Addr, quoted_source: Option<Ipv4Addr>) -> Verdict {
    if quoted_source == Some(pod) {
        return Ok(());
    }
    let text = format!("the pod {pod} on {node} got an ICMP error about a packet of {quoted_source:?}");
    Err(Finding::new(Invariant::Delivery, [node], text))
}

/// Checks a damaged packet that reached a pod on `node`: what the headers' checksum shows, a node has to notice; the rest
/// is left to the pod.
pub(crate) fn check_damaged(node: NodeId, packet: &[u8]) -> Verdict {
    if packet::is_valid(packet) {
        return Ok(());
    }
    let text = format!(
        "{node} handed a packet to a pod whose header is damaged: {}",
        hex(packet)
    );
    Err(Finding::new(Invariant::Delivery, [node], text))
}

/// Checks a forged packet that reached a pod on `node`. A kernel takes packets of all sources, and passes on what is for
/// others.
pub(crate) fn check_forged(
    node: NodeId,
    forgery: Forgery,
    path: DataPath,
    membership: Membership,
) -> Verdict {
    let may_pass = match forgery {
        Forgery::Stranger | Forgery::ForeignSource => {
            path == DataPath::Kernel || membership != Membership::Enforce
        }
        Forgery::OwnSource | Forgery::ForeignDestination => path == DataPath::Kernel,
        Forgery::BadChecksum
        | Forgery::Truncated
        | Forgery::LastHop
        | Forgery::LoopbackSource
        | Forgery::GroupDestination
        | Forgery::Noise => false,
    };
    if may_pass {
        return Ok(());
    }
    let text = format!("a pod on {node} got a forged packet {forgery}");
    Err(Finding::new(Invariant::Delivery, [node], text))
}

/// Says that `node` did not drop a probe that came from a stranger's address.
pub(crate) fn taken_from_stranger(node: NodeId, fate: &PacketFate) -> Finding {
    let text = format!("{node} takes a packet from a host without a lease: {fate:?}");
    Finding::new(Invariant::Delivery, [node], text).showing(Defect::TakesAnything)
}

/// Checks a probe after all that can happen to it has happened.
pub(crate) fn check_fate(probe: &Probe) -> Verdict {
    if probe.fate.is_some() {
        return Ok(());
    }
    let text = format!("probe {} from {} to {} vanished", probe.id, probe.from, probe.to);
    Err(finding(probe, text))
}

fn finding(probe: &Probe, text: String) -> Finding {
    Finding::new(Invariant::Delivery, [probe.from, probe.to], text)
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::ProbeFate;
    use crate::probe::tests::probe;
    use crate::ref_cluster::fixture::{N1, N2, N3, after, cluster, connected};

    #[test]
    fn a_drop_is_excused_while_the_node_need_not_know_better() {
        let known = cluster(&[("10.5.1.0-24", N1), ("10.5.2.0-24", N2)]);
        let unknown = connected();
        let drops = [
            (N1, Dropped::BySendersKernel(LinuxDrop::NoRoute)),
            (N1, Dropped::ByRouter),
            (N1, Dropped::WithoutTable),
            (N1, Dropped::Outbound(DropReason::NoRoute)),
            (N2, Dropped::Unreceived),
            (N2, Dropped::Inbound(DropReason::NotOurs)),
            (N2, Dropped::Inbound(DropReason::UnknownSender)),
            (N2, Dropped::ByReceiversKernel(LinuxDrop::NoSuchPod)),
        ];

        for (node, dropped) in drops {
            let excused = check_drop(&unknown, &probe(1), node, dropped, after(200));
            let wrong = check_drop(&known, &probe(1), node, dropped, after(200));
            assert!(excused.is_ok() && wrong.is_err(), "{dropped:?}");
        }
    }

    #[test]
    fn a_node_that_a_probe_is_not_for_does_well_to_drop_it() {
        let known = cluster(&[("10.5.1.0-24", N1), ("10.5.2.0-24", N2)]);
        let dropped = Dropped::Inbound(DropReason::NotOurs);

        assert_eq!(check_drop(&known, &probe(1), N3, dropped, after(200)), Ok(()));
    }

    #[test]
    fn nothing_excuses_the_drop_of_a_valid_packet_as_invalid() {
        let dropped = Dropped::Inbound(DropReason::BadChecksum);

        assert!(check_drop(&connected(), &probe(1), N2, dropped, after(1)).is_err());
    }

    #[test]
    fn wrong_damaged_and_repeated_arrivals_are_found() {
        let cluster = cluster(&[("10.5.1.0-24", N1), ("10.5.2.0-24", N2)]);
        let probe = probe(1);
        let good = probe.packet();
        let mut damaged = good.clone();
        damaged[30] ^= 1;
        let repeated = Probe { arrivals: 2, ..probe };

        assert_eq!(check_arrival(&cluster, &probe, N2, &good, after(200)), Ok(()));
        assert!(check_arrival(&cluster, &probe, N3, &good, after(200)).is_err());
        assert!(check_arrival(&cluster, &probe, N2, &damaged, after(200)).is_err());
        assert!(check_arrival(&cluster, &repeated, N2, &good, after(200)).is_err());
    }

    #[test]
    fn a_damaged_header_is_found_and_a_damaged_payload_is_the_pods_affair() {
        let mut header = probe(1).packet();
        let mut payload = header.clone();
        header[8] ^= 1;
        *payload.last_mut().unwrap() ^= 1;

        assert!(check_damaged(N1, &header).is_err());
        assert_eq!(check_damaged(N1, &payload), Ok(()));
    }

    #[test]
    fn a_forged_packet_passes_only_where_membership_is_not_enforced() {
        let check = |forgery, membership| check_forged(N1, forgery, DataPath::Daemon, membership).is_ok();

        assert!(check(Forgery::Stranger, Membership::Log));
        assert!(!check(Forgery::Stranger, Membership::Enforce));
        assert!(!check(Forgery::OwnSource, Membership::Off));
    }

    #[test]
    fn a_probe_without_fate_has_vanished() {
        let settled = Probe {
            fate: Some(ProbeFate::Delivered),
            ..probe(1)
        };

        assert_eq!(check_fate(&settled), Ok(()));
        assert!(check_fate(&probe(1)).is_err());
    }

    #[test]
    fn an_icmp_error_belongs_to_the_pod_that_it_is_about() {
        let pod = Ipv4Addr::new(10, 5, 1, 2);

        assert_eq!(check_error(N1, pod, Some(pod)), Ok(()));
        assert!(check_error(N1, pod, Some(Ipv4Addr::new(10, 5, 1, 3))).is_err());
        assert!(check_error(N1, pod, None).is_err());
    }
}
