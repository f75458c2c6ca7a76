//! A service and its revisions, and which of them answers a call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use weirgate_protocol::{Error, Result, Retry, StickyKey};

use crate::split::{Split, Turns};
use crate::sticky;

/// A service as routing sees it.
#[derive(Clone, Debug)]
pub struct Service<L> {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    /// The model's name in paths and messages; the service's own name.
    pub model: Arc<str>,
    /// The longest a call may take where the caller asks for no less.
    pub timeout: Duration,
    /// What keeps calls together while traffic is split.
    pub sticky: Option<StickyKey>,
    /// Whether a call that may have been executed may be executed again.
    pub retry: Retry,
    /// How long an answer may pause once its first byte has come; none: as long as the timeout.
    pub stream_idle_timeout: Option<Duration>,
    /// Every revision that can be asked for, and its share of the calls in percent. The shares sum to 100.
    pub revisions: Vec<Revision<L>>,
    /// Which of them takes what no other's share covers, and calls that were meant for one that has failed.
    pub base: usize,
    /// The revision that `stable` means, whether it runs now or not; none until one has held all traffic.
    pub stable: Option<Arc<str>>,
    /// Which of them `latest` means.
    pub latest: Option<usize>,
    pub turns: Turns,
    /// Why no call is taken; then there may be no revisions.
    pub refusal: Option<Refusal>,
}

/// Why a service takes no calls.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub text: Arc<str>,
    /// It is meant to take none: nobody should wait for it to be ready.
    pub stopped: bool,
}

/// A running revision.
#[derive(Clone, Debug)]
pub struct Revision<L> {
    pub name: Arc<str>,
    /// `predictor.name` of the manifest: another name to ask for it by.
    pub variant: Option<Arc<str>>,
    pub percent: u8,
    pub lane: L,
}

/// The revision that a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// None: the split decides.
    Any,
    Stable,
    Latest,
    /// A revision's name or variant.
    Named(&'a str),
}

impl<'a> Wanted<'a> {
    /// Reads `stable`, `latest`, or a revision's name or variant.
    pub fn parse(text: &'a str) -> Wanted<'a> {
        match text {
            "stable" => Wanted::Stable,
            "latest" => Wanted::Latest,
            name => Wanted::Named(name),
        }
    }
}

impl fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wanted::Any => f.write_str("any revision"),
            Wanted::Stable => f.write_str("stable"),
            Wanted::Latest => f.write_str("latest"),
            Wanted::Named(name) => write!(f, "'{}'", name.chars().take(64).collect::<String>()),
        }
    }
}

/// A service within a route table, with what is worked out once from its shares.
#[derive(Clone, Debug)]
pub struct Route<L> {
    pub service: Service<L>,
    /// None where the base takes all calls.
    split: Option<Shares>,
}

#[derive(Clone, Debug)]
struct Shares {
    percent: Box<[u8]>,
    turns: Split,
}

impl<L> Route<L> {
    pub(crate) fn new(service: Service<L>) -> Route<L> {
        let mut percent: Box<[u8]> = service.revisions.iter().map(|revision| revision.percent).collect();
        if let Some(base) = percent.get_mut(service.base) {
            *base = 0;
            percent[service.base] = percent.iter().fold(100, |left: u8, share| left.saturating_sub(*share));
        }
        let divided = percent.iter().enumerate().any(|(index, &share)| index != service.base && share > 0);
        let split = divided.then(|| Shares { turns: Split::new(&percent), percent });
        Route { service, split }
    }

    /// Whether the service takes no calls on purpose.
    pub fn is_stopped(&self) -> bool {
        self.service.refusal.as_ref().is_some_and(|refusal| refusal.stopped)
    }

    /// What keeps calls together now: nothing where there is nothing to choose from.
    pub fn sticky_key(&self) -> Option<&StickyKey> {
        self.split.as_ref().and(self.service.sticky.as_ref())
    }

    /// What a call asks for by header and by address together.
    pub fn wanted<'a>(&self, header: Wanted<'a>, address: Wanted<'a>) -> Result<Wanted<'a>> {
        match (header, address) {
            (wanted, Wanted::Any) | (Wanted::Any, wanted) => Ok(wanted),
            _ if self.find(header)? == self.find(address)? => Ok(header),
            _ => Err(Error::invalid(format!(
                "header x-weirgate-revision asks for revision {header}, and the address for {address}: ask for one"
            ))),
        }
    }

