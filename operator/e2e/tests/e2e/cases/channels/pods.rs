//! Pods that admission and Pod Security keep off a Region's namespaces, an agent on the nodes, and a volume that goes
//! with its claim. I/O: the API server.

use std::time::Duration;

use bailiwick_model::names::NODE_REGION;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::client::{IMAGE, STRANGER};
use crate::failure::{Failure, Outcome, While};
use crate::wait::{Look, seen_if, until};

use super::bench::{Bench, PREFIX, Tried, Written};

/// The policies of the scene.
const POLICIES: [&str; 2] = ["pods", "namespace-claims"];
/// The label that enforces Pod Security.
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";
/// An image of a registry that the platform does not vouch for. It is never pulled: the pods are never scheduled.
const FOREIGN_IMAGE: &str = "registry.invalid/collector:1";
/// How long a volume may take to be made, kept or removed.
const VOLUME: Duration = Duration::from_mins(1);
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

/// Something that was downloaded and quotes its log in its status.
pub fn foreign_image(bench: &Bench<'_>) -> Written {
    let mut pod = pod(
        bench.namespace(),
        "foreign",
        &bench.place.location,
        false,
        FOREIGN_IMAGE,
    );
    pod.body["spec"]["containers"][0]["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
    pod
}

/// A collector of somebody's, of metrics, logs or whatever it may be.
pub fn collector(bench: &Bench<'_>) -> Written {
    pod(
        bench.place.names.observability_namespace(),
        "collector",
        &bench.place.location,
        false,
        FOREIGN_IMAGE,
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
    let namespace = bench.namespace();
    let name = format!("{PREFIX}-scratch");
    let claim = Written {
        kind: ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
        namespace: Some(namespace.clone()),
        name: name.clone(),
        body: json!({ "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Mi" } },
            "storageClassName": format!("{}-local", bench.place.location),
        } }),
    };
    let mut binder = pod(namespace, "scratch", &bench.place.location, true, IMAGE);
    binder.body["spec"]["volumes"] =
        json!([{ "name": "scratch", "persistentVolumeClaim": { "claimName": name } }]);
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

/// The volume whose claim was the suite's own and is gone.
async fn released(bench: &Bench<'_>) -> Outcome<Option<String>> {
    let name = format!("{PREFIX}-scratch");
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
    Ok(match released(bench).await? {
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
    if let Some(scratch) = released(bench).await? {
        reclaim(bench, &scratch, "Delete").await?;
    }
    Ok(())
}

/// Puts all of it back.
pub async fn shut(bench: &Bench<'_>) -> Outcome {
    let [claim, binder] = scratch(bench);
    let objects = [
        on_the_host(bench),
        elsewhere(bench),
        copy(bench),
        foreign_image(bench),
        collector(bench),
        agent(bench),
        agents(bench),
        binder,
        claim,
    ];
    for object in &objects {
        object.gone(bench.cluster).await?;
    }
    for ordinal in 0..2 {
        if let Some(volume) = volume_of(bench, &bench.place.names.postgres_claim(ordinal)).await? {
            reclaim(bench, &volume, "Retain").await?;
        }
    }
    if let Some(scratch) = released(bench).await? {
        reclaim(bench, &scratch, "Delete").await?;
    }
    enforce(bench, &bench.namespace(), "restricted").await?;
    enforce(bench, STRANGER, "restricted").await?;
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
