//! What scenes and probes work with: the Region that is broken, its neighbour, writes as somebody with every right, and
//! commands in a pod. I/O: the API server, kubectl.

use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Place, condition, kubeconfig};
use crate::failure::{Failure, Outcome, While};
use crate::wait::{seen_if, until};

/// The prefix of everything that is made here.
pub const PREFIX: &str = "e2e-channel";

/// What a probe came to.
pub enum Tried {
    /// It got out; how, in a few words.
    Out(String),
    /// It did not; what held it, in a few words.
    Held(String),
}

/// The Region that is broken, and the one beside it.
pub struct Bench<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The Region whose controls are taken away.
    pub place: &'a Place,
    /// The other one.
    pub other: &'a Place,
}

/// An object to write, and where it belongs.
pub struct Written {
    /// Its kind, as the API server calls it: group, version, kind, plural.
    pub kind: (&'static str, &'static str, &'static str, &'static str),
    /// Its namespace; none for what has none.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The rest of it.
    pub body: Value,
}

impl Written {
    fn resource(&self) -> ApiResource {
        let (group, version, kind, plural) = self.kind;
        ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: if group.is_empty() {
                version.to_owned()
            } else {
                format!("{group}/{version}")
            },
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        }
    }

    fn api(&self, client: &Client) -> Api<DynamicObject> {
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &self.resource()),
            None => Api::all_with(client.clone(), &self.resource()),
        }
    }

    /// Writes it as somebody with every right.
    pub async fn attempt(&self, cluster: &Cluster) -> Outcome<Tried> {
        self.attempt_by(&cluster.client).await
    }

    async fn attempt_by(&self, client: &Client) -> Outcome<Tried> {
        let resource = self.resource();
        let mut object = self.body.clone();
        object["apiVersion"] = json!(resource.api_version);
        object["kind"] = json!(resource.kind);
        object["metadata"]["name"] = json!(self.name);
        let object: DynamicObject = serde_json::from_value(object)?;
        let answer = self
            .api(client)
            .create(&PostParams::default(), &object)
            .await
            .map(drop);
        judged(answer, &format!("{} is taken", resource.kind))
    }

    /// Whether it is there.
    pub async fn is_there(&self, cluster: &Cluster) -> Outcome<bool> {
        let found = self
            .api(&cluster.client)
            .get_metadata_opt(&self.name)
            .await?;
        Ok(found.is_some())
    }

    /// Its status; null when it has none.
    pub async fn status(&self, cluster: &Cluster) -> Outcome<Value> {
        let object = self.api(&cluster.client).get(&self.name).await?;
        Ok(object.data["status"].clone())
    }

    /// Takes it away, if it is there.
    pub async fn gone(&self, cluster: &Cluster) -> Outcome {
        self.gone_by(&cluster.client).await
    }

    /// The same with the operator's stolen token, where a policy lets nobody else.
    pub async fn gone_as_operator(&self, cluster: &Cluster) -> Outcome {
        self.gone_by(&cluster.as_operator).await
    }

    async fn gone_by(&self, client: &Client) -> Outcome {
        let parameters = DeleteParams::default().grace_period(0);
        match self.api(client).delete(&self.name, &parameters).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(error).during(format_args!("remove {}", self.name)),
        }
    }
}

/// What the API server's answer to a probe means. A refusal counts only when it is one by a control.
pub fn judged(answer: kube::Result<()>, taken: &str) -> Outcome<Tried> {
    match answer {
        Ok(()) => Ok(Tried::Out(taken.to_owned())),
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            Ok(Tried::Out(taken.to_owned()))
        }
        Err(kube::Error::Api(status)) => {
            let message = &status.message;
            let policy = message
                .split('\'')
                .find(|word| word.starts_with("bailiwick-") && !word.contains(' '));
            if let Some(policy) = policy {
                Ok(Tried::Held(policy.to_owned()))
            } else if message.contains("violates PodSecurity") {
                Ok(Tried::Held("Pod Security".to_owned()))
            } else if status.code == 404 {
                Ok(Tried::Held("nothing serves it".to_owned()))
            } else if status.is_forbidden() && message.contains("cannot") {
                Ok(Tried::Held("RBAC".to_owned()))
            } else {
                Err(Failure::new(message.clone()))
            }
        }
        Err(error) => Err(error.into()),
    }
}

