//! From a revision's plan to the engines that run its model in this process.

use std::num::NonZeroUsize;
use std::sync::Arc;

use weirgate_deploy_core::{ModelFormat, ModelPlan, RevisionPlan};
use weirgate_replicas::local::Loader;
use weirgate_replicas::{OnnxSource, ReplicaSetConfig, Source, onnx_loader};

use crate::control::Named;

/// The set of engines that load the model from `source`.
pub fn engine_set(service: &Named, plan: &RevisionPlan, model: &ModelPlan, source: Source) -> ReplicaSetConfig {
    ReplicaSetConfig {
        name: service.name.clone(),
        service: service.to_string(),
        max_batch_size: plan.batcher.max_batch_size,
        max_latency: plan.batcher.max_latency,
        container_concurrency: plan.container_concurrency,
        loader: loader(service, plan, model, source),
    }
}

fn loader(service: &Named, plan: &RevisionPlan, model: &ModelPlan, source: Source) -> Arc<Loader> {
    let intra_threads = plan.cpu_limit.unwrap_or_else(process_cpus);
    match model.format {
        ModelFormat::Onnx => {
            onnx_loader(OnnxSource { service: service.to_string(), model: service.name.clone(), source, intra_threads })
        }
    }
}

/// The CPUs this process may use: its affinity and its cgroup's quota count.
fn process_cpus() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
