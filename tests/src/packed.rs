//! Bodies as clients encode them.

use std::io::{Read, Write};

use flate2::Compression;

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What HTTP calls deflate.
pub fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What some clients send for it.
pub fn raw_deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// The body of an answer, as a client that knows these codings reads it.
pub fn unpack(coding: Option<&str>, bytes: &[u8]) -> Vec<u8> {
    let mut unpacked = Vec::new();
    let read = match coding {
        None => return bytes.to_vec(),
        Some("gzip") => flate2::read::GzDecoder::new(bytes).read_to_end(&mut unpacked),
        Some("deflate") => flate2::read::ZlibDecoder::new(bytes).read_to_end(&mut unpacked),
        Some("zstd") => return zstd::decode_all(bytes).unwrap(),
        Some(other) => panic!("nobody asked for {other}"),
    };
    read.unwrap();
    unpacked
}
