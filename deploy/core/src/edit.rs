//! Changes one field in the text of a manifest, and nothing else of it: comments and layout are the user's.

use serde_json::Value;

use crate::documents::documents;

const FIELD: &str = "canaryTrafficPercent";
const BY_HAND: &str = "edit the file by hand: only block style can be edited here, with spec, predictor and \
                       canaryTrafficPercent each on its own line";

/// Sets `spec.predictor.canaryTrafficPercent` of a document, counted from 1 without empty ones, or takes it out.
pub fn set_canary_percent(text: &str, document: usize, percent: Option<u8>) -> Result<String, String> {
    if let Some(percent) = percent.filter(|percent| *percent > 100) {
        return Err(format!("{percent} % can't be set: allowed are 0 to 100"));
    }
    let mut wanted = documents(text)?;
    let count = wanted.len();
    let chosen = document.checked_sub(1).and_then(|index| wanted.get_mut(index));
    let chosen = chosen.ok_or_else(|| format!("there is no document {document}: the file holds {count}"))?;
    let predictor = chosen.pointer_mut("/spec/predictor").and_then(Value::as_object_mut);
    let predictor = predictor.ok_or("the document has no spec.predictor")?;
    match percent {
        Some(percent) => drop(predictor.insert(FIELD.to_owned(), Value::from(percent))),
        None => drop(predictor.remove(FIELD)),
    }

    let edited = edit(text, document, percent).ok_or(BY_HAND)?;
    // Whatever the lines looked like: what they mean now decides.
    if documents(&edited).is_ok_and(|found| found == wanted) { Ok(edited) } else { Err(BY_HAND.to_owned()) }
}

fn edit(text: &str, document: usize, percent: Option<u8>) -> Option<String> {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let (start, end) = bounds(&lines, document)?;
    let spec = find(&lines, start, end, "spec", 0)?;
    let (spec_end, spec_indent) = block(&lines, spec, end)?;
    let predictor = find(&lines, spec + 1, spec_end, "predictor", spec_indent)?;
    let (predictor_end, indent) = block(&lines, predictor, spec_end)?;
    let field = find(&lines, predictor + 1, predictor_end, FIELD, indent);

    let changed: String;
    match (field, percent) {
        (None, None) => {}
        (Some(field), None) => drop(lines.remove(field)),
        (Some(field), Some(percent)) => {
            changed = with_value(lines[field], percent)?;
            lines[field] = &changed;
        }
        (None, Some(percent)) => {
            let line_end = if lines[predictor].ends_with("\r\n") { "\r\n" } else { "\n" };
            changed = format!("{}{FIELD}: {percent}{line_end}", " ".repeat(indent));
            lines.insert(predictor + 1, &changed);
        }
    }
    Some(lines.concat())
}

/// The lines of a document: the first, and the one after the last.
fn bounds(lines: &[&str], document: usize) -> Option<(usize, usize)> {
    let marks = |line: &str| line.starts_with("---") && line[3..].starts_with([' ', '\t', '\r', '\n']) || line == "---";
    let starts = lines.iter().enumerate().filter(|(index, line)| *index > 0 && marks(line)).map(|(index, _)| index);
    let starts: Vec<usize> = [0].into_iter().chain(starts).chain([lines.len()]).collect();
    let mut seen = 0;
    for pair in starts.windows(2) {
        let holds = documents(&lines[pair[0]..pair[1]].concat()).ok()?.len();
        seen += holds;
        if seen >= document {
            return (holds == 1).then_some((pair[0], pair[1]));
        }
    }
    None
}

/// The line on which a key stands at this indentation.
fn find(lines: &[&str], start: usize, end: usize, key: &str, indent: usize) -> Option<usize> {
    (start..end).find(|index| {
        let line = lines[*index];
        indent_of(line) == Some(indent) && line[indent..].strip_prefix(key).is_some_and(|rest| rest.starts_with(':'))
    })
}

/// The end of the block that hangs below a key, and the indentation of what is in it.
fn block(lines: &[&str], key: usize, end: usize) -> Option<(usize, usize)> {
    let outer = indent_of(lines[key])?;
    let content = |index: &usize| indent_of(lines[*index]).is_some();
    let indent = indent_of(lines[(key + 1..end).find(content)?])?;
    let after = (key + 1..end).find(|index| indent_of(lines[*index]).is_some_and(|indent| indent <= outer));
    (indent > outer).then(|| (after.unwrap_or(end), indent))
}

/// Spaces before the content of a line; none if that is empty or a comment.
fn indent_of(line: &str) -> Option<usize> {
    let content = line.trim_start_matches(' ');
    (!content.trim().is_empty() && !content.starts_with('#')).then(|| line.len() - content.len())
}

