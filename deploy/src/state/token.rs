//! The bearer token of the control API, in a file that only its owner can read.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::files::write_atomically;

const RANDOM_BYTES: usize = 32;
/// Of a token that someone wrote by hand.
const LENGTHS: std::ops::RangeInclusive<usize> = 32..=512;

/// Never shown, neither in logs nor in errors.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    pub fn path_in(state_folder: &Path) -> PathBuf {
        state_folder.join("token")
    }

    /// Reads a token's file. One that others can read is refused: they may have it already.
    pub fn read(path: &Path) -> Result<Token, String> {
        let (mode, text) = contents(path).map_err(|error| unreadable(path, &error))?;
        let shown = path.display();
        if mode & 0o077 != 0 {
            return Err(format!(
                "the token's file {shown} is open to others (mode {mode:04o}): remove it and start the server to have \
                 another made, or run chmod 600 on it"
            ));
        }
        let token = text.trim();
        if !LENGTHS.contains(&token.len()) || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "the token's file {shown} holds no token: {} to {} visible ASCII characters, remove it and start the \
                 server to have one made",
                LENGTHS.start(),
                LENGTHS.end()
            ));
        }
        Ok(Token(token.to_owned()))
    }

    /// For the `Authorization` header alone.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Compares in a time that tells nothing of where the two differ.
    pub fn is(&self, other: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let differing = own.iter().zip(other).fold(0, |differing, (a, b)| differing | (a ^ b));
        own.len() == other.len() && std::hint::black_box(differing) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

pub(super) fn read_or_make(path: &Path) -> Result<Token, String> {
    if let Err(error) = path.symlink_metadata() {
        if error.kind() != io::ErrorKind::NotFound {
            return Err(unreadable(path, &error));
        }
        let random: [u8; RANDOM_BYTES] = rand::random();
        let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        write_atomically(path, format!("{token}\n").as_bytes())
            .map_err(|error| format!("the token's file {} can't be written: {error}", path.display()))?;
    }
    Token::read(path)
}

/// The file's permissions and text, of one and the same file.
fn contents(path: &Path) -> io::Result<(u32, String)> {
    let mut file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    let mut text = String::new();
    file.by_ref().take(4_096).read_to_string(&mut text)?;
    Ok((mode, text))
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("the token's file {} can't be read: {error}", path.display())
}
