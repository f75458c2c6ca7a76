//! Files that lie, are cut, or are of no sense: each is refused with what is wrong, and never believed before it is checked.

use std::io::Read;

use proptest::prelude::*;
use weirgate_models::gguf::{Header, HyperParameters, LARGEST_HEADER, LONGEST_STRING, Value};
use weirgate_models::text::Tokenizer;

use crate::writer::{Writer, llama, string};

#[test]
fn what_is_no_gguf_file_is_refused() {
    let refusal = |bytes: &[u8]| Header::read(bytes, bytes.len() as u64).unwrap_err();
    assert!(refusal(b"").contains("is no GGUF file: it is too short"));
    assert!(refusal(b"PK\x03\x04 and so on").contains("does not begin with GGUF"));
    let big = Writer { version: 3u32.swap_bytes(), ..Writer::new() };
    assert!(big.refusal().contains("is big-endian, and supported is little-endian"));
    assert!(Writer { version: 1, ..Writer::new() }.refusal().contains("is of version 1, and supported are 2 and 3"));
    assert!(Writer { version: 4, ..Writer::new() }.refusal().contains("is of version 4"));
    assert!(Writer { version: 2, ..llama() }.read().is_ok());
}

#[test]
fn a_count_is_not_believed() {
    let with = |tensors, entries| Writer { counts: Some((tensors, entries)), ..llama() }.refusal();
    assert!(with(u64::MAX, 1).contains("has 18446744073709551615 tensors, the limit is 65536"));
    assert!(with(1, 1 << 40).contains("entries of metadata, the limit is 4096"));
    assert!(with(60_000, 8).contains("byte"));
    assert!(with(2, 4000).contains("byte"));
    let array = |kind, count, bytes: &[u8]| Writer::new().array("a", kind, count, bytes).refusal();
    assert!(array(0, u64::MAX, b"").contains("a: has 18446744073709551615 elements, the limit is 2097152"));
    assert!(array(8, 2_000_000, b"").contains("a: 2000000 elements of 8 bytes or more are announced at byte 49, and"));
    assert!(array(9, 2_000_000, b"").contains("2000000 elements of 12 bytes"));
    assert!(array(13, 1, b"x").contains("a: has the type 13, and there are the types 0 to 12"));
    assert!(array(10, 1, &u64::MAX.to_le_bytes()).contains("in an array, the limit is 9223372036854775807"));
}

#[test]
fn strings_and_values_are_checked() {
    let long = Writer::new().raw("a", 8, &(1u64 << 21).to_le_bytes());
    assert!(long.refusal().contains("has 2097152 bytes, the limit is 1048576"));
    let longer = Writer::new().raw("a", 8, &1000u64.to_le_bytes());
    assert!(longer.refusal().contains("a: 1000 elements of 1 bytes or more are announced"));
    assert!(Writer::new().raw("a", 8, &string(b"\xff")).refusal().contains("is not UTF-8"));
    assert!(Writer::new().raw("a", 7, &[2]).refusal().contains("a: is a bool, and 2 is neither 0 nor 1"));
    assert!(Writer::new().raw("a", 99, &[]).refusal().contains("a: has the type 99"));
    assert!(Writer::new().u32("a", 1).u32("a", 1).refusal().contains("a is there twice"));
    let key = "k".repeat(70_000);
    assert!(Writer::new().u32(&key, 1).refusal().contains("has 70000 bytes, the limit is 65535"));
    assert!(Writer::new().u32("split.count", 3).refusal().contains("is one of 3 parts of a model"));
}

#[test]
fn arrays_in_arrays_are_stepped_over_to_a_depth() {
    let nested = |depth: usize| {
        let mut bytes = [&4u32.to_le_bytes()[..], &1u64.to_le_bytes(), &7u32.to_le_bytes()].concat();
        for _ in 1..depth {
            bytes = [&9u32.to_le_bytes()[..], &1u64.to_le_bytes(), &bytes].concat();
        }
        Writer::new().raw("a", 9, &bytes).u32("b", 1)
    };
    let header = nested(4).read().unwrap();
    assert_eq!((header.metadata.get("a"), header.metadata.get("b")), (Some(&Value::Nested), Some(&Value::Unsigned(1))));
    assert!(nested(5).refusal().contains("a: has more than 4 arrays in each other"));
    assert!(nested(4000).refusal().contains("a: has more than 4 arrays in each other"));
}

