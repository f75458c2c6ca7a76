//! Vectors, held against those of onnxruntime and of numpy.

use weirgate_models::embed::{Backend, Embedder, EmbedderOptions, Pooling};

use super::{Case, cosine, fixture, floats, load, minilm, tiny};

/// The least cosine to the reference's vectors.
fn least(embedder: &mut Embedder, cases: &[Case], right: impl Fn(&Case) -> Vec<f32>) -> f64 {
    cases.iter().fold(1.0, |least: f64, case| {
        let vector = embedder.embed(&[&case.ids]).unwrap().to_vec();
        let cosine = cosine(&vector, &right(case));
        assert!(cosine.is_finite(), "{:?}", case.text);
        least.min(cosine)
    })
}

#[test]
fn vectors_of_a_real_model_are_those_of_onnxruntime_in_python() {
    let fixture = fixture("minilm");
    let mut embedder = load(&minilm(), Backend::Onnx);
    assert_eq!(embedder.spec().dimensions, 384);
    let found = least(&mut embedder, &fixture.cases, |case| floats(&case.vector));
    println!("least cosine of {} texts: 1 - {:.1e}", fixture.cases.len(), 1.0 - found);
    assert!(found >= 0.999_999, "{found}");
}

#[test]
fn its_weights_give_the_same_through_kernels_of_our_own() {
    let fixture = fixture("minilm");
    let mut embedder = load(&minilm(), Backend::Safetensors);
    let found = least(&mut embedder, &fixture.cases, |case| floats(&case.vector));
    println!("least cosine of {} texts: 1 - {:.1e}", fixture.cases.len(), 1.0 - found);
    assert!(found >= 0.999_999, "{found}");
}

#[test]
fn every_pooling_of_both_backends_is_the_reference_s() {
    let fixture = fixture("tiny");
    for backend in [Backend::Onnx, Backend::Safetensors] {
        for (at, pooling) in [Pooling::Mean, Pooling::Cls, Pooling::Max, Pooling::LastToken].into_iter().enumerate() {
            for normalise in [true, false] {
                let options = EmbedderOptions {
                    threads: 1,
                    backend,
                    pooling: Some(pooling),
                    normalise: Some(normalise),
                    ..EmbedderOptions::default()
                };
                let mut embedder = Embedder::load(&tiny(), &options).unwrap();
                for case in &fixture.cases {
                    let mut right = floats(&case.vectors)[32 * at..][..32].to_vec();
                    if normalise {
                        let length = right.iter().map(|value| value * value).sum::<f32>().sqrt();
                        right.iter_mut().for_each(|value| *value /= length);
                    }
                    let found = embedder.embed(&[&case.ids]).unwrap();
                    let worst = found.iter().zip(&right).fold(0f32, |worst, (a, b)| worst.max((a - b).abs()));
                    assert!(worst < 2e-5, "{backend:?} {pooling:?} {normalise} {:?}: {worst}", case.text);
                }
            }
        }
    }
}
