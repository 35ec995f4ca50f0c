//! Clients of a Region: pods of the probe image in namespaces of the suite's own, which run one of `scripts/` and
//! print what they found. What is read of them is their log; nothing is executed inside of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bailiwick_model::flow::Flow;
use bailiwick_model::names::{LABEL_FLOW, LABEL_JURISDICTION, LABEL_LOCATION, LABEL_REGION};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Place};
use crate::failure::{Failure, Outcome, While};
use crate::wait::{Look, until};

/// The image of the clients, on every node.
pub const IMAGE: &str = "bailiwick.dev/probe:0.1.0";
/// The field manager of what the suite applies for itself.
pub const MANAGER: &str = "bailiwick-e2e";
/// The label on everything that is the suite's own.
pub const LABEL: &str = "bailiwick.dev/e2e";
/// The ConfigMap that scripts come in by.
const SCRIPTS: &str = "scripts";
/// How long a pod may take to be made and started, beside what its script takes.
const START: Duration = Duration::from_mins(1);

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Where a client runs.
#[derive(Clone)]
pub struct Stand {
    /// Its namespace.
    pub namespace: String,
    /// The location of the node that it runs on.
    pub location: String,
    /// In a Region's own namespace: the flow whose label it carries, as that Region's pods do.
    pub flow: Option<Flow>,
    /// Whether it waits until its namespace's policies hold it, as whoever tries what they hold must.
    pub waits: bool,
}

impl Stand {
    /// The namespace that a Region lets in, on the Region's own nodes.
    pub fn allowed(place: &Place) -> Self {
        Self {
            namespace: format!("e2e-client-{}", place.region),
            location: place.location.clone(),
            flow: None,
            waits: true,
        }
    }

    /// A Region's own namespace, with all that the boundary opens to pods of a flow.
    pub fn inside(place: &Place, flow: Flow) -> Self {
        Self {
            namespace: place.names.namespace(),
            location: place.location.clone(),
            flow: Some(flow),
            waits: true,
        }
    }

    /// The same, but what runs there runs at once.
    pub fn at_once(self) -> Self {
        Self {
            waits: false,
            ..self
        }
    }

    /// The namespace that no Region lets in, on the nodes of a location.
    pub fn stranger(location: &str) -> Self {
        Self {
            namespace: STRANGER.to_owned(),
            location: location.to_owned(),
            flow: None,
            // Nothing ever shuts its way out.
            waits: false,
        }
    }
}

/// The namespace that no Region lets in.
pub const STRANGER: &str = "e2e-stranger";

/// The suite's own namespaces.
fn namespaces(cluster: &Cluster) -> Vec<String> {
    let allowed = cluster
        .places
        .iter()
        .map(|place| Stand::allowed(place).namespace);
    allowed.chain([STRANGER.to_owned()]).collect()
}

/// Makes the clients' namespaces with their scripts, and takes away pods that an earlier run left.
pub async fn prepare(cluster: &Cluster) -> Outcome {
    for namespace in &namespaces(cluster) {
        let mut labels = json!({
            LABEL: "true",
            "pod-security.kubernetes.io/enforce": "restricted",
        });
        let place = cluster
            .places
            .iter()
            .find(|place| Stand::allowed(place).namespace == *namespace);
        if let Some(place) = place {
            // As docs/how-to/connect-an-application.md says: these cannot be given later.
            labels["team"] = json!("patient");
            labels["bailiwick.dev/client"] = json!("true");
            labels[LABEL_REGION] = json!(place.region);
            labels[LABEL_LOCATION] = json!(place.location);
            labels[LABEL_JURISDICTION] = json!(place.jurisdiction);
        }
        apply(
            &Api::<Namespace>::all(cluster.client.clone()),
            namespace,
            &json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": { "name": namespace, "labels": labels },
            }),
        )
        .await?;
        if let Some(place) = place {
            boundary(cluster, place, namespace).await?;
        }
        apply(
            &Api::<ConfigMap>::namespaced(cluster.client.clone(), namespace),
            SCRIPTS,
            &json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "name": SCRIPTS, "labels": { LABEL: "true" } },
                "data": scripts(),
            }),
        )
        .await?;
        Api::<Pod>::namespaced(cluster.client.clone(), namespace)
            .delete_collection(
                &DeleteParams::default().grace_period(0),
                &ListParams::default().labels(LABEL),
            )
            .await
            .during(format_args!(
                "remove the pods of an earlier run in {namespace}"
            ))?;
    }
    Ok(())
}

