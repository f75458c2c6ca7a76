//! A template's text, as the engine can read it.

/// Hugging Face marks what the model itself wrote by `{% generation %}` … `{% endgeneration %}`, for training. The text
/// between is text as any other, so a condition that always holds stands for the tag, on the same line and with the same
/// signs for white space.
pub(super) fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(begin) = rest.find("{%") {
        let (before, tag) = rest.split_at(begin);
        out.push_str(before);
        let Some(end) = tag[2..].find("%}") else {
            rest = tag;
            break;
        };
        let inner = &tag[2..2 + end];
        let (tag, after) = tag.split_at(end + 4);
        let name = inner.trim_matches(|one: char| one == '-' || one == '+' || one.is_whitespace());
        match name {
            "generation" => out.push_str(&tag.replacen(name, "if true", 1)),
            "endgeneration" => out.push_str(&tag.replacen(name, "endif", 1)),
            _ => out.push_str(tag),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_training_become_conditions() {
        let source = "{% if a %}{%- generation -%}\n{{ b }}{%+ endgeneration %}{% endif %}{% set generation = 1 %}{%";
        let expected = "{% if a %}{%- if true -%}\n{{ b }}{%+ endif %}{% endif %}{% set generation = 1 %}{%";
        assert_eq!(without_generation_tags(source), expected);
        // A sign can't end the tag that it begins.
        assert_eq!(without_generation_tags("{%}{%generation%}{%}"), "{%}{%generation%}{%}");
    }
}
