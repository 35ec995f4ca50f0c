//! What is tried: writes that admission refuses, tunnels, and what the scenes of pods, Postgres and the store try. And
//! the scene of admission: its policies without their bindings, and groups served that must be absent. I/O: the API server.

use bailiwick_model::names::{OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};
use crate::wait::{seen_if, until};

use super::bench::{Bench, PREFIX, Tried, Written, exec, judged};
use super::openings::{self, Way};
use super::{pods, systems};

/// The policies of the scene.
const POLICIES: [&str; 7] = [
    "services",
    "exposure",
    "other-clusters",
    "role-bindings",
    "tunnels",
    "snapshots",
    "secrets",
];
/// Lets Reflector copy a Secret into any namespace.
const MARK: &str = "reflector.v1.k8s.emberstack.com/reflection-allowed";

type Object = (&'static str, &'static str, &'static str, &'static str);

/// A group that must be absent, and one kind of it.
const ABSENT: [Object; 4] = [EXPORT, SNAPSHOT, BACKUP, APPLICATION];
const EXPORT: Object = (
    "multicluster.x-k8s.io",
    "v1alpha1",
    "ServiceExport",
    "serviceexports",
);
const SNAPSHOT: Object = (
    "snapshot.storage.k8s.io",
    "v1",
    "VolumeSnapshot",
    "volumesnapshots",
);
const BACKUP: Object = ("velero.io", "v1", "Backup", "backups");
const APPLICATION: Object = ("argoproj.io", "v1alpha1", "Application", "applications");

