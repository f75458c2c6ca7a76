//! `$(NAME)` in the words and variables of a container: whether there is something to fill in.

use crate::problem::{Report, quoted};

/// What the gateway sets, whatever a manifest says.
pub(crate) const OURS: [&str; 2] = ["PORT", "WEIRGATE_PORT"];
/// Programs for which `$(NAME)` is a command to run, in what follows a `-c`.
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "ash", "ksh", "zsh"];

/// Warns of names in the words of a command that no variable has. `words`: each with its path.
pub(crate) fn check_words(words: &[(String, &str)], variables: &[&str], report: &mut Report) {
    let program = words.first().map(|(_, word)| word.rsplit('/').next().unwrap_or_default());
    let shell = program.is_some_and(|program| SHELLS.contains(&program));
    let mut script = false;
    for (path, word) in words {
        // In a script only what is written as variables are is meant as one: $(nproc) is a command.
        let meant = |name: &&str| is_name(name) && (!script || !name.contains(|c: char| c.is_ascii_lowercase()));
        let unknown = references(word).filter(meant).filter(|name| !is_known(name, variables));
        warn(path, unknown, "env does not set: add it there, or write $$ for a $ that is meant as such", report);
        script = shell && word.starts_with('-') && word.ends_with('c');
    }
}

/// Warns of names in a variable's value that none before it has, and of variables that are not the manifest's to set.
pub(crate) fn check_variables(variables: &[(&str, &str)], at: &str, report: &mut Report) {
    let names: Vec<&str> = variables.iter().map(|(name, _)| *name).collect();
    for (index, (name, value)) in variables.iter().enumerate() {
        let path = format!("{at}.env[{index}]");
        if OURS.contains(name) {
            let message = "has no effect: the gateway sets it to the port that the replica is to listen on, write \
                           ports[0].containerPort";
            report.warn(&format!("{path}.name"), format!("is {name}, and {message}"));
        }
        let unknown = references(value).filter(|name| is_name(name) && !is_known(name, &names[..index]));
        warn(&format!("{path}.value"), unknown, "no variable before it sets: write that before this one", report);
    }
}

fn warn<'a>(path: &str, unknown: impl Iterator<Item = &'a str>, advice: &str, report: &mut Report) {
    let mut names: Vec<String> = Vec::new();
    for name in unknown.map(|name| quoted(&format!("$({name})"))) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if !names.is_empty() {
        report.warn(path, format!("holds {}, which stays as it is written, for {advice}", names.join(", ")));
    }
}

fn is_known(name: &str, variables: &[&str]) -> bool {
    OURS.contains(&name) || variables.contains(&name)
}

/// As Kubernetes has the names of variables.
fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.bytes().all(allowed)
}

/// What is to be filled in: `NAME` of each `$(NAME)`. `$$` is a `$`, and begins none.
fn references(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (_, after) = rest.split_once('$')?;
            if let Some(after) = after.strip_prefix('$') {
                rest = after;
            } else if let Some((name, after)) = after.strip_prefix('(').and_then(|after| after.split_once(')')) {
                rest = after;
                return Some(name);
            } else {
                rest = after;
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_those_that_are_filled_in() {
        let found = |text| references(text).collect::<Vec<_>>();
        assert_eq!(found("--a=$(A),$(B)"), ["A", "B"]);
        assert_eq!(found("$$(A) $$$(B) $C ${D} $(E"), ["B"]);
        assert_eq!(found("$()$"), [""]);
        assert!(found("").is_empty());
    }

    #[test]
    fn a_script_has_commands_of_its_own() {
        let says = |words: &[&str]| {
            let mut report = Report::new("a.yaml", "document 1");
            let words: Vec<_> = words.iter().map(|word| ("word".to_owned(), *word)).collect();
            check_words(&words, &["A"], &mut report);
            report.into_problems().into_iter().map(|problem| problem.message).collect::<String>()
        };
        assert_eq!(says(&["/bin/bash", "-ec", "exec serve $(nproc) $(cat port) $(A) $(PORT)"]), "");
        assert!(says(&["sh", "-c", "serve $(NOPE)"]).starts_with("holds '$(NOPE)', which stays as it is written"));
        assert!(says(&["serve", "-c", "$(nproc)"]).contains("'$(nproc)'"), "it is no shell");
        assert_eq!(says(&["serve", "$(not a name)"]), "");
    }
}
