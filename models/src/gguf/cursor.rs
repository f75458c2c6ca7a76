//! Little-endian numbers and strings out of a header, each held against what is left of it.

use std::io::Read;

/// Reads a header of at most so many bytes. Errors say what is wrong, and at which byte.
pub(super) struct Cursor<R> {
    input: R,
    at: u64,
    /// Bytes that may still be read: of the file, or of the limit.
    left: u64,
}

impl<R: Read> Cursor<R> {
    pub fn new(input: R, limit: u64) -> Cursor<R> {
        Cursor { input, at: 0, left: limit }
    }

    /// Bytes read so far.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Fails where less than `count` elements of at least `size` bytes can still come: a count is believed only where the
    /// file is long enough for it.
    pub fn expect(&self, count: u64, size: u64) -> Result<(), String> {
        match count.checked_mul(size) {
            Some(bytes) if bytes <= self.left => Ok(()),
            _ => Err(format!(
                "{count} elements of {size} bytes or more are announced at byte {}, and {} bytes may follow",
                self.at, self.left
            )),
        }
    }

    pub fn bytes<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.expect(1, N as u64)?;
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub fn u8(&mut self) -> Result<u8, String> {
        self.bytes::<1>().map(|[byte]| byte)
    }

    pub fn u32(&mut self) -> Result<u32, String> {
        self.bytes().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, String> {
        self.bytes().map(u64::from_le_bytes)
    }

    /// A string of at most `longest` bytes, in UTF-8.
    pub fn string(&mut self, longest: u64) -> Result<String, String> {
        let (begun, length) = (self.at, self.u64()?);
        if length > longest {
            return Err(format!("the string at byte {begun} has {length} bytes, the limit is {longest}"));
        }
        self.expect(length, 1)?;
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes)?;
        String::from_utf8(bytes).map_err(|_| format!("the string at byte {begun} is not UTF-8"))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), String> {
        self.input.read_exact(bytes).map_err(|error| format!("the file ends at byte {}: {error}", self.at))?;
        self.at += bytes.len() as u64;
        self.left -= bytes.len() as u64;
        Ok(())
    }
}
