//! The sampler against the same in its plainest form: everything sorted, every probability written out.

use proptest::prelude::*;
use weirgate_protocol::ErrorCode;

use super::*;

/// The probability of each token, by id.
fn naive(logits: &[f32], parameters: &SamplingParameters) -> Vec<f64> {
    let SamplingParameters { temperature, top_k, top_p, min_p, .. } = *parameters;
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    let weight = |token: usize| f64::from(((logits[token] - logits[order[0]]) / temperature).exp());
    let mut left: Vec<usize> = order.iter().copied().filter(|&token| weight(token) >= f64::from(min_p)).collect();
    left.truncate(top_k.unwrap_or(usize::MAX));
    let total: f64 = left.iter().map(|&token| weight(token)).sum();
    let (mut sum, mut count) = (0.0, 0);
    while count < left.len() && sum < f64::from(top_p) * total {
        sum += weight(left[count]);
        count += 1;
    }
    left.truncate(count);
    let total: f64 = left.iter().map(|&token| weight(token)).sum();
    let mut probabilities = vec![0.0; logits.len()];
    left.iter().for_each(|&token| probabilities[token] = weight(token) / total);
    probabilities
}

/// How often each token came in so many draws, each with a seed of its own.
fn drawn(logits: &[f32], parameters: &SamplingParameters, draws: u64) -> Vec<f64> {
    let mut counts = vec![0.0; logits.len()];
    let mut scratch = Scratch::default();
    for seed in 0..draws {
        let mut sampler = Sampler::new(SamplingParameters { seed, ..parameters.clone() }, &[]);
        counts[sampler.sample(logits, &[], &mut scratch).unwrap() as usize] += 1.0 / draws as f64;
    }
    counts
}

fn greedy(logits: &[f32], parameters: SamplingParameters, prompt: &[u32], banned: &[u32]) -> Result<u32, SampleError> {
    let parameters = SamplingParameters { temperature: 0.0, ..parameters };
    Sampler::new(parameters, prompt).sample(logits, banned, &mut Scratch::default())
}

/// Logits with many that are equal, and a few far from the others.
fn logits() -> impl Strategy<Value = Vec<f32>> {
    let logit = prop_oneof![4 => (-20i8..20).prop_map(|x| f32::from(x) / 4.0), 1 => -30.0f32..30.0];
    prop::collection::vec(logit, 1..80)
}

fn parameters() -> impl Strategy<Value = SamplingParameters> {
    let top_k = prop::option::of(1usize..90);
    let top_p = prop_oneof![Just(1.0f32), 0.01f32..1.0];
    let min_p = prop_oneof![Just(0.0f32), 0.0f32..1.0];
    (0.2f32..3.0, top_k, top_p, min_p).prop_map(|(temperature, top_k, top_p, min_p)| SamplingParameters {
        temperature,
        top_k,
        top_p,
        min_p,
        ..SamplingParameters::default()
    })
}

