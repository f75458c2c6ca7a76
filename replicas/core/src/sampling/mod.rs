//! Which token follows: from a network's logits to one token, by what the caller asked for.
//!
//! ```text
//! parameters  what a caller asks for, with its limits
//! generator   random numbers, by a seed and the place of a token
//! seen        which tokens a sequence has had, for the penalties
//! nucleus     the likeliest tokens by count and by probability, without sorting them
//! sampler     all of it, in order
//! ```
//!
//! **The order** is that of vLLM, with the definitions of OpenAI and Hugging Face:
//!
//! 1. tokens that may not come are taken out, and `logit_bias` is added to the logits (OpenAI's; -100 takes a token out);
//! 2. `repetition_penalty`, of every token of the prompt and the answer: a logit above 0 is divided by it, any other is
//!    multiplied (Hugging Face's);
//! 3. `frequency_penalty`, for each time that the answer has had the token, and `presence_penalty`, once, are subtracted
//!    (OpenAI's: the prompt does not count);
//! 4. at `temperature` 0 the greatest logit wins, the lowest id where several are as great; else logits are divided by it;
//! 5. `min_p`: tokens go whose probability is below that part of the greatest;
//! 6. `top_k`: the likeliest so many stay, lower ids first where several are as likely;
//! 7. `top_p`: of these, with their probabilities scaled to a sum of 1, the likeliest stay up to and with the one that brings
//!    the sum to `top_p`;
//! 8. one of those that are left is drawn.
//!
//! **What is guaranteed.** The token is a matter of the logits, the parameters, the seed and the tokens so far, and of nothing
//! else: each place in an answer has a random number of its own, so no draw of another sequence moves it. What a sample costs
//! is in proportion to the vocabulary. A logit that is no finite number is an error, and of that sequence alone.

mod generator;
mod nucleus;
mod parameters;
mod sampler;
mod seen;
#[cfg(test)]
mod tests;

pub use self::parameters::{MOST_BIASES, SamplingParameters};
pub use self::sampler::{SampleError, Sampler, Scratch};
