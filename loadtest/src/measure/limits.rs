//! Whether the load tester was itself the limit, and what to do about it.
//!
//! It was, if in the measured time
//!
//! - a thread was on a core for more than 90 % of the time;
//! - a thread was ready to run but had no core for more than 10 % of the time;
//! - requests were sent later than they could be, at p99 by more than 1 ms and more than 10 % of the p99 latency;
//! - more than 1 % of the requests waited for a free connection, though the server kept up with what was due;
//! - requests waited for a free stream of HTTP/2, though the server kept up;
//! - the rate could not be sent: more than 1 % of the requests were not sent by the planned end of the load;
//! - the machine had no more sockets.
//!
//! Where the server did *not* keep up, it may be the one that holds all connections. Nobody can tell from here whether more
//! of them would have helped: that requests waited, and were not sent in the end, is then a remark and no judgement.

use std::time::Duration;

use crate::result::Limits;

const CPU: f64 = 0.9;
const WAITED_FOR_CPU: f64 = 0.1;
/// Milliseconds.
const LAG: f64 = 1.0;
/// Of the p99 latency.
const LAG_SHARE: f64 = 0.1;
/// Of all requests that were due.
const WAITED: f64 = 0.01;
const BEHIND: f64 = 0.01;
/// Answers that came in measured time, of what was due in it: a server that gives fewer doesn't keep up.
const KEPT_UP: f64 = 0.95;

/// What was seen of the load tester itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observed {
    pub threads: usize,
    /// Share of the time that the busiest thread was on a core. None where the system doesn't tell.
    pub cpu: Option<f64>,
    /// Share of the time that a thread waited for a core, of the one that waited most. None where the system doesn't tell.
    pub waited_for_cpu: Option<f64>,
    /// Most that were open at once.
    pub connections: usize,
    pub opened: u64,
    /// Most requests that were due and waited for a connection at once, in all threads.
    pub most_waiting: u64,
    pub most_in_flight: usize,
    /// Most requests that had a connection and waited for a free stream on it at once, in all threads.
    pub most_without_stream: usize,
    /// Milliseconds from when a request could be sent to when it was; None if nothing was sent.
    pub lag_p99: Option<f64>,
    pub latency_p99: Option<f64>,
    pub due: u64,
    /// Answers of the server that came in measured time, right or not.
    pub answers: u64,
    /// Of those due, how many had to wait for a free connection.
    pub waited: u64,
    /// Of those due, how many were not sent by the planned end of the load.
    pub behind: u64,
    /// Connections that could not be opened as the machine had no more sockets.
    pub without_socket: u64,
    /// How long callers paused after requests without an answer, in all.
    pub paused: Duration,
}

impl Observed {
    fn kept_up(&self) -> bool {
        self.answers as f64 >= KEPT_UP * self.due as f64
    }

    fn many_waited(&self) -> bool {
        self.waited as f64 > WAITED * self.due as f64
    }
}

/// The judgement.
pub fn judge(seen: &Observed) -> Limits {
    let (mut reached, mut remarks) = (vec![cpu(seen), waited_for_cpu(seen), lag(seen)], Vec::new());
    let waited = seen.many_waited() || seen.most_without_stream > 0;
    let held = if waited && !seen.kept_up() { &mut remarks } else { &mut reached };
    held.extend([waiting(seen), streams(seen), behind(seen)]);
    reached.push(sockets(seen));
    remarks.push(paused(seen));
    Limits {
        threads: seen.threads,
        cpu: seen.cpu,
        waited_for_cpu: seen.waited_for_cpu,
        connections: seen.connections,
        opened: seen.opened,
        most_waiting: seen.most_waiting,
        reached: reached.into_iter().flatten().collect(),
        remarks: remarks.into_iter().flatten().collect(),
    }
}

fn cpu(seen: &Observed) -> Option<String> {
    seen.cpu.filter(|cpu| *cpu > CPU).map(|cpu| {
        format!(
            "the load tester used {:.0} % of a core: give --threads {} or a machine of its own",
            cpu * 100.0,
            seen.threads * 2
        )
    })
}

fn waited_for_cpu(seen: &Observed) -> Option<String> {
    seen.waited_for_cpu.filter(|waited| *waited > WAITED_FOR_CPU).map(|waited| {
        format!(
            "the load tester waited for a core {:.0} % of the time: give it a machine of its own, or fewer --threads",
            waited * 100.0
        )
    })
}

