//! The one configuration struct: flags, environment and documentation are derived from it.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Command, FromArgMatches, ValueEnum};
use weirgate_deploy::local::AllowCommands;
use weirgate_deploy::state::default_path;
use weirgate_models::storage::UrlPrefix;

use crate::auth::policy::Policy;
use crate::auth::{KeySource, TokensConfig};
use crate::http::CorsOrigin;
use crate::repository::ModelControl;
use crate::server::tls::TlsFiles;

/// Settings of `weirgate serve`. Every flag has an environment variable, `WEIRGATE_` and its name.
#[derive(Args, Clone, Debug)]
pub struct ServeConfig {
    /// Manifest with InferenceServices to serve, or a folder of them; watched; may be given several times
    #[arg(short = 'f', long = "file", value_name = "PATH", env = "WEIRGATE_FILE", value_delimiter = ':')]
    pub files: Vec<PathBuf>,

    /// Address of the data port: HTTP/1.1, h2c and gRPC; port 0 picks a free one
    #[arg(long, value_name = "ADDR", env = "WEIRGATE_LISTEN", default_value = "127.0.0.1:8080", value_parser = parse_listen)]
    pub listen: SocketAddr,

    #[command(flatten)]
    pub tls: TlsArgs,

    #[command(flatten)]
    pub auth: AuthArgs,

    /// Take over from the gateway that runs with this state folder, without refusing a connection; its addresses are kept
    #[arg(long, env = "WEIRGATE_TAKEOVER")]
    pub takeover: bool,

    /// Seconds that a gateway which takes over from this one has to load its models; then it is ended, and this one goes on
    #[arg(long, value_name = "SECONDS", env = "WEIRGATE_TAKEOVER_TIMEOUT", default_value = "600", value_parser = parse_seconds, allow_negative_numbers = true)]
    pub takeover_timeout: Duration,

    /// Address of the admin port: metrics, health and the control API
    #[arg(long, value_name = "ADDR", env = "WEIRGATE_ADMIN", default_value = "127.0.0.1:8081", value_parser = parse_admin)]
    pub admin: SocketAddr,

    /// Name by which clients may reach the control API, besides localhost and its address; may be given several times
    #[arg(long = "admin-host", value_name = "NAME", env = "WEIRGATE_ADMIN_HOST", value_delimiter = ',', value_parser = parse_host)]
    pub admin_hosts: Vec<String>,

    /// Folder below which models must lie; may be given several times; by default anywhere
    #[arg(long = "model-root", value_name = "DIR", env = "WEIRGATE_MODEL_ROOT", value_delimiter = ':')]
    pub model_roots: Vec<PathBuf>,

    /// Who may load and unload models by the repository API on the data port
    #[arg(long, value_name = "WHO", env = "WEIRGATE_MODEL_CONTROL", default_value = "token")]
    pub model_control: ModelControl,

    /// Beginning of the URLs that models may be fetched from, or none; may be given several times; by default anywhere
    #[arg(long = "model-url", value_name = "PREFIX", env = "WEIRGATE_MODEL_URL", value_delimiter = ' ')]
    pub model_urls: Vec<UrlPrefix>,

    /// Largest model that is fetched from a URL, as it comes and unpacked
    #[arg(long, value_name = "SIZE", env = "WEIRGATE_MAX_MODEL_SIZE", default_value = "64GiB", value_parser = parse_size)]
    pub max_model_size: usize,

    /// Most that models from URLs may take in the state folder; those that run are kept beyond it
    #[arg(long, value_name = "SIZE", env = "WEIRGATE_MODEL_CACHE_SIZE", default_value = "128GiB", value_parser = parse_size)]
    pub model_cache_size: usize,

    /// Whose manifests may have commands run by predictor.containers: those of watched files, all, or none
    #[arg(long, value_name = "WHOSE", env = "WEIRGATE_ALLOW_COMMANDS", default_value = "files")]
    pub allow_commands: CommandsOf,

    #[command(flatten)]
    pub state: StateArgs,

    /// Largest request body or gRPC message, in bytes or with KiB, MiB or GiB
    #[arg(long, value_name = "SIZE", env = "WEIRGATE_MAX_BODY", default_value = "64MiB", value_parser = parse_size)]
    pub max_body: usize,

    /// Calls that may wait per service, where its manifest does not say
    #[arg(long, value_name = "N", env = "WEIRGATE_MAX_QUEUED_REQUESTS", default_value = "1024", value_parser = parse_count)]
    pub max_queued_requests: NonZeroUsize,

    /// Bytes that waiting calls may hold per service
    #[arg(long, value_name = "SIZE", env = "WEIRGATE_MAX_QUEUED_BYTES", default_value = "512MiB", value_parser = parse_size)]
    pub max_queued_bytes: usize,

    /// Open connections on the data port; further ones wait to be accepted
    #[arg(long, value_name = "N", env = "WEIRGATE_MAX_CONNECTIONS", default_value = "16384", value_parser = parse_count)]
    pub max_connections: NonZeroUsize,

