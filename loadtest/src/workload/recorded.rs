//! Prompts of the sizes that a trace has, which begin alike where the trace says so.

use std::sync::Arc;

use super::expect::{Expect, Term};
use super::openai::{Format, Message, More};
use super::random::{Use, Words, rng};
use super::synthetic::MOST_WORDS;
use crate::request::{Protocol, Request};

/// Words that stand for one block of a trace, as Mooncake's traces count them.
const BLOCK: usize = 512;

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
        if let Some(index) = sizes.iter().position(|sizes| sizes.prompt_tokens > MOST_WORDS) {
            let tokens = sizes[index].prompt_tokens;
            return Err(format!("request {index} of the trace has {tokens} prompt tokens, the limit is {MOST_WORDS}"));
        }
        if terms.iter().any(|term| matches!(term, Term::Same)) {
            return Err("--expect same compares answers to one request, and a trace sends each once".to_owned());
        }
        Ok(Recorded { sizes, format, max_tokens, terms, words: Words::new(), seed })
    }

    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// The request of this arrival. Each run has other words, so that no server knows them from the run before. After the
    /// end of the trace it begins again.
    pub fn request(&self, run: u64, arrival: u64) -> Request {
        let index = (arrival % self.sizes.len() as u64) as usize;
        let text = self.text(run, arrival, &self.sizes[index]);
        let request = match self.format.protocol {
            Protocol::Embeddings => self.format.embed(&text.into(), &More::default()),
            _ => {
                let max_tokens = self.sizes[index].output_tokens.unwrap_or(self.max_tokens);
                self.format.generate(&[Message::new("user", text)], max_tokens, &More::default())
            }
        };
        Request { index, expect: Expect::all(&self.terms), ..request }
    }

    fn text(&self, run: u64, arrival: u64, sizes: &Sizes) -> String {
        let mut left = sizes.prompt_tokens.max(1);
        let mut text = String::new();
        for &block in &sizes.blocks {
            let count = left.min(BLOCK);
            self.words.push(&mut text, &mut rng(self.seed, Use::Block, run, block), count);
            left -= count;
        }
        self.words.push(&mut text, &mut rng(self.seed, Use::Prompt, run, arrival), left);
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::workload::dress::Dress;

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
            (0..4).map(|arrival| serde_json::from_slice(&trace.request(0, arrival).body).unwrap()).collect();
        let words = |index: usize| bodies[index]["prompt"].as_str().unwrap().split(' ').collect::<Vec<_>>();
        assert_eq!([0, 1, 2, 3].map(|index| words(index).len()), [1000, 1100, 3, 600]);
        assert_eq!(words(0), words(1)[..1000]);
        assert_eq!(words(0)[..512], words(3)[..512]);
        assert_ne!(words(0)[512..600], words(3)[512..]);
        assert_eq!((bodies[0]["max_tokens"].as_u64(), bodies[1]["max_tokens"].as_u64()), (Some(7), Some(16)));
        let again: Value = serde_json::from_slice(&trace.request(0, 5).body).unwrap();
        let (again, first) = (again["prompt"].as_str().unwrap(), bodies[1]["prompt"].as_str().unwrap());
        assert!(
            again != first && words(1)[..1024].join(" ") == again.split(' ').take(1024).collect::<Vec<_>>().join(" ")
        );
        let later: Value = serde_json::from_slice(&trace.request(1, 0).body).unwrap();
        assert_ne!(later["prompt"].as_str().unwrap().split(' ').take(512).collect::<Vec<_>>(), words(0)[..512]);
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
