//! The description of the HTTP routes, served to whoever asks: OpenAPI 3.1, written by hand in `openapi/`, one file for each
//! family of routes.
//!
//! A test holds its paths against the router's, and end-to-end tests hold answers against its schemas.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use super::parts::json;
use crate::gateway::Gateway;

/// The frame, with what all families use.
const SERVER: &str = include_str!("openapi/server.json");
const FAMILIES: [&str; 5] = [
    include_str!("openapi/v1.json"),
    include_str!("openapi/v2.json"),
    include_str!("openapi/triton.json"),
    include_str!("openapi/repository.json"),
    include_str!("openapi/openai.json"),
];

static DESCRIPTION: LazyLock<Bytes> = LazyLock::new(|| description().to_string().into());

pub fn routes() -> Router<Arc<Gateway>> {
    Router::new().route("/openapi.json", get(describe))
}

async fn describe() -> Response {
    json(StatusCode::OK, DESCRIPTION.clone())
}

/// All files as one description.
fn description() -> Value {
    let read = |text: &str| serde_json::from_str::<Value>(text).expect("the files are JSON: a test reads them");
    let mut whole = read(SERVER);
    for family in FAMILIES.map(read) {
        for part in ["/paths", "/components/schemas"] {
            let of = |from: &Value| from.pointer(part).and_then(Value::as_object).cloned().unwrap_or_default();
            if let Some(all) = whole.pointer_mut(part).and_then(Value::as_object_mut) {
                all.extend(of(&family));
            }
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::{repository, rest_routes};

    /// Routes of what Triton has and this server has not: they only say so.
    const NOT_BUILT: [&str; 5] = [
        "/v2/systemsharedmemory/{}",
        "/v2/cudasharedmemory/{}",
        "/v2/trace/setting",
        "/v2/models/{}/trace/setting",
        "/v2/logging",
    ];

    /// A path with nothing within its braces, and without a verb behind them: one route of the router takes all verbs.
    fn plain(path: &str) -> String {
        let mut plain = String::new();
        for part in path.split_inclusive(['{', '}']) {
            match (part.strip_suffix('}'), plain.ends_with('{')) {
                (Some(_), true) => plain.push('}'),
                _ => plain.push_str(part),
            }
        }
        match plain.rsplit_once(':') {
            Some((path, _)) => path.to_owned(),
            None => plain,
        }
    }

    /// What a router says of itself, `RouteId(n): "path"`, is the only list of its routes.
    fn routed() -> BTreeSet<String> {
        let text = format!("{:?} {:?}", rest_routes(), repository::routes());
        let entries = text.split("RouteId(").filter_map(|entry| entry.split_once("): \""));
        let paths = entries.map(|(_, rest)| rest.split('"').next().unwrap());
        // Fallbacks are routes of their own, with names of the router's.
        paths.filter(|path| !path.contains("__private__")).map(plain).collect()
    }

    #[test]
    fn every_route_is_described_and_every_path_is_routed() {
        let described: BTreeSet<_> =
            description()["paths"].as_object().unwrap().keys().map(|path| plain(path)).collect();
        let mut routed = routed();
        for path in NOT_BUILT {
            assert!(routed.remove(path), "{path} has no route");
        }
        assert!(routed.len() > 20, "the router no longer tells its routes: {routed:?}");
        assert_eq!(described, routed);
    }

    #[test]
    fn the_version_is_that_of_the_server() {
        assert_eq!(description()["info"]["version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn paths_are_compared_without_names_and_verbs() {
        assert_eq!(plain("/v1/models/{model}/versions/{version}:predict"), "/v1/models/{}/versions/{}");
        assert_eq!(plain("/v2/cudasharedmemory/{*rest}"), "/v2/cudasharedmemory/{}");
        assert_eq!(plain("/"), "/");
    }
}
