use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::fault::{Fault, NodeFault, StoreFault, StoreWay, SubnetFileFate, Tampering, TimedFault};
use crate::node_id::NodeId;
use crate::probability::Probability;
use crate::scenario::{Backend, DirectRouting};

proptest! {
    #[test]
    fn what_is_printed_reads_back(seed: u64, nodes in 1..40_u32, minutes in 1..30_u64) {
        let scenario = Scenario::generate(seed, nodes, Duration::from_mins(minutes));

        let text = scenario.to_string();

        prop_assert!(Scenario::recognizes(&text));
        prop_assert!(!text.contains("nanos"), "a duration has no text form:\n{}", text);
        prop_assert_eq!(Scenario::parse(&text), Ok(scenario));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text: String, line in "[a-z]{1,8} ?= ?.{0,12}") {
        let usual = Scenario::new(1, 2, Duration::from_mins(1)).to_string();

        let mangled = format!("{usual}{line}\n");

        prop_assert!(Scenario::parse(&text).is_err());
        if let Ok(scenario) = Scenario::parse(&mangled) {
            prop_assert_eq!(Scenario::parse(&scenario.to_string()), Ok(scenario));
        }
    }
}

#[test]
fn a_healthy_scenario_prints_as_four_lines() {
    let scenario = Scenario::new(u64::MAX, 300, Duration::from_mins(5));

    let text = scenario.to_string();

    assert_eq!(
        text,
        "scenario = 1\nseed = 18446744073709551615\nnodes = 300\nduration = \"5m\"\n"
    );
    assert_eq!(Scenario::parse(&text), Ok(scenario));
}

#[test]
fn hollow_nodes_are_one_line_and_widen_the_network() {
    let scenario = Scenario::new(7, 100, Duration::from_mins(10)).with_hollow(9900);

    let text = scenario.to_string();

    assert_eq!(
        text,
        "scenario = 1\nseed = 7\nnodes = 100\nduration = \"10m\"\nhollow = 9900\n"
    );
    assert_eq!(Scenario::parse(&text), Ok(scenario));
}

#[test]
fn a_scenario_prints_what_is_unusual() {
    insta::assert_snapshot!(unusual());
}

#[test]
fn comments_order_and_spelling_of_keys_do_not_matter() {
    let text = "# Shows nothing.\n\n scenario=1\nnodes = 2\n'duration' = '1m0s'\nseed = 0x10 # hex\n";

    let scenario = Scenario::parse(text).unwrap();

    assert!(Scenario::recognizes(text));
    assert_eq!(scenario, Scenario::new(16, 2, Duration::from_mins(1)));
}

#[test]
fn a_recording_or_another_toml_file_is_no_scenario() {
    for text in [
        "",
        "# scenario = 1\n",
        "{\"recording\":{}}",
        "seed = 1\nscenario = 1",
        "scenarios = 1",
    ] {
        assert!(!Scenario::recognizes(text), "{text}");
    }
}

