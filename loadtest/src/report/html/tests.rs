//! Whole pages: well-formed, self-contained, with the plots they promise, whatever texts a server sends.

use std::collections::BTreeSet;

use super::page;
use crate::report::fixture;
use crate::result::{Findings, Report, Run};

/// An element's name and attributes as they stand, and the text directly after it.
struct Tag<'a> {
    name: &'a str,
    attributes: &'a str,
}

const VOID: [&str; 2] = ["meta", "link"];

/// Reads the page as XML would be read, but for the doctype and for scripts and styles, whose content is text.
fn tags(page: &str) -> Vec<Tag<'_>> {
    let mut rest = page.strip_prefix("<!doctype html>").unwrap();
    let (mut open, mut tags) = (Vec::new(), Vec::new());
    while let Some((text, tag)) = rest.split_once('<') {
        assert!(!text.contains('>'), "a bare > in {text}");
        let (tag, after) = tag.split_once('>').unwrap();
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closed in the order of opening");
            continue;
        }
        let body = tag.strip_suffix('/').unwrap_or(tag);
        let (name, attributes) = body.split_once(' ').unwrap_or((body, ""));
        assert!(name.chars().all(|char| char.is_ascii_alphanumeric()), "<{name}>");
        assert_eq!(attributes.matches('"').count() % 2, 0, "<{tag}>");
        tags.push(Tag { name, attributes });
        if !tag.ends_with('/') {
            open.push(name);
        } else {
            assert!(VOID.contains(&name) || ["line", "path", "circle", "rect"].contains(&name), "<{name}/>");
        }
        if name == "script" || name == "style" {
            let end = rest.find(&format!("</{name}>")).unwrap();
            assert!(!rest[..end].contains("</"), "nothing ends a {name} but its end");
            rest = &rest[end..];
        }
    }
    assert!(open.is_empty(), "{open:?} stays open");
    tags
}

fn plots(page: &str) -> BTreeSet<&str> {
    tags(page)
        .into_iter()
        .filter_map(|tag| Some(tag.attributes.split_once("data-plot=\"")?.1.split_once('"')?.0))
        .collect()
}

#[test]
fn every_kind_of_result_has_its_plots() {
    for (report, expected) in [
        (
            fixture::streamed(),
            &["answers", "in-flight", "latency", "percentiles", "revisions", "streams", "tokens"][..],
        ),
        (fixture::sweep(), &["answers", "in-flight", "latency", "percentiles", "sweep-answers", "sweep-latency"]),
        (fixture::ab(), &["ratios", "rounds"]),
    ] {
        assert_eq!(plots(&page(&report)).into_iter().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn identifiers_are_there_once_and_what_refers_to_them_finds_them() {
    for report in [fixture::streamed(), fixture::sweep(), fixture::ab()] {
        let page = page(&report);
        let tags = tags(&page);
        let of = |name: &str| {
            let start = format!("{name}=\"");
            let value = move |tag: &Tag<'_>| {
                let at = tag.attributes.find(&start).filter(|at| *at == 0 || tag.attributes[..*at].ends_with(' '))?;
                Some(tag.attributes[at + start.len()..].split_once('"').unwrap().0.to_owned())
            };
            tags.iter().filter_map(value).collect::<Vec<_>>()
        };
        let ids = of("id");
        let distinct: BTreeSet<_> = ids.iter().map(String::as_str).collect();
        assert_eq!(distinct.len(), ids.len(), "{ids:?}");
        let labels = of("aria-labelledby");
        assert!(!labels.is_empty() && labels.iter().flat_map(|ids| ids.split(' ')).all(|id| distinct.contains(id)));
    }
}

#[test]
fn pages_ask_for_nothing_from_outside() {
    let page = page(&fixture::streamed());
    for tag in tags(&page) {
        assert!(!["img", "iframe", "object", "embed", "a", "form", "base"].contains(&tag.name), "<{}>", tag.name);
        assert!(!tag.attributes.contains("src="), "{}", tag.attributes);
        assert!(tag.name != "link" || tag.attributes.ends_with(r#"href="data:,""#), "{}", tag.attributes);
    }
    assert!(!super::STYLE.contains("url(") && !super::STYLE.contains("@import"));
}

#[test]
fn hostile_texts_stay_texts() {
    let (calm, hostile) = (page(&fixture::streamed()), page(&fixture::hostile()));
    let scripts = |page: &str| tags(page).iter().filter(|tag| tag.name == "script").count();
    assert_eq!(scripts(&hostile), scripts(&calm));
    assert!(!hostile.contains("<img") && !hostile.contains("<script>alert") && !hostile.contains('\u{1b}'));
    assert!(!tags(&hostile).iter().any(|tag| tag.attributes.contains("onerror=1>")));
}

#[test]
fn the_page_holds_the_whole_result() {
    for report in [fixture::hostile(), fixture::sweep(), fixture::ab()] {
        let page = page(&report);
        let (_, json) = page.split_once(r#"<script id="result" type="application/json">"#).unwrap();
        let read: Report = serde_json::from_str(json.split_once("</script>").unwrap().0).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), serde_json::to_value(&report).unwrap());
    }
}

#[test]
fn that_the_load_tester_was_the_limit_comes_first() {
    let mut report = fixture::sweep();
    if let Findings::Sweep { sweep } = &mut report.findings {
        let best = sweep.points.iter_mut().find(|point| Some(point.rate) == sweep.best_rate).unwrap();
        best.run.limits.reached.push("its busiest thread had no time left".to_owned());
    }
    let page = page(&report);
    let told = page.find("/s: its busiest thread had no time left").unwrap();
    assert!(told < page.find("class=\"tiles\"").unwrap());
}

#[test]
fn a_run_without_a_single_answer_makes_a_page() {
    let report = Report { findings: Findings::Run { run: Box::new(Run::default()) }, ..fixture::streamed() };
    let page = page(&report);
    assert!(plots(&page).is_empty() && !page.contains("NaN") && !page.contains("inf "));
}

#[test]
fn coordinates_are_numbers() {
    for report in [fixture::streamed(), fixture::sweep(), fixture::ab()] {
        let page = page(&report);
        for tag in tags(&page).iter().filter(|tag| ["path", "line", "circle", "rect", "text"].contains(&tag.name)) {
            assert!(!tag.attributes.contains("NaN") && !tag.attributes.contains("inf"), "{}", tag.attributes);
        }
    }
}
