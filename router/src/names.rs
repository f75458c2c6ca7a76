//! The names that services answer to within their namespaces: a host's first labels, or the first two parts of a path.
//!
//! Every name that a service has is written down here and then looked up whole. Nothing is parsed apart: `a-b-c` can be
//! service `a` in `b-c` or `a-b` in `c`, and only the services themselves can tell.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::service::Service;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Its index in the table.
    pub service: usize,
    pub tag: Tag,
}

/// The revision that is meant by a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    Any,
    Stable,
    Latest,
    Revision(usize),
}

type Claims = HashMap<Box<str>, Vec<Claim>>;

/// Every name. More than one claim on a name is a conflict, to be told to those who use it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    by_namespace: HashMap<Box<str>, Claims>,
    /// `{name}-{namespace}`, the first label of hosts below a domain.
    joined: Claims,
}

impl Names {
    pub fn add<L>(&mut self, index: usize, service: &Service<L>) {
        let Service { namespace, name, revisions, .. } = service;
        let claim = |tag| Claim { service: index, tag };
        enter(&mut self.joined, format!("{name}-{namespace}"), claim(Tag::Any));
        if !self.by_namespace.contains_key(&**namespace) {
            self.by_namespace.insert(namespace.as_ref().into(), Claims::default());
        }
        let Some(names) = self.by_namespace.get_mut(&**namespace) else { return };
        for (prefix, tag) in [("", Tag::Any), ("prev-", Tag::Stable), ("latest-", Tag::Latest)] {
            enter(names, format!("{prefix}{name}"), claim(tag));
            enter(names, format!("{prefix}{name}-predictor"), claim(tag));
        }
        for (revision, place) in revisions.iter().zip(0..) {
            enter(names, revision.name.to_string(), claim(Tag::Revision(place)));
            if let Some(variant) = &revision.variant {
                enter(names, format!("{name}-{variant}-predictor"), claim(Tag::Revision(place)));
            }
        }
    }

    /// The claims on a label within a namespace.
    pub fn in_namespace(&self, namespace: &str, label: &str) -> &[Claim] {
        let names = self.by_namespace.get(namespace);
        names.and_then(|names| names.get(label)).map_or(&[], Vec::as_slice)
    }

    /// The claims on a host: within a namespace, and joined.
    pub fn of_host(&self, host: &str) -> (&[Claim], &[Claim]) {
        const NONE: (&[Claim], &[Claim]) = (&[], &[]);
        // Names begin with a letter. An address, which is what most hosts are, costs no more than this look.
        if !host.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return NONE;
        }
        let host = host.split_once(':').map_or(host, |(host, _)| host);
        let Some((label, domain)) = host.split_once('.') else { return NONE };
        let (label, namespace) = (lower_case(label), lower_case(domain.split_once('.').map_or(domain, |(ns, _)| ns)));
        (self.in_namespace(&namespace, &label), self.joined.get(&*label).map_or(&[], Vec::as_slice))
    }
}

/// Notes a claim. Where a service has a name twice, the first and wider sense holds.
fn enter(names: &mut Claims, name: String, claim: Claim) {
    let claims = names.entry(name.into()).or_default();
    if claims.iter().all(|other| other.service != claim.service) {
        claims.push(claim);
    }
}

fn lower_case(label: &str) -> Cow<'_, str> {
    if label.bytes().any(|byte| byte.is_ascii_uppercase()) { label.to_ascii_lowercase().into() } else { label.into() }
}
