//! A lane: where calls of one revision wait until a replica takes them.
//!
//! A call enters in two steps. `reserve` takes its place before its body is read, so a refused call costs no parse and
//! bodies that are still being read count against the bounds. `enter` turns the place into a waiting call. Everything a
//! lane holds is bounded in calls and in bytes, and leaves exactly once: taken by a replica or removed by its caller.
//!
//! Calls are served in the order of their arrival, where each class of priority has a head start of [`HEAD_START`] over the
//! next lower one. So a call is overtaken only by those that come within that time after it: whoever has waited long goes
//! before all, and none starves. The order among two calls never changes, so nothing is sorted again as they wait.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use weirgate_protocol::Priority;

/// How much later a call may arrive than one of the next lower class, and still go before it.
pub const HEAD_START: Duration = Duration::from_secs(10);

/// A waiting call's handle. Tickets are ordered as their calls are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    /// When it arrived, as its priority has it.
    due: Instant,
    /// Tells apart what is due at once, in the order of entering.
    number: u64,
}

impl Ticket {
    fn new(entered: Instant, priority: Priority, number: u64) -> Ticket {
        let behind = match priority {
            Priority::High => Duration::ZERO,
            Priority::Normal => HEAD_START,
            Priority::Low => 2 * HEAD_START,
        };
        Ticket { due: entered + behind, number }
    }

    /// What tells it apart from others of the same arrival.
    pub fn number(self) -> u64 {
        self.number
    }
}

/// The bounds of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneLimits {
    pub max_calls: usize,
    pub max_bytes: usize,
}

/// Which bound refused a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    Calls { limit: usize },
    Bytes { held: usize, asked: usize, limit: usize },
}

/// A call that waits.
#[derive(Debug)]
pub struct Waiting<T> {
    pub item: T,
    pub rows: usize,
    pub bytes: usize,
    pub priority: Priority,
    /// A call that comes back, because it was not executed where it was, has the instant at which it came first.
    pub entered: Instant,
    pub deadline: Instant,
}

/// What waits before a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ahead {
    pub calls: usize,
    pub rows: usize,
    pub bytes: usize,
}

impl Ahead {
    fn add<T>(&mut self, call: &Waiting<T>) {
        self.calls += 1;
        self.rows = self.rows.saturating_add(call.rows);
        self.bytes += call.bytes;
    }
}

/// The queue of one revision.
#[derive(Debug)]
pub struct Lane<T> {
    limits: LaneLimits,
    /// The bytes that places may grow to: more than the limit's where some were taken before it was lowered.
    growth: usize,
    waiting: BTreeMap<Ticket, Waiting<T>>,
    next: u64,
    /// Calls that hold a place and have not entered yet.
    reserved: usize,
    /// Bytes of reserved and waiting calls.
    bytes: usize,
    /// Bytes and rows of waiting calls alone.
    waiting_bytes: usize,
    rows: usize,
}

impl<T> Lane<T> {
    pub fn new(limits: LaneLimits) -> Self {
        let growth = limits.max_bytes;
        Lane { limits, growth, waiting: BTreeMap::new(), next: 0, reserved: 0, bytes: 0, waiting_bytes: 0, rows: 0 }
    }

    /// Bounds the calls that come from now on. What is in stays, and places that were taken can still be used.
    pub fn set_limits(&mut self, limits: LaneLimits) {
        let before = if self.reserved > 0 { self.growth } else { 0 };
        self.growth = limits.max_bytes.max(before);
        self.limits = limits;
    }

    /// Takes a place for one call that announces `bytes`. It holds none of them yet: they count as they come, so that a
    /// slow sender holds only what it sent.
    pub fn reserve(&mut self, announced: usize) -> Result<(), Full> {
        if self.held() >= self.limits.max_calls {
            return Err(Full::Calls { limit: self.limits.max_calls });
        }
        self.check_bytes(0, announced, self.limits.max_bytes)?;
        self.reserved += 1;
        Ok(())
    }

    /// Adds `bytes` to the `own` that a place holds.
    pub fn grow(&mut self, own: usize, bytes: usize) -> Result<(), Full> {
        self.check_bytes(own, bytes, self.growth)?;
        self.bytes += bytes;
        Ok(())
    }

