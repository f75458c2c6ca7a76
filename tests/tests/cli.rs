//! The command line: exit codes, texts, environment, signals.

#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::process::{Command, Output};

use weirgate_tests::environment::binary;
use weirgate_tests::process::{Folder, run};
use weirgate_tests::{Server, Service};

/// Every flag of `serve`, and its variable.
const FLAGS: [(&str, &str); 31] = [
    ("--tls-cert", "WEIRGATE_TLS_CERT"),
    ("--tls-key", "WEIRGATE_TLS_KEY"),
    ("--tls-client-ca", "WEIRGATE_TLS_CLIENT_CA"),
    ("--api-keys", "WEIRGATE_API_KEYS"),
    ("--jwt-jwks", "WEIRGATE_JWT_JWKS"),
    ("--jwt-issuer", "WEIRGATE_JWT_ISSUER"),
    ("--jwt-audience", "WEIRGATE_JWT_AUDIENCE"),
    ("--jwt-defaults", "WEIRGATE_JWT_DEFAULTS"),
    ("--file", "WEIRGATE_FILE"),
    ("--listen", "WEIRGATE_LISTEN"),
    ("--admin", "WEIRGATE_ADMIN"),
    ("--admin-host", "WEIRGATE_ADMIN_HOST"),
    ("--model-root", "WEIRGATE_MODEL_ROOT"),
    ("--model-url", "WEIRGATE_MODEL_URL"),
    ("--max-model-size", "WEIRGATE_MAX_MODEL_SIZE"),
    ("--model-cache-size", "WEIRGATE_MODEL_CACHE_SIZE"),
    ("--model-control", "WEIRGATE_MODEL_CONTROL"),
    ("--cors-origin", "WEIRGATE_CORS_ORIGIN"),
    ("--state", "WEIRGATE_STATE"),
    ("--max-body", "WEIRGATE_MAX_BODY"),
    ("--max-queued-requests", "WEIRGATE_MAX_QUEUED_REQUESTS"),
    ("--max-queued-bytes", "WEIRGATE_MAX_QUEUED_BYTES"),
    ("--max-connections", "WEIRGATE_MAX_CONNECTIONS"),
    ("--client-timeout", "WEIRGATE_CLIENT_TIMEOUT"),
    ("--drain-delay", "WEIRGATE_DRAIN_DELAY"),
    ("--drain-timeout", "WEIRGATE_DRAIN_TIMEOUT"),
    ("--allow-commands", "WEIRGATE_ALLOW_COMMANDS"),
    ("--explain-last", "WEIRGATE_EXPLAIN_LAST"),
    ("--takeover-timeout", "WEIRGATE_TAKEOVER_TIMEOUT"),
    ("--threads", "WEIRGATE_THREADS"),
    ("--log", "WEIRGATE_LOG"),
];

