//! Everything that the operator watches, as facts: kinds that hold no data, cluster-wide by our label, metadata only
//! where that is enough. Secrets and ConfigMaps are never listed. Reads only. What is watched stands in [`kinds::KINDS`].

mod kinds;
mod objects;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bailiwick_model::facts::{
    ApiServerAddress, ClaimFact, JobFact, PodFact, StatefulSetFact, StorageClassFact, VolumeFact,
};
use futures::stream::{BoxStream, StreamExt, select_all};
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::Client;
use kube::api::{ApiResource, DynamicObject};

use crate::version::Version;
use crate::watch::{Fact, Facts, Object};
use kinds::{KINDS, Kind, Opening};
pub use objects::{Labels, NodeFact};

/// The facts of all watched kinds. Cluster-wide kinds are in the group `""`.
#[derive(Debug, Default)]
pub struct Watched {
    /// The labels of the Regions' namespaces.
    pub namespaces: Arc<Facts<Labels>>,
    /// The labels and addresses of nodes.
    pub nodes: Arc<Facts<NodeFact>>,
    /// Storage classes.
    pub storage_classes: Arc<Facts<StorageClassFact>>,
    /// The API server's addresses.
    pub api_server: Arc<Facts<BTreeSet<ApiServerAddress>>>,
    /// The addresses of the start fence's responder, and whether each is ready.
    pub fence_responder: Arc<Facts<BTreeMap<IpAddr, bool>>>,
    /// PersistentVolumes that a claim is bound to, by the namespace of the claim: a Region's has its name.
    pub volumes: Arc<Facts<VolumeFact>>,
    /// Whether each admission policy is in force as it was shipped.
    pub admission_policies: Arc<Facts<bool>>,
    /// Whether each binding of one is.
    pub admission_bindings: Arc<Facts<bool>>,
    /// PersistentVolumeClaims.
    pub claims: Arc<Facts<ClaimFact>>,
    /// Pods.
    pub pods: Arc<Facts<PodFact>>,
    /// StatefulSets.
    pub stateful_sets: Arc<Facts<(Version, StatefulSetFact)>>,
    /// Jobs.
    pub jobs: Arc<Facts<JobFact>>,
    /// Services.
    pub services: Arc<Facts<Version>>,
    /// NetworkPolicies.
    pub network_policies: Arc<Facts<Version>>,
    /// PodDisruptionBudgets.
    pub disruption_budgets: Arc<Facts<Version>>,
    /// CronJobs.
    pub cron_jobs: Arc<Facts<Version>>,
}

/// How long the first list of the fence's responder is waited for.
const RESPONDER: Duration = Duration::from_secs(5);

/// The facts of one kind, whatever they are.
pub trait Kept: Send + Sync {
    /// Whether the first list is complete.
    fn listed(&self) -> bool;
    /// For how long the watch has been failing, at `now`.
    fn failing(&self, now: Instant) -> Option<Duration>;
}

impl<F: Fact> Kept for Facts<F> {
    fn listed(&self) -> bool {
        Self::listed(self)
    }

    fn failing(&self, now: Instant) -> Option<Duration> {
        Self::failing(self, now)
    }
}

/// The versions of the objects of a kind that the operator applies.
pub trait Versions: Send + Sync {
    /// The version of one object of a Region.
    fn version(&self, region: &str, object: &Object) -> Option<Version>;
    /// Those of all objects of a Region.
    fn versions(&self, region: &str) -> BTreeMap<Object, Version>;
    /// Keeps what an apply returned, unless the version that is kept now is another than `before`.
    fn put_applied(
        &self,
        region: &str,
        object: &Object,
        live: &DynamicObject,
        before: Option<&Version>,
    );
    /// Forgets an object that we deleted.
    fn forget(&self, region: &str, object: &Object);
}

impl Versions for Facts<Version> {
    fn version(&self, region: &str, object: &Object) -> Option<Version> {
        self.get(region, object)
    }

    fn versions(&self, region: &str) -> BTreeMap<Object, Version> {
        self.of(region)
    }

    fn put_applied(
        &self,
        region: &str,
        object: &Object,
        live: &DynamicObject,
        before: Option<&Version>,
    ) {
        self.put_unless_changed(region, object, Version::of(live), |now| now == before);
    }

    fn forget(&self, region: &str, object: &Object) {
        self.remove(region, object);
    }
}

impl Versions for Facts<(Version, StatefulSetFact)> {
    fn version(&self, region: &str, object: &Object) -> Option<Version> {
        self.get(region, object).map(|(version, _)| version)
    }

