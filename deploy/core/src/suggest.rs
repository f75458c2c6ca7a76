//! "did you mean": the known word that a mistyped one is nearest to.

/// Longer words are no slip of the finger, and comparing them takes time.
const LONGEST: usize = 64;

/// The nearest known word, if it is near enough to be what was meant. Upper and lower case count as the same letter.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let allowed = (word.len() / 3).clamp(1, 3);
    known
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= allowed)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, taken out or changed to turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().flat_map(char::to_lowercase).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_nonsense_finds_none() {
        let known = ["minReplicas", "maxReplicas", "timeout", "batcher"];
        let cases = [
            ("minReplica", Some("minReplicas")),
            ("minreplicas", Some("minReplicas")),
            ("min_replicas", Some("minReplicas")),
            ("timeOut", Some("timeout")),
            ("tmeout", Some("timeout")),
            ("bather", Some("batcher")),
            ("t", None),
            ("gpu", None),
            ("", None),
        ];
        for (word, expected) in cases {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
        assert_eq!(nearest(&"minReplicas".repeat(9_000), known), None);
    }

    #[test]
    fn distance_counts_single_letters() {
        let cases = [("", "abc", 3), ("abc", "abc", 0), ("abc", "ABD", 1), ("kitten", "sitting", 3)];
        for (a, b, expected) in cases {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
