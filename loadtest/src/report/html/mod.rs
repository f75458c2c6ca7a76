//! One page with everything: it holds its style and script, and asks for nothing from outside.
//!
//! ```text
//! markup   writes elements, escaped and closed
//! parts    what pages are made of: tiles, banners, tables
//! chart    drawings
//! run      one load on one server
//! sweep    a search over rates
//! ab       two servers in turn
//! about    how it came about, and the result as JSON
//! ```
//!
//! The style's colours stay apart for readers who don't see all colours, in both themes. What comes from servers and users
//! passes through [`Markup`], which escapes it.

mod ab;
mod about;
mod chart;
mod markup;
mod parts;
mod run;
mod sweep;

use self::markup::Markup;
use super::verdict;
use crate::result::{Findings, Report};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Lets the page's own style and script in, and nothing from elsewhere, whatever it holds.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

pub fn page(report: &Report) -> String {
    let mut markup = Markup::default();
    markup.own("<!doctype html>\n");
    markup.element("html", &[("lang", &"en")], |markup| {
        markup.element("head", &[], |markup| head(markup, report));
        markup.element("body", &[], |markup| {
            about::header(markup, report);
            markup.element("main", &[], |markup| {
                verdict::notices(report).iter().for_each(|notice| parts::notice(markup, notice));
                match &report.findings {
                    Findings::Run { run } => run::write(markup, run, report.slo.as_deref()),
                    Findings::Sweep { sweep } => sweep::write(markup, sweep, report.slo.as_deref()),
                    Findings::Ab { ab } => ab::write(markup, ab),
                }
                about::write(markup, report);
            });
            markup.element("script", &[], |markup| markup.own(SCRIPT));
        });
    });
    markup.own("\n");
    markup.into_string()
}

fn head(markup: &mut Markup, report: &Report) {
    markup.leaf("meta", &[("charset", &"utf-8")]);
    markup.leaf("meta", &[("http-equiv", &"Content-Security-Policy"), ("content", &POLICY)]);
    markup.leaf("meta", &[("name", &"viewport"), ("content", &"width=device-width, initial-scale=1")]);
    markup.leaf("meta", &[("name", &"color-scheme"), ("content", &"light dark")]);
    markup.leaf("link", &[("rel", &"icon"), ("href", &"data:,")]);
    markup.with_text("title", &[], format_args!("{} – load test", about::subject(report)));
    markup.element("style", &[], |markup| markup.own(STYLE));
}

#[cfg(test)]
mod tests;
