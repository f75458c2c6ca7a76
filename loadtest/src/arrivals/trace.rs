//! Arrivals that were recorded, with the sizes of prompts and answers where the recording has them.
//!
//! Two layouts are read, told apart by the first character:
//!
//! - JSON Lines, an object each, as Mooncake publishes its traces: `timestamp` in milliseconds, and perhaps
//!   `input_length`, `output_length` (tokens) and `hash_ids` (blocks of the prompt: alike where prompts begin alike).
//! - CSV with a head, as Azure publishes its traces: `TIMESTAMP` as `2023-11-16 18:17:03.9799600` or in seconds, and
//!   perhaps `ContextTokens` and `GeneratedTokens`. Fields are not quoted.

use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;

/// The most entries that are read: some gigabytes of text, and hours of load.
const MOST: usize = 10_000_000;

/// A recording: by rising time, the first at zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    pub entries: Vec<TraceEntry>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceEntry {
    /// Since the first.
    pub at: Duration,
    pub prompt_tokens: Option<u32>,
    pub output_tokens: Option<u32>,
    /// Hashes of the blocks that the prompt is made of, in order; prompts that begin with the same ones begin alike.
    pub prefix: Vec<u64>,
}

impl Trace {
    /// Reads a trace, to be replayed `speed` times as fast as it was recorded. Errors name the line.
    pub fn parse(text: &str, speed: f64) -> Result<Trace, String> {
        Trace::parse_at_most(text, speed, MOST)
    }

    fn parse_at_most(text: &str, speed: f64, most: usize) -> Result<Trace, String> {
        if !(speed.is_finite() && speed > 0.0) {
            return Err(format!("speed {speed} is not above 0"));
        }
        let is_json = text.trim_start().starts_with('{');
        let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let columns = if is_json {
            None
        } else {
            let (number, head) = lines.find(|(_, line)| !line.is_empty()).ok_or("the trace is empty")?;
            Some(Columns::of(head).map_err(|error| format!("line {number}: {error}"))?)
        };
        let mut entries = Vec::new();
        let mut unsized_at = None;
        for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
            if entries.len() == most {
                return Err(format!("line {number}: the trace has more than {most} entries: give a part of it"));
            }
            let entry = match &columns {
                None => from_json(line),
                Some(columns) => columns.read(line),
            };
            let entry: TraceEntry = entry.map_err(|error| format!("line {number}: {error}"))?;
            if entry.prompt_tokens.is_none() {
                unsized_at.get_or_insert(number);
            }
            entries.push(entry);
        }
        if let Some(number) = unsized_at
            && entries.iter().any(|entry| entry.prompt_tokens.is_some())
        {
            let name = if is_json { "input_length" } else { "ContextTokens" };
            return Err(format!("line {number} has no {name}, and others have: give it in all lines or in none"));
        }
        if entries.is_empty() {
            return Err("the trace has no entries".to_owned());
        }
        // Stable: those of one instant stay in their order.
        entries.sort_by_key(|entry| entry.at);
        let first = entries[0].at;
        for entry in &mut entries {
            let seconds = (entry.at - first).as_secs_f64() / speed;
            entry.at = Duration::try_from_secs_f64(seconds)
                .map_err(|_| format!("at speed {speed} the trace goes on for {seconds} seconds"))?;
        }
        Ok(Trace { entries })
    }

    /// Whether it says how large prompts were; then it does so of all.
    pub fn has_sizes(&self) -> bool {
        self.entries.iter().any(|entry| entry.prompt_tokens.is_some())
    }

    /// The times alone.
    pub fn times(&self) -> Vec<Duration> {
        self.entries.iter().map(|entry| entry.at).collect()
    }
}

fn from_json(line: &str) -> Result<TraceEntry, String> {
    #[derive(Deserialize)]
    struct Line {
        timestamp: f64,
        input_length: Option<u32>,
        output_length: Option<u32>,
        #[serde(default)]
        hash_ids: Vec<u64>,
    }
    let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let at = Duration::try_from_secs_f64(line.timestamp / 1e3)
        .map_err(|_| format!("timestamp {} is not a time in milliseconds", line.timestamp))?;
    Ok(TraceEntry { at, prompt_tokens: line.input_length, output_tokens: line.output_length, prefix: line.hash_ids })
}

/// Where the columns of a CSV file stand.
struct Columns {
    timestamp: usize,
    prompt: Option<usize>,
    output: Option<usize>,
}

