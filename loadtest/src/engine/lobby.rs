//! Where arrivals and senders of a thread meet: arrivals wait in line, senders on a stack.
//!
//! The sender that became idle last is the first to get an arrival, so under little load few connections stay warm, as
//! with a client's pool.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Instant;

use crate::request::Request;

/// The most arrivals that wait for a sender in one thread. More are not sent.
const MOST_WAITING: usize = 1 << 20;

/// A request that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    /// Among all of the run.
    pub number: u64,
    pub due: Instant,
    pub measured: bool,
}

/// What becomes of an arrival in the lobby.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A sender has it.
    Taken,
    /// Let there be a new sender of this number, with the arrival as its first.
    Hire(usize),
    /// It waits, as one of so many.
    Waits(usize),
    /// Too many wait.
    Full,
}

pub(super) struct Lobby(RefCell<State>);

struct State {
    most_senders: usize,
    /// By number.
    senders: Vec<Seat>,
    /// Numbers of those that have nothing to do.
    idle: Vec<usize>,
    waiting: VecDeque<Arrival>,
    closed: bool,
}

#[derive(Default)]
struct Seat {
    arrival: Option<(Arrival, Arc<Request>)>,
    waker: Option<Waker>,
}

impl Lobby {
    pub fn new(most_senders: usize) -> Lobby {
        Lobby(RefCell::new(State {
            most_senders,
            senders: Vec::new(),
            idle: Vec::new(),
            waiting: VecDeque::new(),
            closed: false,
        }))
    }

    /// Only an arrival that does not wait keeps its request: many that wait could be large.
    pub fn enter(&self, arrival: Arrival, request: &Arc<Request>) -> Entry {
        let mut state = self.0.borrow_mut();
        if let Some(number) = state.idle.pop() {
            let seat = &mut state.senders[number];
            seat.arrival = Some((arrival, request.clone()));
            if let Some(waker) = seat.waker.take() {
                waker.wake();
            }
            return Entry::Taken;
        }
        if state.senders.len() < state.most_senders {
            state.senders.push(Seat::default());
            return Entry::Hire(state.senders.len() - 1);
        }
        if state.waiting.len() == MOST_WAITING {
            return Entry::Full;
        }
        state.waiting.push_back(arrival);
        Entry::Waits(state.waiting.len())
    }

    /// The first that waits, if it came before `before`.
    pub fn pop_before(&self, before: Instant) -> Option<Arrival> {
        self.0.borrow_mut().waiting.pop_front_if(|first| first.due < before)
    }

    /// Forgets those that wait.
    pub fn clear(&self) {
        self.0.borrow_mut().waiting.clear();
    }

    /// What a sender does next, with the request if it was made already; None when there is nothing more to do.
    pub async fn next(&self, sender: usize) -> Option<(Arrival, Option<Arc<Request>>)> {
        let mut is_idle = false;
        poll_fn(|context| {
            let mut state = self.0.borrow_mut();
            if let Some((arrival, request)) = state.senders[sender].arrival.take() {
                return Poll::Ready(Some((arrival, Some(request))));
            }
            if !is_idle && let Some(first) = state.waiting.pop_front() {
                return Poll::Ready(Some((first, None)));
            }
            if state.closed {
                return Poll::Ready(None);
            }
            if !is_idle {
                is_idle = true;
                state.idle.push(sender);
            }
            state.senders[sender].waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// No more arrivals come. Those that wait are still served.
    pub fn close(&self) {
        let mut state = self.0.borrow_mut();
        state.closed = true;
        let wakers: Vec<Waker> = state.senders.iter_mut().filter_map(|seat| seat.waker.take()).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tokio::runtime::{Builder, LocalOptions};
    use tokio::task::{JoinSet, yield_now};

    use super::*;
    use crate::request::Protocol;

    fn arrival(number: u64) -> Arrival {
        Arrival { number, due: Instant::now(), measured: true }
    }

    fn request() -> Arc<Request> {
        Arc::new(Request::get(Protocol::V2, "/"))
    }

    #[test]
    fn arrivals_are_served_in_order_and_by_whoever_was_busy_last() {
        let runtime = Builder::new_current_thread().build_local(LocalOptions::default()).unwrap();
        runtime.block_on(async {
            let lobby = Rc::new(Lobby::new(2));
            assert_eq!(lobby.enter(arrival(0), &request()), Entry::Hire(0));
            assert_eq!(lobby.enter(arrival(1), &request()), Entry::Hire(1));
            assert_eq!(lobby.enter(arrival(2), &request()), Entry::Waits(1));
            assert_eq!(lobby.enter(arrival(3), &request()), Entry::Waits(2));
            assert_eq!(lobby.next(1).await.map(|(arrival, made)| (arrival.number, made.is_some())), Some((2, false)));
            assert_eq!(lobby.next(0).await.map(|(arrival, made)| (arrival.number, made.is_some())), Some((3, false)));

            let served = Rc::new(RefCell::new(Vec::new()));
            let mut senders = JoinSet::new();
            for sender in [0, 1] {
                let (lobby, served) = (lobby.clone(), served.clone());
                senders.spawn_local(async move {
                    while let Some((arrival, made)) = lobby.next(sender).await {
                        assert!(made.is_some());
                        served.borrow_mut().push((sender, arrival.number));
                    }
                });
            }
            yield_now().await;
            // The second went idle last.
            for number in [4, 5, 6] {
                assert_eq!(lobby.enter(arrival(number), &request()), Entry::Taken);
                yield_now().await;
            }
            assert_eq!(*served.borrow(), [(1, 4), (1, 5), (1, 6)]);
            assert_eq!(lobby.enter(arrival(7), &request()), Entry::Taken);
            assert_eq!(lobby.enter(arrival(8), &request()), Entry::Taken);
            lobby.close();
            while senders.join_next().await.is_some() {}
            assert_eq!(served.borrow()[3..], [(1, 7), (0, 8)]);
        });
    }

    #[test]
    fn who_waits_too_long_is_found() {
        let lobby = Lobby::new(0);
        let (first, second) = (arrival(0), arrival(1));
        lobby.enter(first, &request());
        lobby.enter(second, &request());
        assert_eq!(lobby.pop_before(first.due), None);
        assert_eq!(lobby.pop_before(second.due + std::time::Duration::from_nanos(1)), Some(first));
        lobby.clear();
        assert_eq!(lobby.pop_before(second.due + std::time::Duration::from_secs(1)), None);
    }
}
