//! The names that services answer to within their namespaces: a host's first labels, or the first two parts of a path.
//!
//! Every name that a service has is written down here and then looked up whole. Nothing is parsed apart: `a-b-c` can be
//! service `a` in `b-c` or `a-b` in `c`, and only the services themselves can tell.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::service::Service;

/// Where more are known, those without services are forgotten.
const MOST_NAMESPACES: usize = 10_000;

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
    /// One that has no names any more once had a service.
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

    /// Goes on to know the namespaces of an earlier table, as far as there is room.
    pub fn remember(&mut self, earlier: &Names) {
        for namespace in earlier.by_namespace.keys() {
            if self.by_namespace.len() >= MOST_NAMESPACES {
                return;
            }
            if !self.by_namespace.contains_key(namespace) {
                self.by_namespace.insert(namespace.clone(), Claims::default());
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
        let Some((label, namespace)) = labels(host) else { return (&[], &[]) };
        (self.in_namespace(&namespace, &label), self.joined.get(&*label).map_or(&[], Vec::as_slice))
    }

    /// The namespaces, of those that have or had services, that a host names to whoever asks for `model` there: its second
    /// label, and the end of `{model}-{namespace}`.
    pub fn namespaces_of(&self, host: &str, model: &str) -> Vec<&str> {
        let Some((label, namespace)) = labels(host) else { return Vec::new() };
        let joined = label.strip_prefix(model).and_then(|rest| rest.strip_prefix('-'));
        let known = |name: &str| self.by_namespace.get_key_value(name).map(|(name, _)| &**name);
        [Some(&*namespace), joined].into_iter().flatten().filter_map(known).collect()
    }
}

/// The first two labels of a host that could be a service's.
fn labels(host: &str) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    // Names begin with a letter. An address, which is what most hosts are, costs no more than this look.
    if !host.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return None;
    }
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    let (label, domain) = host.split_once('.')?;
    Some((lower_case(label), lower_case(domain.split_once('.').map_or(domain, |(namespace, _)| namespace))))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::service;

    #[test]
    fn no_more_namespaces_are_remembered_than_there_is_room_for() {
        let mut many = Names::default();
        for index in 0..=MOST_NAMESPACES {
            many.add(index, &service(&format!("ns-{index}"), "a"));
        }
        let mut next = Names::default();
        next.add(0, &service("red", "a"));
        next.remember(&many);
        assert_eq!(next.by_namespace.len(), MOST_NAMESPACES);
        assert_eq!(next.in_namespace("red", "a").len(), 1);
    }
}
