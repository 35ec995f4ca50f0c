//! What the controller observed of the world, as values without clients. What could not be read is never
//! mistaken for what is not there. No I/O.

mod cluster;
mod inventory;
mod observed;
pub mod patroni;
pub mod postgres;
pub mod repository;
pub mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use bailiwick_api::region::{BreachStatus, WaysStatus};
use jiff::Timestamp;

pub use self::cluster::*;
pub use self::inventory::*;
pub use self::observed::*;
use self::patroni::PatroniFacts;
use self::postgres::PostgresFacts;
use self::repository::ReadBack;
use self::store::StoreFacts;

/// Everything that `plan` needs and the spec does not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// When they were observed: the pure crate has no clock.
    pub now: Timestamp,
    /// What the operator may not do in the Region's namespaces, as `verb resource in namespace`. Empty: delegated.
    pub missing_rights: Vec<String>,
    /// The breach as the operator itself wrote it into the status last; none when it wrote none yet.
    pub breach: Option<BreachStatus>,
    /// The ways as the operator itself wrote them into the status last; none when it wrote none yet.
    pub ways: Option<WaysStatus>,
    /// The watched objects that a Region which is paused should have and that are not there, as `Kind/name`.
    pub absent: Vec<String>,
    /// What the API server refused of what this look wrote, in that order; empty before it wrote.
    pub refused: Vec<RefusedObject>,
    /// The labels of the Region's namespaces that exist.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// The labels of all nodes.
    pub nodes: BTreeMap<String, BTreeMap<String, String>>,
    /// The addresses of nodes inside the cluster, where they are known.
    pub node_addresses: BTreeMap<String, String>,
    /// The ranges that nodes give their pods addresses from (`spec.podCIDRs`).
    pub pod_ranges: BTreeSet<String>,
    /// The Regions that have pods in this cluster, by name; the Region itself may be among them.
    pub neighbours: Arc<BTreeMap<String, Neighbour>>,
    /// All storage classes.
    pub storage_classes: BTreeMap<String, StorageClassFact>,
    /// Where the API server answers, from the `kubernetes` EndpointSlices.
    pub api_server: BTreeSet<ApiServerAddress>,
    /// Where the start fence's responder answers, and whether it is ready there. Not asked until it was listed once.
    pub fence_responder: Observed<BTreeMap<IpAddr, bool>>,
    /// The Region's Secrets that exist, by name.
    pub secrets: BTreeMap<String, SecretFact>,
    /// The Secrets of roles and users that the spec gives no login any more, with their uids.
    pub left_over: BTreeMap<String, String>,
    /// The Secrets of which the status says that they go with their roles.
    pub announced: BTreeSet<String>,
    /// The key Secrets that are gone while their values are remembered: they are put back as they were.
    pub remembered: BTreeSet<String>,
    /// The Region's PersistentVolumeClaims.
    pub claims: ByNamespace<ClaimFact>,
    /// The Region's pods.
    pub pods: ByNamespace<PodFact>,
    /// The StatefulSets of the data's namespace, by name.
    pub stateful_sets: BTreeMap<String, StatefulSetFact>,
    /// The Jobs of the data's namespace, by name.
    pub jobs: BTreeMap<String, JobFact>,
    /// All PersistentVolumes that a claim of the Region's namespaces is bound to, by name.
    pub volumes: BTreeMap<String, VolumeFact>,
    /// The Region's NetworkPolicies that we made, as `namespace/name`.
    pub network_policies: BTreeSet<String>,
    /// The admission policies that are in force exactly as they were shipped, by name.
    pub admission: BTreeSet<String>,
    /// What is in the Region's namespaces beside what is ours, as the last probe found it.
    pub inventory: Observed<Inventory>,
    /// What Patroni says.
    pub patroni: Observed<PatroniFacts>,
    /// What the primary says over SQL.
    pub postgres: Observed<PostgresFacts>,
    /// What the object store says.
    pub store: Observed<StoreFacts>,
    /// What became of the newest file that Postgres says was archived, as the repository was looked into for it last. Not
    /// asked while none was archived.
    pub archived: Observed<ReadBack>,
}

impl Facts {
    /// Whether the API server refused part of the boundary: its policies may let through what they did before.
    #[must_use]
    pub fn boundary_is_refused(&self) -> bool {
        self.refused.iter().any(RefusedObject::is_of_boundary)
    }

    /// Whether the API server refused what pods need or are made from: then none is started, none is ended since it might not
    /// come back, and none is told to take a setting that fits what it is not yet.
    #[must_use]
    pub fn pods_must_wait(&self) -> bool {
        self.refused.iter().any(RefusedObject::is_needed_by_pods)
    }
}
