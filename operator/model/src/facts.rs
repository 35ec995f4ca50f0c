//! What the controller observed of the world, as values without clients. What could not be read is never
//! mistaken for what is not there. No I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bailiwick_fence::Report;
use jiff::Timestamp;

use crate::patroni::PatroniFacts;
use crate::region::{BreachStatus, WaysStatus};
use crate::repository::ReadBack;
use crate::sql::PostgresFacts;
use crate::store::StoreFacts;

/// The outcome of reading one system.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Observed<T> {
    /// It was read, and this is what is there.
    Seen(T),
    /// It could not be read.
    Failed(Unread),
    /// It was not asked: what it runs on is not up yet, or is stopped on purpose.
    #[default]
    NotAsked,
}

impl<T> Observed<T> {
    /// What was seen, if it was.
    pub const fn seen(&self) -> Option<&T> {
        match self {
            Self::Seen(value) => Some(value),
            Self::Failed(_) | Self::NotAsked => None,
        }
    }

    /// Why it could not be read, if it was asked for.
    pub const fn unread(&self) -> Option<&Unread> {
        match self {
            Self::Failed(unread) => Some(unread),
            Self::Seen(_) | Self::NotAsked => None,
        }
    }
}

/// Why something could not be read, as the status tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The closed word.
    pub failure: ReadFailure,
    /// Who said so and its cause: a SQLSTATE, a code of S3, a status of HTTP, an errno or a reason of TLS. It quotes no value.
    pub cause: Option<String>,
}

impl From<ReadFailure> for Unread {
    fn from(failure: ReadFailure) -> Self {
        Self {
            failure,
            cause: None,
        }
    }
}

/// The closed word, and the cause in brackets.
impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.failure.as_str())?;
        match &self.cause {
            Some(cause) => write!(f, " ({cause})"),
            None => Ok(()),
        }
    }
}

/// Why a system could not be read. A closed list: it goes into the status, which carries no raw error text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadFailure {
    /// No connection: refused, reset, no route, no such name.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// The peer's certificate could not be verified.
    Untrusted,
    /// Our credentials were refused.
    Unauthenticated,
    /// We were refused the right to read it.
    Forbidden,
    /// It answered with something that we do not understand.
    Malformed,
    /// It answered that it cannot serve now.
    NotReady,
    /// It refused this very thing, as a quota or an admission policy of the cluster has it.
    Refused,
}

impl ReadFailure {
    /// Whether it is said of the one thing that was asked for, and not of the system: what else is asked may go well.
    #[must_use]
    pub const fn is_of_one_thing(self) -> bool {
        matches!(self, Self::Forbidden | Self::Malformed | Self::Refused)
    }

    /// The CamelCase word for conditions and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "Unreachable",
            Self::TimedOut => "TimedOut",
            Self::Untrusted => "Untrusted",
            Self::Unauthenticated => "Unauthenticated",
            Self::Forbidden => "Forbidden",
            Self::Malformed => "Malformed",
            Self::NotReady => "NotReady",
            Self::Refused => "Refused",
        }
    }
}

/// An object of the Region that the API server refused to write, or to delete, as it is desired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedObject {
    /// `apply`, `change`, `make`, `read` or `delete`.
    pub verb: &'static str,
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The answer as codes, as `HTTP 422 Invalid: spec.ports (FieldValueInvalid)`: no value of anything.
    pub cause: String,
    /// The status of HTTP; none when it could not be asked for.
    pub code: Option<u16>,
}

impl RefusedObject {
    /// Whether it is part of the boundary: what is in force there is not what is desired, or nobody knows.
    #[must_use]
    pub fn is_of_boundary(&self) -> bool {
        self.kind == "NetworkPolicy"
    }

    /// Whether pods are not what they should be without it: they need it before they start, or are made from it.
    fn is_needed_by_pods(&self) -> bool {
        self.is_of_boundary() || matches!(self.kind.as_str(), "Secret" | "StatefulSet")
    }
}

impl fmt::Display for RefusedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            verb,
            kind,
            namespace,
            name,
            cause,
            code: _,
        } = self;
        write!(
            f,
            "cannot {verb} {kind} {name} in namespace {namespace}: {cause}"
        )
    }
}

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

/// A Region's objects of one kind, told apart by namespace: a restore drill's `<region>-pg-0` is not the live member of
/// that name. Whoever reads them says which they mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByNamespace<F> {
    /// Those of the data's namespace, by name.
    pub live: BTreeMap<String, F>,
    /// Those of the Region's other namespaces, as `namespace/name`.
    pub beside: BTreeMap<String, F>,
}

