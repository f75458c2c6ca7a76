//! Vectors of texts among others, against those of the texts alone.

use weirgate_models::embed::{Backend, Company, Embedder};

use super::{cosine, fixture, load, minilm, tiny};

/// The vectors of all texts, alone and in runs of several.
fn both(embedder: &mut Embedder, texts: &[&[u32]], together: usize) -> (Vec<f32>, Vec<f32>) {
    let alone = texts.iter().flat_map(|text| embedder.embed(&[text]).unwrap().to_vec()).collect();
    let among = texts.chunks(together).flat_map(|texts| embedder.embed(texts).unwrap().to_vec()).collect();
    (alone, among)
}

#[test]
fn with_padding_only_the_last_digits_depend_on_company() {
    let fixture = fixture("minilm");
    let mut embedder = load(&minilm(), Backend::Onnx);
    assert_eq!(embedder.spec().company, Company::Padded);
    let texts: Vec<&[u32]> = fixture.cases.iter().map(|case| case.ids.as_slice()).collect();
    let (alone, among) = both(&mut embedder, &texts, 7);
    let least = alone.chunks(384).zip(among.chunks(384)).fold(1.0, |least: f64, (a, b)| least.min(cosine(a, b)));
    println!("least cosine: 1 - {:.1e}", 1.0 - least);
    assert!(least >= 0.999_999, "{least}");
}

#[test]
fn kernels_of_our_own_give_the_same_bits_in_any_company_and_on_any_threads() {
    let fixture = fixture("tiny");
    let mut embedder = load(&tiny(), Backend::Safetensors);
    assert_eq!(embedder.spec().company, Company::Ragged);
    let texts: Vec<&[u32]> = fixture.cases.iter().map(|case| case.ids.as_slice()).collect();
    let bits = |vectors: &[f32]| vectors.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let (alone, among) = both(&mut embedder, &texts, 50);
    assert_eq!(bits(&alone), bits(&among));
    let options =
        weirgate_models::embed::EmbedderOptions { threads: 3, backend: Backend::Safetensors, ..Default::default() };
    let mut other = Embedder::load(&tiny(), &options).unwrap();
    assert_eq!(bits(&alone), bits(other.embed(&texts).unwrap()));
}

#[test]
fn tokens_that_can_not_be_embedded_are_the_caller_s_fault_and_change_nothing() {
    for backend in [Backend::Onnx, Backend::Safetensors] {
        let mut embedder = load(&tiny(), backend);
        let before = embedder.embed(&[&[1, 2, 3]]).unwrap().to_vec();
        let vocabulary = embedder.spec().vocabulary as u32;
        for (text, wrong) in [
            (vec![], "text 1 has no tokens; it needs at least 1".to_owned()),
            (vec![1; 73], "text 1 has 73 tokens, and the model takes 72; ".to_owned()),
            (vec![1, vocabulary], format!("text 1 has token {vocabulary}, and the vocabulary has {vocabulary}; ")),
        ] {
            let error = embedder.embed(&[&[1, 2, 3], &text]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("the model refused the input: {wrong}")), "{error}");
        }
        assert_eq!(embedder.embed(&[]).unwrap(), [0.0; 0]);
        assert_eq!(embedder.embed(&[&[1, 2, 3]]).unwrap(), before);
    }
}
