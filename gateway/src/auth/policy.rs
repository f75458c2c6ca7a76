//! What a caller may use, as the file of keys and the claims of tokens write it.

use serde::{Deserialize, Deserializer};
use weirgate_protocol::Priority;
use weirgate_router::limits::{Allowance, Rate};

use crate::config::parse_size;

/// The services a caller may use, and how much of them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Policy {
    /// None: not said.
    pub services: Option<Vec<Pattern>>,
    #[serde(deserialize_with = "positive")]
    pub requests_per_second: Option<f64>,
    /// Requests at once after a pause; by default those of one second.
    #[serde(deserialize_with = "positive")]
    pub burst: Option<f64>,
    pub max_concurrent: Option<usize>,
    #[serde(deserialize_with = "positive")]
    pub tokens_per_minute: Option<f64>,
    /// Bytes of a request's body.
    #[serde(deserialize_with = "size")]
    pub max_body: Option<usize>,
    #[serde(deserialize_with = "priority")]
    pub priority: Option<Priority>,
    /// May ask why a call went where it went.
    pub explain: Option<bool>,
}

impl Policy {
    /// What is not said here is as `other` says.
    pub fn or(self, other: &Policy) -> Policy {
        // A burst belongs to its rate.
        let burst = if self.requests_per_second.is_some() { self.burst } else { self.burst.or(other.burst) };
        Policy {
            services: self.services.or_else(|| other.services.clone()),
            requests_per_second: self.requests_per_second.or(other.requests_per_second),
            burst,
            max_concurrent: self.max_concurrent.or(other.max_concurrent),
            tokens_per_minute: self.tokens_per_minute.or(other.tokens_per_minute),
            max_body: self.max_body.or(other.max_body),
            priority: self.priority.or(other.priority),
            explain: self.explain.or(other.explain),
        }
    }

    pub fn allowance(&self) -> Allowance {
        let requests =
            self.requests_per_second.map(|rate| Rate { per_second: rate, burst: self.burst.unwrap_or(rate) });
        let tokens = self.tokens_per_minute.map(|rate| Rate { per_second: rate / 60.0, burst: rate });
        Allowance { requests, tokens, concurrency: self.max_concurrent }
    }

    pub fn may_use(&self, namespace: &str, name: &str) -> bool {
        self.services.iter().flatten().any(|pattern| pattern.matches(namespace, name))
    }

    /// Whether there is a service that it may not use.
    pub fn is_restricted(&self) -> bool {
        !self.services.iter().flatten().any(|pattern| *pattern == Pattern::All)
    }
}

impl std::str::FromStr for Policy {
    type Err = String;

    /// Reads a policy in YAML, or in JSON which is part of it.
    fn from_str(text: &str) -> Result<Policy, String> {
        serde_saphyr::from_str(text).map_err(|error| format!("'{text}' is no policy: {error}"))
    }
}

/// Services by name: `namespace/name`, `namespace/*` or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    All,
    Namespace(Box<str>),
    Service(Box<str>, Box<str>),
}

impl Pattern {
    fn matches(&self, namespace: &str, name: &str) -> bool {
        match self {
            Pattern::All => true,
            Pattern::Namespace(all_of) => **all_of == *namespace,
            Pattern::Service(in_namespace, one) => **in_namespace == *namespace && **one == *name,
        }
    }
}

impl std::str::FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Pattern, String> {
        let plain = |name: &str| {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            !name.is_empty() && name.bytes().all(plain)
        };
        match text.split_once('/') {
            None if text == "*" => Ok(Pattern::All),
            Some((namespace, "*")) if plain(namespace) => Ok(Pattern::Namespace(namespace.into())),
            Some((namespace, name)) if plain(namespace) && plain(name) => {
                Ok(Pattern::Service(namespace.into(), name.into()))
            }
            _ => Err(format!("'{text}' names no services: give namespace/name, namespace/* or *")),
        }
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pattern, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let number = Option::<f64>::deserialize(deserializer)?;
    match number.filter(|number| !(number.is_finite() && *number > 0.0)) {
        None => Ok(number),
        Some(number) => Err(serde::de::Error::custom(format!("a limit is {number}: give a number above 0, or none"))),
    }
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Bytes(usize),
        Text(String),
    }
    let size = Option::<Size>::deserialize(deserializer)?;
    let bytes = |size| match size {
        Size::Bytes(bytes) => Ok(bytes),
        Size::Text(text) => parse_size(&text).map_err(serde::de::Error::custom),
    };
    size.map(bytes).transpose()
}

fn priority<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Priority>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let refused = || format!("priority is '{text}': allowed are high, normal and low");
    Priority::parse(&text).map(Some).ok_or_else(|| serde::de::Error::custom(refused()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_named_one_by_one_or_by_namespace() {
        let policy: Policy = "services: [default/digits, prod/*]".parse().unwrap();
        assert!(policy.may_use("default", "digits") && policy.may_use("prod", "anything"));
        assert!(!policy.may_use("default", "other") && !policy.may_use("production", "digits"));
        assert!(policy.is_restricted());
        let policy: Policy = r#"{"services": ["*"]}"#.parse().unwrap();
        assert!(policy.may_use("a", "b") && !policy.is_restricted());
        let none: Policy = "{}".parse().unwrap();
        assert!(!none.may_use("a", "b") && none.is_restricted());
        for bad in ["a", "*/a", "a/b/c", "", "A/b", "a/", "/b", "a*"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_are_read_and_checked() {
        let text = "{requestsPerSecond: 2.5, maxConcurrent: 4, tokensPerMinute: 600, maxBody: 1MiB, priority: high}";
        let policy: Policy = text.parse().unwrap();
        assert_eq!((policy.max_body, policy.priority), (Some(1 << 20), Some(Priority::High)));
        let allowance = policy.allowance();
        assert_eq!(allowance.requests, Some(Rate { per_second: 2.5, burst: 2.5 }));
        assert_eq!(allowance.tokens, Some(Rate { per_second: 10.0, burst: 600.0 }));
        assert_eq!(allowance.concurrency, Some(4));
        for bad in [
            "{requestsPerSecond: 0}",
            "{requestsPerSecond: -1}",
            "{tokensPerMinute: .inf}",
            "{maxBody: 5MB}",
            "{priority: urgent}",
            "{requestPerSecond: 1}",
            "[1]",
        ] {
            assert!(bad.parse::<Policy>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_said_is_as_the_defaults_say() {
        let defaults: Policy = "{services: [a/*], requestsPerSecond: 10, burst: 30, priority: low}".parse().unwrap();
        let said: Policy = "{requestsPerSecond: 2}".parse().unwrap();
        let both = said.or(&defaults);
        assert!(both.may_use("a", "b") && both.priority == Some(Priority::Low));
        assert_eq!(both.allowance().requests, Some(Rate { per_second: 2.0, burst: 2.0 }));
        assert_eq!(Policy::default().or(&defaults), defaults);
    }
}
