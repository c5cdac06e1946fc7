use std::net::{IpAddr, Ipv4Addr};

use selvedge_engine::{
    ConfigProblem, ConfigUnused, FailingObject, Health, Holdings, Instant, KernelError, KernelErrorKind,
    KernelObject, LinkName, NextHop, ObjectKind, Obstacle, Owner, Phase, Reachability, RejectReason,
    Revision, Rival, Route, Status, Subnet, Twin,
};

use super::*;
use crate::http::inquiry::{self, Inquiries};
use crate::http::report::Serving;
use crate::http::tally::{Counts, Deed, Operation};

#[test]
fn metrics_of_a_node_with_a_peer_whose_route_fails() {
    insta::assert_snapshot!("metrics", metrics::render(facts()).unwrap());
}

#[test]
fn status_of_a_node_with_a_peer_whose_route_fails() {
    insta::assert_snapshot!("status", status::render(&facts()).unwrap());
}

#[test]
fn before_there_is_an_engine_little_is_told() {
    let facts = Facts {
        report: Arc::new(searching()),
        tunnel: None,
        filter: None,
    };

    insta::assert_snapshot!("status_while_searching", status::render(&facts).unwrap());
    insta::assert_snapshot!("metrics_while_searching", metrics::render(facts).unwrap());
}

#[test]
fn the_number_of_series_does_not_grow_with_the_cluster() {
    let series = |text: String| text.lines().filter(|line| !line.starts_with('#')).count();
    let small = series(metrics::render(facts()).unwrap());

    let mut serving = serving();
    for number in 0..=255 {
        let net = Ipv4Addr::new(10, 6, number, 0);
        let subnet = Subnet::V4(ipnet::Ipv4Net::new(net, 24).unwrap());
        serving
            .status
            .peers
            .insert(subnet, IpAddr::from([192, 0, 2, number]));
        serving
            .health
            .failing
            .push(failing_route(&format!("10.6.{number}.0/24")));
    }
    let large = Facts {
        report: Arc::new(Report::Serving(Box::new(serving))),
        ..facts()
    };

    assert_eq!(series(metrics::render(large).unwrap()), small);
}

#[tokio::test]
async fn the_two_pages_of_flannel_say_what_flannel_says() {
    let ready = Report::Serving(Box::new(serving()));

    assert_eq!(
        asked("/healthz", Visitor::Stranger, ready.clone()).await,
        (200, "flanneld is running".to_owned())
    );
    assert_eq!(
        asked("/readyz", Visitor::Stranger, ready).await,
        (200, "flanneld is ready".to_owned())
    );
}

#[tokio::test]
async fn a_node_that_is_not_ready_says_why_line_by_line() {
    let mut serving = serving();
    serving.health.obstacles = vec![Obstacle::NoSubnet, Obstacle::StoreLost];

    let (code, text) = asked("/readyz", Visitor::Stranger, Report::Serving(Box::new(serving))).await;

    assert_eq!(code, 503);
    assert_eq!(
        text,
        "flanneld is not ready yet\ntaking a subnet\netcd does not answer\n"
    );
    let (code, text) = asked("/readyz", Visitor::Stranger, searching()).await;
    assert_eq!(code, 503);
    assert_eq!(
        text,
        "flanneld is not ready yet\nno default route; give --iface\n"
    );
}

