//! Folders that can't be served, or not as they are.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use weirgate_models::embed::{Backend, Embedder, EmbedderOptions, Matryoshka, Pooling, Weights};

use super::tiny;

/// A copy of the small embedder.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "config.json",
            "tokenizer.json",
            "modules.json",
            "sentence_bert_config.json",
            "model.safetensors",
            "1_Pooling/config.json",
            "onnx/model.onnx",
        ] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::copy(tiny().join(name), path).unwrap();
        }
        Folder(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn without(self, name: &str) -> Folder {
        fs::remove_file(self.path().join(name)).unwrap();
        self
    }

    fn with(self, name: &str, value: &Value) -> Folder {
        fs::write(self.path().join(name), value.to_string()).unwrap();
        self
    }

    /// Changes some keys of a file.
    fn change(self, name: &str, changes: Value) -> Folder {
        let path = self.path().join(name);
        let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let Value::Object(changes) = changes else { panic!("not an object") };
        value.as_object_mut().unwrap().extend(changes);
        self.with(name, &value)
    }

    fn load(&self, backend: Backend) -> Result<Embedder, String> {
        let options = EmbedderOptions { threads: 1, backend, ..EmbedderOptions::default() };
        Embedder::load(self.path(), &options).map_err(|error| error.0)
    }

    /// The error, without the folder's own path.
    fn refused(&self, backend: Backend) -> String {
        let Err(error) = self.load(backend) else { panic!("it was loaded") };
        let path = self.path().display().to_string();
        assert!(error.contains(&path), "{error}");
        error.replace(&format!("{path}/"), "").replace(&path, "FOLDER")
    }
}

fn expect(folder: &Folder, backend: Backend, wrong: &str) {
    let error = folder.refused(backend);
    assert!(error.starts_with(wrong), "{error}\n{wrong}");
}

#[test]
fn missing_files_are_named_with_what_is_supported() {
    for name in ["config.json", "tokenizer.json"] {
        expect(&Folder::new().without(name), Backend::Any, &format!("FOLDER has no {name}, which an embedder needs"));
    }
    expect(&Folder::new().without("1_Pooling/config.json"), Backend::Any, "FOLDER has no 1_Pooling/config.json");
    let onnx = Folder::new().without("onnx/model.onnx");
    expect(&onnx, Backend::Onnx, "FOLDER has no weights: supported are model.onnx and onnx/model.onnx");
    assert!(matches!(onnx.load(Backend::Any).unwrap().spec().weights, Weights::Safetensors(_)));
    let none = onnx.without("model.safetensors").with("pytorch_model.bin", &json!(0));
    expect(
        &none,
        Backend::Any,
        "FOLDER has no weights: supported are model.onnx, onnx/model.onnx and model.safetensors (it has pytorch_model.bin, which is not)",
    );
    let error = Embedder::load(&tiny().join("config.json"), &EmbedderOptions::default()).err().unwrap();
    assert!(error.0.contains("config.json is no folder: an embedder is a folder with"), "{error}");
}

