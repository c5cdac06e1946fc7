use std::time::Duration;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::fault::LinkFault;
use crate::probability::Probability;
use crate::report::Report;
use crate::scenario::Scenario;

#[test]
fn leases_and_carried_subnets_last_from_when_to_when_the_trace_says() {
    let report = crash_and_loss();

    let run = chronicle(&report);

    let held = list(&run["tenures"]).iter().filter(|tenure| tenure["node"] == 2);
    let held: Vec<&Value> = held.collect();
    assert_eq!(held.len(), 2, "{held:?}");
    assert_eq!(held[0]["until"], 40_000_000);
    assert_eq!(held[1]["until"], Value::Null);
    let (starts, holding) = (
        micros_of(&report, "n2 starts"),
        micros_of(&report, "n2 holding subnet"),
    );
    let taken = held[0]["from"].as_u64().unwrap();
    assert!(starts < taken && taken < holding, "{starts} {taken} {holding}");
    assert_eq!(
        state_at(&run["lanes"][1]["carried"], 39_000_000),
        held[0]["subnet"]
    );
    assert_eq!(
        state_at(&run["lanes"][1]["carried"], 40_001_000),
        held[0]["subnet"],
        "it carries on"
    );
}

#[test]
fn a_daemon_lives_from_start_to_crash() {
    let run = chronicle(&crash_and_loss());

    let life = &run["lanes"][2]["life"];

    assert_eq!(state_at(life, 399_000), "down");
    assert_eq!(state_at(life, 10_000_000), "running");
    assert_eq!(state_at(life, 20_000_000), "down");
    assert_eq!(state_at(life, 29_999_999), "down");
    assert_ne!(state_at(life, 30_000_000), "down");
    assert_eq!(state_at(life, 60_000_000), "running");
    assert_eq!(state_at(&run["lanes"][2]["carried"], 25_000_000), Value::Null);
}

#[test]
fn faults_are_bands_over_what_they_concern() {
    let run = chronicle(&crash_and_loss());

    let bands = list(&run["bands"]);
    let brief = |band: &Value| {
        let nodes = serde_json::to_string(&band["nodes"]).unwrap();
        format!("{} {nodes} {} {}", band["part"], band["from"], band["until"])
    };

    let bands: Vec<String> = bands.iter().map(brief).collect();
    assert_eq!(
        bands,
        [
            "\"node\" [3] 20000000 30000000",
            "\"store\" [2] 40000000 40000000",
            "\"underlay\" [] 50000000 null",
        ]
    );
}

#[test]
fn every_probe_is_counted_and_listed_with_its_fate() {
    let report = crash_and_loss();
    let probes = &report.statistics().probes;

    let run = chronicle(&report);

    let count = |series: &str| -> u64 {
        let lanes = list(&run["lanes"]).iter();
        let counts = lanes.flat_map(|lane| list(&lane[series]["counts"]));
        counts.filter_map(Value::as_u64).sum()
    };
    assert_eq!(count("delivered"), probes.delivered);
    assert_eq!(count("lost"), probes.lost_by_chance + probes.lost_on_cut_links);
    assert_eq!(count("unheard"), probes.unheard);
    assert_eq!(count("excused"), probes.excused);
    let watches = report
        .trace()
        .iter()
        .filter(|line| line.text().contains(" opens watch #"));
    let watches = u64::try_from(watches.count()).unwrap();
    assert_eq!(count("requests") + watches, report.statistics().store_requests);
    let listed = |name: &str| u64::try_from(list(&run[name]["items"]).len()).unwrap();
    assert_eq!(listed("delivered"), probes.delivered);
    assert_eq!(listed("undelivered"), probes.sent - probes.delivered);
    assert!(probes.lost_by_chance > 0 && probes.excused + probes.unheard > 0);
}

#[test]
fn every_answered_request_has_its_question_and_its_answer() {
    let report = crash_and_loss();

    let run = chronicle(&report);

    let requests = list(&run["requests"]["items"]);
    let asked = |text: &str| {
        report
            .trace()
            .iter()
            .filter(|line| line.text().contains(text))
            .count()
    };
    let answered = requests.iter().filter(|request| request[3] == "answered");
    assert_eq!(requests.len(), asked(" asks #"));
    for request in answered {
        let (question, answer) = (request[4].as_str().unwrap(), request[5].as_str().unwrap());
        let id = |text: &str| {
            text.split('#')
                .nth(1)
                .and_then(|rest| rest.split(':').next().map(str::to_owned))
        };
        assert_eq!(id(question), id(answer), "{request}");
        assert!(request[1].as_u64() < request[2].as_u64(), "{request}");
    }
}

#[test]
fn a_long_run_of_many_nodes_still_makes_a_page_of_a_sensible_size() {
    let mut scenario = Scenario::generate(4, 12, Duration::from_hours(2));
    scenario.probe_interval = Duration::from_secs(2);

    let report = Cluster::of(scenario).keep_timeline().run();
    let page = report.timeline_page("again").unwrap();

    assert!(report.is_ok(), "{report}");
    assert!(page.len() < 8_000_000, "{} bytes", page.len());
    assert!(page.contains("\"thinned\":[[\""), "it says what was thinned out");
}

/// A crash of n3 from 20 to 30 s, the lease of n2 deleted at 40 s, loss from 50 s on.
fn crash_and_loss() -> Report {
    Cluster::new(5)
        .crash_at(Duration::from_secs(20), 3)
        .restart_at(Duration::from_secs(30), 3)
        .delete_lease_at(Duration::from_secs(40), 2)
        .fault_at(Duration::from_secs(50), LinkFault::Loss(Probability::percent(20)))
        .keep_trace()
        .keep_timeline()
        .run_for(Duration::from_mins(2))
}

/// Returns the record as the page has it.
fn chronicle(report: &Report) -> Value {
    let page = report.timeline_page("again").expect("the timeline was kept");
    let (_, data) = page
        .split_once("type=\"application/json\">")
        .expect("the page has data");
    let (data, _) = data.split_once("</script>").expect("the data ends");
    let page: Value = serde_json::from_str(data).expect("the data is JSON");
    page["run"].clone()
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().expect("a list")
}

/// Returns the state that holds at a time in microseconds, of a list of changes.
fn state_at(changes: &Value, at: u64) -> Value {
    let mut begun = list(changes).iter().rev();
    let last = begun.find(|change| change[0].as_u64() <= Some(at));
    last.expect("there is a state from the start")[1].clone()
}

/// Returns when the trace first has a line with this text.
fn micros_of(report: &Report, text: &str) -> u64 {
    let line = report.trace().iter().find(|line| line.text().contains(text));
    line.expect("the trace has such a line").at().as_nanos() / 1000
}
