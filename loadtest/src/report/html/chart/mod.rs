//! Charts as SVG in a figure: title, legend, drawing, and what a pointer reads off it.
//!
//! ```text
//! scale  from values to places, and round ticks
//! axis   what a direction of a chart means
//! plane  curves over two axes
//! rows   one bar or mark a row over one axis
//! hover  what the script shows beside the pointer
//! ```
//!
//! A drawing has fixed coordinates and grows with the page. Its texts have room for the larger font that narrow screens get
//! (`style.css`). Colours are classes `c1` to `c5`, `good`, `bad` and `calm`, which the style gives a value in each theme.

pub mod axis;
mod hover;
pub mod plane;
pub mod rows;
pub mod scale;

use std::fmt;

use self::hover::Hover;
use super::markup::{Attributes, Markup};

/// Width of every drawing, in its own coordinates.
const WIDTH: f64 = 520.0;

/// A coordinate, to a tenth.
struct Px(f64);

impl fmt::Display for Px {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1}", self.0)
    }
}

/// What every chart has around its drawing.
#[derive(Clone, Debug, Default)]
pub struct Caption {
    /// Names the chart in the page, once.
    pub id: &'static str,
    pub title: &'static str,
    /// What is to be seen, in a sentence; read out where the drawing can't be seen.
    pub about: String,
}

/// A name in the legend, and the class that colours what it names.
struct Key<'a> {
    name: &'a str,
    class: &'static str,
    mark: &'static str,
}

/// A figure with a drawing of this height.
fn figure(
    markup: &mut Markup,
    caption: &Caption,
    height: f64,
    keys: &[Key<'_>],
    hover: &Hover,
    draw: impl FnOnce(&mut Markup),
) {
    let (title, about) = (format!("{}-title", caption.id), format!("{}-about", caption.id));
    markup.element("figure", &[("class", &"chart"), ("id", &caption.id), ("data-plot", &caption.id)], |markup| {
        markup.element("figcaption", &[], |markup| {
            markup.with_text("h3", &[], caption.title);
            markup.with_text("p", &[], &caption.about);
        });
        if !keys.is_empty() {
            markup.element("ul", &[("class", &"legend"), ("aria-hidden", &"true")], |markup| {
                for key in keys {
                    markup.element("li", &[("class", &key.class)], |markup| {
                        markup.element("i", &[("class", &key.mark)], |_| ());
                        markup.text(key.name);
                    });
                }
            });
        }
        markup.element("div", &[("class", &"drawing")], |markup| {
            let view = format!("0 0 {WIDTH} {height}");
            let labels = format!("{title} {about}");
            let attributes: Attributes<'_> = &[
                ("viewBox", &view),
                ("role", &"img"),
                ("aria-labelledby", &labels),
                ("tabindex", &"0"),
                ("xmlns", &"http://www.w3.org/2000/svg"),
            ];
            markup.element("svg", attributes, |markup| {
                markup.with_text("title", &[("id", &title)], caption.title);
                markup.with_text("desc", &[("id", &about)], &caption.about);
                draw(markup);
            });
            hover.write(markup);
        });
    });
}

fn line(markup: &mut Markup, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    markup.leaf("line", &[("class", &class), ("x1", &Px(x1)), ("y1", &Px(y1)), ("x2", &Px(x2)), ("y2", &Px(y2))]);
}

fn text(markup: &mut Markup, class: &str, anchor: &str, (x, y): (f64, f64), text: &str) {
    markup.with_text("text", &[("class", &class), ("x", &Px(x)), ("y", &Px(y)), ("text-anchor", &anchor)], text);
}

fn dot(markup: &mut Markup, class: &str, (x, y): (f64, f64), radius: f64) {
    markup.leaf("circle", &[("class", &class), ("cx", &Px(x)), ("cy", &Px(y)), ("r", &Px(radius))]);
}
