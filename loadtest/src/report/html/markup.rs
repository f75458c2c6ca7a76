//! Writes markup that is well-formed by construction: what is opened is closed, and every text and attribute escaped.

use std::fmt::{Display, Write};

/// Names and values of attributes.
pub type Attributes<'a> = &'a [(&'a str, &'a dyn Display)];

/// HTML or SVG as it grows.
#[derive(Debug, Default)]
pub struct Markup(String);

impl Markup {
    /// An element with what `inner` writes into it.
    pub fn element(&mut self, tag: &'static str, attributes: Attributes<'_>, inner: impl FnOnce(&mut Markup)) {
        self.head(tag, attributes);
        self.0.push('>');
        inner(self);
        self.0.push_str("</");
        self.0.push_str(tag);
        self.0.push('>');
    }

    /// An element with nothing in it.
    pub fn leaf(&mut self, tag: &'static str, attributes: Attributes<'_>) {
        self.head(tag, attributes);
        self.0.push_str("/>");
    }

    /// An element with a text in it.
    pub fn with_text(&mut self, tag: &'static str, attributes: Attributes<'_>, text: impl Display) {
        self.element(tag, attributes, |inner| inner.text(text));
    }

    pub fn text(&mut self, text: impl Display) {
        escape(&mut self.0, &text.to_string());
    }

    /// Markup that is part of the program, which it being `'static` makes likely.
    pub fn own(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// JSON for a script to read, in an element that browsers take for data. No text in it can end the element.
    pub fn json(&mut self, attributes: Attributes<'_>, json: &str) {
        self.head("script", attributes);
        self.0.push_str(r#" type="application/json">"#);
        // Only strings of JSON hold these, and there the escape means the same.
        self.0.push_str(&json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"));
        self.0.push_str("</script>");
    }

    pub fn into_string(self) -> String {
        self.0
    }

    fn head(&mut self, tag: &'static str, attributes: Attributes<'_>) {
        self.0.push('<');
        self.0.push_str(tag);
        for (name, value) in attributes {
            // Writing to a string can't fail.
            let _ = write!(self.0, " {name}=\"");
            escape(&mut self.0, &value.to_string());
            self.0.push('"');
        }
    }
}

fn escape(to: &mut String, text: &str) {
    for char in text.chars() {
        match char {
            '&' => to.push_str("&amp;"),
            '<' => to.push_str("&lt;"),
            '>' => to.push_str("&gt;"),
            '"' => to.push_str("&quot;"),
            '\'' => to.push_str("&#39;"),
            // Not allowed in either language, and never of use to a reader.
            char if char.is_control() && !matches!(char, '\n' | '\t') => to.push('\u{fffd}'),
            char => to.push(char),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_written_as_text_becomes_markup() {
        let mut markup = Markup::default();
        markup.element("p", &[("title", &"\"><script>")], |inner| {
            inner.text("</p><script>alert('&')\u{1b}");
            inner.leaf("br", &[]);
        });
        assert_eq!(
            markup.into_string(),
            "<p title=\"&quot;&gt;&lt;script&gt;\">&lt;/p&gt;&lt;script&gt;alert(&#39;&amp;&#39;)\u{fffd}<br/></p>"
        );
    }

    #[test]
    fn json_in_a_page_stays_data_and_means_the_same() {
        let value = serde_json::json!({"name": "</script><!-- & 'x'"});
        let mut markup = Markup::default();
        markup.json(&[("id", &"result")], &value.to_string());
        let text = markup.into_string();
        let json = text.strip_prefix(r#"<script id="result" type="application/json">"#).unwrap();
        let json = json.strip_suffix("</script>").unwrap();
        assert!(!json.contains('<'));
        assert_eq!(serde_json::from_str::<serde_json::Value>(json).unwrap(), value);
    }
}
