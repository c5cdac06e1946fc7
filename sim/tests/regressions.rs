//! Scenarios that once broke a rule.

use std::fs;
use std::path::Path;

use selvedge_sim::{Cluster, Scenario};

#[test]
fn scenarios_that_broke_a_rule_hold_every_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scenarios/regressions");
    let mut ran = 0;
    for file in fs::read_dir(folder).expect("the folder is there") {
        let path = file.expect("it can be listed").path();
        let text = fs::read_to_string(&path).expect("the file can be read");
        let scenario = Scenario::parse(&text).expect("the file holds a scenario");

        let report = Cluster::of(scenario).run();

        assert!(report.violation().is_none(), "{}: {report}", path.display());
        ran += 1;
    }
    assert!(ran >= 24, "the scenarios are there");
}
