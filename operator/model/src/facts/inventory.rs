//! What else is in and around a Region's namespaces. No I/O.

use std::collections::{BTreeMap, BTreeSet};

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