#[test]
fn a_tensor_lies_where_it_can() {
    let one = |kind, shape: &[u64], offset| {
        Writer { data: 64, ..Writer::new() }.tensor_at("t", kind, shape, offset).refusal()
    };
    assert!(one(0, &[16], 32).contains("the tensor 't' of 64 bytes lies at 32, past the end of the file of"));
    assert!(one(0, &[1], u64::MAX - 31).contains("past the end"));
    assert!(one(0, &[1], 8).contains("the tensor 't' lies at 8, which is no multiple of 32"));
    assert!(one(0, &[1 << 40, 1 << 40], 0).contains("which no file can hold"));
    assert!(one(0, &[u64::MAX], 0).contains("which no file can hold"));
    assert!(one(0, &[0, 3], 0).contains("has the shape [0, 3], which is empty"));
    assert!(one(0, &[1; 5], 0).contains("has 5 dimensions, the limit is 4"));
    assert!(one(2, &[33], 0).contains("has rows of 33 elements, and Q4_0 keeps them in blocks of 32"));
    assert!(one(12, &[32], 0).contains("Q4_K keeps them in blocks of 256"));
    let error = one(10, &[256], 0);
    assert!(error.contains("'t' is of type Q2_K, and supported are F32, F16, BF16, Q4_0, Q4_1, Q5_0"), "{error}");
    assert!(one(4, &[32], 0).contains("is of type number 4"));
    let two =
        |a: u64, b: u64| Writer { data: 128, ..Writer::new() }.tensor_at("a", 0, &[16], a).tensor_at("b", 0, &[16], b);
    assert!(two(0, 32).refusal().contains("the tensors 'a' and 'b' lie upon each other"));
    assert!(two(64, 0).read().is_ok());
    assert!(two(0, 64).tensor_at("a", 0, &[1], 96).refusal().contains("lie upon each other"));
    let twice = Writer { data: 128, ..Writer::new() }.tensor_at("a", 0, &[8], 0).tensor_at("a", 0, &[8], 32);
    assert!(twice.refusal().contains("the tensor 'a' is there twice"));
}

#[test]
fn alignment_is_a_power_of_two() {
    for alignment in [0, 3, 48, 1 << 21] {
        let refusal = Writer::new().u32("general.alignment", alignment).refusal();
        assert!(
            refusal.contains(&format!("general.alignment is {alignment}, and has to be a power of two")),
            "{refusal}"
        );
    }
    let file =
        Writer { alignment: 64, ..Writer::new() }.u32("general.alignment", 64).tensor("a", &[1]).tensor("b", &[3]);
    let header = file.read().unwrap();
    let places: Vec<_> = header.tensors.iter().map(|tensor| (tensor.offset % 64, tensor.bytes)).collect();
    assert_eq!(places, [(0, 4), (0, 12)]);
}

/// Counts what is read, and gives nought for ever.
struct Endless(u64);

impl Read for &mut Endless {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        out.fill(0);
        self.0 += out.len() as u64;
        Ok(out.len())
    }
}

#[test]
fn a_header_has_an_end() {
    // Strings of the longest kind, one after the other: what is read of them stays below the limit.
    let head = [b"GGUF", &3u32.to_le_bytes()[..], &0u64.to_le_bytes(), &4000u64.to_le_bytes()].concat();
    let mut input: Box<dyn Read> = Box::new(std::io::Cursor::new(head));
    let count = LARGEST_HEADER / LONGEST_STRING + 1;
    for at in 0..count {
        let begin = [string(at.to_string().as_bytes()), 8u32.to_le_bytes().into(), LONGEST_STRING.to_le_bytes().into()];
        input = Box::new(
            input.chain(std::io::Cursor::new(begin.concat())).chain(std::io::repeat(b' ').take(LONGEST_STRING)),
        );
    }
    let error = Header::read(input, u64::MAX).unwrap_err();
    assert!(
        error.contains(&format!("{}: {LONGEST_STRING} elements of 1 bytes or more are announced", count - 2)),
        "{error}"
    );
    let mut endless = Endless(0);
    assert!(Header::read(&mut endless, u64::MAX).is_err());
    assert!(endless.0 < 100);
}

/// Whatever the bytes are, they are read or refused.
fn read(bytes: &[u8]) {
    if let Ok(header) = Header::read(bytes, bytes.len() as u64) {
        let tensor = |name: &str| header.tensors.iter().find(|tensor| tensor.name == name);
        let _ = HyperParameters::of(&header.metadata, tensor);
        let _ = Tokenizer::of(&header.metadata);
    }
}

proptest! {
    #[test]
    fn spoilt_files_are_read_or_refused(
        spoilt in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), Just(0), Just(255)]), 1..6),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let mut bytes = llama().bytes();
        for (at, byte) in spoilt {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        read(&bytes);
    }
}
