//! What a canary is asked and what it answers. No I/O.

use serde::{Deserialize, Serialize};

use crate::flow::Guise;

/// The environment variable that a canary reads its [`Question`] from, as JSON.
pub const VARIABLE: &str = "BAILIWICK_CANARY";
/// The most targets of one class: an answer must fit the 4096 bytes of a termination message.
pub const MOST_TARGETS: usize = 8;
/// Where clouds serve the credentials of a machine to whatever runs on it.
pub const METADATA_ADDRESS: &str = "169.254.169.254";
/// The port of the kubelet, which listens on every node.
pub(super) const KUBELET: u16 = 10250;

/// What a target is.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A pod of another Region, by its address.
    OtherRegionPod,
    /// A Service of another Region, by its name.
    OtherRegionService,
    /// An address outside the cluster.
    OutsideAddress,
    /// A name outside the cluster, asked of the pod's own resolver.
    OutsideName,
    /// A node. The one that the canary runs on is left out: its traffic with its own pods is always allowed.
    OtherNode,
    /// The metadata service of a cloud.
    MetadataAddress,
    /// The API server; members of Postgres alone may reach it, for Patroni.
    ApiServer,
    /// The Region's own object store.
    OwnObjectStore,
    /// A name inside the cluster.
    ClusterName,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::OtherRegionPod,
        Self::OtherRegionService,
        Self::OutsideAddress,
        Self::OutsideName,
        Self::OtherNode,
        Self::MetadataAddress,
        Self::ApiServer,
        Self::OwnObjectStore,
        Self::ClusterName,
    ];

    /// The word for messages and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OtherRegionPod => "OtherRegionPod",
            Self::OtherRegionService => "OtherRegionService",
            Self::OutsideAddress => "OutsideAddress",
            Self::OutsideName => "OutsideName",
            Self::OtherNode => "OtherNode",
            Self::MetadataAddress => "MetadataAddress",
            Self::ApiServer => "ApiServer",
            Self::OwnObjectStore => "OwnObjectStore",
            Self::ClusterName => "ClusterName",
        }
    }

    /// Whether the boundary lets a pod of this guise through to it.
    #[must_use]
    pub const fn allowed(self, guise: Guise) -> bool {
        match self {
            Self::OwnObjectStore | Self::ClusterName => true,
            Self::ApiServer => matches!(guise, Guise::Postgres),
            Self::OtherRegionPod
            | Self::OtherRegionService
            | Self::OutsideAddress
            | Self::OutsideName
            | Self::OtherNode
            | Self::MetadataAddress => false,
        }
    }
}

/// One thing to try.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What it is.
    pub class: Class,
    /// What people call it, for example `es/es-pg-0`.
    pub name: String,
    /// How it is tried.
    #[serde(flatten)]
    pub attempt: Attempt,
}

/// How a target is tried.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Attempt {
    /// A TCP connection to `host:port`.
    Connect(String),
    /// A question for this name, to the resolvers that the pod is given and to nobody else.
    Resolve(String),
    /// The same for a name inside the cluster, with the search domains that the pod is given.
    ResolveInside(String),
}

impl Attempt {
    /// The endpoint or name.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Connect(text) | Self::Resolve(text) | Self::ResolveInside(text) => text,
        }
    }
}

/// What one canary is to try.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// A hash of the targets and of the boundary that they are tried through: an answer to another says nothing.
    pub id: String,
    /// The targets.
    pub targets: Vec<Target>,
}

/// What a canary leaves in its termination message.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The [`Question::id`] that it answers.
    pub question: String,
    /// One outcome a target, in the order of the question.
    pub outcomes: Vec<Tried>,
}

/// How an attempt ended.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// The connection stood.
    Reached,
    /// The connection was reset: a packet came there, and an answer came back.
    Refused,
    /// No answer, or the network said that there is no way.
    Blocked,
    /// The name has an address.
    Resolved,
    /// The name has none, or nobody would say.
    NotResolved,
    /// The attempt itself could not be made, or what came back cannot be read.
    Failed,
}
