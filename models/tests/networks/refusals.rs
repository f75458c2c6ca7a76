//! Files and steps that are refused, with what is wrong in the message.

use std::ops::ControlFlow;
use std::path::Path;

use weirgate_models::gguf::{GgufFile, TensorType};
use weirgate_models::network::{LoadProgress, Network, NetworkConfig, Row, StepError};

use super::writer::Writer;
use super::{config, folder, load};

/// A network's file, to be changed.
fn parts(name: &str) -> Writer {
    let file = GgufFile::open(&folder().join(format!("{name}.gguf"))).unwrap();
    let metadata = file.metadata();
    let all = metadata.keys().fold(Writer::new(), |parts, key| parts.value(key, metadata.get(key).unwrap()));
    let tensors = file.tensors().iter();
    tensors.fold(all, |parts, tensor| {
        parts.tensor_of(&tensor.name, tensor.kind, &tensor.shape, file.read(tensor).unwrap())
    })
}

/// A tensor of noughts, instead of the one of the name.
fn instead(parts: Writer, name: &str, kind: TensorType, shape: &[usize]) -> Writer {
    let bytes = shape.iter().product::<usize>() as u64 / kind.block() * kind.block_bytes();
    parts.without_tensor(name).tensor_of(name, kind, shape, vec![0; bytes as usize])
}

/// Loads it, and gives what is said of it after the file's name.
fn try_load(parts: &Writer) -> Result<Network, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.gguf");
    std::fs::write(&path, parts.bytes()).unwrap();
    Network::load(&path, &config()).map_err(|error| {
        let name = format!("{}: ", path.display());
        error.0.strip_prefix(&name).unwrap_or_else(|| panic!("{error} does not name the file")).to_owned()
    })
}

fn refusal(parts: &Writer) -> String {
    try_load(parts).err().expect("the file is wrong")
}

#[test]
fn a_file_that_was_not_changed_gives_the_same_answers() {
    for name in super::NETWORKS {
        let right = super::alone(&mut load(name, &config()), &[1, 2, 3], 0, &[0]);
        assert_eq!(super::alone(&mut try_load(&parts(name)).unwrap(), &[1, 2, 3], 0, &[0]), right);
    }
}

#[test]
fn networks_that_the_kernels_can_t_compute_are_named() {
    let llama = || parts("llama");
    let set = |key: &str, value| llama().without(key).u32(key, value);
    for (parts, message) in [
        (
            set("llama.attention.key_length", 8)
                .without("llama.attention.value_length")
                .without("llama.rope.dimension_count"),
            "a head has 8 numbers, and supported are multiples of 16, up to 256",
        ),
        (
            set("llama.feed_forward_length", 80),
            "the feed-forward part has 80 numbers, and supported are multiples of 32",
        ),
        (llama().u32("llama.expert_count", 8), "llama.expert_count is set, and a mixture of experts is not supported"),
    ] {
        assert_eq!(refusal(&parts), message);
    }
}

#[test]
fn a_network_with_a_window_answers_up_to_its_end() {
    let mut network = try_load(&parts("llama").u32("llama.attention.sliding_window", 20)).unwrap();
    let tokens = [7; 21];
    let row = |tokens, start| Row { tokens, start, blocks: &[0, 1], logits: true };
    assert_eq!(network.limits().context, 20);
    // What is within the window is what the network without one gives.
    let right = super::alone(&mut load("llama", &config()), &tokens[..20], 0, &[0, 1]);
    assert_eq!(super::alone(&mut network, &tokens[..20], 0, &[0, 1]), right);
    let error = StepError::Context { row: 0, end: 21, context: 20 };
    assert_eq!(network.step(&[row(&tokens[..1], 20)]).err(), Some(error.clone()));
    assert_eq!(network.step(&[row(&tokens, 0)]).err(), Some(error));
}

#[test]
fn a_file_may_have_the_same_number_for_each_layer() {
    let same = parts("qwen2").without("qwen2.attention.head_count_kv").array(
        "qwen2.attention.head_count_kv",
        5,
        2,
        &[2, 0, 0, 0, 2, 0, 0, 0],
    );
    let right = super::alone(&mut load("qwen2", &config()), &[1, 2, 3], 0, &[0]);
    assert_eq!(super::alone(&mut try_load(&same).unwrap(), &[1, 2, 3], 0, &[0]), right);
}

