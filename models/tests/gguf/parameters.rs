//! What a file says of its network.

use weirgate_models::gguf::{Architecture, HyperParameters, RopeScaling, RopeStyle};

use crate::writer::{Writer, llama};

fn of(file: &Writer) -> Result<HyperParameters, String> {
    let header = file.read().unwrap();
    HyperParameters::of(&header.metadata, |name| header.tensors.iter().find(|tensor| tensor.name == name))
}

fn refused(file: Writer, says: &str) {
    let error = of(&file).unwrap_err();
    assert!(error.contains(says), "{error}\n{says}");
}

/// A Qwen of the same size.
fn qwen(architecture: &str) -> Writer {
    let key = |name: &str| format!("{architecture}.{name}");
    Writer::new()
        .str("general.architecture", architecture)
        .u32(&key("block_count"), 2)
        .u32(&key("embedding_length"), 8)
        .u32(&key("attention.head_count"), 4)
        .u32(&key("feed_forward_length"), 16)
        .u32(&key("context_length"), 64)
        .f32(&key("attention.layer_norm_rms_epsilon"), 1e-6)
        .f32(&key("rope.freq_base"), 1e6)
        .tensor("token_embd.weight", &[8, 5])
}

#[test]
fn a_small_llama_is_read() {
    let expected = HyperParameters {
        architecture: Architecture::Llama,
        layers: 2,
        width: 8,
        heads: 4,
        kv_heads: 2,
        head_dim: 2,
        feed_forward: 16,
        vocabulary: 5,
        context: 64,
        rope_style: RopeStyle::Neighbours,
        rope_dim: 2,
        rope_base: 10_000.0,
        rope_scaling: RopeScaling::None,
        norm_epsilon: 1e-5,
        qk_norms: false,
        qkv_biases: false,
        tied_output: true,
    };
    assert_eq!(of(&llama()), Ok(expected));
    let whole = llama()
        .u32("llama.attention.key_length", 6)
        .u32("llama.attention.value_length", 6)
        .u32("llama.rope.dimension_count", 4)
        .tensor("output.weight", &[8, 5]);
    let found = of(&whole).unwrap();
    assert_eq!((found.head_dim, found.rope_dim, found.tied_output), (6, 4, false));
}

#[test]
fn qwens_differ_by_their_tensors() {
    let two = of(&qwen("qwen2").tensor("blk.0.attn_q.bias", &[8])).unwrap();
    assert_eq!((two.architecture, two.rope_style), (Architecture::Qwen2, RopeStyle::Halves));
    assert_eq!((two.qkv_biases, two.qk_norms, two.kv_heads, two.rope_base), (true, false, 4, 1e6));
    let three = of(&qwen("qwen3").tensor("blk.0.attn_q_norm.weight", &[2])).unwrap();
    assert_eq!((three.architecture, three.qkv_biases, three.qk_norms), (Architecture::Qwen3, false, true));
}

#[test]
fn longer_contexts_are_stretched_as_the_file_says() {
    let scaling = |file: Writer| of(&file).unwrap().rope_scaling;
    let linear = || llama().str("llama.rope.scaling.type", "linear");
    assert_eq!(scaling(linear().f32("llama.rope.scaling.factor", 4.0)), RopeScaling::Linear(4.0));
    assert_eq!(scaling(llama().f32("llama.rope.scale_linear", 2.0)), RopeScaling::Linear(2.0));
    assert_eq!(scaling(linear().f32("llama.rope.scaling.factor", 1.0)), RopeScaling::None);
    assert_eq!(scaling(llama().str("llama.rope.scaling.type", "none")), RopeScaling::None);
    assert_eq!(scaling(llama().tensor("rope_freqs.weight", &[1])), RopeScaling::Frequencies);
    refused(linear(), "llama.rope.scaling.factor is missing");
    refused(llama().str("llama.rope.scaling.type", "yarn"), "is 'yarn', and supported are none and linear");
    let both = linear().f32("llama.rope.scaling.factor", 4.0).tensor("rope_freqs.weight", &[1]);
    refused(both, "is linear by 4, and there are rope_freqs.weight too");
}

