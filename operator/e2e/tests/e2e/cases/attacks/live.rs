//! What the API server lets in: it is noticed in time, undone by the operator or not accepted by it, and told of. I/O: the
//! API server as the adversary, a client pod, and everything put back.

use std::time::{Duration, Instant};

use bailiwick_api::region::{ChannelState, Region};
use futures::TryStreamExt;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use kube::ResourceExt;
use kube::api::{
    Api, DeleteParams, DynamicObject, ListParams, LogParams, Patch, PatchParams, PostParams,
    WatchEvent, WatchParams,
};
use serde_json::{Value, json};

use super::namespace::{NAME, WHO};
use super::{region, store, with};
use crate::cases::components::access::BUCKET;
use crate::cases::residency::controls::{found, rows};
use crate::client::{self, LABEL, MANAGER, Script, Stand};
use crate::cluster::{Cluster, Place, condition, documents, kind, repository};
use crate::failure::{Failure, Outcome, While, ensure};
use crate::request::{Answer, Ask, Who};
use crate::wait::{Look, seen_if, until};

/// How soon what got in must be noticed.
pub const NOTICED: Duration = Duration::from_secs(30);
/// How soon it must be undone.
pub const UNDONE: Duration = Duration::from_mins(1);
/// How long a script may take.
const LIMIT: Duration = Duration::from_mins(1);

/// The Secret with the store's root key in the client's namespace.
const ROOT: &str = "e2e-root";
/// The policy that loses its binding.
const POLICY: &str = "bailiwick-services";
/// A Region that is not accepted: its name, jurisdiction and location, and the field that is named.
const ELSEWHERE: [&str; 4] = ["e2e-elsewhere", "US", "us-nyc-1", "spec.residency.location"];

/// What is said of a client's namespace that is not the Region's.
const STRANGER: &str = "has no label bailiwick.dev/region=";

/// What gets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intrusion {
    /// Everybody may read a bucket, by the root key.
    PublicBucket,
    /// The primary's Service selects something else.
    Service,
    /// Patroni's settings, behind the operator's back.
    Patroni,
    /// An admission policy has no binding.
    Unbound,
    /// Namespaces that are not the Region's clients are let in by its spec.
    Client,
    /// A Region of a place that is not served here.
    Elsewhere,
}

/// What was seen to come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// The operator undid it, and told of it.
    Undone,
    /// The operator did nothing with it, and said so.
    NotAccepted,
    /// The operator said so; the case itself undid it, as whoever applies Git does.
    Noticed,
}

/// Lets it in, waits for what comes of it, and says how long that took.
pub async fn run(
    cluster: &Cluster,
    victim: &Place,
    intrusion: Intrusion,
) -> Outcome<(Came, String)> {
    match intrusion {
        Intrusion::PublicBucket => public_bucket(cluster, victim).await,
        Intrusion::Service => service(cluster, victim).await,
        Intrusion::Patroni => patroni(cluster, victim).await,
        Intrusion::Unbound => unbound(cluster, victim).await,
        Intrusion::Client => strange_client(cluster, victim).await,
        Intrusion::Elsewhere => not_accepted(cluster, victim, ELSEWHERE).await,
    }
}

/// Waits for a state of the Region in which the look finds something, among all that were written since a version: what is
/// undone at once would be missed by looking now and then.
async fn noticed<T>(
    cluster: &Cluster,
    since: &Region,
    what: &str,
    look: impl Fn(&Region) -> Option<T>,
) -> Outcome<T> {
    let name = since.name_any();
    let parameters = WatchParams::default().fields(&format!("metadata.name={name}"));
    let version = since.resource_version().unwrap_or_default();
    let watch = async {
        let mut events = std::pin::pin!(cluster.regions().watch(&parameters, &version).await?);
        while let Some(event) = events.try_next().await? {
            if let WatchEvent::Added(region) | WatchEvent::Modified(region) = event
                && let Some(seen) = look(&region)
            {
                return Ok(seen);
            }
        }
        Err(Failure::new(format!("the watch of Region {name} ended")))
    };
    tokio::time::timeout(NOTICED, watch).await.map_err(|_| {
        Failure::new(format!(
            "{what} was not said within {} s",
            NOTICED.as_secs()
        ))
    })?
}

/// What the operator has logged since a moment.
async fn logged(cluster: &Cluster, since: Instant) -> Outcome<String> {
    let pods = Api::<Pod>::namespaced(
        cluster.client.clone(),
        bailiwick_model::names::OPERATOR_NAMESPACE,
    );
    let parameters = LogParams {
        since_seconds: i64::try_from(since.elapsed().as_secs() + 1).ok(),
        ..LogParams::default()
    };
    let mut text = String::new();
    for pod in pods.list(&ListParams::default()).await? {
        text.push_str(
            &pods
                .logs(&pod.name_any(), &parameters)
                .await
                .unwrap_or_default(),
        );
    }
    Ok(text)
}

