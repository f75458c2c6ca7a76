use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// Requests due at capacity in a point's time: with fewer, chance hides 5 % of answers that are missing.
const REQUESTS: f64 = 2000.0;

fn verdict(rate: f64, met: bool) -> Verdict {
    Verdict { rate, met, tester_limited: false }
}

/// Runs a search to its end and returns the rates it tried.
fn play(search: &mut Search, mut met: impl FnMut(f64) -> Verdict) -> Vec<f64> {
    let mut tried = Vec::new();
    while let Some(rate) = search.next_rate() {
        tried.push(rate);
        assert!(tried.len() <= 1000, "endless: {tried:?}");
        search.seen(met(rate));
    }
    tried
}

#[test]
fn doubles_then_halves_the_bracket_then_tries_again() {
    let mut search = Search::new(100.0, Limits::default());
    let tried = play(&mut search, |rate| verdict(rate, rate <= 500.0));
    assert_eq!(tried[..4], [100.0, 200.0, 400.0, 800.0]);
    assert_eq!(tried[4].round(), 566.0, "the middle of 400 and 800");
    let (best, failed) = (search.best().unwrap(), search.failed().unwrap());
    assert!(best <= 500.0 && failed > 500.0 && failed / best <= 1.05, "{best} {failed}");
    assert_eq!(tried.iter().filter(|rate| **rate == best).count(), 2, "the winner was tried twice");
    assert_eq!(search.ended(), format!("met at {best:.0}/s, twice, and missed at {failed:.0}/s"));
}

#[test]
fn goes_down_where_the_first_rate_misses() {
    let mut search = Search::new(1000.0, Limits::default());
    let tried = play(&mut search, |rate| verdict(rate, rate <= 30.0));
    assert_eq!(tried[..4], [1000.0, 250.0, 62.5, 15.625]);
    assert!((28.0..=30.0).contains(&search.best().unwrap()));

    let mut hopeless = Search::new(1000.0, Limits { floor: 10.0, ..Limits::default() });
    let tried = play(&mut hopeless, |rate| verdict(rate, false));
    assert_eq!(tried, [1000.0, 250.0, 62.5, 15.625, 10.0]);
    assert_eq!((hopeless.best(), hopeless.failed()), (None, Some(10.0)));
    assert_eq!(hopeless.ended(), "met at no rate, down to 10.0/s");
}

#[test]
fn a_cap_ends_the_growth() {
    let mut search = Search::new(100.0, Limits { cap: 300.0, ..Limits::default() });
    assert_eq!(play(&mut search, |rate| verdict(rate, true)), [100.0, 200.0, 300.0, 300.0]);
    assert_eq!((search.best(), search.failed()), (Some(300.0), None));
    assert_eq!(search.ended(), "met at 300/s, the highest rate allowed");
}

#[test]
fn a_load_tester_at_its_limit_is_told_where_the_rate_was_missed() {
    let own_limit = ", where the load tester, not the server, may have been the limit";
    let mut search = Search::new(100.0, Limits::default());
    play(&mut search, |rate| Verdict { rate, met: rate < 350.0, tester_limited: rate >= 350.0 });
    assert!(search.best().unwrap() > 330.0);
    assert!(search.ended().ends_with(own_limit), "{}", search.ended());

    // Late as it was, what it met was met.
    let mut search = Search::new(100.0, Limits::default());
    play(&mut search, |rate| Verdict { rate, met: rate < 350.0, tester_limited: rate < 350.0 });
    assert!(search.best().unwrap() > 330.0);
    assert!(!search.ended().contains("load tester"), "{}", search.ended());

    let mut search = Search::new(100.0, Limits { floor: 50.0, ..Limits::default() });
    play(&mut search, |rate| Verdict { rate, met: false, tester_limited: true });
    assert_eq!(search.ended(), format!("met at no rate, down to 50.0/s{own_limit}"));
}

#[test]
fn luck_is_not_believed() {
    // 400 meets it once by luck; 350 is what the server can do.
    let mut lucky = false;
    let mut search = Search::new(100.0, Limits::default());
    let tried = play(&mut search, |rate| {
        let met = rate <= 350.0 || (rate == 400.0 && !std::mem::replace(&mut lucky, true));
        verdict(rate, met)
    });
    let again = tried.iter().rposition(|rate| *rate == 400.0).unwrap();
    assert!(tried.iter().filter(|rate| **rate == 400.0).count() == 2 && again < tried.len() - 1, "{tried:?}");
    assert!(search.best().unwrap() <= 350.0 && search.best().unwrap() > 190.0, "{:?}", search.best());
    assert!(search.failed().unwrap() <= 400.0);
}

#[test]
fn a_stopped_search_says_so() {
    let mut search = Search::new(100.0, Limits::default());
    search.seen(verdict(100.0, true));
    assert_eq!(search.ended(), "it was stopped before it was done");
}

/// A queue in balance.
trait Queue {
    /// The median at a rate below capacity, in milliseconds.
    fn latency(&self, rate: f64) -> f64;
    fn capacity(&self) -> f64;
}

/// One server, exponential times: the mean latency is 1 / (capacity - rate), and the median ln 2 of it.
struct MM1 {
    capacity: f64,
}

/// Fixed service time: half of M/M/c's wait, by Erlang C in Sakasegawa's approximation.
struct MDc {
    workers: f64,
    service_ms: f64,
}

impl Queue for MM1 {
    fn latency(&self, rate: f64) -> f64 {
        1e3 * std::f64::consts::LN_2 / (self.capacity - rate)
    }

    fn capacity(&self) -> f64 {
        self.capacity
    }
}