impl<'a> Bench<'a> {
    /// The bench of a cluster.
    pub fn new(cluster: &'a Cluster) -> Outcome<Self> {
        Ok(Self {
            cluster,
            place: cluster.place("tr")?,
            other: cluster.place("es")?,
        })
    }

    /// The Region's namespace.
    pub fn namespace(&self) -> String {
        self.place.names.namespace()
    }

    /// The bindings of admission policies, by their names without prefix, are taken away.
    pub async fn unbind(&self, policies: &[&str]) -> Outcome {
        let api = Api::<ValidatingAdmissionPolicyBinding>::all(self.cluster.client.clone());
        for policy in policies {
            let name = format!("bailiwick-{policy}");
            api.delete(&name, &DeleteParams::default())
                .await
                .during(format_args!("remove the binding of {name}"))?;
        }
        Ok(())
    }

    /// A merge patch of an object as somebody with every right.
    pub async fn patch(&self, object: &Written, patch: &Value) -> kube::Result<()> {
        object
            .api(&self.cluster.client)
            .patch(&object.name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map(drop)
    }

    /// Writes objects once what keeps them off is gone.
    pub async fn write(&self, objects: &[Written]) -> Outcome {
        for object in objects {
            until(&object.name, super::HEEDED, || async {
                let tried = object.attempt_by(&self.cluster.break_glass).await?;
                Ok(seen_if(matches!(tried, Tried::Out(_)), || {
                    "it is refused".to_owned()
                }))
            })
            .await?;
        }
        Ok(())
    }

    /// Has the operator look at the Region, as any change of its annotations does.
    pub async fn wake(&self) -> Outcome {
        self.annotate(&json!(jiff::Timestamp::now().to_string()))
            .await
    }

    /// Takes away what woke it.
    pub async fn let_sleep(&self) -> Outcome {
        self.annotate(&Value::Null).await
    }

    async fn annotate(&self, value: &Value) -> Outcome {
        let patch = json!({ "metadata": { "annotations": { crate::client::LABEL: value } } });
        self.cluster
            .regions()
            .patch(
                &self.place.region,
                &PatchParams::default(),
                &Patch::Merge(patch),
            )
            .await
            .during("annotate the Region")?;
        Ok(())
    }

    /// The Region stands still, or goes on: what is broken behind it stays so, and is judged all the same.
    pub async fn pause(&self, paused: bool) -> Outcome {
        let patch = json!({ "spec": { "lifecycle": { "paused": paused } } });
        self.cluster
            .regions()
            .patch(
                &self.place.region,
                &PatchParams::default(),
                &Patch::Merge(patch),
            )
            .await
            .during("pause the Region")?;
        // A look that began before would still repair what is broken now.
        let wanted = if paused { "True" } else { "False" };
        self.cluster
            .region_until(&self.place.region, "Paused", super::HEEDED, |region| {
                let found = condition(region, "Paused");
                seen_if(
                    found.as_ref().is_some_and(|(status, _)| status == wanted),
                    || format!("{found:?}"),
                )
            })
            .await
    }
}

/// Runs a command in a container by kubectl, as somebody with every right who has broken the glass, or has not.
pub async fn exec(
    pod: &str,
    namespace: &str,
    container: &str,
    glass_broken: bool,
    command: &[&str],
) -> Outcome<Result<String, String>> {
    let mut kubectl = Command::new("kubectl");
    kubectl.arg("--kubeconfig").arg(kubeconfig());
    kubectl.args(["--as", "e2e", "--as-group", "system:masters"]);
    if glass_broken {
        kubectl.args(["--as-group", "bailiwick:break-glass"]);
    }
    kubectl.args([
        "--request-timeout",
        "20s",
        "-n",
        namespace,
        "exec",
        pod,
        "-c",
        container,
        "--",
    ]);
    kubectl.args(command);
    let running = tokio::task::spawn_blocking(move || kubectl.output());
    let answer = tokio::time::timeout(Duration::from_secs(25), running)
        .await
        .during("kubectl exec")???;
    Ok(if answer.status.success() {
        Ok(String::from_utf8_lossy(&answer.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&answer.stderr).trim().to_owned())
    })
}
