//! Which options go together.
//!
//! A flag that would be ignored is an error: who gave it believes that it holds. What comes from the environment may be
//! meant for other runs, so it gives way to flags, and is left aside where it means nothing.

use super::Wrong;
use super::options::Options;
use crate::request::Protocol;

/// An option that may be given or not.
trait Setting {
    fn is_set(&self) -> bool;
    fn forget(&mut self);
}

impl<T> Setting for Option<T> {
    fn is_set(&self) -> bool {
        self.is_some()
    }

    fn forget(&mut self) {
        *self = None;
    }
}

impl<T> Setting for Vec<T> {
    fn is_set(&self) -> bool {
        !self.is_empty()
    }

    fn forget(&mut self) {
        self.clear();
    }
}

impl Setting for bool {
    fn is_set(&self) -> bool {
        *self
    }

    fn forget(&mut self) {
        *self = false;
    }
}

/// One option among all.
struct Flag {
    name: &'static str,
    /// Its field, which is what clap knows it by.
    field: &'static str,
    is_set: fn(&Options) -> bool,
    forget: fn(&mut Options),
}

macro_rules! flag {
    ($name:literal, $field:ident $(in $group:ident)?) => {
        Flag {
            name: $name,
            field: stringify!($field),
            is_set: |options| options.$($group.)?$field.is_set(),
            forget: |options| options.$($group.)?$field.forget(),
        }
    };
}

const BODY: Flag = flag!("--body", bodies in payload);
const PROMPTS: Flag = flag!("--prompts", prompts in payload);
const CALLERS: Flag = flag!("--callers", callers in load);
const DURATION: Flag = flag!("--duration", duration in load);
const RATE: Flag = flag!("--rate", rate in load);
const REQUESTS: Flag = flag!("--requests", requests in load);
const TRACE: Flag = flag!("--trace", trace in load);
const AB: Flag = flag!("--ab", ab in judge);
const SWEEP: Flag = flag!("--sweep", sweep in judge);
const INSECURE: Flag = flag!("--insecure", insecure in connection);
const CA_FILE: Flag = flag!("--ca-file", ca_file in connection);

/// Two options of which one can hold. Where neither is a flag, that is the first.
const EITHER: [(Flag, Flag, &str); 8] = [
    (REQUESTS, DURATION, "a run ends after one of them"),
    (SWEEP, AB, "a sweep loads one server"),
    (SWEEP, TRACE, "a sweep chooses its rates itself"),
    (TRACE, RATE, "arrivals come from one of them"),
    (TRACE, CALLERS, "arrivals of a trace don't wait for callers"),
    (RATE, CALLERS, "with a rate nobody waits for callers"),
    (BODY, PROMPTS, "requests come from one of them"),
    (INSECURE, CA_FILE, "certificates are checked, or they are not"),
];

/// What an option needs to mean something.
struct Need {
    flag: Flag,
    /// Given whether the trace has sizes.
    is_met: fn(&Options, bool) -> bool,
    /// In words, after "it is".
    of: &'static str,
}

