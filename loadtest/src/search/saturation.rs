//! When a server no longer keeps up.

use super::Point;

/// Answers that may be missing, as a share of the requests that were due in the same time.
const MISSING: f64 = 0.05;
/// How many times the latency of light load is too much.
const SLOWER: f64 = 10.0;
/// Milliseconds that any latency may be off by: a turn of the scheduler, which says nothing of the server.
const JITTER_MS: f64 = 1.0;

/// The latency of light load: the least median of a lone caller and of points that the server kept up with. Others don't
/// belong here: an overloaded server may answer what little it takes quickly.
#[derive(Clone, Copy, Debug, Default)]
pub struct Light {
    /// In milliseconds.
    p50: Option<f64>,
}

impl Light {
    /// The lightest of many points.
    pub fn of<'a>(points: impl IntoIterator<Item = &'a Point>) -> Light {
        let mut light = Light::default();
        points.into_iter().for_each(|point| light.seen(point));
        light
    }

    pub fn seen(&mut self, point: &Point) {
        self.p50 = match (self.p50, point.p50) {
            (Some(least), Some(p50)) => Some(least.min(p50)),
            (least, p50) => least.or(p50),
        };
    }

    /// In milliseconds.
    pub fn p50(&self) -> Option<f64> {
        self.p50
    }

    /// The highest latency that still counts as unloaded, in milliseconds.
    pub fn most(&self) -> Option<f64> {
        self.p50().map(|p50| p50 * SLOWER + JITTER_MS)
    }
}

/// Why a point without an objective is too much for the server, a text each. Empty: it isn't.
///
/// Fewer than 95 % of the requests due were answered right, or the median latency is above ten times that of light load.
/// The second is a rule of thumb for want of an objective: a server that gathers batches may well be as slow as that from
/// its first batch to its capacity, so where there is an objective, [`falls_behind`] alone stands beside it.
pub fn saturated(point: &Point, light: &Light) -> Vec<String> {
    let mut why = Vec::new();
    if answers_are_missing(point, light) {
        why.push(behind(point, point.answered, "right answers"));
    }
    if let (Some(p50), Some(light_p50), Some(most)) = (point.p50, light.p50(), light.most())
        && p50 > most
    {
        why.push(format!("p50 {p50:.1} ms is above {most:.1} ms: at light load it is {light_p50:.1} ms"));
    }
    why
}

/// Whether right answers are missing, whatever the latency of those that came.
pub fn answers_are_missing(point: &Point, light: &Light) -> bool {
    is_missing(point, point.answered, light)
}

/// Why the server does not keep up: fewer than 95 % of the requests due ended, however they did. What failed is for an
/// objective to judge; that more and more requests wait shows in no objective until they have waited long enough.
pub fn falls_behind(point: &Point, light: &Light) -> Option<String> {
    is_missing(point, point.ended, light).then(|| behind(point, point.ended, "answers"))
}

/// Missing ones mean that more are in flight than before, and that varies by chance: by about the root of the requests
/// due, and twice the root of those in flight at light load is allowed too.
fn is_missing(point: &Point, seen: f64, light: &Light) -> bool {
    let in_flight = point.rate * light.p50().unwrap_or_default() / 1e3;
    let chance = point.due.sqrt().max(2.0 * in_flight.sqrt());
    seen == 0.0 || point.due - seen > (point.due * MISSING).max(chance)
}

fn behind(point: &Point, seen: f64, how: &str) -> String {
    let (seen, due) = (seen / point.seconds, point.due / point.seconds);
    format!("{how} came at {seen:.1}/s while requests were due at {due:.1}/s: the server does not keep up")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(rate: f64, answered: f64, p50: f64) -> Point {
        let (due, answered) = (rate * 10.0, answered * 10.0);
        Point { rate, due, ended: answered, answered, seconds: 10.0, p50: Some(p50) }
    }

    #[test]
    fn too_few_answers_or_too_slow_ones() {
        let light = Light::of(&[point(400.0, 400.0, 30.0), point(100.0, 100.0, 10.0), point(200.0, 200.0, 11.0)]);
        assert_eq!(light.p50(), Some(10.0));
        assert!(saturated(&point(400.0, 390.0, 12.0), &light).is_empty(), "2.5 % may be missing");
        assert!(saturated(&point(400.0, 400.0, 100.9), &light).is_empty());
        assert_eq!(saturated(&point(400.0, 370.0, 12.0), &light).len(), 1);
        assert_eq!(saturated(&point(400.0, 400.0, 101.1), &light).len(), 1);
        assert_eq!(saturated(&point(400.0, 200.0, 900.0), &light).len(), 2);
    }

    #[test]
    fn what_failed_has_ended_all_the_same() {
        let light = Light::of(&[point(100.0, 100.0, 10.0)]);
        let failing = Point { ended: 4000.0, ..point(400.0, 300.0, 500.0) };
        assert!(answers_are_missing(&failing, &light));
        assert_eq!(falls_behind(&failing, &light), None, "neither failures nor latency are its affair");
        let behind = Point { ended: 3700.0, ..failing };
        let why = "answers came at 370.0/s while requests were due at 400.0/s: the server does not keep up";
        assert_eq!(falls_behind(&behind, &light).as_deref(), Some(why));
    }

    #[test]
    fn few_requests_prove_little() {
        let few = Point { rate: 2.0, due: 20.0, ended: 16.0, answered: 16.0, seconds: 10.0, p50: Some(900.0) };
        let light = Light::of(&[few]);
        assert!(saturated(&few, &light).is_empty(), "4 of 20 are within chance");
        assert_eq!(saturated(&Point { answered: 15.0, ..few }, &light).len(), 1);
        let silent = Point { due: 2.0, answered: 0.0, p50: None, ..few };
        assert_eq!(saturated(&silent, &light).len(), 1, "no answer at all is never chance");
        // Of 20 that are always in flight, 8 more are within chance.
        let long = Point { answered: 12.0, p50: Some(10_000.0), ..few };
        assert!(saturated(&long, &Light::of(&[long])).is_empty());
    }
}
