//! Asks the model behind a server, not its port, whether it is ready: until it is, and from then on.
//!
//! A server of somebody else's is asked again and again. One of ours says by itself how it is and what it takes, by a stream
//! of [credits](super::credits).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use weirgate_protocol::Protocol;

use super::credits::{self, Credit, Lines, State};
use super::describe::{Said, ask_again, describe};
use super::{Described, Remote};

/// The first pause before a server that is not ready is asked again; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause while nothing of a server of ours is known.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How many checks pass between two looks at the description.
const CHECKS_PER_DESCRIPTION: u32 = 6;
/// How long granted credits hold when their stream is lost: a server of ours that restarts its connections is not gone.
const CREDITS_HOLD: Duration = Duration::from_secs(2);

/// How a server is watched.
#[derive(Clone, Debug)]
pub struct WatchConfig {
    /// The name by which the server knows its model.
    pub model: Arc<str>,
    /// What it speaks, where that was said; none: it is asked.
    pub protocols: Option<Box<[Protocol]>>,
    /// From one check to the next.
    pub every: Duration,
    /// For the answer to one question.
    pub patience: Duration,
    /// Checks that must fail one after the other before the server counts as not ready.
    pub threshold: u32,
}

impl WatchConfig {
    /// The usual times, and whatever the server speaks.
    pub fn new(model: impl Into<Arc<str>>) -> WatchConfig {
        let (every, patience) = (Duration::from_secs(5), Duration::from_secs(5));
        WatchConfig { model: model.into(), protocols: None, every, patience, threshold: 3 }
    }
}

/// What a watch tells. The remote has been described, or granted its slots, before.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchEvent {
    /// Its model is ready, for the first time or again.
    Ready(Arc<Described>),
    /// It is still ready, and speaks, takes or gives something else than before.
    Changed(Arc<Described>),
    /// It takes so many calls at a time from now on.
    Slots(usize),
    /// It finishes what it has, and then leaves.
    Draining,
    /// It is not ready, or not any more, for this reason. Told once for each reason.
    NotReady(String),
    /// The same, and it is no matter of patience: a server of ours says that it can't load its model.
    Failed(String),
}

/// Watches a server for as long as it is polled.
pub async fn watch(remote: Arc<Remote>, config: WatchConfig, tell: impl Fn(WatchEvent) + Send + Sync) {
    let watch = Watch { remote, config, tell };
    if watch.remote.ours { watch.follow().await } else { watch.poll().await }
}

struct Watch<T> {
    remote: Arc<Remote>,
    config: WatchConfig,
    tell: T,
}

impl<T: Fn(WatchEvent) + Send + Sync> Watch<T> {
    /// Asks a server of somebody else's.
    async fn poll(&self) {
        loop {
            let described = self.until_described().await;
            self.remote.describe(described);
            (self.tell)(WatchEvent::Ready(self.remote.described()));
            let reason = self.while_ready().await;
            (self.tell)(WatchEvent::NotReady(reason));
        }
    }

    async fn describe(&self) -> Result<Described, String> {
        let WatchConfig { model, protocols, patience, .. } = &self.config;
        describe(&self.remote.link, model, protocols.as_deref(), *patience).await
    }

    async fn until_described(&self) -> Described {
        let mut pauses = Pauses::up_to(self.config.every);
        let mut said = None;
        loop {
            match self.describe().await {
                Ok(described) => return described,
                Err(reason) if said.as_ref() == Some(&reason) => {}
                Err(reason) => {
                    (self.tell)(WatchEvent::NotReady(reason.clone()));
                    said = Some(reason);
                }
            }
            sleep(pauses.next()).await;
        }
    }

    /// Checks a server that is ready until it is not; why.
    async fn while_ready(&self) -> String {
        let mut failures = 0;
        let mut checks = 0;
        loop {
            sleep(self.config.every).await;
            checks += 1;
            // One that has failed may have come back as something else.
            let look = failures > 0 || checks % CHECKS_PER_DESCRIPTION == 0;
            let checked = if look { self.look_again().await } else { self.check().await };
            match checked {
                Ok(()) => failures = 0,
                Err(reason) => {
                    failures += 1;
                    tracing::debug!(server = &*self.remote.name, failures, reason, "a health check failed");
                    if failures >= self.config.threshold {
                        return reason;
                    }
                }
            }
        }
    }

