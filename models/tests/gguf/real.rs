//! SmolLM2's file, and files on the disk.

use std::path::{Path, PathBuf};

use weirgate_models::gguf::{Architecture, GgufFile, RopeScaling, TensorType};

use crate::writer::{Writer, llama};

fn smollm2() -> PathBuf {
    let models = std::env::var_os("WEIRGATE_MODELS").filter(|value| !value.is_empty());
    let models = models.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../build/models"), PathBuf::from);
    let path = models.join("smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
    assert!(path.exists(), "{} is not there: run `make setup-models`, or set WEIRGATE_MODELS", path.display());
    path
}

#[test]
fn smollm2_is_read() {
    let file = GgufFile::open(&smollm2()).unwrap();
    let found = file.hyper_parameters().unwrap();
    assert_eq!((found.architecture, found.layers, found.width), (Architecture::Llama, 30, 576));
    assert_eq!((found.heads, found.kv_heads, found.head_dim, found.rope_dim), (9, 3, 64, 64));
    assert_eq!((found.feed_forward, found.vocabulary, found.context), (1536, 49152, 8192));
    assert_eq!((found.rope_base, found.rope_scaling, found.norm_epsilon), (100_000.0, RopeScaling::None, 1e-5));
    assert!(found.tied_output && !found.qk_norms && !found.qkv_biases);
    assert_eq!(file.metadata().str("general.license"), Ok(Some("apache-2.0")));
    let count = |kind| file.tensors().iter().filter(|tensor| tensor.kind == kind).count();
    assert_eq!((count(TensorType::Q4_1), count(TensorType::Q8_0), count(TensorType::F32)), (210, 1, 61));
    let down = file.tensor("blk.29.ffn_down.weight").unwrap();
    assert_eq!((&*down.shape, down.bytes), (&[1536, 576][..], 1536 * 576 / 32 * 20));
    // The first norm's weights are numbers, near enough to each other to be no accident.
    let norm = file.read(file.tensor("blk.0.attn_norm.weight").unwrap()).unwrap();
    let norm: Vec<f32> = norm.chunks_exact(4).map(|one| f32::from_le_bytes(one.try_into().unwrap())).collect();
    assert!(norm.len() == 576 && norm.iter().all(|one| one.is_finite() && one.abs() < 10.0));
}

fn write(folder: &tempfile::TempDir, file: &Writer) -> PathBuf {
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, file.bytes()).unwrap();
    path
}

#[test]
fn a_tensor_is_read_from_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = GgufFile::open(&write(&folder, &llama())).unwrap();
    // 160 bytes of the embedding come before it, which is a multiple of 32.
    let tensor = file.tensor("blk.0.attn_q.weight").unwrap();
    assert_eq!(file.read(tensor).unwrap(), (0..256).map(|at| (160 + at) as u8).collect::<Vec<_>>());
    let error = file.read_into(tensor, &mut [0; 8]).unwrap_err();
    assert!(error.0.ends_with("the tensor 'blk.0.attn_q.weight' has 256 bytes, and 8 are asked for"), "{error}");
    assert!(file.tensor("nothing").is_none());
}

#[test]
fn a_file_that_is_not_whole_is_told_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(&folder, &llama());
    let file = GgufFile::open(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let error = GgufFile::open(&path).unwrap_err();
    assert!(error.0.starts_with(&path.display().to_string()) && error.0.contains("it was cut off"), "{error}");
    // One that is cut while it is open, too.
    let error = file.read(file.tensor("blk.0.attn_q.weight").unwrap()).unwrap_err();
    assert!(error.0.contains("the tensor 'blk.0.attn_q.weight' can't be read"), "{error}");
    let error = GgufFile::open(&folder.path().join("none")).unwrap_err();
    assert!(error.0.contains("No such file"), "{error}");
}
