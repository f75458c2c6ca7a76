//! How a revision's replicas fare.

/// How a revision's replicas fare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    pub ready: usize,
    /// Why the last replica that failed did so, as long as one is missing.
    pub failure: Option<Fault>,
    /// What those wait for that start, where that takes long, or what became of those before them.
    pub waits_for: Option<Fault>,
    pub counts: Counts,
}

impl Health {
    /// So many replicas are ready, and nothing is wrong.
    pub fn ready(replicas: usize) -> Health {
        Health { ready: replicas, ..Health::default() }
    }

    /// One has failed, and so many others are ready.
    pub fn failed(ready: usize, failure: Fault) -> Health {
        Health { ready, failure: Some(failure), ..Health::default() }
    }
}

/// Replicas that are not ready, by what they are at, and how often one was started because another had failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub starting: usize,
    /// They have failed, and are started anew later.
    pub waiting: usize,
    pub draining: usize,
    pub restarts: u64,
}

/// What is wrong with a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    ModelLoadFailed,
    /// Its process could not be started.
    ReplicaNotStarted,
    /// Its process ended by itself; with this code, 128 and the signal's number where one ended it.
    ReplicaExited {
        code: Option<i32>,
    },
    /// A probe that says that it lives has failed too often.
    ReplicaUnhealthy,
    /// It runs, and is not ready.
    ReplicaNotReady,
    /// A server elsewhere is not ready.
    UpstreamNotReady,
}

impl FaultKind {
    /// The word for it in conditions and events.
    pub const fn reason(self) -> &'static str {
        match self {
            FaultKind::ModelLoadFailed => "ModelLoadFailed",
            FaultKind::ReplicaNotStarted => "ReplicaNotStarted",
            FaultKind::ReplicaExited { .. } => "ReplicaExited",
            FaultKind::ReplicaUnhealthy => "ReplicaUnhealthy",
            FaultKind::ReplicaNotReady => "ReplicaNotReady",
            FaultKind::UpstreamNotReady => "UpstreamNotReady",
        }
    }

    /// The word for it in `lastFailureInfo`, for which KServe has a closed list.
    pub const fn failure_reason(self) -> &'static str {
        match self {
            FaultKind::ModelLoadFailed => "ModelLoadFailed",
            _ => "RuntimeUnhealthy",
        }
    }

    pub const fn exit_code(self) -> Option<i32> {
        match self {
            FaultKind::ReplicaExited { code } => code,
            _ => None,
        }
    }

    /// Something has gone wrong, and does not only take long.
    pub const fn is_failure(self) -> bool {
        !matches!(self, FaultKind::ReplicaNotReady | FaultKind::UpstreamNotReady)
    }
}