proptest! {
    #[test]
    fn what_can_come_is_what_stays_when_all_is_sorted(logits in logits(), parameters in parameters()) {
        let probabilities = naive(&logits, &parameters);
        let mut scratch = Scratch::default();
        for seed in 0..64 {
            let mut sampler = Sampler::new(SamplingParameters { seed, ..parameters.clone() }, &[]);
            let token = sampler.sample(&logits, &[], &mut scratch).unwrap();
            // A cut that lies within a rounding of another token may fall on either side.
            let near = naive(&logits, &SamplingParameters { top_p: (parameters.top_p + 1e-5).min(1.0), ..parameters.clone() });
            prop_assert!(probabilities[token as usize] > 0.0 || near[token as usize] > 0.0);
        }
    }

    #[test]
    fn the_greatest_logit_wins_at_temperature_0_and_the_lowest_id_of_several(logits in logits()) {
        let token = greedy(&logits, SamplingParameters::default(), &[], &[]).unwrap() as usize;
        prop_assert!(logits.iter().all(|&logit| logit <= logits[token]));
        prop_assert!(logits[..token].iter().all(|&logit| logit < logits[token]));
    }

    #[test]
    fn the_same_seed_gives_the_same_tokens_and_another_sequence_changes_nothing(
        logits in logits(), parameters in parameters(), seed in any::<u64>(),
    ) {
        let parameters = SamplingParameters { seed, frequency_penalty: 0.5, ..parameters };
        let mut scratch = Scratch::default();
        let mut alone = Sampler::new(parameters.clone(), &[]);
        let alone: Vec<_> = (0..20).map(|_| alone.sample(&logits, &[], &mut scratch)).collect();
        let mut again = Sampler::new(parameters.clone(), &[]);
        let mut other = Sampler::new(SamplingParameters { seed: !seed, ..parameters }, &[]);
        for one in alone {
            other.sample(&logits, &[], &mut scratch).unwrap();
            prop_assert_eq!(again.sample(&logits, &[], &mut scratch), one);
        }
    }

    #[test]
    fn a_token_that_is_taken_out_never_comes(logits in logits(), parameters in parameters(), seed in any::<u64>()) {
        let most = logits.len() as u32;
        let biases = (0..most).step_by(3).map(|token| (token, -100.0)).collect();
        let banned: Vec<u32> = (1..most).step_by(3).collect();
        let parameters = SamplingParameters { logit_bias: biases, seed, ..parameters };
        for temperature in [0.0, parameters.temperature] {
            let parameters = SamplingParameters { temperature, ..parameters.clone() };
            let token = Sampler::new(parameters, &[]).sample(&logits, &banned, &mut Scratch::default());
            match most {
                1 | 2 => prop_assert_eq!(token, Err(SampleError::NothingLeft)),
                _ => prop_assert_eq!(token.unwrap() % 3, 2),
            }
        }
    }
}

#[test]
fn tokens_come_as_often_as_their_probabilities_say() {
    let logits: Vec<f32> = (0..40).map(|token| ((token * 7) % 40) as f32 / 8.0).collect();
    for parameters in [
        SamplingParameters::default(),
        SamplingParameters { temperature: 0.5, ..SamplingParameters::default() },
        SamplingParameters { top_k: Some(5), ..SamplingParameters::default() },
        SamplingParameters { top_p: 0.7, ..SamplingParameters::default() },
        SamplingParameters { min_p: 0.3, ..SamplingParameters::default() },
        SamplingParameters { temperature: 2.0, top_k: Some(20), top_p: 0.9, min_p: 0.2, ..Default::default() },
    ] {
        let probabilities = naive(&logits, &parameters);
        for (token, often) in drawn(&logits, &parameters, 40_000).into_iter().enumerate() {
            let right = probabilities[token];
            // Five standard deviations.
            let off = 5.0 * (right * (1.0 - right) / 40_000.0).sqrt();
            assert!((often - right).abs() <= off, "token {token} of {parameters:?}: {often}, and not {right}");
            assert!(right > 0.0 || often == 0.0, "token {token} of {parameters:?}");
        }
    }
}

#[test]
fn penalties_are_those_of_their_authors() {
    let default = SamplingParameters::default;
    // The prompt counts for the repetition penalty, and for no other.
    let repetition = SamplingParameters { repetition_penalty: 2.0, ..default() };
    assert_eq!(greedy(&[4.0, 3.0], repetition.clone(), &[0], &[]), Ok(1), "4 is divided to 2");
    assert_eq!(greedy(&[-2.0, -3.0], repetition.clone(), &[0], &[]), Ok(1), "-2 is multiplied to -4");
    assert_eq!(greedy(&[4.0, 1.0], repetition, &[0, 0], &[]), Ok(0), "once, however often it came");
    let presence = SamplingParameters { presence_penalty: 2.0, frequency_penalty: 2.0, ..default() };
    assert_eq!(greedy(&[4.0, 3.0], presence, &[0], &[]), Ok(0));
    let answer = |parameters: SamplingParameters| {
        let mut sampler = Sampler::new(SamplingParameters { temperature: 0.0, ..parameters }, &[]);
        let mut scratch = Scratch::default();
        (0..6).map(|_| sampler.sample(&[3.0, 2.0], &[], &mut scratch).unwrap()).collect::<Vec<_>>()
    };
    // 3 against 2, then 1.5 against 2, then both less by 1.5.
    assert_eq!(answer(SamplingParameters { presence_penalty: 1.5, ..default() }), [0, 1, 0, 0, 0, 0]);
    // Each time less by 0.6: 3, 2.4, 1.8 and then 2; 1.8, 1.4 and then 1.2.
    assert_eq!(answer(SamplingParameters { frequency_penalty: 0.6, ..default() }), [0, 0, 1, 0, 1, 0]);
}