#[test]
fn one_row_of_half_floats_is_read() {
    let name = "output_norm.weight";
    let file = GgufFile::open(&folder().join("llama.gguf")).unwrap();
    let norm = file.read(file.tensor(name).unwrap()).unwrap();
    let norm: Vec<f32> = norm.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    // The numbers of 16 bits, and in 32 the same.
    let upper = |number: &f32| (number.to_bits() >> 16) as u16;
    let brain: Vec<u8> = norm.iter().flat_map(|number| upper(number).to_le_bytes()).collect();
    let wide: Vec<u8> = norm.iter().flat_map(|number| (u32::from(upper(number)) << 16).to_le_bytes()).collect();
    let give = |kind, bytes| parts("llama").without_tensor(name).tensor_of(name, kind, &[64], bytes);
    let answer = |parts| super::alone(&mut try_load(&parts).unwrap(), &[1, 2, 3], 0, &[0]);
    assert_eq!(answer(give(TensorType::Bf16, brain)), answer(give(TensorType::F32, wide)));
    let ones = |kind, one: &[u8]| answer(give(kind, one.repeat(64)));
    assert_eq!(ones(TensorType::F16, &0x3c00u16.to_le_bytes()), ones(TensorType::F32, &1f32.to_le_bytes()));
}

#[test]
fn tensors_that_are_missing_odd_or_unknown_are_named() {
    let nan = [[0; 4]; 63].concat().into_iter().chain(f32::NAN.to_le_bytes()).collect();
    for (parts, message) in [
        (
            parts("llama").without_tensor("blk.1.ffn_up.weight"),
            "the tensor 'blk.1.ffn_up.weight' is missing, of the shape [64, 96]",
        ),
        (
            parts("qwen2").without_tensor("blk.0.attn_k.bias"),
            "the tensor 'blk.0.attn_k.bias' is missing, of the shape [32]",
        ),
        (
            parts("qwen2").without_tensor("blk.0.attn_q.bias"),
            "the tensor 'blk.0.attn_q.bias' is missing, of the shape [64]",
        ),
        (
            parts("qwen3").without_tensor("blk.0.attn_q_norm.weight"),
            "the tensor 'blk.0.attn_q_norm.weight' is missing, of the shape [32]",
        ),
        (
            instead(parts("llama"), "blk.0.attn_k.weight", TensorType::F16, &[64, 64]),
            "the tensor 'blk.0.attn_k.weight' has the shape [64, 64], expected [64, 32]",
        ),
        (
            parts("llama").tensor("blk.0.attn_output.bias", &[64]),
            "the tensor 'blk.0.attn_output.bias' is none that llama networks have, so without it answers would be wrong",
        ),
        (
            parts("llama").tensor("blk.2.attn_norm.weight", &[64]),
            "the tensor 'blk.2.attn_norm.weight' is none that llama networks have, so without it answers would be wrong",
        ),
        (
            parts("qwen2").tensor("rope_factors_long.weight", &[8]),
            "the tensor 'rope_factors_long.weight' is none that qwen2 networks have, so without it answers would be wrong",
        ),
        (
            instead(parts("llama"), "output_norm.weight", TensorType::Q8_0, &[64]),
            "the tensor 'output_norm.weight' is of type Q8_0, and of one row supported are F32, F16, BF16",
        ),
        (
            parts("llama").without_tensor("output_norm.weight").tensor_of(
                "output_norm.weight",
                TensorType::F32,
                &[64],
                nan,
            ),
            "the tensor 'output_norm.weight' has NaN at 63",
        ),
        (
            instead(parts("llama3"), "rope_freqs.weight", TensorType::F32, &[8]),
            "the tensor 'rope_freqs.weight' has the shape [8], expected [16]",
        ),
        (
            instead(parts("llama3"), "rope_freqs.weight", TensorType::F32, &[16]),
            "the tensor 'rope_freqs.weight' has 0 at 0, by which nothing can be divided",
        ),
    ] {
        assert_eq!(refusal(&parts), message);
    }
}

