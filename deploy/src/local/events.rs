//! What has happened to a service, as people are told: the last of it, and what comes again and again once.

use std::collections::VecDeque;

use crate::control::Event;

/// Events that are kept of one service.
const MOST: usize = 50;

#[derive(Debug, Default)]
pub(super) struct Events(VecDeque<Noted>);

#[derive(Debug)]
struct Noted {
    /// What comes again under the same reason is told in its place.
    about: Option<String>,
    event: Event,
}

impl Events {
    /// Adds one that stands by itself.
    pub fn add(&mut self, event: Event) {
        self.push(None, event);
    }

    /// Adds one in the place of the last about the same thing, if there is one.
    pub fn add_about(&mut self, about: &str, mut event: Event) {
        let same = |noted: &Noted| noted.about.as_deref() == Some(about) && noted.event.reason == event.reason;
        if let Some(Noted { event: before, .. }) = self.0.iter().position(same).and_then(|at| self.0.remove(at)) {
            event.count = before.count.saturating_add(1);
            event.first_time = Some(before.first_time.unwrap_or(before.time));
        }
        self.push(Some(about.to_owned()), event);
    }

    /// The newest last.
    pub fn all(&self) -> impl Iterator<Item = &Event> {
        self.0.iter().map(|noted| &noted.event)
    }

    fn push(&mut self, about: Option<String>, event: Event) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(Noted { about, event });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(time: usize, reason: &str) -> Event {
        let (kind, message) = ("Warning".to_owned(), format!("at {time}"));
        Event { time: format!("t{time}"), kind, reason: reason.to_owned(), message, count: 1, first_time: None }
    }

    #[test]
    fn what_comes_again_is_told_once_with_its_count() {
        let mut events = Events::default();
        events.add_about("a", event(1, "ReplicaExited"));
        events.add(event(2, "RevisionReady"));
        events.add_about("b", event(3, "ReplicaExited"));
        for time in 4..7 {
            events.add_about("a", event(time, "ReplicaExited"));
        }
        events.add(event(7, "RevisionReady"));
        let shown = events.all().map(|event| {
            let first = event.first_time.as_deref().unwrap_or("none");
            format!("{} {} x{} since {first}", event.time, event.message, event.count)
        });
        let expected =
            ["t2 at 2 x1 since none", "t3 at 3 x1 since none", "t6 at 6 x4 since t1", "t7 at 7 x1 since none"];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_last_are_kept() {
        let mut events = Events::default();
        (0..MOST + 3).for_each(|time| events.add(event(time, "TrafficChanged")));
        assert_eq!(events.all().count(), MOST);
        assert_eq!(events.all().next().unwrap().time, "t3");
    }
}
