//! Rules for what predictor, transformer and explainer have in common.

use crate::inference_service::{
    BatcherSpec, ComponentExtensionSpec, DeploymentStrategy, IntOrPercent, RollingUpdate, StrategyType,
};
use crate::plan::Replacement;
use crate::problem::Report;
use crate::values::{check_percent, check_whole, check_within};

/// Checks every value of a component. `keda` says that KEDA would scale it.
pub(crate) fn check(component: &ComponentExtensionSpec, at: &str, keda: bool, report: &mut Report) {
    let path = |name: &str| format!("{at}.{name}");
    check_whole(&path("containerConcurrency"), component.container_concurrency, 0, report);
    check_whole(&path("timeout"), component.timeout, 1, report);
    check_percent(&path("canaryTrafficPercent"), component.canary_traffic_percent, report);
    check_scale(component, at, keda, report);
    if let Some(BatcherSpec { max_batch_size, max_latency, .. }) = component.batcher {
        // KServe takes zero and less for "not set".
        check_whole(&path("batcher.maxBatchSize"), max_batch_size.filter(|size| *size > 0), 1, report);
        check_whole(&path("batcher.maxLatency"), max_latency.filter(|latency| *latency > 0), 1, report);
    }
    if let Some(strategy) = &component.deployment_strategy {
        check_strategy(strategy, &path("deploymentStrategy"), report);
    }
}

fn check_scale(component: &ComponentExtensionSpec, at: &str, keda: bool, report: &mut Report) {
    let path = |name: &str| format!("{at}.{name}");
    let (min, max) = (component.min_replicas, component.max_replicas);
    check_whole(&path("minReplicas"), min, 0, report);
    check_whole(&path("maxReplicas"), max, 0, report);
    if let (Some(min), Some(max @ 1..)) = (min, max)
        && min > max
    {
        let message = format!("is {min}: allowed is at most maxReplicas, which is {max}, lower one or raise the other");
        report.error(&path("minReplicas"), message);
    }
    if min == Some(0) {
        let message = "is 0: scale to zero is not built yet, 1 replica runs all the time";
        report.warn(&path("minReplicas"), message);
    }
    // Of CPU it is a percentage.
    let most = if component.scale_metric.as_deref() == Some("cpu") { 100 } else { i32::MAX.into() };
    check_within(&path("scaleTarget"), component.scale_target, 1, most, report);
    if keda && let Some(metric) = &component.scale_metric {
        report.error(
            &path("scaleMetric"),
            format!("is '{metric}': not allowed where autoscalerClass is keda, use autoScaling.metrics"),
        );
    }
}

fn check_strategy(strategy: &DeploymentStrategy, at: &str, report: &mut Report) {
    let Some(RollingUpdate { max_surge, max_unavailable }) = &strategy.rolling_update else { return };
    let path = format!("{at}.rollingUpdate");
    if strategy.kind == Some(StrategyType::Recreate) {
        report.error(&path, "is not allowed where type is Recreate: remove one of them");
    }
    let zero = |value: &Option<IntOrPercent>| value.as_ref().is_some_and(IntOrPercent::is_zero);
    if zero(max_surge) && zero(max_unavailable) {
        let message = "is 0, and so is maxSurge: nothing could ever be replaced, raise one of them";
        report.error(&format!("{path}.maxUnavailable"), message);
    }
}

/// The order in which replicas are replaced.
pub(crate) fn replacement(strategy: Option<&DeploymentStrategy>) -> Replacement {
    let Some(DeploymentStrategy { kind, rolling_update }) = strategy else { return Replacement::StartFirst };
    let surge = rolling_update.as_ref().and_then(|update| update.max_surge.as_ref());
    if *kind == Some(StrategyType::Recreate) || surge.is_some_and(IntOrPercent::is_zero) {
        Replacement::StopFirst
    } else {
        Replacement::StartFirst
    }
}