/// The line with another value, its comment and spaces kept.
fn with_value(line: &str, percent: u8) -> Option<String> {
    let (key, rest) = line.split_once(':')?;
    let value = rest.trim_start_matches([' ', '\t']);
    let space = &rest[..rest.len() - value.len()];
    let after = &value[value.find(char::is_whitespace).unwrap_or(value.len())..];
    let space = if space.is_empty() { " " } else { space };
    Some(format!("{key}:{space}{percent}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "\
# of the team
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: digits}   # short
spec:

  predictor:   # what answers
    # the model
    model:
      canaryTrafficPercent: 5 # not this one
      storageUri: digits
";

    fn shapes() -> Vec<String> {
        let other = "kind: Secret\nspec:\n  predictor:\n    canaryTrafficPercent: 1\n";
        let wide = PLAIN.replace("\n  ", "\n      ");
        vec![
            PLAIN.to_owned(),
            wide,
            PLAIN.replace('\n', "\r\n"),
            PLAIN.trim_end().to_owned(),
            format!("{PLAIN}status: {{}}\n"),
            format!("{PLAIN}  canary: []\nstatus: {{}}\n"),
            format!("---\n{PLAIN}...\n---\n# nothing\n---\n{other}"),
            format!("--- # first\n{PLAIN}--- \n{other}"),
        ]
    }

    #[test]
    fn what_is_put_in_can_be_changed_and_taken_out_again() {
        for text in shapes() {
            for percent in [0, 7, 100] {
                let set = set_canary_percent(&text, 1, Some(percent)).unwrap();
                let line = format!("canaryTrafficPercent: {percent}");
                let added: Vec<_> = set.lines().filter(|line| !text.lines().any(|old| old == *line)).collect();
                assert_eq!(added.len(), 1, "{set}");
                assert_eq!(added[0].trim(), line, "{set}");
                assert_eq!(set.contains("\r\n"), text.contains("\r\n"));

                let raised = set_canary_percent(&set, 1, Some(33)).unwrap();
                assert_eq!(
                    raised,
                    set.replacen(&format!("{line}{}", end(&set)), &format!("canaryTrafficPercent: 33{}", end(&set)), 1)
                );
                assert_eq!(set_canary_percent(&raised, 1, None).unwrap(), text);
            }
            assert_eq!(set_canary_percent(&text, 1, None).unwrap(), text);
        }
    }

    fn end(text: &str) -> &str {
        if text.contains("\r\n") { "\r\n" } else { "\n" }
    }

    #[test]
    fn comments_stay() {
        let text = PLAIN.replace("    # the model", "    canaryTrafficPercent:   15   # since Monday\n    # the model");
        let set = set_canary_percent(&text, 1, Some(20)).unwrap();
        assert_eq!(set, text.replace("  15  ", "  20  "));
        assert_eq!(set_canary_percent(&text, 1, None).unwrap(), PLAIN);
    }

    #[test]
    fn of_several_documents_the_one_that_is_meant() {
        let text = format!("{PLAIN}---\n---\n# empty\n---\n{PLAIN}---\n{PLAIN}");
        let set = set_canary_percent(&text, 2, Some(9)).unwrap();
        let with = set_canary_percent(PLAIN, 1, Some(9)).unwrap();
        assert_eq!(set, format!("{PLAIN}---\n---\n# empty\n---\n{with}---\n{PLAIN}"));
        let missing = set_canary_percent(&text, 4, Some(9));
        assert_eq!(missing, Err("there is no document 4: the file holds 3".to_owned()));
        assert!(set_canary_percent(&text, 0, Some(9)).is_err());
    }

    #[test]
    fn what_can_not_be_edited_safely_is_left_to_people() {
        let json = r#"{"kind": "InferenceService", "spec": {"predictor": {"model": {}}}}"#;
        let flow = "spec:\n  predictor: {model: {}}\n";
        let open_flow = "spec:\n  predictor: {\n    model: {}}\n";
        let quoted = "\"spec\":\n  predictor:\n    model: {}\n";
        let anchor = "a: &p\n  model: {}\nspec:\n  predictor: *p\n";
        let merge = "b: &b\n  canaryTrafficPercent: 4\nspec:\n  predictor:\n    <<: *b\n    model: {}\n";
        for text in [json, flow, open_flow, quoted, anchor] {
            assert_eq!(set_canary_percent(text, 1, Some(5)), Err(BY_HAND.to_owned()), "{text}");
        }
        assert_eq!(set_canary_percent(merge, 1, None), Err(BY_HAND.to_owned()));
        let deep = "spec:\n  predictor:\n    canaryTrafficPercent:\n      4\n    model: {}\n";
        assert_eq!(set_canary_percent(deep, 1, Some(5)), Err(BY_HAND.to_owned()));
        let none = set_canary_percent("kind: List\nitems: []\n", 1, Some(5));
        assert_eq!(none, Err("the document has no spec.predictor".to_owned()));
        assert!(set_canary_percent(PLAIN, 1, Some(101)).unwrap_err().contains("0 to 100"));
        assert!(set_canary_percent("a: 'b", 1, Some(1)).unwrap_err().contains("can't be read as YAML"));
    }
}
