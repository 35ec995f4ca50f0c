//! Pods that admission and Pod Security keep off a Region's namespaces, an agent on the nodes, and a volume that goes
//! with its claim. I/O: the API server.

use std::time::Duration;

use bailiwick_model::flow::Flow;
use bailiwick_model::names::{LABEL_FLOW, NODE_REGION};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use super::bench::{Bench, PREFIX, Tried, Written};
use crate::client::{IMAGE, STRANGER};
use crate::failure::{Failure, Outcome, While};
use crate::wait::{Look, seen_if, until};

/// The policies of the scene.
const POLICIES: [&str; 3] = ["pods", "namespace-claims", "volumes"];
/// The label that enforces Pod Security.
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";
/// An image of a registry that the platform does not vouch for, and that there is not.
const FOREIGN_IMAGE: &str = "registry.invalid/collector:1";
/// How long a volume may take to be made, kept or removed.
const VOLUME: Duration = Duration::from_mins(1);
/// How long a pod may take to do what it is for.
const ERRAND: Duration = Duration::from_secs(40);
/// What a pod prints that its status must not quote.
const PRINTED: &str = "e2e-channel-printed";
/// How long a volume is looked at before it is said to stay.
const STAYS: Duration = Duration::from_secs(3);

fn security() -> Value {
    json!({ "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "seccompProfile": { "type": "RuntimeDefault" } })
}

fn container(image: &str) -> Value {
    json!({
        "name": "e2e", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "300"],
        "resources": { "requests": { "cpu": "5m", "memory": "8Mi" }, "limits": { "memory": "32Mi" } },
        "securityContext": { "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] } },
    })
}

/// A pod that waits for ever to be scheduled, unless it is `let_go`.
fn pod(namespace: String, name: &str, location: &str, let_go: bool, image: &str) -> Written {
    let mut spec = json!({
        "restartPolicy": "Never", "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 1,
        "nodeSelector": { NODE_REGION: location },
        "securityContext": security(),
        "containers": [container(image)],
    });
    if !let_go {
        spec["schedulingGates"] = json!([{ "name": "bailiwick.dev/e2e" }]);
    }
    Written {
        kind: ("", "v1", "Pod", "pods"),
        namespace: Some(namespace),
        name: format!("{PREFIX}-{name}"),
        body: json!({ "metadata": { "labels": { crate::client::LABEL: "true" } }, "spec": spec }),
    }
}

/// A pod on its node's own network; it would pass every NetworkPolicy by, and is never started.
pub fn on_the_host(bench: &Bench<'_>) -> Written {
    let mut pod = pod(
        bench.namespace(),
        "host",
        &bench.place.location,
        false,
        IMAGE,
    );
    pod.body["spec"]["hostNetwork"] = json!(true);
    pod
}

/// A pod that runs in the other place.
pub fn elsewhere(bench: &Bench<'_>) -> Written {
    pod(
        bench.namespace(),
        "elsewhere",
        &bench.other.location,
        true,
        IMAGE,
    )
}

/// A copy in the drill namespace that stands in the other place.
pub fn copy(bench: &Bench<'_>) -> Written {
    pod(
        bench.place.names.drill_namespace(),
        "copy",
        &bench.other.location,
        false,
        IMAGE,
    )
}

/// A pod that runs, and what shows that it did what it is for.
#[derive(Clone, Copy)]
pub struct Errand {
    make: fn(&Bench<'_>) -> Written,
    /// What got out, by the pod's status.
    out: fn(&Value) -> Option<&'static str>,
}

/// Rows are written into a file by somebody's pod.
pub const DUMP: Errand = Errand {
    make: |bench| {
        let login = bench.place.names.postgres_role("clinical_app_reader");
        let mut pod = own(bench, "dump", IMAGE);
        // As a pod of Postgres, to which the boundary opens it.
        pod.body["metadata"]["labels"][LABEL_FLOW] = json!(Flow::Postgres.label());
        let spec = &mut pod.body["spec"];
        spec["containers"][0]["command"] = json!(["bash", "-c", DUMPS]);
        spec["containers"][0]["volumeMounts"] = json!([
            { "name": "login", "mountPath": "/login", "readOnly": true },
            { "name": "dump", "mountPath": "/dump" },
        ]);
        spec["volumes"] = json!([
            { "name": "login", "secret": { "secretName": login } },
            { "name": "dump", "emptyDir": {} },
        ]);
        pod
    },
    out: |status| (status["phase"] == "Succeeded").then_some("rows in a file"),
};

/// The network plugin may open a flow late.
const DUMPS: &str = "for n in $(seq 20); do \
    PGPASSWORD=$(cat /login/password) psql \
    \"host=$(cat /login/host) port=5432 dbname=clinical user=$(cat /login/user) sslmode=require connect_timeout=2\" \
    -XAtqc '\\copy (SELECT usename FROM pg_user) TO /dump/rows' && test -s /dump/rows && exit 0; sleep 1; done; exit 1";

/// A program is written beside what is in the image, while it runs.
pub const EXTENSION: Errand = Errand {
    make: |bench| {
        let mut pod = own(bench, "extension", IMAGE);
        let container = &mut pod.body["spec"]["containers"][0];
        container["securityContext"]["readOnlyRootFilesystem"] = json!(false);
        container["command"] = json!([
            "bash",
            "-c",
            "cp /bin/true /tmp/extension && /tmp/extension"
        ]);
        pod
    },
    out: |status| (status["phase"] == "Succeeded").then_some("a program beside the image's"),
};

/// What a pod prints stands in its status, for whoever reads pods.
pub const QUOTE: Errand = Errand {
    make: |bench| {
        let mut pod = own(bench, "quote", IMAGE);
        let container = &mut pod.body["spec"]["containers"][0];
        container["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
        container["command"] = json!(["bash", "-c", format!("echo {PRINTED}; exit 1")]);
        pod
    },
    out: |status| {
        let quoted = &status["containerStatuses"][0]["state"]["terminated"]["message"];
        let quoted = quoted.as_str().is_some_and(|text| text.contains(PRINTED));
        quoted.then_some("a line of the log in a status")
    },
};

/// A node asks another place's registry for an image.
pub const PULL: Errand = Errand {
    make: |bench| own(bench, "pull", FOREIGN_IMAGE),
    out: |status| {
        let waiting = &status["containerStatuses"][0]["state"]["waiting"]["reason"];
        let asked = ["ErrImagePull", "ImagePullBackOff"].contains(&waiting.as_str()?);
        asked.then_some("a registry elsewhere is asked")
    },
};

/// A pod of the Region's namespace and place that runs.
fn own(bench: &Bench<'_>, name: &str, image: &str) -> Written {
    pod(bench.namespace(), name, &bench.place.location, true, image)
}

/// Runs an errand.
pub async fn run(bench: &Bench<'_>, errand: Errand) -> Outcome<Tried> {
    let pod = (errand.make)(bench);
    if let held @ Tried::Held(_) = pod.attempt(bench.cluster).await? {
        return Ok(held);
    }
    until(
        &format!("{} to do its errand", pod.name),
        ERRAND,
        || async {
            let status = pod.status(bench.cluster).await?;
            Ok(match (errand.out)(&status) {
                Some(what) => Look::Seen(Tried::Out(what.to_owned())),
                None => Look::NotYet(status.to_string()),
            })
        },
    )
    .await
}

/// A claim of a class of the other place, and a pod there for which its volume is made.
fn volume_elsewhere(bench: &Bench<'_>) -> [Written; 2] {
    claim(bench, "volume", &bench.other.location)
}

/// Has a volume made in the other place.
pub async fn volume(bench: &Bench<'_>) -> Outcome<Tried> {
    let [claim, binder] = volume_elsewhere(bench);
    if let held @ Tried::Held(_) = claim.attempt(bench.cluster).await? {
        return Ok(held);
    }
    if let Tried::Held(by) = binder.attempt(bench.cluster).await? {
        return Err(Failure::new(format!("{} is held by {by}", binder.name)));
    }
    until("the volume elsewhere", VOLUME, || async {
        Ok(match volume_of(bench, &claim.name).await? {
            Some(volume) => Look::Seen(Tried::Out(format!("{volume} elsewhere"))),
            None => Look::NotYet("the claim is not bound".to_owned()),
        })
    })
    .await
}

/// A collector of somebody's, of metrics.
pub fn collector(bench: &Bench<'_>) -> Written {
    pod(
        bench.place.names.observability_namespace(),
        "collector",
        &bench.place.location,
        false,
        IMAGE,
    )
}

fn logs() -> Value {
    json!([{ "name": "logs", "hostPath": { "path": "/var/log/pods" } }])
}

/// A pod that reads what others print, where Pod Security lets nobody.
pub fn agent(bench: &Bench<'_>) -> Written {
    let mut pod = pod(
        STRANGER.to_owned(),
        "agent",
        &bench.place.location,
        false,
        IMAGE,
    );
    pod.body["spec"]["volumes"] = logs();
    pod
}

/// The same on every node.
fn agents(bench: &Bench<'_>) -> Written {
    let template = agent(bench).body;
    let labels = json!({ "app": PREFIX });
    let mut spec = template["spec"].clone();
    // A DaemonSet restarts its pods, and these are never scheduled.
    spec["restartPolicy"] = json!("Always");
    Written {
        kind: ("apps", "v1", "DaemonSet", "daemonsets"),
        namespace: Some(STRANGER.to_owned()),
        name: format!("{PREFIX}-agents"),
        body: json!({ "spec": {
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": spec },
        } }),
    }
}

async fn enforce(bench: &Bench<'_>, namespace: &str, level: &str) -> Outcome {
    Api::<Namespace>::all(bench.cluster.client.clone())
        .patch(
            namespace,
            &PatchParams::default(),
            &Patch::Merge(json!({ "metadata": { "labels": { ENFORCE: level } } })),
        )
        .await
        .during(format_args!("enforce Pod Security {level} in {namespace}"))?;
    Ok(())
}

/// A claim that is the suite's own, with a pod that binds it.
fn scratch(bench: &Bench<'_>) -> [Written; 2] {
    claim(bench, "scratch", &bench.place.location)
}

/// A claim of a class of a place, with a pod there that binds it.
fn claim(bench: &Bench<'_>, name: &str, location: &str) -> [Written; 2] {
    let namespace = bench.namespace();
    let mut binder = pod(namespace.clone(), name, location, true, IMAGE);
    let name = format!("{PREFIX}-{name}");
    let claim = Written {
        kind: ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
        namespace: Some(namespace.clone()),
        name: name.clone(),
        body: json!({ "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Mi" } },
            "storageClassName": format!("{location}-local"),
        } }),
    };
    binder.body["spec"]["volumes"] =
        json!([{ "name": "volume", "persistentVolumeClaim": { "claimName": name } }]);
    binder.body["spec"]["containers"][0]["command"] = json!(["true"]);
    [claim, binder]
}

/// The volume of a claim of the Region.
async fn volume_of(bench: &Bench<'_>, claim: &str) -> Outcome<Option<String>> {
    let claims =
        Api::<PersistentVolumeClaim>::namespaced(bench.cluster.client.clone(), &bench.namespace());
    Ok(claims
        .get_opt(claim)
        .await?
        .and_then(|claim| claim.spec?.volume_name))
}

async fn reclaim(bench: &Bench<'_>, volume: &str, policy: &str) -> Outcome {
    Api::<PersistentVolume>::all(bench.cluster.client.clone())
        .patch(
            volume,
            &PatchParams::default(),
            &Patch::Merge(json!({ "spec": { "persistentVolumeReclaimPolicy": policy } })),
        )
        .await
        .during(format_args!("set the reclaim policy of {volume}"))?;
    Ok(())
}

/// The volume whose claim was the suite's own, also when that is gone.
async fn released(bench: &Bench<'_>, name: &str) -> Outcome<Option<String>> {
    let name = format!("{PREFIX}-{name}");
    let all = Api::<PersistentVolume>::all(bench.cluster.client.clone())
        .list(&kube::api::ListParams::default())
        .await?;
    Ok(all
        .into_iter()
        .find(|volume| {
            volume
                .spec
                .as_ref()
                .and_then(|spec| spec.claim_ref.as_ref())
                .is_some_and(|claim| claim.name.as_deref() == Some(&name))
        })
        .and_then(|volume| volume.metadata.name))
}

/// Makes a claim of the suite's own, has it bound and takes it away: what becomes of its volume is what is tried.
pub async fn prepare(bench: &Bench<'_>) -> Outcome {
    let [claim, binder] = scratch(bench);
    bench.write(&[claim, binder]).await?;
    let name = format!("{PREFIX}-scratch");
    until("the scratch volume", VOLUME, || async {
        Ok(seen_if(volume_of(bench, &name).await?.is_some(), || {
            "the claim is not bound".to_owned()
        }))
    })
    .await?;
    let [claim, binder] = scratch(bench);
    binder.gone(bench.cluster).await?;
    claim.gone(bench.cluster).await?;
    until("the end of the scratch claim", VOLUME, || async {
        Ok(match volume_of(bench, &name).await? {
            None => Look::Seen(()),
            Some(_) => Look::NotYet("it is there".to_owned()),
        })
    })
    .await
}

/// Whether the volume of the scratch claim went with it.
pub async fn erased(bench: &Bench<'_>) -> Outcome<Tried> {
    tokio::time::sleep(STAYS).await;
    Ok(match released(bench, "scratch").await? {
        Some(_) => Tried::Held("Retain".to_owned()),
        None => Tried::Out("the volume went with its claim".to_owned()),
    })
}

/// Takes the controls of pods away, and Retain off a volume of Postgres and off the scratch volume.
pub async fn open(bench: &Bench<'_>) -> Outcome {
    bench.unbind(&POLICIES).await?;
    // What is bound no more is heeded no more a moment later.
    until("Pod Security to be weakened", super::HEEDED, || async {
        enforce(bench, &bench.namespace(), "privileged").await?;
        Ok(Look::Seen(()))
    })
    .await?;
    enforce(bench, STRANGER, "privileged").await?;
    bench.write(&[agents(bench)]).await?;
    let name = bench.place.names.postgres_claim(0);
    let volume = volume_of(bench, &name)
        .await?
        .ok_or_else(|| Failure::new(format!("claim {name} has no volume")))?;
    reclaim(bench, &volume, "Delete").await?;
    if let Some(scratch) = released(bench, "scratch").await? {
        reclaim(bench, &scratch, "Delete").await?;
    }
    Ok(())
}

/// Takes one thing away that the status names, and wakes the operator: a status that names it no more was written with what
/// is there now.
pub async fn stir(bench: &Bench<'_>) -> Outcome {
    let named = elsewhere(bench);
    named.gone(bench.cluster).await?;
    until("a pod elsewhere to go", VOLUME, || async {
        let left = named.is_there(bench.cluster).await?;
        Ok(seen_if(!left, || "it is there".to_owned()))
    })
    .await?;
    bench.wake().await
}

/// Puts all of it back.
pub async fn shut(bench: &Bench<'_>) -> Outcome {
    let errands = [DUMP, EXTENSION, QUOTE, PULL].map(|errand| (errand.make)(bench));
    let objects = [
        on_the_host(bench),
        elsewhere(bench),
        copy(bench),
        collector(bench),
        agent(bench),
        agents(bench),
    ];
    let [[claim, binder], [claim_elsewhere, binder_elsewhere]] =
        [scratch(bench), volume_elsewhere(bench)];
    let volumes = [binder, claim, binder_elsewhere, claim_elsewhere];
    for object in objects.iter().chain(&errands).chain(&volumes) {
        object.gone(bench.cluster).await?;
    }
    for ordinal in 0..2 {
        if let Some(volume) = volume_of(bench, &bench.place.names.postgres_claim(ordinal)).await? {
            reclaim(bench, &volume, "Retain").await?;
        }
    }
    for name in ["scratch", "volume"] {
        if let Some(volume) = released(bench, name).await? {
            reclaim(bench, &volume, "Delete").await?;
        }
    }
    enforce(bench, &bench.namespace(), "restricted").await?;
    enforce(bench, STRANGER, "restricted").await?;
    bench.let_sleep().await?;
    super::super::controls::bind_again(bench.cluster).await?;
    let pods = Api::<Pod>::namespaced(bench.cluster.client.clone(), &bench.namespace());
    until("the scene's pods to go", VOLUME, || async {
        let left = pods
            .list_metadata(&kube::api::ListParams::default())
            .await?
            .into_iter()
            .filter_map(|pod| pod.metadata.name)
            .any(|name| name.starts_with(PREFIX));
        Ok(seen_if(!left, || "they are there".to_owned()))
    })
    .await
}
