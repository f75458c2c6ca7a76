//! Where an answer stops: at the first stop string that is complete.
//!
//! An answer comes in pieces, and a stop string may lie across several. What may be the begin of one is held back until it is
//! certain, so no part of a stop string is ever handed out; what can't become one any more is handed out at once.

/// The most stop strings of a call.
const MOST: usize = 32;
/// The most bytes of one.
const LONGEST: usize = 1024;

/// The stop strings of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopStrings {
    patterns: Vec<Pattern>,
}

/// One stop string.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    text: Box<str>,
    /// For each of its begins, by its bytes less one: the longest shorter begin that it ends with.
    falls: Box<[u16]>,
}

impl Pattern {
    fn new(text: &str) -> Pattern {
        let bytes = text.as_bytes();
        let mut falls = vec![0u16; bytes.len()];
        let mut matched = 0;
        for at in 1..bytes.len() {
            while matched > 0 && bytes[at] != bytes[matched] {
                matched = usize::from(falls[matched - 1]);
            }
            matched += usize::from(bytes[at] == bytes[matched]);
            // A stop string has at most `LONGEST` bytes.
            falls[at] = matched as u16;
        }
        Pattern { text: text.into(), falls: falls.into() }
    }

    /// How much of the string the text ends with after one more byte, of how much it did before. All of it is the end.
    fn step(&self, mut matched: usize, byte: u8) -> usize {
        let bytes = self.text.as_bytes();
        while matched > 0 && bytes[matched] != byte {
            matched = usize::from(self.falls[matched - 1]);
        }
        matched + usize::from(bytes[matched] == byte)
    }
}

impl StopStrings {
    /// The error is the caller's.
    pub fn new<S: AsRef<str>>(strings: &[S]) -> Result<StopStrings, String> {
        if strings.len() > MOST {
            return Err(format!("there are {} stop strings, the limit is {MOST}", strings.len()));
        }
        let pattern = |string: &S| match string.as_ref() {
            "" => Err("a stop string is empty: an answer would stop before it begins".to_owned()),
            long if long.len() > LONGEST => {
                Err(format!("a stop string has {} bytes, the limit is {LONGEST}", long.len()))
            }
            string => Ok(Pattern::new(string)),
        };
        Ok(StopStrings { patterns: strings.iter().map(pattern).collect::<Result<_, _>>()? })
    }

    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }
}

/// Looks for stop strings in one answer, in time in proportion to its length.
#[derive(Clone, Debug)]
pub struct StopMatcher {
    strings: StopStrings,
    /// For each string, how much of it the text ends with.
    matched: Vec<usize>,
    /// The end of the text that isn't handed out yet.
    held: String,
    stopped: bool,
}

impl StopMatcher {
    pub fn new(strings: StopStrings) -> StopMatcher {
        let matched = vec![0; strings.patterns.len()];
        StopMatcher { strings, matched, held: String::new(), stopped: false }
    }

    /// Takes the next piece of the answer, and adds to `out` what may be handed out. Says which stop string was complete
    /// first, the longest where several end there: the answer ends before it, and later pieces are left out.
    pub fn push(&mut self, piece: &str, out: &mut String) -> Option<&str> {
        if self.stopped {
            return None;
        }
        for (at, byte) in piece.bytes().enumerate() {
            let mut complete: Option<&Pattern> = None;
            for (pattern, matched) in self.strings.patterns.iter().zip(&mut self.matched) {
                *matched = pattern.step(*matched, byte);
                if *matched == pattern.text.len() && complete.is_none_or(|one| one.text.len() < pattern.text.len()) {
                    complete = Some(pattern);
                }
            }
            if let Some(pattern) = complete {
                self.held.push_str(&piece[..=at]);
                let end = self.held.len() - pattern.text.len();
                out.push_str(&self.held[..end]);
                self.held.clear();
                self.stopped = true;
                return Some(&pattern.text);
            }
        }
        let keep = self.matched.iter().copied().max().unwrap_or_default();
        self.held.push_str(piece);
        // A begin of a stop string begins with a whole character.
        let certain = self.held.len() - keep;
        out.push_str(&self.held[..certain]);
        self.held.drain(..certain);
        None
    }

    /// Adds what was held back to `out`: the answer is over, and no stop string has come.
    pub fn finish(&mut self, out: &mut String) {
        out.push_str(&std::mem::take(&mut self.held));
        self.matched.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is handed out before the first stop string that is complete, and that one: by looking at each end in turn.
    fn naive(text: &str, strings: &[String]) -> (String, Option<String>) {
        for end in (1..=text.len()).filter(|&end| text.is_char_boundary(end)) {
            let longest = strings.iter().filter(|string| text[..end].ends_with(&***string)).max_by_key(|one| one.len());
            if let Some(string) = longest {
                return (text[..end - string.len()].to_owned(), Some(string.clone()));
            }
        }
        (text.to_owned(), None)
    }

    fn found(pieces: &[String], strings: &[String]) -> (String, Option<String>) {
        let mut matcher = StopMatcher::new(StopStrings::new(strings).unwrap());
        let (mut out, mut stopped) = (String::new(), None);
        for piece in pieces {
            stopped = stopped.or(matcher.push(piece, &mut out).map(str::to_owned));
        }
        matcher.finish(&mut out);
        (out, stopped)
    }

    #[test]
    fn only_what_may_become_a_stop_string_is_held_back() {
        let mut matcher = StopMatcher::new(StopStrings::new(&["\n\nHuman:", "###"]).unwrap());
        let mut out = String::new();
        for (piece, so_far) in
            [("Hi\n", "Hi"), ("\n", "Hi"), ("H", "Hi"), ("ello", "Hi\n\nHello"), ("##", "Hi\n\nHello")]
        {
            assert_eq!(matcher.push(piece, &mut out), None);
            assert_eq!(out, so_far);
        }
        assert_eq!(matcher.push("#x", &mut out), Some("###"));
        assert_eq!(matcher.push("more", &mut out), None);
        matcher.finish(&mut out);
        assert_eq!(out, "Hi\n\nHello");
    }

    #[test]
    fn what_can_not_be_looked_for_is_refused() {
        assert!(StopStrings::new(&["a", ""]).unwrap_err().contains("empty"));
        assert_eq!(
            StopStrings::new(&["é".repeat(600)]).unwrap_err(),
            "a stop string has 1200 bytes, the limit is 1024"
        );
        assert_eq!(StopStrings::new(&["a"; 33]).unwrap_err(), "there are 33 stop strings, the limit is 32");
        assert!(StopStrings::new::<&str>(&[]).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn an_answer_stops_where_the_whole_text_says(
            pieces in prop::collection::vec("[abé]{0,4}", 0..12),
            strings in prop::collection::vec("[abé]{1,5}", 0..4),
        ) {
            prop_assert_eq!(found(&pieces, &strings), naive(&pieces.concat(), &strings));
        }

        #[test]
        fn nothing_is_held_longer_than_needed(text in "[ab]{0,30}", strings in prop::collection::vec("[ab]{1,5}", 1..4)) {
            let mut matcher = StopMatcher::new(StopStrings::new(&strings).unwrap());
            let mut out = String::new();
            for end in 1..=text.len() {
                if matcher.push(&text[end - 1..end], &mut out).is_some() {
                    break;
                }
                // What is held is the longest end of the text that is the begin of a stop string.
                let begins = |rest: &str| strings.iter().any(|string| string.starts_with(rest));
                let held = (0..=end).find(|&at| begins(&text[at..end])).unwrap_or(end);
                prop_assert_eq!(&*out, &text[..held]);
            }
        }
    }
}
