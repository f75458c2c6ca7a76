//! Answers as the routes write them: whole, and in events.

use bytes::Bytes;
use weirgate_protocol::Error;
use weirgate_protocol::openai::{
    AnswerHead, ChatChunks, Choice, CompletionChunks, FinishReason, StreamOptions, Usage, chat_completion, done_event,
    error_event, text_completion,
};
use weirgate_protocol::v2::{GenerateEvents, GenerateHead, generate_error_event, generate_response};

/// What is answered.
pub(super) enum Form {
    Chat,
    Completion {
        /// The prompts' texts, where answers begin with them; else nothing.
        echo: Vec<String>,
    },
    Generate {
        id: Option<String>,
        /// The text that the answer begins with, if it does.
        echo: Option<String>,
    },
}

/// One answer, whole.
#[derive(Default)]
pub(super) struct Written {
    pub text: String,
    pub reason: Option<FinishReason>,
}

impl Form {
    /// The field of a request that its prompts come from.
    pub fn prompt(&self) -> &'static str {
        match self {
            Form::Chat => "messages",
            Form::Completion { .. } => "prompt",
            Form::Generate { .. } => "text_input",
        }
    }

    /// What the answer at `index` begins with.
    pub fn begin(&self, index: usize) -> Option<&str> {
        match self {
            Form::Chat => None,
            Form::Completion { echo } => echo.get(index).map(String::as_str),
            Form::Generate { echo, .. } => echo.as_deref(),
        }
    }

    /// The body of a whole answer.
    pub fn whole(&self, head: &AnswerHead<'_>, written: &[Written], usage: &Usage) -> Bytes {
        // Those that no token was asked of have ended by that.
        let reason = |written: &Written| written.reason.unwrap_or(FinishReason::Length);
        let (text, ended) = written.first().map_or(("", FinishReason::Length), |only| (&*only.text, reason(only)));
        match self {
            Form::Chat => chat_completion(head, text, ended, usage),
            Form::Completion { .. } => {
                let choices: Vec<_> =
                    written.iter().map(|each| Choice { text: &each.text, reason: reason(each) }).collect();
                text_completion(head, &choices, usage)
            }
            Form::Generate { id, .. } => {
                let head = GenerateHead { id: id.as_deref(), model_name: head.model, model_version: None };
                generate_response(&head, text, ended, usage)
            }
        }
    }

    /// The events of a streamed answer.
    pub fn events(&self, head: &AnswerHead<'_>, options: StreamOptions) -> Events {
        match self {
            Form::Chat => Events::Chat(ChatChunks::new(head, options)),
            Form::Completion { .. } => Events::Completion(CompletionChunks::new(head, options)),
            Form::Generate { id, .. } => {
                let head = GenerateHead { id: id.as_deref(), model_name: head.model, model_version: None };
                Events::Generate(GenerateEvents::new(&head))
            }
        }
    }
}

/// Writes the events of a streamed answer.
pub(super) enum Events {
    Chat(ChatChunks),
    Completion(CompletionChunks),
    Generate(GenerateEvents),
}

impl Events {
    /// What comes before any text.
    pub fn first(&self, usage: &Usage) -> Option<Bytes> {
        match self {
            Events::Chat(chunks) => Some(chunks.first(usage)),
            Events::Completion(_) | Events::Generate(_) => None,
        }
    }

    /// A piece of text of the answer at `index`; `usage` is that so far.
    pub fn text(&self, index: usize, text: &str, usage: &Usage) -> Bytes {
        match self {
            Events::Chat(chunks) => chunks.text(text, usage),
            Events::Completion(chunks) => chunks.text(index, text, usage),
            Events::Generate(events) => events.text(text),
        }
    }

    /// Why there is no more of the answer at `index`.
    pub fn last(&self, index: usize, reason: FinishReason, usage: &Usage) -> Bytes {
        match self {
            Events::Chat(chunks) => chunks.last(reason, usage),
            Events::Completion(chunks) => chunks.last(index, reason, usage),
            Events::Generate(events) => events.last("", reason, usage),
        }
    }

    /// What comes when all answers have ended.
    pub fn end(&self, usage: &Usage) -> Vec<Bytes> {
        let told = match self {
            Events::Chat(chunks) => chunks.usage(usage),
            Events::Completion(chunks) => chunks.usage(usage),
            Events::Generate(_) => return Vec::new(),
        };
        told.into_iter().chain([done_event()]).collect()
    }

    pub fn error(&self, error: &Error) -> Bytes {
        match self {
            Events::Chat(_) | Events::Completion(_) => error_event(error),
            Events::Generate(_) => generate_error_event(error),
        }
    }
}