    /// Origin whose pages may call the data port from a browser, or *; may be given several times; by default none
    #[arg(long = "cors-origin", value_name = "ORIGIN", env = "WEIRGATE_CORS_ORIGIN", value_delimiter = ',')]
    pub cors_origins: Vec<CorsOrigin>,

    /// Seconds in which a client must send its request head, and the longest pause in sending a body or taking an answer
    #[arg(long, value_name = "SECONDS", env = "WEIRGATE_CLIENT_TIMEOUT", default_value = "30", value_parser = parse_positive_seconds, allow_negative_numbers = true)]
    pub client_timeout: Duration,

    /// Seconds to go on accepting after SIGTERM, while load balancers notice
    #[arg(long, value_name = "SECONDS", env = "WEIRGATE_DRAIN_DELAY", default_value = "0", value_parser = parse_seconds, allow_negative_numbers = true)]
    pub drain_delay: Duration,

    /// Seconds that running calls have to finish after that; what still runs then is cut, and the exit code is 1
    #[arg(long, value_name = "SECONDS", env = "WEIRGATE_DRAIN_TIMEOUT", default_value = "300", value_parser = parse_seconds, allow_negative_numbers = true)]
    pub drain_timeout: Duration,

    /// Calls whose decisions are kept for the admin API; 0 keeps none
    #[arg(long, value_name = "N", env = "WEIRGATE_EXPLAIN_LAST", default_value_t = 256)]
    pub explain_last: usize,

    /// Threads that serve connections; by default one per CPU
    #[arg(long, value_name = "N", env = "WEIRGATE_THREADS", value_parser = parse_count)]
    pub threads: Option<NonZeroUsize>,

    /// What is logged: error, warn, info, debug, or filters as weirgate=debug,hyper=info
    #[arg(long, value_name = "FILTER", env = "WEIRGATE_LOG", default_value = "info")]
    pub log: String,

    /// How it is logged, on standard error
    #[arg(long, value_name = "FORMAT", env = "WEIRGATE_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

impl ServeConfig {
    /// What holds where nobody says anything: the environment, which is another server's, is not read.
    pub(crate) fn unset() -> Result<ServeConfig, String> {
        let command = ServeConfig::augment_args(Command::new("unset")).mut_args(|arg| arg.env(None));
        let matches = command.try_get_matches_from(["unset"]).map_err(|error| error.to_string())?;
        ServeConfig::from_arg_matches(&matches).map_err(|error| error.to_string())
    }

    /// What can only be told with a look at the machine: a root that is missing would refuse every model, one by one.
    pub fn check(&self) -> Result<(), String> {
        let missing = self.model_roots.iter().find(|root| !root.is_dir());
        missing.map_or(Ok(()), |root| {
            Err(format!("--model-root is '{}': there is no such folder: create it or name another", root.display()))
        })
    }
}

/// TLS on the data port.
#[derive(Args, Clone, Debug)]
pub struct TlsArgs {
    /// Certificate of the data port in PEM, with those it is signed by; with it the port speaks TLS; read again when it changes
    #[arg(long, value_name = "FILE", env = "WEIRGATE_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// Private key of that certificate, in PEM
    #[arg(long, value_name = "FILE", env = "WEIRGATE_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Authorities in PEM: clients must show a certificate that one of them has signed
    #[arg(long, value_name = "FILE", env = "WEIRGATE_TLS_CLIENT_CA", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
}

impl TlsArgs {
    /// What the data port speaks.
    pub fn scheme(&self) -> &'static str {
        if self.tls_cert.is_some() { "https" } else { "http" }
    }

    pub fn files(&self) -> Option<TlsFiles> {
        let (certificate, key) = self.tls_cert.clone().zip(self.tls_key.clone())?;
        Some(TlsFiles { certificate, key, client_authorities: self.tls_client_ca.clone() })
    }
}

/// Who may call on the data port. Without any of it everybody may.
#[derive(Args, Clone, Debug)]
pub struct AuthArgs {
    /// File of API keys that callers must show one of; read again when it changes
    #[arg(long, value_name = "FILE", env = "WEIRGATE_API_KEYS")]
    pub api_keys: Option<PathBuf>,

    /// Keys of a tokens' issuer as a JWK set, a file or https URL: callers may show its tokens
    #[arg(long, value_name = "SOURCE", env = "WEIRGATE_JWT_JWKS", requires_all = ["jwt_issuer", "jwt_audience"])]
    pub jwt_jwks: Option<KeySource>,

    /// Issuer that tokens must name as iss
    #[arg(long, value_name = "NAME", env = "WEIRGATE_JWT_ISSUER", requires = "jwt_jwks")]
    pub jwt_issuer: Option<String>,

    /// Audience that tokens must name as aud
    #[arg(long, value_name = "NAME", env = "WEIRGATE_JWT_AUDIENCE", requires = "jwt_jwks")]
    pub jwt_audience: Option<String>,

