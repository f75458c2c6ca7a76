//! A request's head on its way to a server. Its headers are a list: it is made in one pass and written in another, where a map
//! would hash each name for both.

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Request, request};

use super::body::OutBody;

/// What is asked of a server, but for what its connection and its address add.
#[derive(Clone, Debug)]
pub struct RequestHead {
    pub method: Method,
    pub target: PathAndQuery,
    /// In any order; a name may come more than once.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// A request, whose URI counts only from its path on.
pub(super) fn split(request: Request<OutBody>) -> (RequestHead, OutBody) {
    let (request::Parts { method, uri, headers, .. }, body) = request.into_parts();
    let target = uri.into_parts().path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let headers = headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    (RequestHead { method, target, headers }, body)
}
