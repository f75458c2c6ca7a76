//! From what is asked for and how replicas fare to what shall be.

use super::health::Health;
use super::record::{Asked, AskedTraffic, Known, Rollout};
use crate::plan::Replacement;

/// What shall be now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Revisions that shall have replicas; all others shall finish what they hold and go.
    pub run: Vec<Run>,
    /// Who takes which part of the calls. Every revision that runs is here, with 0 too; the parts sum to 100, unless
    /// nothing runs.
    pub shares: Vec<Share>,
    /// The revision that takes what no canary does.
    pub base: Option<String>,
    /// The base has never been ready: its calls wait for it.
    pub holding: bool,
    pub stable: Option<String>,
    /// The newest revision that was asked for.
    pub latest: Option<String>,
}

/// A revision that shall run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub revision: String,
    pub replicas: usize,
    /// Its replicas start when those of this revision have ended.
    pub after: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    pub revision: String,
    pub percent: u8,
}

/// Who shall take the rest, and the canaries beside it.
struct Target {
    base: String,
    canaries: Vec<(String, u8)>,
}

/// A base that answers, or has done so: only one that is ready may take its place.
fn serves(known: &Known) -> bool {
    known.proven || known.health.ready > 0
}

impl Rollout {
    /// Decides, and forgets revisions that nobody needs any more. Deciding again without news changes nothing, except that
    /// canaries join a first revision once it has been rolled out.
    pub fn decide(&mut self) -> Decision {
        let Some(asked) = self.asked.clone() else { return Decision::default() };
        let target = self.target(&asked);
        if asked.stopped {
            self.forget(&target, &[]);
            return Decision { stable: self.stable.clone(), latest: Some(asked.predictor), ..Decision::default() };
        }
        let alone = asked.replacement == Replacement::StopFirst || self.crowded.contains(&target.base);
        let swap = if alone { self.swap(&target) } else { None };
        let served = self.base.as_deref().and_then(|base| self.known(base)).is_some_and(serves);
        let ready = |known: &Known| known.usable() || alone && known.answers();
        if swap.is_none() && (!served || self.known(&target.base).is_some_and(ready)) {
            self.base = Some(target.base.clone());
        }
        let taker = if swap.is_some() { target.base.clone() } else { self.base.clone().unwrap_or_default() };
        let usable = |name: &str| self.known(name).is_some_and(Known::usable);
        let canaries: Vec<_> = target.canaries.iter().filter(|(name, _)| *name != taker).collect();
        let holding = !self.known(&taker).is_some_and(serves);
        let mut shares: Vec<Share> = Vec::with_capacity(canaries.len() + 2);
        let mut left = 100;
        for (name, percent) in canaries {
            let percent = if usable(name) && self.stable.is_some() && !holding { left.min(*percent) } else { 0 };
            left -= percent;
            shares.push(Share { revision: name.clone(), percent });
        }
        shares.insert(0, Share { revision: taker.clone(), percent: left });
        if target.base != taker && swap.is_none() && !self.gave_up(&target.base) {
            shares.push(Share { revision: target.base.clone(), percent: 0 });
        }
        let rolled_out = left == 100 && taker == target.base && usable(&taker);
        if rolled_out && self.stable.as_ref() != Some(&taker) {
            self.previous = self.stable.replace(taker.clone());
        }
        let run: Vec<_> = shares.iter().map(|share| self.run(&share.revision, swap.as_ref())).collect();
        self.forget(&target, &run);
        Decision { run, shares, base: Some(taker), holding, stable: self.stable.clone(), latest: self.latest(&asked) }
    }

    fn target(&self, asked: &Asked) -> Target {
        let newest = &asked.predictor;
        match (&asked.traffic, &self.stable) {
            (AskedTraffic::Canaries(canaries), _) => {
                let canaries = canaries.iter().filter(|(name, _)| name != newest).cloned().collect();
                Target { base: newest.clone(), canaries }
            }
            // A first rollout has nothing to be split with, and a stable revision is no canary of itself.
            (AskedTraffic::Percent(percent @ ..100), Some(stable)) if stable != newest => {
                Target { base: stable.clone(), canaries: vec![(newest.clone(), *percent)] }
            }
            (AskedTraffic::Percent(_), _) => Target { base: newest.clone(), canaries: Vec::new() },
        }
    }

    /// The revision that must go before its successor starts, where both may not run. A successor that fails is given up;
    /// one takes over with its first replica.
    fn swap(&mut self, target: &Target) -> Option<String> {
        let base = self.base.clone()?;
        if base == target.base || !self.known(&base).is_some_and(serves) || !target.canaries.is_empty() {
            return None;
        }
        let known = self.revisions.iter_mut().find(|known| known.name == target.base)?;
        if known.broken() {
            known.given_up = known.health.failure.clone();
        }
        (known.given_up.is_none() && !known.answers()).then_some(base)
    }

    fn gave_up(&self, revision: &str) -> bool {
        self.known(revision).is_some_and(|known| known.given_up.is_some())
    }

    /// One replica until it has loaded, to prove that it does.
    fn run(&self, revision: &str, swap: Option<&String>) -> Run {
        let known = self.known(revision);
        let loaded = known.is_some_and(|known| known.proven || known.health.ready > 0);
        let replicas = if loaded { known.map_or(1, |known| known.replicas.max(1)) } else { 1 };
        Run { revision: revision.to_owned(), replicas, after: swap.cloned() }
    }

    fn latest(&self, asked: &Asked) -> Option<String> {
        match &asked.traffic {
            AskedTraffic::Percent(_) => Some(asked.predictor.clone()),
            AskedTraffic::Canaries(canaries) => {
                let named = |name: &str| asked.predictor == name || canaries.iter().any(|(canary, _)| canary == name);
                self.revisions.iter().rev().find(|known| named(&known.name)).map(|known| known.name.clone())
            }
        }
    }

    /// Forgets revisions that nobody needs any more, and how those fared that don't run.
    fn forget(&mut self, target: &Target, run: &[Run]) {
        let asked = self.asked.as_ref().map(|asked| asked.predictor.clone());
        let kept = [&self.base, &self.stable, &self.previous, &asked].map(Clone::clone);
        let needed = |name: &String| {
            kept.iter().flatten().any(|kept| kept == name)
                || *name == target.base
                || target.canaries.iter().any(|(canary, _)| canary == name)
        };
        self.revisions.retain(|known| needed(&known.name));
        // A base that has made room may have to come back, and is still the one that served.
        let base = self.base.clone().filter(|_| !run.is_empty());
        let idle = |known: &&mut Known| {
            base.as_ref() != Some(&known.name) && !run.iter().any(|run| run.revision == known.name)
        };
        for known in self.revisions.iter_mut().filter(idle) {
            known.warm = false;
            known.health = Health::default();
        }
        // Whoever has become the base has found room.
        self.crowded.retain(|name| needed(name) && self.base.as_ref() != Some(name));
    }
}
