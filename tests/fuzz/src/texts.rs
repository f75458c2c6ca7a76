//! Requests for text, tokens and embeddings.

use weirgate_protocol::openai::{
    Chat, ChatRequest, CompletionRequest, DetokenizeRequest, EmbeddingsRequest, Generation, Prompt, TokenizeInput,
    TokenizeRequest,
};
use weirgate_protocol::v2::GenerateRequest;

/// A body, read as each route reads it.
pub fn openai_request(bytes: &[u8]) -> bool {
    // What the defaults add: names and values of variables.
    let most = bytes.len() + 64;
    let check = |held: usize| assert!(held <= most, "{held} bytes held out of {most}");
    let chat =
        ChatRequest::decode(bytes).map(|request| check(of_chat(&request.chat) + of_generation(&request.generation)));
    let completion = CompletionRequest::decode(bytes).map(|request| {
        check(of_prompts(&request.prompts) + of_generation(&request.generation));
        assert!(request.generation.max_tokens.is_some_and(|most| most > 0 || request.echo));
    });
    let embeddings = EmbeddingsRequest::decode(bytes).map(|request| check(of_prompts(&request.inputs)));
    let tokenize = TokenizeRequest::decode(bytes).map(|request| match &request.input {
        TokenizeInput::Prompt(text) => check(text.len()),
        TokenizeInput::Chat(chat) => check(of_chat(chat)),
    });
    let detokenize = DetokenizeRequest::decode(bytes).map(|request| check(of_tokens(request.tokens.len())));
    let generate = [false, true].map(|stream| {
        GenerateRequest::decode(bytes, stream).map(|request| {
            check(request.text_input.len() + of_generation(&request.generation));
            assert!(stream || !request.generation.stream);
        })
    });
    let all = [chat, completion, embeddings, tokenize, detokenize].into_iter().chain(generate);
    let mut accepted = false;
    for read in all {
        match read {
            Ok(()) => accepted = true,
            Err(error) => assert_eq!(error.row().http, 400, "{error}"),
        }
    }
    if accepted && let Err(error) = serde_json::from_slice::<serde_json::Value>(bytes) {
        assert!(error.to_string().contains("number out of range"), "what is accepted is JSON: {error}");
    }
    accepted
}

/// A token takes a digit and a comma at least.
fn of_tokens(tokens: usize) -> usize {
    2 * tokens
}

fn of_prompts(prompts: &[Prompt]) -> usize {
    let size = |prompt: &Prompt| match prompt {
        Prompt::Text(text) => text.len(),
        Prompt::Tokens(tokens) => of_tokens(tokens.len()),
    };
    prompts.iter().map(size).sum()
}

fn of_chat(chat: &Chat) -> usize {
    assert!(!chat.messages.is_empty());
    assert!(!(chat.add_generation_prompt && chat.continue_final_message));
    let messages = chat.messages.iter().flat_map(|message| {
        [&message.content, &message.name, &message.reasoning_content].into_iter().flatten().map(String::len)
    });
    let variables = chat.variables.iter().map(|(name, value)| name.len() + value.len());
    messages.chain(variables).sum()
}

fn of_generation(generation: &Generation) -> usize {
    assert!((0.0..=2.0).contains(&generation.temperature));
    assert!(generation.top_p > 0.0 && generation.top_p <= 1.0 && generation.top_k != Some(0));
    assert!(generation.stop.iter().all(|stop| !stop.is_empty()));
    generation.stop.iter().map(String::len).sum::<usize>() + of_tokens(generation.stop_token_ids.len())
}
