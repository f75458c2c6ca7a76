//! Why the last calls went where they went.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::middleware;
use axum::response::Response;
use axum::routing::get;
use serde_json::json;
use url::form_urlencoded;
use weirgate_protocol::{Error, Result};

use super::access::Access;
use super::guard::{Guard, guarded};
use crate::explain::Decision;
use crate::gateway::Gateway;
use crate::respond;

const DECISIONS: &str = "/api/v1/decisions";

/// The routes; `access` is asked first.
pub fn router(gateway: Arc<Gateway>, access: Arc<Access>, client_timeout: Duration) -> Router {
    let guard = Guard { access, client_timeout };
    Router::new()
        .route(DECISIONS, get(list))
        .route(&format!("{DECISIONS}/{{request_id}}"), get(one))
        .route_layer(middleware::from_fn_with_state(guard, guarded))
        .with_state(gateway)
}

/// The newest first, of those that the query asks for.
async fn list(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    match Filter::parse(request.uri().query().unwrap_or_default()) {
        Ok(filter) => respond::to_json(&json!({ "items": filter.of(gateway.decisions.last()) })),
        Err(error) => respond::rest_error(&error),
    }
}

/// Which decisions are asked for: those that fit in all that is given.
#[derive(Debug, Default, PartialEq)]
struct Filter {
    namespace: Option<String>,
    service: Option<String>,
    request_id: Option<String>,
    limit: Option<usize>,
}

impl Filter {
    fn parse(query: &str) -> Result<Filter> {
        let mut filter = Filter::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "namespace" => once(&mut filter.namespace, &name, value.into_owned())?,
                "service" => once(&mut filter.service, &name, value.into_owned())?,
                "request_id" => once(&mut filter.request_id, &name, value.into_owned())?,
                "limit" => once(&mut filter.limit, &name, limit(&value)?)?,
                _ => {
                    return Err(Error::invalid(format!(
                        "the query's '{}' is not known: allowed are namespace, service, request_id and limit",
                        shown(&name)
                    )));
                }
            }
        }
        Ok(filter)
    }

    fn of(&self, decisions: Vec<Arc<Decision>>) -> Vec<Arc<Decision>> {
        let fits = |asked: &Option<String>, is: &str| asked.as_ref().is_none_or(|asked| asked == is);
        let wanted = decisions.into_iter().filter(|decision| {
            fits(&self.namespace, &decision.namespace)
                && fits(&self.service, &decision.service)
                && fits(&self.request_id, &decision.request_id)
        });
        wanted.take(self.limit.unwrap_or(usize::MAX)).collect()
    }
}

fn once<T>(field: &mut Option<T>, name: &str, value: T) -> Result<()> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::invalid(format!("the query's '{name}' is given twice: give it once"))),
    }
}

fn limit(text: &str) -> Result<usize> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| {
        Error::invalid(format!("the query's 'limit' is '{}': give a whole number above 0, such as 10", shown(text)))
    })
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

async fn one(State(gateway): State<Arc<Gateway>>, Path(request_id): Path<String>) -> Response {
    match gateway.decisions.of(&request_id) {
        Some(decision) => respond::to_json(&*decision),
        None => {
            let (shown, keep) = (shown(&request_id), gateway.config.explain_last);
            let text = format!("no decision of request '{shown}' is kept: the last {keep} are (flag --explain-last)");
            respond::rest_error(&Error::not_found(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_what_is_asked_and_nothing_else() {
        let filter = Filter::parse("service=a%20b&limit=3&request_id=x%2By").unwrap();
        let (service, request_id) = (Some("a b".to_owned()), Some("x+y".to_owned()));
        assert_eq!(filter, Filter { service, request_id, limit: Some(3), namespace: None });
        assert_eq!(Filter::parse("").unwrap(), Filter::default());
        for (query, expected) in [
            ("servcie=a", "'servcie' is not known: allowed are namespace"),
            ("service=a&service=b", "'service' is given twice"),
            ("limit=0", "'limit' is '0': give a whole number"),
            ("limit=-1", "'limit' is '-1'"),
            ("limit=", "'limit' is ''"),
        ] {
            let error = Filter::parse(query).unwrap_err();
            assert!(error.message().contains(expected), "{query}: {error}");
        }
    }
}
