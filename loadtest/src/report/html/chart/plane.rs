//! Curves over two axes.

use std::fmt::Write;

use super::axis::Axis;
use super::hover::Hover;
use super::scale::Scale;
use super::{Caption, Key, Px, WIDTH, dot, figure, line, text};
use crate::report::html::markup::{Attributes, Markup};

const HEIGHT: f64 = 290.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 48.0;
/// Height of a mark's name above the plot.
const ROW: f64 = 18.0;
/// Up to this many points each gets a dot.
const DOTS: usize = 40;

/// A chart of `y` over `x`.
#[derive(Clone, Debug)]
pub struct Plane {
    pub caption: Caption,
    pub x: Axis,
    pub y: Axis,
    pub series: Vec<Series>,
    /// Stretches of `x` that are shaded, with a name for the legend.
    pub bands: Vec<(f64, f64, &'static str)>,
    pub marks: Vec<Mark>,
}

/// A line across the plot, with a name.
#[derive(Clone, Debug)]
pub struct Mark {
    pub at: f64,
    /// Whether it stands at a value of `x`, or lies at one of `y`.
    pub upright: bool,
    pub name: String,
    pub class: &'static str,
}

/// Values by rising `x`. None is a gap.
#[derive(Clone, Debug)]
pub struct Series {
    pub name: String,
    pub class: &'static str,
    pub shape: Shape,
    pub points: Vec<(f64, Option<f64>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Line,
    Dashed,
    /// Level from the middle before each point to the middle after it.
    Steps,
    /// Circles around points, to mark some of another series.
    Rings,
}

impl Series {
    pub fn new(
        name: &str,
        class: &'static str,
        shape: Shape,
        points: impl IntoIterator<Item = (f64, Option<f64>)>,
    ) -> Series {
        Series { name: name.to_owned(), class, shape, points: points.into_iter().collect() }
    }

    /// All its values, for an axis to have room for.
    pub fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.points.iter().filter_map(|(_, y)| *y)
    }
}

/// Where a plane's values lie on the drawing.
struct Frame {
    x: Scale,
    y: Scale,
    top: f64,
    height: f64,
}

impl Frame {
    fn bottom(&self) -> f64 {
        self.height - BOTTOM
    }

    fn place(&self, (x, y): (f64, Option<f64>)) -> Option<(f64, f64)> {
        Some((self.x.at(x)?, self.y.at(y?)?))
    }
}

impl Plane {
    pub fn draw(&self, markup: &mut Markup) {
        let rows = self.marks.iter().filter(|mark| mark.upright).count();
        let top = TOP + ROW * rows as f64;
        let height = HEIGHT + ROW * rows as f64;
        let frame = Frame {
            x: Scale::new(self.x.spacing, self.x.range, (LEFT, WIDTH - RIGHT)),
            y: Scale::new(self.y.spacing, self.y.range, (height - BOTTOM, top)),
            top,
            height,
        };
        let bands = self.bands.iter().map(|(_, _, name)| Key { name, class: "calm", mark: "shade" });
        let keys: Vec<Key<'_>> = self.series.iter().map(Series::key).chain(bands).collect();
        figure(markup, &self.caption, height, &keys, &self.hover(&frame), |markup| {
            self.draw_bands(markup, &frame);
            self.draw_axes(markup, &frame);
            self.draw_marks(markup, &frame);
            for series in &self.series {
                series.draw(markup, &frame);
            }
        });
    }

    fn draw_axes(&self, markup: &mut Markup, frame: &Frame) {
        let (bottom, end) = (frame.bottom(), WIDTH - RIGHT);
        for (tick, name) in &self.y.ticks {
            if let Some(y) = frame.y.at(*tick) {
                line(markup, "grid", (LEFT, y), (end, y));
                text(markup, "tick", "end", (LEFT - 6.0, y + 4.0), name);
            }
        }
        line(markup, "axis", (LEFT, bottom), (end, bottom));
        for (tick, name) in &self.x.ticks {
            if let Some(x) = frame.x.at(*tick) {
                line(markup, "axis", (x, bottom), (x, bottom + 4.0));
                let anchor = if x > end - 12.0 { "end" } else { "middle" };
                text(markup, "tick", anchor, (x.min(end), bottom + 18.0), name);
            }
        }
        text(markup, "name", "start", (2.0, frame.top - 13.0), self.y.title);
        text(markup, "name", "end", (end, frame.height - 8.0), self.x.title);
    }