impl<F> ByNamespace<F> {
    /// Sorts objects, each with its namespace and its name, for a Region whose data is in namespace `data`.
    pub fn new(data: &str, objects: impl IntoIterator<Item = (String, String, F)>) -> Self {
        let (mut live, mut beside) = (BTreeMap::new(), BTreeMap::new());
        for (namespace, name, fact) in objects {
            if namespace == data {
                live.insert(name, fact);
            } else {
                beside.insert(format!("{namespace}/{name}"), fact);
            }
        }
        Self { live, beside }
    }

    /// Those of all the Region's namespaces, the data's first: by name there, and as `namespace/name` elsewhere.
    pub fn all(&self) -> impl Iterator<Item = (&String, &F)> {
        self.live.iter().chain(&self.beside)
    }

    /// Whether the Region has none in any namespace.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.beside.is_empty()
    }
}

/// A storage class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorageClassFact {
    /// The values that `allowedTopologies` allow for the region label of nodes; none when not restricted.
    pub locations: BTreeSet<String>,
    /// Whether volumes outlive their claims (`reclaimPolicy: Retain`).
    pub retains: bool,
    /// Whether volumes may grow.
    pub expands: bool,
}

/// An address of the API server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiServerAddress {
    /// The IP address.
    pub ip: String,
    /// The TCP port.
    pub port: i32,
}

/// A Secret, without its values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretFact {
    /// The keys that it holds a usable value for; an empty one is none.
    pub keys: BTreeSet<String>,
    /// The keys whose values have a line break or another control character that they must not have.
    pub control: BTreeSet<String>,
    /// Whether a value that follows from another, as the URI from the password, does not.
    pub drifted: bool,
    /// What its certificate says, when it holds one under `tls.crt`.
    pub certificate: Option<CertificateFact>,
    /// Whether an annotation lets a controller copy it elsewhere.
    pub replicated: bool,
    /// When it was made (`creationTimestamp`).
    pub made: Option<Timestamp>,
    /// When somebody else wrote values of it last; none when nobody but the operator did.
    pub edited: Option<Timestamp>,
    /// Whether nothing on it keeps whoever deploys the Region from Git from pruning it.
    pub prunable: bool,
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFact {
    /// When it begins to be valid.
    pub not_before: Timestamp,
    /// When it expires.
    pub not_after: Timestamp,
    /// Its subject alternative names.
    pub dns_names: BTreeSet<String>,
    /// Whether the Region's present authority signed it.
    pub signed_by_authority: bool,
}

/// A PersistentVolumeClaim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimFact {
    /// Its uid, for preconditions.
    pub uid: String,
    /// When it was made (`metadata.creationTimestamp`).
    pub made: Option<Timestamp>,
    /// Its labels: they say which jurisdiction and location its data is of.
    pub labels: BTreeMap<String, String>,
    /// Its storage class.
    pub class: Option<String>,
    /// The bytes that it asks for.
    pub requested: Option<u64>,
    /// The bytes that its volume holds; none before it is bound.
    pub capacity: Option<u64>,
    /// Whether nothing on it keeps whoever deploys the Region from Git from pruning it.
    pub prunable: bool,
}

/// A PersistentVolume that a claim is bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeFact {
    /// The namespace of its claim.
    pub namespace: String,
    /// The name of its claim.
    pub claim: String,
    /// Whether it outlives its claim (`persistentVolumeReclaimPolicy: Retain`).
    pub retained: bool,
    /// The terms of its required node affinity, of which any may hold: for each label of nodes, the values it takes.
    pub alternatives: Vec<BTreeMap<String, BTreeSet<String>>>,
}

/// What is in the Region's namespaces and is not the operator's, and what of the cluster concerns the Region. Objects
/// are named as `namespace/name`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// NetworkPolicies that we did not make.
    pub foreign_policies: BTreeSet<String>,
    /// Services that are not of type ClusterIP, have external addresses, or select nothing.
    pub published_services: BTreeSet<String>,
    /// EndpointSlices that no controller of the cluster made.
    pub manual_slices: BTreeSet<String>,
    /// Ingresses.
    pub ingresses: BTreeSet<String>,
    /// VolumeSnapshots, each with the name of its class, empty for none; none when they are served and could not be listed.
    pub snapshots: Option<BTreeMap<String, String>>,
    /// RoleBindings, each with what it grants to whom as [`crate::rights::grant`] writes it.
    pub bindings: BTreeMap<String, String>,
    /// All pods.
    pub pods: BTreeMap<String, NamespacePod>,
    /// The namespaces that the Region's clients are in, by name.
    pub clients: BTreeMap<String, ClientNamespace>,
    /// The API groups that the API server serves.
    pub api_groups: BTreeSet<String>,
    /// DaemonSets that mount the nodes' logs.
    pub log_readers: BTreeSet<String>,
    /// What the operator may do in the data's namespace; none when the API server could not list it all.
    pub rights: Option<BTreeSet<Right>>,
}

