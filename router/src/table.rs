//! The route table: an immutable snapshot, built from real services and replaced as a whole.
//!
//! `L` is whatever the table's owner keeps per revision; for the gateway, the lane. Every look-up is by hash, and none
//! leaves the process.

use std::collections::HashMap;
use std::sync::Arc;

use weirgate_protocol::{Error, Result};

use crate::hash::NameHash;
use crate::names::{Claim, Names, Tag};
use crate::service::{Route, Service, Wanted};

/// Services by the names that calls ask for.
#[derive(Clone, Debug)]
pub struct RouteTable<L> {
    routes: Vec<Arc<Route<L>>>,
    by_model: HashMap<Arc<str>, Vec<usize>, NameHash>,
    names: Names,
}

/// What an address, a host or the begin of a path, stands for.
#[derive(Debug)]
pub struct Addressed<'a, L> {
    pub route: &'a Arc<Route<L>>,
    pub wanted: Wanted<'a>,
}

impl<L> Default for RouteTable<L> {
    fn default() -> Self {
        RouteTable::new(Vec::new())
    }
}

impl<L> RouteTable<L> {
    pub fn new(services: Vec<Service<L>>) -> Self {
        let mut by_model: HashMap<Arc<str>, Vec<usize>, NameHash> = HashMap::default();
        let mut names = Names::default();
        for (index, service) in services.iter().enumerate() {
            by_model.entry(service.model.clone()).or_default().push(index);
            names.add(index, service);
        }
        let routes = services.into_iter().map(|service| Arc::new(Route::new(service))).collect();
        RouteTable { routes, by_model, names }
    }

    pub fn routes(&self) -> &[Arc<Route<L>>] {
        &self.routes
    }

    /// Call before this table takes the place of an earlier one: goes on to know its namespaces, so that the host of a
    /// service that was deleted with them still belongs there.
    pub fn remember(&mut self, earlier: &RouteTable<L>) {
        self.names.remember(&earlier.names);
    }

    /// The one service that serves `model`, for calls whose host is no service's. Where the host names a namespace all the
    /// same, only a service there will do. A name that several namespaces claim is a conflict that names them.
    pub fn by_model(&self, model: &str, host: Option<&str>) -> Result<&Arc<Route<L>>> {
        let claims = self.by_model.get(model).map_or(&[][..], Vec::as_slice);
        let named = host.map_or_else(Vec::new, |host| self.names.namespaces_of(host, model));
        if let Some(first) = named.first() {
            let within = |index: &&usize| named.iter().all(|name| **name == *self.routes[**index].service.namespace);
            return claims.iter().find(within).map(|index| &self.routes[*index]).ok_or_else(|| {
                Error::not_found(format!(
                    "model '{}' is not served in namespace '{first}', which host '{}' names: that of another namespace \
                     needs a host or a path with its name",
                    shown(model),
                    shown(host.unwrap_or_default())
                ))
            });
        }
        match claims {
            [index] => Ok(&self.routes[*index]),
            [] => Err(Error::not_found(format!("model '{}' is not served here", shown(model)))),
            claims => {
                let services = self.list(claims.iter().copied());
                Err(Error::conflict(format!(
                    "model '{model}' is claimed by services {services}: name the namespace in the host or the path"
                )))
            }
        }
    }

    /// One service for each model that can be asked for by name at a host, in no order: the one that [`RouteTable::by_model`]
    /// finds, or the first of those that claim the name.
    pub fn models(&self, host: Option<&str>) -> impl Iterator<Item = &Arc<Route<L>>> {
        self.by_model.iter().filter_map(move |(model, claims)| {
            let named = host.map_or_else(Vec::new, |host| self.names.namespaces_of(host, model));
            let fits = |index: &&usize| named.iter().all(|name| **name == *self.routes[**index].service.namespace);
            claims.iter().find(fits).map(|index| &self.routes[*index])
        })
    }