const NEEDS: [Need; 23] = [
    Need { flag: flag!("--rounds", rounds in judge), is_met: |options, _| options.judge.ab.is_some(), of: "of --ab" },
    Need { flag: flag!("--speed", speed in load), is_met: |options, _| options.load.trace.is_some(), of: "of --trace" },
    Need {
        flag: flag!("--arrivals", arrivals in load),
        is_met: |options, _| options.load.rate.is_some() || options.judge.sweep,
        of: "of --rate and --sweep",
    },
    Need { flag: CALLERS, is_met: not_a_sweep, of: "of a closed loop, and a sweep has rates" },
    Need { flag: REQUESTS, is_met: not_a_sweep, of: "not of a sweep, whose points last for --duration" },
    Need {
        flag: flag!("--warmup", warmup in load),
        is_met: not_a_sweep,
        of: "not of a sweep, whose points begin when they are steady",
    },
    Need {
        flag: DURATION,
        is_met: |options, _| !options.load.rate.as_ref().is_some_and(|rate| rate.contains(':')),
        of: "not of steps, which have times of their own",
    },
    Need {
        flag: flag!("--think-time", think_time in load),
        is_met: |options, sized| !is_open(options) || has_conversations(options, sized),
        of: "of a closed loop, or of conversations",
    },
    Need {
        flag: flag!("--max-in-flight", max_in_flight in connection),
        is_met: |options, _| is_open(options),
        of: "of an open loop, and a closed one has as many in flight as --callers",
    },
    Need {
        flag: flag!("--connections", connections in connection),
        is_met: |options, _| options.protocol == Protocol::Grpc,
        of: "of grpc, and others have a connection for each request in flight",
    },
    Need {
        flag: flag!("--model-version", model_version),
        is_met: |options, _| matches!(options.protocol, Protocol::V2 | Protocol::V2Binary | Protocol::Grpc),
        of: "of v2, v2-binary and grpc",
    },
    Need {
        flag: PROMPTS,
        is_met: |options, _| options.protocol.is_openai(),
        of: "of chat, completions and embeddings",
    },
    Need {
        flag: flag!("--stream", stream in payload),
        is_met: |options, _| generates(options),
        of: "of chat and completions",
    },
    Need { flag: flag!("--rows", rows in payload), is_met: |options, _| is_random(options), of: RANDOM },
    Need { flag: flag!("--shape", shapes in payload), is_met: |options, _| is_random(options), of: RANDOM },
    Need { flag: flag!("--values", values in payload), is_met: |options, _| is_random(options), of: RANDOM },
    Need {
        flag: flag!("--distinct", distinct in payload),
        is_met: |options, sized| is_random(options) || is_synthetic(options, sized),
        of: "of random tensors and synthetic prompts",
    },
    Need { flag: flag!("--prompt-words", prompt_words in payload), is_met: is_synthetic, of: SYNTHETIC },
    Need { flag: flag!("--shared-prefix", shared_prefix in payload), is_met: is_synthetic, of: SYNTHETIC },
    Need {
        flag: flag!("--prefixes", prefixes in payload),
        is_met: |options, sized| is_synthetic(options, sized) && options.payload.shared_prefix.is_some(),
        of: "of --shared-prefix",
    },
    Need {
        flag: flag!("--turns", turns in payload),
        is_met: |options, sized| is_synthetic(options, sized) && generates(options),
        of: "of synthetic prompts for chat and completions",
    },
    Need {
        flag: flag!("--max-tokens", max_tokens in payload),
        is_met: |options, _| generates(options) && options.payload.bodies.is_empty(),
        of: GENERATED,
    },
    Need {
        flag: flag!("--ignore-eos", ignore_eos in payload),
        is_met: |options, _| generates(options) && options.payload.bodies.is_empty(),
        of: GENERATED,
    },
];

const RANDOM: &str = "of random tensors, for v1, v2, v2-binary and grpc without --body";
const SYNTHETIC: &str = "of synthetic prompts, without --body, --prompts or a trace with sizes";
const GENERATED: &str = "of prompts for chat and completions, and a --body says it itself";

fn not_a_sweep(options: &Options, _: bool) -> bool {
    !options.judge.sweep
}

fn is_open(options: &Options) -> bool {
    options.load.is_open() || options.judge.sweep
}

fn generates(options: &Options) -> bool {
    matches!(options.protocol, Protocol::Chat | Protocol::Completions)
}

fn is_random(options: &Options) -> bool {
    !options.protocol.is_openai() && options.payload.bodies.is_empty()
}

fn is_synthetic(options: &Options, sized: bool) -> bool {
    options.protocol.is_openai() && options.payload.bodies.is_empty() && options.payload.prompts.is_none() && !sized
}

fn has_conversations(options: &Options, sized: bool) -> bool {
    let payload = &options.payload;
    payload.prompts.is_some() || is_synthetic(options, sized) && payload.turns.is_some_and(|turns| turns > 1)
}

/// Settles which of two options holds where one can.
pub(super) fn choose(options: &mut Options) -> Result<(), Wrong> {
    for (first, second, why) in &EITHER {
        if !((first.is_set)(options) && (second.is_set)(options)) {
            continue;
        }
        match (options.given.has(first.field), options.given.has(second.field)) {
            (true, true) => {
                let (first, second) = (first.name, second.name);
                return Err(Wrong::Usage(format!("{first} and {second} are both given, and {why}: leave one out")));
            }
            (false, true) => (first.forget)(options),
            (_, false) => (second.forget)(options),
        }
    }
    Ok(())
}

