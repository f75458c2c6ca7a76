//! Columns that line up, and sentences that fit.

use crate::report::tables::{Kind, Table};

/// Characters of a line at most.
pub const WIDTH: usize = 100;
/// Between columns.
const GAP: usize = 2;

/// Text as it grows, line by line.
#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    pub fn blank(&mut self) {
        if !self.0.is_empty() && !self.0.ends_with("\n\n") {
            self.0.push('\n');
        }
    }

    /// A sentence over as many lines as it needs; each begins with `start`.
    pub fn sentence(&mut self, start: &str, text: &str) {
        let room = WIDTH - start.chars().count();
        let mut line = String::new();
        for word in plain(text).split_whitespace() {
            for piece in pieces(word, room) {
                let length = line.chars().count();
                if length > 0 && length + 1 + piece.chars().count() > room {
                    self.line(start, &line);
                    line.clear();
                }
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(&piece);
            }
        }
        self.line(start, &line);
    }

    /// The table with its notes, and a free line.
    pub fn table(&mut self, table: &Table) {
        let columns = Columns::of(table);
        for (name, remark) in columns.write(&mut self.0) {
            self.sentence("  ", &format!("{name} {}: {remark}", table.head[0]));
        }
        for note in &table.notes {
            self.sentence("  ", note);
        }
        self.blank();
    }

    pub fn into_string(self) -> String {
        format!("{}\n", self.0.trim_end())
    }

    fn line(&mut self, start: &str, text: &str) {
        self.0.push_str(format!("{start}{text}").trim_end());
        self.0.push('\n');
    }
}

/// A table's cells as text.
struct Columns {
    rows: Vec<Vec<String>>,
    /// Whether the last column is text, which may be cut to fit.
    remarks: bool,
}

impl Columns {
    fn of(table: &Table) -> Columns {
        let mut head: Vec<String> = table.head.iter().map(|name| plain(name)).collect();
        if let Some(first) = head.first_mut().filter(|first| first.is_empty()) {
            *first = plain(&table.caption);
        }
        let rows = table.rows.iter().map(|row| {
            let mut cells: Vec<String> = row.cells.iter().map(|cell| plain(cell)).collect();
            if row.kind == Kind::Detail {
                cells[0].insert_str(0, "  ");
            }
            cells
        });
        Columns { rows: [head].into_iter().chain(rows).collect(), remarks: table.remarks }
    }

    /// Gives the name of each row with its remark, where that had to be cut.
    fn write(&self, to: &mut String) -> Vec<(&str, &str)> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| Some(row.get(column)?.chars().count())).max().unwrap_or_default()
        };
        let mut widths: Vec<usize> = (0..columns).map(width).collect();
        let excess = (widths.iter().sum::<usize>() + GAP * columns).saturating_sub(WIDTH);
        // Only texts are cut, never numbers.
        let longest = if self.remarks && widths[columns - 1] > widths[0] { columns - 1 } else { 0 };
        widths[longest] = widths[longest].saturating_sub(excess).max(8);
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                let cell = cut(cell, width);
                let is_text = column == 0 || (self.remarks && column + 1 == columns);
                let padding = " ".repeat(width - cell.chars().count());
                line.push_str(&" ".repeat(GAP));
                line.push_str(&if is_text { cell + &padding } else { padding + &cell });
            }
            to.push_str(line.trim_end());
            to.push('\n');
        }
        let is_cut = |row: &&Vec<String>| row.last().is_some_and(|remark| remark.chars().count() > widths[columns - 1]);
        let cut = self.rows.iter().filter(|_| self.remarks).filter(is_cut);
        cut.map(|row| (row[0].as_str(), row[columns - 1].as_str())).collect()
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width { text.to_owned() } else { text.chars().take(width - 1).chain(['…']).collect() }
}

/// Without control characters, which a terminal would act on, and without those that turn the direction of writing.
pub fn plain(text: &str) -> String {
    let acts = |char: char| char.is_control() || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|char| if acts(char) { '\u{fffd}' } else { char }).collect()
}

/// A word in pieces that fit a line, broken after commas if it can be.
fn pieces(word: &str, room: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for part in word.split_inclusive(',') {
        let length = part.chars().count();
        if let Some(last) = pieces.last_mut().filter(|last| last.chars().count() + length <= room) {
            last.push_str(part);
            continue;
        }
        let chars: Vec<char> = part.chars().collect();
        pieces.extend(chars.chunks(room).map(|piece| piece.iter().collect::<String>()));
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tables::Row;

    fn table(caption: &str, head: [&str; 2], rows: &[(Kind, [&str; 2])]) -> String {
        let rows = rows.iter().map(|(kind, cells)| Row { kind: *kind, cells: cells.map(str::to_owned).to_vec() });
        let head = head.map(str::to_owned).to_vec();
        let table = Table { caption: caption.to_owned(), head, rows: rows.collect(), ..Table::default() };
        let mut page = Page::default();
        page.table(&table);
        page.into_string()
    }

    #[test]
    fn numbers_line_up_at_their_right_and_names_at_their_left() {
        let text =
            table("times", ["", "from due"], &[(Kind::Plain, ["p50", "1.25"]), (Kind::Detail, ["p99.9", "110.00"])]);
        assert_eq!(text, "  times     from due\n  p50           1.25\n    p99.9     110.00\n");
    }

    #[test]
    fn a_long_name_is_cut_and_numbers_are_not() {
        let text = table("", ["", "requests"], &[(Kind::Plain, [&"x".repeat(300), "123,456,789"])]);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH) && text.contains("… "), "{text}");
        assert!(text.trim_end().ends_with("123,456,789"));
    }

    #[test]
    fn a_long_objective_breaks_after_commas() {
        let mut page = Page::default();
        let slo = ["p99<50ms", "ttft.p99.9<200ms", "errors<0.1%"].repeat(5).join(",");
        page.sentence("", &format!("objective met: {slo}"));
        let text = page.into_string();
        assert!(text.lines().count() > 1 && text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        let ends = |line: &str| line.ends_with(',') || line.ends_with("met:") || line.ends_with("0.1%");
        assert!(text.lines().all(ends), "{text}");
        assert!(text.replace('\n', "").ends_with(&slo), "{text}");
    }

    #[test]
    fn sentences_break_between_words_and_long_words_within() {
        let mut page = Page::default();
        page.sentence("!! ", &format!("{} {}", "word ".repeat(30), "y".repeat(250)));
        let text = page.into_string();
        assert!(text.lines().all(|line| line.starts_with("!! ") && line.chars().count() <= WIDTH), "{text}");
        assert_eq!(text.matches("word").count(), 30);
        assert_eq!(text.matches('y').count(), 250);
    }
}
