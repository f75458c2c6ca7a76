//! The content codings that are read and written: gzip, deflate and zstd, on bytes that lie in memory.
//!
//! What comes out of a request is bounded by the limit for bodies and one byte, whatever the ratio; a zstd frame may ask
//! for a window of 8 MiB at most, as RFC 9659 has it for HTTP.

use std::io::{self, ErrorKind, Read, Write};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use flate2::write::{GzEncoder, ZlibEncoder};
use flate2::{Compression, Decompress, FlushDecompress, Status};
use weirgate_protocol::{Error, Result};

use super::body::BodyLimit;

/// The largest window of a zstd frame, as a power of two.
const ZSTD_WINDOW: u32 = 23;
/// Answers are compressed while their client waits, so the quickest level of each serves best.
const ZSTD_LEVEL: i32 = 1;
const LEAST_OUTPUT: usize = 1 << 10;

/// A content coding other than `identity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Gzip,
    /// The zlib format, as HTTP defines it. What many clients send instead, deflate without a frame, is read too.
    Deflate,
    Zstd,
}

impl Encoding {
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Gzip => "gzip",
            Encoding::Deflate => "deflate",
            Encoding::Zstd => "zstd",
        }
    }

    /// The coding of this name, in any case.
    pub fn parse(name: &[u8]) -> Option<Encoding> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match () {
            () if is("gzip") || is("x-gzip") => Some(Encoding::Gzip),
            () if is("deflate") => Some(Encoding::Deflate),
            () if is("zstd") => Some(Encoding::Zstd),
            () => None,
        }
    }
}

/// Undoes a coding of `input`, which must be whole and nothing besides. `cover` is told before memory is taken how many
/// bytes input and output hold together, and may refuse.
pub fn decompress(
    encoding: Encoding,
    input: &[u8],
    limit: BodyLimit,
    cover: impl FnMut(usize) -> Result<()>,
) -> Result<Bytes> {
    let broken = |error: &io::Error| broken(encoding, error);
    let output = match encoding {
        Encoding::Gzip => Output::read(MultiGzDecoder::new(input), input.len(), limit.bytes, cover),
        Encoding::Deflate => Output::read(Inflate::new(input), input.len(), limit.bytes, cover),
        Encoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input).map_err(|error| broken(&error))?;
            decoder.window_log_max(ZSTD_WINDOW).map_err(|error| broken(&error))?;
            Output::read(decoder, input.len(), limit.bytes, cover)
        }
    };
    match output? {
        Output::Whole(bytes) => Ok(bytes),
        Output::Broken(error) => Err(broken(&error)),
        Output::TooLarge => Err(Error::too_large(format!(
            "the request has more than {} bytes when its {} is decompressed, which is the limit ({})",
            limit.bytes,
            encoding.name(),
            limit.set_by
        ))),
    }
}

/// What the first bytes of an encoded body tell, `most` bytes of it at most. Whether it is sound shows when all of it is
/// decompressed.
pub fn start(encoding: Encoding, input: &[u8], most: usize) -> Vec<u8> {
    let mut output = Vec::new();
    let mut read = |reader: &mut dyn Read| {
        // An error, as where the input ends, comes after what could be read.
        let _ = reader.take(most as u64).read_to_end(&mut output);
    };
    match encoding {
        Encoding::Gzip => read(&mut MultiGzDecoder::new(input)),
        Encoding::Deflate => read(&mut Inflate::new(input)),
        Encoding::Zstd => {
            if let Ok(mut decoder) = zstd::stream::read::Decoder::with_buffer(input)
                && decoder.window_log_max(ZSTD_WINDOW).is_ok()
            {
                read(&mut decoder);
            }
        }
    }
    output
}

fn broken(encoding: Encoding, error: &io::Error) -> Error {
    let name = encoding.name();
    match error.kind() {
        ErrorKind::UnexpectedEof => Error::invalid(format!("the request's {name} is cut off: send the whole of it")),
        _ => Error::invalid(format!("the request's {name} is broken, or is followed by other bytes: {error}")),
    }
}

enum Output {
    Whole(Bytes),
    Broken(io::Error),
    TooLarge,
}

