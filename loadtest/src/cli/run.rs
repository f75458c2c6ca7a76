//! Drives what the options ask for, and writes down what was found.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::Value;

use super::interrupt::Interrupts;
use super::options::Options;
use super::plan::{self, Plan};
use super::{Wrong, print};
use crate::arrivals::Trace;
use crate::client::Client;
use crate::drive::{self, AbPlan, SweepPlan};
use crate::engine::{Engine, Setup, Stop};
use crate::report::progress::Progress;
use crate::result::{Findings, Report, SCHEMA, check_writable, write_whole};
use crate::target::Target;
use crate::workload::{self, Ask, Sizes, Workload};
use crate::{record, report, search};

/// Where the flags don't say.
const ROUNDS: usize = 5;
const MOST_IN_FLIGHT: usize = 1_024;

pub(super) fn run(options: Options) -> Result<(), Wrong> {
    let plan = Plan::of(options)?;
    let options = &plan.options;
    let Some(target) = &options.target else {
        return Err(Wrong::Usage("the server's URL is missing: give one, as http://127.0.0.1:8080".to_owned()));
    };
    let tls = plan::tls(options)?;
    for path in files(options) {
        // It would be a pity to learn it after the run.
        check_writable(path)?;
    }
    let stop = Stop::default();
    let client = Client::new(target.clone(), &tls)?;
    let workload = Arc::new(workload(options, &plan, &client)?);
    // How many requests a second are due then depends on how quickly the server answers, so there is no rate to search.
    if options.judge.sweep && workload.has_conversations() {
        return Err(Wrong::Usage(
            "--sweep searches a rate of single requests: conversations, of --turns or of --prompts with several user \
             messages, need a --rate of their own"
                .to_owned(),
        ));
    }
    let engine = |client: Client| {
        Engine::start(Setup {
            client,
            workload: workload.clone(),
            threads: plan.threads,
            most_in_flight: options.connection.max_in_flight.unwrap_or(MOST_IN_FLIGHT),
            connections: options.connection.connections,
            timeout: options.load.timeout,
            slo: options.judge.slo.clone(),
            stop: stop.clone(),
        })
    };
    let _interrupts = Interrupts::listen(stop.clone(), options.load.timeout)?;
    let started = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let machine = record::machine();
    let mut progress = Progress::stderr(options.output.progress);
    let mut first = engine(client)?;
    let findings = if let Some(target) = &options.judge.ab {
        let mut second = engine(Client::new(target.clone(), &tls)?)?;
        let (load, span) = (plan.load.clone(), plan.span);
        let (rounds, seed) = (options.judge.rounds.unwrap_or(ROUNDS), options.payload.seed);
        let ab = AbPlan { load, span, rounds, seed, slo: options.judge.slo.clone(), stop: stop.clone() };
        drive::ab(&mut first, &mut second, &ab, &mut progress)?
    } else if options.judge.sweep {
        let sweep = SweepPlan {
            start: plan.first_rate()?,
            gaps: plan.gaps,
            seed: options.payload.seed,
            duration: options.load.duration(),
            slo: options.judge.slo.clone(),
            limits: search::Limits::default(),
            stop: stop.clone(),
        };
        drive::sweep(&mut first, &sweep, &mut progress)?
    } else {
        drive::single(&mut first, &plan.load, &plan.span, &mut progress)?
    };
    let report = Report {
        schema: SCHEMA.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started,
        machine,
        target: target.to_string(),
        target_b: options.judge.ab.as_ref().map(Target::to_string),
        workload: workload.summary.clone(),
        options: given(options)?,
        slo: options.judge.slo.as_ref().map(|slo| slo.text.clone()),
        findings,
    };
    print(&report::text(&report));
    write(options, &report)?;
    if is_good(options, &report) { Ok(()) } else { Err(Wrong::Missed) }
}

fn workload(options: &Options, plan: &Plan, client: &Client) -> Result<Workload, Wrong> {
    let ask = Ask {
        protocol: options.protocol,
        model: options.model.as_deref(),
        version: options.model_version.as_deref(),
        payload: &options.payload,
        expect: &options.judge.expect,
        think: options.load.think_time(),
        sizes: plan.trace.as_ref().map(sizes).unwrap_or_default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(workload::build(ask, client))?)
}

/// The sizes of a trace's requests, if it has any.
fn sizes(trace: &Trace) -> Vec<Sizes> {
    let sizes = trace.entries.iter().filter_map(|entry| {
        let prompt_tokens = entry.prompt_tokens? as usize;
        Some(Sizes { prompt_tokens, output_tokens: entry.output_tokens, blocks: entry.prefix.clone() })
    });
    sizes.collect()
}

/// The options that say something, by flag.
fn given(options: &Options) -> Result<BTreeMap<String, Value>, Wrong> {
    let value = serde_json::to_value(options).map_err(|error| Wrong::Failed(error.to_string()))?;
    let Value::Object(map) = value else { return Ok(BTreeMap::new()) };
    let says = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(values) => !values.is_empty(),
        _ => true,
    };
    Ok(map.into_iter().filter(|(_, value)| says(value)).collect())
}

/// What is to be written.
fn files(options: &Options) -> impl Iterator<Item = &Path> {
    [&options.output.out, &options.output.html].into_iter().flatten().map(PathBuf::as_path)
}

/// Writes what was asked for, the one even where the other fails.
fn write(options: &Options, report: &Report) -> Result<(), Wrong> {
    let out = options.output.out.as_deref().map(|path| ("result", path, report.write(path)));
    let html = options.output.html.as_deref();
    let html = html.map(|path| ("page", path, write_whole(path, report::html(report).as_bytes())));
    let mut failures = Vec::new();
    for (what, path, written) in out.into_iter().chain(html) {
        match written {
            Ok(()) => print(&format!("{what}: {}\n", path.display())),
            Err(error) => failures.push(error.to_string()),
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(Wrong::Failed(failures.join("; "))) }
}

/// Whether something was answered right, and the objective was met.
fn is_good(options: &Options, report: &Report) -> bool {
    match &report.findings {
        Findings::Run { run } => {
            run.outcomes.ok > 0 && options.judge.slo.as_ref().is_none_or(|slo| slo.missed(run).is_empty())
        }
        Findings::Sweep { sweep } => !sweep.broken && (options.judge.slo.is_none() || sweep.best_rate.is_some()),
        Findings::Ab { ab } => {
            let answered = ab.a.iter().chain(&ab.b).all(|run| run.outcomes.ok > 0) && !ab.a.is_empty();
            answered && ab.ended.is_none() && ab.missed_a.is_empty() && ab.missed_b.is_empty()
        }
    }
}
