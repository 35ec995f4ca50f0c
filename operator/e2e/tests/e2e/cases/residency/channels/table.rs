//! The table: each leakage channel with how its control is taken away, what then gets out, and what the status must say
//! of it. Values only; the scenes and probes that it names do the I/O.

use crate::failure::Outcome;

use super::super::controls;
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
        /// A word that its row must say once the control is back and what got out still stands: what the operator reads
        /// back. None where nothing would stand, or where `told` is what was read back.
        stands: Option<&'static str>,
    },
    /// Not on this cluster.
    NotCarried(Beneath),
    /// Not yet: what would leak does not exist. Its row must say that, and claim nothing.
    NotBuilt {
        /// What would.
        what: &'static str,
        /// A word that its row must say.
        told: &'static str,
    },
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

    /// Whether its probes have nothing to do with one another, so that all are tried at once.
    pub const fn at_once(self) -> bool {
        matches!(self, Self::Boundary | Self::Admission | Self::Pods)
    }

    /// Makes what its probes need.
    pub async fn prepare(self, bench: &Bench<'_>) -> Outcome {
        match self {
            Self::Pods => pods::prepare(bench).await,
            Self::Systems | Self::Repository => systems::prepare(bench).await,
            Self::Marker => systems::marker::prepare_marker(bench).await,
            Self::Keys => systems::certificate::keep_certificate(bench).await,
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
            Self::Marker => systems::marker::open_marker(bench).await,
            Self::Keys => systems::certificate::exchange(bench).await,
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

    /// Puts its controls back, while what got out still stands.
    pub async fn put_controls_back(self, bench: &Bench<'_>) -> Outcome {
        controls::bind_again(bench.cluster).await?;
        match self {
            // Secrets are read every five minutes.
            Self::Admission => systems::restart_operator(bench).await,
            Self::Pods => pods::stir(bench).await,
            _ => Ok(()),
        }
    }

    /// What no finding says any more once the operator has seen that its controls are back.
    pub const fn seen_gone(self) -> &'static str {
        match self {
            // What stands hides there that a policy is missing.
            Self::Pods => "tr/e2e-channel-elsewhere",
            _ => "is not in force as it was shipped",
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
            Self::Marker => systems::marker::shut_marker(bench).await,
            Self::Keys => systems::certificate::put_back(bench).await,
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
            Trial::NotCarried(_) | Trial::NotBuilt { .. } => None,
        }
    }

    /// What its row must say once the control is back and what got out still stands.
    pub const fn stands(&self) -> Option<&'static str> {
        match self.trial {
            Trial::Tried { stands, .. } => stands,
            Trial::NotCarried(_) | Trial::NotBuilt { .. } => None,
        }
    }

    /// Whether what it tries is to make an object, which admission refuses before it is seen to be there already.
    pub const fn makes_an_object(&self) -> bool {
        matches!(
            self.trial,
            Trial::Tried {
                probe: Probe::Write(_) | Probe::Volume,
                ..
            }
        )
    }

    /// Tries to get out.
    pub async fn probe(&self, bench: &Bench<'_>) -> Outcome<Tried> {
        match self.trial {
            Trial::Tried { probe, .. } => probe.attempt(bench).await,
            Trial::NotCarried(why) => Ok(Tried::Held(why.words().to_owned())),
            Trial::NotBuilt { what, .. } => Ok(Tried::Held(format!("no {what}"))),
        }
    }
}

const fn tried(channel: u8, scene: Scene, probe: Probe, told: &'static str) -> Row {
    Row {
        channel,
        trial: Trial::Tried {
            scene,
            probe,
            told,
            stands: None,
        },
    }
}

const fn read_back(
    channel: u8,
    scene: Scene,
    probe: Probe,
    told: &'static str,
    stands: &'static str,
) -> Row {
    Row {
        channel,
        trial: Trial::Tried {
            scene,
            probe,
            told,
            stands: Some(stands),
        },
    }
}

/// What is told of nothing that sends anything out of the observability namespace.
const fn not_built(channel: u8, what: &'static str) -> Row {
    Row {
        channel,
        trial: Trial::NotBuilt {
            what,
            told: "no pod in the observability namespace",
        },
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
    read_back(
        3,
        Scene::Boundary,
        Probe::Write(openings::another),
        "network-policies",
        "tr/e2e-channel-another",
    ),
    tried(
        4,
        Scene::Pods,
        Probe::Write(pods::on_the_host),
        "pod-security.kubernetes.io/enforce",
    ),
    read_back(
        5,
        Scene::Admission,
        Probe::Write(probes::node_port),
        "bailiwick-services",
        "tr/e2e-channel-published: published Service",
    ),
    read_back(
        6,
        Scene::Admission,
        Probe::Write(probes::ingress),
        "bailiwick-exposure",
        "tr/e2e-channel-exposed: Ingress",
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
    tried(
        12,
        Scene::Pods,
        Probe::Write(pods::elsewhere),
        "pod tr/e2e-channel-elsewhere runs on node es-1",
    ),
    read_back(
        13,
        Scene::Pods,
        Probe::Volume,
        "of claim e2e-channel-volume lies in es-mad-1",
        "of claim e2e-channel-volume lies in es-mad-1",
    ),
    read_back(
        14,
        Scene::Admission,
        Probe::Write(probes::snapshot),
        "bailiwick-snapshots",
        "tr/e2e-channel-snapshot",
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
        Probe::Store(systems::wishes::REMOTE_TARGET),
        "remote target",
    ),
    tried(
        19,
        Scene::Systems,
        Probe::Store(systems::wishes::TIER),
        "tier",
    ),
    tried(
        20,
        Scene::Systems,
        Probe::Store(systems::wishes::AUDIT),
        "log target",
    ),
    tried(
        21,
        Scene::Systems,
        Probe::Store(systems::wishes::ANONYMOUS),
        "the policy",
    ),
    read_back(
        22,
        Scene::Admission,
        Probe::Annotate(probes::backup_key),
        "bailiwick-secrets",
        "Secret tr-backup-key has an annotation",
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
        Probe::Run(pods::DUMP),
        "tr/e2e-channel-dump",
    ),
    tried(26, Scene::Systems, Probe::Standby, "streams WAL"),
    tried(
        27,
        Scene::Systems,
        Probe::Sql(systems::postgres::PUBLICATION),
        "publication",
    ),
    tried(
        28,
        Scene::Systems,
        Probe::Sql(systems::postgres::PROGRAM),
        "pg_execute_server_program",
    ),
    tried(
        29,
        Scene::Pods,
        Probe::Run(pods::EXTENSION),
        "writable root filesystem",
    ),
    tried(30, Scene::Systems, Probe::Logged, "log_statement"),
    tried(
        31,
        Scene::Pods,
        Probe::Write(pods::collector),
        "observability namespace",
    ),
    not_built(32, "exporter of logs or traces"),
    not_built(33, "dashboard"),
    not_built(34, "component that reports to a vendor"),
    not_built(35, "alert receiver"),
    tried(
        36,
        Scene::Pods,
        Probe::Run(pods::QUOTE),
        "tr/e2e-channel-quote: pod whose status quotes its log",
    ),
    read_back(
        37,
        Scene::Admission,
        Probe::Annotate(probes::login),
        "bailiwick-secrets",
        "tr-pg-role-clinical-app-reader: Secret that a controller may copy",
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
        Probe::Run(pods::PULL),
        "pod tr/e2e-channel-pull runs an image of no registry",
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
        Probe::Store(systems::wishes::LIFECYCLE),
        "lifecycle that is not",
    ),
];