/// Something that somebody may do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// The verb, `*` for all.
    pub verb: String,
    /// The API group, empty for the core's, `*` for all.
    pub group: String,
    /// The resource, with a subresource after a slash.
    pub resource: String,
    /// The one object that it is for; none for all.
    pub name: Option<String>,
}

/// A pod in one of the Region's namespaces, whoever made it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct NamespacePod {
    /// Whether it carries our label.
    pub ours: bool,
    /// Whether it has ended, and runs nowhere any more.
    pub ended: bool,
    /// The node that it is bound to.
    pub node: Option<String>,
    /// The images of its containers.
    pub images: BTreeSet<String>,
    /// Whether it uses a namespace of its node (network, PID or IPC).
    pub host_network: bool,
    /// Whether a container may write to its root filesystem.
    pub writable_root: bool,
    /// Its ServiceAccount.
    pub account: Option<String>,
    /// Whether it gets a token of its ServiceAccount.
    pub token: bool,
    /// Whether its status quotes the end of its log when it fails (`FallbackToLogsOnError`).
    pub quotes_log: bool,
}

/// A namespace that clients of the Region are in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientNamespace {
    /// The Region that its label names.
    pub region: Option<String>,
    /// Whether a NetworkPolicy of it denies all pods both ways by default.
    pub default_deny: bool,
    /// The nodes that its pods run on.
    pub nodes: BTreeSet<String>,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFact {
    /// Its uid, for preconditions.
    pub uid: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When it was made (`metadata.creationTimestamp`): none of its connections is older.
    pub made: Option<Timestamp>,
    /// The node that it is bound to.
    pub node: Option<String>,
    /// Its address.
    pub ip: Option<String>,
    /// Whether its condition `Ready` is true.
    pub ready: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// What keeps it from running, in Kubernetes' own words: `container postgres: CrashLoopBackOff`, `Unschedulable`.
    pub trouble: Option<String>,
    /// The revision of the StatefulSet that it was made from (`controller-revision-hash`).
    pub revision: Option<String>,
    /// Whether it has ended, well or not: none of it runs any more.
    pub finished: bool,
    /// Its start fence.
    pub fence: FenceFact,
    /// What its first container left in its termination message, when it has ended.
    pub termination_message: Option<String>,
    /// When its first container ended.
    pub ended: Option<Timestamp>,
}

/// The start fence of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FenceFact {
    /// The pod was made without it, or with something that starts before it.
    #[default]
    Missing,
    /// It holds the pod: nothing else of it has started.
    Holds {
        /// How often it ended without letting the pod start.
        failures: i32,
        /// What it reported last, when that can be read.
        report: Option<Report>,
    },
    /// It let the pod start.
    Passed {
        /// What it reported, when that can be read.
        report: Option<Report>,
    },
}

impl FenceFact {
    /// What it reported last, when that can be read.
    #[must_use]
    pub const fn report(&self) -> Option<&Report> {
        match self {
            Self::Missing => None,
            Self::Holds { report, .. } | Self::Passed { report } => report.as_ref(),
        }
    }
}

/// Another Region, as far as its pods can be told from here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Neighbour {
    /// Its pods that have an address.
    pub pods: ByNamespace<NeighbourPod>,
}

/// A pod of another Region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NeighbourPod {
    /// Its address.
    pub ip: String,
    /// What runs in it: `app.kubernetes.io/name`.
    pub component: String,
    /// Whether its condition `Ready` is true.
    pub ready: bool,
}

/// A StatefulSet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatefulSetFact {
    /// Whether the claims made from its template are marked as ones that nobody prunes.
    pub marks_claims: bool,
    /// Whether the status speaks of the newest generation.
    pub observed: bool,
    /// The replicas wanted.
    pub replicas: i32,
    /// The replicas ready.
    pub ready: i32,
    /// The revision that new pods are made from.
    pub update_revision: Option<String>,
    /// Whether its pods are made to start behind the fence.
    pub fenced: bool,
    /// The size that its first claim template asks for, a Kubernetes quantity.
    pub volume_size: Option<String>,
}

/// A Job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFact {
    /// Its uid, for preconditions.
    pub uid: String,
    /// Whether it completed.
    pub succeeded: bool,
    /// Whether it failed for good.
    pub failed: bool,
    /// When it ended.
    pub ended: Option<Timestamp>,
}
