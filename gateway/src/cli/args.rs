//! Options that commands share, and the words by which people name a service.

use std::path::PathBuf;

use clap::Args;
use weirgate_deploy::control::Named;
use weirgate_deploy::state::Token;

use super::Wrong;
use crate::client::{AdminUrl, Client};
use crate::config::StateArgs;

const KINDS: [&str; 4] = ["inferenceservice", "inferenceservices", "isvc", "isvcs"];
const GROUP: &str = ".serving.kserve.io";

/// The server to ask.
#[derive(Args, Clone, Debug)]
pub struct ServerArgs {
    /// Admin port of the server
    #[arg(long, value_name = "URL", env = "WEIRGATE_ADMIN", default_value = "http://127.0.0.1:8081")]
    admin: AdminUrl,

    /// File with the server's token, which changes need; by default the one in the state folder
    #[arg(long, value_name = "FILE", env = "WEIRGATE_TOKEN_FILE")]
    token_file: Option<PathBuf>,

    #[command(flatten)]
    state: StateArgs,
}

impl ServerArgs {
    pub fn client(&self) -> Result<Client, Wrong> {
        let token_file = self.token_file.clone().map_or_else(|| Ok(Token::path_in(&self.state.folder()?)), Ok);
        Client::new(self.admin.clone(), token_file).map_err(|error| Wrong::failed(format!("error: {error}")))
    }
}

#[derive(Args, Clone, Debug)]
pub struct NamespaceArgs {
    /// Namespace of the service
    #[arg(short, long, value_name = "NAME", env = "WEIRGATE_NAMESPACE", default_value = "default", value_parser = plain)]
    pub namespace: String,
}

impl NamespaceArgs {
    /// The service that exactly one name or `KIND/NAME` or `KIND NAME` means.
    pub fn one(&self, words: &[String]) -> Result<Named, Wrong> {
        self.at_most_one(words)?
            .ok_or_else(|| Wrong::Usage("the name of a service is missing: give NAME or isvc/NAME".to_owned()))
    }

    pub fn at_most_one(&self, words: &[String]) -> Result<Option<Named>, Wrong> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let name = match words[..] {
            [] => None,
            [kind] if is_kind(kind) => None,
            [name] => Some(name),
            [kind, name] if is_kind(kind) => Some(name),
            [kind, _] => return Err(unknown_kind(kind)),
            [_, _, more, ..] => return Err(Wrong::Usage(format!("'{more}' is one name too many: give one"))),
        };
        let Some(name) = name else { return Ok(None) };
        let name = match name.split_once('/') {
            None => name,
            Some((kind, name)) if is_kind(kind) => name,
            Some((kind, _)) => return Err(unknown_kind(kind)),
        };
        let name = plain(name).map_err(Wrong::Usage)?;
        Ok(Some(Named { namespace: self.namespace.clone(), name }))
    }
}

fn is_kind(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    KINDS.contains(&word.strip_suffix(GROUP).unwrap_or(&word))
}

fn unknown_kind(kind: &str) -> Wrong {
    Wrong::Usage(format!("'{kind}' is no kind that is known: known is inferenceservice, or isvc for short"))
}

/// A name that needs no escaping in a path.
fn plain(name: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !name.is_empty() && name.len() <= 63 && name.bytes().all(allowed) {
        return Ok(name.to_owned());
    }
    Err(format!("'{name}' can't be a name: allowed are at most 63 of a-z, 0-9 and '-'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Result<Option<String>, Wrong> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let namespace = NamespaceArgs { namespace: "default".to_owned() };
        Ok(namespace.at_most_one(&words)?.map(|named| named.to_string()))
    }

    #[test]
    fn services_are_named_as_kubectl_users_do() {
        for words in [
            &["digits"][..],
            &["isvc", "digits"],
            &["inferenceservice", "digits"],
            &["InferenceServices", "digits"],
            &["isvc/digits"],
            &["inferenceservices.serving.kserve.io/digits"],
        ] {
            assert_eq!(of(words), Ok(Some("default/digits".to_owned())), "{words:?}");
        }
        for words in [&[][..], &["isvc"], &["inferenceservices"]] {
            assert_eq!(of(words), Ok(None), "{words:?}");
        }
        for (words, expected) in [
            (&["pods", "digits"][..], "'pods' is no kind"),
            (&["pod/digits"], "'pod' is no kind"),
            (&["isvc", "digits", "more"], "'more' is one name too many"),
            (&["../x"], "'..' is no kind"),
            (&["isvc/.."], "'..' can't be a name"),
            (&["isvc/"], "'' can't be a name"),
            (&["Digits"], "'Digits' can't be a name"),
        ] {
            let Err(Wrong::Usage(text)) = of(words) else { panic!("{words:?} passed") };
            assert!(text.contains(expected), "{words:?}: {text}");
        }
    }
}