impl Queue for MDc {
    fn latency(&self, rate: f64) -> f64 {
        let load = rate / self.capacity();
        let waiting = load.powf((2.0 * (self.workers + 1.0)).sqrt() - 1.0) / (self.workers * (1.0 - load));
        self.service_ms * (1.0 + waiting / 2.0)
    }

    fn capacity(&self) -> f64 {
        self.workers * 1e3 / self.service_ms
    }
}

/// A point of a queue: in balance, or with a backlog that grows all the time.
fn measure(queue: &impl Queue, rate: f64, noise: f64, random: &mut StdRng) -> Point {
    let mut noisy = |value: f64| value * (1.0 + random.random_range(-noise..=noise));
    // Other work on the machine: this run sees a server that is a little faster or slower.
    let seen = rate * noisy(1.0);
    let capacity = queue.capacity();
    let seconds = REQUESTS / capacity;
    // Overload adds to the backlog all the time; the median request sees half of it. Balance takes its time to come too.
    let light = queue.latency(0.0);
    let p50 = if seen < capacity {
        queue.latency(seen).min(light + seconds * 1e3 / 2.0)
    } else {
        light + (seen / capacity - 1.0) * seconds * 1e3 / 2.0
    };
    let answered = rate * (capacity / seen).min(1.0) * seconds;
    Point { rate, due: rate * seconds, ended: answered, answered, seconds, p50: Some(noisy(p50)) }
}

/// A whole sweep without an objective.
fn sweep(queue: &impl Queue, start: f64, noise: f64, seed: u64) -> (Search, Option<f64>) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut search = Search::new(start, Limits::default());
    let mut points = Vec::new();
    let mut light = Light::of(&[measure(queue, 0.05 * queue.capacity(), noise, &mut random)]);
    play(&mut search, |rate| {
        let point = measure(queue, rate, noise, &mut random);
        points.push(point);
        let met = saturated(&point, &light).is_empty();
        if met {
            light.seen(&point);
        }
        verdict(rate, met)
    });
    (search, knee(&points, |point| !saturated(point, &light).is_empty()))
}

#[test]
fn the_knee_of_an_exponential_queue_lies_where_its_latency_has_climbed() {
    // The median passes ten times that of light load, and a millisecond, at about 90 % of capacity.
    let queue = MM1 { capacity: 1000.0 };
    let (search, knee) = sweep(&queue, 50.0, 0.0, 1);
    let knee = knee.unwrap();
    assert!((700.0..=1000.0).contains(&knee), "{knee}");
    assert!(search.best().unwrap() <= knee * 1.05);
}

#[test]
fn no_knee_where_nothing_was_saturated() {
    let point = |rate: f64| Point { rate, due: rate, ended: rate, answered: rate, seconds: 1.0, p50: Some(10.0) };
    let light = Light::of(&[point(1.0)]);
    let is_saturated = |point: &Point| !saturated(point, &light).is_empty();
    assert_eq!(knee(&[], is_saturated), None);
    assert_eq!(knee(&[point(1.0), point(100.0), point(10_000.0)], is_saturated), None);
}

#[test]
fn a_server_that_breaks_down_has_its_knee_before_that() {
    let at = |rate: f64, answered: f64| Point { rate, due: rate, ended: rate, answered, seconds: 1.0, p50: Some(10.0) };
    let points = [at(100.0, 100.0), at(200.0, 200.0), at(250.0, 120.0), at(400.0, 80.0), at(1600.0, 10.0)];
    let light = Light::of(&points);
    assert_eq!(knee(&points, |point| answers_are_missing(point, &light)), Some(200.0));
}

proptest! {
    /// Whatever the answers, and however they contradict each other.
    #[test]
    fn always_ends_within_its_limits(
        start in 1e-3..1e8f64,
        floor in 1e-2..10.0f64,
        cap in 10.0..1e6f64,
        most_points in 0usize..40,
        gap in 1e-3..0.5f64,
        answers in proptest::collection::vec((any::<bool>(), proptest::bool::weighted(0.1)), 40),
    ) {
        let limits = Limits { floor, cap, most_points, gap };
        let mut search = Search::new(start, limits);
        let mut answers = answers.into_iter();
        let tried = play(&mut search, |rate| {
            let (met, tester_limited) = answers.next().unwrap_or_default();
            Verdict { rate, met, tester_limited }
        });
        prop_assert!(!tried.is_empty() && tried.len() <= most_points.max(2));
        prop_assert!(tried.iter().all(|rate| (floor..=cap).contains(rate)), "{tried:?}");
        if let (Some(best), Some(failed)) = (search.best(), search.failed()) {
            prop_assert!(best < failed);
        }
        prop_assert!(!search.ended().contains("stopped"));
    }

    /// An objective with one true limit is found to the gap, from any start.
    #[test]
    fn finds_the_limit_of_an_honest_server(truth in 0.5..50_000.0f64, off in 0.02..50.0f64) {
        let mut search = Search::new(truth * off, Limits { most_points: 30, ..Limits::default() });
        play(&mut search, |rate| verdict(rate, rate <= truth));
        let (best, failed) = (search.best().unwrap(), search.failed().unwrap());
        prop_assert!(best <= truth && truth < failed && failed / best <= 1.05, "{best} {truth} {failed}");
    }

    #[test]
    fn finds_the_knee_of_a_noisy_queue(
        workers in 1u32..32,
        service_ms in 1.0..200.0f64,
        start in 0.02..3.0f64,
        seed in any::<u64>(),
    ) {
        let queue = MDc { workers: f64::from(workers), service_ms };
        let (_, knee) = sweep(&queue, start * queue.capacity(), 0.1, seed);
        let knee = knee.unwrap();
        prop_assert!((knee / queue.capacity() - 1.0).abs() < 0.15, "{knee} of {}", queue.capacity());
    }
}
