//! The one error of every call, and the one table from it to each protocol's status.
//!
//! Handlers never build a status by hand: they return an [`Error`], and the adapter at the edge reads the row of its
//! [`ErrorCode`]. An error is cheap to clone, because one failed batch must reach each of its callers.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as a closed list. Each code has one row in [`ErrorCode::row`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request can't be understood, or does not fit the model.
    InvalidRequest,
    /// The request asks for something that is known, and would change the answer, and is not built.
    UnsupportedParameter,
    /// Prompt and answer are longer than the model's context, or than all its room for keys and values.
    ContextExceeded,
    /// The caller did not say who it is.
    Unauthenticated,
    /// The caller is not allowed to do this.
    Forbidden,
    /// No such service, model, version or route.
    NotFound,
    /// The route exists, the method does not.
    MethodNotAllowed,
    /// Two owners claim the same name.
    Conflict,
    /// The client did not send its request in time.
    RequestTimeout,
    /// The body or message is larger than the limit.
    TooLarge,
    /// The body is encoded, or of a type, that is not read here.
    UnsupportedMedia,
    /// The queue is full.
    QueueFull,
    /// The caller has used what it may.
    RateLimited,
    /// The caller went away before the answer was ready.
    Cancelled,
    /// The engine failed while executing the call.
    EngineFailed,
    /// The server that a call was passed to broke off, or gave an answer that is none.
    UpstreamFailed,
    /// A fault of Weirgate itself.
    Internal,
    /// Known, and not built (yet).
    Unsupported,
    /// The model failed to load, the server drains, or the predicted wait passes the deadline.
    Unavailable,
    /// The deadline passed.
    DeadlineExceeded,
    /// The call has come back to a gateway that it had passed.
    LoopDetected,
}

/// How one [`ErrorCode`] looks in each protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorRow {
    /// HTTP status of the V1, V2 and OpenAI routes.
    pub http: u16,
    /// gRPC status code.
    pub grpc: i32,
    /// `error.type` in OpenAI's error object.
    pub openai_type: &'static str,
    /// Value of the `code` label in metrics and logs.
    pub label: &'static str,
}

impl ErrorCode {
    pub const ALL: [ErrorCode; 21] = [
        ErrorCode::InvalidRequest,
        ErrorCode::UnsupportedParameter,
        ErrorCode::ContextExceeded,
        ErrorCode::Unauthenticated,
        ErrorCode::Forbidden,
        ErrorCode::NotFound,
        ErrorCode::MethodNotAllowed,
        ErrorCode::Conflict,
        ErrorCode::RequestTimeout,
        ErrorCode::TooLarge,
        ErrorCode::UnsupportedMedia,
        ErrorCode::QueueFull,
        ErrorCode::RateLimited,
        ErrorCode::Cancelled,
        ErrorCode::EngineFailed,
        ErrorCode::UpstreamFailed,
        ErrorCode::Internal,
        ErrorCode::Unsupported,
        ErrorCode::Unavailable,
        ErrorCode::DeadlineExceeded,
        ErrorCode::LoopDetected,
    ];

    /// The table. gRPC numbers are those of the gRPC specification.
    pub const fn row(self) -> ErrorRow {
        const fn row(http: u16, grpc: i32, openai_type: &'static str, label: &'static str) -> ErrorRow {
            ErrorRow { http, grpc, openai_type, label }
        }
        match self {
            ErrorCode::InvalidRequest => row(400, 3, "invalid_request_error", "invalid_request"),
            // These two as OpenAI's own clients know them.
            ErrorCode::UnsupportedParameter => row(400, 3, "invalid_request_error", "unsupported_parameter"),
            ErrorCode::ContextExceeded => row(400, 3, "invalid_request_error", "context_length_exceeded"),
            ErrorCode::Unauthenticated => row(401, 16, "authentication_error", "unauthenticated"),
            ErrorCode::Forbidden => row(403, 7, "permission_error", "forbidden"),
            ErrorCode::NotFound => row(404, 5, "not_found_error", "not_found"),
            ErrorCode::MethodNotAllowed => row(405, 12, "invalid_request_error", "method_not_allowed"),
            ErrorCode::Conflict => row(409, 10, "invalid_request_error", "conflict"),
            ErrorCode::RequestTimeout => row(408, 4, "invalid_request_error", "request_timeout"),
            ErrorCode::TooLarge => row(413, 8, "invalid_request_error", "too_large"),
            ErrorCode::UnsupportedMedia => row(415, 12, "invalid_request_error", "unsupported_media"),
            ErrorCode::QueueFull => row(429, 8, "rate_limit_error", "queue_full"),
            // As OpenAI's own clients know it.
            ErrorCode::RateLimited => row(429, 8, "rate_limit_exceeded", "rate_limit_exceeded"),
            ErrorCode::Cancelled => row(499, 1, "api_error", "cancelled"),
            ErrorCode::EngineFailed => row(500, 13, "api_error", "engine_failed"),
            // Not gRPC's UNAVAILABLE: clients take that for leave to call again.
            ErrorCode::UpstreamFailed => row(502, 13, "api_error", "upstream_failed"),
            ErrorCode::Internal => row(500, 13, "api_error", "internal"),
            ErrorCode::Unsupported => row(501, 12, "invalid_request_error", "unsupported"),
            ErrorCode::Unavailable => row(503, 14, "api_error", "unavailable"),
            ErrorCode::DeadlineExceeded => row(504, 4, "api_error", "deadline_exceeded"),
            // Somebody has to change a manifest first: FAILED_PRECONDITION.
            ErrorCode::LoopDetected => row(508, 9, "api_error", "loop_detected"),
        }
    }
}