/// Default deny of the application's own, and what its pods open for themselves: DNS and their own Region. Admission
/// takes no opening to another one.
async fn boundary(cluster: &Cluster, place: &Place, namespace: &str) -> Outcome {
    let api = Api::<NetworkPolicy>::namespaced(cluster.client.clone(), namespace);
    for (name, spec) in [
        (
            "default-deny",
            json!({ "podSelector": {}, "policyTypes": ["Ingress", "Egress"] }),
        ),
        (
            "client",
            json!({
                "podSelector": { "matchLabels": { LABEL: "true" } },
                "policyTypes": ["Egress"],
                "egress": [
                    { "to": [{ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "kube-system" } } }] },
                    { "to": [{ "namespaceSelector": { "matchLabels": { LABEL_REGION: place.region } } }] },
                ],
            }),
        ),
    ] {
        apply(
            &api,
            name,
            &json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                "metadata": { "name": name, "labels": { LABEL: "true" } }, "spec": spec,
            }),
        )
        .await?;
    }
    Ok(())
}

/// Ends clients that an earlier case left running: a writer would write on.
pub async fn end_all(cluster: &Cluster) -> Outcome {
    let left = ListParams::default()
        .labels(LABEL)
        .fields("status.phase=Running");
    let inside = cluster.places.iter().map(|place| place.names.namespace());
    for namespace in namespaces(cluster).into_iter().chain(inside) {
        Api::<Pod>::namespaced(cluster.client.clone(), &namespace)
            .delete_collection(&DeleteParams::default().grace_period(0), &left)
            .await
            .during(format_args!("end the clients in {namespace}"))?;
    }
    Ok(())
}

fn scripts() -> BTreeMap<&'static str, &'static str> {
    [
        ("held.py", include_str!("scripts/held.py")),
        ("postgres.py", include_str!("scripts/postgres.py")),
        ("store.py", include_str!("scripts/store.py")),
        ("table.py", include_str!("scripts/table.py")),
        ("sql_access.py", include_str!("scripts/sql_access.py")),
        ("store_access.py", include_str!("scripts/store_access.py")),
        ("first.py", include_str!("scripts/first.py")),
        ("reach.py", include_str!("scripts/reach.py")),
        ("writer.py", include_str!("scripts/writer.py")),
        ("lose.py", include_str!("scripts/lose.py")),
        ("present.py", include_str!("scripts/present.py")),
        ("keep.py", include_str!("scripts/keep.py")),
        ("renewed.py", include_str!("scripts/renewed.py")),
        ("starts.py", include_str!("scripts/starts.py")),
        ("wal.py", include_str!("scripts/wal.py")),
        ("archived.py", include_str!("scripts/archived.py")),
        ("marker_plant.py", include_str!("scripts/marker_plant.py")),
        ("marker_seek.py", include_str!("scripts/marker_seek.py")),
        ("marker_remove.py", include_str!("scripts/marker_remove.py")),
        ("attack_sql.py", include_str!("scripts/attack_sql.py")),
        ("attack_store.py", include_str!("scripts/attack_store.py")),
        ("requests.py", include_str!("scripts/requests.py")),
        ("statement.py", include_str!("scripts/statement.py")),
        ("standby.py", include_str!("scripts/standby.py")),
        ("evidence.py", include_str!("scripts/evidence.py")),
        ("chain.py", include_str!("scripts/chain.py")),
        ("foreign_store.py", include_str!("scripts/foreign_store.py")),
    ]
    .into()
}