    /// One call alone is always taken: the limit on a body's size is enforced elsewhere.
    fn check_bytes(&self, own: usize, more: usize, limit: usize) -> Result<(), Full> {
        let others = self.bytes - own;
        if others > 0 && self.bytes.saturating_add(more) > limit {
            return Err(Full::Bytes { held: others, asked: own.saturating_add(more), limit });
        }
        Ok(())
    }

    /// Gives a place back that was not used.
    pub fn release(&mut self, bytes: usize) {
        debug_assert!(self.reserved > 0 && self.bytes >= bytes);
        self.reserved -= 1;
        self.bytes -= bytes;
        if self.reserved == 0 {
            self.growth = self.limits.max_bytes;
        }
    }

    /// Turns a place that holds `reserved_bytes` into a waiting call.
    pub fn enter(&mut self, reserved_bytes: usize, call: Waiting<T>) -> Ticket {
        self.release(reserved_bytes);
        self.put_back(call, None)
    }

    /// A call that had left comes back, to where it belongs by its arrival. It has been let in before: no bound refuses it.
    /// With the number of its ticket it has the same one as then.
    pub fn put_back(&mut self, call: Waiting<T>, number: Option<u64>) -> Ticket {
        self.bytes += call.bytes;
        self.waiting_bytes += call.bytes;
        self.rows = self.rows.saturating_add(call.rows);
        let number = number.unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        let ticket = Ticket::new(call.entered, call.priority, number);
        self.waiting.insert(ticket, call);
        ticket
    }

    /// Takes one call out: for a replica, or because its caller is gone. `None` where it has left already.
    pub fn remove(&mut self, ticket: Ticket) -> Option<Waiting<T>> {
        let call = self.waiting.remove(&ticket)?;
        self.bytes -= call.bytes;
        self.waiting_bytes -= call.bytes;
        self.rows -= call.rows;
        Some(call)
    }

    /// A waiting call; `None` where it has left.
    pub fn get(&self, ticket: Ticket) -> Option<&Waiting<T>> {
        self.waiting.get(&ticket)
    }

    /// Takes every waiting call out, in the order in which they would be served.
    pub fn drain(&mut self) -> Vec<Waiting<T>> {
        let tickets: Vec<_> = self.waiting.keys().copied().collect();
        tickets.into_iter().filter_map(|ticket| self.remove(ticket)).collect()
    }

    /// Waiting calls, in the order in which they are served.
    pub fn iter(&self) -> impl Iterator<Item = (Ticket, &Waiting<T>)> {
        self.waiting.iter().map(|(&ticket, call)| (ticket, call))
    }

