//! A component is also a pod, and a model also a container. On the local platform both are threads of this process.

use super::{Field, Rule, unsupported, warned};

const NO_POD: &str = "has no effect: replicas run in this process, not in pods";
const NO_CONTAINER: &str = "has no effect: the model runs in this process, not in a container";

const fn pod(name: &'static str, rule: Rule) -> Field {
    warned(name, rule, NO_POD)
}

const fn container(name: &'static str, rule: Rule) -> Field {
    warned(name, rule, NO_CONTAINER)
}

pub(super) const POD: &[Field] = &[
    unsupported("initContainers", Rule::List, "is not supported: remove it and prepare the model beforehand"),
    pod("activeDeadlineSeconds", Rule::Whole),
    pod("affinity", Rule::Mapping),
    pod("automountServiceAccountToken", Rule::Bool),
    pod("dnsConfig", Rule::Mapping),
    pod("dnsPolicy", Rule::Text),
    pod("enableServiceLinks", Rule::Bool),
    pod("ephemeralContainers", Rule::List),
    pod("hostAliases", Rule::List),
    pod("hostIPC", Rule::Bool),
    pod("hostNetwork", Rule::Bool),
    pod("hostPID", Rule::Bool),
    pod("hostUsers", Rule::Bool),
    pod("hostname", Rule::Text),
    pod("hostnameOverride", Rule::Text),
    pod("imagePullSecrets", Rule::List),
    pod("nodeName", Rule::Text),
    pod("nodeSelector", Rule::Texts),
    pod("os", Rule::Mapping),
    pod("overhead", Rule::Mapping),
    pod("preemptionPolicy", Rule::Text),
    pod("priority", Rule::Whole),
    pod("priorityClassName", Rule::Text),
    pod("readinessGates", Rule::List),
    pod("resourceClaims", Rule::List),
    pod("resources", Rule::Mapping),
    pod("restartPolicy", Rule::Text),
    pod("runtimeClassName", Rule::Text),
    pod("schedulerName", Rule::Text),
    pod("schedulingGates", Rule::List),
    pod("securityContext", Rule::Mapping),
    pod("serviceAccount", Rule::Text),
    pod("serviceAccountName", Rule::Text),
    pod("setHostnameAsFQDN", Rule::Bool),
    pod("shareProcessNamespace", Rule::Bool),
    pod("subdomain", Rule::Text),
    pod("terminationGracePeriodSeconds", Rule::Whole),
    pod("tolerations", Rule::List),
    pod("topologySpreadConstraints", Rule::List),
    pod("volumes", Rule::List),
];

pub(super) const CONTAINER: &[Field] = &[
    unsupported("args", Rule::TextList, "is not supported: remove it, no server reads it"),
    unsupported("command", Rule::TextList, "is not supported: remove it, no server reads it"),
    container("env", Rule::List),
    container("envFrom", Rule::List),
    container("image", Rule::Text),
    container("imagePullPolicy", Rule::Text),
    container("lifecycle", Rule::Mapping),
    container("livenessProbe", Rule::Mapping),
    container("ports", Rule::List),
    container("readinessProbe", Rule::Mapping),
    container("resizePolicy", Rule::List),
    container("restartPolicy", Rule::Text),
    container("restartPolicyRules", Rule::List),
    container("securityContext", Rule::Mapping),
    container("startupProbe", Rule::Mapping),
    container("stdin", Rule::Bool),
    container("stdinOnce", Rule::Bool),
    container("terminationMessagePath", Rule::Text),
    container("terminationMessagePolicy", Rule::Text),
    container("tty", Rule::Bool),
    container("volumeDevices", Rule::List),
    container("volumeMounts", Rule::List),
    container("workingDir", Rule::Text),
];