    fn versions(&self, region: &str) -> BTreeMap<Object, Version> {
        self.of(region)
            .into_iter()
            .map(|(object, (version, _))| (object, version))
            .collect()
    }

    fn put_applied(
        &self,
        region: &str,
        object: &Object,
        live: &DynamicObject,
        before: Option<&Version>,
    ) {
        // An answer that cannot be read as one is left to the watch.
        if let Ok(set) = live.clone().try_parse::<StatefulSet>() {
            let fact = (Version::of(live), objects::stateful_set(&set));
            self.put_unless_changed(region, object, fact, |now| {
                now.map(|(version, _)| version) == before
            });
        }
    }

    fn forget(&self, region: &str, object: &Object) {
        self.remove(region, object);
    }
}

impl Watched {
    /// Opens all watches; the stream yields the group of each change and must be polled for facts to stay current.
    ///
    /// `registries` are those that the operator was started with: the policy on images must name the same.
    #[must_use]
    pub fn open(
        &self,
        client: &Client,
        registries: &BTreeMap<String, String>,
    ) -> BoxStream<'static, String> {
        let opening = Opening {
            watched: self,
            client,
            registries,
        };
        select_all(KINDS.iter().map(|kind| (kind.open)(&opening))).boxed()
    }

    /// The kinds whose first list is not complete yet.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        needed()
            .filter(|kind| !(kind.facts)(self).listed())
            .map(|kind| kind.name)
            .collect()
    }

    /// The kinds whose watch fails at `now`, and for how long.
    #[must_use]
    pub fn failing(&self, now: Instant) -> Vec<(&'static str, Duration)> {
        needed()
            .filter_map(|kind| Some((kind.name, (kind.facts)(self).failing(now)?)))
            .collect()
    }

    /// Waits until every kind is listed. For the fence's responder it waits a little longer and no more: in a cluster that
    /// has none, or does not let us see it, the Regions that stand are tended all the same.
    pub async fn listed(&self) {
        while !self.missing().is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let _ = tokio::time::timeout(RESPONDER, async {
            while !self.fence_responder.listed() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }

    /// The admission policies that are in force as they were shipped: the policy itself, and its binding of the same
    /// name.
    #[must_use]
    pub fn admission(&self) -> BTreeSet<String> {
        let shipped = |facts: &Facts<bool>| {
            facts
                .of("")
                .into_iter()
                .filter(|(_, shipped)| *shipped)
                .map(|(object, _)| object.name)
                .collect::<BTreeSet<String>>()
        };
        &shipped(&self.admission_policies) & &shipped(&self.admission_bindings)
    }

    /// The versions of a watched kind that the operator applies; none for any other.
    #[must_use]
    pub fn versions(&self, kind: &str) -> Option<&dyn Versions> {
        let of_kind = KINDS.iter().find(|it| it.name == kind)?;
        Some(of_kind.applied.as_ref()?(self))
    }

    /// The children of the kinds that may be pruned, in the order in which they are.
    #[must_use]
    pub fn prunable(&self, region: &str) -> Vec<(ApiResource, BTreeMap<Object, Version>)> {
        let mut turns: Vec<_> = KINDS
            .iter()
            .filter_map(|kind| Some((kind.pruned.as_ref()?, kind.applied.as_ref()?)))
            .collect();
        turns.sort_by_key(|(pruned, _)| pruned.turn);
        turns
            .into_iter()
            .map(|(pruned, applied)| ((pruned.resource)(), applied(self).versions(region)))
            .collect()
    }

    /// Keeps what an apply returned, so that its own watch event is no news; unless the watch has told of another
    /// version than `before`, the one known when the apply was sent: that is ours already, or a later one of
    /// somebody else, which it will not tell of again.
    pub fn put_applied(
        &self,
        region: &str,
        kind: &str,
        object: &Object,
        live: &DynamicObject,
        before: Option<&Version>,
    ) {
        if let Some(versions) = self.versions(kind) {
            versions.put_applied(region, object, live, before);
        }
    }

    /// Forgets a child that we deleted, so that its own watch event is no news.
    pub fn forget(&self, region: &str, kind: &str, object: &Object) {
        if let Some(versions) = self.versions(kind) {
            versions.forget(region, object);
        }
    }
}

/// The kinds without which the operator is not ready.
fn needed() -> impl Iterator<Item = &'static Kind> {
    KINDS.iter().filter(|kind| kind.needed)
}