#[tokio::test]
async fn strangers_read_metrics_and_status_only_where_an_address_was_given() {
    for path in ["/metrics", "/status"] {
        for (audience, visitor, expected) in [
            (Audience::Node, Visitor::Node, 200),
            (Audience::Node, Visitor::Stranger, 403),
            (Audience::Everybody, Visitor::Node, 200),
            (Audience::Everybody, Visitor::Stranger, 200),
        ] {
            let (pages, inquiries) = pages(audience);

            let answer = answered(&pages, inquiries, &Method::GET, path, visitor, &searching()).await;

            assert_eq!(
                answer.status().as_u16(),
                expected,
                "{path} {audience:?} {visitor:?}"
            );
        }
    }
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_without_asking_the_loop() {
    let (pages, _silent) = pages(Audience::Everybody);

    let elsewhere = pages.answer(&Method::GET, "/", Visitor::Node).await;
    let posted = pages.answer(&Method::POST, "/healthz", Visitor::Node).await;

    assert_eq!(elsewhere.status().as_u16(), 404);
    assert_eq!(
        elsewhere.body(),
        "there are /healthz, /readyz, /metrics and /status\n"
    );
    assert_eq!(posted.status().as_u16(), 405);
    assert_eq!(posted.headers()[ALLOW], "GET, HEAD");
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_does_not_turn_is_told_on_every_page() {
    let (pages, _silent) = pages(Audience::Everybody);

    for path in ["/healthz", "/readyz", "/metrics", "/status"] {
        let answer = pages.answer(&Method::GET, path, Visitor::Node).await;

        assert_eq!(answer.status().as_u16(), 503, "{path}");
        assert_eq!(answer.body(), "the event loop has not turned for 2 s\n");
    }
}

async fn asked(path: &str, visitor: Visitor, report: Report) -> (u16, String) {
    let (pages, inquiries) = pages(Audience::Node);
    let answer = answered(&pages, inquiries, &Method::GET, path, visitor, &report).await;
    (answer.status().as_u16(), answer.into_body())
}

fn pages(audience: Audience) -> (Pages, Inquiries) {
    let (inquirer, inquiries) = inquiry::channel();
    (Pages::new(audience, inquirer, TunnelProbe::default()), inquiries)
}

async fn answered(
    pages: &Pages,
    mut inquiries: Inquiries,
    method: &Method,
    path: &str,
    visitor: Visitor,
    report: &Report,
) -> Response<String> {
    let turning = async {
        loop {
            inquiries.wait().await;
            inquiries.answer(|| report.clone());
        }
    };
    tokio::select! {
        answer = pages.answer(method, path, visitor) => answer,
        () = turning => unreachable!("it turns for ever"),
    }
}

fn searching() -> Report {
    Report::Searching("no default route; give --iface".to_owned())
}

fn facts() -> Facts {
    let mut tunnel = TunnelReport::default();
    tunnel.packets.sent = 1000;
    tunnel.packets.sent_bytes = 1_400_000;
    tunnel.packets.delivered = 900;
    tunnel.packets.delivered_bytes = 77_000;
    tunnel.transport.send_full = 3;
    let count = FilterCount {
        packets: 2,
        bytes: 168,
    };
    Facts {
        report: Arc::new(Report::Serving(Box::new(serving()))),
        tunnel: Some(tunnel),
        filter: Some(FilterCounts::from([(FilterCounter::UnknownSender, count)])),
    }
}

fn serving() -> Serving {
    let now = Instant::ZERO + Duration::from_hours(1);
    Serving {
        now,
        status: node_status(),
        health: Health {
            obstacles: Vec::new(),
            store: Reachability::Reached,
            lease_until: Some(now + Duration::from_hours(23)),
            config_problem: Some(ConfigProblem::Unused {
                key: "/coreos.com/network/config".to_owned(),
                reason: ConfigUnused::Changed,
            }),
            desired: BTreeMap::from([(ObjectKind::Route, 2), (ObjectKind::SubnetFile, 1)]),
            rulesets: vec![RulesetName::Membership],
            failing: vec![failing_route("10.5.3.0/24")],
        },
        holdings: Holdings {
            revision: Revision(42),
            leases: 5,
            peers: 2,
            stale_peers: 1,
            rejected: 2,
            kernel_objects: 6,
            kernel_operations: 1,
        },
        counts: counts(),
    }
}

fn node_status() -> Status {
    Status {
        phase: Phase::Running,
        subnet: Some(subnet(1)),
        twin: Some(Twin {
            public_ip: IpAddr::from([192, 0, 2, 1]),
            subnet: subnet(9),
            rival: Rival::Other,
        }),
        public_ip: Ipv4Addr::new(192, 0, 2, 1),
        backend: Some("host-gw"),
        revision: Revision(42),
        peers: BTreeMap::from([2, 3].map(|number| (subnet(number), IpAddr::from([192, 0, 2, number])))),
        stale: BTreeMap::from([(subnet(2), Duration::from_millis(61_500))]),
        rejected: BTreeMap::from([(RejectReason::BadKey, 2)]),
        missed_changes: 0,
        failing: Vec::new(),
        off_link: vec!["10.5.8.0/24".parse().unwrap()],
    }
}

fn failing_route(destination: &str) -> FailingObject {
    let net = destination.parse().unwrap();
    let gateway = IpAddr::from([192, 0, 2, 3]);
    let link = LinkName("eth0".into());
    FailingObject {
        object: KernelObject::Route(Route::new(net, NextHop::Gateway { gateway, link })),
        owner: Owner::Peer(net),
        error: KernelError {
            kind: KernelErrorKind::Taken,
            message: format!("a route to {destination} exists already and is not ours"),
        },
        attempts: 4,
        retry_at: Some(Instant::ZERO + Duration::from_hours(1) + Duration::from_millis(1250)),
    }
}

fn counts() -> Counts {
    let operation = |error| Operation {
        kind: ObjectKind::Route,
        deed: Deed::Ensure,
        error,
    };
    Counts {
        events: BTreeMap::from([("lease_acquired", 1), ("peer_added", 2)]),
        operations: BTreeMap::from([(operation(None), 1), (operation(Some(KernelErrorKind::Taken)), 4)]),
    }
}

fn subnet(number: u8) -> Subnet {
    Subnet::V4(ipnet::Ipv4Net::new(Ipv4Addr::new(10, 5, number, 0), 24).unwrap())
}
