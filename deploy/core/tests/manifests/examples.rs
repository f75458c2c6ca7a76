//! Manifests as users write them: what is said of them, what they are with their defaults, and what shall run.
//!
//! The expected texts lie in `snapshots/`; `WEIRGATE_UPDATE_SNAPSHOTS=1` writes them.

use std::fmt::Write;
use std::path::Path;

use weirgate_deploy_core::{Loaded, Location, RevisionPlan, Severity, TrafficPlan};

use crate::load_text;

macro_rules! example {
    ($name:ident, $file:literal) => {
        #[test]
        fn $name() {
            let manifest = include_str!(concat!("examples/", $file, ".yaml"));
            let expected = include_str!(concat!("snapshots/", $file, ".txt"));
            check($file, manifest, expected);
        }
    };
}

example!(onnx_on_cpu_with_an_autoscaler, "onnx-hpa");
example!(scale_to_zero_batching_and_a_payload_log, "scale-to-zero");
example!(canary_by_percent, "canary-percent");
example!(canary_by_list, "canary-list");
example!(llm_on_a_gpu, "llm");
example!(autoscaler_on_a_query, "keda");
example!(transformer_and_own_containers, "transformer");
example!(own_server_as_a_command, "command");
example!(servers_elsewhere_and_a_canary_of_another, "upstream");
example!(two_canaries_that_run_here, "local-canary");

#[track_caller]
fn check(name: &str, manifest: &str, expected: &str) {
    let loaded = load_text(manifest);
    let found = render(&loaded);
    // What is printed or stored can be read again, and means the same.
    let printed = serde_json::to_string(&loaded.services[0].service).unwrap();
    assert_eq!(render(&weirgate_deploy_core::load(&printed, "service.yaml", Path::new("/elsewhere"))), found);
    if std::env::var_os("WEIRGATE_UPDATE_SNAPSHOTS").is_some() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests/snapshots");
        std::fs::write(folder.join(format!("{name}.txt")), found).unwrap();
    } else {
        assert_eq!(found, expected, "if this is as it should be, run this test with WEIRGATE_UPDATE_SNAPSHOTS=1");
    }
}

fn render(loaded: &Loaded) -> String {
    let mut text = String::new();
    for problem in &loaded.problems {
        let severity = match problem.severity {
            Severity::Warning => "warning",
            Severity::Unsupported => "unsupported",
            Severity::Error => "error",
        };
        writeln!(text, "{severity}: {} {}", problem.path, problem.message).unwrap();
    }
    for service in &loaded.services {
        writeln!(text, "\n{}", serde_json::to_string_pretty(&service.service).unwrap()).unwrap();
        let Some(plan) = &service.plan else { continue };
        writeln!(text, "\n{:?}", plan.settings).unwrap();
        write_revision(&plan.predictor, &mut text);
        match &plan.traffic {
            TrafficPlan::Percent(percent) => writeln!(text, "canaryTrafficPercent: {percent:?}").unwrap(),
            TrafficPlan::Canaries(canaries) => {
                for canary in canaries {
                    write!(text, "{} % ", canary.percent).unwrap();
                    write_revision(&canary.revision, &mut text);
                }
            }
        }
    }
    text
}

fn write_revision(revision: &RevisionPlan, text: &mut String) {
    let RevisionPlan { name, variant, replicas, executor, batcher, container_concurrency, cpu_limit, memory, .. } =
        revision;
    let location = match executor.model().map(|model| &model.location) {
        Some(Location::Path(path)) => path.display().to_string(),
        Some(Location::Url(url)) => url.to_string(),
        None => format!("{executor:?}"),
    };
    writeln!(
        text,
        "{name} ({variant:?}): {replicas} of {location}, {batcher:?}, at most {container_concurrency:?} calls, \
         {cpu_limit:?} CPUs, {memory:?} bytes",
    )
    .unwrap();
}
