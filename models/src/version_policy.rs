//! `version_policy` of Triton's `config.pbtxt`: which version folders are served.

use crate::text_format::{Field, Value};

/// Which version folders are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionPolicy {
    /// So many of the newest.
    Latest(usize),
    All,
    /// These numbers.
    Specific(Vec<u64>),
}

/// What is served where nothing is said.
impl Default for VersionPolicy {
    fn default() -> Self {
        VersionPolicy::Latest(1)
    }
}

impl VersionPolicy {
    /// Reads the value of `version_policy`.
    pub fn read(value: &Value<'_>) -> Result<VersionPolicy, String> {
        let [Field { name: kind, value, .. }] = value.fields().unwrap_or_default() else {
            return Err(not_understood());
        };
        let fields = value.fields().ok_or_else(not_understood)?;
        match (*kind, fields) {
            ("all", []) => Ok(VersionPolicy::All),
            ("latest", []) => Ok(VersionPolicy::default()),
            ("latest", [Field { name: "num_versions", value, .. }]) => {
                Ok(VersionPolicy::Latest(usize::try_from(number(value)?).unwrap_or(usize::MAX)))
            }
            ("specific", [_, ..]) => Ok(VersionPolicy::Specific(versions(fields)?)),
            _ => Err(not_understood()),
        }
    }

    /// The numbers to serve of those that there are, in their order. Each asked for must be there.
    pub fn choose(&self, numbers: &[u64]) -> Result<Vec<u64>, String> {
        match self {
            VersionPolicy::All => Ok(numbers.to_vec()),
            VersionPolicy::Latest(count) => Ok(numbers.iter().copied().take(*count).collect()),
            VersionPolicy::Specific(wanted) => {
                if let Some(missing) = wanted.iter().find(|wanted| !numbers.contains(wanted)) {
                    return Err(format!("version_policy asks for version {missing}, which has no folder"));
                }
                Ok(numbers.iter().copied().filter(|number| wanted.contains(number)).collect())
            }
        }
    }
}

/// `versions: [1, 3]`, or `versions: 1 versions: 3`.
fn versions(fields: &[Field<'_>]) -> Result<Vec<u64>, String> {
    let mut numbers = Vec::new();
    for field in fields {
        match &field.value {
            _ if field.name != "versions" => return Err(not_understood()),
            Value::List(values) => {
                for value in values {
                    numbers.push(number(value)?);
                }
            }
            value => numbers.push(number(value)?),
        }
    }
    if numbers.is_empty() { Err(not_understood()) } else { Ok(numbers) }
}

fn number(value: &Value<'_>) -> Result<u64, String> {
    let text = value.text().unwrap_or("{…}");
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("version_policy: '{text}' is no number of versions: give whole numbers above 0"))
}

fn not_understood() -> String {
    "version_policy is not understood: give { all {} }, { latest { num_versions: N } } or { specific { versions: [N] } }"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text_format::parse;

    fn read(text: &str) -> Result<VersionPolicy, String> {
        VersionPolicy::read(&parse(text).unwrap()[0].value)
    }

    #[test]
    fn tritons_ways_of_writing_it() {
        for (text, policy) in [
            ("version_policy: { all { }}", VersionPolicy::All),
            ("version_policy { latest { num_versions : 3 } }", VersionPolicy::Latest(3)),
            ("version_policy: { latest: {} }", VersionPolicy::Latest(1)),
            ("version_policy: { specific: { versions: [1, 3] }}", VersionPolicy::Specific(vec![1, 3])),
            ("version_policy { specific { versions: 1 versions: 3 } }", VersionPolicy::Specific(vec![1, 3])),
        ] {
            assert_eq!(read(text), Ok(policy), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_says_so() {
        for text in [
            "version_policy: all",
            "version_policy { }",
            "version_policy { all {} latest {} }",
            "version_policy { all { num_versions: 1 } }",
            "version_policy { latest { num_versions: 0 } }",
            "version_policy { latest { num_versions: two } }",
            "version_policy { latest { versions: 2 } }",
            "version_policy { specific { } }",
            "version_policy { specific { versions: [] } }",
            "version_policy { newest { } }",
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains("version_policy"), "{text}: {error}");
        }
    }

    #[test]
    fn a_version_that_is_asked_for_must_be_there() {
        let numbers = [7, 3, 1];
        assert_eq!(VersionPolicy::Latest(2).choose(&numbers), Ok(vec![7, 3]));
        assert_eq!(VersionPolicy::All.choose(&numbers), Ok(vec![7, 3, 1]));
        assert_eq!(VersionPolicy::Specific(vec![1, 7]).choose(&numbers), Ok(vec![7, 1]));
        assert!(VersionPolicy::Specific(vec![2]).choose(&numbers).unwrap_err().contains("version 2"));
    }
}
