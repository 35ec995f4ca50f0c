//! The cases of Kubernetes' own suite for NetworkPolicy, with packets between pods on both nodes: what is claimed of the
//! enforcer of this cluster, by name and count. I/O: namespaces, pods and policies of its own; probers in the pods' network
//! namespaces on this machine.

mod prober;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::prober::Prober;
use crate::client::{IMAGE, LABEL, apply};
use crate::cluster::{Cluster, repository};
use crate::failure::{Failure, Outcome, While, ensure};
use crate::wait::{Look, seen_if, until};

/// The namespaces of the cases, of which each has the same pods.
const NAMESPACES: [&str; 3] = ["x", "y", "z"];
const PODS: [&str; 3] = ["a", "b", "c"];
/// The namespace of one pod on each node that a policy of its own shuts and opens from step to step. kube-router puts all
/// policies of a node in force in one go: once this one is seen, those that were written before it are in force as well.
const SIGNAL: &str = "w";
/// How soon a namespace is gone, and pods run.
const MADE: Duration = Duration::from_mins(1);
/// How soon a change must be in force on both nodes.
const IN_FORCE: Duration = Duration::from_secs(20);

#[derive(Deserialize)]
struct Case {
    #[serde(rename = "case")]
    name: String,
    steps: Vec<Step>,
}

#[derive(Default, Deserialize)]
struct Step {
    /// By `namespace/name`.
    policies: BTreeMap<String, Value>,
    /// By pod or namespace, beside those that it always has.
    #[serde(default)]
    labels: BTreeMap<String, BTreeMap<String, String>>,
    /// By port: who connects to whom, or not.
    #[serde(flatten)]
    ports: BTreeMap<String, Vec<String>>,
}

impl Step {
    /// Whether a pod connects to another on a port: what the last line says that names both.
    fn connects(&self, port: &str, from: &str, to: &str) -> bool {
        let lines = self.ports.get(port).into_iter().flatten();
        lines
            .filter_map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                let [verb, a, b] = words[..] else { return None };
                (names(a, from) && names(b, to)).then_some(verb == "yes")
            })
            .next_back()
            .unwrap_or(true)
    }
}

fn names(pattern: &str, pod: &str) -> bool {
    let (pattern, pod) = (pattern.split_once('/'), pod.split_once('/'));
    pattern.zip(pod).is_some_and(|((namespace, name), found)| {
        (namespace == "*" || namespace == found.0) && (name == "*" || name == found.1)
    })
}

/// Runs every case.
pub async fn upstream(cluster: &Cluster) -> Outcome<String> {
    let outcome = async {
        clear(cluster).await?;
        Lab::start(cluster).await?.run().await
    }
    .await;
    for namespace in NAMESPACES.into_iter().chain([SIGNAL]) {
        // What is left is removed by the next run.
        let _ = Api::<Namespace>::all(cluster.client.clone())
            .delete(namespace, &DeleteParams::default())
            .await;
    }
    outcome
}

/// Takes away what an earlier run left.
async fn clear(cluster: &Cluster) -> Outcome {
    let api = Api::<Namespace>::all(cluster.client.clone());
    let api = &api;
    for namespace in NAMESPACES.into_iter().chain([SIGNAL]) {
        until(
            &format!("the end of namespace {namespace}"),
            MADE,
            || async move {
                let Some(found) = api.get_opt(namespace).await? else {
                    return Ok(Look::Seen(()));
                };
                ensure(found.labels().contains_key(LABEL), || {
                    format!("namespace {namespace} is not the suite's")
                })?;
                if found.metadata.deletion_timestamp.is_none() {
                    api.delete(namespace, &DeleteParams::default()).await?;
                }
                Ok(Look::NotYet("it is there".to_owned()))
            },
        )
        .await?;
    }
    Ok(())
}

/// The version of kube-router that the cluster's commands are built from.
fn enforcer() -> Outcome<String> {
    let path = repository().join("infra/dev-local/engineless/modules/kube-router/go.mod");
    let text = std::fs::read_to_string(&path).during(path.display())?;
    text.split_once("github.com/cloudnativelabs/kube-router/v2 ")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .map(|version| format!("kube-router {version}"))
        .ok_or_else(|| Failure::new(format!("{} requires no kube-router", path.display())))
}

/// The pods, and what they are in.
struct Lab<'c> {
    cluster: &'c Cluster,
    /// The pods of the cases, and then those of the signal.
    probers: Vec<Prober>,
    policies: BTreeMap<String, Value>,
    labels: BTreeMap<String, BTreeMap<String, String>>,
    /// Whether the pods of the signal are shut.
    shut: bool,
    /// Connections that came about, and that did not.
    counted: [usize; 2],
}

