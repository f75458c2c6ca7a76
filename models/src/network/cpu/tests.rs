//! Every type of weights against numpy's reading of it, and every instruction set against plain Rust and double precision.

use std::path::Path;

use half::{bf16, f16};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::attend::{Attend, Cache, KEYS, MAX_HEAD, Queries};
use super::isa::Isa;
use super::math::Norm;
use super::matrix::{Matrix, PackError};
use super::memory::Arena;
use super::multiply::{Put, Rows, multiply, multiply_gated};
use super::pack;
use super::pool::Pool;
use super::tiles::{Forms, TILE, Tiles};
use crate::gguf::{GgufFile, TensorType};

/// Where a block has its scale and its minimum, if it has them.
fn scales(kind: TensorType) -> (Option<usize>, Option<usize>) {
    match kind {
        TensorType::F32 | TensorType::F16 | TensorType::Bf16 => (None, None),
        TensorType::Q4_0 | TensorType::Q5_0 | TensorType::Q8_0 => (Some(0), None),
        TensorType::Iq4Nl | TensorType::Iq4Xs => (Some(0), None),
        TensorType::Q3K => (Some(108), None),
        TensorType::Q4_1 | TensorType::Q5_1 | TensorType::Q4K | TensorType::Q5K => (Some(0), Some(2)),
        TensorType::Q6K => (Some(208), None),
    }
}

/// Weights as a file has them: any bits, with scales that are numbers.
fn weights(kind: TensorType, outputs: usize, inputs: usize, random: &mut StdRng) -> Vec<u8> {
    let blocks = outputs * inputs / pack::layout(kind).inputs();
    let mut bytes = vec![];
    for _ in 0..blocks {
        let mut float = || random.random_range(-1.0f32..1.0);
        match kind {
            TensorType::F32 => (0..32).for_each(|_| bytes.extend(float().to_le_bytes())),
            TensorType::F16 => (0..32).for_each(|_| bytes.extend(f16::from_f32(float()).to_le_bytes())),
            TensorType::Bf16 => (0..32).for_each(|_| bytes.extend(bf16::from_f32(float()).to_le_bytes())),
            _ => {
                let mut block: Vec<u8> = (0..pack::unit_bytes(kind)).map(|_| random.random()).collect();
                let (scale, minimum) = scales(kind);
                for at in [scale, minimum].into_iter().flatten() {
                    let number = f16::from_f32(random.random_range(-0.1f32..0.1));
                    block[at..at + 2].copy_from_slice(&number.to_le_bytes());
                }
                bytes.extend(block);
            }
        }
    }
    bytes
}

fn matrix(kind: TensorType, outputs: usize, inputs: usize, bytes: &[u8]) -> Matrix {
    let mut matrix = Matrix::empty(kind, outputs, inputs, &mut Arena::default()).unwrap();
    matrix.fill(kind, 0, bytes).unwrap();
    matrix
}

fn values(count: usize, random: &mut StdRng) -> Vec<f32> {
    (0..count).map(|_| random.random_range(-2.0..2.0)).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn tiles(isa: Isa, rows: &[f32], width: usize, norm: Option<Norm>) -> Tiles {
    let count = rows.len() / width;
    let mut tiles = Tiles::new(count, width, Forms { quants: true, floats: true });
    tiles.fill(None, isa, rows, count, norm);
    tiles
}

fn product(isa: Isa, matrix: &Matrix, tiles: &Tiles, rows: usize) -> Vec<f32> {
    let mut results = vec![0.0; rows * matrix.outputs()];
    let pool = Pool::new(1).unwrap();
    multiply(&pool, isa, Rows { tiles, count: rows }, &[matrix], &mut results, Put::Set);
    results
}

#[test]
fn packed_weights_are_what_numpy_reads_in_the_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/networks/blocks.gguf");
    let file = GgufFile::open(&path).unwrap();
    for kind in TensorType::ALL {
        let name = kind.name();
        let read = |name: &str| file.read(file.tensor(name).unwrap()).unwrap();
        let (three, right) = (read(name), read(&format!("{name}.f32")));
        let right: Vec<f32> = right.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        // The last panel isn't full.
        let (outputs, inputs) = (37, 256);
        let bytes: Vec<u8> = three.iter().copied().cycle().take(outputs * three.len() / 3).collect();
        let matrix = matrix(kind, outputs, inputs, &bytes);
        let mut row = vec![0.0; inputs];
        for (output, right) in right.chunks_exact(inputs).cycle().take(outputs).enumerate() {
            matrix.row(output, &mut row);
            let other = row.iter().zip(right).position(|(weight, right)| weight != right);
            assert_eq!(other, None, "row {output} of {name}");
        }
    }
}