#[test]
fn loading_tells_how_far_it_is_and_may_be_stopped() {
    let file = GgufFile::open(&folder().join("llama.gguf")).unwrap();
    let mut told: Vec<LoadProgress> = Vec::new();
    Network::of(&file, &config(), &mut |progress| {
        told.push(progress);
        ControlFlow::Continue(())
    })
    .unwrap();
    let sizes: u64 = file.tensors().iter().map(|tensor| tensor.bytes).sum();
    assert_eq!(told.len(), file.tensors().len());
    assert!(told.windows(2).all(|pair| pair[0].bytes < pair[1].bytes && pair[1].total == sizes), "{told:?}");
    assert_eq!(told.last().unwrap().bytes, sizes);
    let mut left = 3;
    let stopped = Network::of(&file, &config(), &mut |_| {
        left -= 1;
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(stopped.err().unwrap().0.ends_with("llama.gguf: loading was stopped"));
    assert_eq!(left, 0);
}

#[test]
fn files_that_are_cut_off_or_no_files_at_all_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(super::folder().join("llama.gguf")).unwrap();
    let path = folder.path().join("network.gguf");
    for length in [0, 3, 100, 1000, whole.len() / 2, whole.len() - 100] {
        std::fs::write(&path, &whole[..length]).unwrap();
        Network::load(&path, &config()).err().expect("the file is cut off");
    }
    let missing = Network::load(Path::new("/nowhere/network.gguf"), &config()).err().unwrap().to_string();
    assert!(missing.starts_with("/nowhere/network.gguf: "), "{missing}");
}

#[test]
fn a_configuration_that_can_t_be_is_refused() {
    for (config, message) in [
        (
            NetworkConfig { kv_bytes: 4000, ..config() },
            "keys and values may have 4000 bytes, and a block of 16 tokens takes 4096",
        ),
        (
            NetworkConfig { block_tokens: 24, ..config() },
            "a block is asked for 24 tokens, and it has to be a multiple of 16, up to 1024",
        ),
        (
            NetworkConfig { kv_bytes: usize::MAX / 2, ..config() },
            "9223372036854771712 bytes for keys and values can't be set aside, ask for fewer: Cannot allocate memory (os error 12)",
        ),
        (NetworkConfig { threads: 0, ..config() }, "0 threads are asked for, and 1 to 65536 are allowed"),
    ] {
        let error = Network::load(&folder().join("llama.gguf"), &config).err().unwrap();
        assert!(error.0.ends_with(&format!("llama.gguf: {message}")), "{error}");
    }
}

#[test]
fn steps_that_can_t_be_computed_are_refused_and_change_nothing() {
    let mut network =
        load("llama", &NetworkConfig { step_tokens: 20, step_logits: 2, kv_bytes: 10 * 4096, ..config() });
    let row = |tokens, start, blocks| Row { tokens, start, blocks, logits: true };
    let right = super::alone(&mut network, &[1, 2, 3], 0, &[7]);
    let many = [0u32; 21];
    for (rows, error) in [
        (vec![row(&many, 0, &[0, 1])], StepError::Tokens { tokens: 21, limit: 20 }),
        (vec![row(&[1], 0, &[0]), row(&[1], 0, &[1]), row(&[1], 0, &[2])], StepError::Logits { rows: 3, limit: 2 }),
        (vec![row(&[1], 0, &[0]), row(&[], 0, &[1])], StepError::Empty { row: 1 }),
        (vec![row(&[1, 64], 0, &[0])], StepError::Token { row: 0, token: 64, vocabulary: 64 }),
        (vec![row(&[1, 2], 127, &[0; 9])], StepError::Context { row: 0, end: 129, context: 128 }),
        (vec![row(&[1], usize::MAX, &[0])], StepError::Context { row: 0, end: usize::MAX, context: 128 }),
        (vec![row(&[1, 2], 15, &[0])], StepError::Blocks { row: 0, end: 17, blocks: 1, block_tokens: 16 }),
        (vec![row(&[1], 0, &[10])], StepError::Block { row: 0, block: 10, blocks: 10 }),
        (vec![row(&[1], 3, &[5]), row(&[1], 7, &[5])], StepError::Shared { row: 1, block: 5 }),
        (vec![row(&[1, 2], 15, &[4, 4])], StepError::Shared { row: 0, block: 4 }),
    ] {
        assert_eq!(network.step(&rows).err(), Some(error));
    }
    assert!(network.step(&[]).unwrap().is_empty());
    assert_eq!(super::alone(&mut network, &[3], 2, &[7]), right);
}
