//! The leakage channels: by what data could leave a Region, what closes each way, and how well it is closed now. A plan
//! and the facts of one look in, a state with its evidence for each channel out. No state is a constant: each comes from
//! an observation, and what was not observed is Unknown. No I/O.

mod database;
mod fence;
mod network;
pub(crate) mod placement;
mod platform;
mod store;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::canary::verdict::{self as canaries, NetworkVerdict};
use crate::facts::Facts;
use crate::plan::Plan;
use crate::region::Assurance::{self, Logical, Physical, Simulated};
use crate::region::{ChannelState, ChannelStatus, ExceptionsStatus, RegionSpec};

/// The admission policy that keeps exceptions to those who may grant them.
const APPROVAL: &str = "bailiwick-residency-exceptions";

/// A way by which data could leave a Region.
#[derive(Clone, Copy, Debug)]
pub struct Channel {
    /// Its number, from 1.
    pub id: u8,
    /// Its name.
    pub name: &'static str,
    /// How data gets out by it.
    pub way_out: &'static str,
    /// What closes it.
    pub control: &'static str,
    /// The assurance from which on it must not be Unknown.
    pub demanded: Assurance,
    judge: fn(&Sight<'_>) -> Verdict,
}

impl Channel {
    /// The channel of a number.
    #[must_use]
    pub fn of(id: u8) -> Option<&'static Self> {
        CHANNELS.iter().find(|channel| channel.id == id)
    }

    /// How well it is closed, by what was observed in this look; exceptions are not in it yet.
    #[must_use]
    pub fn judge(&self, plan: &Plan, facts: &Facts) -> Verdict {
        (self.judge)(&Sight::new(plan, facts))
    }
}

/// What a judge goes by.
struct Sight<'a> {
    plan: &'a Plan,
    facts: &'a Facts,
    network: NetworkVerdict,
}

impl<'a> Sight<'a> {
    fn new(plan: &'a Plan, facts: &'a Facts) -> Self {
        Self {
            plan,
            facts,
            network: canaries::verdict(plan, facts),
        }
    }
}

/// How well a channel is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The state.
    pub state: ChannelState,
    /// What it was observed by: a short reference, never what a server said.
    pub evidence: String,
    /// What stands open, as a sentence with what to do; none when nothing was found open.
    pub finding: Option<String>,
    /// Whether data was seen to get out by it, which is more than that a control is missing; none when what would show it
    /// was not seen.
    pub leak: Option<bool>,
}

impl Verdict {
    fn new(state: ChannelState, evidence: impl Into<String>) -> Self {
        Self {
            state,
            evidence: evidence.into(),
            finding: None,
            leak: Some(false),
        }
    }

    fn enforced(evidence: impl Into<String>) -> Self {
        Self::new(ChannelState::Enforced, evidence)
    }

    fn audited(evidence: impl Into<String>) -> Self {
        Self::new(ChannelState::Audited, evidence)
    }

    fn not_applicable(evidence: impl Into<String>) -> Self {
        Self::new(ChannelState::NotApplicable, evidence)
    }

    fn unknown(evidence: impl Into<String>) -> Self {
        Self::new(ChannelState::Unknown, evidence)
    }

    /// Something stands open: that is more than not knowing.
    fn open(evidence: impl Into<String>, finding: impl Into<String>) -> Self {
        Self {
            finding: Some(finding.into()),
            ..Self::unknown(evidence)
        }
    }

    /// What would show a leak was not seen.
    fn unseen(evidence: impl Into<String>) -> Self {
        Self {
            leak: None,
            ..Self::unknown(evidence)
        }
    }

    /// Data was seen to get out, or is told to.
    fn leaking(evidence: impl Into<String>, finding: impl Into<String>) -> Self {
        Self {
            leak: Some(true),
            ..Self::open(evidence, finding)
        }
    }