    /// What is served before a call that comes now. The queue is walked from both ends until one walk has come to that call's
    /// place: what goes first, and what a call of a high class overtakes, are few as a rule.
    pub fn ahead(&self, priority: Priority, now: Instant) -> Ahead {
        let place = Ticket::new(now, priority, self.next);
        let (mut before, mut after) = (self.waiting.range(..place), self.waiting.range(place..).rev());
        let (mut ahead, mut behind) = (Ahead::default(), Ahead::default());
        loop {
            let Some((_, call)) = after.next() else {
                return Ahead {
                    calls: self.waiting.len() - behind.calls,
                    rows: self.rows.saturating_sub(behind.rows),
                    bytes: self.waiting_bytes - behind.bytes,
                };
            };
            behind.add(call);
            let Some((_, call)) = before.next() else { return ahead };
            ahead.add(call);
        }
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Calls that wait or hold a place.
    pub fn held(&self) -> usize {
        self.waiting.len() + self.reserved
    }

    /// Bytes of calls that wait or hold a place.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of the calls that wait.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Rows of the calls that wait.
    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn limits(&self) -> LaneLimits {
        self.limits
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn call(item: usize, bytes: usize, priority: Priority, now: Instant) -> Waiting<usize> {
        Waiting { item, rows: 1, bytes, priority, entered: now, deadline: now + Duration::from_secs(1) }
    }

    fn priority() -> impl Strategy<Value = Priority> {
        prop::sample::select(&Priority::ALL[..])
    }

    #[derive(Clone, Debug)]
    enum Step {
        Reserve(usize),
        Grow(usize, usize),
        Release(usize),
        Enter(usize, Priority),
        Remove(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0usize..400).prop_map(Step::Reserve),
            (any::<usize>(), 0usize..400).prop_map(|(pick, bytes)| Step::Grow(pick, bytes)),
            any::<usize>().prop_map(Step::Release),
            (any::<usize>(), priority()).prop_map(|(pick, priority)| Step::Enter(pick, priority)),
            any::<usize>().prop_map(Step::Remove),
        ]
    }

    proptest! {
        /// Whatever happens, the bounds hold, the sums are those of a plain model, and each call leaves once.
        #[test]
        fn bounds_hold_and_calls_leave_once(steps in prop::collection::vec(step(), 0..200)) {
            #[allow(clippy::disallowed_methods)]
            let now = Instant::now();
            let limits = LaneLimits { max_calls: 8, max_bytes: 1_000 };
            let mut lane = Lane::new(limits);
            let mut places: Vec<usize> = Vec::new();
            let mut inside: Vec<(Ticket, usize, usize)> = Vec::new();
            let mut entered = 0;
            for step in steps {
                let held = |places: &[usize], inside: &[(Ticket, usize, usize)]| {
                    places.iter().sum::<usize>() + inside.iter().map(|call| call.2).sum::<usize>()
                };
                let before = held(&places, &inside);
                match step {
                    Step::Reserve(bytes) => {
                        let fits = places.len() + inside.len() < limits.max_calls
                            && (before == 0 || before + bytes <= limits.max_bytes);
                        prop_assert_eq!(lane.reserve(bytes).is_ok(), fits);
                        if fits {
                            places.push(0);
                        }
                    }
                    Step::Grow(pick, bytes) if !places.is_empty() => {
                        let pick = pick % places.len();
                        let fits = before == places[pick] || before + bytes <= limits.max_bytes;
                        prop_assert_eq!(lane.grow(places[pick], bytes).is_ok(), fits);
                        if fits {
                            places[pick] += bytes;
                        }
                    }
                    Step::Release(pick) if !places.is_empty() => {
                        lane.release(places.swap_remove(pick % places.len()));
                    }
                    Step::Enter(pick, priority) if !places.is_empty() => {
                        let bytes = places.swap_remove(pick % places.len());
                        inside.push((lane.enter(bytes, call(entered, bytes, priority, now)), entered, bytes));
                        entered += 1;
                    }
                    Step::Remove(pick) if !inside.is_empty() => {
                        let (ticket, item, _) = inside.swap_remove(pick % inside.len());
                        prop_assert_eq!(lane.remove(ticket).map(|call| call.item), Some(item));
                        prop_assert!(lane.remove(ticket).is_none());
                    }
                    _ => {}
                }
                prop_assert_eq!(lane.held(), places.len() + inside.len());
                prop_assert_eq!(lane.rows(), inside.len());
                prop_assert_eq!(lane.waiting_bytes(), inside.iter().map(|call| call.2).sum::<usize>());
                prop_assert_eq!(lane.bytes(), held(&places, &inside));
                prop_assert!(lane.held() <= limits.max_calls);
                let order: Vec<_> = lane.iter().map(|(ticket, _)| ticket).collect();
                prop_assert!(order.is_sorted());
            }
            inside.sort();
            let left: Vec<_> = lane.drain().into_iter().map(|call| call.item).collect();
            prop_assert_eq!(left, inside.into_iter().map(|call| call.1).collect::<Vec<_>>());
        }
    }

    proptest! {
        /// A call is overtaken only by those of a higher class that come within the head start, calls of one class are
        /// served in the order of arrival, and who has waited out all head starts goes before all that come.
        #[test]
        fn priorities_go_first_and_none_starves(calls in prop::collection::vec((0u64..3_000, priority()), 1..100)) {
            #[allow(clippy::disallowed_methods)]
            let mut now = Instant::now();
            let mut lane = Lane::new(LaneLimits { max_calls: 1_000, max_bytes: 0 });
            for (number, (pause, priority)) in calls.into_iter().enumerate() {
                now += Duration::from_millis(pause);
                let ahead = lane.ahead(priority, now);
                lane.reserve(0).unwrap();
                lane.enter(0, call(number, 0, priority, now));
                let place = lane.iter().position(|(_, call)| call.item == number).unwrap();
                prop_assert_eq!(ahead, Ahead { calls: place, rows: place, bytes: 0 });
            }
            let served = lane.drain();
            for (place, first) in served.iter().enumerate() {
                for second in &served[place + 1..] {
                    let classes = (first.priority as u32).saturating_sub(second.priority as u32);
                    let overtaken = first.item > second.item;
                    prop_assert!(!overtaken || first.entered - second.entered <= HEAD_START * classes && classes > 0);
                    let classes = (second.priority as u32).saturating_sub(first.priority as u32);
                    let keeps = first.item < second.item && classes > 0;
                    prop_assert!(!keeps || second.entered - first.entered >= HEAD_START * classes);
                }
            }
        }
    }

    #[test]
    fn a_low_call_is_served_in_a_flood_of_high_ones() {
        #[allow(clippy::disallowed_methods)]
        let start = Instant::now();
        let mut lane = Lane::new(LaneLimits { max_calls: 1_000, max_bytes: 0 });
        let enter = |lane: &mut Lane<usize>, item, priority, now| {
            lane.reserve(0).unwrap();
            lane.enter(0, call(item, 0, priority, now))
        };
        enter(&mut lane, usize::MAX, Priority::Low, start);
        // Two come a second, one is served.
        let served = (0..100).map(|second| {
            let now = start + Duration::from_secs(second);
            (0..2).for_each(|_| _ = enter(&mut lane, second as usize, Priority::High, now));
            let (first, _) = lane.iter().next().unwrap();
            lane.remove(first).map(|call| call.item)
        });
        // Those of the first 20 seconds go first, and nobody else.
        assert_eq!(served.collect::<Vec<_>>().iter().position(|&item| item == Some(usize::MAX)), Some(40));
    }

    #[test]
    fn lower_bounds_hold_for_those_who_come_later() {
        let mut lane: Lane<()> = Lane::new(LaneLimits { max_calls: 10, max_bytes: 1_000 });
        for _ in 0..3 {
            lane.reserve(0).unwrap();
        }
        lane.set_limits(LaneLimits { max_calls: 1, max_bytes: 10 });
        assert_eq!(lane.reserve(0), Err(Full::Calls { limit: 1 }));
        assert_eq!([lane.grow(0, 300), lane.grow(0, 300), lane.grow(0, 300)], [Ok(()); 3]);
        assert_eq!(lane.grow(300, 300), Err(Full::Bytes { held: 600, asked: 600, limit: 1_000 }));
        for _ in 0..3 {
            lane.release(300);
        }
        lane.set_limits(LaneLimits { max_calls: 2, max_bytes: 10 });
        lane.reserve(0).and_then(|()| lane.grow(0, 300)).unwrap();
        assert_eq!(lane.reserve(1), Err(Full::Bytes { held: 300, asked: 1, limit: 10 }));
    }

    #[test]
    fn a_call_that_comes_back_goes_before_those_that_came_after_it() {
        #[allow(clippy::disallowed_methods)]
        let now = Instant::now();
        let mut lane = Lane::new(LaneLimits { max_calls: 2, max_bytes: 1_000 });
        for item in 1..3 {
            lane.reserve(0).unwrap();
            lane.enter(0, call(item, 0, Priority::Normal, now + Duration::from_millis(item as u64)));
        }
        lane.put_back(call(0, 10, Priority::Normal, now), None);
        assert_eq!((lane.held(), lane.bytes(), lane.reserve(0)), (3, 10, Err(Full::Calls { limit: 2 })));
        let (ticket, item) = lane.iter().nth(1).map(|(ticket, call)| (ticket, call.item)).unwrap();
        let taken = lane.remove(ticket).unwrap();
        assert_eq!((item, lane.put_back(taken, Some(ticket.number()))), (1, ticket));
        assert_eq!(lane.drain().into_iter().map(|call| call.item).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn complaint_44_large_bodies_are_bounded_by_bytes_not_only_by_count() {
        let mut lane: Lane<()> = Lane::new(LaneLimits { max_calls: 1_000, max_bytes: 100 << 20 });
        let body = 50 << 20;
        let taken = (0..119).take_while(|_| lane.reserve(body).and_then(|()| lane.grow(0, body)).is_ok()).count();
        assert_eq!(taken, 2);
        assert!(matches!(lane.reserve(body), Err(Full::Bytes { .. })));
    }
}
