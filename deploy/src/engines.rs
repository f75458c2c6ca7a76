//! From a revision's plan to the engines that run its model in this process.

use std::num::NonZeroUsize;
use std::sync::Arc;

use weirgate_deploy_core::{ModelArguments, ModelFormat, ModelPlan, RevisionPlan};
use weirgate_replicas::embed::{EmbedConfig, EmbedderOptions};
use weirgate_replicas::language::LanguageSetConfig;
use weirgate_replicas::text::TextConfig;
use weirgate_replicas::{Feed, OnnxSource, ReplicaSet, ReplicaSetConfig, Source, onnx_loader};

use crate::control::Named;

/// The set of engines that load the model from `source`.
pub fn engine_set(
    service: &Named,
    plan: &RevisionPlan,
    model: &ModelPlan,
    source: Source,
    feed: Arc<dyn Feed>,
) -> ReplicaSet {
    match model.format {
        ModelFormat::Onnx => ReplicaSet::new(tensors(service, plan, source), feed),
        ModelFormat::Language => ReplicaSet::language(language(service, plan, &model.arguments, source), feed),
    }
}

fn tensors(service: &Named, plan: &RevisionPlan, source: Source) -> ReplicaSetConfig {
    let (of, model, intra_threads) = (service.to_string(), service.name.clone(), threads(plan));
    ReplicaSetConfig {
        name: service.name.clone(),
        service: of.clone(),
        max_batch_size: plan.batcher.max_batch_size,
        max_latency: plan.batcher.max_latency,
        container_concurrency: plan.container_concurrency,
        loader: onnx_loader(OnnxSource { service: of, model, source, intra_threads }),
    }
}

fn language(service: &Named, plan: &RevisionPlan, arguments: &ModelArguments, source: Source) -> LanguageSetConfig {
    let (usual, embed) = (TextConfig::default(), EmbedConfig::default());
    let or = |asked: Option<NonZeroUsize>, usual: usize| asked.map_or(usual, NonZeroUsize::get);
    let step_tokens = or(arguments.max_num_batched_tokens, usual.step_tokens);
    LanguageSetConfig {
        name: service.name.clone(),
        service: service.to_string(),
        model: plan.executor.model_name().unwrap_or(&service.name).into(),
        revision: plan.name.as_str().into(),
        source,
        text: TextConfig {
            threads: threads(plan).get(),
            kv_bytes: or(arguments.kv_cache_memory_bytes, usual.kv_bytes),
            context: arguments.max_model_len.map(NonZeroUsize::get),
            step_tokens,
            prefill_tokens: usual.prefill_tokens.min(step_tokens.saturating_sub(1).max(1)),
            running: or(arguments.max_num_seqs, usual.running),
            prefix_cache: arguments.enable_prefix_caching.unwrap_or(usual.prefix_cache),
            ..usual
        },
        embed: EmbedConfig {
            embedder: EmbedderOptions {
                threads: threads(plan).get(),
                max_tokens: arguments.max_model_len.map(NonZeroUsize::get),
                ..embed.embedder
            },
            run_tokens: or(arguments.max_num_batched_tokens, embed.run_tokens),
            ..embed
        },
        container_concurrency: plan.container_concurrency,
    }
}

/// Threads that one replica computes with.
fn threads(plan: &RevisionPlan) -> NonZeroUsize {
    plan.cpu_limit.unwrap_or_else(process_cpus)
}

/// The CPUs this process may use: its affinity and its cgroup's quota count.
fn process_cpus() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
