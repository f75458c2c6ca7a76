//! Threads, and kernels for each instruction set of a processor.
//!
//! | module     | what it holds |
//! |------------|---------------|
//! | `isa`      | which instruction sets there are, and running a kernel in one |
//! | `simd`     | the operations that kernels are written in; `avx512`, `avx2` and `portable` have them |
//! | `memory`   | huge pages for weights, keys and values |
//! | `layout`   | how weights lie in memory; `pack` puts them there, `matrix` owns them |
//! | `tiles`    | the rows that weights are multiplied with |
//! | `products` | rows times weights; `multiply` shares them among threads |
//! | `attend`   | attention of a few queries |
//! | `math`     | exponentials, sums, norms |
//! | `pool`     | threads; `chunks` lets them write to one slice |
//!
//! This is the only place with unsafe code: for instructions of one processor or another, for reading weights and keys without
//! a check at each vector, for threads that write to parts of one slice, and for memory in huge pages. What it offers to the modules outside is safe.

#![allow(unsafe_code)]

pub(super) mod attend;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(super) mod chunks;
pub(super) mod isa;
mod layout;
pub(super) mod math;
pub(super) mod matrix;
pub(super) mod memory;
pub(super) mod multiply;
pub(super) mod pack;
pub(super) mod pool;
mod portable;
mod products;
pub(super) mod simd;
#[cfg(test)]
mod tests;
pub(super) mod tiles;