    /// Both verdicts as one: a channel is as closed as its weakest control. Of two that are not closed the one that says
    /// more stands: a leak before what is open, that before what is unknown.
    fn and(self, other: impl FnOnce() -> Self) -> Self {
        let other = other();
        let leak = match (self.leak, other.leak) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        };
        let unknown = |it: &Self| it.state == ChannelState::Unknown;
        let says = |it: &Self| (it.leak == Some(true), it.finding.is_some());
        match (unknown(&self), unknown(&other)) {
            (true, true) => {
                let evidence = format!("{}; {}", self.evidence, other.evidence);
                let first = if says(&other) > says(&self) {
                    other
                } else {
                    self
                };
                return Self {
                    evidence,
                    leak,
                    ..first
                };
            }
            (true, false) => return Self { leak, ..self },
            (false, true) => return Self { leak, ..other },
            (false, false) => {}
        }
        let state = match (self.state, other.state) {
            // What is not there closes nothing and opens nothing.
            (ChannelState::NotApplicable, state) | (state, ChannelState::NotApplicable) => state,
            (mine, its) if mine == its => mine,
            _ => ChannelState::Audited,
        };
        Self {
            leak,
            ..Self::new(state, format!("{}; {}", self.evidence, other.evidence))
        }
    }
}

/// How well all channels are closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channels {
    /// Each channel, in order.
    pub rows: Vec<ChannelStatus>,
    /// The exceptions in the spec.
    pub exceptions: ExceptionsStatus,
    /// The channels that are demanded here and that nothing is known of, by number.
    pub unknown: Vec<u8>,
    /// What stands open and is not excepted, as sentences.
    pub open: Vec<(u8, String)>,
    /// Those of them by which data was seen to get out.
    pub leaks: Vec<(u8, String)>,
    /// The channels of which nobody saw whether data gets out by them, and which nobody answers for, by number.
    pub unseen: Vec<u8>,
    /// The channels whose exception has expired, by number.
    pub expired: Vec<u8>,
}

/// The state of every channel. `assurance` is what the cluster gives; more assurance demands more channels.
#[must_use]
pub fn channels(plan: &Plan, facts: &Facts, assurance: Assurance) -> Channels {
    let sight = Sight::new(plan, facts);
    let granted = exceptions(&plan.spec, facts.now);
    let mut channels = Channels {
        rows: Vec::with_capacity(CHANNELS.len()),
        exceptions: exceptions_status(&plan.spec, facts.now),
        unknown: Vec::new(),
        open: Vec::new(),
        leaks: Vec::new(),
        unseen: Vec::new(),
        expired: plan
            .spec
            .residency
            .exceptions
            .iter()
            .filter(|exception| exception.expires <= facts.now)
            .filter_map(|exception| exception.channel.parse().ok())
            .collect(),
    };
    for channel in CHANNELS {
        let mut verdict = (channel.judge)(&sight);
        let closed = matches!(
            verdict.state,
            ChannelState::Enforced | ChannelState::NotApplicable
        );
        if let Some(until) = granted.get(&channel.id).filter(|_| !closed) {
            // Without the policy, whoever may write the Region may grant one.
            if facts.admission.contains(APPROVAL) {
                verdict.state = ChannelState::Exception;
                verdict.evidence = format!("spec.residency.exceptions until {until}");
            } else {
                verdict.evidence = format!(
                    "{}; its exception counts only while ValidatingAdmissionPolicy {APPROVAL} is in force",
                    verdict.evidence
                );
            }
        }
        if verdict.state == ChannelState::Unknown {
            if verdict.leak.is_none() {
                channels.unseen.push(channel.id);
            }
            match &verdict.finding {
                Some(finding) => {
                    channels.open.push((channel.id, finding.clone()));
                    if verdict.leak == Some(true) {
                        channels.leaks.push((channel.id, finding.clone()));
                    }
                }
                None if channel.demanded <= assurance => channels.unknown.push(channel.id),
                None => {}
            }
        }
        channels.rows.push(ChannelStatus {
            id: channel.id.to_string(),
            state: verdict.state,
            evidence: verdict.evidence,
            finding: verdict.finding,
        });
    }
    channels
}

