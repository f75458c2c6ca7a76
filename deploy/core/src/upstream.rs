//! Servers that somebody else runs: from annotations to a plan.

use std::collections::BTreeMap;
use std::path::PathBuf;

use weirgate_protocol::UpstreamUrl;

use crate::annotations::{
    OF_AN_UPSTREAM, UPSTREAM, UPSTREAM_CA, UPSTREAM_CLIENT_CERT, UPSTREAM_CLIENT_KEY, UPSTREAM_PROTOCOL, words,
};
use crate::plan::{UpstreamPlan, UpstreamProtocol, UpstreamTls};
use crate::problem::{Report, join, quoted};

/// Something is wrong, and has been reported.
#[derive(Debug)]
pub(crate) struct Reported;

/// A predictor's annotations, and where each was written.
#[derive(Clone, Copy)]
pub(crate) struct Notes<'a> {
    /// With those that it has from the service.
    pub annotations: &'a BTreeMap<String, String>,
    /// Those of the service.
    pub service: &'a BTreeMap<String, String>,
    /// The predictor.
    pub at: &'a str,
}

impl<'a> Notes<'a> {
    /// The value, unless it is empty.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.annotations.get(name).map(String::as_str).filter(|value| !value.trim().is_empty())
    }

    pub fn path(&self, name: &str) -> String {
        match self.service.get(name) == self.annotations.get(name) {
            true => join("metadata.annotations", name),
            false => join(&format!("{}.annotations", self.at), name),
        }
    }

    /// What the server speaks, where it is said; an error is in the report.
    pub fn protocols(&self, report: &mut Report) -> Result<Option<Vec<UpstreamProtocol>>, Reported> {
        let Some(listed) = self.get(UPSTREAM_PROTOCOL) else { return Ok(None) };
        protocols(listed, &self.path(UPSTREAM_PROTOCOL), report).map(Some).ok_or(Reported)
    }

    /// What is wrong with all that is said of upstreams where there are none. What a server speaks may be said of a
    /// container's too.
    pub fn refuse_without_upstream(&self, containers: bool, report: &mut Report) {
        let named = |name: &&str| self.get(name).is_some() && !(containers && *name == UPSTREAM_PROTOCOL);
        for name in OF_AN_UPSTREAM.iter().copied().filter(named) {
            report.error(&self.path(name), format!("is not allowed without {UPSTREAM}: write that, or remove this"));
        }
    }
}

/// The plan for a predictor that names its upstreams; none where something of it is wrong.
pub(crate) fn upstream(notes: Notes<'_>, listed: &str, report: &mut Report) -> Option<UpstreamPlan> {
    let urls = urls(listed, &notes.path(UPSTREAM), report);
    let protocols = notes.protocols(report);
    if let Ok(Some(protocols)) = &protocols
        && !protocols.contains(&UpstreamProtocol::GrpcV2)
        && let Some(url) = urls.iter().find(|url| url.scheme.is_grpc())
    {
        let message = format!("does not list grpc-v2, and {UPSTREAM} names {url}: add it, or write another scheme");
        report.error(&notes.path(UPSTREAM_PROTOCOL), message);
    }
    let path_of = |name: &str| notes.get(name).map(PathBuf::from);
    let tls = UpstreamTls {
        ca: path_of(UPSTREAM_CA),
        client_cert: path_of(UPSTREAM_CLIENT_CERT),
        client_key: path_of(UPSTREAM_CLIENT_KEY),
    };
    for (name, found, other, missing) in [
        (UPSTREAM_CLIENT_CERT, tls.client_cert.is_some(), UPSTREAM_CLIENT_KEY, tls.client_key.is_none()),
        (UPSTREAM_CLIENT_KEY, tls.client_key.is_some(), UPSTREAM_CLIENT_CERT, tls.client_cert.is_none()),
    ] {
        if found && missing {
            report.error(&notes.path(name), format!("is not allowed without {other}: write both, or remove this"));
        }
    }
    if !urls.is_empty() && !urls.iter().any(|url| url.scheme.is_tls()) {
        for name in [UPSTREAM_CA, UPSTREAM_CLIENT_CERT, UPSTREAM_CLIENT_KEY] {
            if notes.get(name).is_some() {
                report.warn(&notes.path(name), format!("has no effect: no URL of {UPSTREAM} is https or grpcs"));
            }
        }
    }
    let protocols = protocols.ok()?;
    (!urls.is_empty()).then_some(UpstreamPlan { urls, protocols, tls })
}

fn urls(listed: &str, path: &str, report: &mut Report) -> Vec<UpstreamUrl> {
    let mut urls: Vec<UpstreamUrl> = Vec::new();
    // All of them in one: they are of one field.
    let mut wrongs = Vec::new();
    for (index, text) in words(listed).enumerate() {
        match UpstreamUrl::parse(text) {
            Ok(url) if urls.contains(&url) => wrongs.push(format!("names {url} twice: name each once")),
            Ok(url) => urls.push(url),
            // Its user and password are nobody's to see.
            Err(wrong) if text.contains('@') => {
                wrongs.push(format!("names a URL, the {}. one, that {wrong}", index + 1))
            }
            Err(wrong) => wrongs.push(format!("names {}, which {wrong}", quoted(text))),
        }
    }
    if urls.is_empty() && wrongs.is_empty() {
        wrongs.push(format!("names no server: write {}", UpstreamUrl::ALLOWED));
    }
    if !wrongs.is_empty() {
        report.error(path, wrongs.join("; and "));
    }
    urls
}

fn protocols(listed: &str, path: &str, report: &mut Report) -> Option<Vec<UpstreamProtocol>> {
    const KNOWN: [(&str, UpstreamProtocol); 4] = [
        ("v1", UpstreamProtocol::V1),
        ("v2", UpstreamProtocol::V2),
        ("grpc-v2", UpstreamProtocol::GrpcV2),
        ("openai", UpstreamProtocol::OpenAi),
    ];
    let mut protocols = Vec::new();
    for word in words(listed) {
        let Some((_, protocol)) = KNOWN.iter().find(|(known, _)| *known == word) else {
            report.error(path, format!("lists {}: allowed are v1, v2, grpc-v2, openai", quoted(word)));
            return None;
        };
        if !protocols.contains(protocol) {
            protocols.push(*protocol);
        }
    }
    Some(protocols)
}
