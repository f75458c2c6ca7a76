//! Prompts of random words: in all lengths, with beginnings that are shared, and as a trace has them.

use std::sync::Arc;

use super::expect::{Expect, Term};
use super::openai::{Format, Message};
use super::random::{Use, Words, rng};
use super::range::Counts;
use crate::request::{Protocol, Request};

/// Words that stand for one block of a trace, as Mooncake's traces count them.
const BLOCK: usize = 512;
/// Tokens of one prompt of a trace.
const MOST_TOKENS: usize = 1_000_000;

/// How synthetic prompts are made.
#[derive(Clone, Debug)]
pub struct Synthetic {
    pub words: Counts,
    /// Words that begin the first turn.
    pub shared_prefix: usize,
    /// How many beginnings there are. Prompts take them in turn.
    pub prefixes: usize,
    pub turns: usize,
    pub seed: u64,
}

impl Synthetic {
    /// What a caller says in each turn.
    pub fn texts(&self, words: &Words, index: u64) -> Vec<String> {
        let mut own = rng(self.seed, Use::Prompt, index);
        let text = |turn: usize| {
            let mut text = String::new();
            if turn == 0 && self.shared_prefix > 0 {
                let group = index % self.prefixes.max(1) as u64;
                words.push(&mut text, &mut rng(self.seed, Use::Prefix, group), self.shared_prefix);
            }
            let count = self.words.draw(&mut own);
            words.push(&mut text, &mut own, count);
            text
        };
        (0..self.turns).map(text).collect()
    }

    /// About as many bytes as all turns of one caller take at most.
    pub fn most_bytes(&self) -> u64 {
        const WORD: u64 = 6;
        let words = (self.words.to as u64).saturating_mul(self.turns as u64).saturating_add(self.shared_prefix as u64);
        words.saturating_mul(WORD)
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

/// How large one request of a trace was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    pub prompt_tokens: usize,
    pub output_tokens: Option<u32>,
    /// Blocks of 512 tokens that the prompt begins with, by their hashes: what two prompts share is the same text.
    pub blocks: Vec<u64>,
}

/// Requests of the sizes that a trace has, made when they are due: all of a trace at once would not fit in memory.
#[derive(Debug)]
pub struct Recorded {
    sizes: Vec<Sizes>,
    format: Arc<Format>,
    max_tokens: u32,
    terms: Arc<[Term]>,
    words: Words,
    seed: u64,
}

impl Recorded {
    /// `max_tokens` is asked for where the trace does not say.
    pub fn new(
        sizes: Vec<Sizes>,
        format: Arc<Format>,
        max_tokens: u32,
        terms: Arc<[Term]>,
        seed: u64,
    ) -> Result<Recorded, String> {
        if sizes.is_empty() {
            return Err("the trace has no requests".to_owned());
        }
        if let Some(index) = sizes.iter().position(|sizes| sizes.prompt_tokens > MOST_TOKENS) {
            let tokens = sizes[index].prompt_tokens;
            return Err(format!("request {index} of the trace has {tokens} prompt tokens, the limit is {MOST_TOKENS}"));
        }
        if terms.iter().any(|term| matches!(term, Term::Same)) {
            return Err("--expect same compares answers to one request, and a trace sends each once".to_owned());
        }
        Ok(Recorded { sizes, format, max_tokens, terms, words: Words::new(), seed })
    }

    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// The request of this arrival. After the end of the trace it begins again.
    pub fn request(&self, arrival: u64) -> Request {
        let index = (arrival % self.sizes.len() as u64) as usize;
        let text = self.text(index);
        let request = match self.format.protocol {
            Protocol::Embeddings => self.format.embed(&text.into()),
            _ => {
                let max_tokens = self.sizes[index].output_tokens.unwrap_or(self.max_tokens);
                self.format.generate(&[Message::new("user", text)], max_tokens)
            }
        };
        Request { index, expect: Expect::all(&self.terms), ..request }
    }