impl<'c> Lab<'c> {
    async fn start(cluster: &'c Cluster) -> Outcome<Self> {
        let namespaces = Api::<Namespace>::all(cluster.client.clone());
        let mut wanted = Vec::new();
        for namespace in NAMESPACES.into_iter().chain([SIGNAL]) {
            let object = json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": { "name": namespace, "labels": {
                    LABEL: "true", "ns": namespace, "pod-security.kubernetes.io/enforce": "restricted",
                } },
            });
            apply(&namespaces, namespace, &object).await?;
            if namespace != SIGNAL {
                wanted.extend(PODS.map(|pod| format!("{namespace}/{pod}")));
            }
        }
        wanted.extend(["a", "b"].map(|pod| format!("{SIGNAL}/{pod}")));
        // In turn on one node and the other: each pair of namespaces meets within and across nodes.
        let places = cluster.places.iter().cycle();
        let started = wanted
            .into_iter()
            .zip(places)
            .map(|(name, place)| Prober::start(cluster, name, &place.location));
        let probers = try_join_all(started).await?;
        Ok(Self {
            cluster,
            probers,
            policies: BTreeMap::new(),
            labels: BTreeMap::new(),
            shut: false,
            counted: [0; 2],
        })
    }

    async fn run(&mut self) -> Outcome<String> {
        let cases: Vec<Case> = serde_yaml::from_str(include_str!("conformance/cases.yaml"))?;
        let first = cases
            .first()
            .and_then(|case| case.steps.first())
            .ok_or_else(|| Failure::new("there are no cases"))?;
        // What the first case expects must not be seen while its policy is missing: else nothing below could fail.
        let missing = Step {
            ports: first
                .ports
                .keys()
                .map(|port| (port.clone(), Vec::new()))
                .collect(),
            ..Step::default()
        };
        self.holds(&missing).await.during("without policies")?;
        let wrong = self.differences(first)?;
        ensure(wrong.len() == 24, || {
            format!(
                "without its policy {:?} differs in {} connections, not in 24",
                cases[0].name,
                wrong.len()
            )
        })?;
        self.counted = [0; 2];
        for case in &cases {
            for (index, step) in case.steps.iter().enumerate() {
                self.holds(step).await.during(format_args!(
                    "{:?}, step {}",
                    case.name,
                    index + 1
                ))?;
            }
        }
        let [open, shut] = self.counted;
        Ok(format!(
            "{} cases hold with {}: {} connections, {open} open, {shut} shut; without its policy the first case is seen to fail",
            cases.len(),
            enforcer()?,
            open + shut,
        ))
    }

    /// Brings about a step and waits until what it expects is seen.
    async fn holds(&mut self, step: &Step) -> Outcome {
        self.set_policies(step).await?;
        self.set_labels(step).await?;
        self.shut = !self.shut;
        let ingress = if self.shut { json!([]) } else { json!([{}]) };
        let spec = json!({ "podSelector": {}, "policyTypes": ["Ingress"], "ingress": ingress });
        self.apply_policy(&format!("{SIGNAL}/signal"), &spec)
            .await?;
        let lab = &*self;
        until("what is expected", IN_FORCE, || async move {
            let wrong = lab.differences(step)?;
            Ok(seen_if(wrong.is_empty(), || {
                let some: Vec<&str> = wrong.iter().take(8).map(String::as_str).collect();
                format!("{} connections differ: {}", wrong.len(), some.join(", "))
            }))
        })
        .await?;
        for (from, to) in pairs(&self.probers[..NAMESPACES.len() * PODS.len()]) {
            for port in step.ports.keys() {
                self.counted[usize::from(!step.connects(port, &from.name, &to.name))] += 1;
            }
        }
        Ok(())
    }

    /// Tries every connection between pods, and those of the signal; says which are not as expected.
    fn differences(&self, step: &Step) -> Outcome<Vec<String>> {
        let (pods, signal) = self.probers.split_at(NAMESPACES.len() * PODS.len());
        let mut tried = Vec::new();
        for (from, to) in pairs(pods) {
            for port in step.ports.keys() {
                tried.push((
                    from,
                    port.as_str(),
                    to,
                    step.connects(port, &from.name, &to.name),
                ));
            }
        }
        tried.extend(pairs(signal).map(|(from, to)| (from, "tcp/80", to, !self.shut)));
        for from in &self.probers {
            let own = tried.iter().filter(|(by, ..)| by.name == from.name);
            from.order(own.map(|(_, port, to, _)| format!("{port}/{}", to.address)))?;
        }
        // All are on their way by now.
        let mut wrong = Vec::new();
        for from in &self.probers {
            let own: Vec<_> = tried
                .iter()
                .filter(|(by, ..)| by.name == from.name)
                .collect();
            for ((_, port, to, expected), open) in own.iter().zip(from.answers(own.len())?) {
                if open != *expected {
                    let seen = if open { "open" } else { "shut" };
                    wrong.push(format!("{} to {} on {port} is {seen}", from.name, to.name));
                }
            }
        }
        Ok(wrong)
    }

    /// Leaves the policies of a step in force and no others.
    async fn set_policies(&mut self, step: &Step) -> Outcome {
        for name in self
            .policies
            .keys()
            .filter(|name| !step.policies.contains_key(*name))
        {
            let (api, name) = self.policy_api(name)?;
            api.delete(name, &DeleteParams::default())
                .await
                .during(format_args!("delete NetworkPolicy {name}"))?;
        }
        for (name, spec) in &step.policies {
            if self.policies.get(name) != Some(spec) {
                self.apply_policy(name, spec).await?;
            }
        }
        self.policies.clone_from(&step.policies);
        Ok(())
    }

    async fn apply_policy(&self, name: &str, spec: &Value) -> Outcome {
        let mut spec = spec.to_string();
        for prober in &self.probers {
            spec = spec.replace(&format!("ADDRESS_OF_{}", prober.name), &prober.address);
        }
        let spec: Value = serde_json::from_str(&spec)?;
        let (api, name) = self.policy_api(name)?;
        let object = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": { "name": name, "labels": { LABEL: "true" } }, "spec": spec,
        });
        apply(&api, name, &object).await
    }

    fn policy_api<'n>(&self, name: &'n str) -> Outcome<(Api<NetworkPolicy>, &'n str)> {
        let (namespace, name) = name
            .split_once('/')
            .ok_or_else(|| Failure::new(format!("{name} is not namespace/name")))?;
        Ok((
            Api::namespaced(self.cluster.client.clone(), namespace),
            name,
        ))
    }

    /// Gives pods and namespaces the labels of a step, and takes away those of the step before.
    async fn set_labels(&mut self, step: &Step) -> Outcome {
        let mut changes: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
        for (object, labels) in &self.labels {
            let gone = labels.keys().map(|key| (key.clone(), Value::Null));
            changes.entry(object).or_default().extend(gone);
        }
        for (object, labels) in &step.labels {
            let set = labels
                .iter()
                .map(|(key, value)| (key.clone(), json!(value)));
            changes.entry(object).or_default().extend(set);
        }
        for (object, labels) in changes {
            let patch = Patch::Merge(json!({ "metadata": { "labels": labels } }));
            let parameters = PatchParams::default();
            let client = self.cluster.client.clone();
            if let Some((namespace, pod)) = object.split_once('/') {
                let api = Api::<Pod>::namespaced(client, namespace);
                api.patch(pod, &parameters, &patch).await.map(|_| ())
            } else {
                let api = Api::<Namespace>::all(client);
                api.patch(object, &parameters, &patch).await.map(|_| ())
            }
            .during(format_args!("label {object}"))?;
        }
        self.labels.clone_from(&step.labels);
        Ok(())
    }
}