impl Output {
    fn read(
        mut from: impl Read,
        input: usize,
        limit: usize,
        mut cover: impl FnMut(usize) -> Result<()>,
    ) -> Result<Output> {
        let mut output = Vec::new();
        let mut length = 0;
        loop {
            if length == output.len() {
                if length > limit {
                    return Ok(Output::TooLarge);
                }
                // Most bodies fit into the first guess; the byte above the limit shows what is too large.
                let guess = if length == 0 { 4 * input } else { 2 * length };
                let size = guess.clamp(LEAST_OUTPUT, LEAST_OUTPUT.max(limit + 1));
                cover(input + size)?;
                output.reserve_exact(size - length);
                output.resize(size, 0);
            }
            match from.read(&mut output[length..]) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Ok(Output::Broken(error)),
            }
        }
        if length > limit {
            return Ok(Output::TooLarge);
        }
        output.truncate(length);
        output.shrink_to_fit();
        Ok(Output::Whole(output.into()))
    }
}

/// Deflate with or without zlib's frame. Unlike the reader of flate2 it tells input that is cut off from input that ends.
struct Inflate<'a> {
    input: &'a [u8],
    state: Decompress,
    ended: bool,
}

impl<'a> Inflate<'a> {
    fn new(input: &'a [u8]) -> Self {
        // No deflate stream of an encoder begins like a zlib header: that would be a stored block whose padding is not 0.
        let framed = matches!(*input, [method, flags, ..]
            if method & 0xf == 8 && u16::from_be_bytes([method, flags]).is_multiple_of(31));
        Inflate { input, state: Decompress::new(framed), ended: false }
    }
}

impl Read for Inflate<'_> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        if self.ended {
            return Ok(0);
        }
        let (read, written) = (self.state.total_in(), self.state.total_out());
        let status = self.state.decompress(self.input, output, FlushDecompress::None)?;
        let (read, written) = (self.state.total_in() - read, self.state.total_out() - written);
        // Both are at most the lengths of the slices.
        self.input = &self.input[read as usize..];
        self.ended = status == Status::StreamEnd;
        if self.ended && !self.input.is_empty() {
            return Err(io::Error::new(ErrorKind::InvalidData, format!("{} bytes are left", self.input.len())));
        }
        if !self.ended && written == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(written as usize)
    }
}

/// Compresses an answer that consists of these parts.
pub fn compress(encoding: Encoding, parts: &[Bytes]) -> Result<Bytes> {
    let length: usize = parts.iter().map(Bytes::len).sum();
    let output = Vec::with_capacity(length / 2);
    let written = match encoding {
        Encoding::Gzip => write(parts, GzEncoder::new(output, Compression::fast()), GzEncoder::finish),
        Encoding::Deflate => write(parts, ZlibEncoder::new(output, Compression::fast()), ZlibEncoder::finish),
        Encoding::Zstd => zstd::stream::write::Encoder::new(output, ZSTD_LEVEL).and_then(|mut encoder| {
            encoder.set_pledged_src_size(Some(length as u64))?;
            write(parts, encoder, zstd::stream::write::Encoder::finish)
        }),
    };
    let written = written
        .map_err(|error| Error::internal(format!("the answer can't be compressed with {}: {error}", encoding.name())));
    Ok(written?.into())
}

fn write<W: Write>(
    parts: &[Bytes],
    mut encoder: W,
    finish: impl FnOnce(W) -> io::Result<Vec<u8>>,
) -> io::Result<Vec<u8>> {
    for part in parts {
        encoder.write_all(part)?;
    }
    finish(encoder)
}

#[cfg(test)]
mod tests {
    use weirgate_protocol::ErrorCode;

    use super::*;

    const ALL: [Encoding; 3] = [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd];

    fn undo(encoding: Encoding, input: &[u8], bytes: usize) -> Result<Bytes> {
        decompress(encoding, input, BodyLimit { bytes, set_by: "flag --max-body" }, |_| Ok(()))
    }

    fn text() -> Bytes {
        (0..20_000_u32).flat_map(|number| format!("{number},").into_bytes()).collect()
    }

    #[test]
    fn every_coding_is_undone_up_to_the_limit_and_not_beyond() {
        let text = text();
        for encoding in ALL {
            let halves = [text.slice(..1000), text.slice(1000..)];
            let packed = compress(encoding, &halves).unwrap();
            assert!(packed.len() < text.len(), "{encoding:?} makes {} bytes", packed.len());
            assert_eq!(undo(encoding, &packed, text.len()).unwrap(), text, "{encoding:?}");
            let error = undo(encoding, &packed, text.len() - 1).unwrap_err();
            assert_eq!(error.code(), ErrorCode::TooLarge);
            assert!(error.message().contains("--max-body") && error.message().contains(encoding.name()), "{error}");
            assert!(undo(encoding, &compress(encoding, &[]).unwrap(), 10).unwrap().is_empty(), "{encoding:?}");
        }
    }

