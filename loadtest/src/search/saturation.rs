//! When a server no longer keeps up.

use super::Point;

/// Right answers that may be missing, as a share of the requests that were due in the same time.
const MISSING: f64 = 0.05;
/// How many times the latency of light load is too much.
const SLOWER: f64 = 10.0;
/// Milliseconds that any latency may be off by: a turn of the scheduler, which says nothing of the server.
const JITTER_MS: f64 = 1.0;

/// The latency of light load: the least median of all points. A lone caller's is the best to begin with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Light {
    /// Rate and median.
    lightest: Option<(f64, f64)>,
}

impl Light {
    /// The lightest of many points.
    pub fn of<'a>(points: impl IntoIterator<Item = &'a Point>) -> Light {
        let mut light = Light::default();
        points.into_iter().for_each(|point| light.seen(point));
        light
    }

    pub fn seen(&mut self, point: &Point) {
        if let Some(p50) = point.p50
            && self.lightest.is_none_or(|(_, least)| p50 < least)
        {
            self.lightest = Some((point.rate, p50));
        }
    }

    /// In milliseconds.
    pub fn p50(&self) -> Option<f64> {
        self.lightest.map(|(_, p50)| p50)
    }

    /// The rate that it was measured at.
    pub fn rate(&self) -> Option<f64> {
        self.lightest.map(|(rate, _)| rate)
    }

    /// The highest latency that still counts as unloaded, in milliseconds.
    pub fn most(&self) -> Option<f64> {
        self.p50().map(|p50| p50 * SLOWER + JITTER_MS)
    }
}

/// Why the server does not keep up with a point's rate, a text each. Empty: it does.
///
/// It doesn't if fewer than 95 % of the requests due were answered right in the same time, or if the median latency is
/// above ten times that of light load. Answers missing mean that more are in flight than before, and that varies by
/// chance: by about the root of their number, and twice the root of those in flight at light load is allowed too.
pub fn saturated(point: &Point, light: &Light) -> Vec<String> {
    let mut why = Vec::new();
    let missing = point.due - point.answered;
    let in_flight = point.rate * light.p50().unwrap_or_default() / 1e3;
    let chance = point.due.sqrt().max(2.0 * in_flight.sqrt());
    if point.answered == 0.0 || missing > (point.due * MISSING).max(chance) {
        why.push(format!(
            "{:.1}/s answered right of {:.1}/s due: the server does not keep up",
            point.answered_rate(),
            point.due / point.seconds
        ));
    }
    if let (Some(p50), Some(light_p50), Some(most)) = (point.p50, light.p50(), light.most())
        && p50 > most
    {
        why.push(format!("p50 {p50:.1} ms is above {most:.1} ms: at light load it is {light_p50:.1} ms"));
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(rate: f64, answered: f64, p50: f64) -> Point {
        Point { rate, due: rate * 10.0, answered: answered * 10.0, seconds: 10.0, p50: Some(p50) }
    }

    #[test]
    fn too_few_answers_or_too_slow_ones() {
        let light = Light::of(&[point(400.0, 400.0, 30.0), point(100.0, 100.0, 10.0), point(200.0, 200.0, 11.0)]);
        assert_eq!((light.rate(), light.p50()), (Some(100.0), Some(10.0)));
        assert!(saturated(&point(400.0, 390.0, 12.0), &light).is_empty(), "2.5 % may be missing");
        assert!(saturated(&point(400.0, 400.0, 100.9), &light).is_empty());
        assert_eq!(saturated(&point(400.0, 370.0, 12.0), &light).len(), 1);
        assert_eq!(saturated(&point(400.0, 400.0, 101.1), &light).len(), 1);
        assert_eq!(saturated(&point(400.0, 200.0, 900.0), &light).len(), 2);
    }

    #[test]
    fn few_requests_prove_little() {
        let few = Point { rate: 2.0, due: 20.0, answered: 16.0, seconds: 10.0, p50: Some(900.0) };
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