#[test]
fn biases_add_to_logits_and_the_last_one_counts() {
    let biased = |biases: &[(u32, f32)]| {
        greedy(&[1.0, 0.0, 0.5], SamplingParameters { logit_bias: biases.to_vec(), ..Default::default() }, &[], &[])
    };
    assert_eq!(biased(&[(1, 1.5)]), Ok(1));
    assert_eq!(biased(&[(1, 100.0), (2, 99.0)]), Ok(1));
    assert_eq!(biased(&[(0, -100.0), (0, 1.0)]), Ok(0));
    assert_eq!(biased(&[(0, -100.0)]), Ok(2));
    assert_eq!(biased(&[(0, -100.0), (1, -100.0), (2, -100.0)]), Err(SampleError::NothingLeft));
}

#[test]
fn extremes_are_drawn_from_as_others_are() {
    let mut scratch = Scratch::default();
    for temperature in [f32::MIN_POSITIVE, 1e-3, 1.0, f32::MAX] {
        for logits in [&[f32::MAX, f32::MIN, 0.0][..], &[0.0], &[-0.0, 0.0]] {
            let parameters = SamplingParameters {
                temperature,
                repetition_penalty: 0.01,
                frequency_penalty: -2.0,
                top_p: 0.5,
                ..Default::default()
            };
            let mut sampler = Sampler::new(parameters, &[0, 1, 2]);
            let token = sampler.sample(logits, &[], &mut scratch).unwrap();
            assert!((token as usize) < logits.len());
        }
    }
}

#[test]
fn a_logit_that_is_no_finite_number_is_an_error_and_the_next_goes_on() {
    let mut scratch = Scratch::default();
    for parameters in [SamplingParameters::default(), SamplingParameters::greedy()] {
        let mut sampler = Sampler::new(parameters.clone(), &[]);
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = sampler.sample(&[0.0, wrong, 1.0], &[], &mut scratch).unwrap_err();
            assert!(matches!(error, SampleError::NotFinite { token: 1, .. }));
            assert!(error.to_string().contains("of token 1"), "{error}");
        }
        let right = Sampler::new(parameters, &[]).sample(&[0.0, 0.5, 1.0], &[], &mut scratch);
        assert_eq!(sampler.sample(&[0.0, 0.5, 1.0], &[], &mut scratch), right, "no draw was spent on the errors");
    }
}

#[test]
fn what_can_not_be_asked_for_is_named_with_its_limit() {
    let default = SamplingParameters::default;
    assert_eq!(default().check(10), Ok(()));
    assert_eq!(SamplingParameters::greedy().check(10), Ok(()));
    for (parameters, text) in [
        (SamplingParameters { temperature: -0.1, ..default() }, "temperature is -0.1; it must be 0 or above"),
        (SamplingParameters { temperature: f32::NAN, ..default() }, "temperature is NaN; it must be 0 or above"),
        (SamplingParameters { top_p: 0.0, ..default() }, "top_p is 0; it must be above 0 and at most 1"),
        (SamplingParameters { min_p: 1.5, ..default() }, "min_p is 1.5; it must be from 0 to 1"),
        (
            SamplingParameters { repetition_penalty: 0.0, ..default() },
            "repetition_penalty is 0; it must be from 0.01 to 100",
        ),
        (SamplingParameters { presence_penalty: 3.0, ..default() }, "presence_penalty is 3; it must be from -2 to 2"),
        (
            SamplingParameters { top_k: Some(0), ..default() },
            "top_k is 0; it must be at least 1, or left out for all tokens",
        ),
        (
            SamplingParameters { logit_bias: vec![(10, 1.0)], ..default() },
            "logit_bias has token 10, and the vocabulary has 10; ids start from 0",
        ),
        (
            SamplingParameters { logit_bias: vec![(1, 101.0)], ..default() },
            "logit_bias of token 1 is 101; it must be from -100 to 100",
        ),
        (
            SamplingParameters { logit_bias: vec![(1, 1.0); 1_025], ..default() },
            "logit_bias has 1025 entries; the limit is 1024",
        ),
    ] {
        let error = parameters.check(10).unwrap_err();
        assert_eq!((error.code(), error.message()), (ErrorCode::InvalidRequest, text));
    }
}
