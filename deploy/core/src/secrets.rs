//! What of a manifest is shown only to those who may change it: values of variables, headers and arguments that look like
//! secrets, and users, passwords and queries of URLs.
//!
//! Names are judged by their words: `--api-key` and `HF_TOKEN` have a secret, `--tokenizer` and `--max-tokens` don't. Values
//! of variables are never shown, whatever their names are: addresses of databases hold passwords, too.

use serde_json::Value;
use weirgate_protocol::remote_url::{HIDDEN, redacted};

use crate::problem::join;

/// A copy of the manifest as it was applied, secrets and all.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const WORDS: [&str; 13] = [
    "apikey",
    "auth",
    "authorization",
    "bearer",
    "cookie",
    "credential",
    "credentials",
    "passphrase",
    "passwd",
    "password",
    "secret",
    "signature",
    "token",
];
/// Before a `key`: other keys are names of things, or paths of files.
const KINDS_OF_KEYS: [&str; 5] = ["access", "account", "api", "private", "secret"];

/// Takes all of it out of a manifest.
pub fn hide(object: &mut Value) {
    if let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
    }
    visit(object, "", &mut |_, text, shown| *text = shown);
}

/// The paths at which something stands for what was taken out: where another text would be shown as this one.
pub(crate) fn hidden(object: &Value) -> Vec<String> {
    let places = |object: &mut Value| {
        let mut places = Vec::new();
        visit(object, "", &mut |path, text, shown| places.push((path.to_owned(), text.clone(), shown)));
        places
    };
    let mut probe = object.clone();
    put_something_else(&mut probe);
    let found = places(&mut object.clone()).into_iter().zip(places(&mut probe));
    let stands = found.filter(|((path, text, _), (.., shown))| {
        // That of a model's URL is told with all else that is wrong there.
        text.contains(HIDDEN) && text == shown && !path.ends_with(".storageUri")
    });
    stands.map(|((path, ..), _)| path).collect()
}

/// Puts another text where something may have been taken out.
fn put_something_else(value: &mut Value) {
    match value {
        Value::String(text) => *text = text.replace(HIDDEN, "x"),
        Value::Array(items) => items.iter_mut().for_each(put_something_else),
        Value::Object(fields) => fields.values_mut().for_each(put_something_else),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A command as it may be shown.
pub fn shown_words(words: &[String]) -> Vec<String> {
    let mut hides = false;
    let each = words.iter().map(|word| {
        let is_value = std::mem::take(&mut hides) && !word.starts_with('-');
        hides = word.starts_with('-') && !word.contains('=') && is_secret(word);
        if is_value { HIDDEN.to_owned() } else { shown_word(word) }
    });
    each.collect()
}

/// Calls `at` for each text that may hold a secret, with its path and with what may be shown of it.
fn visit(value: &mut Value, path: &str, at: &mut impl FnMut(&str, &mut String, String)) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = join(path, name);
                match (name.as_str(), value) {
                    ("env", Value::Array(variables)) => named(variables, &path, |_| true, at),
                    ("httpHeaders", Value::Array(headers)) => named(headers, &path, is_secret, at),
                    ("command" | "args", Value::Array(words)) => commands(words, &path, at),
                    ("path", Value::String(text)) => {
                        let shown = without_query(text);
                        at(&path, text, shown);
                    }
                    ("storageUri" | "uri", Value::String(uri)) => {
                        let shown = redacted(uri);
                        at(&path, uri, shown);
                    }
                    (_, value) => visit(value, &path, at),
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                visit(item, &format!("{path}[{index}]"), at);
            }
        }
        Value::String(text) => {
            let shown = without_user(text);
            at(path, text, shown);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Things with a name and a value.
fn named(
    items: &mut [Value],
    path: &str,
    is_secret: impl Fn(&str) -> bool,
    at: &mut impl FnMut(&str, &mut String, String),
) {
    for (index, item) in items.iter_mut().enumerate() {
        let secret = item.get("name").and_then(Value::as_str).is_some_and(&is_secret);
        if let Some(Value::String(value)) = item.get_mut("value") {
            let shown = if secret { HIDDEN.to_owned() } else { without_user(value) };
            at(&format!("{path}[{index}].value"), value, shown);
        }
    }
}

fn commands(words: &mut [Value], path: &str, at: &mut impl FnMut(&str, &mut String, String)) {
    let texts: Vec<String> = words.iter().map(|word| word.as_str().unwrap_or_default().to_owned()).collect();
    for (index, (word, shown)) in words.iter_mut().zip(shown_words(&texts)).enumerate() {
        if let Value::String(word) = word {
            at(&format!("{path}[{index}]"), word, shown);
        }
    }
}

/// One word of a command, which may be a script.
fn shown_word(word: &str) -> String {
    // `Authorization: Bearer …` is one word, and in a script it ends who knows where.
    if let Some((name, _)) = word.split_once(": ")
        && is_secret(name.rsplit(|c: char| c.is_whitespace() || matches!(c, '"' | '\'')).next().unwrap_or_default())
    {
        return format!("{name}: {HIDDEN}");
    }
    let mut shown = String::with_capacity(word.len());
    let mut hides = false;
    for part in word.split_inclusive(|c: char| c.is_whitespace() || c == ';') {
        let text = part.trim_end_matches(|c: char| c.is_whitespace() || c == ';');
        let is_value = std::mem::take(&mut hides) && !text.starts_with('-');
        match text.split_once('=') {
            _ if is_value && !text.is_empty() => shown.push_str(HIDDEN),
            Some((name, value)) if is_secret(name) && !value.is_empty() => {
                shown.extend([name, "=", HIDDEN]);
            }
            _ => {
                shown.push_str(&without_user(text));
                // The value of a flag in a script is its next word; that of one that stands alone is looked for elsewhere.
                hides =
                    (text.starts_with('-') && !text.contains('=') && is_secret(text)) || (is_value && text.is_empty());
            }
        }
        shown.push_str(&part[text.len()..]);
    }
    shown
}

/// Whether a name has a word that secrets are called by.
fn is_secret(name: &str) -> bool {
    let words = words(name);
    let key = |pair: &[String]| pair[1] == "key" && KINDS_OF_KEYS.contains(&pair[0].as_str());
    words.iter().any(|word| WORDS.contains(&word.as_str())) || words.windows(2).any(key)
}

/// `apiKey`, `API_KEY` and `--api-key` are `api` and `key`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && lower) {
            words.push(String::new());
        }
        lower = c.is_lowercase();
        if let Some(last) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            last.extend(c.to_lowercase());
        }
    }
    words
}

