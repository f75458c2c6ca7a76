//! Language networks: the forward pass over the tokens of many sequences at once.
//!
//! | module      | what it holds |
//! |-------------|---------------|
//! | `shape`     | what the kernels ask of a network's shape |
//! | `weights`   | the tensors, by name and shape |
//! | `step`      | what is computed at once: rows of tokens, their positions and blocks |
//! | `kv`        | the store of keys and values, in blocks |
//! | `forward`   | the pass through the layers |
//! | `attention` | attention over a sequence's blocks |
//! | `bert`      | networks that see all of a text at once, for embedders |
//! | `cpu`       | threads, and kernels for each instruction set |
//!
//! **A row's logits are the same bits whatever else is in the step**, however the prompt was cut into rows, whether its start
//! was computed or found in the store, on how many threads, and in which instruction set. So prompts may be cut anywhere,
//! shared, thrown away and computed again, and sequences may come and go at each step, and no answer changes.
//!
//! Where weights are quantised, rows are rounded to 8 bits for each 32 values before they meet them, and sums within those are
//! exact in integers. The weights themselves are used as they are in the file.

mod attention;
pub mod bert;
mod buffers;
mod cpu;
mod forward;
mod heads;
mod kv;
mod rope;
mod shape;
mod step;
mod weights;

use std::ops::ControlFlow;
use std::path::Path;

use buffers::Buffers;
use cpu::isa::Isa;
use cpu::pool::Pool;
use forward::Forward;
use kv::{Geometry, KvStore};
use rope::Rope;
use step::Plan;
use weights::Weights;

use crate::gguf::{GgufFile, HyperParameters};
use crate::model::LoadError;

pub use kv::KvType;
pub use step::{Logits, Row, StepError, StepLimits};
pub use weights::{LoadProgress, Precision};

/// How a network is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Threads that compute, the caller's among them.
    pub threads: usize,
    /// Bytes for keys and values. As many blocks as fit are set aside.
    pub kv_bytes: usize,
    pub kv_type: KvType,
    /// Tokens of a block: a multiple of 16.
    pub block_tokens: usize,
    /// Most tokens of a step.
    pub step_tokens: usize,
    /// Most rows of a step that want logits.
    pub step_logits: usize,
    pub precision: Precision,
}

impl Default for NetworkConfig {
    fn default() -> NetworkConfig {
        NetworkConfig {
            threads: 1,
            kv_bytes: 256 << 20,
            kv_type: KvType::default(),
            block_tokens: 16,
            step_tokens: 512,
            step_logits: 64,
            precision: Precision::default(),
        }
    }
}

impl NetworkConfig {
    fn check(&self) -> Result<(), String> {
        for (what, number) in [
            ("threads", self.threads),
            ("tokens of a step", self.step_tokens),
            ("rows with logits of a step", self.step_logits),
        ] {
            // More would be a slip, and what is set aside for it might not be there.
            if number == 0 || number > 1 << 16 {
                return Err(format!("{number} {what} are asked for, and 1 to {} are allowed", 1 << 16));
            }
        }
        Ok(())
    }
}

/// A network that is loaded: its weights, its store of keys and values, its threads.
pub struct Network {
    hyper: HyperParameters,
    weights: Weights,
    rope: Rope,
    store: KvStore,
    pool: Pool,
    isa: Isa,
    limits: StepLimits,
    plan: Plan,
    buffers: Buffers,
}

impl Network {
    /// Loads a GGUF file.
    pub fn load(path: &Path, config: &NetworkConfig) -> Result<Network, LoadError> {
        Network::of(&GgufFile::open(path)?, config, &mut |_| ControlFlow::Continue(()))
    }

    /// Loads the network of a file that is open. `progress` is told of each tensor that was read, and may end the loading.
    ///
    /// Weights are read once, piece by piece, to where they stay; what is set aside besides is known before any is read.
    pub fn of(
        file: &GgufFile,
        config: &NetworkConfig,
        progress: &mut dyn FnMut(LoadProgress) -> ControlFlow<()>,
    ) -> Result<Network, LoadError> {
        let refuse = |error: String| file.refuse(error);
        let hyper = file.hyper_parameters()?;
        shape::check(&hyper).map_err(refuse)?;
        config.check().map_err(refuse)?;
        let geometry = Geometry::new(&hyper, config.block_tokens).map_err(refuse)?;
        let store = KvStore::new(geometry, config.kv_type, config.kv_bytes).map_err(refuse)?;
        let weights = Weights::load(file, &hyper, config.precision, progress)?;
        let rope = Rope::new(&hyper, weights.rope_divisors.as_deref()).map_err(refuse)?;
        let limits = StepLimits {
            tokens: config.step_tokens,
            logits: config.step_logits,
            context: hyper.context,
            vocabulary: hyper.vocabulary,
            blocks: store.blocks(),
            block_tokens: config.block_tokens,
        };
        let pool = Pool::new(config.threads).map_err(|error| refuse(format!("a thread can't be started: {error}")))?;
        let buffers = Buffers::new(&hyper, &weights, &rope, &limits);
        let plan = Plan::new(&limits);
        Ok(Network { hyper, weights, rope, store, pool, isa: Isa::best(), limits, plan, buffers })
    }

    pub fn hyper_parameters(&self) -> &HyperParameters {
        &self.hyper
    }

    /// What steps have to keep, and how many blocks there are.
    pub fn limits(&self) -> &StepLimits {
        &self.limits
    }

    /// Bytes of a block of keys and values.
    pub fn kv_block_bytes(&self) -> usize {
        self.store.geometry().block() * self.store.kind().bytes()
    }

    /// Bytes that are set aside for weights and for what steps compute in, keys and values apart.
    pub fn bytes(&self) -> usize {
        self.weights.bytes() + self.buffers.bytes()
    }

    /// Computes a step: writes the keys and values of its tokens to their blocks, and gives the logits that its rows want.
    ///
    /// It can't be stopped midway. After an error nothing was computed, and the network is as before.
    pub fn step(&mut self, rows: &[Row]) -> Result<Logits<'_>, StepError> {
        self.plan.make(rows, &self.limits)?;
        let forward = Forward {
            hyper: &self.hyper,
            weights: &self.weights,
            rope: &self.rope,
            pool: &self.pool,
            isa: self.isa,
            rows,
            plan: &self.plan,
        };
        forward.run(&mut self.store, &mut self.buffers);
        let values = &self.buffers.logits[..self.plan.wanted.len() * self.limits.vocabulary];
        Ok(Logits::new(values, self.limits.vocabulary))
    }
}
