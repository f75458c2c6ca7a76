//! Whether the load tester was itself the limit, and what to do about it.
//!
//! It was, if in the measured time
//!
//! - a thread was on a core for more than 90 % of the time;
//! - a thread was ready to run but had no core for more than 10 % of the time;
//! - requests were sent later than they were due, at p99 by more than 1 ms and more than 10 % of the p99 latency;
//! - requests that were due waited for one of the connections to become free;
//! - requests waited for a free stream of HTTP/2, as their connection had as many as the server allows;
//! - the rate could not be sent: more than 1 % of the requests were not sent by the end of the load;
//! - the machine had no more sockets.

use crate::result::Limits;

const CPU: f64 = 0.9;
const WAITED_FOR_CPU: f64 = 0.1;
/// Milliseconds.
const LAG: f64 = 1.0;
/// Of the p99 latency.
const LAG_SHARE: f64 = 0.1;
/// Of all requests that were due.
const BEHIND: f64 = 0.01;

/// What was seen of the load tester itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observed {
    pub threads: usize,
    /// Share of the time that the busiest thread was on a core.
    pub cpu: f64,
    /// Share of the time that a thread waited for a core, of the one that waited most.
    pub waited_for_cpu: f64,
    pub connections: usize,
    /// Most requests that were due and waited for a connection at once, in all threads.
    pub most_waiting: u64,
    pub most_in_flight: usize,
    /// Most requests that had a connection and waited for a free stream on it at once, in all threads.
    pub most_without_stream: usize,
    /// Milliseconds; None if nothing was sent.
    pub lag_p99: Option<f64>,
    pub latency_p99: Option<f64>,
    pub due: u64,
    /// Of those, how many were not sent by the end of the load.
    pub behind: u64,
    /// Connections that could not be opened as the machine had no more sockets.
    pub without_socket: u64,
}

/// The judgement.
pub fn judge(seen: &Observed) -> Limits {
    let reached =
        [cpu(seen), waited_for_cpu(seen), lag(seen), waiting(seen), streams(seen), behind(seen), sockets(seen)];
    Limits {
        threads: seen.threads,
        cpu: Some(seen.cpu),
        waited_for_cpu: Some(seen.waited_for_cpu),
        connections: seen.connections,
        most_waiting: seen.most_waiting,
        reached: reached.into_iter().flatten().collect(),
        ..Limits::default()
    }
}

fn cpu(seen: &Observed) -> Option<String> {
    (seen.cpu > CPU).then(|| {
        format!(
            "the load tester used {:.0} % of a core: give --threads {} or a machine of its own",
            seen.cpu * 100.0,
            seen.threads * 2
        )
    })
}

fn waited_for_cpu(seen: &Observed) -> Option<String> {
    (seen.waited_for_cpu > WAITED_FOR_CPU).then(|| {
        format!(
            "the load tester waited for a core {:.0} % of the time: give it a machine of its own, or fewer --threads",
            seen.waited_for_cpu * 100.0
        )
    })
}

fn lag(seen: &Observed) -> Option<String> {
    let lag = seen.lag_p99?;
    let bound = (seen.latency_p99.unwrap_or_default() * LAG_SHARE).max(LAG);
    (lag > bound).then(|| {
        format!(
            "requests were sent p99 {} ms after they were due: latencies from then on hold the load tester's own delay",
            milliseconds(lag)
        )
    })
}

fn waiting(seen: &Observed) -> Option<String> {
    (seen.most_waiting > 0).then(|| {
        format!(
            "up to {} requests waited for a connection: raise --max-in-flight {}",
            seen.most_waiting, seen.most_in_flight
        )
    })
}

fn streams(seen: &Observed) -> Option<String> {
    (seen.most_without_stream > 0).then(|| {
        format!(
            "up to {} requests waited for a free stream, as the server allows only so many on a connection: raise \
             --connections {}",
            seen.most_without_stream, seen.connections
        )
    })
}

fn behind(seen: &Observed) -> Option<String> {
    (seen.behind as f64 > BEHIND * seen.due as f64).then(|| {
        format!(
            "the rate could not be sent: {} of {} requests had not been sent when the load ended",
            seen.behind, seen.due
        )
    })
}

fn sockets(seen: &Observed) -> Option<String> {
    (seen.without_socket > 0).then(|| {
        format!(
            "this machine ran out of sockets {} times: raise its limit of open files (ulimit -n), or lower --max-in-flight",
            seen.without_socket
        )
    })
}

/// With as many digits as tell something.
fn milliseconds(value: f64) -> String {
    let decimals = if value < 10.0 { 1 } else { 0 };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fine() -> Observed {
        Observed {
            threads: 1,
            cpu: 0.9,
            waited_for_cpu: 0.1,
            connections: 12,
            most_waiting: 0,
            most_in_flight: 1024,
            most_without_stream: 0,
            lag_p99: Some(1.0),
            latency_p99: Some(5.0),
            due: 1_000,
            behind: 10,
            without_socket: 0,
        }
    }

    #[test]
    fn at_the_bounds_nothing_is_reached() {
        let limits = judge(&fine());
        assert_eq!(limits.reached, Vec::<String>::new());
        assert_eq!((limits.threads, limits.connections), (1, 12));
        // A lag that is small beside a long latency falsifies nothing.
        let slow = Observed { lag_p99: Some(12.0), latency_p99: Some(120.0), ..fine() };
        assert!(judge(&slow).reached.is_empty());
        assert!(judge(&Observed::default()).reached.is_empty());
    }

    #[test]
    fn each_limit_has_its_sentence() {
        for (seen, sentence) in [
            (
                Observed { cpu: 0.97, ..fine() },
                "the load tester used 97 % of a core: give --threads 2 or a machine of its own",
            ),
            (Observed { waited_for_cpu: 0.25, ..fine() }, "the load tester waited for a core 25 % of the time"),
            (
                Observed { lag_p99: Some(12.3), latency_p99: Some(100.0), ..fine() },
                "requests were sent p99 12 ms after they were due",
            ),
            (Observed { lag_p99: Some(1.2), latency_p99: None, ..fine() }, "requests were sent p99 1.2 ms after"),
            (
                Observed { most_waiting: 350, ..fine() },
                "up to 350 requests waited for a connection: raise --max-in-flight 1024",
            ),
            (
                Observed { most_without_stream: 56, ..fine() },
                "up to 56 requests waited for a free stream, as the server allows only so many on a connection: raise \
                 --connections 12",
            ),
            (Observed { behind: 11, ..fine() }, "the rate could not be sent: 11 of 1000 requests"),
            (Observed { without_socket: 3, ..fine() }, "this machine ran out of sockets 3 times"),
        ] {
            let reached = judge(&seen).reached;
            assert_eq!(reached.len(), 1, "{reached:?}");
            assert!(reached[0].starts_with(sentence), "{}", reached[0]);
        }
    }
}
