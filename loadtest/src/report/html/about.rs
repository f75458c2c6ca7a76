//! What was loaded and how, on what machine, and the result as JSON.

use serde_json::Value;

use super::markup::Markup;
use super::parts::{asides, columns, pairs, section};
use crate::report::tables::tester;
use crate::report::{command, number, verdict};
use crate::result::{Findings, Report};

/// What was loaded, in a few words.
pub fn subject(report: &Report) -> String {
    report.workload.model.clone().unwrap_or_else(|| report.target.clone())
}

pub fn header(markup: &mut Markup, report: &Report) {
    let kind = match &report.findings {
        Findings::Run { run } => run.load.what.clone(),
        Findings::Sweep { sweep } => format!("sweep of {}", number::plural(sweep.points.len(), "rate")),
        Findings::Ab { ab } => format!("A and B in turn, {}", number::plural(ab.a.len(), "round")),
    };
    markup.element("header", &[], |markup| {
        markup.element("div", &[], |markup| {
            markup.with_text("p", &[("class", &"brand")], "weirgate loadtest");
            markup.with_text("h1", &[], subject(report));
            markup.element("ul", &[("class", &"facts")], |markup| {
                let protocol = report.workload.protocol.to_string();
                let target = match &report.target_b {
                    Some(b) => format!("A {} · B {b}", report.target),
                    None => report.target.clone(),
                };
                for fact in [&target, &protocol, &kind, &report.workload.what, &report.started] {
                    markup.with_text("li", &[], fact);
                }
            });
        });
        markup.element("button", &[("id", &"theme"), ("type", &"button"), ("hidden", &"")], |markup| {
            markup.text("Dark");
        });
    });
}

pub fn write(markup: &mut Markup, report: &Report) {
    section(markup, "How it was measured", |markup| {
        columns(markup, |markup| {
            pairs(markup, "Load", &load(report));
            pairs(
                markup,
                "Options",
                &given(report).map(|(name, value)| (name.clone(), plain(value))).collect::<Vec<_>>(),
            );
            pairs(markup, "Load tester", &machine(report));
        });
        asides(markup, &verdict::asides(report));
        markup.with_text("h3", &[("class", &"again")], "To run it again");
        markup.element("pre", &[("class", &"again"), ("tabindex", &"0")], |markup| {
            markup.with_text("code", &[], command::again(report));
        });
    });
    section(markup, "Result", |markup| {
        markup.element("p", &[("class", &"actions")], |markup| {
            for (id, name) in [("copy", "Copy JSON"), ("download", "Download JSON")] {
                markup.with_text("button", &[("id", &id), ("type", &"button"), ("hidden", &"")], name);
            }
        });
        markup.with_text(
            "p",
            &[("class", &"note")],
            "This page holds the whole result. Saved as a file it is what weirgate loadtest show and compare read.",
        );
    });
    // A result is made of strings, numbers and lists, so it always becomes JSON.
    markup.json(&[("id", &"result")], &serde_json::to_string(report).unwrap_or_default());
}

/// Options that say something.
fn given(report: &Report) -> impl Iterator<Item = (&String, &Value)> {
    let is_nothing = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(values) => values.is_empty(),
        _ => false,
    };
    report.options.iter().filter(move |(_, value)| !is_nothing(value))
}

fn load(report: &Report) -> Vec<(String, String)> {
    let workload = &report.workload;
    let mut pairs = vec![
        ("requests".to_owned(), workload.what.clone()),
        ("distinct".to_owned(), number::distinct(workload.distinct_requests)),
        ("body".to_owned(), format!("{} on average", number::bytes(workload.mean_bytes))),
        ("answers".to_owned(), if workload.streams { "streamed" } else { "whole" }.to_owned()),
    ];
    if let Some(slo) = &report.slo {
        pairs.push(("objective".to_owned(), slo.clone()));
    }
    pairs
}

fn machine(report: &Report) -> Vec<(String, String)> {
    let mut pairs = vec![("version".to_owned(), report.version.clone())];
    match &report.machine {
        Value::Object(fields) => {
            pairs.extend(fields.iter().map(|(name, value)| (name.replace('_', " "), plain(value))))
        }
        Value::Null => {}
        other => pairs.push(("machine".to_owned(), plain(other))),
    }
    if let Findings::Run { run } = &report.findings {
        pairs.extend(tester::pairs(&run.limits));
    }
    pairs
}

/// A value without JSON's quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