/// A small Llama with a number for each layer.
fn by_layer(key: &str, numbers: &[u32]) -> Writer {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    llama().without(key).array(key, 4, numbers.len() as u64, &bytes)
}

#[test]
fn numbers_for_each_layer_are_taken_where_they_are_the_same() {
    let same = of(&by_layer("llama.attention.head_count_kv", &[2, 2])).unwrap();
    assert_eq!(same, of(&llama()).unwrap());
}

#[test]
fn an_embedding_may_have_rows_that_no_token_has() {
    let three = [0u8; 8].repeat(3);
    assert_eq!(of(&llama().array("tokenizer.ggml.tokens", 8, 3, &three)).unwrap().vocabulary, 5);
}

#[test]
fn a_window_bounds_the_context() {
    assert_eq!(of(&llama().u32("llama.attention.sliding_window", 16)).unwrap().context, 16);
    assert_eq!(of(&llama().u32("llama.attention.sliding_window", 0)).unwrap().context, 64);
    assert_eq!(of(&llama().u32("llama.attention.sliding_window", 999)).unwrap().context, 64);
}

#[test]
fn what_can_not_be_run_is_refused_by_name() {
    let other = llama().without("general.architecture").str("general.architecture", "gpt2");
    refused(other, "general.architecture is 'gpt2', and supported are llama, qwen2, qwen3");
    refused(llama().without("general.architecture"), "general.architecture is missing");
    refused(
        llama().u32("llama.expert_count", 8),
        "llama.expert_count is set, and a mixture of experts is not supported",
    );
    refused(llama().without("llama.block_count"), "llama.block_count is missing");
    refused(
        llama().without("llama.block_count").str("llama.block_count", "2"),
        "llama.block_count is a string, and has to be a whole number",
    );
    refused(
        llama().without("llama.block_count").u32("llama.block_count", 0),
        "llama.block_count is 0, and has to be between 1 and 1024",
    );
    refused(
        by_layer("llama.feed_forward_length", &[16, 32]),
        "llama.feed_forward_length differs from layer to layer, which is not supported",
    );
    refused(
        by_layer("llama.attention.head_count_kv", &[2, 4]),
        "llama.attention.head_count_kv differs from layer to layer, which is not supported",
    );
    refused(by_layer("llama.attention.head_count", &[]), "llama.attention.head_count differs from layer to layer");
    refused(
        llama().raw("llama.attention.causal", 7, &[0]),
        "llama.attention.causal is false: this network makes no text, which is not supported",
    );
    refused(
        llama().without("llama.attention.head_count_kv").u32("llama.attention.head_count_kv", 3),
        "4 heads can't share 3",
    );
    refused(
        llama().without("llama.embedding_length").u32("llama.embedding_length", 6),
        "a width of 6 can't be shared by 4 heads",
    );
    refused(llama().u32("llama.attention.key_length", 3), "heads have 3 numbers, and it has to be an even count");
    refused(
        llama().u32("llama.attention.key_length", 4).u32("llama.attention.value_length", 2),
        "4 numbers of a key and 2 of a value",
    );
    refused(llama().u32("llama.rope.dimension_count", 4), "is 4, and has to be even, and 2 at most");
    refused(llama().f32("llama.rope.freq_base", 0.0), "llama.rope.freq_base is 0, and has to be above 0");
    refused(llama().f32("llama.rope.freq_base", f32::NAN), "llama.rope.freq_base is NaN, and has to be finite");
    refused(
        llama().without("llama.attention.layer_norm_rms_epsilon"),
        "llama.attention.layer_norm_rms_epsilon is missing",
    );
    refused(llama().without_tensor("token_embd.weight"), "the tensor 'token_embd.weight' is missing");
    let narrow = llama().without_tensor("token_embd.weight").tensor("token_embd.weight", &[4, 5]);
    refused(narrow, "has the shape [4, 5], and llama.embedding_length is 8");
    let flat = llama().without_tensor("token_embd.weight").tensor("token_embd.weight", &[8]);
    refused(flat, "has the shape [8], expected two dimensions");
    let empty = [0u8; 8].repeat(6);
    refused(llama().array("tokenizer.ggml.tokens", 8, 6, &empty), "there are 6 tokens, and the embedding has 5 rows");
}
