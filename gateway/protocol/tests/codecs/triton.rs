//! Triton's extensions: which model a load request means, and the numbers that clients were built with.

use std::sync::Arc;

use prost::Message;
use weirgate_protocol::oip::{
    self, Batching, LoadRequest, RepositoryModelLoadRequest, RepositoryModelUnloadRequest, model_config,
};
use weirgate_protocol::{Datatype, Dim, LoadedModel, ModelSpec, TensorSpec};

/// A field with a payload, as any client's library writes it. Numbers above 15 take two bytes.
fn field(number: u8, payload: &[u8]) -> Vec<u8> {
    let key = u16::from(number) << 3 | 2;
    let key = if key < 0x80 { vec![key as u8] } else { vec![key as u8 | 0x80, (key >> 7) as u8] };
    [&key[..], &[payload.len() as u8], payload].concat()
}

fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

fn load(wire: &[u8]) -> Result<String, String> {
    let parts = RepositoryModelLoadRequest::decode(wire).expect("it is sound").into_parts();
    parts.map(|(model, _)| model).map_err(|error| error.message().to_owned())
}

#[test]
fn both_kinds_of_client_name_the_model() {
    assert_eq!(load(&field(1, b"kserves")).as_deref(), Ok("kserves"));
    assert_eq!(load(&field(2, b"tritons")).as_deref(), Ok("tritons"));
    assert_eq!(load(&[]).unwrap_err(), "model_name is empty: name the model");
    let both = [field(1, b"repository"), field(2, b"model")].concat();
    assert!(load(&both).unwrap_err().starts_with("repository_name is 'repository'"));
}

#[test]
fn a_load_has_its_parameters() {
    let parameter = field(3, &[field(1, b"config"), field(2, &number(1, 1))].concat());
    let asked = RepositoryModelUnloadRequest::decode(&[field(2, b"m"), parameter].concat()[..]).unwrap();
    let (model, parameters) = asked.into_parts().unwrap();
    assert_eq!((model.as_str(), parameters.keys().next().unwrap().as_str()), ("m", "config"));
}

#[test]
fn the_answer_to_a_load_is_kserves() {
    let answer = oip::RepositoryModelLoadResponse { model_name: "m".into(), is_loaded: true };
    assert_eq!(answer.encode_to_vec(), [field(1, b"m"), number(2, 1)].concat());
    let answer = oip::RepositoryModelUnloadResponse { model_name: "m".into(), is_unloaded: true };
    assert_eq!(answer.encode_to_vec(), [field(1, b"m"), number(2, 1)].concat());
}

fn loaded(versions: &[&str]) -> LoadedModel {
    let mut specs = versions
        .iter()
        .rev()
        .map(|version| Arc::new(ModelSpec { version: Some((*version).into()), ..spec(Dim::Fixed(2)) }));
    LoadedModel::new(specs.next().unwrap_or_else(|| Arc::new(spec(Dim::Fixed(2)))), specs)
}

fn spec(first: Dim) -> ModelSpec {
    let tensor = |name: &str, datatype| TensorSpec {
        name: name.into(),
        datatype,
        shape: vec![first.clone(), Dim::Dynamic("n".into()), Dim::Fixed(3)],
    };
    ModelSpec {
        version: None,
        platform: "onnxruntime_onnx",
        inputs: vec![tensor("x", Datatype::Fp32)],
        outputs: vec![tensor("y", Datatype::Bytes)],
        pads: false,
    }
}

const BATCHING: Batching =
    Batching { max_rows: 8, linger: std::time::Duration::from_micros(5), replicas: 2, decoupled: false };

#[test]
fn a_configuration_has_the_numbers_of_existing_clients() {
    let config = model_config("m", &loaded(&[]), &spec(Dim::Dynamic("batch".into())), BATCHING);
    let any = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01][..];
    let dims = [any, &[3]].concat();
    let wire = [
        field(1, b"m"),
        field(2, b"onnxruntime_onnx"),
        field(3, &field(1, &number(1, 1))),
        number(4, 8),
        field(5, &[field(1, b"x"), number(2, 11), field(4, &dims)].concat()),
        field(6, &[field(1, b"y"), number(2, 13), field(3, &dims)].concat()),
        field(7, &[field(1, b"m"), number(2, 2), number(4, 2)].concat()),
        field(11, &number(2, 5)),
        field(17, b"onnxruntime"),
    ];
    assert_eq!(oip::ModelConfigResponse { config: Some(config) }.encode_to_vec(), field(1, &wire.concat()));
}

#[test]
fn a_model_that_does_not_batch_keeps_its_first_dimension() {
    let config = model_config("m", &loaded(&[]), &spec(Dim::Fixed(2)), BATCHING);
    assert_eq!((config.max_batch_size, &config.input[0].dims[..]), (0, &[2, -1, 3][..]));
    assert_eq!(config.dynamic_batching, None);
}

