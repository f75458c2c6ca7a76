//! `weirgate get`: the columns of KServe's printer, or the objects.

use std::time::SystemTime;

use clap::{Args, ValueEnum};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use weirgate_deploy::control::ServiceView;
use weirgate_protocol::remote_url::HIDDEN;

use super::age::age;
use super::args::{NamespaceArgs, ServerArgs};
use super::object::{condition, latest_percent, owner, predictor, prev_percent, replicas, text};
use super::table::{one_line, table};
use super::{Wrong, print};
use crate::admin::wire::{Views, list_path, service_path};
use crate::client::Client;

#[derive(Args, Clone, Debug)]
pub struct Get {
    /// What to show: nothing or `inferenceservices` for all, NAME or isvc/NAME for one
    #[arg(value_name = "NAME")]
    words: Vec<String>,

    #[command(flatten)]
    namespace: NamespaceArgs,

    /// All namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,

    /// How to show it; by default a table
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Output>,

    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Wide,
    Yaml,
    Json,
}

impl Get {
    pub fn run(&self) -> Result<(), Wrong> {
        let named = self.namespace.at_most_one(&self.words)?;
        let client = self.server.client()?;
        if let Some(named) = named {
            if self.all_namespaces {
                return Err(Wrong::Usage(
                    "a service of all namespaces can't be named: leave out -A or the name".to_owned(),
                ));
            }
            let view: ServiceView = self.ask(&client, &format!("{}?view=full", service_path(&named)))?;
            return self.show(&view.object, std::slice::from_ref(&view));
        }
        let namespace = (!self.all_namespaces).then_some(self.namespace.namespace.as_str());
        let Views { items } = self.ask::<Views>(&client, &format!("{}?view=full", list_path(namespace)))?;
        if items.is_empty() && !self.prints_objects() {
            match namespace {
                Some(namespace) => eprintln!("No resources found in {namespace} namespace."),
                None => eprintln!("No resources found."),
            }
            return Ok(());
        }
        let objects: Vec<_> = items.iter().map(|view| &view.object).collect();
        self.show(&json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": objects }), &items)
    }

    fn prints_objects(&self) -> bool {
        matches!(self.output, Some(Output::Yaml | Output::Json))
    }

    /// What is printed to be applied again is asked for with its secrets, which the token opens.
    fn ask<T: DeserializeOwned>(&self, client: &Client, path: &str) -> Result<T, Wrong> {
        if !self.prints_objects() {
            return Ok(client.get(path)?);
        }
        let (found, without_token) = client.get_as_written(path)?;
        if let Some(error) = without_token {
            eprintln!(
                "warning: what may be secret is shown as {HIDDEN}, and can't be applied again like that: {error}"
            );
        }
        Ok(found)
    }

    fn show(&self, object: &Value, views: &[ServiceView]) -> Result<(), Wrong> {
        let text = match self.output {
            Some(Output::Yaml) => yaml(object)?,
            Some(Output::Json) => format!("{object:#}\n"),
            format => {
                let wide = format == Some(Output::Wide);
                columns(views, self.all_namespaces, wide, SystemTime::now())
            }
        };
        print(&text);
        Ok(())
    }
}

fn yaml(object: &Value) -> Result<String, Wrong> {
    serde_saphyr::to_string(object)
        .map_err(|error| Wrong::failed(format!("error: the object can't be written as YAML: {error}")))
}

fn columns(views: &[ServiceView], namespaces: bool, wide: bool, now: SystemTime) -> String {
    let mut headings = vec!["NAME", "URL", "READY", "PREV", "LATEST", "PREVROLLEDOUTREVISION", "LATESTREADYREVISION"];
    headings.push("AGE");
    if namespaces {
        headings.insert(0, "NAMESPACE");
    }
    if wide {
        headings.extend(["OWNER", "REPLICAS", "REASON"]);
    }
    let rows: Vec<_> = views.iter().map(|view| row(view, namespaces, wide, now)).collect();
    table(&headings, &rows)
}

fn row(view: &ServiceView, namespaces: bool, wide: bool, now: SystemTime) -> Vec<String> {
    let object = &view.object;
    let percent = |percent: Option<u64>| percent.map(|percent| percent.to_string()).unwrap_or_default();
    let ready = condition(object, "Ready");
    let mut cells = Vec::new();
    if namespaces {
        cells.push(view.named.namespace.clone());
    }
    cells.extend([
        view.named.name.clone(),
        text(object, "/status/url").to_owned(),
        ready.map_or("Unknown", |ready| text(ready, "/status")).to_owned(),
        percent(prev_percent(object)),
        percent(latest_percent(object)),
        predictor(object, "previousRolledoutRevision").to_owned(),
        predictor(object, "latestReadyRevision").to_owned(),
        age(text(object, "/metadata/creationTimestamp"), now),
    ]);
    if wide {
        let reason = ready.map_or("", |ready| text(ready, "/reason"));
        cells.extend([owner(view), replicas(view), one_line(reason)]);
    }
    cells
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cli::describe::tests::digits;

    fn moment() -> SystemTime {
        humantime::parse_rfc3339("2026-01-01T00:05:00Z").unwrap()
    }

    #[test]
    fn the_columns_are_kserves() {
        assert_eq!(
            columns(&[digits()], false, false, moment()),
            "\
NAME     URL                                 READY   PREV   LATEST   PREVROLLEDOUTREVISION   LATESTREADYREVISION   AGE
digits   http://digits-default.example.com   True    80     20       digits-predictor-a      digits-predictor-b    5m
"
        );
    }

    #[test]
    fn wide_and_all_namespaces_add_theirs() {
        let text = columns(&[digits()], true, true, moment());
        let (headings, row) = text.split_once('\n').unwrap();
        assert!(headings.starts_with("NAMESPACE   NAME"), "{text}");
        assert!(headings.ends_with("AGE   OWNER                     REPLICAS   REASON"), "{text}");
        assert!(row.starts_with("default     digits"), "{text}");
        assert!(row.ends_with("5m    m/all.yaml (document 2)   2/3        Rolling\n"), "{text}");
    }

    #[test]
    fn what_is_not_known_yet_is_left_empty() {
        let view = ServiceView { object: json!({}), revisions: Vec::new(), ..digits() };
        let text = columns(&[view], false, false, moment());
        assert_eq!(
            text.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>(),
            ["digits", "Unknown", "<unknown>"]
        );
    }

    #[test]
    fn yaml_reads_as_what_was_written() {
        let hard = json!({
            "apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
            "metadata": { "name": "digits", "labels": {
                "a": "no", "b": "1", "c": "null", "d": "", "e": " x ", "f": "2026-01-01", "g": "0x1f", "h": "1e3", "i": "~",
                "j": "- x", "k": "a: b # c", "l": "two\nlines\n", "m": "é\u{1b}\"'", "n": "true", "o": "*x", "p": ".5",
            }},
            "status": { "conditions": [{ "message": "x\ty" }, {}], "none": null, "list": [], "n": 1, "f": 0.5, "t": true },
        });
        let text = yaml(&hard).unwrap();
        assert_eq!(serde_saphyr::from_str::<Value>(&text).unwrap(), hard, "{text}");
        let first: Vec<_> = text.lines().take(3).collect();
        assert_eq!(first, ["apiVersion: serving.kserve.io/v1beta1", "kind: InferenceService", "metadata:"]);
    }

    #[test]
    fn yaml_of_a_service_can_be_applied_again() {
        let text = yaml(&digits().object).unwrap();
        let loaded = weirgate_deploy_core::load(&text, "digits.yaml", Path::new("/"));
        assert_eq!(loaded.services.len(), 1, "{text}\n{:?}", loaded.problems);
        assert_eq!(loaded.services[0].service.metadata.name, "digits");
    }
}
