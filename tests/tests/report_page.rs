//! The page that `sim run --report` writes, in a real browser.

use std::process::Command;
use std::time::Duration;

use selvedge_sim::{Cluster, Report};
use selvedge_tests::need;

#[test]
fn the_script_of_the_page_draws_every_lane() {
    need!(chromium);
    let report = cluster().crash_at(Duration::from_secs(20), 2).run_for(MINUTE);

    let document = opened(&report, "the command");

    // The lanes of the faults, of the store and of three nodes.
    assert!(document.contains("data-lanes=\"5\""), "{document}");
    assert!(document.contains("every invariant held"), "{document}");
    assert!(document.contains("<code>the command</code>"), "{document}");
}

#[test]
fn a_failing_run_says_what_broke() {
    need!(chromium);
    let late = Duration::from_secs(50);
    let cluster = cluster().check_at(late, "nobody", |_| Err("n2 & <b>co</b>".to_owned()));

    let document = opened(&cluster.run_for(MINUTE), "again");

    assert!(document.contains("data-lanes=\"5\""), "{document}");
    let told = "custom check broken at 50.000 s: nobody: n2 &amp; &lt;b&gt;co&lt;/b&gt;";
    assert!(document.contains(told), "{document}");
}

#[test]
fn a_hostile_scenario_injects_nothing() {
    need!(chromium);
    let attack = "</script><script>document.body.dataset.owned = 1</script><img src=x onerror=alert(1)>";
    let config = format!(r#"{{"Network":"10.5.0.0/16","x":"{attack}"}}"#);

    let document = opened(&cluster().config(&config).run_for(MINUTE), attack);

    assert!(document.contains("data-lanes=\"5\""), "{document}");
    assert!(
        !document.contains("data-owned") && !document.contains("<img"),
        "{document}"
    );
}

const MINUTE: Duration = Duration::from_mins(1);

fn cluster() -> Cluster {
    Cluster::new(1).keep_timeline()
}

/// Returns the document as the browser has it once its scripts have run.
fn opened(report: &Report, again: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("run.html");
    let page = report.timeline_page(again).expect("the timeline was kept");
    std::fs::write(&file, page).expect("the page can be written");
    let output = Command::new("timeout")
        .args([
            "60",
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .arg(format!(
            "--user-data-dir={}",
            folder.path().join("profile").display()
        ))
        .args(["--dump-dom", &format!("file://{}", file.display())])
        .output()
        .expect("the browser starts");
    let document = String::from_utf8_lossy(&output.stdout).into_owned();
    // What is in the data is not in the document.
    let (before, rest) = document.split_once("<script id=\"run\"").expect("the data");
    let (_, after) = rest.split_once("</script>").expect("the end of the data");
    format!("{before}{after}")
}