/// Fails unless the operator has told of what it put right.
async fn told_of(cluster: &Cluster, since: Instant, words: &str, undone: f64) -> Outcome {
    let what = format!("{words} to be told of, which was put right after {undone:.1} s");
    until(&what, Duration::from_secs(5), || async {
        let log = logged(cluster, since).await?;
        let told = log.lines().any(|line| {
            line.contains(words) && line.contains("by somebody else and was put right")
        });
        Ok(seen_if(told, || {
            log.lines().last().unwrap_or_default().to_owned()
        }))
    })
    .await
}

/// Reads an object as the editor of the namespace, who may.
async fn read<K: serde::de::DeserializeOwned>(cluster: &Cluster, path: String) -> Outcome<K> {
    match Ask::get(path.clone()).send(&cluster.client, WHO).await? {
        Answer::Taken(text) => Ok(serde_json::from_str(&text)?),
        Answer::Refused(code, message) => {
            Err(Failure::new(format!("read {path}: {code} {message}")))
        }
    }
}

/// Changes an object as the editor of the namespace, in earnest.
async fn change(cluster: &Cluster, path: &str, edit: Value) -> Outcome {
    let ask = Ask::merge(format!("{path}?fieldManager={NAME}"), edit);
    match ask.send(&cluster.client, WHO).await? {
        Answer::Taken(_) => Ok(()),
        Answer::Refused(code, message) => Err(Failure::new(format!(
            "it was refused, expected it to get in: {code} {message}"
        ))),
    }
}

async fn public_bucket(cluster: &Cluster, victim: &Place) -> Outcome<(Came, String)> {
    let namespace = victim.names.namespace();
    let secret = |name: String| format!("/api/v1/namespaces/{namespace}/secrets/{name}");
    let root: Secret = read(cluster, secret(victim.names.object_store_root())).await?;
    let user: Secret = read(cluster, secret(victim.names.object_store_user(BUCKET))).await?;
    let mut data = user.data.unwrap_or_default();
    data.extend(root.data.unwrap_or_default());
    let stand = Stand::allowed(victim);
    let object = json!({ "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": ROOT, "labels": { LABEL: "true" } }, "data": data });
    Api::<Secret>::namespaced(cluster.client.clone(), &stand.namespace)
        .patch(
            ROOT,
            &PatchParams::apply(MANAGER).force(),
            &Patch::Apply(&object),
        )
        .await
        .during("keep the store's root key")?;
    let ask = |attempts: Value| {
        let stand = stand.clone();
        async move {
            let script = Script {
                name: "attack_store",
                told: json!({ "user": ROOT, "attempts": attempts }),
                secrets: vec![ROOT.to_owned()],
            };
            let found = client::run(cluster, &stand, &script, LIMIT).await?;
            Ok::<Vec<Option<String>>, Failure>(serde_json::from_value(found)?)
        }
    };
    let policy = json!({ "method": "PUT", "path": "/documents", "query": "policy=", "body": store::public("documents") });
    let before = cluster.regions().get(&victim.region).await?;
    let started = Instant::now();
    let let_in = ask(json!([policy])).await?;
    ensure(let_in == [None], || {
        format!("the root key was refused: {let_in:?}")
    })?;
    let opened = started.elapsed();
    noticed(cluster, &before, "row 21", |region| {
        found(region, "bucket documents has the policy")
            .contains("21")
            .then_some(())
    })
    .await?;
    let seen = started.elapsed();
    // As whoever has the root key, which is asked again and again until the policy is gone.
    until("the bucket's policy to be gone", UNDONE, || async {
        let answers = ask(json!([{ "path": "/documents", "query": "policy=" }])).await?;
        Ok(match &answers[..] {
            [Some(answer)] if answer.contains("NoSuchBucketPolicy") => Look::Seen(()),
            other => Look::NotYet(format!("{other:?}")),
        })
    })
    .await?;
    cluster
        .region_until(&victim.region, "row 21 to be closed", UNDONE, |region| {
            seen_if(found(region, "").is_empty(), || {
                format!("{:?}", found(region, ""))
            })
        })
        .await?;
    let told = format!(
        "opened after {:.1} s, in row 21 after {:.1} s, closed and seen to be after {:.1} s",
        opened.as_secs_f64(),
        seen.as_secs_f64(),
        started.elapsed().as_secs_f64()
    );
    Ok((Came::Undone, told))
}