/// What is tried of a channel.
#[derive(Clone, Copy)]
pub enum Probe {
    /// A pod of the Region connects, or asks for a name.
    Reach(Way),
    /// Somebody with every right writes an object.
    Write(fn(&Bench<'_>) -> Written),
    /// Somebody with every right runs a pod, which does what it is for.
    Run(pods::Errand),
    /// Somebody with every right has a volume made in the other place.
    Volume,
    /// Somebody with every right lets a Secret be copied.
    Annotate(fn(&Bench<'_>) -> String),
    /// Somebody with every right runs a program in a member of Postgres.
    Shell,
    /// The operator reads every Secret there is.
    AllSecrets,
    /// A claim's volume goes with the claim.
    Erased,
    /// A user of the store asks for what only its administrator may.
    Store(systems::Wish),
    /// A client signs for another place.
    ForeignRegion,
    /// The user that writes the backups writes another Region's marker.
    ForeignMarker,
    /// A role of Postgres says something.
    Sql(systems::postgres::Saying),
    /// A client asks for the WAL.
    Standby,
    /// A value is looked for in the log.
    Logged,
    /// The servers' certificate is verified.
    ForeignCertificate,
}

impl Probe {
    /// Tries it.
    pub async fn attempt(self, bench: &Bench<'_>) -> Outcome<Tried> {
        match self {
            Self::Reach(way) => openings::attempt(bench, way).await,
            Self::Write(object) => object(bench).attempt(bench.cluster).await,
            Self::Run(errand) => pods::run(bench, errand).await,
            Self::Volume => pods::volume(bench).await,
            Self::Annotate(name) => annotate(bench, name(bench)).await,
            Self::Shell => shell(bench).await,
            Self::AllSecrets => all_secrets(bench).await,
            Self::Erased => pods::erased(bench).await,
            Self::Store(wish) => systems::wishes::ask(bench, wish).await,
            Self::ForeignRegion => systems::signs_for_the_other(bench).await,
            Self::ForeignMarker => systems::marker::marks(bench).await,
            Self::Sql(saying) => systems::postgres::say(bench, saying).await,
            Self::Standby => systems::postgres::stream(bench).await,
            Self::Logged => systems::postgres::logged(bench).await,
            Self::ForeignCertificate => systems::certificate::verify(bench).await,
        }
    }
}

async fn annotate(bench: &Bench<'_>, name: String) -> Outcome<Tried> {
    let patch = json!({ "metadata": { "annotations": { MARK: "true" } } });
    judged(
        bench.patch(&secret(bench, name), &patch).await,
        "may be copied",
    )
}

async fn shell(bench: &Bench<'_>) -> Outcome<Tried> {
    let member = bench.place.names.postgres_member(0);
    let answer = exec(
        &member,
        &bench.namespace(),
        "postgres",
        false,
        &["echo", "out"],
    )
    .await?;
    match answer {
        Ok(said) if said.contains("out") => Ok(Tried::Out("a shell in a member".to_owned())),
        Err(said) if said.contains("'bailiwick-tunnels'") => {
            Ok(Tried::Held("bailiwick-tunnels".to_owned()))
        }
        Ok(said) | Err(said) => Err(Failure::new(format!("kubectl exec: {said}"))),
    }
}

async fn all_secrets(bench: &Bench<'_>) -> Outcome<Tried> {
    let answer = Api::<Secret>::all(bench.cluster.as_operator.clone())
        .list_metadata(&ListParams::default().limit(1))
        .await
        .map(drop);
    judged(answer, "lists every Secret")
}

fn secret(bench: &Bench<'_>, name: String) -> Written {
    Written {
        kind: ("", "v1", "Secret", "secrets"),
        namespace: Some(bench.namespace()),
        name,
        body: Value::Null,
    }
}

/// The key of the backups.
pub fn backup_key(bench: &Bench<'_>) -> String {
    bench.place.names.backup_key()
}

/// A login of an application.
pub fn login(bench: &Bench<'_>) -> String {
    bench.place.names.postgres_role("clinical_app_reader")
}

fn object(bench: &Bench<'_>, kind: Object, name: &str, body: Value) -> Written {
    Written {
        kind,
        namespace: Some(bench.namespace()),
        name: format!("{PREFIX}-{name}"),
        body,
    }
}

/// A Service on every node's own address.
pub fn node_port(bench: &Bench<'_>) -> Written {
    let spec =
        json!({ "type": "NodePort", "selector": { "app": PREFIX }, "ports": [{ "port": 5432 }] });
    object(
        bench,
        ("", "v1", "Service", "services"),
        "published",
        json!({ "spec": spec }),
    )
}

/// An Ingress.
pub fn ingress(bench: &Bench<'_>) -> Written {
    let backend = json!({ "service": { "name": PREFIX, "port": { "number": 80 } } });
    object(
        bench,
        ("networking.k8s.io", "v1", "Ingress", "ingresses"),
        "exposed",
        json!({ "spec": { "defaultBackend": backend } }),
    )
}

/// A Service for other clusters.
pub fn export(bench: &Bench<'_>) -> Written {
    object(bench, EXPORT, "export", json!({}))
}

/// A RoleBinding for the other Region's members.
pub fn foreign_binding(bench: &Bench<'_>) -> Written {
    let other = &bench.other.names;
    object(
        bench,
        (
            "rbac.authorization.k8s.io",
            "v1",
            "RoleBinding",
            "rolebindings",
        ),
        "stranger",
        json!({
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view" },
            "subjects": [{ "kind": "ServiceAccount", "name": other.postgres(), "namespace": other.namespace() }],
        }),
    )
}

/// A snapshot in a class of the other place.
pub fn snapshot(bench: &Bench<'_>) -> Written {
    object(
        bench,
        SNAPSHOT,
        "snapshot",
        json!({ "spec": {
            "volumeSnapshotClassName": format!("{}-local", bench.other.location),
            "source": { "persistentVolumeClaimName": bench.place.names.postgres_claim(0) },
        } }),
    )
}

/// A backup of the cluster.
pub fn velero(bench: &Bench<'_>) -> Written {
    object(bench, BACKUP, "backup", json!({}))
}

/// An application that another program syncs.
pub fn argo_cd(bench: &Bench<'_>) -> Written {
    object(bench, APPLICATION, "application", json!({}))
}

/// A right to read every Secret, for the operator.
fn excess() -> [Written; 2] {
    let named = |kind: Object, body: Value| Written {
        kind,
        namespace: None,
        name: format!("{PREFIX}-excess"),
        body,
    };
    [
        named(
            (
                "rbac.authorization.k8s.io",
                "v1",
                "ClusterRole",
                "clusterroles",
            ),
            json!({ "rules": [{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["list"] }] }),
        ),
        named(
            (
                "rbac.authorization.k8s.io",
                "v1",
                "ClusterRoleBinding",
                "clusterrolebindings",
            ),
            json!({
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": format!("{PREFIX}-excess"),
                },
                "subjects": [{
                    "kind": "ServiceAccount", "name": OPERATOR_SERVICE_ACCOUNT, "namespace": OPERATOR_NAMESPACE,
                }],
            }),
        ),
    ]
}

/// The definition of a kind that takes anything.
fn definition((group, version, kind, plural): Object) -> Written {
    let mut annotations = json!({});
    if group.ends_with("k8s.io") {
        annotations = json!({ "api-approved.kubernetes.io": "unapproved, the end-to-end suite" });
    }
    let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    Written {
        kind: (
            "apiextensions.k8s.io",
            "v1",
            "CustomResourceDefinition",
            "customresourcedefinitions",
        ),
        namespace: None,
        name: format!("{plural}.{group}"),
        body: json!({
            "metadata": { "annotations": annotations, "labels": { crate::client::LABEL: "true" } },
            "spec": {
                "group": group, "scope": "Namespaced",
                "names": { "kind": kind, "plural": plural, "singular": kind.to_lowercase() },
                "versions": [{
                    "name": version, "served": true, "storage": true, "schema": { "openAPIV3Schema": schema },
                }],
            },
        }),
    }
}

/// Takes the bindings away, serves what must be absent, and gives the operator a right too many.
pub async fn open(bench: &Bench<'_>) -> Outcome {
    bench.unbind(&POLICIES).await?;
    bench.write(&ABSENT.map(definition)).await?;
    bench.write(&excess()).await
}

/// Puts all of it back.
pub async fn shut(bench: &Bench<'_>) -> Outcome {
    let objects = [node_port, ingress, foreign_binding];
    for object in objects {
        object(bench).gone(bench.cluster).await?;
    }
    // Objects of a kind go with its definition.
    for object in ABSENT.map(definition).iter().chain(&excess()) {
        object.gone(bench.cluster).await?;
    }
    for name in [backup_key(bench), login(bench)] {
        let patch = json!({ "metadata": { "annotations": { MARK: null } } });
        match bench.patch(&secret(bench, name), &patch).await {
            Ok(()) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    super::super::controls::bind_again(bench.cluster).await?;
    until("the groups to be absent", super::HEEDED, || async {
        let groups = bench.cluster.client.list_api_groups().await?.groups;
        let left: Vec<&str> = ABSENT
            .iter()
            .map(|(group, ..)| *group)
            .filter(|group| groups.iter().any(|served| served.name == *group))
            .collect();
        Ok(seen_if(left.is_empty(), || format!("{left:?}")))
    })
    .await
}