fn lag(seen: &Observed) -> Option<String> {
    let lag = seen.lag_p99?;
    let bound = (seen.latency_p99.unwrap_or_default() * LAG_SHARE).max(LAG);
    (lag > bound).then(|| {
        format!(
            "requests were sent p99 {} ms after they could be: latencies from due hold the load tester's own delay",
            milliseconds(lag)
        )
    })
}

fn waiting(seen: &Observed) -> Option<String> {
    if !seen.many_waited() {
        return None;
    }
    let (share, most) = (100.0 * seen.waited as f64 / seen.due.max(1) as f64, seen.most_in_flight);
    let waited = format!("{share:.0} % of the requests waited for a connection, up to {} at once", seen.most_waiting);
    Some(if seen.kept_up() {
        format!("{waited}, though the server kept up: raise --max-in-flight above {most}")
    } else {
        format!(
            "{waited}, as all {most} in flight were taken: the server holds them, or --max-in-flight {most} is too low; \
             raise it above {most} to see"
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

fn paused(seen: &Observed) -> Option<String> {
    (!seen.paused.is_zero()).then(|| {
        format!(
            "callers paused {:.2} s in all after requests that got no answer, and asked less by it: 10 ms after the first in \
             a row, doubled to 500 ms at most",
            seen.paused.as_secs_f64()
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
            cpu: Some(0.9),
            waited_for_cpu: Some(0.1),
            connections: 12,
            opened: 15,
            most_waiting: 8,
            most_in_flight: 1024,
            most_without_stream: 0,
            lag_p99: Some(1.0),
            latency_p99: Some(5.0),
            due: 1_000,
            answers: 950,
            waited: 10,
            behind: 10,
            without_socket: 0,
            paused: Duration::ZERO,
        }
    }

    #[test]
    fn at_the_bounds_nothing_is_reached() {
        let limits = judge(&fine());
        assert_eq!((&limits.reached[..], &limits.remarks[..]), (&[][..], &[][..]));
        assert_eq!((limits.threads, limits.connections, limits.opened), (1, 12, 15));
        // A lag that is small beside a long latency falsifies nothing.
        let slow = Observed { lag_p99: Some(12.0), latency_p99: Some(120.0), ..fine() };
        assert!(judge(&slow).reached.is_empty());
        assert!(judge(&Observed::default()).reached.is_empty());
        let unknown = judge(&Observed { cpu: None, waited_for_cpu: None, ..fine() });
        assert_eq!((unknown.reached.len(), unknown.cpu, unknown.waited_for_cpu), (0, None, None));
    }

    #[test]
    fn each_limit_has_its_sentence() {
        for (seen, sentence) in [
            (
                Observed { cpu: Some(0.97), ..fine() },
                "the load tester used 97 % of a core: give --threads 2 or a machine of its own",
            ),
            (Observed { waited_for_cpu: Some(0.25), ..fine() }, "the load tester waited for a core 25 % of the time"),
            (
                Observed { lag_p99: Some(12.3), latency_p99: Some(100.0), ..fine() },
                "requests were sent p99 12 ms after they could be",
            ),
            (Observed { lag_p99: Some(1.2), latency_p99: None, ..fine() }, "requests were sent p99 1.2 ms after"),
            (
                Observed { waited: 120, most_waiting: 35, ..fine() },
                "12 % of the requests waited for a connection, up to 35 at once, though the server kept up: raise \
                 --max-in-flight above 1024",
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

    #[test]
    fn a_server_that_holds_all_connections_is_not_the_load_testers_limit() {
        let held = judge(&Observed { answers: 949, waited: 990, behind: 400, most_waiting: 350, ..fine() });
        assert_eq!(held.reached, Vec::<String>::new());
        assert_eq!(
            held.remarks,
            [
                "99 % of the requests waited for a connection, up to 350 at once, as all 1024 in flight were taken: the \
                 server holds them, or --max-in-flight 1024 is too low; raise it above 1024 to see",
                "the rate could not be sent: 400 of 1000 requests had not been sent when the load ended",
            ]
        );
        let paused = judge(&Observed { paused: Duration::from_millis(1530), ..fine() });
        assert_eq!(paused.reached, Vec::<String>::new());
        assert!(paused.remarks[0].starts_with("callers paused 1.53 s in all"), "{paused:?}");
        // Without a wait for connections it is the load tester that did not send.
        let slow = judge(&Observed { answers: 500, behind: 400, ..fine() });
        assert_eq!((slow.reached.len(), slow.remarks.len()), (1, 0));
    }
}
