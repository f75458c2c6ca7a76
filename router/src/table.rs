//! The route table: an immutable snapshot, built from real services and replaced as a whole.
//!
//! `L` is whatever the table's owner keeps per service; for the gateway, the lane. A lookup is one hash of the model's
//! name, and no look-up leaves the process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use weirgate_protocol::{Error, Result, StickyKey};

use crate::split::Turns;

/// A service as routing sees it.
#[derive(Clone, Debug)]
pub struct Service<L> {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    /// The model's name in paths and messages; the service's own name.
    pub model: Arc<str>,
    /// The longest a call may take where the caller asks for no less.
    pub timeout: Duration,
    /// What keeps calls together while traffic is split.
    pub sticky: Option<StickyKey>,
    /// Every revision that can be asked for, and its share of the calls in percent. The shares sum to 100.
    pub revisions: Vec<Revision<L>>,
    /// Which of them takes what no other's share covers, and calls that were meant for one that has failed.
    pub base: usize,
    /// Which of them `stable` and `latest` mean.
    pub stable: Option<usize>,
    pub latest: Option<usize>,
    pub turns: Turns,
    /// Why no call is taken; then there may be no revisions.
    pub refusal: Option<Arc<str>>,
}

/// A running revision.
#[derive(Clone, Debug)]
pub struct Revision<L> {
    pub name: Arc<str>,
    /// `predictor.name` of the manifest: another name to ask for it by.
    pub variant: Option<Arc<str>>,
    pub percent: u8,
    pub lane: L,
}

impl<L> Service<L> {
    /// The lane of the revision that takes what no other's share covers.
    pub fn base_lane(&self) -> &L {
        &self.revisions[self.base].lane
    }
}

/// Services by the names that calls ask for.
#[derive(Clone, Debug)]
pub struct RouteTable<L> {
    services: Vec<Arc<Service<L>>>,
    by_model: HashMap<Arc<str>, Vec<usize>>,
}

impl<L> Default for RouteTable<L> {
    fn default() -> Self {
        RouteTable::new(Vec::new())
    }
}

impl<L> RouteTable<L> {
    pub fn new(services: Vec<Service<L>>) -> Self {
        let mut by_model: HashMap<Arc<str>, Vec<usize>> = HashMap::new();
        for (index, service) in services.iter().enumerate() {
            by_model.entry(service.model.clone()).or_default().push(index);
        }
        RouteTable { services: services.into_iter().map(Arc::new).collect(), by_model }
    }

    pub fn services(&self) -> &[Arc<Service<L>>] {
        &self.services
    }

    /// The one service that serves `model`. A name that several namespaces claim is a conflict that names them.
    pub fn by_model(&self, model: &str) -> Result<&Arc<Service<L>>> {
        match self.by_model.get(model).map(Vec::as_slice) {
            Some([index]) => Ok(&self.services[*index]),
            Some(claims) => {
                let claims: Vec<_> = claims
                    .iter()
                    .map(|&index| format!("{}/{}", self.services[index].namespace, self.services[index].name))
                    .collect();
                Err(Error::conflict(format!("model '{model}' is claimed by services {}", claims.join(" and "))))
            }
            None => {
                let shown: String = model.chars().take(64).collect();
                Err(Error::not_found(format!("model '{shown}' is not served here")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use weirgate_protocol::ErrorCode;

    use super::*;

    fn service(namespace: &str, name: &str) -> Service<u8> {
        Service {
            namespace: namespace.into(),
            name: name.into(),
            model: name.into(),
            timeout: Duration::from_secs(300),
            sticky: None,
            revisions: vec![Revision { name: name.into(), variant: None, percent: 100, lane: 0 }],
            base: 0,
            stable: Some(0),
            latest: Some(0),
            turns: Turns::default(),
            refusal: None,
        }
    }

    #[test]
    fn a_model_is_found_by_name() {
        let table = RouteTable::new(vec![service("default", "a"), service("default", "b")]);
        assert_eq!(&*table.by_model("b").unwrap().name, "b");
        assert_eq!(table.by_model("c").unwrap_err().code(), ErrorCode::NotFound);
    }

    #[test]
    fn a_name_claimed_twice_names_both_claims() {
        let table = RouteTable::new(vec![service("red", "a"), service("blue", "a")]);
        let error = table.by_model("a").unwrap_err();
        assert_eq!(error.code(), ErrorCode::Conflict);
        assert_eq!(error.message(), "model 'a' is claimed by services red/a and blue/a");
    }
}
