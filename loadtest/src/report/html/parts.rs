//! What pages are made of: banners, tiles, tables and lists.

use super::markup::{Attributes, Markup};
use crate::report::tables::{self, Row, Table};
use crate::report::verdict::{self, Notice};

/// Tiles beside each other at most; with more they hold too little.
const TILES: usize = 5;

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
    let style = format!("--columns: {}", columns_of(tiles.len()));
    markup.element("dl", &[("class", &"tiles"), ("style", &style)], |markup| {
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

/// Columns that spread so many tiles evenly over as few rows as hold them.
fn columns_of(tiles: usize) -> usize {
    let rows = tiles.div_ceil(TILES).max(1);
    tiles.div_ceil(rows)
}

/// A sentence above everything, with the reasons for it.
pub fn notice(markup: &mut Markup, Notice { kind, sentence, reasons }: &Notice) {
    let class = match kind {
        verdict::Kind::Warned => "warned",
        verdict::Kind::Stopped => "stopped",
        verdict::Kind::Met => "met",
        verdict::Kind::Missed => "missed",
        verdict::Kind::Told | verdict::Kind::Failed => "told",
    };
    markup.element("section", &[("class", &format!("banner {class}")), ("role", &"status")], |markup| {
        markup.with_text("b", &[("aria-hidden", &"true")], kind.sign());
        markup.element("div", &[], |markup| {
            markup.with_text("p", &[], sentence);
            list(markup, reasons);
        });
    });
}

/// Remarks below each other, if there are any.
pub fn asides(markup: &mut Markup, asides: &[String]) {
    markup.element("div", &[("class", &"asides")], |markup| list(markup, asides));
}

fn list(markup: &mut Markup, items: &[String]) {
    if !items.is_empty() {
        markup.element("ul", &[], |markup| items.iter().for_each(|item| markup.with_text("li", &[], item)));
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

pub fn table(markup: &mut Markup, table: &Table) {
    let class = if table.remarks { "table remarks" } else { "table" };
    // It scrolls by itself where it is too wide for the screen; focus lets keys scroll it.
    let attributes: Attributes<'_> =
        &[("class", &class), ("tabindex", &"0"), ("role", &"region"), ("aria-label", &table.caption)];
    markup.element("div", attributes, |markup| {
        markup.element("table", &[], |markup| {
            markup.with_text("caption", &[], &table.caption);
            if table.rows.is_empty() {
                return;
            }
            markup.element("thead", &[], |markup| {
                markup.element("tr", &[], |markup| {
                    for name in &table.head {
                        markup.with_text("th", &[("scope", &"col")], name);
                    }
                });
            });
            markup.element("tbody", &[], |markup| table.rows.iter().for_each(|one| row(markup, one)));
        });
        table.notes.iter().for_each(|text| note(markup, text));
    });
}

fn row(markup: &mut Markup, row: &Row) {
    let class = match row.kind {
        tables::Kind::Plain => "",
        tables::Kind::Detail => "detail",
        tables::Kind::Best => "best",
        tables::Kind::Missed => "not",
    };
    markup.element("tr", &[("class", &class)], |markup| {
        for (index, cell) in row.cells.iter().enumerate() {
            match index {
                0 => markup.with_text("th", &[("scope", &"row")], cell),
                _ => markup.with_text("td", &[], cell),
            }
        }
    });
}

/// Names and values below a title, if there are any.
pub fn pairs(markup: &mut Markup, title: &str, pairs: &[(String, String)]) {
    if pairs.is_empty() {
        return;
    }
    markup.element("div", &[("class", &"pairs")], |markup| {
        markup.with_text("h3", &[], title);
        markup.element("dl", &[], |markup| {
            for (name, value) in pairs {
                markup.with_text("dt", &[], name);
                markup.with_text("dd", &[], value);
            }
        });
    });
}

/// A remark below a table or chart.
pub fn note(markup: &mut Markup, text: &str) {
    markup.with_text("p", &[("class", &"note")], text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tile_is_left_to_a_row_of_its_own() {
        assert_eq!([1, 4, 5, 6, 7, 8, 9, 11].map(columns_of), [1, 4, 5, 3, 4, 4, 5, 4]);
        for tiles in 2..=20 {
            assert_ne!(tiles % columns_of(tiles), 1, "{tiles}");
        }
    }
}
