//! The tables in docs/ are made from the code, and must be up to date.

#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::path::PathBuf;

use clap::CommandFactory;
use weirgate::cli::Cli;
use weirgate::observe::{METRICS, TEXT_METRICS};
use weirgate_protocol::ErrorCode;

/// Holds the part of a page between its two marks against `table`, or writes it when asked to.
fn check(page: &str, table: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("<!-- made from the code -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end -->\n").unwrap();
    let wanted = format!("{before}<!-- made from the code -->\n{table}<!-- end -->\n{after}");
    if std::env::var_os("WEIRGATE_UPDATE_DOCS").is_some() {
        std::fs::write(&path, wanted).unwrap();
    } else {
        assert_eq!(text, wanted, "docs/{page} is behind the code: run this test with WEIRGATE_UPDATE_DOCS=1");
    }
}

/// A row for each flag of a command.
fn flags_of(command: &str) -> String {
    let cli = Cli::command();
    let command = cli.find_subcommand(command).unwrap();
    let mut table = "| flag | environment | default | meaning |\n|---|---|---|---|\n".to_owned();
    for arg in command.get_arguments().filter(|arg| !arg.is_hide_set() && arg.get_id() != "help") {
        let takes_value = arg.get_action().takes_values();
        let value = arg.get_value_names().filter(|_| takes_value).map(|names| names[0].as_str()).unwrap_or_default();
        let short = arg.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
        let flag = arg.get_long().map(|long| format!("{short}--{long} {value}")).unwrap_or_else(|| value.to_owned());
        let environment = arg.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let default: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default =
            if default.is_empty() || !takes_value { String::new() } else { format!("`{}`", default.join(" ")) };
        let flag = flag.trim_end();
        writeln!(table, "| `{flag}` | `{environment}` | {default} | {} |", arg.get_help().unwrap()).unwrap();
    }
    table
}

#[test]
fn flags() {
    check("configuration.md", &flags_of("serve"));
    check("loadtest.md", &flags_of("loadtest"));
}

#[test]
fn every_flag_has_a_variable_of_its_name() {
    let cli = Cli::command();
    for (command, prefix) in [("serve", "WEIRGATE_"), ("loadtest", "WEIRGATE_LOADTEST_")] {
        let command = cli.find_subcommand(command).unwrap();
        for arg in command.get_arguments().filter(|arg| arg.get_id() != "help") {
            let Some(flag) = arg.get_long() else { continue };
            let expected = format!("{prefix}{}", flag.to_uppercase().replace('-', "_"));
            assert_eq!(arg.get_env().unwrap().to_str().unwrap(), expected, "--{flag}");
        }
    }
}

#[test]
fn errors() {
    let mut table = "| code | HTTP | gRPC | OpenAI type |\n|---|---|---|---|\n".to_owned();
    for code in ErrorCode::ALL {
        let row = code.row();
        let grpc = tonic::Code::from(row.grpc);
        writeln!(table, "| `{}` | {} | {grpc:?} | `{}` |", row.label, row.http, row.openai_type).unwrap();
    }
    check("errors.md", &table);
}

#[test]
fn metrics() {
    let mut table = "| metric | kind | meaning |\n|---|---|---|\n".to_owned();
    for metric in METRICS.iter().chain(TEXT_METRICS) {
        writeln!(table, "| `{}` | {} | {} |", metric.name, metric.kind.label(), metric.help).unwrap();
    }
    check("metrics.md", &table);
}

#[test]
fn fields_of_openais_routes() {
    let titles = [
        ("chat", "`POST /v1/chat/completions`", "And those of [generating](#generating)."),
        ("message", "Messages", ""),
        ("completions", "`POST /v1/completions`", "And those of [generating](#generating)."),
        ("generation", "Generating", "Of chats, completions and generate."),
        ("embeddings", "`POST /v1/embeddings`", ""),
        ("tokenize", "`POST /tokenize`", ""),
        ("detokenize", "`POST /detokenize`", ""),
        (
            "generate",
            "`POST /v2/models/{model}/generate` and `/generate_stream`",
            "And those of [generating](#generating), all within `parameters` or beside `text_input`. `max_tokens` is 20 where \
             it is not given; `stream` says of `/generate_stream` whether the text comes in pieces, and is true there.",
        ),
    ];
    let known = weirgate_protocol::openai::known_fields();
    assert_eq!(known.len(), titles.len());
    let mut text = String::new();
    for (fields, (of, title, more)) in known.iter().zip(titles) {
        assert_eq!(fields.of, of);
        writeln!(text, "### {title}\n").unwrap();
        if !more.is_empty() {
            writeln!(text, "{more}\n").unwrap();
        }
        writeln!(text, "| field | | |\n|---|---|---|").unwrap();
        for field in &fields.fields {
            writeln!(text, "| `{}` | {} | {} |", field.name, field.handling, field.says).unwrap();
        }
        text.push('\n');
    }
    check("openai.md", text.strip_suffix('\n').unwrap());
}