/// Refuses flags that mean nothing to what is asked, and forgets what the environment says of such. `sized` is whether the
/// trace has sizes.
pub(super) fn check(options: &mut Options, sized: bool) -> Result<(), Wrong> {
    for Need { flag, is_met, of } in &NEEDS {
        if !(flag.is_set)(options) || is_met(options, sized) {
            continue;
        }
        if options.given.has(flag.field) {
            return Err(Wrong::Usage(format!("{} means nothing here: it is {of}", flag.name)));
        }
        (flag.forget)(options);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::given::Given;
    use super::super::options::tests::parse;
    use super::*;

    fn settled(mut options: Options, sized: bool) -> Result<Options, Wrong> {
        choose(&mut options)?;
        check(&mut options, sized)?;
        Ok(options)
    }

    /// Flags on top of what the environment has.
    fn over(environment: &[&str], flags: &[&str]) -> Options {
        let all = parse(&[environment, flags].concat());
        Options { given: parse(flags).given, ..all }
    }

    #[test]
    fn flags_that_contradict_or_mean_nothing_are_told() {
        for (flags, part) in [
            (&["-n", "5", "-d", "5s"][..], "--requests and --duration are both given"),
            (&["--sweep", "--ab", "127.0.0.1:2"], "--sweep and --ab are both given"),
            (&["--sweep", "--trace", "x"], "--sweep and --trace are both given"),
            (&["--trace", "x", "-r", "5"], "--trace and --rate are both given"),
            (&["--trace", "x", "-c", "5"], "--trace and --callers are both given"),
            (&["-c", "64", "-r", "5"], "--rate and --callers are both given"),
            (&["-p", "chat", "--body", "x", "--prompts", "y"], "--body and --prompts are both given"),
            (&["--insecure", "--ca-file", "x"], "--insecure and --ca-file are both given"),
            (&["--sweep", "-n", "5"], "--requests means nothing here: it is not of a sweep"),
            (&["--sweep", "--warmup", "5s"], "--warmup means nothing"),
            (&["--sweep", "-c", "5"], "--callers means nothing"),
            (&["--sweep", "--think-time", "5s"], "--think-time means nothing"),
            (&["--rounds", "5"], "--rounds means nothing here: it is of --ab"),
            (&["--speed", "2"], "--speed means nothing here: it is of --trace"),
            (&["--arrivals", "poisson"], "--arrivals means nothing"),
            (&["--connections", "5"], "--connections means nothing here: it is of grpc"),
            (&["--max-in-flight", "5"], "--max-in-flight means nothing here: it is of an open loop"),
            (&["-r", "5", "--think-time", "5s"], "--think-time means nothing"),
            (&["-r", "5:1s,6:1s", "-d", "5s"], "--duration means nothing here: it is not of steps"),
            (&["--prompts", "y"], "--prompts means nothing here: it is of chat, completions and embeddings"),
            (&["-p", "chat", "--shape", "x=1"], "--shape means nothing here: it is of random tensors"),
            (&["-p", "chat", "--values", "x=0..1"], "--values means nothing"),
            (&["-p", "chat", "--rows", "2"], "--rows means nothing"),
            (&["--body", "x", "--rows", "2"], "--rows means nothing"),
            (&["--body", "x", "--distinct", "2"], "--distinct means nothing"),
            (&["--prompt-words", "2"], "--prompt-words means nothing here: it is of synthetic prompts"),
            (&["-p", "chat", "--prompts", "x", "--shared-prefix", "2"], "--shared-prefix means nothing"),
            (&["-p", "chat", "--prefixes", "2"], "--prefixes means nothing here: it is of --shared-prefix"),
            (&["-p", "embeddings", "--turns", "2"], "--turns means nothing"),
            (&["-p", "embeddings", "--stream"], "--stream means nothing here: it is of chat and completions"),
            (&["-p", "embeddings", "--max-tokens", "2"], "--max-tokens means nothing"),
            (&["-p", "chat", "--body", "x", "--ignore-eos"], "--ignore-eos means nothing"),
            (&["-p", "v1", "--model-version", "2"], "--model-version means nothing here: it is of v2"),
        ] {
            let Err(Wrong::Usage(error)) = settled(parse(flags), false) else { panic!("{flags:?}") };
            assert!(error.contains(part), "{flags:?}: {error}");
        }
        for flags in [["--prompt-words", "2"], ["--shared-prefix", "2"], ["--turns", "2"], ["--distinct", "2"]] {
            let of_trace = ["-p", "chat", "--trace", "x", flags[0], flags[1]];
            assert!(settled(parse(&of_trace), false).is_ok(), "{flags:?}");
            let Err(Wrong::Usage(error)) = settled(parse(&of_trace), true) else { panic!("{flags:?}") };
            assert!(error.contains(flags[0]), "{error}");
        }
    }

    #[test]
    fn flags_that_go_together_are_taken() {
        for flags in [
            &["-c", "64", "-d", "5s", "--think-time", "1s", "--warmup", "1s"][..],
            &["-r", "5", "--arrivals", "constant", "--max-in-flight", "5", "-n", "5"],
            &["--sweep", "-r", "5", "--arrivals", "constant", "-d", "5s", "--max-in-flight", "5"],
            &["--trace", "x", "--speed", "2", "-d", "5s"],
            &["--ab", "127.0.0.1:2", "--rounds", "2", "-n", "5", "-c", "2"],
            &["-p", "grpc", "--connections", "2", "--model-version", "1", "--rows", "2", "--shape", "x=1"],
            &["-p", "chat", "--stream", "-r", "5", "--turns", "2", "--think-time", "1s", "--ignore-eos"],
            &["-p", "chat", "--prompts", "x", "-r", "5", "--think-time", "1s", "--max-tokens", "5"],
            &["-p", "embeddings", "--shared-prefix", "5", "--prefixes", "2", "--distinct", "5"],
        ] {
            assert!(settled(parse(flags), false).is_ok(), "{flags:?}");
        }
    }

    #[test]
    fn a_flag_holds_before_the_environment() {
        let settle = |environment: &[&str], flags: &[&str]| settled(over(environment, flags), false).unwrap();
        let requests = settle(&["-d", "5s"], &["-n", "7"]);
        assert!(requests.load.requests == Some(7) && requests.load.duration.is_none());
        let time = settle(&["-n", "7"], &["-d", "5s"]);
        assert!(time.load.requests.is_none() && time.load.duration.is_some());
        let closed = settle(&["-r", "5"], &["-c", "2"]);
        assert!(closed.load.rate.is_none() && closed.load.callers == Some(2));
        let ab = settle(&["--sweep"], &["--ab", "127.0.0.1:2"]);
        assert!(ab.judge.ab.is_some() && !ab.judge.sweep);
        let both = settle(&["-n", "7", "-d", "5s"], &[]);
        assert!(both.load.requests == Some(7) && both.load.duration.is_none());
    }

    #[test]
    fn what_means_nothing_in_the_environment_is_left_aside() {
        let environment = ["--stream", "--turns", "3", "--rounds", "2", "--speed", "2", "--prompts", "x"];
        let options = settled(over(&environment, &["-p", "v2", "--rows", "2"]), false).unwrap();
        assert!(!options.payload.stream && options.payload.turns.is_none() && options.payload.prompts.is_none());
        assert!(options.judge.rounds.is_none() && options.load.speed.is_none());
        assert_eq!(options.payload.rows, Some(2));
    }

    #[test]
    fn the_environment_is_told_from_flags() {
        assert!(parse(&["-n", "5"]).given.has("requests"));
        assert!(!parse(&["-n", "5"]).given.has("duration") && !Given::default().has("requests"));
    }

    #[test]
    fn every_flag_of_a_rule_is_known_by_its_field() {
        let fields = EITHER.iter().flat_map(|(first, second, _)| [first, second]);
        for flag in fields.chain(NEEDS.iter().map(|need| &need.flag)) {
            let command = <Options as clap::Args>::augment_args(clap::Command::new("loadtest"));
            let argument = command.get_arguments().find(|argument| argument.get_id() == flag.field);
            let long = argument.and_then(clap::Arg::get_long).map(|long| format!("--{long}"));
            assert_eq!(long.as_deref(), Some(flag.name), "{}", flag.field);
        }
    }
}
