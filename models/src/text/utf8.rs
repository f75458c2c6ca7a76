//! Bytes to text, with characters that come in several pieces.

/// Text out of bytes as they come. All of it joined is what [`String::from_utf8_lossy`] gives for the bytes joined.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Utf8 {
    /// The first bytes of a character, at most 3.
    held: [u8; 3],
    count: usize,
}

impl Utf8 {
    /// Adds to `text` all that is certain. What may become a character is held back.
    pub fn push(&mut self, mut bytes: &[u8], text: &mut String) {
        // The held bytes are completed one byte at a time; a character has 4 at most.
        while self.count > 0 {
            let Some((&next, rest)) = bytes.split_first() else { return };
            let mut joined = [0; 4];
            joined[..self.count].copy_from_slice(&self.held[..self.count]);
            joined[self.count] = next;
            let joined = &joined[..=self.count];
            match std::str::from_utf8(joined) {
                Ok(character) => {
                    text.push_str(character);
                    self.count = 0;
                    bytes = rest;
                }
                Err(error) if error.error_len().is_none() => {
                    self.held[..joined.len()].copy_from_slice(joined);
                    self.count = joined.len();
                    bytes = rest;
                }
                // The byte is no part of it, and is looked at again by itself.
                Err(_) => self.finish(text),
            }
        }
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            let invalid = chunk.invalid();
            if invalid.is_empty() {
                continue;
            }
            let cut = std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
            if cut && invalid.as_ptr_range().end == bytes.as_ptr_range().end {
                self.held[..invalid.len()].copy_from_slice(invalid);
                self.count = invalid.len();
            } else {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
    }

    /// Adds U+FFFD for what is held back.
    pub fn finish(&mut self, text: &mut String) {
        if std::mem::take(&mut self.count) > 0 {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joined(pieces: &[Vec<u8>]) -> String {
        let (mut utf8, mut text) = (Utf8::default(), String::new());
        for piece in pieces {
            utf8.push(piece, &mut text);
        }
        utf8.finish(&mut text);
        text
    }

    #[test]
    fn a_character_comes_whole() {
        let (mut utf8, mut text) = (Utf8::default(), String::new());
        for (bytes, after) in
            [(&b"a\xf0"[..], "a"), (b"\x9f", "a"), (b"\x98", "a"), (b"\x80b", "a😀b"), (b"\xc3", "a😀b")]
        {
            utf8.push(bytes, &mut text);
            assert_eq!(text, after);
        }
        utf8.finish(&mut text);
        assert_eq!(text, "a😀b\u{fffd}");
    }

    proptest! {
        #[test]
        fn pieces_are_the_whole_however_it_is_cut(
            pieces in prop::collection::vec(prop::collection::vec(
                prop_oneof![any::<u8>(), Just(0xf0), Just(0x9f), Just(0x98), Just(0x80), Just(0xe2), Just(0xed), Just(b'a')],
                0..5,
            ), 0..20)
        ) {
            let whole = pieces.concat();
            prop_assert_eq!(joined(&pieces), String::from_utf8_lossy(&whole));
        }

        #[test]
        fn text_that_is_cut_anywhere_is_the_text(text in ".{0,40}", size in 1usize..5) {
            let pieces: Vec<Vec<u8>> = text.as_bytes().chunks(size).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(joined(&pieces), text);
        }
    }
}
