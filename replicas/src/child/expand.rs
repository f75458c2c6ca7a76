//! `$(NAME)` in arguments and variables, as Kubernetes fills it in.

/// Fills in `$(NAME)` where the variable is known; what is not known stays, and `$$` is `$`.
pub(super) fn expand<'a>(text: &str, known: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        rest = after;
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = after.strip_prefix('(').and_then(|after| after.split_once(')')) {
            match known(name) {
                Some(value) => expanded.push_str(value),
                None => expanded.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            expanded.push('$');
        }
    }
    expanded.push_str(rest);
    expanded
}

/// The variables of a process in their order: those before one may be named in it. `ours` can't be changed.
pub(super) fn variables(written: &[(String, String)], ours: Vec<(String, String)>) -> Vec<(String, String)> {
    let set: Vec<String> = ours.iter().map(|(name, _)| name.clone()).collect();
    let mut variables = ours;
    for (name, value) in written.iter().filter(|(name, _)| !set.contains(name)) {
        let value = expand(value, |name| find(&variables, name));
        variables.push((name.clone(), value));
    }
    variables
}

/// The value of a variable; the last of a name counts.
pub(super) fn find<'a>(variables: &'a [(String, String)], name: &str) -> Option<&'a str> {
    variables.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn references_are_filled_in_as_kubernetes_does() {
        let known = pairs(&[("A", "1"), ("EMPTY", "")]);
        for (text, expected) in [
            ("$(A)", "1"),
            ("--a=$(A),$(A)", "--a=1,1"),
            ("$(EMPTY)", ""),
            ("$(NONE)", "$(NONE)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$A ${A} $", "$A ${A} $"),
            ("$(A", "$(A"),
            ("", ""),
        ] {
            assert_eq!(expand(text, |name| find(&known, name)), expected, "{text}");
        }
    }

    #[test]
    fn a_variable_may_name_those_before_it_and_ours_hold() {
        let written = pairs(&[("URL", "http://127.0.0.1:$(PORT)"), ("PORT", "1"), ("B", "$(URL)/$(C)"), ("C", "2")]);
        let found = variables(&written, pairs(&[("PORT", "8080")]));
        let url = "http://127.0.0.1:8080";
        assert_eq!(found, pairs(&[("PORT", "8080"), ("URL", url), ("B", "http://127.0.0.1:8080/$(C)"), ("C", "2")]));
    }
}
