//! The local platform: every service's replicas run in this process.

use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use weirgate_deploy_core::{ModelFormat, RevisionPlan, ServicePlan};
use weirgate_replicas::local::Loader;
use weirgate_replicas::{ReplicaSet, ReplicaSetConfig, onnx_loader};
use weirgate_router::{Revision, RouteTable, Service, Turns};

use crate::plane::{DataPlane, LaneOf};

/// Running services. Dropping it aborts their supervisors; [`Local::stop`] ends them in order.
pub struct Local {
    sets: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Local {
    /// Starts the replicas of every plan and publishes the routes to them. Calls are held while models load.
    pub fn start<P: DataPlane>(plane: &Arc<P>, plans: &[ServicePlan]) -> Local {
        let (stop, stopping) = watch::channel(false);
        let mut sets = JoinSet::new();
        let mut services = Vec::with_capacity(plans.len());
        for plan in plans {
            let (lane, feed) = plane.open_lane(&LaneOf {
                namespace: &plan.namespace,
                service: &plan.name,
                revision: &plan.predictor.name,
            });
            services.push(Service {
                namespace: plan.namespace.as_str().into(),
                name: plan.name.as_str().into(),
                model: plan.name.as_str().into(),
                timeout: plan.settings.timeout,
                sticky: plan.settings.sticky.clone(),
                revisions: vec![Revision {
                    name: plan.predictor.name.as_str().into(),
                    variant: None,
                    percent: 100,
                    lane,
                }],
                base: 0,
                stable: Some(0),
                latest: Some(0),
                turns: Turns::default(),
                refusal: None,
            });
            let mut stopping = stopping.clone();
            let stop = async move {
                // An error means that the sender is gone, which is a stop too.
                let _ = stopping.wait_for(|stopping| *stopping).await;
            };
            sets.spawn(ReplicaSet::new(replica_set_config(&plan.predictor), feed).run(stop));
        }
        plane.publish(RouteTable::new(services));
        Local { sets, stop }
    }

    /// Ends every replica after the batch it runs.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        while self.sets.join_next().await.is_some() {}
    }
}

fn replica_set_config(plan: &RevisionPlan) -> ReplicaSetConfig {
    ReplicaSetConfig {
        name: plan.name.clone(),
        replicas: plan.replicas,
        max_batch_size: plan.batcher.max_batch_size,
        max_latency: plan.batcher.max_latency,
        container_concurrency: plan.container_concurrency,
        loader: loader(plan),
    }
}

fn loader(plan: &RevisionPlan) -> Arc<Loader> {
    let intra_threads = plan.cpu_limit.unwrap_or_else(process_cpus);
    match plan.model.format {
        ModelFormat::Onnx => onnx_loader(plan.model.location.clone(), intra_threads),
    }
}

/// The CPUs this process may use: its affinity and its cgroup's quota count.
fn process_cpus() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
