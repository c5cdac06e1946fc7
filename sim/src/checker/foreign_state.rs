//! What other programs hold on a node stays as it was.

use super::Verdict;
use crate::linux::Linux;
use crate::node_id::NodeId;
use crate::violation::{Finding, Invariant};

/// Checks a node's kernel.
pub(crate) fn check(node: NodeId, linux: &Linux) -> Verdict {
    let gone: Vec<String> = linux.taken_away().map(|foreign| format!("{foreign:?}")).collect();
    if gone.is_empty() {
        return Ok(());
    }
    let text = format!("{node} took away what is not its own: {}", gone.join(", "));
    Err(Finding::new(Invariant::ForeignState, [node], text))
}

#[cfg(test)]
mod tests {
    use selvedge_engine::{
        FLANNEL_ROUTE_PROTOCOL, KernelObject, KernelOp, LinkName, NextHop, Route, RouteMark,
    };

    use super::*;
    use crate::linux::{Foreign, ForeignRoute};
    use crate::ref_cluster::fixture::N1;

    #[test]
    fn a_foreign_route_may_be_left_alone_or_vacated_and_not_removed() {
        let docker0 = LinkName("docker0".to_owned());
        let route = Route {
            destination: "172.18.0.0/16".parse().unwrap(),
            hop: NextHop::Link(docker0.clone()),
            mark: RouteMark::Flannel,
        };
        let foreign = Foreign::Route(ForeignRoute {
            destination: route.destination,
            hop: Some(route.hop.clone()),
            protocol: FLANNEL_ROUTE_PROTOCOL,
            priority: 0,
        });
        let mut linux = Linux::new(N1.public_ip());
        linux.occupy(Foreign::Link(docker0));
        linux.occupy(foreign.clone());
        let mut vacated = linux.clone();
        vacated.vacate(&foreign);
        let mut robbed = linux.clone();
        robbed
            .apply(&KernelOp::Remove(KernelObject::Route(route)))
            .unwrap();

        assert_eq!(check(N1, &linux), Ok(()));
        assert_eq!(check(N1, &vacated), Ok(()));
        assert!(check(N1, &robbed).is_err());
    }
}