    /// Asks the cheapest question there is.
    async fn check(&self) -> Result<(), String> {
        let described = self.remote.described();
        let spoken = [
            (described.v2, Protocol::V2Http),
            (described.grpc, Protocol::V2Grpc),
            (described.v1, Protocol::V1Http),
            (described.openai.is_some(), Protocol::OpenAi),
        ];
        let Some((_, protocol)) = spoken.into_iter().find(|(speaks, _)| *speaks) else { return Ok(()) };
        let WatchConfig { model, protocols, patience, .. } = &self.config;
        match ask_again(&self.remote.link, model, protocol, *patience).await {
            Said::Ready => Ok(()),
            // It was taken at the manifest's word from the start.
            Said::Unknown(_) if protocols.is_some() => Ok(()),
            Said::No(reason) | Said::Failed(reason) | Said::Unknown(reason) | Said::Unreachable(reason) => Err(reason),
        }
    }

    async fn look_again(&self) -> Result<(), String> {
        let described = self.describe().await?;
        if described != *self.remote.described() {
            self.remote.describe(described);
            (self.tell)(WatchEvent::Changed(self.remote.described()));
        }
        Ok(())
    }

    /// Listens to a server of ours.
    async fn follow(&self) {
        let mut known = Known::default();
        let mut pauses = Pauses::up_to(LONGEST_PAUSE);
        loop {
            let reason = match credits::open(&self.remote.link, self.config.patience).await {
                Ok(mut lines) => self.listen(&mut lines, &mut known, &mut pauses).await,
                Err(reason) => reason,
            };
            let lost = *known.lost.get_or_insert_with(Instant::now);
            if lost.elapsed() >= CREDITS_HOLD || !known.ready {
                self.grant(0, &mut known);
                let reason = format!("its stream of credits is lost: {reason}");
                self.not_ready(WatchEvent::NotReady(reason), &mut known);
            }
            sleep(pauses.next()).await;
        }
    }

    /// Takes what a stream says until it ends; why it did.
    async fn listen(&self, lines: &mut Lines, known: &mut Known, pauses: &mut Pauses) -> String {
        loop {
            let credit = match timeout(credits::SILENCE, lines.next()).await {
                Ok(Ok(credit)) => credit,
                Ok(Err(reason)) => return reason,
                Err(_) => return format!("silent for {:?}", credits::SILENCE),
            };
            (known.lost, *pauses) = (None, Pauses::up_to(LONGEST_PAUSE));
            self.take(credit, known).await;
        }
    }

    async fn take(&self, credit: Credit, known: &mut Known) {
        match credit.state {
            State::Ready if !known.ready => match self.describe().await {
                Ok(described) => {
                    self.remote.describe(described);
                    *known = Known { ready: true, slots: Some(credit.slots), ..Known::default() };
                    self.remote.grant(credit.slots);
                    (self.tell)(WatchEvent::Ready(self.remote.described()));
                }
                Err(reason) => self.not_ready(WatchEvent::NotReady(reason), known),
            },
            State::Ready => self.grant(credit.slots, known),
            State::Draining => {
                self.grant(0, known);
                if !std::mem::replace(&mut known.drains, true) {
                    (self.tell)(WatchEvent::Draining);
                }
            }
            State::Loading => {
                self.grant(0, known);
                let reason = credit.reason.unwrap_or_else(|| "it loads its model".to_owned());
                self.not_ready(WatchEvent::NotReady(reason), known);
            }
            State::Failed => {
                self.grant(0, known);
                let reason = credit.reason.unwrap_or_else(|| "it can't load its model".to_owned());
                self.not_ready(WatchEvent::Failed(reason), known);
            }
        }
    }

    fn grant(&self, slots: usize, known: &mut Known) {
        if known.slots.replace(slots) != Some(slots) {
            self.remote.grant(slots);
            (self.tell)(WatchEvent::Slots(slots));
        }
    }

    fn not_ready(&self, event: WatchEvent, known: &mut Known) {
        known.ready = false;
        if known.said.as_ref() != Some(&event) {
            (self.tell)(event.clone());
            known.said = Some(event);
        }
    }
}

/// What has been told of a server of ours.
#[derive(Default)]
struct Known {
    ready: bool,
    drains: bool,
    slots: Option<usize>,
    /// Why it is not ready.
    said: Option<WatchEvent>,
    /// Since when nothing is heard.
    lost: Option<Instant>,
}

/// Pauses that double.
struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    fn up_to(longest: Duration) -> Pauses {
        Pauses { next: FIRST_PAUSE.min(longest), longest }
    }

    fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut pauses = Pauses::up_to(Duration::from_millis(150));
        let told: Vec<_> = (0..4).map(|_| pauses.next().as_millis()).collect();
        assert_eq!(told, [50, 100, 150, 150]);
        assert_eq!(Pauses::up_to(Duration::from_millis(10)).next().as_millis(), 10);
    }
}