    fn text(&self, index: usize) -> String {
        let sizes = &self.sizes[index];
        let mut left = sizes.prompt_tokens.max(1);
        let mut text = String::new();
        for &block in &sizes.blocks {
            let count = left.min(BLOCK);
            self.words.push(&mut text, &mut rng(self.seed, Use::Block, block), count);
            left -= count;
        }
        self.words.push(&mut text, &mut rng(self.seed, Use::Prompt, index as u64), left);
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::workload::dress::Dress;

    fn synthetic() -> Synthetic {
        let words = Counts { from: 4, to: 9 };
        Synthetic { words, shared_prefix: 0, prefixes: 1, turns: 1, seed: 1 }
    }

    fn count(text: &str) -> usize {
        text.split(' ').count()
    }

    #[test]
    fn lengths_are_within_what_was_asked_and_turns_as_many() {
        let turns = Synthetic { turns: 3, ..synthetic() };
        let texts: Vec<_> = (0..50).flat_map(|index| turns.texts(&Words::new(), index)).collect();
        assert_eq!(texts.len(), 150);
        let counts: Vec<_> = texts.iter().map(|text| count(text)).collect();
        assert_eq!((counts.iter().min(), counts.iter().max()), (Some(&4), Some(&9)));
    }

    #[test]
    fn groups_share_their_beginnings_and_nothing_else() {
        let grouped = Synthetic { shared_prefix: 100, prefixes: 2, turns: 2, ..synthetic() };
        let begins = |index: u64| {
            let texts = grouped.texts(&Words::new(), index);
            assert!(count(&texts[0]) >= 104 && count(&texts[1]) <= 9);
            let words: Vec<_> = texts[0].split(' ').collect();
            (words[..100].join(" "), words[100..].join(" "))
        };
        let (a, b, c) = (begins(0), begins(1), begins(2));
        assert!(a.0 == c.0 && a.0 != b.0 && a.1 != c.1);
        assert!(grouped.what().contains("after 100 that each of 2 groups shares, in conversations of 2 turns"));
    }

    fn recorded(protocol: Protocol, sizes: Vec<Sizes>, terms: Vec<Term>) -> Result<Recorded, String> {
        let dress = Dress::default();
        let format = Format { protocol, model: "m".to_owned(), stream: false, ignore_eos: false, dress };
        Recorded::new(sizes, Arc::new(format), 16, terms.into(), 1)
    }

    fn sizes(prompt_tokens: usize, output_tokens: Option<u32>, blocks: &[u64]) -> Sizes {
        Sizes { prompt_tokens, output_tokens, blocks: blocks.to_vec() }
    }

    #[test]
    fn a_trace_gives_sizes_and_the_same_blocks_give_the_same_text() {
        let all = vec![
            sizes(1000, Some(7), &[5, 6]),
            sizes(1100, None, &[5, 6]),
            sizes(3, None, &[]),
            sizes(600, None, &[5]),
        ];
        let trace = recorded(Protocol::Completions, all, vec![]).unwrap();
        let bodies: Vec<Value> =
            (0..4).map(|arrival| serde_json::from_slice(&trace.request(arrival).body).unwrap()).collect();
        let words = |index: usize| bodies[index]["prompt"].as_str().unwrap().split(' ').collect::<Vec<_>>();
        assert_eq!([0, 1, 2, 3].map(|index| words(index).len()), [1000, 1100, 3, 600]);
        assert_eq!(words(0), words(1)[..1000]);
        assert_eq!(words(0)[..512], words(3)[..512]);
        assert_ne!(words(0)[512..600], words(3)[512..]);
        assert_eq!((bodies[0]["max_tokens"].as_u64(), bodies[1]["max_tokens"].as_u64()), (Some(7), Some(16)));
        assert_eq!(trace.request(5).body, trace.request(1).body, "it begins again");
    }

    #[test]
    fn traces_that_can_not_be_sent_are_told() {
        let error = |sizes, terms| recorded(Protocol::Chat, sizes, terms).unwrap_err();
        assert_eq!(error(vec![], vec![]), "the trace has no requests");
        let large = vec![sizes(1, None, &[]), sizes(2_000_000, None, &[])];
        assert!(error(large, vec![]).contains("request 1 of the trace has 2000000 prompt tokens"));
        assert!(error(vec![sizes(1, None, &[])], vec![Term::Same]).contains("--expect same"));
    }
}