#[test]
fn a_configuration_says_that_a_call_may_have_any_number_of_answers() {
    let of = |decoupled| {
        let batching = Batching { decoupled, ..BATCHING };
        model_config("m", &loaded(&[]), &spec(Dim::Fixed(1)), batching)
    };
    let (one, many) = (of(false), of(true));
    assert_eq!(many.encode_to_vec()[one.encoded_len()..], [0x9a, 0x01, 0x02, 0x08, 0x01], "it is field 19");
    let json = |config| serde_json::from_slice::<serde_json::Value>(&oip::config_body(&config)).unwrap();
    assert_eq!(json(many)["model_transaction_policy"], serde_json::json!({"decoupled": true}));
    assert!(json(one).get("model_transaction_policy").is_none());
}

#[test]
fn a_configuration_names_the_versions_that_are_served() {
    let config = model_config("m", &loaded(&["2", "10"]), &spec(Dim::Fixed(2)), BATCHING);
    let wire = config.version_policy.as_ref().unwrap().encode_to_vec();
    assert_eq!(wire, field(3, &field(1, &[2, 10])));
    let json: serde_json::Value = serde_json::from_slice(&oip::config_body(&config)).unwrap();
    assert_eq!(json["version_policy"], serde_json::json!({"specific": {"versions": [2, 10]}}));
    let json: serde_json::Value =
        serde_json::from_slice(&oip::config_body(&model_config("m", &loaded(&[]), &spec(Dim::Fixed(2)), BATCHING)))
            .unwrap();
    assert_eq!(json["version_policy"], serde_json::json!({"latest": {"num_versions": 1}}));
}

#[test]
fn statistics_have_the_numbers_of_existing_clients() {
    let duration = |count, ns| Some(oip::StatisticDuration { count, ns });
    let infer = oip::InferStatistics {
        success: duration(1, 0),
        fail: duration(2, 0),
        queue: duration(3, 0),
        compute_input: duration(4, 0),
        compute_infer: duration(5, 0),
        compute_output: duration(6, 0),
        cache_hit: duration(7, 0),
        cache_miss: duration(8, 9),
    };
    let batch = oip::InferBatchStatistics {
        batch_size: 4,
        compute_input: duration(2, 0),
        compute_infer: duration(3, 0),
        compute_output: duration(4, 0),
    };
    let model = oip::ModelStatistics {
        name: "m".into(),
        version: "1".into(),
        last_inference: 3,
        inference_count: 4,
        execution_count: 5,
        inference_stats: Some(infer),
        batch_stats: vec![batch],
        memory_usage: vec![oip::MemoryUsage { r#type: "CPU".into(), id: 1, byte_size: 2 }],
    };
    let counts: Vec<u8> = (1..=7).flat_map(|count| field(count, &number(1, count))).collect();
    let counts = [counts, field(8, &[number(1, 8), number(2, 9)].concat())].concat();
    let batch: Vec<u8> = (2..=4).flat_map(|count| field(count, &number(1, count))).collect();
    let wire = [
        field(1, b"m"),
        field(2, b"1"),
        number(3, 3),
        number(4, 4),
        number(5, 5),
        field(6, &counts),
        field(7, &[number(1, 4), batch].concat()),
        field(8, &[field(1, b"CPU"), number(2, 1), number(3, 2)].concat()),
    ];
    let answer = oip::ModelStatisticsResponse { model_stats: vec![model] };
    assert_eq!(answer.encode_to_vec(), field(1, &wire.concat()));
}

#[test]
fn the_index_and_streamed_answers_have_the_numbers_of_existing_clients() {
    let of = |text: &str| text.to_owned();
    let model =
        oip::repository_index_response::ModelIndex { name: of("m"), version: of("v"), state: of("s"), reason: of("r") };
    let wire = field(1, &[field(1, b"m"), field(2, b"v"), field(3, b"s"), field(4, b"r")].concat());
    assert_eq!(oip::RepositoryIndexResponse { models: vec![model] }.encode_to_vec(), wire);
    let asked = oip::RepositoryIndexRequest::decode(&[field(1, b"r"), number(2, 1)].concat()[..]).unwrap();
    assert_eq!((asked.repository_name.as_str(), asked.ready), ("r", true));
    let answer = oip::ModelStreamInferResponse {
        error_message: of("e"),
        infer_response: Some(oip::ModelInferResponse { id: of("i"), ..Default::default() }),
    };
    assert_eq!(answer.encode_to_vec(), [field(1, b"e"), field(2, &field(3, b"i"))].concat());
}
