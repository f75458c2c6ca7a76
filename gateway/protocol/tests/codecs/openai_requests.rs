//! Requests of OpenAI's routes: what is read, what is stepped over, and what is refused, by name.

use weirgate_protocol::openai::{
    Chat, ChatRequest, CompletionRequest, DetokenizeRequest, EmbeddingsRequest, Encoding, Generation, Message, Prompt,
    Role, StreamOptions, TokenizeInput, TokenizeRequest, Truncate,
};
use weirgate_protocol::{Error, Result};

fn chat(fields: &str) -> Result<ChatRequest> {
    ChatRequest::decode(format!(r#"{{"messages":[{{"role":"user","content":"hi"}}]{fields}}}"#).as_bytes())
}

fn completion(fields: &str) -> Result<CompletionRequest> {
    CompletionRequest::decode(format!(r#"{{"prompt":"hi"{fields}}}"#).as_bytes())
}

fn message(role: Role, content: &str) -> Message {
    Message { role, content: Some(content.to_owned()), name: None, reasoning_content: None }
}

/// Status, code, field and text of a refusal.
fn shown(error: &Error) -> (u16, &str, Option<&str>, &str) {
    (error.row().http, error.row().label, error.param(), error.message())
}

#[test]
fn a_chat_of_every_field() {
    let body = r#"{
        "model": "m", "max_completion_tokens": 7, "min_tokens": 2, "temperature": 0.5, "top_p": 0.9, "top_k": 40,
        "min_p": 0.05, "repetition_penalty": 1.1, "presence_penalty": -2, "frequency_penalty": 2,
        "logit_bias": {"50256": -100, "7": 1.5}, "seed": -1, "stop": ["\n", "é"], "stop_token_ids": [2, 0],
        "ignore_eos": true, "stream": true, "stream_options": {"include_usage": true, "include_obfuscation": false},
        "cache_salt": "s", "add_generation_prompt": false, "continue_final_message": true,
        "chat_template_kwargs": {"thinking": false, "a": [1, {"b": "é"}]}, "reasoning_effort": "none",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "developer", "content": [{"type": "text", "text": "be "}, {"text": "kind", "type": "text"}]},
            {"role": "user", "content": "\ud83d\ude00", "name": "ann"},
            {"role": "assistant", "content": null, "refusal": null, "tool_calls": [], "reasoning_content": "hm"},
            {"role": "tool", "content": "4", "tool_call_id": "c1"},
            {"role": "assistant", "content": "The"}
        ]
    }"#;
    let request = ChatRequest::decode(body.as_bytes()).unwrap();
    let expected = Generation {
        max_tokens: Some(7),
        min_tokens: 2,
        temperature: 0.5,
        top_k: Some(40),
        top_p: 0.9,
        min_p: 0.05,
        repetition_penalty: 1.1,
        presence_penalty: -2.0,
        frequency_penalty: 2.0,
        logit_bias: vec![(50_256, -100.0), (7, 1.5)],
        seed: Some(u64::MAX),
        stop: vec!["\n".to_owned(), "é".to_owned()],
        stop_token_ids: vec![2, 0],
        ignore_eos: true,
        stream: true,
        stream_options: StreamOptions { include_usage: true, continuous_usage: false },
        cache_salt: Some("s".to_owned()),
    };
    assert_eq!((request.model.as_deref(), request.generation), (Some("m"), expected));
    let messages = vec![
        message(Role::System, "be brief"),
        message(Role::Developer, "be kind"),
        Message { name: Some("ann".to_owned()), ..message(Role::User, "😀") },
        Message { content: None, reasoning_content: Some("hm".to_owned()), ..message(Role::Assistant, "") },
        message(Role::Tool, "4"),
        message(Role::Assistant, "The"),
    ];
    let variables = [
        ("thinking", "false"),
        ("a", r#"[1, {"b": "é"}]"#),
        ("reasoning_effort", "\"none\""),
        ("enable_thinking", "false"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let expected = Chat { messages, add_generation_prompt: false, continue_final_message: true, variables };
    assert_eq!(request.chat, expected);
}

#[test]
fn what_is_not_given_has_its_default() {
    let request = chat("").unwrap();
    assert_eq!((request.model, request.generation), (None, Generation::default()));
    assert!(request.chat.add_generation_prompt && !request.chat.continue_final_message);
    assert!(request.chat.variables.is_empty());
    let continued = chat(r#","continue_final_message":true"#).unwrap().chat;
    assert!(!continued.add_generation_prompt, "the answer goes on within the last message");
    let request = completion("").unwrap();
    assert_eq!(request.generation, Generation { max_tokens: Some(16), ..Generation::default() }, "as OpenAI has it");
    assert!(request.add_special_tokens && !request.echo);
    assert_eq!(completion(r#","min_tokens":20"#).unwrap().generation.max_tokens, Some(20));
    let all = completion(r#","echo":true,"max_tokens":0,"add_special_tokens":false"#).unwrap();
    assert_eq!((all.echo, all.generation.max_tokens, all.add_special_tokens), (true, Some(0), false));
    for none in ["0", "-1", "null"] {
        assert_eq!(chat(&format!(r#","top_k":{none}"#)).unwrap().generation.top_k, None);
    }
    for (given, seed) in [("0", 0), ("-2", u64::MAX - 1), ("18446744073709551615", u64::MAX), ("1e3", 1_000)] {
        assert_eq!(chat(&format!(r#","seed":{given}"#)).unwrap().generation.seed, Some(seed));
    }
    for (given, stops) in [("null", vec![]), ("[]", vec![]), ("\"a\"", vec!["a".to_owned()])] {
        assert_eq!(chat(&format!(r#","stop":{given}"#)).unwrap().generation.stop, stops);
    }
}

#[test]
fn prompts_are_texts_or_tokens() {
    let text = |text: &str| Prompt::Text(text.to_owned());
    for (prompt, expected) in [
        (r#""""#, vec![text("")]),
        (r#"["a","b"]"#, vec![text("a"), text("b")]),
        ("[1,2,3]", vec![Prompt::Tokens(vec![1, 2, 3])]),
        ("[[1],[2, 3]]", vec![Prompt::Tokens(vec![1]), Prompt::Tokens(vec![2, 3])]),
    ] {
        let body = format!(r#"{{"prompt":{prompt}}}"#);
        assert_eq!(CompletionRequest::decode(body.as_bytes()).unwrap().prompts, expected);
        let body = format!(r#"{{"input":{prompt}}}"#);
        assert_eq!(EmbeddingsRequest::decode(body.as_bytes()).unwrap().inputs, expected);
    }
    for (prompt, message) in [
        ("[]", "prompt is empty; give at least one text or token"),
        ("[[1],[]]", "prompt[1] is empty; give at least one token"),
        ("[1,\"a\"]", "prompt[1]: expected a whole number, found the string \"a\" (byte 13)"),
        ("[\"a\",[1]]", "prompt[1]: expected a string, found an array (byte 15)"),
        ("[[1],2]", "prompt[1]: expected an array, found 2 (byte 15)"),
        ("[-1]", "prompt[0] is -1; it must be from 0 to 4294967295"),
        ("[1.5]", "prompt[0]: expected a whole number, found 1.5 (byte 11)"),
        ("[null]", "prompt: expected a string, a token or a list of tokens, found null (byte 11)"),
        (
            "{}",
            "prompt: expected a string, a list of strings, a list of tokens or a list of lists of tokens, found an object (byte 10)",
        ),
        ("null", "prompt is missing; give a text, or tokens"),
    ] {
        let body = format!(r#"{{"prompt":{prompt}}}"#);
        let error = CompletionRequest::decode(body.as_bytes()).expect_err(prompt);
        assert_eq!(error.message(), message);
        assert!(error.param().is_some_and(|param| param.starts_with("prompt")), "{prompt}");
    }
    let many = vec!["\"a\""; 129].join(",");
    let error = CompletionRequest::decode(format!(r#"{{"prompt":[{many}]}}"#).as_bytes()).unwrap_err();
    let expected = (400, "invalid_request", Some("prompt"), "prompt has more than 128 items, which is the limit");
    assert_eq!(shown(&error), expected);
}

#[test]
fn values_out_of_range_are_named_with_their_limit() {
    for (field, param, message) in [
        (r#""temperature":3"#, "temperature", "temperature is 3; it must be from 0 to 2"),
        (r#""temperature":-0.1"#, "temperature", "temperature is -0.1; it must be from 0 to 2"),
        (r#""top_p":0"#, "top_p", "top_p is 0; it must be above 0 and at most 1"),
        (r#""top_k":-2"#, "top_k", "top_k is -2; it must be from -1 to 4294967295"),
        (r#""top_k":1.5"#, "top_k", "top_k: expected a whole number, found 1.5 (byte 53)"),
        (r#""min_p":1.1"#, "min_p", "min_p is 1.1; it must be from 0 to 1"),
        (r#""repetition_penalty":0"#, "repetition_penalty", "repetition_penalty is 0; it must be from 0.01 to 100"),
        (r#""presence_penalty":2.5"#, "presence_penalty", "presence_penalty is 2.5; it must be from -2 to 2"),
        (r#""frequency_penalty":-3"#, "frequency_penalty", "frequency_penalty is -3; it must be from -2 to 2"),
        (r#""logit_bias":{"7":101}"#, "logit_bias.7", "logit_bias.7 is 101; it must be from -100 to 100"),
        (r#""logit_bias":{"the":1}"#, "logit_bias.the", "logit_bias.the is no token; keys are token ids, as \"42\""),
        (r#""max_tokens":0"#, "max_tokens", "max_tokens is 0; it must be at least 1"),
        (r#""max_tokens":-1"#, "max_tokens", "max_tokens is -1; it must be from 0 to 4294967295"),
        (
            r#""max_tokens":1,"max_completion_tokens":2"#,
            "max_tokens",
            "max_tokens is 1 and max_completion_tokens is 2; give one of them",
        ),
        (
            r#""max_tokens":1,"min_tokens":2"#,
            "min_tokens",
            "min_tokens is 2; it must be at most max_tokens, which is 1",
        ),
        (r#""stop":["a",""]"#, "stop", "stop has an empty string: the answer would end before it begins; leave it out"),
        (r#""cache_salt":"""#, "cache_salt", "cache_salt has 0 bytes; it must have 1 to 1024"),
        (
            r#""stream_options":{}"#,
            "stream_options",
            "stream_options is given, and stream is not true: give both or neither",
        ),
        (
            r#""stream_options":{"include_usage":1},"stream":true"#,
            "stream_options.include_usage",
            "stream_options.include_usage: expected true or false, found 1 (byte 79)",
        ),
        (
            r#""add_generation_prompt":true,"continue_final_message":true"#,
            "continue_final_message",
            "continue_final_message and add_generation_prompt are both true: give one of them",
        ),
        (
            r#""chat_template_kwargs":{"messages":[]}"#,
            "chat_template_kwargs.messages",
            "chat_template_kwargs.messages is no variable that can be set: the request's own fields say it, if any",
        ),
        (
            r#""reasoning_effort":"huge""#,
            "reasoning_effort",
            "reasoning_effort is 'huge'; it must be none, minimal, low, medium, high, xhigh, max",
        ),
        (r#""temperature":1,"temperature":1"#, "temperature", "temperature: is given twice (byte 75)"),
    ] {
        let error = chat(&format!(",{field}")).expect_err(field);
        assert_eq!(shown(&error), (400, "invalid_request", Some(param), message));
    }
    for (count, field, message) in [
        (33, "stop", "stop has more than 32 items, which is the limit"),
        (65, "stop_token_ids", "stop_token_ids has more than 64 items, which is the limit"),
    ] {
        let items = vec![if field == "stop" { "\"a\"" } else { "1" }; count].join(",");
        assert_eq!(chat(&format!(r#","{field}":[{items}]"#)).unwrap_err().message(), message);
    }
    let long = "a".repeat(1_025);
    let error = chat(&format!(r#","stop":"{long}""#)).unwrap_err();
    assert!(error.message().starts_with("stop has a string of 1025 bytes, 'aaa"), "{error}");
    let biases: Vec<String> = (0..1_025).map(|token| format!("\"{token}\":1")).collect();
    let error = chat(&format!(r#","logit_bias":{{{}}}"#, biases.join(","))).unwrap_err();
    assert_eq!(error.message(), "logit_bias has more than 1024 entries, which is the limit");
}

#[test]
fn messages_are_checked_one_by_one() {
    for (messages, param, message) in [
        ("[]", "messages", "messages is empty; give at least one message"),
        ("null", "messages", "messages is missing; give at least one"),
        (r#"["hi"]"#, "messages[0]", "messages[0]: expected an object, found the string \"hi\" (byte 13)"),
        (r#"[{"content":"a"}]"#, "messages[0].role", "messages[0].role is missing; say who speaks"),
        (
            r#"[{"role":"user","content":"a"},{"role":"robot"}]"#,
            "messages[1].role",
            "messages[1].role is 'robot'; it must be system, developer, user, assistant, tool",
        ),
        (r#"[{"role":"user"}]"#, "messages[0].content", "messages[0].content is missing; give a text"),
        (
            r#"[{"role":"user","content":7}]"#,
            "messages[0].content",
            "messages[0].content: expected a string or a list of parts, found 7 (byte 38)",
        ),
        (
            r#"[{"role":"user","content":[{"type":"text"}]}]"#,
            "messages[0].content[0].text",
            "messages[0].content[0].text is missing; give the text",
        ),
        (
            r#"[{"role":"user","content":[{"text":"a"}]}]"#,
            "messages[0].content[0].type",
            "messages[0].content[0].type is missing; give \"text\"",
        ),
    ] {
        let error = ChatRequest::decode(format!(r#"{{"messages":{messages}}}"#).as_bytes()).expect_err(messages);
        assert_eq!(shown(&error), (400, "invalid_request", Some(param), message));
    }
    let many = vec![r#"{"role":"user","content":""}"#; 16_385].join(",");
    let error = ChatRequest::decode(format!(r#"{{"messages":[{many}]}}"#).as_bytes()).unwrap_err();
    assert_eq!(error.message(), "messages has more than 16384 items, which is the limit");
}

#[test]
fn what_would_change_the_answer_is_refused_by_name() {
    for (field, param, message) in [
        (
            r#""tools":[{"type":"function"}]"#,
            "tools",
            "tools is given, and no tools are called: leave it out, or give an empty one",
        ),
        (
            r#""tool_choice":"required""#,
            "tool_choice",
            r#"tool_choice is "required", and no tools are called: leave it out, or give "none" or "auto""#,
        ),
        (r#""n":2"#, "n", "n is 2, and one answer is made for each prompt: leave it out, or give 1"),
        (
            r#""logprobs":true"#,
            "logprobs",
            "logprobs is true, and log probabilities are not told: leave it out, or give false",
        ),
        (
            r#""response_format":{"type":"json_object"}"#,
            "response_format",
            r#"response_format is given, and answers are not held to a form: leave it out, or give {"type": "text"}"#,
        ),
        (
            r#""modalities":["text","audio"]"#,
            "modalities",
            r#"modalities is given, and answers are text alone: leave it out, or give ["text"]"#,
        ),
        (
            r#""guided_regex":"a*""#,
            "guided_regex",
            "guided_regex is \"a*\", and answers are not held to a form: leave it out",
        ),
        (
            r#""chat_template":"{{ x }}""#,
            "chat_template",
            "chat_template is \"{{ x }}\", and the model's own template is used: leave it out",
        ),
    ] {
        let error = chat(&format!(",{field}")).expect_err(field);
        assert_eq!(shown(&error), (400, "unsupported_parameter", Some(param), message));
    }
    let body = r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:"}}]}]}"#;
    let error = ChatRequest::decode(body.as_bytes()).unwrap_err();
    let message = "messages[0].content[0].type is 'image_url', and messages are text alone: give \"text\"";
    assert_eq!(shown(&error), (400, "unsupported_parameter", Some("messages[0].content[0].type"), message));
    let body = r#"{"messages":[{"role":"assistant","tool_calls":[{"id":"c"}]}]}"#;
    let error = ChatRequest::decode(body.as_bytes()).unwrap_err();
    assert_eq!(error.param(), Some("messages[0].tool_calls"));
    for (field, param) in [
        (r#""suffix":"b""#, "suffix"),
        (r#""best_of":2"#, "best_of"),
        (r#""logprobs":0"#, "logprobs"),
        (r#""echo":true,"logprobs":1"#, "logprobs"),
        (r#""use_beam_search":true"#, "use_beam_search"),
        (r#""prompt_logprobs":0"#, "prompt_logprobs"),
    ] {
        let error = completion(&format!(",{field}")).expect_err(field);
        assert_eq!((error.row().label, error.param()), ("unsupported_parameter", Some(param)));
    }
}

#[test]
fn what_asks_for_nothing_is_taken() {
    let neutral = r#","tools":[ ],"tool_choice":"auto","functions":null,"n":1.0,"logprobs":false,"top_logprobs":0,
        "response_format":{"x":1,"type":"text"},"modalities":["text"],"guided_json":null,"audio":null,"user":"u",
        "store":true,"metadata":{"a":[1]},"service_tier":"auto","parallel_tool_calls":true,"documents":[],
        "skip_special_tokens":true,"priority":0,"bad_words":[],"vllm_xargs":{},"grammar":"","unheard_of":{"a":[[]]}"#;
    assert_eq!(chat(neutral).unwrap(), chat("").unwrap());
    let neutral = r#","suffix":"","best_of":1,"logprobs":null,"echo":false,"length_penalty":1"#;
    assert_eq!(completion(neutral).unwrap(), completion("").unwrap());
}

#[test]
fn embeddings() {
    let body = r#"{"model":"m","input":["a","b"],"encoding_format":"base64","dimensions":8,"user":"u"}"#;
    let expected = EmbeddingsRequest {
        model: Some("m".to_owned()),
        inputs: vec![Prompt::Text("a".to_owned()), Prompt::Text("b".to_owned())],
        encoding: Encoding::Base64,
        dimensions: Some(8),
        truncate: None,
    };
    assert_eq!(EmbeddingsRequest::decode(body.as_bytes()), Ok(expected));
    let truncate = |given: &str| {
        let body = format!(r#"{{"input":"a","truncate_prompt_tokens":{given}}}"#);
        EmbeddingsRequest::decode(body.as_bytes()).map(|request| request.truncate)
    };
    assert_eq!(truncate("-1"), Ok(Some(Truncate::ToModel)));
    assert_eq!(truncate("5"), Ok(Some(Truncate::ToTokens(5))));
    assert_eq!(truncate("null"), Ok(None));
    for (body, param, message) in [
        (r#"{"model":"m"}"#, "input", "input is missing; give a text, or tokens"),
        (
            r#"{"input":"a","encoding_format":"bytes"}"#,
            "encoding_format",
            "encoding_format is 'bytes'; it must be float, base64",
        ),
        (r#"{"input":"a","dimensions":0}"#, "dimensions", "dimensions is 0; it must be from 1 to 4294967295"),
        (
            r#"{"input":"a","truncate_prompt_tokens":0}"#,
            "truncate_prompt_tokens",
            "truncate_prompt_tokens is 0; it must be at least 1, or -1 for as many as the model can read",
        ),
    ] {
        let error = EmbeddingsRequest::decode(body.as_bytes()).expect_err(body);
        assert_eq!(shown(&error), (400, "invalid_request", Some(param), message));
    }
}

#[test]
fn tokens() {
    let decode = |body: &str| TokenizeRequest::decode(body.as_bytes());
    let request = decode(r#"{"prompt":"hi","return_token_strs":true}"#).unwrap();
    assert_eq!(request.input, TokenizeInput::Prompt("hi".to_owned()));
    assert!(request.add_special_tokens && request.return_token_strs);
    let request = decode(r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#).unwrap();
    let TokenizeInput::Chat(chat) = request.input else { panic!("a chat") };
    assert_eq!(chat.messages, [message(Role::User, "hi")]);
    assert!(chat.add_generation_prompt && !request.add_special_tokens && !request.return_token_strs);
    for (body, param, message) in [
        ("{}", "prompt", "prompt is missing; give a text, or messages"),
        (
            r#"{"prompt":"a","messages":[{"role":"user","content":"b"}]}"#,
            "prompt",
            "prompt and messages are both given: give one of them",
        ),
    ] {
        assert_eq!(shown(&decode(body).expect_err(body)), (400, "invalid_request", Some(param), message));
    }
    let chat = r#"{"messages":[{"role":"user","content":"b"}],"add_special_tokens":true}"#;
    let error = decode(chat).unwrap_err();
    assert_eq!((error.row().label, error.param()), ("unsupported_parameter", Some("add_special_tokens")));
    let decode = |body: &str| DetokenizeRequest::decode(body.as_bytes());
    assert_eq!(decode(r#"{"tokens":[1,2]}"#), Ok(DetokenizeRequest { model: None, tokens: vec![1, 2] }));
    assert_eq!(decode(r#"{"tokens":[]}"#).unwrap().tokens, [0u32; 0]);
    assert_eq!(decode("{}").unwrap_err().message(), "tokens is missing; give a list of token ids");
}

#[test]
fn bodies_that_are_no_json_say_where() {
    for (body, param, message) in [
        ("", None, "body: expected an object, found the end of the body (byte 0)"),
        (r#"{"prompt":"a"} x"#, None, "body: expected the end of the JSON, found x (byte 15)"),
        (r#"{"prompt":"a"#, Some("prompt"), "prompt: string has no end (byte 11)"),
        (
            r#"{"seed":NaN}"#,
            Some("seed"),
            "seed: expected a whole number, found NaN or Infinity, which JSON does not have (byte 8)",
        ),
        (r#"{"user":{"a":tru}}"#, Some("user.a"), "user.a: expected a value, found tru (byte 13)"),
    ] {
        let error = CompletionRequest::decode(body.as_bytes()).expect_err(body);
        assert_eq!(shown(&error), (400, "invalid_request", param, message));
    }
    let error = CompletionRequest::decode(b"{\"prompt\":\"a\xff\"}").unwrap_err();
    assert_eq!(error.message(), "prompt: string is not UTF-8 (byte 12)");
}