    /// The index of the revision that answers a call: the one it wants, or that of its `key`, or the one whose turn it is.
    pub fn pick(&self, wanted: Wanted<'_>, key: Option<&[u8]>) -> Result<usize> {
        let service = &self.service;
        let picked = match (self.find(wanted)?, &self.split, key) {
            (Some(asked), _, _) => asked,
            (None, None, _) => service.base,
            (None, Some(shares), Some(key)) => {
                sticky::choose(sticky::point(&service.namespace, &service.name, key), &shares.percent, service.base)
            }
            (None, Some(shares), None) => shares.turns.pick(service.turns.next()).unwrap_or(service.base),
        };
        self.exists(picked)
    }

    /// The index of the revision that speaks for the service where no call is answered: the one wanted, or the base.
    pub fn represent(&self, wanted: Wanted<'_>) -> Result<usize> {
        let picked = self.find(wanted)?.unwrap_or(self.service.base);
        self.exists(picked)
    }

    fn exists(&self, index: usize) -> Result<usize> {
        let service = &self.service;
        if service.revisions.get(index).is_none() {
            let (namespace, name) = (&service.namespace, &service.name);
            return Err(Error::unavailable(format!("service '{namespace}/{name}' has no revision that could answer")));
        }
        Ok(index)
    }

    /// The revision that is asked for by name, unless the service takes no calls.
    fn find(&self, wanted: Wanted<'_>) -> Result<Option<usize>> {
        let service = &self.service;
        if let Some(refusal) = &service.refusal {
            return Err(Error::unavailable(refusal.text.to_string()));
        }
        let found = match wanted {
            Wanted::Any => return Ok(None),
            // Until a revision has held all traffic, the one that is about to is as stable as it gets.
            Wanted::Stable => service.stable.as_deref().map_or(Some(service.base), |stable| self.position(stable)),
            Wanted::Latest => service.latest,
            Wanted::Named(name) => self.position(name).or_else(|| {
                let variant = |revision: &Revision<L>| revision.variant.as_deref() == Some(name);
                service.revisions.iter().position(variant)
            }),
        };
        found.map(Some).ok_or_else(|| self.unknown(wanted))
    }

    fn position(&self, revision: &str) -> Option<usize> {
        self.service.revisions.iter().position(|running| &*running.name == revision)
    }