/// Each of them with each other.
fn pairs(probers: &[Prober]) -> impl Iterator<Item = (&Prober, &Prober)> {
    let all = probers
        .iter()
        .flat_map(|from| probers.iter().map(move |to| (from, to)));
    all.filter(|(from, to)| from.name != to.name)
}

/// A pod that only lasts, on the nodes of a location, with the ports that the cases name.
async fn pod(cluster: &Cluster, name: &str, location: &str) -> Outcome<Pod> {
    let (namespace, name) = name.split_once('/').unwrap_or_default();
    let ports: Vec<Value> = ["TCP", "UDP", "SCTP"]
        .into_iter()
        .flat_map(|protocol| [80, 81].map(|port| (protocol, port)))
        .map(|(protocol, port)| {
            let name = format!("serve-{port}-{}", protocol.to_lowercase());
            json!({ "name": name, "protocol": protocol, "containerPort": port })
        })
        .collect();
    let object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { LABEL: "true", "pod": name } },
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 0,
            "nodeSelector": { "topology.kubernetes.io/region": location },
            "securityContext": { "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [{
                "name": "pod", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "ports": ports,
                "resources": { "requests": { "cpu": "1m", "memory": "8Mi" }, "limits": { "memory": "32Mi" } },
                "securityContext": { "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    "capabilities": { "drop": ["ALL"] } },
            }],
        },
    });
    let object: Pod = serde_json::from_value(object)?;
    let api = Api::<Pod>::namespaced(cluster.client.clone(), namespace);
    let (api, object) = (&api, &object);
    until(&format!("pod {namespace}/{name}"), MADE, || async move {
        let Some(found) = api.get_opt(name).await? else {
            // Refused until the namespace has its service account.
            api.create(&PostParams::default(), object).await?;
            return Ok(Look::NotYet("it has just been made".to_owned()));
        };
        let status = found.status.as_ref();
        let ready = status
            .and_then(|status| status.phase.as_deref())
            .is_some_and(|phase| phase == "Running");
        Ok(
            if ready && status.is_some_and(|status| status.pod_ip.is_some()) {
                Look::Seen(found)
            } else {
                Look::NotYet("it does not run".to_owned())
            },
        )
    })
    .await
}