async fn service(cluster: &Cluster, victim: &Place) -> Outcome<(Came, String)> {
    let name = victim.names.postgres_rw();
    let api = Api::<Service>::namespaced(cluster.client.clone(), &victim.names.namespace());
    let selector = |service: Service| service.spec.and_then(|spec| spec.selector);
    let before = selector(api.get(&name).await?);
    let path = format!(
        "/api/v1/namespaces/{}/services/{name}",
        victim.names.namespace()
    );
    let started = Instant::now();
    change(
        cluster,
        &path,
        json!({ "spec": { "selector": { "app": NAME } } }),
    )
    .await?;
    until("the selector to be as before", UNDONE, || async {
        let now = selector(api.get(&name).await?);
        Ok(seen_if(now == before, || format!("{now:?}")))
    })
    .await?;
    let undone = started.elapsed().as_secs_f64();
    told_of(cluster, started, &name, undone).await?;
    let told = format!("undone and told of after {undone:.1} s");
    Ok((Came::Undone, told))
}

async fn patroni(cluster: &Cluster, victim: &Place) -> Outcome<(Came, String)> {
    let name = format!("{}-config", victim.names.postgres());
    let path = format!(
        "/api/v1/namespaces/{}/configmaps/{name}",
        victim.names.namespace()
    );
    let settings = |map: &ConfigMap| -> Outcome<Value> {
        Ok(serde_json::from_str(
            map.annotations().get("config").map_or("", String::as_str),
        )?)
    };
    let setting = |settings: &Value| settings["postgresql"]["parameters"]["log_duration"].clone();
    let before: ConfigMap = read(cluster, path.clone()).await?;
    let wanted = settings(&before)?;
    let told = with(
        wanted.clone(),
        json!({ "postgresql": { "parameters": { "log_duration": "on" } } }),
    );
    let started = Instant::now();
    change(
        cluster,
        &path,
        json!({ "metadata": { "annotations": { "config": told.to_string() } } }),
    )
    .await?;
    until("Patroni's settings to be as before", UNDONE, || async {
        let now: ConfigMap = read(cluster, path.clone()).await?;
        let now = setting(&settings(&now)?);
        Ok(seen_if(now == setting(&wanted), || now.to_string()))
    })
    .await?;
    let undone = started.elapsed().as_secs_f64();
    told_of(cluster, started, "\"system\":\"patroni\"", undone).await?;
    // Row 30 may have seen it in force, if Patroni was faster than the operator.
    cluster
        .region_until(&victim.region, "no row to be open", UNDONE, |region| {
            seen_if(found(region, "").is_empty(), || {
                format!("{:?}", found(region, ""))
            })
        })
        .await?;
    let told = format!("undone and told of after {undone:.1} s");
    Ok((Came::Undone, told))
}

/// The binding as it is shipped.
fn binding() -> Outcome<ValidatingAdmissionPolicyBinding> {
    let path = repository().join("platform/policies/services.yaml");
    let text = std::fs::read_to_string(&path).during(path.display())?;
    let document = documents(&text)?
        .into_iter()
        .find(|document| {
            kind(document) == "ValidatingAdmissionPolicyBinding" && document.name_any() == POLICY
        })
        .ok_or_else(|| Failure::new(format!("{} has no binding of {POLICY}", path.display())))?;
    Ok(serde_json::from_value(serde_json::to_value(document)?)?)
}

async fn unbound(cluster: &Cluster, victim: &Place) -> Outcome<(Came, String)> {
    let api = Api::<ValidatingAdmissionPolicyBinding>::all(cluster.client.clone());
    let before = cluster.regions().get(&victim.region).await?;
    api.delete(POLICY, &DeleteParams::default())
        .await
        .during(format_args!("remove the binding of {POLICY}"))?;
    let started = Instant::now();
    let seen = noticed(cluster, &before, "row 5", |region| {
        let denied = condition(region, "ResidencyEnforced");
        (found(region, POLICY).contains("5")
            && denied == Some(("False".to_owned(), "ChannelOpen".to_owned())))
        .then_some(())
    })
    .await;
    let seconds = started.elapsed().as_secs_f64();
    // Whatever was noticed, it is bound again, as whoever applies Git does.
    api.create(&PostParams::default(), &binding()?)
        .await
        .during(format_args!("bind {POLICY} again"))?;
    seen?;
    Ok((Came::Noticed, format!("in row 5 after {seconds:.1} s")))
}

/// The clients of a Region's file.
fn clients(place: &Place) -> Outcome<Value> {
    Ok(place.document()?.data["spec"]["network"]["clients"].clone())
}

async fn set_clients(cluster: &Cluster, place: &Place, who: Who, clients: &Value) -> Outcome {
    let path = format!("/apis/bailiwick.dev/v1alpha1/regions/{}", place.region);
    let ask = Ask::merge(
        path,
        json!({ "spec": { "network": { "clients": clients } } }),
    );
    match ask.send(&cluster.client, who).await? {
        Answer::Taken(_) => Ok(()),
        Answer::Refused(code, message) => Err(Failure::new(format!(
            "the clients were refused, expected them to get in: {code} {message}"
        ))),
    }
}