/// The exceptions in force, by channel, with the moment each ends.
fn exceptions(spec: &RegionSpec, now: Timestamp) -> BTreeMap<u8, Timestamp> {
    spec.residency
        .exceptions
        .iter()
        .filter(|exception| exception.expires > now)
        .filter_map(|exception| Some((exception.channel.parse().ok()?, exception.expires)))
        .collect()
}

fn exceptions_status(spec: &RegionSpec, now: Timestamp) -> ExceptionsStatus {
    let all = &spec.residency.exceptions;
    let active = all.iter().filter(|exception| exception.expires > now);
    ExceptionsStatus {
        active: count(active.clone().count()),
        expired: count(all.len() - active.clone().count()),
        next_expiry: active.map(|exception| exception.expires).min(),
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// `3 pods`, `1 pod`.
fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// The first few of several names, and how many there are more. One that is there for several reasons is named once.
fn some_of<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 3;
    let mut seen = BTreeSet::new();
    let names: Vec<&str> = names
        .into_iter()
        .filter(|name| seen.insert(*name))
        .collect();
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

const fn channel(
    id: u8,
    demanded: Assurance,
    judge: fn(&Sight<'_>) -> Verdict,
    name: &'static str,
    way_out: &'static str,
    control: &'static str,
) -> Channel {
    Channel {
        id,
        name,
        way_out,
        control,
        demanded,
        judge,
    }
}

/// Every channel. Those that only the platform beneath Kubernetes can close are demanded from `Physical` on.
pub const CHANNELS: &[Channel] = &[
    channel(
        1,
        Simulated,
        network::egress,
        "pod egress",
        "a process, an extension or COPY TO PROGRAM connects to the internet",
        "default-deny NetworkPolicies; every pod starts behind a fence that saw it closed; the canary fails to reach an address outside",
    ),
    channel(
        2,
        Simulated,
        network::between_regions,
        "pods of other regions",
        "a pod of another region or place connects, or is connected to",
        "default-deny NetworkPolicies; every pod starts behind a fence that saw it closed; the canary fails to reach other regions' pods and Services; client namespaces carry the region's label, are placed in it and deny by default",
    ),
    channel(
        3,
        Simulated,
        network::additive,
        "additive policies",
        "somebody adds a NetworkPolicy that opens a way",
        "admission lets only the operator write NetworkPolicies; others are looked for",
    ),
    channel(
        4,
        Simulated,
        network::host,
        "host network and privileges",
        "a pod uses its node's network or devices and passes NetworkPolicies by",
        "Pod Security restricted on the namespaces, and an admission policy beside it",
    ),
    channel(
        5,
        Simulated,
        network::services,
        "published Services",
        "a NodePort, LoadBalancer, ExternalName or hand-made endpoint publishes or leads out",
        "admission takes only ClusterIP Services with a selector; Services and EndpointSlices are read back",
    ),
    channel(
        6,
        Simulated,
        network::ingress,
        "Ingress and Gateway",
        "TLS ends elsewhere, and data is decrypted outside",
        "admission refuses routes and Ingresses in the namespaces; they are looked for",
    ),
    channel(
        7,
        Simulated,
        network::mesh,
        "multi-cluster networks",
        "a mesh, a ServiceExport or a federation flattens networks of several places",
        "admission refuses exports; the API groups are looked for",
    ),
    channel(
        8,
        Simulated,
        network::names,
        "DNS",
        "a query for a name outside carries data in the name",
        "pods may ask the cluster's DNS alone; the canary fails to resolve a name outside",
    ),
    channel(
        9,
        Simulated,
        network::declared,
        "declared endpoints",
        "mail, time, webhooks and the like carry payload or metadata",
        "only endpoints of spec.network.external are opened, at addresses that the platform told of an allowed location",
    ),
    channel(
        10,
        Simulated,
        platform::api,
        "the Kubernetes API",
        "a pod's ServiceAccount writes data where others read it",
        "pods have no token but Patroni's, whose Role is of its namespace; bindings are read back",
    ),
    channel(
        11,
        Simulated,
        platform::tunnels,
        "API server tunnels",
        "exec, attach, port-forward and proxies make any laptop a way out",
        "admission refuses them outside the break-glass group; reads and nodes/proxy pass admission by, so this is audited at most",
    ),
    channel(
        12,
        Simulated,
        placement::pods,
        "pods elsewhere",
        "a pod runs on a node of another place",
        "required node affinity, an admission policy, and the nodes of running pods read back",
    ),
    channel(
        13,
        Simulated,
        placement::volumes,
        "volumes elsewhere",
        "a volume is made in another place",
        "storage classes of the location, an admission policy, and the node affinity of volumes read back",
    ),
    channel(
        14,
        Simulated,
        placement::snapshots,
        "volume snapshots",
        "a snapshot or clone is copied to another place",
        "admission refuses snapshots of classes elsewhere; those that stand are read back",
    ),
    channel(
        15,
        Physical,
        platform::node_disks,
        "node disks",
        "emptyDir, swap and core dumps stay on a node's disk",
        "encrypted disks: the platform's own",
    ),
    channel(
        16,
        Simulated,
        placement::reuse,
        "volume reuse",
        "a volume is handed to others with what is on it",
        "reclaim policy Retain, read back from the volumes",
    ),
    channel(
        17,
        Simulated,
        store::repository,
        "repository elsewhere",
        "backups are written to an endpoint or bucket of another place",
        "the repository is the Region's own store; the region that it signs for, the marker that only the Region's key makes and the newest WAL are read back",
    ),
    channel(
        18,
        Simulated,
        store::replication,
        "bucket and site replication",
        "the store copies objects and users to another",
        "replication, site replication and remote targets are read back",
    ),
    channel(
        19,
        Simulated,
        store::tiers,
        "remote tiers",
        "objects are moved to a remote store",
        "tiers and lifecycles are read back",
    ),
    channel(
        20,
        Simulated,
        store::notifications,
        "notifications and identity providers",
        "object names and events leave, or strangers are let in",
        "targets, identity providers and the servers' settings are read back",
    ),
    channel(
        21,
        Simulated,
        store::anonymous,
        "public access",
        "a bucket's policy or a user that nobody made lets anybody read",
        "bucket policies and users are read back",
    ),
    channel(
        22,
        Simulated,
        store::backup_key,
        "key of the backups",
        "the key leaves, and ciphertext is no boundary any more",
        "the key is made in the region and kept in a Secret of its namespace",
    ),
    channel(
        23,
        Simulated,
        platform::cluster_backup,
        "cluster backups",
        "Velero copies volumes and objects to a bucket elsewhere",
        "its API group is looked for",
    ),
    channel(
        24,
        Simulated,
        placement::copies,
        "drills and clones",
        "a restored copy stands in a weaker place",
        "drills run in a namespace of the region; it is looked into",
    ),
    channel(
        25,
        Simulated,
        placement::dumps,
        "dumps",
        "a Job or a person writes rows into a file",
        "nothing dumps by itself; pods that are not the operator's are looked for",
    ),
    channel(
        26,
        Simulated,
        database::standbys,
        "foreign standbys",
        "a standby or pg_basebackup elsewhere gets a full copy",
        "pg_hba.conf asks for a certificate of the Region's authority; NetworkPolicies; addresses of walsenders read back",
    ),
    channel(
        27,
        Simulated,
        database::streams,
        "logical replication",
        "a slot, publication or subscription streams rows out",
        "none is made; slots, publications and subscriptions are read back",
    ),
    channel(
        28,
        Simulated,
        database::sql_egress,
        "SQL egress",
        "foreign servers, COPY TO PROGRAM and untrusted languages reach out",
        "allowed extensions, no superuser and no server-program role for applications, read back",
    ),
    channel(
        29,
        Simulated,
        placement::images,
        "extensions at run time",
        "an extension is downloaded while the server runs",
        "everything is in the image, the root filesystem is read-only; the images of running pods are read back",
    ),
    channel(
        30,
        Simulated,
        database::logs,
        "logged values",
        "statements and parameters with values are written to the log",
        "settings that log values are refused and read back; what an error quotes or a function raises is not held back, and \
         whatever reads the pods' output must mask it",
    ),
    channel(
        31,
        Simulated,
        platform::telemetry,
        "metrics",
        "remote write, federation or labels carry data out",
        "no telemetry runs beside the region; its namespace is looked into",
    ),
    channel(
        32,
        Simulated,
        platform::telemetry,
        "logs and traces",
        "an exporter sends them elsewhere",
        "no telemetry runs beside the region; its namespace is looked into",
    ),
    channel(
        33,
        Simulated,
        platform::telemetry,
        "dashboards",
        "snapshots and reports publish what a dashboard shows",
        "no telemetry runs beside the region; its namespace is looked into",
    ),
    channel(
        34,
        Simulated,
        platform::telemetry,
        "usage reports",
        "a component reports to its vendor",
        "no telemetry runs beside the region; its namespace is looked into",
    ),
    channel(
        35,
        Simulated,
        platform::telemetry,
        "alert receivers",
        "labels and log lines leave with a notification",
        "no telemetry runs beside the region; its namespace is looked into",
    ),
    channel(
        36,
        Simulated,
        platform::status_texts,
        "status and Events",
        "a message quotes rows, file names or errors",
        "messages are made of names and closed words; the status is read over each time",
    ),
    channel(
        37,
        Simulated,
        platform::secret_replication,
        "Secret replication",
        "an annotation lets a controller copy keys to another place",
        "admission refuses such annotations; those of the Region's Secrets are read back",
    ),
    channel(
        38,
        Simulated,
        platform::operator_rights,
        "the operator's own rights",
        "one pod reads the Secrets of all regions",
        "rights are delegated by namespace and reviewed",
    ),
    channel(
        39,
        Logical,
        platform::argo_cd,
        "Argo CD",
        "its credentials reach all regions, and a typo syncs into the wrong one",
        "projects by region; its API group is looked for",
    ),
    channel(
        40,
        Physical,
        platform::git,
        "Git",
        "real addresses, Secrets or rows lie in a repository elsewhere",
        "scanners in continuous integration: the platform's own",
    ),
    channel(
        41,
        Physical,
        platform::etcd,
        "etcd",
        "the control plane and its backups hold every Secret",
        "a control plane in the location, encrypted at rest: the platform's own",
    ),
    channel(
        42,
        Simulated,
        placement::registries,
        "image pulls",
        "a pull tells a registry elsewhere, or brings what nobody checked",
        "an admission policy on image prefixes; the images of running pods are read back",
    ),
    channel(
        43,
        Simulated,
        platform::certificates,
        "public certificates",
        "certificate transparency logs publish host names",
        "the Region's own authority signs; issuers are read back",
    ),
    channel(
        44,
        Physical,
        platform::people,
        "people",
        "access from abroad is a transfer",
        "identities, bastions and their records: the platform's own",
    ),
    channel(
        45,
        Logical,
        platform::node_agents,
        "node agents",
        "a DaemonSet ships what pods print to a central place",
        "DaemonSets that mount the nodes' logs are looked for",
    ),
    channel(
        46,
        Simulated,
        store::residue,
        "residue",
        "old backups and versions keep what was erased",
        "retention is set by the spec and read back from the buckets",
    ),
];