#[test]
fn odd_files_are_refused_with_what_is_supported() {
    let modules = |kinds: &[(&str, &str)]| {
        let module =
            |(kind, path): &(&str, &str)| json!({"type": format!("sentence_transformers.models.{kind}"), "path": path});
        Folder::new().with("modules.json", &kinds.iter().map(module).collect::<Vec<_>>().into())
    };
    let supported = "supported are Transformer, Pooling and Normalize, in this order";
    for (folder, wrong) in [
        (
            modules(&[("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense")]),
            format!("modules.json: has module 2 of type Dense there, which is not supported; {supported}"),
        ),
        (
            modules(&[("Transformer", ""), ("Normalize", ""), ("Pooling", "1_Pooling")]),
            format!("modules.json: has module 1 of type Normalize there, which is not supported; {supported}"),
        ),
        (
            modules(&[("Transformer", "0_Transformer"), ("Pooling", "1_Pooling")]),
            "modules.json: has module 0 of type Transformer in '0_Transformer'; ".to_owned(),
        ),
        (modules(&[("Transformer", "")]), "modules.json: has no module of type Pooling, and one is needed".to_owned()),
        (
            modules(&[("Transformer", ""), ("Pooling", "../1_Pooling")]),
            "modules.json names the folder '../1_Pooling', which is not within FOLDER".to_owned(),
        ),
        (Folder::new().with("modules.json", &json!({})), "modules.json: invalid type".to_owned()),
    ] {
        expect(&folder, Backend::Any, &wrong);
    }
    let pooling = |value: Value| Folder::new().with("1_Pooling/config.json", &value);
    let supported = "supported are cls, mean, max, mean_sqrt_len_tokens and lasttoken";
    for (folder, wrong) in [
        (pooling(json!({})), format!("1_Pooling/config.json: chooses no pooling: {supported}")),
        (
            pooling(json!({"pooling_mode_weightedmean_tokens": true})),
            format!("1_Pooling/config.json: chooses pooling 'weightedmean': {supported}"),
        ),
        (
            pooling(json!({"pooling_mode_cls_token": true, "pooling_mode_max_tokens": true})),
            "1_Pooling/config.json: joins 2 poolings to one vector, which is not supported: choose one".to_owned(),
        ),
        (
            pooling(json!({"pooling_mode_mean_tokens": true, "word_embedding_dimension": 64})),
            "modules.json: pools vectors of 64 values, and those of config.json have 32".to_owned(),
        ),
    ] {
        expect(&folder, Backend::Any, &wrong);
    }
    let config = |changes: Value| Folder::new().change("config.json", changes);
    for (changes, wrong) in [
        (
            json!({"model_type": "distilbert"}),
            "config.json: model_type is distilbert; supported with safetensors is bert",
        ),
        (json!({"hidden_act": "relu"}), "config.json: hidden_act is relu; supported with safetensors is gelu"),
        (json!({"position_embedding_type": "relative_key"}), "config.json: position_embedding_type is relative_key; "),
        (
            json!({"num_attention_heads": 4}),
            "model.safetensors: hidden_size is 32 for 4 heads; supported are heads of multiples of 16 values",
        ),
        (json!({"intermediate_size": 48}), "model.safetensors: intermediate_size is 48; supported are multiples of 32"),
        (
            json!({"num_hidden_layers": 1}),
            "model.safetensors: nothing is known of tensor 'encoder.layer.1.attention.output.LayerNorm.bias' in a BERT network",
        ),
        (
            json!({"num_hidden_layers": 3}),
            "model.safetensors: the tensor 'encoder.layer.2.attention.self.query.bias' is missing; one of shape [32] was expected",
        ),
        (json!({"vocab_size": 100}), "tokenizer.json: has the id "),
        (json!({"hidden_size": 0}), "config.json: hidden_size is 0, and has to be of 1 to 16777216"),
    ] {
        expect(&config(changes), Backend::Safetensors, wrong);
    }
    let prompts = json!({"prompts": {"query": "query: "}, "default_prompt_name": "other"});
    expect(
        &Folder::new().with("config_sentence_transformers.json", &prompts),
        Backend::Any,
        "config_sentence_transformers.json: has 'other' as default_prompt_name, and no such prompt",
    );
    let cut = Folder::new();
    let whole = fs::read(cut.path().join("model.safetensors")).unwrap();
    fs::write(cut.path().join("model.safetensors"), &whole[..whole.len() - 4]).unwrap();
    expect(&cut, Backend::Safetensors, "model.safetensors: the tensor '");
    fs::write(cut.path().join("onnx/model.onnx"), b"none").unwrap();
    expect(&cut, Backend::Onnx, "onnx/model.onnx can't be loaded: ");
}

#[test]
fn what_is_not_said_has_the_defaults_of_others() {
    let plain =
        Folder::new().without("modules.json").without("1_Pooling/config.json").without("sentence_bert_config.json");
    let embedder = plain.load(Backend::Any).unwrap();
    let spec = embedder.spec();
    assert_eq!((spec.pooling, spec.normalised, spec.max_tokens), (Pooling::Mean, true, 80));
    let plain = plain.with("tokenizer_config.json", &json!({"model_max_length": 1e30}));
    assert_eq!(plain.load(Backend::Any).unwrap().spec().max_tokens, 80);
    let plain = plain.with("tokenizer_config.json", &json!({"model_max_length": 60}));
    assert_eq!(plain.load(Backend::Any).unwrap().spec().max_tokens, 60);
    let modules = json!([{"type": "sentence_transformers.models.Transformer", "path": ""},
        {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]);
    let embedder = Folder::new().with("modules.json", &modules).load(Backend::Any).unwrap();
    assert!(!embedder.spec().normalised, "it has no module that normalises");
}

#[test]
fn shorter_vectors_are_for_models_that_were_trained_for_them() {
    let spec = |changes: Value| Folder::new().change("config.json", changes).load(Backend::Any).unwrap().spec().clone();
    let no = spec(json!({}));
    assert_eq!((no.matryoshka.clone(), no.check_dimensions(32)), (Matryoshka::No, Ok(())));
    assert!(
        no.check_dimensions(16)
            .unwrap_err()
            .starts_with("16 dimensions are asked for, and the model has 32: it does not say")
    );
    let any = spec(json!({"is_matryoshka": true}));
    assert_eq!(any.check_dimensions(1), Ok(()));
    for wrong in [0, 33] {
        let error = any.check_dimensions(wrong).unwrap_err();
        assert_eq!(error, format!("{wrong} dimensions are asked for, and the model has 1 to 32"));
    }
    let these = spec(json!({"matryoshka_dimensions": [8, 16]}));
    assert_eq!(these.check_dimensions(16), Ok(()));
    assert_eq!(
        these.check_dimensions(9).unwrap_err(),
        "9 dimensions are asked for, and the model was trained for 8, 16"
    );
    let mut vector = vec![0.0; 32];
    (vector[0], vector[1], vector[2]) = (0.3, 0.4, 0.866);
    any.cut(&mut vector, 2);
    assert_eq!(vector.iter().map(|value| (value * 10.0).round()).collect::<Vec<_>>(), [6.0, 8.0]);
}