    #[test]
    fn whatever_is_cut_off_or_goes_on_is_refused_by_name() {
        let packed = ALL.map(|encoding| (encoding, compress(encoding, &[text()]).unwrap()));
        for (encoding, packed) in packed {
            for cut in [0, 1, 2, 5, packed.len() / 2, packed.len() - 1] {
                let error = undo(encoding, &packed[..cut], 1 << 20).expect_err("it is cut off");
                assert_eq!(error.code(), ErrorCode::InvalidRequest, "{encoding:?} of {cut} bytes");
                assert!(error.message().contains(encoding.name()), "{error}");
            }
            for more in [&b"x"[..], b"more bytes than any header has"] {
                let error = undo(encoding, &[&packed, more].concat(), 1 << 20).expect_err("something follows");
                assert!(error.message().contains(encoding.name()), "{error}");
            }
            assert!(undo(encoding, &text(), 1 << 20).is_err(), "{encoding:?} of plain text");
        }
    }

    #[test]
    fn several_members_and_deflate_without_a_frame_are_read() {
        let parts = [Bytes::from_static(b"one"), Bytes::from_static(b"two")];
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let members = parts.each_ref().map(|part| compress(encoding, std::slice::from_ref(part)).unwrap());
            assert_eq!(undo(encoding, &members.concat(), 6).unwrap(), "onetwo");
        }
        let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), Compression::best());
        raw.write_all(&text()).unwrap();
        let raw = raw.finish().unwrap();
        assert_eq!(undo(Encoding::Deflate, &raw, 1 << 20).unwrap(), text());
        assert!(undo(Encoding::Deflate, &raw[..raw.len() - 1], 1 << 20).is_err());
    }

    /// 1 GiB of zeros in 1 MiB, or in some KiB.
    #[test]
    fn a_bomb_takes_no_more_memory_than_the_limit() {
        let zeros = vec![Bytes::from(vec![0; 1 << 20]); 64];
        for encoding in ALL {
            let bomb = compress(encoding, &zeros).unwrap();
            let mut most = 0;
            let limit = BodyLimit { bytes: 1 << 20, set_by: "flag --max-body" };
            let covered = |bytes| {
                most = bytes;
                Ok(())
            };
            let error = decompress(encoding, &bomb, limit, covered).unwrap_err();
            assert_eq!(error.code(), ErrorCode::TooLarge);
            assert!(most <= bomb.len() + limit.bytes + 1, "{encoding:?} took {most} bytes");
            let full = |_| Err(Error::queue_full("full", std::time::Duration::from_secs(1)));
            assert_eq!(decompress(encoding, &bomb, limit, full).unwrap_err().code(), ErrorCode::QueueFull);
        }
    }

    #[test]
    fn a_zstd_window_beyond_8_mib_is_refused() {
        let packed = |log| {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(log).unwrap();
            encoder.write_all(&text()).unwrap();
            encoder.finish().unwrap()
        };
        assert_eq!(undo(Encoding::Zstd, &packed(23), 1 << 20).unwrap(), text());
        let error = undo(Encoding::Zstd, &packed(24), 1 << 20).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidRequest, "{error}");
    }

    #[test]
    fn the_start_is_read_of_what_has_come() {
        // Several blocks of zstd, which gives nothing of one that is cut.
        let text: Bytes = (0..200_000_u32).flat_map(|number| format!("{number},").into_bytes()).collect();
        for encoding in ALL {
            let packed = compress(encoding, std::slice::from_ref(&text)).unwrap();
            assert_eq!(start(encoding, &packed, 1_000), text[..1_000], "{encoding:?}");
            assert_eq!(start(encoding, &packed, 1 << 22), text, "{encoding:?}");
            let half = start(encoding, &packed[..packed.len() / 2], 1 << 22);
            assert!(text.starts_with(&half) && half.len() > 1_000, "{encoding:?} gives {} bytes", half.len());
            assert!(start(encoding, b"?", 10).is_empty());
        }
    }

    #[test]
    fn names() {
        assert_eq!(Encoding::parse(b"X-GZip"), Some(Encoding::Gzip));
        for encoding in ALL {
            assert_eq!(Encoding::parse(encoding.name().as_bytes()), Some(encoding));
        }
        assert_eq!(["br", "identity", "", "gzip "].map(|name| Encoding::parse(name.as_bytes())), [None; 4]);
    }
}