    /// What a host stands for, with or without a port and whatever its domain; `None` where no service has that name.
    pub fn by_host(&self, host: &str) -> Result<Option<Addressed<'_, L>>> {
        let (in_namespace, joined) = self.names.of_host(host);
        match (in_namespace, joined) {
            ([], []) => Ok(None),
            ([claim], []) | ([], [claim]) => Ok(Some(self.addressed(*claim))),
            ([claim], [other]) if claim.service == other.service => Ok(Some(self.addressed(*claim))),
            _ => Err(self.conflict(&format!("host '{}'", shown(host)), in_namespace.iter().chain(joined))),
        }
    }

    /// What `/{namespace}/{label}` stands for; `None` where no service has that name.
    pub fn by_path(&self, namespace: &str, label: &str) -> Result<Option<Addressed<'_, L>>> {
        match self.names.in_namespace(namespace, label) {
            [] => Ok(None),
            [claim] => Ok(Some(self.addressed(*claim))),
            claims => Err(self.conflict(&format!("path '/{namespace}/{label}'"), claims)),
        }
    }

    fn addressed(&self, claim: Claim) -> Addressed<'_, L> {
        let route = &self.routes[claim.service];
        let wanted = match claim.tag {
            Tag::Any => Wanted::Any,
            Tag::Stable => Wanted::Stable,
            Tag::Latest => Wanted::Latest,
            Tag::Revision(index) => Wanted::Named(&route.service.revisions[index].name),
        };
        Addressed { route, wanted }
    }

    fn conflict<'c>(&self, name: &str, claims: impl IntoIterator<Item = &'c Claim>) -> Error {
        let services = self.list(claims.into_iter().map(|claim| claim.service));
        Error::conflict(format!("{name} is claimed by services {services}"))
    }

    fn list(&self, services: impl Iterator<Item = usize>) -> String {
        let named = |index: usize| {
            let service = &self.routes[index].service;
            format!("{}/{}", service.namespace, service.name)
        };
        services.map(named).collect::<Vec<_>>().join(" and ")
    }
}

