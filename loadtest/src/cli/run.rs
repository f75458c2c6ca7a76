//! Drives what the options ask for, and writes down what was found.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::Value;

use super::interrupt::Interrupts;
use super::options::{Options, OutputOptions};
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
/// The path that stands for standard output.
const STDOUT: &str = "-";

pub(super) fn run(options: Options) -> Result<(), Wrong> {
    let plan = Plan::of(options)?;
    let options = &plan.options;
    let Some(target) = &options.target else {
        return Err(Wrong::Usage("the server's URL is missing: give one, as http://127.0.0.1:8080".to_owned()));
    };
    let tls = plan::tls(options)?;
    refuse_one_file_for_two(&options.output)?;
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
            most_in_flight: plan.most_in_flight,
            connections: options.connection.connections,
            timeout: options.load.timeout,
            slo: options.judge.slo.clone(),
            stop: stop.clone(),
        })
    };
    let interrupts = Interrupts::listen(stop.clone(), options.load.timeout)?;
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
    let told = tell(options, &report::text(&report));
    write(options, &report)?;
    told?;
    if let Some(code) = interrupts.code() {
        return Err(Wrong::Interrupted(code));
    }
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
    [&options.output.out, &options.output.html]
        .into_iter()
        .flatten()
        .map(PathBuf::as_path)
        .filter(|path| *path != Path::new(STDOUT))
}

fn prints_result(options: &Options) -> bool {
    options.output.out.as_deref() == Some(Path::new(STDOUT))
}

/// Tells people, where a program reads the result on standard output.
fn tell(options: &Options, text: &str) -> Result<(), Wrong> {
    if !prints_result(options) {
        return print(text);
    }
    // Whoever closed standard error doesn't want to be told.
    let _ = std::io::stderr().write_all(text.as_bytes());
    Ok(())
}

/// The second of two that go to the same file would take the place of the first.
fn refuse_one_file_for_two(output: &OutputOptions) -> Result<(), Wrong> {
    let (Some(out), Some(html)) = (&output.out, &output.html) else { return Ok(()) };
    if html == Path::new(STDOUT) {
        return Err(Wrong::Usage("--html has no - for standard output: give a file".to_owned()));
    }
    // One that is not there yet has its place by its folder.
    let place = |path: &Path| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let named = || Some(folder.canonicalize().ok()?.join(path.file_name()?));
        path.canonicalize().ok().or_else(named)
    };
    // What is no file, as a terminal, takes both.
    let is_special = out.metadata().is_ok_and(|metadata| !metadata.is_file());
    if !is_special && (out == html || place(out).is_some_and(|out| place(html) == Some(out))) {
        return Err(Wrong::Usage(format!("--out and --html are both {}: give each a file of its own", out.display())));
    }
    Ok(())
}

/// Writes what was asked for, the one even where the other fails.
fn write(options: &Options, report: &Report) -> Result<(), Wrong> {
    let mut failures = Vec::new();
    let mut out = None;
    match options.output.out.as_deref() {
        Some(_) if prints_result(options) => {
            let text = serde_json::to_string(report).map_err(|error| Wrong::Failed(error.to_string()))?;
            if let Err(Wrong::Failed(error)) = print(&format!("{text}\n")) {
                failures.push(error);
            }
        }
        path => out = path.map(|path| ("result", path, report.write(path))),
    }
    let html = options.output.html.as_deref();
    let html = html.map(|path| ("page", path, write_whole(path, report::html(report).as_bytes())));
    for (what, path, written) in out.into_iter().chain(html) {
        match written {
            Ok(()) => tell(options, &format!("{what}: {}\n", path.display()))?,
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

#[cfg(test)]
mod tests {
    use super::super::options::tests::parse;
    use super::*;

    #[test]
    fn two_results_need_two_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::create_dir(path("inner")).unwrap();
        for (out, html, is_refused) in [
            (path("a"), path("a"), true),
            (path("a"), path("inner/../a"), true),
            (path("a"), path("b"), false),
            (path("none/a"), path("none/a"), true),
            ("/dev/null".to_owned(), "/dev/null".to_owned(), false),
            (path("a"), "-".to_owned(), true),
            ("-".to_owned(), path("a"), false),
        ] {
            let refused = refuse_one_file_for_two(&parse(&["--out", &out, "--html", &html]).output);
            assert_eq!(matches!(refused, Err(Wrong::Usage(_))), is_refused, "{out} {html}");
        }
    }
}
