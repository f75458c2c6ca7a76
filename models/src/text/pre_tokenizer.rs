//! How a text is split before pairs are merged: no token of a byte-level vocabulary reaches over these borders.
//!
//! Models publish their split as a regular expression. The expressions look ahead, and engines that can do that keep a
//! stack of what to come back to, which a long run of spaces fills; what they do then is to give up, or to split elsewhere
//! without a word. The scanners here say the same as the expressions, in one pass and without a stack. Tests hold them
//! against the expressions, on random texts.

use super::character::{Class, class, may_begin_word, may_end_word};

/// A way to split, by the name that `tokenizer.ggml.pre` gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreTokenizer {
    /// The names it has in files.
    pub names: &'static [&'static str],
    pattern: Pattern,
    /// Texts are brought to Unicode's composed form first.
    pub composes: bool,
    /// A piece that is a token is that token, whatever the merges would make of it.
    pub whole_words: bool,
    /// The first token of a text is `bos`, where the file doesn't say.
    pub adds_bos: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pattern {
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
    Gpt2,
    /// Each `\p{N}` by itself; between them the same.
    Gpt2Digits,
    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
    Llama3Triples,
    /// The same, with `\p{N}` by itself.
    Llama3Digits,
    /// `P?U*W+|P?U+W*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`, where P is `[^\r\n\p{L}\p{N}]`, U
    /// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`, and W `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`.
    Tekken,
}

/// All of them. What is not here is refused: a wrong split gives tokens that the network was never trained on, and answers
/// that are a little worse without any sign of it.
const TABLE: [PreTokenizer; 5] = [
    PreTokenizer { names: &["gpt-2"], pattern: Pattern::Gpt2, composes: false, whole_words: false, adds_bos: false },
    PreTokenizer {
        names: &["smollm", "starcoder", "refact", "command-r"],
        pattern: Pattern::Gpt2Digits,
        composes: false,
        whole_words: false,
        adds_bos: false,
    },
    PreTokenizer {
        names: &["llama-bpe", "llama3", "llama-v3"],
        pattern: Pattern::Llama3Triples,
        composes: false,
        whole_words: true,
        adds_bos: true,
    },
    PreTokenizer {
        names: &["qwen2", "deepseek-r1-qwen"],
        pattern: Pattern::Llama3Digits,
        composes: true,
        whole_words: false,
        adds_bos: false,
    },
    PreTokenizer { names: &["tekken"], pattern: Pattern::Tekken, composes: false, whole_words: true, adds_bos: true },
];

impl PreTokenizer {
    pub fn of(name: &str) -> Result<PreTokenizer, String> {
        TABLE.into_iter().find(|one| one.names.contains(&name)).ok_or_else(|| {
            let known: Vec<&str> = TABLE.iter().flat_map(|one| one.names).copied().collect();
            let short: String = name.chars().take(40).collect();
            format!("tokenizer.ggml.pre is '{short}', and known are {}", known.join(", "))
        })
    }

    /// Calls `each` with the pieces of the text, in their order; joined they are the text.
    pub fn split<'a>(&self, text: &'a str, mut each: impl FnMut(&'a str)) {
        let first = match self.pattern {
            Pattern::Gpt2 => gpt2,
            Pattern::Gpt2Digits => {
                // A digit is a piece, and what lies before it is split as if nothing followed.
                return text.split_inclusive(char::is_numeric).for_each(|part| {
                    let digit = part.chars().next_back().filter(|last| last.is_numeric()).map_or(0, char::len_utf8);
                    let (before, digit) = part.split_at(part.len() - digit);
                    pieces(before, gpt2, &mut each);
                    pieces(digit, first_char, &mut each);
                });
            }
            Pattern::Llama3Digits => |text: &str| llama3(text, 1),
            Pattern::Llama3Triples => |text: &str| llama3(text, 3),
            Pattern::Tekken => tekken,
        };
        pieces(text, first, &mut each);
    }
}

/// Takes pieces off the text until it is empty. `first` gives the length of the first piece, in bytes.
fn pieces<'a>(mut text: &'a str, first: fn(&str) -> usize, each: &mut impl FnMut(&'a str)) {
    while !text.is_empty() {
        let (piece, rest) = text.split_at(first(text));
        each(piece);
        text = rest;
    }
}

fn llama3(text: &str, digits: usize) -> usize {
    contraction(text, true)
        .or_else(|| prefixed_word(text))
        .or_else(|| numbers(text, digits))
        .or_else(|| punctuation(text, "\r\n"))
        .unwrap_or_else(|| lines_or_spaces(text))
}

fn tekken(text: &str) -> usize {
    cased_word(text)
        .or_else(|| numbers(text, 1))
        .or_else(|| punctuation(text, "\r\n/"))
        .unwrap_or_else(|| lines_or_spaces(text))
}

fn gpt2(text: &str) -> usize {
    if let Some(length) = contraction(text, false) {
        return length;
    }
    let space = usize::from(text.starts_with(' '));
    match text[space..].chars().next().map(class) {
        Some(kind) if kind != Class::Space => space + run(&text[space..], |one| class(one) == kind),
        _ => spaces(text, run(text, char::is_whitespace)),
    }
}

/// `'s|'t|'re|'ve|'m|'ll|'d`, in any case where that is asked for.
fn contraction(text: &str, any_case: bool) -> Option<usize> {
    let rest = text.strip_prefix('\'')?;
    ["s", "t", "re", "ve", "m", "ll", "d"].into_iter().find_map(|ending| {
        let mut characters = rest.chars();
        let mut length = 1;
        for wanted in ending.chars() {
            let found = characters.next()?;
            // The long s is the one letter beyond ASCII that is among these when case doesn't count.
            let same = match any_case {
                true => found.eq_ignore_ascii_case(&wanted) || (wanted == 's' && found == 'ſ'),
                false => found == wanted,
            };
            if !same {
                return None;
            }
            length += found.len_utf8();
        }
        Some(length)
    })
}

