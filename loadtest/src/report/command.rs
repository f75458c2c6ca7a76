//! The command that makes the same run again, from the options that a result keeps.

use serde_json::Value;

use crate::result::Report;

/// What stands for a header's value, which a result does not keep: it may be a secret.
const VALUE: &str = "VALUE";

/// As a shell takes it. Where a header was sent, its value is to be put in by hand.
pub fn again(report: &Report) -> String {
    let url = report.options.get("url").and_then(Value::as_str).unwrap_or(&report.target);
    let flags = report.options.iter().filter(|(name, _)| *name != "url").flat_map(|(name, value)| flags(name, value));
    ["weirgate".to_owned(), "loadtest".to_owned(), quoted(url)].into_iter().chain(flags).collect::<Vec<_>>().join(" ")
}

/// A flag with its value, as often as it was given.
fn flags(name: &str, value: &Value) -> Vec<String> {
    match value {
        Value::Null | Value::Bool(false) => Vec::new(),
        Value::Bool(true) => vec![quoted(&format!("--{name}"))],
        Value::Array(values) => values.iter().flat_map(|value| flags(name, value)).collect(),
        Value::String(header) if name == "header" => vec![flag(name, &format!("{header}: {VALUE}"))],
        Value::String(text) => vec![flag(name, text)],
        other => vec![flag(name, &other.to_string())],
    }
}

fn flag(name: &str, value: &str) -> String {
    let name = quoted(&format!("--{name}"));
    // What begins with a dash would be taken for the next flag.
    let between = if value.starts_with('-') { '=' } else { ' ' };
    format!("{name}{between}{}", quoted(value))
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "-_./:,=@%+".contains(char);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;
    use serde_json::json;

    fn of(options: Value) -> String {
        let options = serde_json::from_value(options).unwrap();
        again(&Report { options, ..fixture::streamed() })
    }

    #[test]
    fn it_is_the_command_with_its_flags() {
        let options = json!({
            "url": "http://a:1/x", "model": "digits", "rate": "200", "seed": 7, "stream": true, "insecure": false,
            "trace": null, "slo": "p99<50ms", "body": ["a b.json", "c.json"], "header": ["x-key"], "expect": ["contains:it's"],
        });
        let expected = "weirgate loadtest http://a:1/x --body 'a b.json' --body c.json --expect 'contains:it'\\''s' \
                        --header 'x-key: VALUE' --model digits --rate 200 --seed 7 --slo 'p99<50ms' --stream";
        assert_eq!(of(options), expected);
    }

    #[test]
    fn a_shell_takes_every_value_as_one_word() {
        let nasty = "-$(x) `y` \"z\" 'q' \\ ;\n&";
        let command = of(json!({ "model": nasty, "path": "" }));
        let words = std::process::Command::new("sh")
            .args(["-c", &format!("weirgate() {{ printf '%s\\0' \"$@\"; }}\n{command}")])
            .output()
            .unwrap();
        let words = String::from_utf8(words.stdout).unwrap();
        let model = format!("--model={nasty}");
        let expected = ["loadtest", "http://127.0.0.1:8080", model.as_str(), "--path", ""];
        assert_eq!(words.split_terminator('\0').collect::<Vec<_>>(), expected);
    }
}