/// Copies a Secret of a Region into a client's namespace: the documented way for an application to get its login.
pub async fn hand_over(cluster: &Cluster, place: &Place, name: &str) -> Outcome {
    hand_over_to(cluster, place, name, &Stand::allowed(place).namespace).await
}

/// The same, into any namespace of the suite's own.
pub async fn hand_over_to(
    cluster: &Cluster,
    place: &Place,
    name: &str,
    namespace: &str,
) -> Outcome {
    let secret = cluster.secret(&place.names.namespace(), name).await?;
    apply(
        &Api::<Secret>::namespaced(cluster.client.clone(), namespace),
        name,
        &json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": name, "labels": { LABEL: "true" } },
            "data": secret.data,
        }),
    )
    .await
}

/// Applies an object of the suite's own.
pub async fn apply<K>(api: &Api<K>, name: &str, object: &Value) -> Outcome
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    api.patch(
        name,
        &PatchParams::apply(MANAGER).force(),
        &Patch::Apply(object),
    )
    .await
    .during(format_args!(
        "apply {} {name}",
        object["kind"].as_str().unwrap_or_default()
    ))?;
    Ok(())
}

/// A script to run.
pub struct Script<'a> {
    /// Its file in `scripts/`, without `.py`.
    pub name: &'a str,
    /// What it is told, as JSON.
    pub told: Value,
    /// The Secrets of its namespace that it reads, below `/credentials`.
    pub secrets: Vec<String>,
}

/// A client that runs.
pub struct Running {
    api: Api<Pod>,
    /// The name of its pod.
    pub name: String,
}

impl Running {
    /// Starts a script.
    pub async fn start(cluster: &Cluster, stand: &Stand, script: &Script<'_>) -> Outcome<Self> {
        Self::start_with(cluster, stand, script, |_| {}).await
    }

    /// The same, as a pod that `change` has made another one.
    pub async fn start_with(
        cluster: &Cluster,
        stand: &Stand,
        script: &Script<'_>,
        change: impl FnOnce(&mut Value),
    ) -> Outcome<Self> {
        // In a Region's own namespace nobody else makes pods but the operator.
        let client = match stand.flow {
            Some(_) => &cluster.break_glass,
            None => &cluster.client,
        };
        let api = Api::<Pod>::namespaced(client.clone(), &stand.namespace);
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let name = format!(
            "{}-{seconds}-{}",
            script.name.replace('_', "-"),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let mut pod = pod(&name, stand, script);
        change(&mut pod);
        let pod: Pod = serde_json::from_value(pod)?;
        api.create(&PostParams::default(), &pod)
            .await
            .during(format_args!(
                "make the client {name} in {}",
                stand.namespace
            ))?;
        Ok(Self { api, name })
    }

    /// What it has printed so far.
    pub async fn log(&self) -> Outcome<String> {
        Ok(self.api.logs(&self.name, &LogParams::default()).await?)
    }

    /// The pod.
    pub async fn pod(&self) -> Outcome<Pod> {
        Ok(self.api.get(&self.name).await?)
    }

    /// Waits until it has ended, and returns what it printed. Fails when the script did. A pod that failed stays for
    /// whoever wants to know why.
    pub async fn end(self, limit: Duration) -> Outcome<String> {
        let what = format!("the end of client {}", self.name);
        let failed = until(&what, limit, || async {
            let pod = self.api.get(&self.name).await?;
            let phase = pod.status.as_ref().and_then(|it| it.phase.as_deref());
            Ok(match failed(&pod) {
                Some(failed) => Look::Seen(failed),
                None => Look::NotYet(format!("phase {}", phase.unwrap_or_default())),
            })
        })
        .await?;
        let log = self.log().await?;
        if failed {
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(12)..].join("\n    ");
            return Err(Failure::new(format!(
                "client {} failed:\n    {tail}",
                self.name
            )));
        }
        let _ = self
            .api
            .delete(&self.name, &DeleteParams::default().grace_period(0))
            .await;
        Ok(log)
    }
}

