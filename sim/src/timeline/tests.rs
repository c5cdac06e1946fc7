use std::time::Duration;

use crate::cluster::Cluster;
use crate::report::Report;

#[test]
fn a_hostile_config_stays_text() {
    let hostile = r#"{"Network":"10.5.0.0/16","x":"</script><script>alert(1)</script><!-- &lt;"}"#;
    let report = run(Cluster::new(1).config(hostile));

    let page = report.timeline_page("again </script><img src=x>").unwrap();

    assert!(report.is_ok(), "{report}");
    assert_eq!(page.matches("<script").count(), 2);
    assert_eq!(page.matches("</script>").count(), 2);
    assert!(!page.contains("alert(1)</script") && !page.contains("<img"));
    assert!(page.contains(r"\u003c/script\u003e\u003cscript\u003ealert(1)"));
}

#[test]
fn a_page_refers_to_nothing_outside_itself() {
    let page = run(Cluster::new(1)).timeline_page("again").unwrap();

    for reference in [
        "http:", "https:", " src=", "href=", "url(", "@import", "fetch(", "import(",
    ] {
        assert!(!page.contains(reference), "{reference}");
    }
}

#[test]
fn the_record_for_the_page_leaves_the_run_as_it_is() {
    let plain = Cluster::new(7).nodes(4).run_for(Duration::from_mins(2));
    let shown = run(Cluster::new(7).nodes(4));

    assert_eq!(plain.trace_hash(), shown.trace_hash());
    assert_eq!(plain.statistics(), shown.statistics());
    assert_eq!(plain.timeline_page("again"), None);
}

fn run(cluster: Cluster) -> Report {
    cluster.keep_timeline().run_for(Duration::from_mins(2))
}
