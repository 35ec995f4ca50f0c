//! The table: each leakage channel with how its control is taken away, what then gets out, and what the status must say
//! of it. Values only; the scenes and probes that it names do the I/O.

use crate::failure::Outcome;

use super::bench::{Bench, Tried};
use super::openings::Way;
use super::probes::Probe;
use super::{openings, pods, probes, systems};

/// A channel, and how it is tried.
pub struct Row {
    /// Its number.
    pub channel: u8,
    /// How it is tried.
    pub trial: Trial,
}

/// How a channel is tried.
#[derive(Clone, Copy)]
pub enum Trial {
    /// By taking its control away.
    Tried {
        /// What is taken away.
        scene: Scene,
        /// What gets out then.
        probe: Probe,
        /// A word that its row must say then, so that it did not flip for another reason.
        told: &'static str,
    },
    /// Not on this cluster.
    NotCarried(Beneath),
}

/// What a channel would need that this cluster does not have.
#[derive(Clone, Copy)]
pub enum Beneath {
    /// A disk of a node's own, encrypted or not.
    Disks,
    /// Whoever hosts the repositories, and what was ever pushed there.
    Repositories,
    /// The control plane's own storage and its backups.
    ControlPlane,
    /// People and where they are.
    People,
}

impl Beneath {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Disks => "needs nodes' disks",
            Self::Repositories => "needs a Git host",
            Self::ControlPlane => "needs etcd's storage",
            Self::People => "needs people",
        }
    }
}

/// Controls that are taken away together, because their rows need the same break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scene {
    /// NetworkPolicies and DNS open the boundary.
    Boundary,
    /// Admission lets everything in, and groups that must be absent are served.
    Admission,
    /// Pods of any kind and place are let in, and a volume goes with its claim.
    Pods,
    /// Users of Postgres and of the store get the rights of their administrators.
    Systems,
    /// The store calls itself another place's.
    Repository,
    /// Whoever writes the backups may write their marker, too.
    Marker,
    /// A certificate of another authority is put in place of the Region's.
    Keys,
}

impl Scene {
    /// All, in the order in which they are played.
    pub const ALL: [Self; 7] = [
        Self::Boundary,
        Self::Admission,
        Self::Pods,
        Self::Systems,
        Self::Repository,
        Self::Marker,
        Self::Keys,
    ];

    /// Its name, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boundary => "boundary",
            Self::Admission => "admission",
            Self::Pods => "pods",
            Self::Systems => "systems",
            Self::Repository => "repository",
            Self::Marker => "marker",
            Self::Keys => "keys",
        }
    }

    /// What the seconds are followed by where the operator looks every five minutes and was made to look at once.
    pub const fn noticed_by(self) -> &'static str {
        match self {
            Self::Boundary => " by canary",
            Self::Keys => " by probe",
            _ => "",
        }
    }

    /// Makes what its probes need.
    pub async fn prepare(self, bench: &Bench<'_>) -> Outcome {
        match self {
            Self::Pods => pods::prepare(bench).await,
            Self::Systems | Self::Repository => systems::prepare(bench).await,
            Self::Marker => systems::prepare_marker(bench).await,
            Self::Keys => systems::keep_certificate(bench).await,
            Self::Boundary | Self::Admission => Ok(()),
        }
    }

    /// Takes its controls away.
    pub async fn remove(self, bench: &Bench<'_>) -> Outcome {
        match self {
            Self::Boundary => openings::open(bench).await,
            Self::Admission => probes::open(bench).await,
            Self::Pods => pods::open(bench).await,
            Self::Systems => systems::open(bench).await,
            Self::Repository => systems::rename(bench).await,
            Self::Marker => systems::open_marker(bench).await,
            Self::Keys => systems::exchange(bench).await,
        }
    }

    /// Makes the operator look, where it would do so by itself within five minutes only.
    pub async fn stir(self, bench: &Bench<'_>) -> Outcome {
        match self {
            Self::Boundary => openings::stir(bench).await,
            Self::Keys => systems::restart_operator(bench).await,
            _ => Ok(()),
        }
    }

    /// Takes away what was made and puts the controls back; nothing happens where nothing is missing.
    pub async fn restore(self, bench: &Bench<'_>) -> Outcome {
        match self {
            Self::Boundary => openings::shut(bench).await,
            Self::Admission => probes::shut(bench).await,
            Self::Pods => pods::shut(bench).await,
            Self::Systems => systems::shut(bench).await,
            Self::Repository => systems::rename_back(bench).await,
            Self::Marker => systems::shut_marker(bench).await,
            Self::Keys => systems::put_back(bench).await,
        }
    }
}

impl Row {
    /// What tells it from all others: a channel may be tried in several ways, each in a scene of its own.
    pub const fn key(&self) -> (u8, Option<Scene>) {
        (self.channel, self.scene())
    }

    /// The scene that it is in; none for what is not tried.
    pub const fn scene(&self) -> Option<Scene> {
        match self.trial {
            Trial::Tried { scene, .. } => Some(scene),
            Trial::NotCarried(_) => None,
        }
    }

    /// Tries to get out.
    pub async fn probe(&self, bench: &Bench<'_>) -> Outcome<Tried> {
        match self.trial {
            Trial::Tried { probe, .. } => probe.attempt(bench).await,
            Trial::NotCarried(why) => Ok(Tried::Held(why.words().to_owned())),
        }
    }
}

const fn tried(channel: u8, scene: Scene, probe: Probe, told: &'static str) -> Row {
    Row {
        channel,
        trial: Trial::Tried { scene, probe, told },
    }
}