    /// What a token's bearer may use where its claim weirgate does not say, in YAML or JSON
    #[arg(long, value_name = "POLICY", env = "WEIRGATE_JWT_DEFAULTS", default_value = "{services: ['*']}")]
    pub jwt_defaults: Policy,
}

impl AuthArgs {
    pub fn is_on(&self) -> bool {
        self.api_keys.is_some() || self.jwt_jwks.is_some()
    }

    pub fn tokens(&self) -> Option<TokensConfig> {
        let (issuer, audience) = self.jwt_issuer.clone().zip(self.jwt_audience.clone())?;
        Some(TokensConfig { issuer, audience, defaults: self.jwt_defaults.clone() })
    }
}

/// Where the state folder lies.
#[derive(Args, Clone, Debug)]
pub struct StateArgs {
    /// Folder for what was applied, for the token and for models from URLs; by default below XDG_STATE_HOME or ~/.local/state
    #[arg(long = "state", value_name = "DIR", env = "WEIRGATE_STATE")]
    folder: Option<PathBuf>,
}

impl StateArgs {
    pub fn folder(&self) -> Result<PathBuf, String> {
        self.folder.clone().map_or_else(|| default_path(|name| std::env::var_os(name)), Ok)
    }
}

/// Whose manifests may have commands run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CommandsOf {
    Files,
    All,
    None,
}

impl From<CommandsOf> for AllowCommands {
    fn from(whose: CommandsOf) -> AllowCommands {
        match whose {
            CommandsOf::Files => AllowCommands::Files,
            CommandsOf::All => AllowCommands::All,
            CommandsOf::None => AllowCommands::None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// Parses a size: a whole number of bytes, or of KiB, MiB or GiB.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let refused = || format!("'{text}' is not a size: give bytes, or a number with KiB, MiB or GiB, above 0");
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let unit = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)));
    let (digits, shift) = unit.unwrap_or((text, 0));
    let number: usize = digits.trim().parse().map_err(|_| refused())?;
    number.checked_mul(1 << shift).filter(|size| *size > 0).ok_or_else(refused)
}

/// Parses a number of things of which there must be one.
pub(crate) fn parse_count(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| format!("'{text}' is not a whole number above 0: give one such as 4"))
}

fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    parse_address(text, "127.0.0.1:8080")
}

/// Parses the address of the admin port. Clients read the same variable, and may want it as a URL.
fn parse_admin(text: &str) -> Result<SocketAddr, String> {
    let address = text.strip_prefix("http://").unwrap_or(text);
    parse_address(address.strip_suffix('/').unwrap_or(address), "127.0.0.1:8081")
}

fn parse_address(text: &str, example: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("'{text}' is not an address: give IP:PORT such as {example}, or 0.0.0.0:PORT for every interface")
    })
}

/// Parses a name by which the control API may be called: requests are compared with it without their port.
fn parse_host(text: &str) -> Result<String, String> {
    if text.parse::<IpAddr>().is_ok() {
        return Err(format!("'{text}' is an address, and --admin says which of them may be used: give names alone"));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if !text.is_empty() && !text.ends_with('.') && text.bytes().all(allowed) {
        return Ok(text.to_owned());
    }
    Err(format!("'{text}' is not the name of a host: give it without scheme and port, such as weirgate.example.com"))
}

/// Parses a time from 0 on.
pub fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| format!("'{text}' is not a number of seconds: give one from 0 on, such as 2.5"))
}

pub(crate) fn parse_positive_seconds(text: &str) -> Result<Duration, String> {
    parse_seconds(text).ok().filter(|seconds| !seconds.is_zero()).ok_or_else(|| {
        format!("'{text}' is not a number of seconds above 0: give one such as 30; 0 would end every connection")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("1000"), Ok(1000));
        for bad in ["", "0", "MiB", "-1", "1.5GiB", "99999999999GiB", "5MB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_admin_address_may_be_written_as_a_url() {
        let expected = Ok(SocketAddr::from(([127, 0, 0, 1], 81)));
        for text in ["127.0.0.1:81", "http://127.0.0.1:81", "http://127.0.0.1:81/"] {
            assert_eq!(parse_admin(text), expected, "{text}");
        }
        assert!(parse_admin("https://127.0.0.1:81").is_err() && parse_admin("127.0.0.1").is_err());
    }

    #[test]
    fn hosts_are_names_without_a_port() {
        for good in ["weirgate", "models.example.com", "a_b-1"] {
            assert_eq!(parse_host(good), Ok(good.to_owned()));
        }
        for bad in ["", "a:80", "a:b:c", "http://a", "a.", "10.0.0.1", "::1", "[::1]", "a b"] {
            assert!(parse_host(bad).is_err_and(|error| error.contains(&format!("'{bad}'"))), "{bad}");
        }
    }

    #[test]
    fn seconds() {
        assert_eq!(parse_seconds("1.5"), Ok(Duration::from_millis(1_500)));
        assert!(parse_seconds("-1").is_err() && parse_seconds("x").is_err());
        assert!(parse_seconds("0").is_ok() && parse_positive_seconds("0").is_err());
    }
}
