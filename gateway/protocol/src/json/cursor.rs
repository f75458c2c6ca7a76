//! A cursor over JSON text that hands values straight to whoever knows their type.
//!
//! A tensor's numbers are the bulk of a body. Reading them through a tree of values takes about twice as long
//! (`benches/v2_json.rs`) and many times their memory, so nothing here allocates but the strings that are asked for. The
//! grammar is that of RFC 8259, to the letter: what this cursor accepts, every other parser accepts too.

use std::borrow::Cow;
use std::ops::Range;

use super::fault::Fault;
use super::number::{self, Number};
use crate::error::Shown;

/// How deep arrays and objects may nest.
pub(crate) const MAX_DEPTH: usize = 64;

pub(crate) type Parsed<T> = Result<T, Fault>;

#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    /// What refusals say of what JSON can't carry.
    advice: &'static str,
}

const OF_TENSORS: &str = ": send the tensor in binary, over V2";

impl<'a> Cursor<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        Cursor { text, at: 0, advice: OF_TENSORS }
    }

    /// A cursor of a body that has no tensors, whose refusals speak of none.
    pub fn without_tensors(text: &'a [u8]) -> Self {
        Cursor { text, at: 0, advice: "" }
    }

    /// A second cursor of the same text, at a value that was skipped. Positions stay those of the body.
    pub fn revisit(&self, skipped: &Range<usize>) -> Self {
        Cursor { at: skipped.start, ..*self }
    }

    /// The text of a value that was skipped.
    pub fn text(&self, skipped: Range<usize>) -> &'a [u8] {
        self.text.get(skipped).unwrap_or_default()
    }

    /// Where the cursor is, in bytes from the body's start.
    pub fn at(&self) -> usize {
        self.at
    }

    /// How many bytes are left: no value can need more.
    pub fn left(&self) -> usize {
        self.text.len() - self.at
    }

    /// The next byte that is not white space.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        while let Some(&byte) = self.text.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    /// Steps over `byte` if it is the next one.
    #[inline]
    pub fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// A refusal of what comes next: `wanted` says what should have come.
    #[cold]
    pub fn expected(&mut self, wanted: &str) -> Fault {
        let found = self.found();
        Fault::new(self.at, format!("expected {wanted}, found {found}"))
    }

    /// What comes next, in words.
    fn found(&mut self) -> String {
        let Some(byte) = self.peek() else { return "the end of the body".to_owned() };
        let rest = &self.text[self.at..];
        if ["NaN", "Infinity", "-Infinity"].iter().any(|word| rest.starts_with(word.as_bytes())) {
            return format!("NaN or Infinity, which JSON does not have{}", self.advice);
        }
        match byte {
            b'[' => "an array".to_owned(),
            b'{' => "an object".to_owned(),
            b'"' => match self.clone().string() {
                Ok(text) => format!("the string \"{}\"", Shown(&text)),
                Err(_) => "a broken string".to_owned(),
            },
            b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                let length = rest.iter().take(Shown::MAX_BYTES).take_while(|byte| is_word(**byte)).count();
                Shown(&String::from_utf8_lossy(&rest[..length])).to_string()
            }
            0x20..0x7f => format!("'{}'", char::from(byte)),
            _ => format!("the byte 0x{byte:02x}"),
        }
    }

    /// A number as `convert` has it; `wanted` says what it should be.
    #[inline(always)]
    pub fn number<T>(&mut self, wanted: impl Fn() -> String, convert: impl Fn(Number<'_>) -> Option<T>) -> Parsed<T> {
        self.peek();
        match number::read(&self.text[self.at..], convert) {
            Some((length, Some(value))) => {
                self.at += length;
                Ok(value)
            }
            _ => Err(self.expected(&wanted())),
        }
    }

    /// Steps over `word`, if it comes next.
    pub fn literal(&mut self, word: &str) -> bool {
        self.peek();
        let found = self.text[self.at..].starts_with(word.as_bytes())
            && !self.text.get(self.at + word.len()).is_some_and(|byte| is_word(*byte));
        self.at += if found { word.len() } else { 0 };
        found
    }

    pub fn bool(&mut self, wanted: &str) -> Parsed<bool> {
        if self.literal("true") {
            Ok(true)
        } else if self.literal("false") {
            Ok(false)
        } else {
            Err(self.expected(wanted))
        }
    }

    /// A string; borrowed from the body unless it has escapes.
    pub fn string(&mut self) -> Parsed<Cow<'a, str>> {
        if !self.eat(b'"') {
            return Err(self.expected("a string"));
        }
        let plain = self.plain_run()?;
        if self.text.get(self.at) == Some(&b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.as_bytes().to_vec();
        self.rest_of_string(&mut text)?;
        let start = self.at;
        String::from_utf8(text).map(Cow::Owned).map_err(|_| Fault::new(start, "string is not UTF-8"))
    }

    /// Appends a string's UTF-8 bytes.
    pub fn string_into(&mut self, wanted: &str, out: &mut Vec<u8>) -> Parsed<()> {
        if !self.eat(b'"') {
            return Err(self.expected(wanted));
        }
        self.rest_of_string(out)
    }

    /// Everything up to the closing quote, which is stepped over.
    fn rest_of_string(&mut self, out: &mut Vec<u8>) -> Parsed<()> {
        loop {
            out.extend_from_slice(self.plain_run()?.as_bytes());
            // A plain run ends at a quote or a backslash.
            let quote = self.text[self.at] == b'"';
            self.at += 1;
            if quote {
                return Ok(());
            }
            let mut utf8 = [0; 4];
            out.extend_from_slice(self.escape()?.encode_utf8(&mut utf8).as_bytes());
        }
    }

    /// The characters up to the next quote or backslash.
    fn plain_run(&mut self) -> Parsed<&'a str> {
        let start = self.at;
        let rest = &self.text[start..];
        let Some(length) = find_special(rest) else {
            return Err(Fault::new(start, "string has no end"));
        };
        self.at += length;
        if rest[length] < 0x20 {
            let text = format!("string has the control character 0x{:02x}: escape it", rest[length]);
            return Err(Fault::new(self.at, text));
        }
        std::str::from_utf8(&rest[..length])
            .map_err(|error| Fault::new(start + error.valid_up_to(), format!("string is not UTF-8{}", self.advice)))
    }

    /// What a backslash stands for; the cursor is just behind it.
    fn escape(&mut self) -> Parsed<char> {
        let at = self.at - 1;
        let letter = self.text.get(self.at).copied();
        self.at += 1;
        Ok(match letter {
            Some(plain @ (b'"' | b'\\' | b'/')) => plain.into(),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => self.unicode_escape(at)?,
            _ => return Err(Fault::new(at, "string has an unknown escape")),
        })
    }

    fn unicode_escape(&mut self, at: usize) -> Parsed<char> {
        let unit = self.hex4(at)?;
        let code = match unit {
            0xD800..0xDC00 if self.text[self.at..].starts_with(b"\\u") => {
                self.at += 2;
                let low = self.hex4(at)?;
                if !(0xDC00..0xE000).contains(&low) {
                    return Err(lone_surrogate(at));
                }
                0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
            }
            code => code,
        };
        char::from_u32(code).ok_or_else(|| lone_surrogate(at))
    }

    fn hex4(&mut self, at: usize) -> Parsed<u32> {
        let refused = || Fault::new(at, "string has a \\u escape without four hexadecimal digits");
        let digits = self.text[self.at..].first_chunk::<4>().ok_or_else(refused)?;
        self.at += 4;
        let digit = |value, digit: &u8| Some(value << 4 | char::from(*digit).to_digit(16)?);
        digits.iter().try_fold(0, digit).ok_or_else(refused)
    }

    /// Steps over any value, and returns where it was.
    pub fn skip(&mut self) -> Parsed<Range<usize>> {
        self.peek();
        let start = self.at;
        self.skip_nested(0)?;
        Ok(start..self.at)
    }

    fn skip_nested(&mut self, depth: usize) -> Parsed<()> {
        match self.peek() {
            Some(b'[' | b'{') if depth == MAX_DEPTH => Err(self.too_deep()),
            Some(b'[') => self.array(|cursor, _| cursor.skip_nested(depth + 1)),
            Some(b'{') => self.skip_object(depth),
            Some(b'"') => self.skip_string(),
            Some(b'-' | b'0'..=b'9') => self.number(|| "a number".to_owned(), |_| Some(())),
            _ if self.literal("true") || self.literal("false") || self.literal("null") => Ok(()),
            _ => Err(self.expected("a value")),
        }
    }

    fn skip_object(&mut self, depth: usize) -> Parsed<()> {
        let mut more = self.opens_object()?;
        while more {
            self.peek();
            let mut key = self.clone();
            self.skip_string()?;
            self.ends_key(&key)?;
            self.skip_nested(depth + 1).map_err(|fault| fault.in_field(&key.shown_key()))?;
            more = self.another_field()?;
        }
        Ok(())
    }

    fn skip_string(&mut self) -> Parsed<()> {
        match self.plain_ascii() {
            Some(_) => Ok(()),
            None => self.string().map(drop),
        }
    }

    /// The text of a string, if that is what comes next, and all of it stands there as it is, in ASCII. Steps over it then:
    /// nothing has to be looked at twice, as it is where UTF-8 must be checked.
    #[inline]
    fn plain_ascii(&mut self) -> Option<&'a [u8]> {
        let rest = self.text.get(self.at..)?.strip_prefix(b"\"")?;
        let text = rest.get(..find_special(rest)?)?;
        if rest.get(text.len()) != Some(&b'"') || !text.is_ascii() {
            return None;
        }
        self.at += text.len() + 2;
        Some(text)
    }

    #[cold]
    pub fn too_deep(&self) -> Fault {
        Fault::new(self.at, format!("nested deeper than {MAX_DEPTH} levels"))
    }

    /// An object: `field` is called at the start of each value, with its key.
    pub fn object(&mut self, mut field: impl FnMut(&mut Self, &str) -> Parsed<()>) -> Parsed<()> {
        let mut more = self.opens_object()?;
        while more {
            let key = self.key()?;
            field(self, &key).map_err(|fault| fault.in_field(&key))?;
            more = self.another_field()?;
        }
        Ok(())
    }

    /// Goes into an object as far as the value of `wanted`; `false` where the object has none, and is stepped over.
    pub fn seek(&mut self, wanted: &str) -> Parsed<bool> {
        let mut more = self.opens_object()?;
        while more {
            self.peek();
            let mut key = self.clone();
            let is_wanted = match self.plain_ascii() {
                Some(key) => key == wanted.as_bytes(),
                None => self.string()? == wanted,
            };
            self.ends_key(&key)?;
            if is_wanted {
                return Ok(true);
            }
            self.skip_nested(0).map_err(|fault| fault.in_field(&key.shown_key()))?;
            more = self.another_field()?;
        }
        Ok(false)
    }

    /// Steps into an object; `false` where it is empty, and stepped over.
    fn opens_object(&mut self) -> Parsed<bool> {
        if !self.eat(b'{') {
            return Err(self.expected("an object"));
        }
        Ok(!self.eat(b'}'))
    }

    /// A field's key; what comes next is its value.
    fn key(&mut self) -> Parsed<Cow<'a, str>> {
        let start = self.clone();
        let key = self.string()?;
        self.ends_key(&start)?;
        Ok(key)
    }

    /// Steps from a key, which begins at `start`, to its value.
    fn ends_key(&mut self, start: &Self) -> Parsed<()> {
        if !self.eat(b':') {
            return Err(self.expected("':'").in_field(&start.clone().shown_key()));
        }
        self.peek();
        Ok(())
    }

    /// The key that comes next, which is known to be one.
    #[cold]
    fn shown_key(&mut self) -> Cow<'a, str> {
        self.string().unwrap_or_default()
    }

    /// Steps behind a field; `false` where that was the object's last.
    fn another_field(&mut self) -> Parsed<bool> {
        if self.eat(b',') {
            Ok(true)
        } else if self.eat(b'}') {
            Ok(false)
        } else {
            Err(self.expected("',' or '}'"))
        }
    }

    /// An array: `item` is called at the start of each value, with its index.
    pub fn array(&mut self, mut item: impl FnMut(&mut Self, usize) -> Parsed<()>) -> Parsed<()> {
        if !self.eat(b'[') {
            return Err(self.expected("an array"));
        }
        if self.eat(b']') {
            return Ok(());
        }
        for index in 0.. {
            self.peek();
            item(self, index).map_err(|fault| fault.in_item(index))?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(self.expected("',' or ']'")),
            }
        }
        self.at += 1;
        Ok(())
    }

    /// Refuses anything but white space behind the last value.
    pub fn end(&mut self) -> Parsed<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.expected("the end of the JSON")),
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

