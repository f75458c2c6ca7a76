//! What a sequence carries besides its tokens: its sampler, its text so far, and where it stops.

use std::sync::Arc;

use weirgate_models::text::{Detokenizer, StopMatcher, Tokenizer};
use weirgate_protocol::Error;
use weirgate_replicas_core::sampling::{SampleError, Sampler, Scratch};
use weirgate_replicas_core::tokens::{Leave, Sample};

use super::answer::{FinishReason, StopCause};
use super::request::Generate;

/// Writes one answer.
pub(super) struct AnswerWriter {
    tokenizer: Arc<Tokenizer>,
    sampler: Sampler,
    detokenizer: Detokenizer,
    stops: StopMatcher,
    /// Tokens that end the answer, in order.
    stop_tokens: Box<[u32]>,
    min_new_tokens: usize,
    new_tokens: usize,
    /// Why it ends, where that is known here.
    end: Option<FinishReason>,
    /// Text of the token at hand.
    piece: String,
}

impl AnswerWriter {
    /// The request was checked.
    pub fn new(request: &Generate, tokenizer: Arc<Tokenizer>) -> AnswerWriter {
        let own: &[u32] = if request.ignore_eos { &[] } else { tokenizer.ends() };
        let mut stop_tokens = [own, &request.stop_tokens].concat();
        stop_tokens.sort_unstable();
        AnswerWriter {
            sampler: Sampler::new(request.sampling.clone(), &request.prompt),
            detokenizer: Detokenizer::new(&tokenizer, false),
            stops: StopMatcher::new(request.stop.clone()),
            stop_tokens: stop_tokens.into(),
            min_new_tokens: request.min_new_tokens,
            new_tokens: 0,
            end: None,
            piece: String::new(),
            tokenizer,
        }
    }

    /// Draws the next token, and adds to `text` what becomes certain by it.
    pub fn next(&mut self, logits: &[f32], scratch: &mut Scratch, text: &mut String) -> Sample {
        let banned: &[u32] = if self.new_tokens < self.min_new_tokens { &self.stop_tokens } else { &[] };
        let token = match self.sampler.sample(logits, banned, scratch) {
            Ok(token) => token,
            Err(error) => {
                self.end = Some(FinishReason::Failed(match error {
                    SampleError::NotFinite { .. } => Error::engine(error.to_string()),
                    SampleError::NothingLeft => Error::invalid(error.to_string()),
                }));
                return Sample::End(Leave::Failed);
            }
        };
        self.new_tokens += 1;
        if self.stop_tokens.binary_search(&token).is_ok() {
            self.end = Some(FinishReason::Stop(StopCause::Token(token)));
            return Sample::Last(token);
        }
        self.piece.clear();
        self.detokenizer.push(&self.tokenizer, token, &mut self.piece);
        // A stop string that begins before it may stop the answer doesn't.
        if self.new_tokens < self.min_new_tokens {
            text.push_str(&self.piece);
            return Sample::Next(token);
        }
        match self.stops.push(&self.piece, text) {
            Some(string) => {
                self.end = Some(FinishReason::Stop(StopCause::String(string.into())));
                Sample::Last(token)
            }
            None => Sample::Next(token),
        }
    }

    /// Adds to `text` what was held back, and says why the answer ended, where that was known here.
    pub fn finish(&mut self, text: &mut String) -> Option<FinishReason> {
        self.piece.clear();
        self.detokenizer.finish(&mut self.piece);
        // After a stop string neither adds anything.
        self.stops.push(&self.piece, text);
        self.stops.finish(text);
        self.end.take()
    }
}