    fn unknown(&self, wanted: Wanted<'_>) -> Error {
        let Service { namespace, name, revisions, stable, .. } = &self.service;
        let known: Vec<_> = revisions
            .iter()
            .map(|revision| match &revision.variant {
                Some(variant) => format!("{} ({variant})", revision.name),
                None => revision.name.to_string(),
            })
            .collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Error::not_found(match (wanted, stable) {
            (Wanted::Stable, Some(stable)) => {
                format!(
                    "the stable revision '{stable}' of service '{namespace}/{name}' does not run now: it has {known}"
                )
            }
            _ => format!("service '{namespace}/{name}' has no revision {wanted}: it has {known}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use weirgate_protocol::ErrorCode;

    use super::*;
    use crate::testing::{revision, service};

    fn canary() -> Route<u8> {
        let mut service = service("default", "a");
        service.revisions = vec![revision("a-1", 80), revision("a-2", 20), revision("a-3", 0)];
        service.revisions[1].variant = Some("fast".into());
        (service.stable, service.latest) = (Some("a-1".into()), Some(1));
        Route::new(service)
    }

    #[test]
    fn a_revision_is_found_by_any_of_its_names() {
        let route = canary();
        let pick = |text| route.pick(Wanted::parse(text), None);
        assert_eq!(
            [pick("stable"), pick("latest"), pick("a-1"), pick("fast"), pick("a-3")],
            [Ok(0), Ok(1), Ok(0), Ok(1), Ok(2)]
        );
        let error = pick("b").unwrap_err();
        assert_eq!(error.code(), ErrorCode::NotFound);
        assert_eq!(error.message(), "service 'default/a' has no revision 'b': it has a-1, a-2 (fast), a-3");
    }

    #[test]
    fn the_base_has_what_no_other_covers() {
        let mut wrong = canary().service;
        wrong.revisions[0].percent = 3;
        let route = Route::new(wrong);
        let picked: Vec<_> = (0..100).map(|_| route.pick(Wanted::Any, None).unwrap()).collect();
        assert_eq!(picked.iter().filter(|&&index| index == 0).count(), 80);
        assert_eq!(picked.iter().filter(|&&index| index == 1).count(), 20);
    }

    #[test]
    fn another_than_the_base_may_have_it_all() {
        let mut service = canary().service;
        (service.revisions[0].percent, service.revisions[1].percent) = (0, 100);
        let route = Route::new(service);
        assert!((0..200).all(|_| route.pick(Wanted::Any, None) == Ok(1)));
        assert_eq!(route.pick(Wanted::Any, Some(b"key")), Ok(1));
    }

    #[test]
    fn turns_go_on_in_the_next_table_and_are_taken_by_calls_alone() {
        let route = canary();
        let mut picked: Vec<_> = (0..37).map(|_| route.pick(Wanted::Any, None).unwrap()).collect();
        assert_eq!(route.represent(Wanted::Any), Ok(0));
        let route = Route::new(route.service.clone());
        picked.extend((0..63).map(|_| route.pick(Wanted::Any, None).unwrap()));
        assert_eq!(picked.iter().filter(|&&index| index == 1).count(), 20);
    }

    #[test]
    fn a_key_decides_before_the_turn() {
        let route = canary();
        let canary = (0..1_000u32).filter(|user| {
            let picks = [(); 3].map(|()| route.pick(Wanted::Any, Some(&user.to_le_bytes())).unwrap());
            assert!(picks.iter().all(|pick| *pick == picks[0]));
            picks[0] == 1
        });
        assert!(canary.count().abs_diff(200) < 60);
    }

    #[test]
    fn a_key_is_looked_for_only_where_it_decides() {
        let mut whole = service("default", "a");
        whole.sticky = StickyKey::parse("header:user");
        assert!(Route::new(whole.clone()).sticky_key().is_none());
        whole.revisions = canary().service.revisions;
        assert!(Route::new(whole).sticky_key().is_some());
    }

    #[test]
    fn header_and_address_must_agree() {
        let route = canary();
        assert_eq!(route.wanted(Wanted::Any, Wanted::Stable), Ok(Wanted::Stable));
        assert_eq!(route.wanted(Wanted::Named("a-1"), Wanted::Stable), Ok(Wanted::Named("a-1")));
        let error = route.wanted(Wanted::Latest, Wanted::Named("a-1")).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidRequest);
        assert!(error.message().contains("latest") && error.message().contains("'a-1'"), "{error}");
    }

    #[test]
    fn stable_is_the_base_until_there_is_one_and_a_refusal_answers_all() {
        let mut young = canary().service;
        (young.stable, young.latest) = (None, None);
        let route = Route::new(young.clone());
        assert_eq!(route.pick(Wanted::Stable, None), Ok(0));
        assert_eq!(route.pick(Wanted::Latest, None).unwrap_err().code(), ErrorCode::NotFound);
        young.refusal = Some(Refusal { text: "it was stopped".into(), stopped: true });
        young.revisions.clear();
        let error = Route::new(young).pick(Wanted::Stable, None).unwrap_err();
        assert_eq!((error.code(), error.message()), (ErrorCode::Unavailable, "it was stopped"));
    }

    #[test]
    fn no_other_revision_answers_for_a_stable_one_that_does_not_run() {
        let mut service = canary().service;
        service.stable = Some("a-0".into());
        let route = Route::new(service);
        let error = route.pick(Wanted::Stable, None).unwrap_err();
        assert_eq!(error.code(), ErrorCode::NotFound);
        let text = "the stable revision 'a-0' of service 'default/a' does not run now: it has a-1, a-2 (fast), a-3";
        assert_eq!(error.message(), text);
        assert_eq!(route.represent(Wanted::Stable).unwrap_err().message(), text);
        assert_eq!(route.pick(Wanted::Latest, None), Ok(1));
    }

    #[test]
    fn no_revision_is_an_answer_too() {
        let mut empty = service("default", "a");
        empty.revisions.clear();
        assert_eq!(Route::new(empty).pick(Wanted::Any, None).unwrap_err().code(), ErrorCode::Unavailable);
    }
}