/// Text from outside, cut where it would drown the rest.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use weirgate_protocol::ErrorCode;

    use super::*;
    use crate::testing::{revision, service};

    #[test]
    fn a_model_is_found_by_name() {
        let table = RouteTable::new(vec![service("default", "a"), service("default", "b")]);
        assert_eq!(&*table.by_model("b", None).unwrap().service.name, "b");
        assert_eq!(table.by_model("c", None).unwrap_err().code(), ErrorCode::NotFound);
    }

    #[test]
    fn a_name_claimed_twice_names_both_claims() {
        let table = RouteTable::new(vec![service("red", "a"), service("blue", "a")]);
        let error = table.by_model("a", None).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Conflict);
        assert!(error.message().starts_with("model 'a' is claimed by services red/a and blue/a"), "{error}");
    }

    #[test]
    fn the_host_of_a_service_that_is_gone_leads_to_no_other_namespace() {
        let before = RouteTable::new(vec![service("green", "a"), service("red", "a"), service("default", "b")]);
        let mut table = RouteTable::new(vec![service("red", "a"), service("default", "b")]);
        table.remember(&before);
        let mut later = RouteTable::new(vec![service("red", "a"), service("default", "b")]);
        later.remember(&table);
        let found = |model, host| {
            assert!(later.by_host(host).unwrap().is_none(), "{host}");
            later.by_model(model, Some(host)).map(|route| route.service.namespace.to_string())
        };
        for host in [
            "a.green",
            "A.Green.example.com:8080",
            "a-predictor.green.svc.cluster.local",
            "prev-a.green.example.com",
            "b.green.example.com",
            "a-green.example.com",
            "a-green.red.example.com",
            "c.default.example.com",
        ] {
            let error = found("a", host).unwrap_err();
            assert_eq!(error.code(), ErrorCode::NotFound, "{host}");
            assert!(error.message().contains(&format!("host '{host}' names")), "{error}");
        }
        // What names no namespace, and the gateway's own name in one.
        for (model, host, namespace) in [
            ("a", "localhost:8080", "red"),
            ("a", "a.example.com", "red"),
            ("a", "a-b.example.com", "red"),
            ("a", "10.0.0.1", "red"),
            ("a", "weirgate.red.svc.cluster.local", "red"),
            ("b", "weirgate.default.svc.cluster.local", "default"),
        ] {
            assert_eq!(found(model, host).as_deref(), Ok(namespace), "{host}");
        }
    }

    #[test]
    fn each_model_that_can_be_asked_for_is_listed_once() {
        let table = RouteTable::new(vec![service("red", "a"), service("blue", "a"), service("red", "b")]);
        let listed = |host: Option<&str>| {
            let services = table.models(host).map(|route| &route.service);
            let mut listed: Vec<_> =
                services.map(|service| format!("{}/{}", service.namespace, service.name)).collect();
            listed.sort();
            listed
        };
        assert_eq!(listed(None), ["red/a", "red/b"]);
        assert_eq!(listed(Some("localhost:8080")), ["red/a", "red/b"]);
        assert_eq!(listed(Some("weirgate.blue.svc")), ["blue/a"]);
    }

    #[test]
    fn a_host_that_names_a_namespace_decides_between_those_that_claim_a_model() {
        let table = RouteTable::new(vec![service("red", "a"), service("blue", "a")]);
        let found = table.by_model("a", Some("weirgate.blue.svc")).unwrap();
        assert_eq!(&*found.service.namespace, "blue");
        assert_eq!(table.by_model("a", Some("weirgate.other.svc")).unwrap_err().code(), ErrorCode::Conflict);
    }

    fn table() -> RouteTable<u8> {
        let mut canary = service("red", "a");
        canary.revisions = vec![revision("a-predictor-1", 80), revision("a-predictor-2", 20)];
        canary.revisions[1].variant = Some("fast".into());
        canary.latest = Some(1);
        RouteTable::new(vec![canary, service("blue", "a"), service("c", "a-b"), service("b-c", "a")])
    }

    fn host(host: &str) -> String {
        let table = table();
        match table.by_host(host) {
            Ok(Some(Addressed { route, wanted })) => {
                format!("{}/{} {wanted}", route.service.namespace, route.service.name)
            }
            Ok(None) => "nothing".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn hosts_are_looked_up_whatever_their_domain() {
        for (asked, found) in [
            ("a.red", "red/a any revision"),
            ("a.red.example.com", "red/a any revision"),
            ("A.Red.Example.com:8080", "red/a any revision"),
            ("a.blue.svc.cluster.local:80", "blue/a any revision"),
            ("a-predictor.red.svc.cluster.local", "red/a any revision"),
            ("a-red.example.com", "red/a any revision"),
            ("prev-a-predictor.red.example.com", "red/a stable"),
            ("prev-a.red", "red/a stable"),
            ("latest-a-predictor.red", "red/a latest"),
            ("latest-a.red", "red/a latest"),
            ("a-predictor-2.red", "red/a 'a-predictor-2'"),
            ("a-fast-predictor.red.x", "red/a 'a-predictor-2'"),
        ] {
            assert_eq!(host(asked), found, "{asked}");
        }
        for other in
            ["", "a", "a-red", "a.green", "b.red", "10.0.0.1:80", "[::1]:80", "localhost:8080", ".red", "a.", "é.red"]
        {
            assert_eq!(host(other), "nothing", "{other}");
        }
    }

    #[test]
    fn a_host_claimed_twice_names_both_claims() {
        assert_eq!(host("a-b-c.example.com"), "host 'a-b-c.example.com' is claimed by services c/a-b and b-c/a");
        // `a-b` in namespace `c`, and below a domain that begins with `c`, would be `a` in `b`.
        let table = RouteTable::new(vec![service("c", "a-b"), service("b", "a")]);
        assert_eq!(table.by_host("a-b.c.example.com").unwrap_err().code(), ErrorCode::Conflict);
        assert!(table.by_host("a-b.c-d.example.com").unwrap().is_some());
    }

    #[test]
    fn paths_have_the_names_of_hosts() {
        let table = table();
        let found = |namespace, label| table.by_path(namespace, label).map(|found| found.map(|found| found.wanted));
        assert_eq!(found("red", "a"), Ok(Some(Wanted::Any)));
        assert_eq!(found("red", "latest-a"), Ok(Some(Wanted::Latest)));
        assert_eq!(found("red", "a-predictor-1"), Ok(Some(Wanted::Named("a-predictor-1"))));
        assert_eq!(found("green", "a"), Ok(None));
        let tags = RouteTable::new(vec![service("red", "a"), service("red", "latest-a")]);
        let error = tags.by_path("red", "latest-a").unwrap_err();
        assert_eq!(error.message(), "path '/red/latest-a' is claimed by services red/a and red/latest-a");
    }
}
