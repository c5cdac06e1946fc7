//! A node that ran flannel before.

use ipnet::IpNet;
use selvedge_engine::{KernelObject, LinkName, NextHop, RouteMark};
use selvedge_sim::{Foreign, ForeignRoute};
use selvedge_tests::engine_and_store::{Bench, setup};

const CONFIG: &str = r#"{"Network":"10.5.0.0/16","Backend":{"Type":"host-gw"}}"#;
/// `RTPROT_BOOT`, which flannel's routes carry.
const BOOT: u8 = 3;

#[test]
fn a_plain_route_of_flannel_is_taken_over_without_a_failure() {
    let mut bench = Bench::new(CONFIG);
    let second = bench.add([192, 0, 2, 2]);
    bench.settle();
    let subnet: IpNet = bench
        .subnet(second)
        .expect("a subnet")
        .replace('-', "/")
        .parse()
        .unwrap();
    let first = bench.add_with(setup([192, 0, 2, 1]));
    let hop = NextHop::Gateway {
        gateway: [192, 0, 2, 2].into(),
        link: LinkName("eth0".into()),
    };
    bench.node(first).linux.occupy(Foreign::Route(ForeignRoute {
        destination: subnet,
        hop: Some(hop.clone()),
        protocol: BOOT,
        priority: 0,
    }));

    bench.settle();

    let node = bench.node(first);
    assert!(!node.said("cannot set up"), "{:?}", node.events);
    let is_ours = |object: &KernelObject| matches!(object, KernelObject::Route(route) if route.destination == subnet && route.hop == hop && route.mark == RouteMark::Ours);
    assert!(node.kernel.iter().any(is_ours), "{:?}", node.kernel);
    assert_eq!(node.linux.daemon_routes().len(), 1);
}
