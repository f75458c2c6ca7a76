//! What a request asks the engine for.

use sha2::{Digest, Sha256};
use weirgate_models::text::StopStrings;
use weirgate_protocol::openai::Generation;
use weirgate_protocol::{Error, Result};
use weirgate_replicas_core::sampling::SamplingParameters;
use weirgate_replicas_core::tokens::CacheSalt;

use super::choices::Choices;
use super::events::Asked;
use super::form::Form;
use crate::remote::Within;
use crate::text::engine::TextEngine;
use crate::text::request::{Generate, random_seed};

/// A request, ready for the engine.
pub(super) struct Task {
    /// The tokens of each prompt.
    pub prompts: Vec<Vec<u32>>,
    pub generation: Generation,
    pub form: Form,
}

impl Task {
    /// Has the engine go on from each prompt. An error of one is the request's, and takes the others out again.
    pub fn submit(self, engine: &TextEngine, within: &Within) -> Result<(Asked, Choices)> {
        let Task { prompts, generation, form } = self;
        let prompt_tokens = prompts.iter().map(Vec::len).sum();
        let asked = Asked {
            prompts: prompts.len(),
            prompt_tokens,
            stream: generation.stream,
            options: generation.stream_options,
            form,
        };
        if generation.max_tokens == Some(0) {
            // The prompts alone are wanted back.
            return Ok((asked, Choices::new(Vec::new())));
        }
        let several = prompts.len() > 1;
        let each = prompts.into_iter().enumerate().map(|(index, prompt)| {
            let submitted = request(prompt, &generation, within).and_then(|request| engine.submit(request));
            submitted.map_err(|error| {
                let error =
                    if several { error.and(format!("this is of prompt {index}, counted from 0")) } else { error };
                if error.param().is_some() { error } else { error.with_param(asked.form.prompt()) }
            })
        });
        let running = each.collect::<Result<_>>()?;
        Ok((asked, Choices::new(running)))
    }
}

fn request(prompt: Vec<u32>, asked: &Generation, within: &Within) -> Result<Generate> {
    let stop = StopStrings::new(&asked.stop).map_err(|error| Error::invalid(error).with_param("stop"))?;
    let salt = asked.cache_salt.as_ref().map(|salt| CacheSalt(Sha256::digest(salt).into()));
    Ok(Generate {
        max_new_tokens: asked.max_tokens,
        min_new_tokens: asked.min_tokens,
        sampling: SamplingParameters {
            temperature: asked.temperature,
            top_k: asked.top_k,
            top_p: asked.top_p,
            min_p: asked.min_p,
            repetition_penalty: asked.repetition_penalty,
            presence_penalty: asked.presence_penalty,
            frequency_penalty: asked.frequency_penalty,
            logit_bias: asked.logit_bias.clone(),
            seed: asked.seed.unwrap_or_else(random_seed),
        },
        stop,
        stop_tokens: asked.stop_token_ids.clone(),
        ignore_eos: asked.ignore_eos,
        priority: within.head.priority,
        first_token_deadline: Some(within.deadline),
        // A stream that has begun goes on for as long as it does not pause.
        deadline: (!asked.stream).then_some(within.deadline),
        salt: salt.unwrap_or_default(),
        ..Generate::new(prompt, within.head.arrived)
    })
}
