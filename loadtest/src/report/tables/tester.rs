//! The load tester itself: how near it was to its own limits.

use crate::report::number;
use crate::result::Limits;

/// Names and values.
pub fn pairs(limits: &Limits) -> Vec<(String, String)> {
    let share = |share: Option<f64>| match share {
        Some(share) => number::share(share),
        None => "not known, and not judged".to_owned(),
    };
    let open = format!("{} open at most", number::count(limits.connections as u64));
    let name = |one: &'static str, more: &'static str, count| if count == 1 { one } else { more };
    let opened = match limits.opened {
        // A result that doesn't say.
        0 => open,
        opened => format!("{open}, {} opened in all", number::count(opened)),
    };
    let pairs = [
        (name("thread", "threads", limits.threads), limits.threads.to_string()),
        ("busiest on a core", share(limits.cpu)),
        ("waiting for a core", share(limits.waited_for_cpu)),
        (name("connection", "connections", limits.connections), opened),
        ("requests waiting", format!("{} at most", number::count(limits.most_waiting))),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_does_not_tell_is_not_zero() {
        let told = |limits: Limits| pairs(&limits).into_iter().map(|(_, value)| value).collect::<Vec<_>>();
        let unknown = told(Limits { threads: 2, ..Limits::default() });
        assert_eq!(unknown[1..3], ["not known, and not judged"; 2]);
        let known = told(Limits { cpu: Some(0.5), waited_for_cpu: Some(0.0), ..Limits::default() });
        assert_eq!(known[1..3], ["50.0 %", "0 %"]);
    }

    #[test]
    fn one_is_no_plural() {
        let names = |count| {
            let limits = Limits { connections: count, threads: count, ..Limits::default() };
            pairs(&limits).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!([&names(1)[0], &names(1)[3]], ["thread", "connection"]);
        assert_eq!([&names(2)[0], &names(2)[3]], ["threads", "connections"]);
    }

    #[test]
    fn connections_that_were_replaced_show() {
        let limits = Limits { connections: 4, opened: 1200, ..Limits::default() };
        assert!(pairs(&limits).iter().any(|(_, value)| value == "4 open at most, 1,200 opened in all"));
    }
}
