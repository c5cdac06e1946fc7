//! A run as a picture: one page for a browser, complete in itself.

#[cfg(test)]
mod tests;

use serde::Serialize;

use crate::chronicle::Chronicle;
use crate::report::Report;
use crate::violation::Violation;

/// Makes the page; `again` is the command that makes the run again.
pub(crate) fn page(report: &Report, chronicle: &Chronicle, again: &str) -> String {
    let page = Page {
        title: format!(
            "{} nodes, seed {}",
            report.scenario().nodes.len(),
            report.scenario().seed
        ),
        broken: report.violation().map(Broken::from),
        facts: facts(report),
        again,
        scenario: report.scenario().to_string(),
        story: report.failure(),
        thinned: chronicle.thinned(),
        run: chronicle,
    };
    // Plain data with text for keys: nothing that JSON cannot say.
    let data = serde_json::to_string(&page).unwrap_or_default();
    [BEFORE_DATA, &inert(&data), AFTER_DATA].concat()
}

/// What the script of the page reads.
#[derive(Serialize)]
struct Page<'a> {
    title: String,
    broken: Option<Broken<'a>>,
    facts: Vec<(&'static str, String)>,
    again: &'a str,
    scenario: String,
    story: String,
    /// What was thinned out: what, how many of it are listed, and how many there were.
    thinned: Vec<(&'static str, usize, u64)>,
    run: &'a Chronicle,
}

/// The invariant that broke.
#[derive(Serialize)]
struct Broken<'a> {
    /// In microseconds.
    at: u64,
    invariant: String,
    nodes: Vec<u32>,
    text: &'a str,
}

impl<'a> From<&'a Violation> for Broken<'a> {
    fn from(violation: &'a Violation) -> Self {
        Self {
            at: violation.at.as_nanos() / 1000,
            invariant: violation.invariant.to_string(),
            nodes: violation.nodes.iter().map(|node| node.number()).collect(),
            text: &violation.text,
        }
    }
}

fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let statistics = report.statistics();
    vec![
        ("simulated", format!("{:.0?}", statistics.simulated)),
        ("events", statistics.events.to_string()),
        ("requests to the store", statistics.store_requests.to_string()),
        ("starts", statistics.starts.to_string()),
        ("probes", statistics.probes.to_string()),
        ("network config", report.scenario().network_config()),
        ("trace hash", format!("{:016x}", report.trace_hash())),
    ]
}

/// Makes JSON that no HTML parser sees anything in: these characters are only ever part of its strings.
fn inert(json: &str) -> String {
    let mut inert = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' => inert.push_str("\\u003c"),
            '>' => inert.push_str("\\u003e"),
            '&' => inert.push_str("\\u0026"),
            '\u{2028}' => inert.push_str("\\u2028"),
            '\u{2029}' => inert.push_str("\\u2029"),
            _ => inert.push(character),
        }
    }
    inert
}

const BEFORE_DATA: &str = concat!(
    include_str!("timeline/head.html"),
    "<style>\n",
    include_str!("timeline/page.css"),
    "</style>\n",
    include_str!("timeline/body.html"),
    "<script id=\"run\" type=\"application/json\">",
);

const AFTER_DATA: &str = concat!(
    "</script>\n<script>\n",
    include_str!("timeline/model.js"),
    include_str!("timeline/view.js"),
    include_str!("timeline/draw.js"),
    include_str!("timeline/hover.js"),
    include_str!("timeline/controls.js"),
    "</script>\n</body>\n</html>\n",
);
