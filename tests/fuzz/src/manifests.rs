//! Manifests.

use std::path::Path;

use weirgate_deploy_core::{Severity, load, plan};

/// A file of InferenceServices.
pub fn manifest(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let base = Path::new("/models");
    let loaded = load(text, "fuzz", base);
    for problem in &loaded.problems {
        assert!(!problem.to_string().is_empty());
    }
    for service in &loaded.services {
        // What was accepted is accepted again when it comes back out of the state folder, and means the same.
        let (again, problems) = plan(&service.service, "state", base);
        assert!(problems.iter().all(|problem| problem.severity != Severity::Error), "{problems:?}");
        assert_eq!(again, service.plan);
    }
    !loaded.services.is_empty()
}