fn lone_surrogate(at: usize) -> Fault {
    Fault::new(at, "string has half of a surrogate pair")
}

/// Where the first quote, backslash or control character is. Short strings end within the first words; of longer ones many
/// bytes are looked at together: texts are the bulk of what is asked of language models.
pub(super) fn find_special(bytes: &[u8]) -> Option<usize> {
    const SHORT: usize = 16;
    if let Some((short, rest)) = bytes.split_at_checked(SHORT) {
        return find_special_by_word(short).or_else(|| Some(SHORT + find_special_by_block(rest)?));
    }
    find_special_by_word(bytes)
}

fn find_special_by_block(bytes: &[u8]) -> Option<usize> {
    let (blocks, _) = bytes.as_chunks::<32>();
    // Without a branch for each byte, so that the compiler takes the instructions that compare many at once.
    let specials = |block: &[u8; 32]| block.iter().fold(0, |found, byte| found | u8::from(is_special(*byte)));
    let plain = 32 * blocks.iter().take_while(|block| specials(block) == 0).count();
    find_special_by_word(&bytes[plain..]).map(|at| plain + at)
}

const fn is_special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

fn find_special_by_word(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // Each sets the high bit of the first byte that it is about; those behind that one may be wrong.
        let is = |byte: u8| {
            let differs = word ^ (ONES * u64::from(byte));
            differs.wrapping_sub(ONES) & !differs
        };
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let found = (is(b'"') | is(b'\\') | control) & HIGHS;
        if found != 0 {
            return Some(8 * index + (found.trailing_zeros() / 8) as usize);
        }
    }
    rest.iter().position(|byte| is_special(*byte)).map(|at| bytes.len() - rest.len() + at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_special_byte_is_found_wherever_it_is(
            mut bytes in prop::collection::vec(any::<u8>(), 0..64),
            plain in 0usize..64,
        ) {
            // As they come, most bytes would soon be followed by a special one.
            bytes.iter_mut().take(plain).for_each(|byte| *byte = if *byte < 0x30 || *byte == b'\\' { *byte | 0x80 } else { *byte });
            let one_by_one = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            prop_assert_eq!(find_special(&bytes), one_by_one);
        }
    }
}