#[test]
fn weights_may_come_some_rows_at_a_time() {
    let mut random = StdRng::seed_from_u64(8);
    for kind in TensorType::ALL {
        let (outputs, inputs) = (37, 256);
        let bytes = weights(kind, outputs, inputs, &mut random);
        let whole = matrix(kind, outputs, inputs, &bytes);
        let mut parts = Matrix::empty(kind, outputs, inputs, &mut Arena::default()).unwrap();
        let row = parts.row_bytes(kind);
        for (index, rows) in bytes.chunks(5 * row).enumerate() {
            parts.fill(kind, 5 * index, rows).unwrap();
        }
        assert!((0..whole.panels()).all(|panel| parts.panel(panel) == whole.panel(panel)), "{kind:?}");
    }
}

#[test]
fn weights_that_can_t_be_packed_are_refused() {
    let error = |kind, inputs| Matrix::empty(kind, 2, inputs, &mut Arena::default()).err().unwrap();
    assert_eq!(error(TensorType::Q4K, 288), PackError::Width { inputs: 288, block: 256 });
    assert_eq!(error(TensorType::F32, 0), PackError::Width { inputs: 0, block: 32 });
    let scale = |kind, number: f32| {
        let mut matrix = Matrix::empty(kind, 3, 32, &mut Arena::default()).unwrap();
        let row = matrix.row_bytes(kind);
        let mut bytes = vec![0; 2 * row];
        bytes[row..row + 2].copy_from_slice(&f16::from_f32(number).to_le_bytes());
        matrix.fill(kind, 1, &bytes)
    };
    for kind in [TensorType::Q4_0, TensorType::Q8_0, TensorType::Iq4Nl] {
        assert_eq!(scale(kind, f32::NAN), Err(PackError::Scale { row: 2 }));
        assert_eq!(scale(kind, 1.0), Ok(()));
    }
    assert_eq!(scale(TensorType::Q4_0, 10_000.0), Err(PackError::Scale { row: 2 }));
}

#[test]
fn products_have_the_same_bits_in_every_instruction_set_and_number_of_rows() {
    let mut random = StdRng::seed_from_u64(2);
    let (outputs, inputs, rows) = (37, 512, 19);
    let input = values(rows * inputs, &mut random);
    for kind in TensorType::ALL {
        let bytes = weights(kind, outputs, inputs, &mut random);
        let matrix = matrix(kind, outputs, inputs, &bytes);
        let plain = product(Isa::PORTABLE, &matrix, &tiles(Isa::PORTABLE, &input, inputs, None), rows);
        for isa in Isa::all() {
            for rows in 1..=rows {
                let tiles = tiles(isa, &input[..rows * inputs], inputs, None);
                let found = product(isa, &matrix, &tiles, rows);
                assert_eq!(bits(&found), bits(&plain[..rows * outputs]), "{rows} rows of {kind:?} in {isa:?}");
            }
        }
    }
}

#[test]
fn products_are_those_of_the_rounded_rows_in_double_precision() {
    let mut random = StdRng::seed_from_u64(3);
    let (outputs, inputs, rows) = (48, 1024, 5);
    let input = values(rows * inputs, &mut random);
    let tiles = tiles(Isa::best(), &input, inputs, None);
    for kind in TensorType::ALL {
        let bytes = weights(kind, outputs, inputs, &mut random);
        let matrix = matrix(kind, outputs, inputs, &bytes);
        let found = product(Isa::best(), &matrix, &tiles, rows);
        let mut weights = vec![0.0; inputs];
        for (output, row) in (0..outputs).flat_map(|output| (0..rows).map(move |row| (output, row))) {
            matrix.row(output, &mut weights);
            let rounded = |input: usize| {
                let block = &tiles.quants(row / TILE)[input / 32];
                f64::from(block.quants[row % TILE][input % 32]) * f64::from(block.scale[row % TILE])
            };
            let products = (0..inputs).map(|index| {
                let exact = f64::from(input[row * inputs + index]);
                f64::from(weights[index]) * if matrix.layout().is_float() { exact } else { rounded(index) }
            });
            let products: Vec<f64> = products.collect();
            let right: f64 = products.iter().sum();
            let size: f64 = products.iter().map(|product| product.abs()).sum();
            let error = (f64::from(found[row * outputs + output]) - right).abs();
            assert!(error < 1e-5 * size, "{kind:?}: {} is not {right}", found[row * outputs + output]);
        }
    }
}