/// Who caused the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Client,
    Gateway,
    Replica,
    Engine,
}

/// Whether the call may be executed again, set by the code that knows what was already done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryClass {
    /// Repeating changes nothing: the answer would be the same error.
    Never,
    /// Nothing was executed: safe to repeat.
    NotExecuted,
    /// It was handed over and may have been executed.
    MayHaveExecuted,
}

/// Why a call was not answered. The text is lower case, without a full stop, and says what to do.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    code: ErrorCode,
    message: Cow<'static, str>,
    /// The message for those who may know what lies behind the gateway, where that is another.
    inside: Option<Arc<str>>,
    /// The field of the request that is at fault.
    param: Option<Arc<str>>,
    origin: Origin,
    retry: RetryClass,
    retry_after: Option<Duration>,
}

impl Error {
    fn new(code: ErrorCode, origin: Origin, retry: RetryClass, message: impl Into<Cow<'static, str>>) -> Self {
        Error { code, message: message.into(), inside: None, param: None, origin, retry, retry_after: None }
    }

    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidRequest, Origin::Client, RetryClass::Never, message)
    }

    pub fn unsupported_parameter(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::UnsupportedParameter, Origin::Client, RetryClass::Never, message)
    }

    pub fn context_exceeded(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::ContextExceeded, Origin::Client, RetryClass::Never, message)
    }

    pub fn unauthenticated(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Unauthenticated, Origin::Client, RetryClass::Never, message)
    }

    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Forbidden, Origin::Client, RetryClass::Never, message)
    }

    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::NotFound, Origin::Client, RetryClass::Never, message)
    }

    pub fn method_not_allowed(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::MethodNotAllowed, Origin::Client, RetryClass::Never, message)
    }

    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Conflict, Origin::Gateway, RetryClass::Never, message)
    }

    pub fn request_timeout(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::RequestTimeout, Origin::Client, RetryClass::NotExecuted, message)
    }

    pub fn too_large(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::TooLarge, Origin::Client, RetryClass::Never, message)
    }

    pub fn unsupported_media(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::UnsupportedMedia, Origin::Client, RetryClass::Never, message)
    }

    pub fn queue_full(message: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        let error = Self::new(ErrorCode::QueueFull, Origin::Gateway, RetryClass::NotExecuted, message);
        Error { retry_after: Some(retry_after), ..error }
    }

    pub fn rate_limited(message: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        let error = Self::new(ErrorCode::RateLimited, Origin::Client, RetryClass::NotExecuted, message);
        Error { retry_after: Some(retry_after), ..error }
    }

    pub fn cancelled(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Cancelled, Origin::Client, RetryClass::Never, message)
    }

    pub fn engine(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::EngineFailed, Origin::Engine, RetryClass::MayHaveExecuted, message)
    }

    /// `retry` is what is known of the call: whether any of it was sent.
    pub fn upstream(message: impl Into<Cow<'static, str>>, retry: RetryClass) -> Self {
        Self::new(ErrorCode::UpstreamFailed, Origin::Replica, retry, message)
    }

    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Internal, Origin::Gateway, RetryClass::MayHaveExecuted, message)
    }

    pub fn unsupported(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Unsupported, Origin::Gateway, RetryClass::Never, message)
    }

    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Unavailable, Origin::Replica, RetryClass::NotExecuted, message)
    }

    pub fn deadline(message: impl Into<Cow<'static, str>>, retry: RetryClass) -> Self {
        Self::new(ErrorCode::DeadlineExceeded, Origin::Gateway, retry, message)
    }

    pub fn loop_detected(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::LoopDetected, Origin::Gateway, RetryClass::Never, message)
    }

    pub fn with_retry_after(self, after: Duration) -> Self {
        Error { retry_after: Some(after), ..self }
    }

    /// The same error with more to say.
    pub fn and(self, more: impl fmt::Display) -> Self {
        let inside = self.inside.map(|inside| format!("{inside}; {more}").into());
        Error { message: format!("{}; {more}", self.message).into(), inside, ..self }
    }

    /// The same error with what is said of it to those alone who may know what lies behind the gateway: servers, addresses.
    /// The message is for everybody.
    pub fn with_inside(self, inside: impl Into<Arc<str>>) -> Self {
        Error { inside: Some(inside.into()), ..self }
    }

    /// The error as it is told to those who may know what lies behind the gateway.
    pub fn opened(self) -> Self {
        match self.inside {
            Some(inside) => Error { message: inside.to_string().into(), inside: None, ..self },
            None => self,
        }
    }

    /// All that there is to say of it: for logs, and for those who may know what lies behind the gateway.
    pub fn full(&self) -> &str {
        self.inside.as_deref().unwrap_or(&self.message)
    }

    /// The same error, which names the field of the request that is at fault: `stop`, `messages[2].content`.
    pub fn with_param(self, param: impl Into<Arc<str>>) -> Self {
        Error { param: Some(param.into()), ..self }
    }

    /// For an error whose code says one thing as a rule, and here another is known.
    pub fn with_retry_class(self, retry: RetryClass) -> Self {
        Error { retry, ..self }
    }

    pub fn code(&self) -> ErrorCode {
        self.code
    }

    pub fn row(&self) -> ErrorRow {
        self.code.row()
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    /// The field of the request that is at fault, where it is one that is known.
    pub fn param(&self) -> Option<&str> {
        self.param.as_deref()
    }

    pub fn origin(&self) -> Origin {
        self.origin
    }

    pub fn retry_class(&self) -> RetryClass {
        self.retry
    }

    /// When trying again may help.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The value of a `Retry-After` header: whole seconds, rounded up, at least 1.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after.map(|after| after.as_secs_f64().ceil().max(1.0) as u64)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.row().label, self.message)
    }
}

