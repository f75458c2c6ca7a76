//! Answers on their way: collected, or event by event.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use weirgate_protocol::Result;
use weirgate_protocol::openai::{AnswerHead, StreamOptions, Usage};

use super::choices::{Came, Choices, News};
use super::form::{Events, Form, Written};
use crate::language::respond::{FAILED, json, status};
use crate::remote::InBody;
use crate::remote::body::BodyError;

/// The answers to so many prompts, of so many tokens together.
pub(super) struct Asked {
    pub form: Form,
    pub prompts: usize,
    pub prompt_tokens: usize,
    /// Its text is wanted as it comes.
    pub stream: bool,
    pub options: StreamOptions,
}

/// Waits for all of it.
pub(super) async fn whole(asked: &Asked, mut choices: Choices, head: &AnswerHead<'_>) -> Result<Response<InBody>> {
    let begin = |index| asked.form.begin(index).unwrap_or_default().to_owned();
    let mut written: Vec<_> = (0..asked.prompts).map(|index| Written { text: begin(index), reason: None }).collect();
    let mut usage = Usage::default();
    if choices.count() == 0 {
        usage.prompt_tokens = asked.prompt_tokens;
    }
    while let Some(News { index, part }) = choices.next().await {
        match part {
            Came::Text(text, _) => written[index].text.push_str(&text),
            Came::Finished(reason, used) => {
                written[index].reason = Some(reason);
                usage += used;
            }
            Came::Failed(error) => return Err(error),
        }
    }
    Ok(json(asked.form.whole(head, &written, &usage)))
}

/// Answers with a stream as soon as there is some text. What fails before that is an error like any other.
pub(super) async fn stream(asked: &Asked, mut choices: Choices, head: &AnswerHead<'_>) -> Result<Response<InBody>> {
    let first = match choices.next().await {
        Some(News { part: Came::Failed(error), .. }) => return Err(error),
        first => first,
    };
    let usage = Usage { prompt_tokens: asked.prompt_tokens, ..Usage::default() };
    let mut stream = Stream {
        events: asked.form.events(head, asked.options),
        choices,
        so_far: usage,
        used: Usage::default(),
        ready: VecDeque::new(),
        failed: None,
        over: false,
    };
    stream.ready.extend(stream.events.first(&usage));
    for index in 0..asked.prompts {
        if let Some(text) = asked.form.begin(index) {
            stream.ready.push_back(stream.events.text(index, text, &usage));
        }
    }
    stream.hear(first);
    let mut response = Response::new(InBody::Here(stream.boxed_unsync()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// The body of a streamed answer.
struct Stream {
    events: Events,
    choices: Choices,
    /// Tokens of the prompts, and of what has come.
    so_far: Usage,
    /// Of those that have ended.
    used: Usage,
    ready: VecDeque<Bytes>,
    /// What is said behind the last event of one that has failed.
    failed: Option<HeaderMap>,
    over: bool,
}

impl Stream {
    fn hear(&mut self, news: Option<News>) {
        match news {
            Some(News { index, part: Came::Text(text, tokens) }) => {
                self.so_far.completion_tokens += tokens;
                if !text.is_empty() {
                    self.ready.push_back(self.events.text(index, &text, &self.so_far));
                }
            }
            Some(News { index, part: Came::Finished(reason, used) }) => {
                self.used += used;
                self.ready.push_back(self.events.last(index, reason, &self.so_far));
            }
            Some(News { part: Came::Failed(error), .. }) => {
                self.ready.push_back(self.events.error(&error));
                let mut trailers = HeaderMap::with_capacity(1);
                trailers.insert(FAILED, status(&error).as_u16().into());
                self.failed = Some(trailers);
                // The others go with it.
                self.choices = Choices::new(Vec::new());
                self.over = true;
            }
            None => {
                self.ready.extend(self.events.end(&self.used));
                self.over = true;
            }
        }
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(event))));
            }
            if self.over {
                return Poll::Ready(self.failed.take().map(|trailers| Ok(Frame::trailers(trailers))));
            }
            let news = ready!(self.choices.poll_next(cx));
            self.hear(news);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over && self.ready.is_empty() && self.failed.is_none()
    }
}