#[test]
fn several_matrices_on_several_threads_give_what_each_gives_alone() {
    let mut random = StdRng::seed_from_u64(6);
    let (inputs, rows) = (64, 21);
    let input = values(rows * inputs, &mut random);
    let tiles = tiles(Isa::best(), &input, inputs, None);
    let mut make = |kind, outputs| matrix(kind, outputs, inputs, &weights(kind, outputs, inputs, &mut random));
    let matrices = [make(TensorType::Q4_1, 40), make(TensorType::F16, 3), make(TensorType::Q8_0, 700)];
    let alone: Vec<Vec<f32>> = matrices.iter().map(|matrix| product(Isa::best(), matrix, &tiles, rows)).collect();
    let right: Vec<f32> = (0..rows)
        .flat_map(|row| alone.iter().flat_map(move |alone| alone.chunks_exact(alone.len() / rows).nth(row).unwrap()))
        .copied()
        .collect();
    for threads in [1, 2, 4] {
        let pool = Pool::new(threads).unwrap();
        let all: Vec<&Matrix> = matrices.iter().collect();
        let mut results = vec![1.0; right.len()];
        let rows = Rows { tiles: &tiles, count: rows };
        multiply(&pool, Isa::best(), rows, &all, &mut results, Put::Set);
        assert_eq!(bits(&results), bits(&right));
        multiply(&pool, Isa::best(), rows, &all, &mut results, Put::Add);
        assert!(results.iter().zip(&right).all(|(result, right)| *result == right + right));
        let mut gated = vec![0.0; alone[0].len()];
        multiply_gated(&pool, Isa::best(), rows, &matrices[0], &matrices[0], &mut gated);
        for (gated, value) in gated.iter().zip(&alone[0]) {
            let right = f64::from(*value).powi(2) / (1.0 + (-f64::from(*value)).exp());
            assert!((f64::from(*gated) - right).abs() <= 1e-6 * right.abs(), "{gated} is not {right}");
        }
    }
}

#[test]
fn rows_are_rounded_by_half_a_quant_at_most() {
    let mut random = StdRng::seed_from_u64(4);
    let mut input = values(3 * 64, &mut random);
    input[64..128].fill(0.0);
    input[130] = 1e30;
    let weights = values(64, &mut random);
    let norm = Norm { weights: &weights, epsilon: 1e-5 };
    for norm in [None, Some(norm)] {
        let plain = tiles(Isa::PORTABLE, &input, 64, norm);
        for isa in Isa::all() {
            let tiles = tiles(isa, &input, 64, norm);
            for row in 0..3 {
                for column in 0..64 {
                    let block = &tiles.quants(0)[column / 32];
                    let (quant, scale) = (f32::from(block.quants[row][column % 32]), block.scale[row]);
                    let value = tiles.floats(0)[column][row];
                    assert!((quant * scale - value).abs() <= scale * 0.5001, "{value} became {quant} × {scale}");
                    assert_eq!(value.to_bits(), plain.floats(0)[column][row].to_bits());
                    assert_eq!(block.quants, plain.quants(0)[column / 32].quants);
                    assert_eq!(bits(&block.sum), bits(&plain.quants(0)[column / 32].sum));
                }
            }
        }
    }
    let normed = tiles(Isa::best(), &input, 64, Some(norm));
    let squares: f64 = input[..64].iter().map(|value| f64::from(*value).powi(2)).sum();
    let right = f64::from(input[5] * weights[5]) / (squares / 64.0 + 1e-5).sqrt();
    assert!((f64::from(normed.floats(0)[5][0]) - right).abs() < 1e-6 * right.abs());
}

/// A head's keys and values: three blocks of 48 tokens, in another order than a sequence has them.
struct Head {
    store: Vec<f32>,
    keys: Vec<Vec<f32>>,
    values: Vec<Vec<f32>>,
    size: usize,
}

const BLOCK_TOKENS: usize = 48;
const TABLE: [u32; 3] = [2, 0, 1];

