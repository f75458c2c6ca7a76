//! How byte-level vocabularies write bytes: each as a printable character, so that a token is a word without spaces.

/// The characters of bytes that are written as themselves: printable ones of Latin-1 but the soft hyphen.
fn is_itself(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// Bytes by the characters that stand for them. The others than [`is_itself`] take the characters from U+0100 on, in turn.
#[derive(Debug)]
pub(super) struct ByteCharacters {
    /// By character: none is at U+0144 or later.
    bytes: [Option<u8>; 0x144],
}

impl ByteCharacters {
    pub fn new() -> ByteCharacters {
        let mut bytes = [None; 0x144];
        let mut next = 0x100;
        for byte in 0..=u8::MAX {
            if is_itself(byte) {
                bytes[usize::from(byte)] = Some(byte);
            } else {
                bytes[next] = Some(byte);
                next += 1;
            }
        }
        ByteCharacters { bytes }
    }

    /// The bytes that a token stands for; none where a character of it stands for no byte.
    pub fn read(&self, token: &str) -> Option<Vec<u8>> {
        token.chars().map(|one| self.bytes.get(one as usize).copied().flatten()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_character() {
        let all = ByteCharacters::new();
        let mut found: Vec<u8> = all.bytes.iter().flatten().copied().collect();
        found.sort_unstable();
        assert_eq!(found, (0..=255).collect::<Vec<u8>>());
        // As GPT-2's vocabulary writes a space, a newline, the soft hyphen, and é.
        assert_eq!(all.read("ĠĊŃÃ©").as_deref(), Some(b" \n\xad\xc3\xa9".as_slice()));
        assert_eq!(all.read("a b"), None);
    }
}
