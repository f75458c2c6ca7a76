use super::*;
use crate::report::fixture;

fn sweep(change: impl FnOnce(&mut Sweep)) -> Report {
    let mut report = fixture::sweep();
    if let Findings::Sweep { sweep } = &mut report.findings {
        change(sweep);
    }
    report
}

fn run(change: impl FnOnce(&mut Run)) -> Report {
    let mut report = fixture::streamed();
    if let Findings::Run { run } = &mut report.findings {
        change(run);
    }
    report
}

fn kinds(report: &Report) -> Vec<Kind> {
    notices(report).iter().map(|notice| notice.kind).collect()
}

#[test]
fn a_limit_of_the_load_tester_counts_at_the_rates_that_a_sweep_found() {
    let limited_at = |rate: f64| {
        sweep(|sweep| {
            let point = sweep.points.iter_mut().find(|point| point.rate == rate).unwrap();
            point.run.limits.reached.push("no time left".to_owned());
        })
    };
    let Findings::Sweep { sweep } = fixture::sweep().findings else { panic!("no sweep") };
    for rate in [sweep.best_rate, sweep.failed_rate].map(Option::unwrap) {
        let report = limited_at(rate);
        assert_eq!(kinds(&report), [Kind::Warned, Kind::Met]);
        assert_eq!(notices(&report)[0].reasons, [format!("at {rate}/s: no time left")]);
        assert!(asides(&report).is_empty());
    }
    let report = limited_at(1200.0);
    assert_eq!((kinds(&report), limits(&report).len()), (vec![Kind::Met], 0));
    assert_eq!(asides(&report), ["at 1,200/s: the load tester was at its limit: no time left"]);
}

#[test]
fn remarks_are_no_warnings() {
    let report = run(|run| run.limits.remarks.push("latency holds 3 % lag".to_owned()));
    assert!(!kinds(&report).contains(&Kind::Warned));
    assert_eq!(asides(&report), ["latency holds 3 % lag"]);
}

#[test]
fn a_run_that_was_stopped_says_how_much_of_it_there_is() {
    let report = run(|run| {
        (run.stopped, run.seconds, run.outcomes.given_up) = (true, 3.2, 12);
    });
    let sentence = "stopped early: 3.2 s of the planned run were measured; 12 requests were given up at the stop";
    assert_eq!((notices(&report)[0].kind, notices(&report)[0].sentence.as_str()), (Kind::Stopped, sentence));
    let report = run(|run| run.stopped = true);
    assert!(notices(&report)[0].sentence.ends_with("were measured"));
    assert!(!kinds(&fixture::streamed()).contains(&Kind::Stopped));
}

#[test]
fn a_verdict_names_what_was_missed() {
    let told = notices(&fixture::streamed()).pop().unwrap();
    assert_eq!((told.kind, told.sentence.as_str()), (Kind::Missed, "objective missed: p99<300ms,errors<0.1%"));
    assert!(told.reasons.iter().all(|reason| reason.contains("is not below")), "{:?}", told.reasons);
    let mut report = fixture::streamed();
    report.slo = Some("p99<1h".to_owned());
    assert_eq!(kinds(&report), [Kind::Missed], "an objective that can't be read is not met");
    report.slo = Some("p99<100s".to_owned());
    assert_eq!(kinds(&report), [Kind::Met]);
    report.slo = None;
    assert_eq!(kinds(&report), [Kind::Failed]);
    assert!(notices(&report)[0].sentence.ends_with(" % of the requests got no right answer"));
    let mut all_right = run(|run| run.outcomes = crate::result::Outcomes { ok: 10, ..Default::default() });
    all_right.slo = None;
    assert!(kinds(&all_right).is_empty());
}

#[test]
fn a_sweep_without_an_objective_speaks_of_none() {
    let mut report = fixture::sweep();
    report.slo = None;
    let told = notices(&report).pop().unwrap();
    assert!(told.kind == Kind::Met && told.sentence.starts_with("the server keeps up with "), "{told:?}");
    assert!(told.reasons.iter().any(|reason| reason.contains("the knee is at 700 requests/s")));
}

#[test]
fn a_sweep_that_broke_off_says_so_beside_what_it_found() {
    let report = sweep(|sweep| (sweep.broken, sweep.ended) = (true, "an error ended it: no more threads".to_owned()));
    assert_eq!(kinds(&report), [Kind::Stopped, Kind::Met]);
    assert_eq!(notices(&report)[0].sentence, "an error ended it: no more threads");
}

#[test]
fn each_side_has_its_verdict() {
    let mut report = fixture::ab();
    if let Findings::Ab { ab } = &mut report.findings {
        ab.missed_a = Vec::new();
        ab.missed_b = vec!["round 2: p99 81 ms is not below 50 ms".to_owned()];
        ab.ended = Some("an error ended it after 5 of 9 rounds: no more threads".to_owned());
    }
    let told = notices(&report);
    assert_eq!(kinds(&report), [Kind::Stopped, Kind::Told, Kind::Met, Kind::Missed]);
    assert!(told[0].sentence.ends_with("after 5 of 9 rounds: no more threads"));
    assert!(told[3].sentence.starts_with("B: objective missed") && told[3].reasons[0].starts_with("round 2"));
    report.slo = None;
    assert_eq!(kinds(&report), [Kind::Stopped, Kind::Told]);
}

#[test]
fn goodput_is_told_where_requests_have_a_limit_in_time() {
    let run = Run { goodput: Some(90.0), ..Run::default() };
    assert_eq!(goodput(&run, Some("p99<50ms,errors<1%")), Some(90.0));
    assert_eq!([goodput(&run, Some("errors<1%")), goodput(&run, None)], [None, None]);
}
