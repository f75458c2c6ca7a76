//! Protobuf's text format, as Triton's `config.pbtxt` is written in, without knowing the messages.

/// Messages and lists within each other.
const DEEPEST: usize = 32;

/// `name: value`, or `name { … }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    pub name: &'a str,
    /// From 1.
    pub line: usize,
    pub value: Value<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number, a word, or a string with its quotes; of a string in several pieces the first.
    Scalar(&'a str),
    Message(Vec<Field<'a>>),
    List(Vec<Value<'a>>),
}

impl<'a> Value<'a> {
    /// A scalar, without the quotes of a string.
    pub fn text(&self) -> Option<&'a str> {
        match self {
            Value::Scalar(text) => Some(text.trim_matches(['"', '\''])),
            Value::Message(_) | Value::List(_) => None,
        }
    }

    /// The fields of a message.
    pub fn fields(&self) -> Option<&[Field<'a>]> {
        match self {
            Value::Message(fields) => Some(fields),
            Value::Scalar(_) | Value::List(_) => None,
        }
    }
}

/// Reads a whole text. The error names the line.
pub fn parse(text: &str) -> Result<Vec<Field<'_>>, String> {
    let mut parser = Parser { tokens: Tokens { rest: text, line: 1 }, depth: 0 };
    parser.fields(None)
}

struct Parser<'a> {
    tokens: Tokens<'a>,
    depth: usize,
}

impl<'a> Parser<'a> {
    /// Fields up to the sign that ends them; none: to the end of the text.
    fn fields(&mut self, end: Option<&str>) -> Result<Vec<Field<'a>>, String> {
        let begun = self.tokens.line;
        let mut fields = Vec::new();
        loop {
            match (self.tokens.next()?, end) {
                (None, None) => return Ok(fields),
                (None, Some(end)) => return Err(format!("line {begun}: a {end} is missing for what begins here")),
                (Some(token), Some(end)) if token == end => return Ok(fields),
                (Some("," | ";"), _) if !fields.is_empty() => {}
                (Some(name), _) if is_name(name) => fields.push(self.field(name)?),
                (Some(other), _) => return Err(self.unexpected("the name of a field", Some(other))),
            }
        }
    }

    fn field(&mut self, name: &'a str) -> Result<Field<'a>, String> {
        let line = self.tokens.line;
        let value = match self.tokens.next()? {
            Some(":") => {
                let first = self.tokens.next()?;
                self.value(first)?
            }
            Some(first @ ("{" | "<" | "[")) => self.value(Some(first))?,
            other => return Err(self.unexpected(&format!("a : or {{ behind '{name}'"), other)),
        };
        Ok(Field { name, line, value })
    }

    fn value(&mut self, first: Option<&'a str>) -> Result<Value<'a>, String> {
        match first {
            Some("{") => self.within(|parser| parser.fields(Some("}")).map(Value::Message)),
            Some("<") => self.within(|parser| parser.fields(Some(">")).map(Value::Message)),
            Some("[") => self.within(|parser| parser.list().map(Value::List)),
            Some(string) if is_string(string) => {
                while self.tokens.peek()?.is_some_and(is_string) {
                    self.tokens.next()?;
                }
                Ok(Value::Scalar(string))
            }
            Some(word) if word.starts_with(is_of_word) => Ok(Value::Scalar(word)),
            other => Err(self.unexpected("a value", other)),
        }
    }

    fn list(&mut self) -> Result<Vec<Value<'a>>, String> {
        let mut values = Vec::new();
        loop {
            match self.tokens.next()? {
                Some("]") => return Ok(values),
                first => values.push(self.value(first)?),
            }
            match self.tokens.next()? {
                Some("]") => return Ok(values),
                Some(",") => {}
                other => return Err(self.unexpected("a , or ] in a list", other)),
            }
        }
    }

    fn within<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, String>) -> Result<T, String> {
        if self.depth == DEEPEST {
            return Err(format!("line {}: more than {DEEPEST} messages are in each other", self.tokens.line));
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    fn unexpected(&self, wanted: &str, found: Option<&str>) -> String {
        let found = found.map_or("the end of the file".to_owned(), |found| {
            let short: String = found.chars().take(40).collect();
            format!("'{short}'")
        });
        format!("line {}: expected {wanted}, found {found}", self.tokens.line)
    }
}

/// Words, strings and signs, without comments.
#[derive(Clone)]
struct Tokens<'a> {
    rest: &'a str,
    /// That of the last token.
    line: usize,
}

impl<'a> Tokens<'a> {
    fn next(&mut self) -> Result<Option<&'a str>, String> {
        self.skip();
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        let length = match first {
            '"' | '\'' => quoted(self.rest, first).ok_or_else(|| format!("line {}: a string has no end", self.line))?,
            _ if is_of_word(first) => self.rest.find(|c| !is_of_word(c)).unwrap_or(self.rest.len()),
            _ => first.len_utf8(),
        };
        Ok(Some(self.take(length)))
    }

    fn peek(&self) -> Result<Option<&'a str>, String> {
        self.clone().next()
    }

    /// Steps over blanks and comments.
    fn skip(&mut self) {
        loop {
            let blanks = self.rest.len() - self.rest.trim_start().len();
            self.take(blanks);
            if !self.rest.starts_with('#') {
                return;
            }
            self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
        }
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (token, rest) = self.rest.split_at(length);
        self.line += token.matches('\n').count();
        self.rest = rest;
        token
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '+')
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && token.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_string(token: &str) -> bool {
    token.starts_with(['"', '\''])
}

/// The length of the quoted text at the start, quotes included, if it ends in its line.
fn quoted(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\n' => return None,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return Some(at + c.len_utf8()),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_is_read() {
        let text = "# of \"sum\"\nname: \"a}\" 'b'; max_batch_size: 8,\ninput [ { dims: [ -1, 2 ] } ]\nparameters < key: 'k' >\n";
        let number = |text| Value::Scalar(text);
        let field = |name, line, value| Field { name, line, value };
        let dims = field("dims", 3, Value::List(vec![number("-1"), number("2")]));
        assert_eq!(
            parse(&text.replace("input [", "input: [")).unwrap(),
            [
                field("name", 2, Value::Scalar("\"a}\"")),
                field("max_batch_size", 2, number("8")),
                field("input", 3, Value::List(vec![Value::Message(vec![dims])])),
                field("parameters", 4, Value::Message(vec![field("key", 4, Value::Scalar("'k'"))])),
            ]
        );
        assert_eq!(Value::Scalar("'k'").text(), Some("k"));
        // Triton's examples leave out the colon before a list too.
        assert_eq!(parse(text), parse(&text.replace("input [", "input: [")));
        assert_eq!(parse("  # nothing"), Ok(vec![]));
    }

    #[test]
    fn garbage_is_told_with_its_line() {
        for (text, says) in [
            ("\n\nhello world", "line 3: expected a : or { behind 'hello', found 'world'"),
            ("a: 1\n}", "line 2: expected the name of a field, found '}'"),
            ("a {\nb: 1\n", "line 1: a } is missing"),
            ("a { b: 1 ]", "line 1: expected the name of a field, found ']'"),
            ("a:\n", "expected a value, found the end of the file"),
            ("a: [1 2]", "expected a , or ] in a list, found '2'"),
            ("a: \"x\nb: 1", "line 1: a string has no end"),
            ("{\"name\": \"m\"}", "line 1: expected the name of a field, found '{'"),
            ("\u{7f}ELF", "line 1: expected the name of a field"),
            (&"a {".repeat(40), "more than 32 messages"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
