//! What a Region is planned to be: every place admitted, every default filled. [`crate::planner`] makes it. No I/O.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bailiwick_api::region::{Assurance, BreachStatus, RegionSpec, WaysStatus};
use bailiwick_fence::Targets;
use ipnet::IpNet;
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::desired::postgres::preloaded::Preloaded;
use crate::facts::{ApiServerAddress, Neighbour};
use crate::flow::Connection;
use crate::names::Names;
use crate::residency::{
    BucketPlace, ExternalEndpoint, ImagePlace, NodePool, Policy, Resident, StorageClassPlace,
};
use crate::scale::Members;
use crate::secret::SecretWanted;
use crate::volume::VolumeSize;

/// What the operator was started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Platform {
    /// The locations that this cluster serves.
    pub locations: Vec<String>,
    /// The Postgres image of each major version.
    pub postgres_images: BTreeMap<i32, String>,
    /// The object store's image.
    pub object_store_image: String,
    /// The operator's own image, which canaries run.
    pub operator_image: String,
    /// The image of the start fence. It has a version of its own, so that an operator's upgrade changes no pod template.
    pub fence_image: String,
    /// The registries that images may come from, and the location of each (`*`: every served location).
    pub image_registries: BTreeMap<String, String>,
    /// An endpoint outside the cluster that canaries must not reach.
    pub outside_address: Option<SocketAddr>,
    /// A name outside the cluster that canaries must not be told the address of.
    pub outside_name: Option<String>,
    /// Which addresses are in which location, as the platform says; what a Region declares lies in them. Empty: nobody
    /// said, and what a Region declares is its own word.
    pub location_addresses: BTreeMap<String, Vec<IpNet>>,
    /// The cluster's own ranges beside those that are seen: of Services, and of pods where nodes do not tell.
    pub cluster_addresses: Vec<IpNet>,
}

/// A Region that may be made so. Every place in it is a `Resident`.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The names of all its objects.
    pub names: Names,
    /// The owner of children whose loss loses no data.
    pub owner: OwnerReference,
    /// Its residency.
    pub policy: Policy,
    /// How well the data can be held in place on this cluster.
    pub assurance: Assurance,
    /// The spec.
    pub spec: RegionSpec,
    /// The generation of the Region that has this spec.
    pub generation: Option<i64>,
    /// The nodes that its pods run on.
    pub nodes: Resident<NodePool>,
    /// The image of Postgres, Patroni and pgBackRest.
    pub postgres_image: Resident<ImagePlace>,
    /// The image of the object store.
    pub object_store_image: Resident<ImagePlace>,
    /// The image of the canaries: the operator's own.
    pub operator_image: Resident<ImagePlace>,
    /// The image of the start fence.
    pub fence_image: Resident<ImagePlace>,
    /// What a fenced pod does not reach; none when nothing is known of the responder, and then what was told before stays.
    pub fence_targets: Option<Targets>,
    /// The storage class of Postgres' data.
    pub postgres_class: Resident<StorageClassPlace>,
    /// The storage class of the object store.
    pub object_store_class: Resident<StorageClassPlace>,
    /// How many members of Postgres there are to be now.
    pub members: Members,
    /// What Postgres loads when it starts.
    pub preloaded: Preloaded,
    /// The size of Postgres' data volumes.
    pub postgres_volume: VolumeSize,
    /// The size of the object store's volumes.
    pub object_store_volume: VolumeSize,
    /// The bucket of WAL and backups.
    pub backup_bucket: Resident<BucketPlace>,
    /// The bucket of the evidence log.
    pub evidence_bucket: Resident<BucketPlace>,
    /// The buckets of applications, by name.
    pub buckets: BTreeMap<String, Resident<BucketPlace>>,
    /// The only places outside the cluster that pods may connect to.
    pub externals: Vec<Resident<ExternalEndpoint>>,
    /// Whether the platform says which addresses are in which location: else nobody but the Region says where they are.
    pub addresses_are_told: bool,
    /// Who may connect to whom.
    pub connections: Vec<Connection>,
    /// Where the API server answers, for Patroni's flow to it.
    pub api_server: Vec<ApiServerAddress>,
    /// What is around the Region, for canaries to try.
    pub surroundings: Surroundings,
    /// The Secrets that must exist.
    pub secrets: Vec<SecretWanted>,
    /// Which restore of the database this is, counted from 1.
    pub incarnation: i32,
    /// What of a proven leak is still there; while something is, clients and declared endpoints are shut off.
    pub breach: BreachStatus,
    /// The ways into and out of the Region that are let through, and those shut that may still have connections.
    pub ways: WaysStatus,
    /// The age from which on sessions of applications are ended; none while none must be.
    pub stale_sessions: Option<SignedDuration>,
}

impl Plan {
    /// The S3 region that the store and all its clients sign with: the Region's location.
    #[must_use]
    pub fn store_region(&self) -> &str {
        self.policy.location()
    }
}

/// What surrounds a Region, as far as canaries try it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The Regions of this cluster, by name; the Region itself may be among them.
    pub neighbours: Arc<BTreeMap<String, Neighbour>>,
    /// The addresses of all nodes, by name.
    pub nodes: BTreeMap<String, String>,
    /// How many nodes there are, be their addresses known or not.
    pub node_count: usize,
    /// An endpoint outside the cluster that answers whoever reaches it.
    pub outside_address: Option<SocketAddr>,
    /// A name outside the cluster that resolves for whoever may ask.
    pub outside_name: Option<String>,
}