const fn beneath(channel: u8, what: Beneath) -> Row {
    Row {
        channel,
        trial: Trial::NotCarried(what),
    }
}

/// Every channel, in order, once or several times.
pub const ROWS: &[Row] = &[
    tried(
        1,
        Scene::Boundary,
        Probe::Reach(Way::Outside(443)),
        "OutsideAddress",
    ),
    tried(
        2,
        Scene::Boundary,
        Probe::Reach(Way::Neighbour),
        "OtherRegionPod",
    ),
    tried(
        3,
        Scene::Boundary,
        Probe::Write(openings::another),
        "network-policies",
    ),
    tried(
        4,
        Scene::Pods,
        Probe::Write(pods::on_the_host),
        "pod-security.kubernetes.io/enforce",
    ),
    tried(
        5,
        Scene::Admission,
        Probe::Write(probes::node_port),
        "bailiwick-services",
    ),
    tried(
        6,
        Scene::Admission,
        Probe::Write(probes::ingress),
        "bailiwick-exposure",
    ),
    tried(
        7,
        Scene::Admission,
        Probe::Write(probes::export),
        "multicluster.x-k8s.io",
    ),
    tried(8, Scene::Boundary, Probe::Reach(Way::Name), "OutsideName"),
    tried(
        9,
        Scene::Boundary,
        Probe::Reach(Way::Outside(25)),
        "OutsideAddress",
    ),
    tried(
        10,
        Scene::Admission,
        Probe::Write(probes::foreign_binding),
        "foreign RoleBinding",
    ),
    tried(11, Scene::Admission, Probe::Shell, "bailiwick-tunnels"),
    tried(12, Scene::Pods, Probe::Write(pods::elsewhere), "es-1"),
    tried(
        13,
        Scene::Admission,
        Probe::Write(probes::volume_elsewhere),
        "bailiwick-volumes",
    ),
    tried(
        14,
        Scene::Admission,
        Probe::Write(probes::snapshot),
        "bailiwick-snapshots",
    ),
    beneath(15, Beneath::Disks),
    tried(16, Scene::Pods, Probe::Erased, "is deleted with its claim"),
    tried(17, Scene::Repository, Probe::ForeignRegion, "store:"),
    tried(
        17,
        Scene::Marker,
        Probe::ForeignMarker,
        "names another Region",
    ),
    tried(
        18,
        Scene::Systems,
        Probe::Store(systems::REMOTE_TARGET),
        "remote target",
    ),
    tried(19, Scene::Systems, Probe::Store(systems::TIER), "tier"),
    tried(
        20,
        Scene::Systems,
        Probe::Store(systems::AUDIT),
        "log target",
    ),
    tried(
        21,
        Scene::Systems,
        Probe::Store(systems::ANONYMOUS),
        "the policy",
    ),
    tried(
        22,
        Scene::Admission,
        Probe::Annotate(probes::backup_key),
        "bailiwick-secrets",
    ),
    tried(
        23,
        Scene::Admission,
        Probe::Write(probes::velero),
        "velero.io",
    ),
    tried(24, Scene::Pods, Probe::Write(pods::copy), "drill namespace"),
    tried(
        25,
        Scene::Pods,
        Probe::Write(pods::elsewhere),
        "foreign pod",
    ),
    tried(26, Scene::Systems, Probe::Standby, "streams WAL"),
    tried(
        27,
        Scene::Systems,
        Probe::Sql(systems::PUBLICATION),
        "publication",
    ),
    tried(
        28,
        Scene::Systems,
        Probe::Sql(systems::PROGRAM),
        "pg_execute_server_program",
    ),
    tried(
        29,
        Scene::Pods,
        Probe::Write(pods::foreign_image),
        "image of no registry",
    ),
    tried(30, Scene::Systems, Probe::Logged, "log_statement"),
    tried(
        31,
        Scene::Pods,
        Probe::Write(pods::collector),
        "observability namespace",
    ),
    tried(
        32,
        Scene::Pods,
        Probe::Write(pods::collector),
        "observability namespace",
    ),
    tried(
        33,
        Scene::Pods,
        Probe::Write(pods::collector),
        "observability namespace",
    ),
    tried(
        34,
        Scene::Pods,
        Probe::Write(pods::collector),
        "observability namespace",
    ),
    tried(
        35,
        Scene::Pods,
        Probe::Write(pods::collector),
        "observability namespace",
    ),
    tried(
        36,
        Scene::Pods,
        Probe::Write(pods::foreign_image),
        "status quotes its log",
    ),
    tried(
        37,
        Scene::Admission,
        Probe::Annotate(probes::login),
        "bailiwick-secrets",
    ),
    tried(
        38,
        Scene::Admission,
        Probe::AllSecrets,
        "right that the operator does not need",
    ),
    tried(
        39,
        Scene::Admission,
        Probe::Write(probes::argo_cd),
        "argoproj.io",
    ),
    beneath(40, Beneath::Repositories),
    beneath(41, Beneath::ControlPlane),
    tried(
        42,
        Scene::Pods,
        Probe::Write(pods::foreign_image),
        "image of no registry",
    ),
    tried(
        43,
        Scene::Keys,
        Probe::ForeignCertificate,
        "another authority",
    ),
    beneath(44, Beneath::People),
    tried(45, Scene::Pods, Probe::Write(pods::agent), "of nodes' logs"),
    tried(
        46,
        Scene::Systems,
        Probe::Store(systems::LIFECYCLE),
        "lifecycle that is not",
    ),
];
