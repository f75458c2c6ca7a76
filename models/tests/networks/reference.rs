//! Small networks of each family, and of each type of weights, against numpy.

use weirgate_models::network::{KvType, NetworkConfig, Precision};

use super::{NETWORKS, alone, config, fixture, load};

/// The greatest difference to the reference's logits after any token, over the reference's standard deviation.
fn error(name: &str, config: &NetworkConfig) -> f32 {
    let fixture = fixture(name);
    let mut network = load(name, config);
    let mut greatest = 0.0f32;
    for (position, (token, right)) in fixture.tokens.iter().zip(&fixture.logits).enumerate() {
        let logits = alone(&mut network, &[*token], position, &[3, 1, 2]);
        assert_eq!(logits.len(), right.len());
        for (logit, right) in logits.iter().zip(right) {
            assert!(logit.is_finite(), "{name} gave {logit}");
            greatest = greatest.max((logit - right).abs());
        }
    }
    let all: Vec<f32> = fixture.logits.concat();
    let squares = all.iter().map(|logit| logit * logit).sum::<f32>();
    greatest / (squares / all.len() as f32).sqrt()
}

#[test]
fn in_floats_every_family_and_type_gives_the_reference_s_logits() {
    for name in NETWORKS {
        let config = NetworkConfig { precision: Precision::Float32, kv_type: KvType::F32, ..config() };
        let error = error(name, &config);
        println!("{name}: {error:.1e} of the logits' standard deviation");
        assert!(error < 2e-5, "{name} is off by {error}");
    }
}

#[test]
fn keys_and_values_of_16_bits_cost_little() {
    for name in NETWORKS {
        let error = error(name, &NetworkConfig { precision: Precision::Float32, ..config() });
        println!("{name}: {error:.1e} of the logits' standard deviation");
        assert!(error < 5e-3, "{name} is off by {error}");
    }
}

#[test]
fn rows_of_8_bits_cost_little() {
    let error = error("types", &config());
    println!("{error:.1e} of the logits' standard deviation");
    assert!(error < 0.15, "it is off by {error}");
    // So that it is known to have been tried: floats are more exact than this.
    assert!(error > 1e-4);
}