/// Whether a client has failed, once it has ended. Its program's exit code says so a second before the phase of its pod; one
/// that never ran has only that.
fn failed(pod: &Pod) -> Option<bool> {
    let status = pod.status.as_ref()?;
    let program = status.container_statuses.iter().flatten().next();
    let terminated = program.and_then(|it| it.state.as_ref()?.terminated.as_ref());
    match (terminated, status.phase.as_deref()) {
        (Some(terminated), _) => Some(terminated.exit_code != 0),
        (None, Some("Succeeded")) => Some(false),
        (None, Some("Failed")) => Some(true),
        (None, _) => None,
    }
}

/// Runs a script to its end and returns what its last line says, as JSON.
pub async fn run(
    cluster: &Cluster,
    stand: &Stand,
    script: &Script<'_>,
    limit: Duration,
) -> Outcome<Value> {
    let running = Running::start(cluster, stand, script).await?;
    let name = running.name.clone();
    let log = running.end(START + limit).await?;
    let last = log.lines().last().unwrap_or_default();
    serde_json::from_str(last).during(format_args!("client {name} ended with {last:?}"))
}

fn pod(name: &str, stand: &Stand, script: &Script<'_>) -> Value {
    let mut labels = json!({ LABEL: "true", "app": "client" });
    let mut command = vec!["python3".to_owned(), "-u".to_owned()];
    if stand.waits {
        command.extend(["-c", include_str!("scripts/fenced.py")].map(str::to_owned));
    }
    let mut volumes = vec![json!({ "name": "tmp", "emptyDir": {} })];
    let mut mounts = vec![json!({ "name": "tmp", "mountPath": "/tmp" })];
    if let Some(flow) = stand.flow {
        labels[LABEL_FLOW] = json!(flow.label());
        // Nothing of the suite stays in a Region's namespace: the script is an argument.
        let text = scripts().remove(format!("{}.py", script.name).as_str());
        command.extend(["-c".to_owned(), text.unwrap_or_default().to_owned()]);
    } else {
        volumes.push(json!({ "name": "scripts", "configMap": { "name": SCRIPTS } }));
        mounts.push(json!({ "name": "scripts", "mountPath": "/scripts", "readOnly": true }));
        command.push(format!("/scripts/{}.py", script.name));
    }
    command.push(script.told.to_string());
    for (index, secret) in script.secrets.iter().enumerate() {
        let volume = format!("secret-{index}");
        volumes.push(json!({ "name": volume, "secret": { "secretName": secret } }));
        mounts.push(json!({
            "name": volume, "mountPath": format!("/credentials/{secret}"), "readOnly": true,
        }));
        // Where the `uri` of a login looks for the authority's certificate: docs/how-to/connect-an-application.md.
        if index == 0 && secret.contains("-pg-role-") {
            mounts.push(json!({
                "name": volume, "mountPath": "/etc/bailiwick/postgres", "readOnly": true,
            }));
        }
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "labels": labels },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "nodeSelector": { "topology.kubernetes.io/region": stand.location },
            "securityContext": { "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532,
                "fsGroup": 65532, "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [{
                "name": "client",
                "image": IMAGE,
                "imagePullPolicy": "IfNotPresent",
                "command": command,
                "env": [{ "name": "PYTHONDONTWRITEBYTECODE", "value": "1" }],
                "resources": { "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": { "memory": "256Mi" } },
                "securityContext": { "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    "capabilities": { "drop": ["ALL"] } },
                "volumeMounts": mounts,
            }],
            "volumes": volumes,
        },
    })
}

/// The name of a pod, for messages.
pub fn name_of(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())
}
