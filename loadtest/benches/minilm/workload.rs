//! The rows that are asked for: the very same for the server and for the baseline.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use weirgate_protocol::{Datatype, InferRequest, Shape, Tensor};

const ROWS: usize = 256;
const EQUAL: usize = 16;
const SEED: u64 = 7;
/// Ordinary words of the model's vocabulary.
const TOKENS: std::ops::Range<i64> = 1_996..29_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// All of 16 tokens.
    Equal,
    /// Of 6 to 48 tokens, in random order.
    Mixed,
}

/// One row: its tokens.
pub struct Row(pub Vec<i64>);

impl Workload {
    pub const ALL: [Workload; 2] = [Workload::Equal, Workload::Mixed];

    pub fn label(self) -> &'static str {
        match self {
            Workload::Equal => "equal",
            Workload::Mixed => "mixed",
        }
    }

    pub fn rows(self) -> Vec<Row> {
        let mut rng = StdRng::seed_from_u64(SEED);
        let mut row = || {
            let length = match self {
                Workload::Equal => EQUAL,
                Workload::Mixed => rng.random_range(6..=48),
            };
            Row((0..length).map(|_| rng.random_range(TOKENS)).collect())
        };
        (0..ROWS).map(|_| row()).collect()
    }
}

impl Row {
    pub fn request(&self) -> InferRequest {
        let length = self.0.len();
        let tensor = |name: &str, values: &[i64]| {
            let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            Tensor::new(name, Datatype::Int64, Shape::from_slice(&[1, length]), data.into()).unwrap()
        };
        let inputs = vec![
            tensor("input_ids", &self.0),
            tensor("attention_mask", &vec![1; length]),
            tensor("token_type_ids", &vec![0; length]),
        ];
        InferRequest { inputs, ..InferRequest::default() }
    }
}