/// Length of what `[^\r\n\p{L}\p{N}]` matches at the begin, or 0.
fn prefix(text: &str) -> usize {
    match text.chars().next() {
        Some(first) if first != '\r' && first != '\n' && matches!(class(first), Class::Space | Class::Other) => {
            first.len_utf8()
        }
        _ => 0,
    }
}

/// `[^\r\n\p{L}\p{N}]?\p{L}+`
fn prefixed_word(text: &str) -> Option<usize> {
    let before = prefix(text);
    let letters = run(&text[before..], |one| class(one) == Class::Letter);
    (letters > 0).then_some(before + letters)
}

/// `P?U*W+|P?U+W*`, see [`Pattern::Tekken`].
fn cased_word(text: &str) -> Option<usize> {
    let before = prefix(text);
    let prefixes = if before > 0 { [before, 0] } else { [0, 0] };
    let first = prefixes.into_iter().find_map(|before| Some(before + ends_low(&text[before..])?));
    first.or_else(|| {
        prefixes.into_iter().find_map(|before| {
            let high = run(&text[before..], may_begin_word);
            (high > 0).then(|| before + high + run(&text[before + high..], may_end_word))
        })
    })
}

/// `U*W+`: as many of U as there are, but at least one of W behind them. Where none follows, the last of those that are in
/// both has to do.
fn ends_low(text: &str) -> Option<usize> {
    let high = run(text, may_begin_word);
    let low = run(&text[high..], may_end_word);
    if low > 0 {
        return Some(high + low);
    }
    let (at, last) = text[..high].char_indices().rfind(|&(_, one)| may_end_word(one))?;
    Some(at + last.len_utf8())
}

/// ` ?[^\s\p{L}\p{N}]+[AFTER]*`
fn punctuation(text: &str, after: &str) -> Option<usize> {
    let space = usize::from(text.starts_with(' '));
    let signs = run(&text[space..], |one| class(one) == Class::Other);
    (signs > 0).then(|| {
        let signs = space + signs;
        signs + run(&text[signs..], |one| after.contains(one))
    })
}

/// `\s*[\r\n]+|\s+(?!\S)|\s+`
fn lines_or_spaces(text: &str) -> usize {
    let all = run(text, char::is_whitespace);
    match text[..all].rfind(['\r', '\n']) {
        Some(last) => last + 1,
        None => spaces(text, all),
    }
}

/// `\s+(?!\S)|\s+` on a text that begins with `all` bytes of spaces: the last space is left to the word behind it.
fn spaces(text: &str, all: usize) -> usize {
    let last = text[..all].chars().next_back().map_or(0, char::len_utf8);
    if all < text.len() && all > last { all - last } else { all }
}

fn run(text: &str, wanted: impl Fn(char) -> bool) -> usize {
    text.find(|one| !wanted(one)).unwrap_or(text.len())
}

/// `\p{N}{1,MOST}`
fn numbers(text: &str, most: usize) -> Option<usize> {
    let numbers = text.chars().take(most).take_while(|&one| class(one) == Class::Number);
    Some(numbers.map(char::len_utf8).sum()).filter(|&length| length > 0)
}

fn first_char(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(name: &str, text: &str) -> Vec<String> {
        let mut pieces = Vec::new();
        PreTokenizer::of(name).unwrap().split(text, |piece| pieces.push(piece.to_owned()));
        pieces
    }

    #[test]
    fn each_way_splits_as_it_says() {
        for (name, text, pieces) in [
            (
                "gpt-2",
                "I'm  12 x!\n\n y\u{e000}'s",
                &["I", "'m", " ", " 12", " x", "!", "\n\n", " y", "\u{e000}'", "s"][..],
            ),
            ("smollm", "a  12 b's", &["a", "  ", "1", "2", " b", "'s"]),
            (
                "llama-bpe",
                "I'M (x)  1234\r\n\n  y.\n\n",
                &["I", "'M", " (", "x", ")", " ", " ", "123", "4", "\r\n\n", " ", " y", ".\n\n"],
            ),
            ("qwen2", "12'ſ\t\tz", &["1", "2", "'ſ", "\t", "\tz"]),
            (
                "tekken",
                "HTTPServer aBC a/b/\n12 日本ª",
                &["HTTPServer", " a", "BC", " a", "/b", "/\n", "1", "2", " 日本ª"],
            ),
        ] {
            assert_eq!(split(name, text), pieces, "{name}");
        }
    }

    #[test]
    fn a_name_that_is_not_known_is_refused_with_those_that_are() {
        let error = PreTokenizer::of("default").unwrap_err();
        assert!(error.starts_with("tokenizer.ggml.pre is 'default', and known are gpt-2, smollm"), "{error}");
    }

    #[test]
    fn a_long_run_takes_one_pass() {
        // Each pass over the rest would take hours.
        for name in ["gpt-2", "smollm", "llama-bpe", "qwen2", "tekken"] {
            for run in [" ", "a", "1", "\n", "!", "\u{301}", "ª", "A", "'", " \n", "ab "] {
                let text = format!("{}x", run.repeat(300_000));
                assert_eq!(split(name, &text).concat(), text, "{name} {run:?}");
            }
        }
    }
}