impl std::error::Error for Error {}

/// Text from outside inside an error: cut where it would drown the rest.
pub(crate) struct Shown<'a>(pub &'a str);

impl Shown<'_> {
    const MAX_CHARS: usize = 64;
    /// At least as many bytes as are shown.
    pub const MAX_BYTES: usize = 4 * (Self::MAX_CHARS + 1);
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(Self::MAX_CHARS) {
            Some((cut, _)) => write!(f, "{}…", &self.0[..cut]),
            None => f.write_str(self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_distinct_label_and_an_error_status() {
        let mut labels: Vec<_> = ErrorCode::ALL.iter().map(|code| code.row().label).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            let row = code.row();
            assert!((400..600).contains(&row.http), "{code:?} must be an HTTP error");
            assert!((1..=16).contains(&row.grpc), "{code:?} must be a gRPC error");
        }
    }

    #[test]
    fn retry_after_is_whole_seconds_and_never_zero() {
        let error = Error::queue_full("full", Duration::from_millis(20));
        assert_eq!(error.retry_after_seconds(), Some(1));
        assert_eq!(error.with_retry_after(Duration::from_millis(2_100)).retry_after_seconds(), Some(3));
    }

    #[test]
    fn what_lies_inside_is_told_when_it_is_asked_for() {
        let error =
            Error::unavailable("no server is ready").with_inside("http://10.0.0.1 is not ready").and("try later");
        assert_eq!(error.message(), "no server is ready; try later");
        assert_eq!(error.to_string(), error.message());
        assert_eq!(error.full(), "http://10.0.0.1 is not ready; try later");
        assert_eq!(format!("{error:?}"), "unavailable: no server is ready; try later");
        assert_eq!(error.clone().opened().message(), error.full());
        let plain = Error::unavailable("loading");
        assert_eq!((plain.full(), plain.clone().opened()), ("loading", plain.clone()));
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(Shown("short").to_string(), "short");
        assert_eq!(Shown(&"é".repeat(65)).to_string(), format!("{}…", "é".repeat(64)));
    }
}