impl Columns {
    fn of(head: &str) -> Result<Columns, String> {
        let names: Vec<&str> = head.trim_start_matches('\u{feff}').split(',').map(str::trim).collect();
        let find = |name: &str| names.iter().position(|column| column.eq_ignore_ascii_case(name));
        let timestamp = find("TIMESTAMP")
            .ok_or("the head has no column TIMESTAMP, and the trace is not JSON Lines either".to_owned())?;
        Ok(Columns { timestamp, prompt: find("ContextTokens"), output: find("GeneratedTokens") })
    }

    fn read(&self, line: &str) -> Result<TraceEntry, String> {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let tokens = |column: Option<usize>| match column.map(|column| fields.get(column).copied().unwrap_or_default())
        {
            None | Some("") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| format!("'{text}' is not a number of tokens")),
        };
        let text = fields.get(self.timestamp).copied().unwrap_or_default();
        let at = match text.parse() {
            Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
            Err(_) => humantime::parse_rfc3339_weak(text).ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()),
        };
        let at = at.ok_or_else(|| format!("'{text}' is neither seconds nor a time as 2023-11-16 18:17:03.979"))?;
        let (prompt_tokens, output_tokens) = (tokens(self.prompt)?, tokens(self.output)?);
        Ok(TraceEntry { at, prompt_tokens, output_tokens, prefix: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_lines_with_sizes_and_blocks() {
        let text = concat!(
            r#"{"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47]}"#,
            "\n\n",
            r#"{"timestamp": 27480.5, "input_length": 3, "other": true}"#,
            "\n"
        );
        let trace = Trace::parse(text, 0.5).unwrap();
        let later = TraceEntry {
            at: Duration::from_millis(3),
            prompt_tokens: Some(6955),
            output_tokens: Some(52),
            prefix: vec![46, 47],
        };
        assert_eq!(trace.entries, [TraceEntry { prompt_tokens: Some(3), ..TraceEntry::default() }, later]);
        assert!(trace.has_sizes());
    }

    #[test]
    fn csv_with_dates_or_seconds() {
        let dated = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n\
                     2023-11-16 18:17:03.9799600,4808,10\r\n\
                     2023-11-16 18:17:04.0319600,3180,\r\n";
        let trace = Trace::parse(dated, 2.0).unwrap();
        assert_eq!(trace.times(), [Duration::ZERO, Duration::from_millis(26)]);
        assert_eq!((trace.entries[0].prompt_tokens, trace.entries[0].output_tokens), (Some(4808), Some(10)));
        assert_eq!((trace.entries[1].prompt_tokens, trace.entries[1].output_tokens), (Some(3180), None));
        let plain = Trace::parse("id,timestamp\n1,10\n2,10.25\n", 1.0).unwrap();
        assert_eq!(plain.times(), [Duration::ZERO, Duration::from_millis(250)]);
        assert!(!plain.has_sizes());
    }

    #[test]
    fn what_is_no_trace_is_told_by_its_line() {
        for (text, speed, part) in [
            ("", 1.0, "empty"),
            ("TIMESTAMP\n", 1.0, "no entries"),
            ("time,tokens\n1,2\n", 1.0, "line 1: the head has no column TIMESTAMP"),
            ("TIMESTAMP\n1\nsoon\n", 1.0, "line 3: 'soon'"),
            ("TIMESTAMP\n-1\n", 1.0, "line 2: '-1'"),
            ("TIMESTAMP,ContextTokens\n1,many\n", 1.0, "line 2: 'many' is not a number of tokens"),
            ("{\"timestamp\": 1}\n{\"timestamp\": \"x\"}\n", 1.0, "line 2: invalid type"),
            ("{\"timestamp\": -1}\n", 1.0, "line 1: timestamp -1"),
            ("{\"input_length\": 1}\n", 1.0, "line 1: missing field `timestamp`"),
            ("{\"timestamp\": 2, \"input_length\": 5}\n\n{\"timestamp\": 1}\n", 1.0, "line 3 has no input_length"),
            ("TIMESTAMP,ContextTokens\n1,\n2,5\n", 1.0, "line 2 has no ContextTokens"),
            ("TIMESTAMP\n1\n", 0.0, "speed 0"),
            ("TIMESTAMP\n1\n", f64::NAN, "speed NaN"),
            ("TIMESTAMP\n1\n2\n", 1e-300, "at speed"),
        ] {
            let error = Trace::parse(text, speed).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
        let error = Trace::parse_at_most("TIMESTAMP\n1\n2\n3\n", 1.0, 2).unwrap_err();
        assert!(error.starts_with("line 4: the trace has more than 2 entries"), "{error}");
    }
}