    fn draw_bands(&self, markup: &mut Markup, frame: &Frame) {
        for (from, to, _) in &self.bands {
            let (Some(from), Some(to)) = (frame.x.at(*from), frame.x.at(*to)) else { continue };
            let (width, height) = (to - from, frame.bottom() - frame.top);
            let attributes: Attributes<'_> = &[
                ("class", &"band"),
                ("x", &Px(from)),
                ("y", &Px(frame.top)),
                ("width", &Px(width)),
                ("height", &Px(height)),
            ];
            markup.leaf("rect", attributes);
        }
    }

    fn draw_marks(&self, markup: &mut Markup, frame: &Frame) {
        let mut row = 0.0;
        for mark in &self.marks {
            let class = format!("mark {}", mark.class);
            let name = format!("mark-name {}", mark.class);
            if mark.upright {
                let Some(x) = frame.x.at(mark.at) else { continue };
                let y = 14.0 + ROW * row;
                row += 1.0;
                line(markup, &class, (x, y + 4.0), (x, frame.bottom()));
                let is_right = x > WIDTH * 0.6;
                let (anchor, x) = if is_right { ("end", x + 4.0) } else { ("start", x - 4.0) };
                text(markup, &name, anchor, (x, y), &mark.name);
            } else {
                let Some(y) = frame.y.at(mark.at) else { continue };
                line(markup, &class, (LEFT, y), (WIDTH - RIGHT, y));
                text(markup, &name, "start", (LEFT + 4.0, y - 4.0), &mark.name);
            }
        }
    }

    fn hover(&self, frame: &Frame) -> Hover {
        let mut hover = Hover::across((frame.top, frame.bottom()));
        for series in self.series.iter().filter(|series| series.shape != Shape::Rings) {
            for (x, y) in &series.points {
                if let (Some((px, py)), Some(y)) = (frame.place((*x, *y)), y) {
                    hover.add(px, (self.x.show)(*x), series.class, &series.name, py, (self.y.show)(*y));
                }
            }
        }
        hover
    }
}

impl Series {
    fn key(&self) -> Key<'_> {
        let mark = match self.shape {
            Shape::Dashed => "dashed",
            Shape::Rings => "ring",
            Shape::Line | Shape::Steps => "line",
        };
        Key { name: &self.name, class: self.class, mark }
    }

    fn draw(&self, markup: &mut Markup, frame: &Frame) {
        let places: Vec<_> = self.points.iter().map(|point| frame.place(*point)).collect();
        if self.shape == Shape::Rings {
            for place in places.into_iter().flatten() {
                dot(markup, &format!("ring {}", self.class), place, 6.0);
            }
            return;
        }
        let path = if self.shape == Shape::Steps { steps(&places) } else { path(&places) };
        let dashed = if self.shape == Shape::Dashed { "dashed " } else { "" };
        markup.leaf("path", &[("class", &format!("curve {dashed}{}", self.class)), ("d", &path)]);
        // A point between two gaps has no line, so it needs its dot however many there are.
        for (index, place) in places.iter().enumerate() {
            let alone =
                (index == 0 || places[index - 1].is_none()) && places.get(index + 1).is_none_or(Option::is_none);
            if let Some(place) = place.filter(|_| alone || (places.len() <= DOTS && self.shape == Shape::Line)) {
                dot(markup, &format!("dot {}", self.class), place, 2.5);
            }
        }
    }
}

fn path(places: &[Option<(f64, f64)>]) -> String {
    let mut path = String::new();
    let mut command = 'M';
    for place in places {
        // Writing to a string can't fail.
        if let Some((x, y)) = place {
            let _ = write!(path, "{command}{x:.1} {y:.1}");
        }
        command = if place.is_some() { 'L' } else { 'M' };
    }
    path
}

fn steps(places: &[Option<(f64, f64)>]) -> String {
    let mut corners = Vec::with_capacity(places.len() * 2);
    for (index, place) in places.iter().enumerate() {
        let Some((x, y)) = *place else {
            corners.push(None);
            continue;
        };
        let beside = |index: Option<usize>| index.and_then(|index| *places.get(index)?);
        let middle = |other: Option<(f64, f64)>| other.map_or(x, |(other, _)| f64::midpoint(x, other));
        corners.push(Some((middle(beside(index.checked_sub(1))), y)));
        corners.push(Some((middle(beside(Some(index + 1))), y)));
    }
    path(&corners)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_in_the_values_is_a_gap_in_the_curve() {
        assert_eq!(path(&[Some((1.0, 2.0)), Some((2.0, 3.0)), None, Some((4.0, 5.0))]), "M1.0 2.0L2.0 3.0M4.0 5.0");
        assert_eq!(path(&[]), "");
    }

    #[test]
    fn steps_change_between_points() {
        assert_eq!(steps(&[Some((0.0, 1.0)), Some((10.0, 5.0))]), "M0.0 1.0L5.0 1.0L5.0 5.0L10.0 5.0");
    }
}
