//! What is answered at each path.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};
use selvedge_engine::{FilterCounter, RulesetName};

use super::Audience;
use super::fresh::Fresh;
use super::inquiry::{Inquirer, Silence};
use super::report::Report;
use super::{metrics, status};
use crate::kernel::firewall::Firewall;
use crate::kernel::firewall::counters::FilterCount;
use crate::tunnel::{TunnelProbe, TunnelReport};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// `OpenMetrics` 1.0, "Content type".
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// How long the workers' counts are used again, and the packet filter's, which takes a process to read.
const FRESH: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// How long a worker, or `nft`, has for its counts; then it goes without.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Visitor {
    /// A program on this node.
    Node,
    /// Somebody else.
    Stranger,
}

/// Answers requests, from what the event loop, the workers and the packet filter say.
#[derive(Debug)]
pub(super) struct Pages {
    audience: Audience,
    inquirer: Inquirer,
    probe: TunnelProbe,
    tunnel: Fresh<TunnelReport>,
    filter: Fresh<FilterCounts>,
}

/// All that metrics and status tell.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) report: Arc<Report>,
    /// What the workers counted, if there are any.
    pub(super) tunnel: Option<TunnelReport>,
    /// What the membership filter in the kernel counted, if there is one.
    pub(super) filter: Option<FilterCounts>,
}

pub(super) type FilterCounts = BTreeMap<FilterCounter, FilterCount>;

/// The counts are not to be had.
struct Unavailable;

#[derive(Clone, Copy)]
enum Page {
    Health,
    Readiness,
    Metrics,
    Status,
}

impl Pages {
    pub(super) const fn new(audience: Audience, inquirer: Inquirer, probe: TunnelProbe) -> Self {
        Self {
            audience,
            inquirer,
            probe,
            tunnel: Fresh::new(FRESH.0),
            filter: Fresh::new(FRESH.1),
        }
    }

    /// Answers a request.
    pub(super) async fn answer(&self, method: &Method, path: &str, visitor: Visitor) -> Response<String> {
        let Some(page) = Page::at(path) else {
            let text = "there are /healthz, /readyz, /metrics and /status\n".to_owned();
            return response(StatusCode::NOT_FOUND, TEXT, text);
        };
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut refusal = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, String::new());
            refusal
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        if !self.may_read(page, visitor) {
            let text = format!("{path} is for this node alone; --healthz-ip ADDRESS opens it\n");
            return response(StatusCode::FORBIDDEN, TEXT, text);
        }
        let answer = match page {
            Page::Health => self.health().await,
            Page::Readiness => self.readiness().await,
            Page::Metrics => self.metrics().await,
            Page::Status => self.status().await,
        };
        answer
            .unwrap_or_else(|silence| response(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{silence}\n")))
    }

    const fn may_read(&self, page: Page, visitor: Visitor) -> bool {
        match (page, self.audience, visitor) {
            (Page::Health | Page::Readiness, ..)
            | (Page::Metrics | Page::Status, Audience::Everybody, _)
            | (Page::Metrics | Page::Status, Audience::Node, Visitor::Node) => true,
            (Page::Metrics | Page::Status, Audience::Node, Visitor::Stranger) => false,
        }
    }

    async fn health(&self) -> Result<Response<String>, Silence> {
        self.inquirer.pulse().await?;
        Ok(response(StatusCode::OK, TEXT, "flanneld is running".to_owned()))
    }

    async fn readiness(&self) -> Result<Response<String>, Silence> {
        let obstacles = self.inquirer.report().await?.obstacles();
        if obstacles.is_empty() {
            return Ok(response(StatusCode::OK, TEXT, "flanneld is ready".to_owned()));
        }
        let text = format!("flanneld is not ready yet\n{}\n", obstacles.join("\n"));
        Ok(response(StatusCode::SERVICE_UNAVAILABLE, TEXT, text))
    }

    async fn metrics(&self) -> Result<Response<String>, Silence> {
        let facts = self.facts().await?;
        Ok(match metrics::render(facts) {
            Ok(text) => response(StatusCode::OK, OPEN_METRICS, text),
            Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
        })
    }

    async fn status(&self) -> Result<Response<String>, Silence> {
        let facts = self.facts().await?;
        Ok(match status::render(&facts) {
            Ok(text) => response(StatusCode::OK, JSON, text),
            Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
        })
    }

    async fn facts(&self) -> Result<Facts, Silence> {
        let report = self.inquirer.report().await?;
        let (tunnel, filter) = tokio::join!(self.tunnel_report(), self.filter_counts(&report));
        Ok(Facts {
            report,
            tunnel,
            filter,
        })
    }

    async fn tunnel_report(&self) -> Option<TunnelReport> {
        let ask = async { in_time(self.probe.report()).await.flatten().ok_or(Unavailable) };
        self.tunnel.get(ask).await.ok()
    }

    async fn filter_counts(&self, report: &Report) -> Option<FilterCounts> {
        let is_filtered = match report {
            Report::Searching(_) => false,
            Report::Serving(serving) => serving.health.rulesets.contains(&RulesetName::Membership),
        };
        if !is_filtered {
            return None;
        }
        let ask = async {
            let counts = in_time(Firewall::open().counters()).await.ok_or(Unavailable)?;
            counts.map_err(|error| {
                tracing::debug!(%error, "the membership filter's counters are not to be had");
                Unavailable
            })
        };
        self.filter.get(ask).await.ok()
    }
}

impl Page {
    fn at(path: &str) -> Option<Self> {
        match path {
            "/healthz" => Some(Self::Health),
            "/readyz" => Some(Self::Readiness),
            "/metrics" => Some(Self::Metrics),
            "/status" => Some(Self::Status),
            _ => None,
        }
    }
}

fn response(code: StatusCode, content_type: HeaderValue, text: String) -> Response<String> {
    let mut response = Response::new(text);
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn in_time<T>(answer: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(PATIENCE, answer).await.ok()
}

#[cfg(test)]
mod tests;
