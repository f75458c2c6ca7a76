//! What pages are made of: banners, tiles and tables.

use super::markup::{Attributes, Markup};
use crate::report::verdict::Verdict;

/// A number that matters, with its name and a remark.
#[derive(Clone, Debug)]
pub struct Tile {
    pub name: &'static str,
    pub value: String,
    pub unit: String,
    pub remark: String,
}

impl Tile {
    pub fn new(name: &'static str, shown: &str, remark: impl Into<String>) -> Tile {
        let (value, unit) = shown.rsplit_once(' ').unwrap_or((shown, ""));
        Tile { name, value: value.to_owned(), unit: unit.to_owned(), remark: remark.into() }
    }
}

pub fn tiles(markup: &mut Markup, tiles: &[Tile]) {
    markup.element("dl", &[("class", &"tiles")], |markup| {
        for tile in tiles {
            markup.element("div", &[("class", &"tile")], |markup| {
                markup.with_text("dt", &[], tile.name);
                markup.element("dd", &[], |markup| {
                    markup.with_text("strong", &[], &tile.value);
                    if !tile.unit.is_empty() {
                        markup.with_text("span", &[], format_args!(" {}", tile.unit));
                    }
                    markup.with_text("small", &[], &tile.remark);
                });
            });
        }
    });
}

/// A sentence above everything, with the reasons for it.
pub fn banner(markup: &mut Markup, class: &str, sign: &str, sentence: &str, reasons: &[String]) {
    markup.element("section", &[("class", &format!("banner {class}")), ("role", &"status")], |markup| {
        markup.with_text("b", &[("aria-hidden", &"true")], sign);
        markup.element("div", &[], |markup| {
            markup.with_text("p", &[], sentence);
            if !reasons.is_empty() {
                markup.element("ul", &[], |markup| {
                    for reason in reasons {
                        markup.with_text("li", &[], reason);
                    }
                });
            }
        });
    });
}

/// Says that the load tester was itself the limit, if it was.
pub fn limits(markup: &mut Markup, reached: &[String]) {
    if !reached.is_empty() {
        let sentence = "The load tester was at its own limit: these figures say more of it than of the server.";
        banner(markup, "warned", "!", sentence, reached);
    }
}

pub fn verdict(markup: &mut Markup, verdict: &Verdict) {
    if verdict.missed.is_empty() {
        banner(markup, "met", "✓", &format!("Objective met: {}", verdict.slo), &verdict.doubts);
    } else {
        banner(markup, "missed", "✗", &format!("Objective missed: {}", verdict.slo), &verdict.missed);
    }
}

/// A heading with what is below it.
pub fn section(markup: &mut Markup, title: &str, inner: impl FnOnce(&mut Markup)) {
    markup.element("section", &[], |markup| {
        markup.with_text("h2", &[], title);
        inner(markup);
    });
}

/// Charts beside each other, as far as there is room.
pub fn charts(markup: &mut Markup, inner: impl FnOnce(&mut Markup)) {
    markup.element("div", &[("class", &"charts")], inner);
}

/// Things beside each other that are not charts.
pub fn columns(markup: &mut Markup, inner: impl FnOnce(&mut Markup)) {
    markup.element("div", &[("class", &"columns")], inner);
}

/// A table whose first column names its rows.
#[derive(Clone, Debug)]
pub struct Table<'a> {
    pub caption: &'a str,
    pub head: &'a [&'a str],
    /// Cells, and a class that may be empty.
    pub rows: Vec<(&'static str, Vec<String>)>,
    /// Whether the last column is text; all others but the first are numbers.
    pub remarks: bool,
}

pub fn table(markup: &mut Markup, table: &Table<'_>) {
    let class = if table.remarks { "table remarks" } else { "table" };
    // It scrolls by itself where it is too wide for the screen; focus lets keys scroll it.
    let attributes: Attributes<'_> =
        &[("class", &class), ("tabindex", &"0"), ("role", &"region"), ("aria-label", &table.caption)];
    markup.element("div", attributes, |markup| {
        markup.element("table", &[], |markup| {
            markup.with_text("caption", &[], table.caption);
            markup.element("thead", &[], |markup| {
                markup.element("tr", &[], |markup| {
                    for name in table.head {
                        markup.with_text("th", &[("scope", &"col")], name);
                    }
                });
            });
            markup.element("tbody", &[], |markup| {
                for (class, cells) in &table.rows {
                    markup.element("tr", &[("class", class)], |markup| row(markup, cells));
                }
            });
        });
    });
}

fn row(markup: &mut Markup, cells: &[String]) {
    for (index, cell) in cells.iter().enumerate() {
        match index {
            0 => markup.with_text("th", &[("scope", &"row")], cell),
            _ => markup.with_text("td", &[], cell),
        }
    }
}

/// A remark below a table or chart.
pub fn note(markup: &mut Markup, text: &str) {
    markup.with_text("p", &[("class", &"note")], text);
}
