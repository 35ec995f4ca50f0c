//! Kubernetes objects as facts: what the watches and reads keep of each. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_fence::Report;
use jiff::Timestamp;

use super::ByNamespace;

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