fn weirgate(arguments: &[&str]) -> Output {
    run(Command::new(binary()).args(arguments))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a manifest is refused with: exit code 2, and nothing served.
fn refused(manifest: &str) -> String {
    let folder = Folder::new();
    let file = folder.file("wrong.yaml", manifest);
    let output =
        weirgate(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "-f", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    text(&output.stderr)
}

#[test]
fn help_names_every_flag_and_its_variable() {
    let output = weirgate(&["serve", "--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = text(&output.stdout);
    for (flag, variable) in FLAGS {
        assert!(help.contains(&format!("{flag} <")), "{flag} is not in the help:\n{help}");
        assert!(help.contains(&format!("[env: {variable}=")), "{variable} is not in the help:\n{help}");
    }
    let flags = help.lines().filter(|line| line.trim_start().starts_with('-') && line.contains(" <"));
    assert_eq!(
        flags.count(),
        FLAGS.len() + 1,
        "a flag is not in this test's list (--log-format is the one more):\n{help}"
    );
    assert!(help.lines().all(|line| line.len() <= 100), "a line is longer than 100 characters:\n{help}");
}

#[test]
fn help_and_version_exit_with_0() {
    let help = weirgate(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).contains("serve"), "{help:?}");
    assert!(text(&help.stdout).contains("Exit codes: 0 done, 1 failed, 2 wrong usage"), "{help:?}");
    let version = weirgate(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert!(text(&version.stdout).starts_with("weirgate "), "{version:?}");
}

#[test]
fn wrong_usage_exits_with_2_and_says_what() {
    let folder = Folder::new();
    let file = folder.file("good.yaml", &Service::new("identity").yaml());
    let file = file.to_str().unwrap();
    let cases: [(&[&str], &str); 18] = [
        (&[], "Usage"),
        (&["no-such-command"], "no-such-command"),
        (&["serve", "-f", file, "--no-such-flag"], "--no-such-flag"),
        (&["serve", "-f", file, "--listen", "here"], "--listen"),
        (&["serve", "-f", file, "--max-body", "5MB"], "'5MB' is not a size"),
        (&["serve", "-f", file, "--drain-delay=-1"], "--drain-delay"),
        (&["serve", "-f", file, "--max-queued-requests", "0"], "--max-queued-requests"),
        (&["serve", "-f", file, "--log", "weirgate=loud"], "--log is 'weirgate=loud'"),
        (&["serve", "-f", file, "--log", "inof"], "'inof' is no level"),
        (&["serve", "-f", file, "--threads", "0"], "'0' is not a whole number above 0: give one such as 4"),
        (&["serve", "-f", file, "--max-connections", "many"], "'many' is not a whole number above 0"),
        (&["serve", "-f", file, "--listen", "localhost:28099"], "'localhost:28099' is not an address: give IP:PORT"),
        (&["serve", "-f", file, "--listen", "80"], "such as 127.0.0.1:8080"),
        (&["serve", "-f", file, "--client-timeout", "-1"], "'-1' is not a number of seconds above 0"),
        (&["serve", "-f", file, "--drain-timeout", "-1"], "'-1' is not a number of seconds: give one from 0 on"),
        (&["serve", "-f", file, "--model-root", "/no/such/folder"], "--model-root is '/no/such/folder'"),
        (&["serve", "-f", file, "--admin-host", "a:b:c"], "'a:b:c' is not the name of a host"),
        (&["apply", "-f", file, "--timeout", "-1"], "'-1' is not a number of seconds"),
    ];
    for (arguments, expected) in cases {
        let output = weirgate(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(text(&output.stderr).contains(expected), "{arguments:?}: {output:?}");
    }
}

#[test]
fn a_wrong_manifest_exits_with_2_and_the_fields_path() {
    let good = Service::new("identity").yaml();
    let text = refused(&good.replace("  predictor:\n", "  predictor:\n    containerConcurrency: -1\n"));
    assert!(text.contains("spec.predictor.containerConcurrency"), "{text}");
    let text = refused(&good.replace("        name: onnx\n", "        name: [onnx]\n"));
    assert!(text.contains("spec.predictor.model.modelFormat.name"), "{text}");
}

#[test]
fn every_problem_of_every_manifest_is_told_at_once() {
    let wrong = Service::new("identity").yaml().replace("name: onnx", "name: 5");
    let negative = Service::new("slow").yaml().replace("  predictor:\n", "  predictor:\n    timeout: 0\n");
    let text = refused(&format!("{wrong}---\n{negative}"));
    assert!(text.contains("modelFormat.name") && text.contains("spec.predictor.timeout"), "{text}");
}

#[test]
fn a_name_claimed_twice_exits_with_2_and_names_both() {
    let text =
        refused(&format!("{}---\n{}", Service::new("identity").yaml(), Service::new("slow").named("identity").yaml()));
    assert!(text.contains("claimed twice") && text.contains("document 1") && text.contains("document 2"), "{text}");
}

#[test]
fn a_missing_file_exits_with_2_and_its_name() {
    let output = weirgate(&["serve", "-f", "no/such/file.yaml"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("no/such/file.yaml"), "{output:?}");
}

/// Of a file that is not there the flag is told that names it.
#[test]
fn a_file_that_is_missing_is_told_with_its_flag() {
    let folder = Folder::new();
    let state = folder.folder("state");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--state", state.to_str().unwrap()];
    let there = folder.file("there.pem", "");
    let there = there.to_str().unwrap();
    let cases: [(&[&str], &str, i32); 6] = [
        (&["--api-keys", "/no/file"], "/no/file can't be read: No such file or directory (os error 2) (--api-keys)", 1),
        (&["--tls-cert", "/no/file", "--tls-key", there], "(--tls-cert)", 1),
        (&["--tls-cert", there, "--tls-key", there], "(--tls-cert)", 1),
        (&["--tls-cert", "/no/cert", "--tls-key", there, "--tls-client-ca", "/no/file"], "(--tls-c", 1),
        (&["--jwt-jwks", "/no/file", "--jwt-issuer", "a", "--jwt-audience", "b"], "(--jwt-jwks)", 1),
        (&["-f", "/no/file"], "/no/file: can't be read: No such file or directory (os error 2) (-f)", 2),
    ];
    for (arguments, expected, code) in cases {
        let output = weirgate(&[&serve[..], arguments].concat());
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        assert!(told.contains(expected), "{arguments:?}: {told}");
        assert_eq!(told.matches("error").count() - told.matches("os error").count(), 1, "once: {told}");
    }
    for command in ["apply", "validate", "delete"] {
        let told = text(&weirgate(&[command, "-f", "/no/file"]).stderr);
        assert!(told.contains("(os error 2) (-f)"), "{command}: {told}");
    }
}

/// What it is for, and what is missing.
#[test]
fn a_replica_that_is_started_by_hand_says_what_it_needs() {
    let folder = Folder::new();
    let command = Service::passed("a").field("containers", serde_json::json!([{ "name": "a", "command": ["serve"] }]));
    let file = folder.file("command.yaml", &command.yaml());
    let file = file.to_str().unwrap();
    let cases: [(&[&str], &[&str]); 4] = [
        (
            &["replica"],
            &["--file <PATH>", "--listen <WHERE>", "for a gateway that passes calls to it", "isolation: process"],
        ),
        (&["replica", "-f", file], &["--listen <WHERE>", "where that gateway reaches it (--listen)"]),
        (&["replica", "-f", "/no/file", "--listen", "127.0.0.1:0"], &["/no/file: can't be read", "(-f)"]),
        (
            &["replica", "-f", file, "--listen", "127.0.0.1:0"],
            &["spec.predictor.containers is not run here", "weirgate serve -f runs all"],
        ),
    ];
    for (arguments, parts) in cases {
        let output = weirgate(arguments);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
        for part in parts {
            assert!(told.contains(part), "{arguments:?}: {part} is missing: {told}");
        }
    }
}

#[test]
fn a_port_in_use_exits_with_1_and_names_flag_and_address() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = Folder::new();
    let file = folder.file("service.yaml", &Service::new("identity").yaml());
    let (file, state) = (file.to_str().unwrap(), folder.folder("state"));
    let state = state.to_str().unwrap();
    for (flag, other) in [("--listen", "--admin"), ("--admin", "--listen")] {
        let output = weirgate(&["serve", "-f", file, "--state", state, flag, &address, other, "127.0.0.1:0"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let text = text(&output.stderr);
        assert!(text.contains(&address) && text.contains(flag), "{text}");
    }
}

#[tokio::test]
async fn variables_work_like_flags_and_flags_win() {
    let small = |start: weirgate_tests::server::Start| start.variable("WEIRGATE_MAX_BODY", "1KiB");
    let body = format!("{{{}}}", " ".repeat(2_000));
    for (start, status) in [
        (small(Server::with([Service::new("identity")])), 413),
        (small(Server::with([Service::new("identity")])).flag("--max-body", "1MiB"), 400),
    ] {
        let server = start.start().await;
        let mut client = weirgate_tests::Http1::connect(server.data).await;
        let reply = client.send(weirgate_tests::calls::post_text("identity", body.clone())).await;
        assert_eq!(reply.status, status, "{reply:?}");
    }
}

#[test]
fn a_manifest_may_come_by_variable() {
    let output = run(Command::new(binary()).arg("serve").env("WEIRGATE_FILE", "no/a.yaml:no/b.yaml"));
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let text = text(&output.stderr);
    assert!(text.contains("no/a.yaml") && text.contains("no/b.yaml"), "{text}");
}

#[tokio::test]
async fn sigterm_and_sigint_exit_with_0() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start([Service::new("identity")]).await;
        server.signal(signal);
        let status = server.ended().await;
        assert_eq!(status.code(), Some(0), "SIG{signal}: {status}\n{}", server.log());
    }
}