#[cfg(test)]
mod tests {
    use weirgate_protocol::{Error, ErrorCode};

    use super::*;
    use crate::text::answer::{FinishReason, Finished, GenerationTiming, StopCause, Usage};
    use crate::text::mailbox::{Generation, Outlet, mailbox};

    const HEAD: AnswerHead<'_> = AnswerHead { request_id: "1", created: 0, model: "m", fingerprint: None };

    fn chat(stream: bool) -> Asked {
        Asked { form: Form::Chat, prompts: 1, prompt_tokens: 3, stream, options: StreamOptions::default() }
    }

    fn pair() -> (Outlet, Choices) {
        let (outlet, generation): (Outlet, Generation) = mailbox(1_000);
        (outlet, Choices::new(vec![generation]))
    }

    fn end(reason: FinishReason) -> Finished {
        let usage = Usage { prompt_tokens: 3, cached_tokens: 0, new_tokens: 2 };
        Finished { reason, usage, timing: GenerationTiming::default() }
    }

    fn failed() -> FinishReason {
        FinishReason::Failed(Error::engine("the engine failed: for a test"))
    }

    /// The text of a streamed answer, and its trailers.
    async fn read(response: Response<InBody>) -> (String, Option<HeaderMap>) {
        let collected = response.into_body().collect().await.unwrap();
        let trailers = collected.trailers().cloned();
        (String::from_utf8(collected.to_bytes().to_vec()).unwrap(), trailers)
    }

    #[tokio::test]
    async fn a_stream_ends_with_its_reason_and_done() {
        let (mut outlet, choices) = pair();
        outlet.push("a", 1).unwrap();
        outlet.finish("b", 1, end(FinishReason::Stop(StopCause::Token(2))));
        let (text, trailers) = read(stream(&chat(true), choices, &HEAD).await.unwrap()).await;
        assert!(text.contains(r#""content":"ab""#) && text.contains(r#""finish_reason":"stop""#), "{text}");
        assert!(text.ends_with("data: [DONE]\n\n") && trailers.is_none(), "{text}");
    }

    #[tokio::test]
    async fn what_fails_before_the_first_text_is_an_error_and_what_fails_later_an_event() {
        for streams in [true, false] {
            let (outlet, choices) = pair();
            outlet.finish("", 0, end(failed()));
            let asked = chat(streams);
            let answered =
                if streams { stream(&asked, choices, &HEAD).await } else { whole(&asked, choices, &HEAD).await };
            assert_eq!(answered.err().unwrap().code(), ErrorCode::EngineFailed);
        }
        let (mut outlet, choices) = pair();
        outlet.push("a", 1).unwrap();
        let response = stream(&chat(true), choices, &HEAD).await.unwrap();
        outlet.finish("", 0, end(failed()));
        let (text, trailers) = read(response).await;
        let last = text.trim_end().rsplit("\n\n").next().unwrap();
        assert!(last.starts_with(r#"data: {"error":{"message":"the engine failed: for a test""#), "{text}");
        assert_eq!(crate::language::failed(&trailers.unwrap()).map(|status| status.as_u16()), Some(500));
    }

    #[tokio::test]
    async fn one_that_fails_takes_the_others_of_its_request_along() {
        let ((outlet, generation), (other, second)) = (mailbox(1_000), mailbox(1_000));
        let form = Form::Completion { echo: Vec::new() };
        let asked = Asked { form, prompts: 2, prompt_tokens: 6, stream: false, options: StreamOptions::default() };
        outlet.finish("", 0, end(failed()));
        let answered = whole(&asked, Choices::new(vec![generation, second]), &HEAD).await;
        assert!(answered.is_err() && other.reader_gone());
    }
}