#[test]
fn a_mistake_is_told_with_its_line_and_what_would_be_right() {
    let mistakes = [
        ("", "nonsense"),
        ("", "colour = 1"),
        ("", "seed = 2"),
        ("", "hollow = 50001"),
        ("", "probe_interval = 5"),
        ("", "probe_interval = \"5 s\""),
        ("", "membership = \"strict\""),
        ("links", "loss = \"101%\""),
        ("links", "lost = \"1%\""),
        ("[node]", "starts_at = \"1s\""),
        ("[node]", "name = \"n3\""),
        ("[node]", "name = \"two\""),
        ("[node]", "name = \"n1\"\nstarts = \"1s\""),
        ("[node]", "name = \"n1\"\n[[node]]\nname = \"n1\""),
        ("node", "name = \"n1\""),
        ("[fault]", "at = \"1s\""),
        ("[fault]", "kind = \"store_down\""),
        ("[fault]", "at = \"1s\"\nkind = \"rain\""),
        ("[fault]", "at = \"1s\"\nkind = 7"),
        ("[fault]", "at = \"1s\"\nkind = \"store_down\"\nnodes = [\"n1\"]"),
        (
            "[fault]",
            "at = \"1s\"\nkind = \"underlay_partition\"\nnode = \"n1\"",
        ),
        ("[fault]", "at = \"1s\"\nkind = \"underlay_partition\""),
        (
            "[fault]",
            "at = \"1s\"\nkind = \"underlay_partition\"\nnodes = [\"n1\", \"n7\"]",
        ),
        ("[fault]", "at = \"1s\"\nkind = \"store_rain\""),
        ("[fault]", "at = \"1s\"\nkind = \"store_slow\""),
        ("[fault]", "at = \"1s\"\nkind = \"store_slow\"\nvalue = 7"),
        ("[fault]", "at = \"1s\"\nkind = \"store_slow\"\nby = \"7s\""),
        (
            "[fault]",
            "at = \"1s\"\nkind = \"store_slow\"\nvalue = \"7s\"\nway = \"both\"",
        ),
        ("[fault]", "at = \"1s\"\nkind = \"node_pause\""),
        ("[fault]", "at = \"2s\"\nuntil = \"1s\"\nkind = \"store_down\""),
    ];

    let told = mistakes.map(|(table, lines)| {
        let header = if table.is_empty() {
            String::new()
        } else {
            format!("[{table}]\n")
        };
        let usual = Scenario::new(1, 2, Duration::from_mins(1));
        let error = Scenario::parse(&format!("{usual}{header}{lines}\n")).unwrap_err();
        format!("{header}{lines}\n=> {error}\n")
    });

    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_scenario_says_its_version_how_many_nodes_and_how_long() {
    let told = [
        "",
        "scenario = 2",
        "scenario = \"1\"",
        "scenario = 1",
        "scenario = 1\nnodes = 0",
        "scenario = 1\nnodes = 10_001",
        "scenario = 1\nnodes = 1",
        "scenario = 1\nnodes = 1\nseed = -1\nduration = \"1s\"",
        "scenario = 1\nnodes = 1\nseed = 1",
    ]
    .map(|text| Scenario::parse(text).unwrap_err().to_string());

    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn backends_segments_and_every_change_to_a_kernel_read_as_they_print() {
    let mut scenario = Scenario::new(7, 3, Duration::from_mins(5));
    scenario.backend = Backend::Vxlan;
    scenario.vxlan.vni = Some(70_000);
    scenario.vxlan.direct_routing = DirectRouting::On;
    scenario.nodes[2].segment = 1;
    let faults = TAMPERINGS.map(NodeFault::Tamper).into_iter();
    let faults = faults.chain([NodeFault::UnderlayDown]).map(|fault| TimedFault {
        at: Duration::from_secs(1),
        until: None,
        fault: Fault::Node {
            node: NodeId::new(1),
            fault,
        },
    });
    scenario.faults = faults.collect();

    let text = scenario.to_string();

    assert_eq!(Scenario::parse(&text), Ok(scenario.clone()));
    assert!(
        text.contains("backend = \"vxlan\"") && text.contains("segment = 1"),
        "{text}"
    );
    assert!(text.contains("value = \"lose_fdb_entry\""), "{text}");
    let usual = Scenario {
        backend: Backend::Udp,
        ..scenario.clone()
    };
    assert!(scenario.simpler().contains(&usual));
}

const TAMPERINGS: [Tampering; 14] = [
    Tampering::DeleteTunnel,
    Tampering::SetTunnelDown,
    Tampering::DeleteRoutes,
    Tampering::RenameTunnel,
    Tampering::ChangeTunnelMac,
    Tampering::ChangeTunnelMtu,
    Tampering::LoseRoute,
    Tampering::LoseNeighbour,
    Tampering::LoseFdbEntry,
    Tampering::LoseAddress,
    Tampering::MisdirectRoute,
    Tampering::FlapUnderlay,
    Tampering::MoveUnderlay,
    Tampering::ChangeUnderlayMtu,
];

fn unusual() -> Scenario {
    let mut scenario = Scenario::new(7, 3, Duration::from_mins(5));
    scenario.config = r#"{"Network":"10.5.0.0/28"}"#.to_owned();
    scenario.links.loss = Probability::per_million(100);
    scenario.store_path.delay = Duration::from_micros(1500);
    scenario.nodes[2].starts_at = Duration::from_mins(2);
    let fault = |at, until: Option<u64>, fault| TimedFault {
        at: Duration::from_millis(at),
        until: until.map(Duration::from_millis),
        fault,
    };
    scenario.faults = vec![
        fault(
            12_500,
            Some(20_000),
            Fault::Store(StoreFault::Cut {
                nodes: vec![NodeId::new(1), NodeId::new(2)],
                way: StoreWay::Answers,
            }),
        ),
        fault(30_000, None, Fault::Store(StoreFault::Compaction)),
        fault(
            30_250,
            Some(60_000),
            Fault::Node {
                node: NodeId::new(3),
                fault: NodeFault::Crash {
                    file: SubnetFileFate::Lost,
                },
            },
        ),
    ];
    scenario
}
