//! A row for each of several things over one axis: a bar from its start, or a mark with its spread.

use super::axis::Axis;
use super::hover::Hover;
use super::scale::Scale;
use super::{Caption, Key, Px, WIDTH, dot, figure, line, text};
use crate::report::html::markup::{Attributes, Markup};

const LEFT: f64 = 14.0;
const RIGHT: f64 = 22.0;
const TOP: f64 = 8.0;
const ROW: f64 = 42.0;
const BOTTOM: f64 = 46.0;
/// Characters of a row's name at most: it shares its line with the note.
const NAME: usize = 30;

/// A chart of rows.
#[derive(Clone, Debug)]
pub struct Rows {
    pub caption: Caption,
    pub axis: Axis,
    pub rows: Vec<Row>,
    /// A value that the rows are held against.
    pub against: Option<f64>,
    /// What the classes of rows mean.
    pub legend: Vec<(&'static str, &'static str)>,
}

#[derive(Clone, Debug)]
pub struct Row {
    pub name: String,
    /// Beside the name, at the right.
    pub note: String,
    pub class: &'static str,
    pub at: f64,
    /// Least and greatest. Without them the row is a bar.
    pub spread: Option<(f64, f64)>,
}

impl Rows {
    pub fn draw(&self, markup: &mut Markup) {
        let height = TOP + ROW * self.rows.len() as f64 + BOTTOM;
        let bottom = height - BOTTOM;
        let scale = Scale::new(self.axis.spacing, self.axis.range, (LEFT, WIDTH - RIGHT));
        let keys: Vec<Key<'_>> = self.legend.iter().map(|(class, name)| Key { name, class, mark: "block" }).collect();
        figure(markup, &self.caption, height, &keys, &self.hover(scale), |markup| {
            for (tick, name) in &self.axis.ticks {
                if let Some(x) = scale.at(*tick) {
                    line(markup, "grid", (x, TOP), (x, bottom));
                    let (anchor, x) = match x {
                        x if x < LEFT + 12.0 => ("start", x),
                        x if x > WIDTH - RIGHT - 12.0 => ("end", WIDTH - 4.0),
                        x => ("middle", x),
                    };
                    text(markup, "tick", anchor, (x, bottom + 18.0), name);
                }
            }
            text(markup, "name", "end", (WIDTH - RIGHT, height - 8.0), self.axis.title);
            if let Some(x) = self.against.and_then(|against| scale.at(against)) {
                line(markup, "against", (x, TOP), (x, bottom));
            }
            for (index, row) in self.rows.iter().enumerate() {
                row.draw(markup, scale, TOP + ROW * index as f64);
            }
        });
    }

    fn hover(&self, scale: Scale) -> Hover {
        let mut hover = Hover::default();
        for (index, row) in self.rows.iter().enumerate() {
            let Some(x) = scale.at(row.at) else { continue };
            let mut values = vec![(self.axis.title.to_owned(), (self.axis.show)(row.at))];
            if let Some((least, greatest)) = row.spread {
                values.push(("least".to_owned(), (self.axis.show)(least)));
                values.push(("greatest".to_owned(), (self.axis.show)(greatest)));
            }
            let y = TOP + ROW * index as f64 + 28.0;
            hover.add_row((x, y), row.name.clone(), row.class, values);
        }
        hover
    }
}

impl Row {
    fn draw(&self, markup: &mut Markup, scale: Scale, top: f64) {
        let y = top + 28.0;
        text(markup, "row-name", "start", (LEFT, top + 15.0), &shortened(&self.name));
        text(markup, "row-note", "end", (WIDTH - RIGHT, top + 15.0), &self.note);
        let Some(x) = scale.at(self.at) else { return };
        match self.spread {
            Some((least, greatest)) => {
                if let (Some(least), Some(greatest)) = (scale.at(least), scale.at(greatest)) {
                    line(markup, &format!("spread {}", self.class), (least, y), (greatest, y));
                }
                dot(markup, &format!("dot {}", self.class), (x, y), 5.0);
            }
            None => {
                let class = format!("bar {}", self.class);
                let (width, height) = (Px((x - LEFT).max(1.0)), Px(11.0));
                let attributes: Attributes<'_> = &[
                    ("class", &class),
                    ("x", &Px(LEFT)),
                    ("y", &Px(y - 6.0)),
                    ("width", &width),
                    ("height", &height),
                    ("rx", &"2"),
                ];
                markup.leaf("rect", attributes);
            }
        }
    }
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= NAME { name.to_owned() } else { name.chars().take(NAME - 1).chain(['…']).collect() }
}
