//! Prompts of random words: in all lengths, and with beginnings that are shared.

use std::sync::Arc;

use super::conversation::{Line, Script};
use super::expect::{Expect, Term};
use super::openai::{Format, Message, More};
use super::random::{Use, Words, rng};
use super::range::Counts;
use crate::request::{Protocol, Request};

/// Words of one prompt, or of all that is said in one conversation.
pub const MOST_WORDS: usize = 1_000_000;

/// What synthetic prompts are like.
#[derive(Clone, Debug)]
pub struct Shape {
    pub words: Counts,
    /// Words that begin the first turn.
    pub shared_prefix: usize,
    /// How many beginnings there are. Prompts take them in turn.
    pub prefixes: usize,
    pub turns: usize,
    pub max_tokens: u32,
    pub seed: u64,
}

impl Shape {
    /// Whether what one caller says can be held.
    pub fn check(&self) -> Result<(), String> {
        match self.most_words() {
            words if words > MOST_WORDS => Err(format!(
                "all turns of one caller have {words} words, the limit is {MOST_WORDS}: lower --prompt-words, \
                 --shared-prefix or --turns"
            )),
            _ => Ok(()),
        }
    }

    fn most_words(&self) -> usize {
        self.words.to.saturating_mul(self.turns).saturating_add(self.shared_prefix)
    }

    /// About as many bytes as all turns of one caller take at most.
    pub fn most_bytes(&self) -> u64 {
        const WORD: u64 = 6;
        self.most_words() as u64 * WORD
    }

    /// In words.
    pub fn what(&self) -> String {
        let Counts { from, to } = self.words;
        let mut what = match from == to {
            true => format!("synthetic prompts of {from} words"),
            false => format!("synthetic prompts of {from} to {to} words"),
        };
        match (self.shared_prefix, self.prefixes) {
            (0, _) => {}
            (shared, 1) => what += &format!(", after {shared} that all share"),
            (shared, groups) => what += &format!(", after {shared} that each of {groups} groups shares"),
        }
        if self.turns > 1 {
            what += &format!(", in conversations of {} turns", self.turns);
        }
        what
    }
}

/// Makes synthetic prompts, each when it is due: a server that keeps what it was asked before must not know any.
#[derive(Debug)]
pub struct Synthetic {
    pub shape: Shape,
    pub format: Arc<Format>,
    pub terms: Arc<[Term]>,
    pub words: Words,
}

impl Synthetic {
    /// The request of this arrival, which opens a conversation where there are several turns. Any other arrival and any
    /// other run has other words, but for those that are shared.
    pub fn request(&self, run: u64, arrival: u64) -> Request {
        let mut texts = self.texts(run, arrival);
        match self.format.protocol {
            Protocol::Embeddings => {
                let request = self.format.embed(&texts.concat().into(), &More::default());
                Request { expect: Expect::all(&self.terms), ..request }
            }
            _ => {
                let later = texts.split_off(1).into_iter().map(|text| self.line(text)).collect();
                Script::open(&self.format, &self.line(texts.concat()), later)
            }
        }
    }

    fn line(&self, text: String) -> Line {
        let messages = vec![Message::new("user", text)];
        Line { messages, max_tokens: self.shape.max_tokens, expect: Expect::all(&self.terms) }
    }

    /// What a caller says in each turn, at least one.
    fn texts(&self, run: u64, arrival: u64) -> Vec<String> {
        let Shape { words, shared_prefix, prefixes, turns, seed, .. } = self.shape;
        let mut own = rng(seed, Use::Prompt, run, arrival);
        let mut opening = String::new();
        if shared_prefix > 0 {
            let group = arrival % prefixes.max(1) as u64;
            self.words.push(&mut opening, &mut rng(seed, Use::Prefix, 0, group), shared_prefix);
        }
        let mut say = |mut text: String| {
            let count = words.draw(&mut own);
            self.words.push(&mut text, &mut own, count);
            text
        };
        let mut texts = vec![say(opening)];
        texts.extend((1..turns).map(|_| say(String::new())));
        texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::dress::Dress;

    fn synthetic(shared_prefix: usize, prefixes: usize, turns: usize) -> Synthetic {
        let words = Counts { from: 4, to: 9 };
        let shape = Shape { words, shared_prefix, prefixes, turns, max_tokens: 1, seed: 1 };
        let dress = Dress::default();
        let format = Format { protocol: Protocol::Chat, model: "m".into(), stream: false, ignore_eos: false, dress };
        Synthetic { shape, format: Arc::new(format), terms: Vec::new().into(), words: Words::new() }
    }

    fn count(text: &str) -> usize {
        text.split(' ').count()
    }

    #[test]
    fn lengths_are_within_what_was_asked_and_turns_as_many() {
        let turns = synthetic(0, 1, 3);
        let texts: Vec<_> = (0..50).flat_map(|arrival| turns.texts(0, arrival)).collect();
        assert_eq!(texts.len(), 150);
        let counts: Vec<_> = texts.iter().map(|text| count(text)).collect();
        assert_eq!((counts.iter().min(), counts.iter().max()), (Some(&4), Some(&9)));
    }

    #[test]
    fn groups_share_their_beginnings_in_all_runs_and_nothing_else() {
        let grouped = synthetic(100, 2, 2);
        let begins = |run: u64, arrival: u64| {
            let texts = grouped.texts(run, arrival);
            assert!(count(&texts[0]) >= 104 && count(&texts[1]) <= 9);
            let words: Vec<_> = texts[0].split(' ').collect();
            (words[..100].join(" "), words[100..].join(" "))
        };
        let (a, b, c, later) = (begins(0, 0), begins(0, 1), begins(0, 2), begins(1, 0));
        assert!(a.0 == c.0 && a.0 != b.0 && a.1 != c.1);
        assert!(a.0 == later.0 && a.1 != later.1);
        assert!(grouped.shape.what().contains("after 100 that each of 2 groups shares, in conversations of 2 turns"));
    }
}