impl Head {
    fn random(size: usize, random: &mut StdRng) -> Head {
        let tokens = TABLE.len() * BLOCK_TOKENS;
        let mut make = || (0..tokens).map(|_| values(size, random)).collect::<Vec<_>>();
        let (keys, values) = (make(), make());
        let mut head = Head { store: vec![0.0; 2 * tokens * size], keys, values, size };
        for token in 0..tokens {
            for dimension in 0..size {
                let [key, value] = head.places(token, dimension);
                head.store[key] = head.keys[token][dimension];
                head.store[value] = head.values[token][dimension];
            }
        }
        head
    }

    /// Where a token's key and value of a dimension are in the store.
    fn places(&self, token: usize, dimension: usize) -> [usize; 2] {
        let part = BLOCK_TOKENS * self.size;
        let block = TABLE[token / BLOCK_TOKENS] as usize * 2 * part;
        let place = token % BLOCK_TOKENS;
        let key = (place / KEYS * self.size + dimension) * KEYS + place % KEYS;
        [block + key, block + part + place * self.size + dimension]
    }

    fn attend(&self, isa: Isa, queries: &[Vec<f32>], seen: &[usize]) -> Vec<Vec<f32>> {
        let mut side_by_side: Queries = [[0.0; TILE]; MAX_HEAD];
        for (index, query) in queries.iter().enumerate() {
            for (places, value) in side_by_side.iter_mut().zip(query) {
                places[index] = *value;
            }
        }
        let mut output = [[0.0; MAX_HEAD]; TILE];
        let part = BLOCK_TOKENS * self.size;
        // What nobody sees may be anything.
        let mut store = self.store.clone();
        for token in seen.iter().copied().max().unwrap()..self.keys.len() {
            for at in (0..self.size).flat_map(|dimension| self.places(token, dimension)) {
                store[at] = f32::NAN;
            }
        }
        let cache = Cache {
            store: &store,
            blocks: &TABLE,
            block: 2 * part,
            keys: 0,
            values: part,
            block_tokens: BLOCK_TOKENS,
            head: self.size,
        };
        let mut all_seen = [0; TILE];
        all_seen[..seen.len()].copy_from_slice(seen);
        let attend =
            Attend { cache, queries: &side_by_side, seen: all_seen, count: queries.len(), output: &mut output };
        isa.run(attend);
        output[..queries.len()].iter().map(|output| output[..self.size].to_vec()).collect()
    }

    fn right(&self, query: &[f32], seen: usize) -> Vec<f64> {
        let score = |key: &Vec<f32>| query.iter().zip(key).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let scores: Vec<f64> = self.keys[..seen].iter().map(score).collect();
        let greatest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - greatest).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let value = |dimension: usize| {
            weights.iter().zip(&self.values).map(|(weight, value)| weight * f64::from(value[dimension])).sum::<f64>()
        };
        (0..self.size).map(|dimension| value(dimension) / sum).collect()
    }
}

#[test]
fn attention_is_right_and_the_same_bits_in_every_instruction_set_and_company() {
    let mut random = StdRng::seed_from_u64(5);
    for size in [16, 48, 64, 256] {
        let head = Head::random(size, &mut random);
        let queries: Vec<Vec<f32>> =
            (0..TILE).map(|_| values(size, &mut random).iter().map(|value| value * 0.3).collect()).collect();
        for seen in [[1, 2, 3, 4, 5, 6, 7, 8], [14, 15, 16, 17, 63, 64, 65, 66], [144, 1, 144, 97, 143, 128, 129, 20]] {
            let alone: Vec<Vec<f32>> = (0..TILE)
                .map(|query| head.attend(Isa::PORTABLE, &queries[query..=query], &seen[query..=query]).concat())
                .collect();
            for (query, found) in alone.iter().enumerate() {
                for (found, right) in found.iter().zip(head.right(&queries[query], seen[query])) {
                    assert!((f64::from(*found) - right).abs() < 1e-5, "{found} is not {right}, of {seen:?}");
                }
            }
            for isa in Isa::all() {
                for count in 1..=TILE {
                    let found = head.attend(isa, &queries[..count], &seen[..count]);
                    for (found, right) in found.iter().zip(&alone) {
                        assert_eq!(bits(found), bits(right), "{count} queries of {size} that see {seen:?} in {isa:?}");
                    }
                }
            }
        }
    }
}