async fn strange_client(cluster: &Cluster, victim: &Place) -> Outcome<(Came, String)> {
    let own = clients(victim)?;
    let mut all = own.clone();
    if let Some(all) = all.as_array_mut() {
        all.push(json!({ "name": NAME, "namespaceSelector": { "matchLabels": { LABEL: "true" } }, "to": ["Postgres"] }));
    }
    let before = cluster.regions().get(&victim.region).await?;
    let started = Instant::now();
    set_clients(cluster, victim, region::WHO, &all).await?;
    let seen = noticed(cluster, &before, "row 2", |region| {
        let told = rows(region).any(|row| {
            let words = format!(
                "{} {}",
                row.evidence,
                row.finding.as_deref().unwrap_or_default()
            );
            row.id == "2" && row.state == ChannelState::Unknown && words.contains(STRANGER)
        });
        let enforced = condition(region, "ResidencyEnforced");
        (told && enforced.is_some_and(|(status, _)| status != "True")).then_some(())
    })
    .await;
    let seconds = started.elapsed().as_secs_f64();
    // Whatever was noticed, the spec is again what Git says.
    set_clients(cluster, victim, Who::Own, &own).await?;
    seen?;
    cluster.settled(&victim.region, UNDONE).await?;
    Ok((Came::Noticed, format!("in row 2 after {seconds:.1} s")))
}

async fn not_accepted(
    cluster: &Cluster,
    victim: &Place,
    what: [&str; 4],
) -> Outcome<(Came, String)> {
    let [name, jurisdiction, location, field] = what;
    let class = format!("{location}-local");
    let region: DynamicObject = serde_json::from_value(with(
        serde_json::to_value(victim.document()?)?,
        json!({
            "metadata": { "name": name, "labels": { LABEL: "true" }, "annotations": null },
            "spec": {
                "residency": { "jurisdiction": jurisdiction, "location": location },
                "network": null,
                "postgres": { "storage": { "data": { "storageClass": class } } },
                "objectStore": { "volume": { "storageClass": class } },
                "lifecycle": { "deletionProtection": false },
            },
        }),
    ))?;
    let started = Instant::now();
    cluster.apply(&[region]).await?;
    let refused = cluster
        .region_until(name, "Accepted=False", NOTICED, |region| {
            let message = region
                .status
                .iter()
                .flat_map(|status| &status.conditions)
                .find(|condition| condition.type_ == "Accepted")
                .map_or("", |condition| condition.message.as_str());
            match condition(region, "Accepted") {
                Some((status, _)) if status == "False" && message.contains(field) => Look::Seen(()),
                other => Look::NotYet(format!("{other:?} {message}")),
            }
        })
        .await;
    let seconds = started.elapsed().as_secs_f64();
    remove_region(cluster, name).await?;
    refused?;
    let told = format!("not accepted at {field} after {seconds:.1} s");
    Ok((Came::NotAccepted, told))
}

async fn remove_region(cluster: &Cluster, name: &str) -> Outcome {
    let api = cluster.regions();
    let Some(found) = api.get_metadata_opt(name).await? else {
        return Ok(());
    };
    // A Region of that name that is not the suite's is nobody's to remove.
    ensure(found.labels().contains_key(LABEL), || {
        format!("there is a Region {name}, and it is not the suite's")
    })?;
    api.delete(name, &DeleteParams::default())
        .await
        .during(format_args!("remove Region {name}"))?;
    until(&format!("Region {name} to go"), UNDONE, || async {
        let left = api.get_metadata_opt(name).await?.is_some();
        Ok(seen_if(!left, || "it is there".to_owned()))
    })
    .await
}

/// Takes away what an earlier run left.
pub async fn remove(cluster: &Cluster) -> Outcome {
    remove_region(cluster, ELSEWHERE[0]).await?;
    for place in &cluster.places {
        let live = serde_json::to_value(cluster.regions().get(&place.region).await?)?;
        if live["spec"]["network"].to_string().contains(NAME) {
            set_clients(cluster, place, Who::Own, &clients(place)?).await?;
        }
    }
    let bindings = Api::<ValidatingAdmissionPolicyBinding>::all(cluster.client.clone());
    if bindings.get_metadata_opt(POLICY).await?.is_none() {
        bindings
            .create(&PostParams::default(), &binding()?)
            .await
            .during(format_args!("bind {POLICY} again"))?;
    }
    for place in &cluster.places {
        let secrets =
            Api::<Secret>::namespaced(cluster.client.clone(), &Stand::allowed(place).namespace);
        if secrets.get_metadata_opt(ROOT).await?.is_some() {
            secrets.delete(ROOT, &DeleteParams::default()).await?;
        }
    }
    Ok(())
}