/// A probe's path without its query.
fn without_query(path: &str) -> String {
    path.split_once('?').map_or_else(|| path.to_owned(), |(path, _)| format!("{path}?{HIDDEN}"))
}

/// A text without the users and passwords of URLs in it.
fn without_user(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        let end = after.find(|c: char| c == '/' || c == '"' || c == '\'' || c.is_whitespace()).unwrap_or(after.len());
        let (authority, behind) = after.split_at(end);
        shown.extend([before, "://"]);
        match authority.rsplit_once('@') {
            Some((_, host)) => shown.extend([HIDDEN, "@", host]),
            None => shown.push_str(authority),
        }
        rest = behind;
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_of_secrets() {
        for name in [
            "--api-key",
            "API_KEY",
            "apiKey",
            "X-Api-Key",
            "HF_TOKEN",
            "Authorization",
            "proxy-authorization",
            "Cookie",
            "--db.password",
            "AWS_SECRET_ACCESS_KEY",
            "apikey",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in
            ["--tokenizer", "--max-tokens", "--max-num-batched-tokens", "MONKEY", "--ssl-keyfile", "key", "Accept"]
        {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn commands_are_shown_without_their_secrets() {
        for (words, expected) in [
            (&["serve", "--api-key", "hush", "--port", "1"][..], &["serve", "--api-key", "***", "--port", "1"][..]),
            (&["serve", "--api-key=hush", "--token", "--x"], &["serve", "--api-key=***", "--token", "--x"]),
            (&["env", "HF_TOKEN=hush", "serve"], &["env", "HF_TOKEN=***", "serve"]),
            (&["curl", "-H", "Authorization: Bearer hush"], &["curl", "-H", "Authorization: ***"]),
            (&["--db", "postgres://u:hush@h/a?b"], &["--db", "postgres://***@h/a?b"]),
            (&["--tokenizer=a", "--max-tokens", "5"], &["--tokenizer=a", "--max-tokens", "5"]),
            (
                &["sh", "-c", "export A_TOKEN=hush;\nexec serve --password  hush --port $(PORT)"],
                &["sh", "-c", "export A_TOKEN=***;\nexec serve --password  *** --port $(PORT)"],
            ),
            (&["sh", "-c", "curl -H 'X-Api-Key: hush' a"], &["sh", "-c", "curl -H 'X-Api-Key: ***"]),
        ] {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(shown_words(&words), expected, "{words:?}");
            assert_eq!(shown_words(&shown_words(&words)), expected, "what is shown is shown as it is");
        }
    }

    #[test]
    fn a_manifest_without_its_secrets_says_where_they_were() {
        let container = json!({
            "args": ["--token=hush"],
            "env": [{ "name": "PLAIN", "value": "hush" }, { "name": "EMPTY" }],
            "readinessProbe": { "httpGet": { "path": "/a?key=hush", "httpHeaders": [
                { "name": "Authorization", "value": "Bearer hush" }, { "name": "Accept", "value": "text/html" },
            ]}},
        });
        let mut object = json!({
            "metadata": { "annotations": {
                LAST_APPLIED: "hush", "docs": "https://me:hush@wiki/a?b#c", "stars": "***", "more": "--x=***",
            }},
            "spec": { "predictor": { "containers": [container], "model": { "storageUri": "https://h/m?sig=hush" } } },
        });
        assert!(hidden(&object).is_empty());
        hide(&mut object);
        let text = object.to_string();
        assert!(!text.contains("hush") && text.contains("text/html"), "{text}");
        assert_eq!(object["metadata"]["annotations"]["docs"], "https://***@wiki/a?b#c");
        let container = "spec.predictor.containers[0]";
        let expected = [
            "metadata.annotations.docs".to_owned(),
            format!("{container}.args[0]"),
            format!("{container}.env[0].value"),
            format!("{container}.readinessProbe.httpGet.httpHeaders[0].value"),
            format!("{container}.readinessProbe.httpGet.path"),
        ];
        assert_eq!(hidden(&object), expected);
        let again = object.clone();
        hide(&mut object);
        assert_eq!(object, again);
    }
}
