//! Files and steps that are refused, with what is wrong in the message.

use std::path::Path;

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use weirgate_models::network::{Network, NetworkConfig, Row, StepError};

use super::{config, folder, load};

/// A network's file whose metadata and tensors can be changed.
struct Parts {
    values: Vec<(String, Value)>,
    tensors: Vec<(String, QTensor)>,
}

impl Parts {
    fn of(name: &str) -> Parts {
        let mut file = std::fs::File::open(folder().join(format!("{name}.gguf"))).unwrap();
        let content = gguf_file::Content::read(&mut file).unwrap();
        let tensors = content.tensor_infos.keys();
        Parts {
            tensors: tensors
                .map(|name| (name.clone(), content.tensor(&mut file, name, &Device::Cpu).unwrap()))
                .collect(),
            values: content.metadata.into_iter().collect(),
        }
    }

    fn set(mut self, key: &str, value: Value) -> Parts {
        self.values.retain(|(name, _)| name != key);
        self.values.push((key.to_owned(), value));
        self
    }

    fn without(mut self, name: &str) -> Parts {
        self.values.retain(|(key, _)| key != name);
        self.tensors.retain(|(tensor, _)| tensor != name);
        self
    }

    fn tensor(mut self, name: &str, shape: &[usize], kind: GgmlDType) -> Parts {
        self.tensors.retain(|(tensor, _)| tensor != name);
        let tensor = Tensor::ones(shape, candle_core::DType::F32, &Device::Cpu).unwrap();
        self.tensors.push((name.to_owned(), QTensor::quantize(&tensor, kind).unwrap()));
        self
    }

    fn load(&self) -> Result<Network, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("network.gguf");
        let values: Vec<(&str, &Value)> = self.values.iter().map(|(key, value)| (key.as_str(), value)).collect();
        let tensors: Vec<(&str, &QTensor)> = self.tensors.iter().map(|(key, value)| (key.as_str(), value)).collect();
        gguf_file::write(&mut std::fs::File::create(&path).unwrap(), &values, &tensors).unwrap();
        Network::load(&path, &config()).map_err(|error| error.to_string())
    }

    fn error(&self) -> String {
        self.load().err().expect("the file is wrong")
    }
}

#[test]
fn a_file_that_was_not_changed_loads() {
    for name in ["llama", "qwen2", "qwen3", "types"] {
        Parts::of(name).load().unwrap();
    }
}

#[test]
fn metadata_that_is_not_understood_is_named() {
    let llama = || Parts::of("llama");
    for (parts, message) in [
        (
            llama().set("general.architecture", Value::String("mamba".into())),
            "architecture \"mamba\" is not built in; these are: llama, qwen2, qwen3",
        ),
        (
            llama().without("llama.block_count"),
            "the file has no metadata \"llama.block_count\", which llama networks need",
        ),
        (
            llama().set("llama.expert_count", Value::U32(8)),
            "metadata \"llama.expert_count\" is 8: mixtures of experts are not built in",
        ),
        (
            llama().set("llama.rope.scaling.type", Value::String("yarn".into())),
            "metadata \"llama.rope.scaling.type\" is \"yarn\": none and linear are built in",
        ),
        (
            llama().set("llama.attention.head_count_kv", Value::U32(3)),
            "metadata \"llama.attention.head_count_kv\" is 3: it has to divide the 4 heads",
        ),
        (
            llama().set("llama.attention.key_length", Value::U32(8)),
            "metadata \"llama.attention.key_length\" is 8: a multiple of 16 up to 256 is needed",
        ),
        (
            llama().set("llama.attention.value_length", Value::U32(32)),
            "metadata \"llama.attention.value_length\" is 32: keys are 16 wide",
        ),
        (
            llama().set("llama.embedding_length", Value::U64(u64::MAX)),
            "metadata \"llama.embedding_length\" is U64(18446744073709551615): a number up to 16777216 is needed",
        ),
        (
            llama().set("llama.attention.layer_norm_rms_epsilon", Value::F32(f32::NAN)),
            "metadata \"llama.attention.layer_norm_rms_epsilon\" is F32(NaN): a float above 0 is needed",
        ),
        (
            llama().set("llama.attention.head_count", Value::U32(0)),
            "metadata \"llama.attention.head_count\" is 0: there has to be a head",
        ),
    ] {
        assert_eq!(parts.error(), message);
    }
}

#[test]
fn tensors_that_are_missing_odd_or_unknown_are_named() {
    for (parts, message) in [
        (
            Parts::of("llama").without("blk.1.ffn_up.weight"),
            "tensor \"blk.1.ffn_up.weight\" is missing; [96, 64] was expected",
        ),
        (Parts::of("qwen2").without("blk.0.attn_k.bias"), "tensor \"blk.0.attn_k.bias\" is missing; [32] was expected"),
        (
            Parts::of("qwen3").without("blk.0.attn_q_norm.weight"),
            "tensor \"blk.0.attn_q_norm.weight\" is missing; [32] was expected",
        ),
        (
            Parts::of("llama").tensor("blk.0.attn_k.weight", &[64, 64], GgmlDType::F16),
            "tensor \"blk.0.attn_k.weight\" is [64, 64]; [32, 64] was expected",
        ),
        (
            Parts::of("types").tensor("blk.0.ffn_up.weight", &[256, 256], GgmlDType::Q3K),
            "tensor \"blk.0.ffn_up.weight\" is of type Q3K; F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K \
             and Q6_K are built in",
        ),
        (
            Parts::of("llama").tensor("blk.0.attn_output.bias", &[64], GgmlDType::F32),
            "nothing is known of tensor \"blk.0.attn_output.bias\" in a network of architecture llama, so its answers \
             would be wrong",
        ),
        (
            Parts::of("llama").tensor("token_embd.weight", &[64], GgmlDType::F32),
            "tensor \"token_embd.weight\" is [64]; [vocabulary, 64] was expected",
        ),
        (
            Parts::of("llama").tensor("output_norm.weight", &[64], GgmlDType::F16),
            "tensor \"output_norm.weight\" is of type F16; for a vector only F32 are built in",
        ),
    ] {
        assert_eq!(parts.error(), message);
    }
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
            "the budget of keys and values is 4000; a block of 16 tokens takes 4096 bytes",
        ),
        (
            NetworkConfig { block_tokens: 24, ..config() },
            "the number of tokens of a block is 24; a multiple of 16 up to 1024 is needed",
        ),
        (NetworkConfig { threads: 0, ..config() }, "the number of threads is 0; 1 to 65536 are allowed"),
    ] {
        let error = Network::load(&folder().join("llama.gguf"), &config).err().unwrap();
        assert_eq!(error.to_string(), message);
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
