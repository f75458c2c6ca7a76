//! What each revision answered, so that a canary can be judged. Kept in its lane and shown for as long as it is routed to:
//! revisions come and go, and their names must not pile up in the registry.

use std::fmt::{Display, Write};

use weirgate_replicas::Counts;

use super::metrics::{
    METRICS, REVISION_REPLICAS, REVISION_REQUESTS, REVISION_RESTARTS, REVISION_SECONDS, REVISION_TRAFFIC, SERVERS,
};
use super::tally::Tally;
use crate::dispatch::Standings;

/// A revision to be shown. Names come from manifests: there is nothing in them to escape.
#[derive(Clone, Copy, Debug)]
pub struct RevisionRow<'a> {
    pub namespace: &'a str,
    pub service: &'a str,
    pub revision: &'a str,
    pub percent: u8,
    pub tally: &'a Tally,
    pub counts: Counts,
    /// None where its calls are not passed on.
    pub servers: Option<Standings>,
}

const OWN: [&str; 6] =
    [REVISION_REQUESTS, REVISION_SECONDS, REVISION_TRAFFIC, REVISION_REPLICAS, REVISION_RESTARTS, SERVERS];

/// The revisions' metrics as Prometheus text.
pub fn render_revisions(rows: &[RevisionRow<'_>]) -> String {
    let mut text = String::new();
    for metric in METRICS.iter().filter(|metric| OWN.contains(&metric.name)) {
        // Writing to a string can't fail.
        let _ = writeln!(text, "# HELP {0} {1}\n# TYPE {0} {2}", metric.name, metric.help, metric.kind.label());
        for row in rows {
            let mut line = |suffix: &str, outcome: &str, value: &dyn Display| {
                let RevisionRow { namespace, service, revision, .. } = row;
                let _ = writeln!(
                    text,
                    "{}{suffix}{{namespace=\"{namespace}\",service=\"{service}\",revision=\"{revision}\"{outcome}}} {value}",
                    metric.name
                );
            };
            match metric.name {
                REVISION_REQUESTS => {
                    line("", ",outcome=\"ok\"", &row.tally.answers());
                    line("", ",outcome=\"error\"", &row.tally.errors());
                }
                REVISION_SECONDS => {
                    line("_sum", "", &row.tally.answer_time().as_secs_f64());
                    line("_count", "", &row.tally.answers());
                }
                REVISION_REPLICAS => {
                    let Counts { starting, ready, waiting, draining, .. } = row.counts;
                    line("", ",state=\"starting\"", &starting);
                    line("", ",state=\"ready\"", &ready);
                    line("", ",state=\"waiting\"", &waiting);
                    line("", ",state=\"draining\"", &draining);
                }
                REVISION_RESTARTS => line("", "", &row.counts.restarts),
                SERVERS => {
                    let Some(Standings { inside, open, half_open, ejected }) = row.servers else { continue };
                    line("", ",standing=\"in\"", &inside);
                    line("", ",standing=\"open\"", &open);
                    line("", ",standing=\"half_open\"", &half_open);
                    line("", ",standing=\"ejected\"", &ejected);
                }
                _ => line("", "", &row.percent),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weirgate_protocol::ErrorCode;

    use super::*;

    #[test]
    fn each_revision_has_its_lines() {
        let tally = Tally::default();
        tally.answered(Duration::from_millis(1_500));
        tally.answered(Duration::from_millis(250));
        tally.failed(ErrorCode::Internal, Duration::ZERO);
        tally.failed(ErrorCode::InvalidRequest, Duration::ZERO);
        let servers = Standings { inside: 2, open: 1, ..Standings::default() };
        let row = RevisionRow {
            namespace: "ns",
            service: "a",
            revision: "a-1",
            percent: 20,
            tally: &tally,
            counts: Counts { starting: 1, ready: 2, waiting: 3, draining: 4, restarts: 5 },
            servers: Some(servers),
        };
        let text = render_revisions(&[row]);
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let labels = "namespace=\"ns\",service=\"a\",revision=\"a-1\"";
        assert_eq!(
            lines,
            [
                format!("weirgate_revision_requests_total{{{labels},outcome=\"ok\"}} 2"),
                format!("weirgate_revision_requests_total{{{labels},outcome=\"error\"}} 1"),
                format!("weirgate_revision_request_seconds_sum{{{labels}}} 1.75"),
                format!("weirgate_revision_request_seconds_count{{{labels}}} 2"),
                format!("weirgate_revision_traffic_percent{{{labels}}} 20"),
                format!("weirgate_revision_replicas{{{labels},state=\"starting\"}} 1"),
                format!("weirgate_revision_replicas{{{labels},state=\"ready\"}} 2"),
                format!("weirgate_revision_replicas{{{labels},state=\"waiting\"}} 3"),
                format!("weirgate_revision_replicas{{{labels},state=\"draining\"}} 4"),
                format!("weirgate_revision_restarts_total{{{labels}}} 5"),
                format!("weirgate_upstream_servers{{{labels},standing=\"in\"}} 2"),
                format!("weirgate_upstream_servers{{{labels},standing=\"open\"}} 1"),
                format!("weirgate_upstream_servers{{{labels},standing=\"half_open\"}} 0"),
                format!("weirgate_upstream_servers{{{labels},standing=\"ejected\"}} 0"),
            ]
        );
        assert!(text.contains("# TYPE weirgate_revision_request_seconds summary\n"), "{text}");
    }
}
