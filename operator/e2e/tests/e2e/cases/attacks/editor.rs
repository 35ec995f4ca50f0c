//! What the editor of a Region can widen: nothing. Each row of docs/explanation/editor-of-a-region.md that an edit can try is
//! tried on `tr` by somebody who may write Regions and nothing else: the API server refuses it, or the operator does and
//! opens nothing. I/O: the API server as that person, a client pod; each edit is taken back.
#![allow(clippy::too_many_lines, reason = "a table is read from top to bottom")]

mod edits;

use std::time::{Duration, Instant};

use bailiwick_api::region::Region;
use bailiwick_model::names::LABEL_REGION;
use bailiwick_model::ways;
use edits::{CLIENTS, DATABASES, EXTERNAL, ROLES, edit, exception, not_accepted, refused};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::{Value, json};

use super::region;
use crate::cases::components::access::{self, Target};
use crate::cases::residency::controls::{self, APPROVER};
use crate::client::Stand;
use crate::cluster::{Cluster, Place, condition};
use crate::failure::{Failure, Outcome, While, ensure};
use crate::request::{Answer, Ask, Who};
use crate::wait::{Look, seen_if, until};

/// The Region that is edited.
const REGION: &str = "tr";
const PATH: &str = "/apis/bailiwick.dev/v1alpha1/regions/tr";
/// How soon the operator must say what it does not take.
const NOTICED: Duration = Duration::from_secs(30);
/// How long the Region may take to be settled again.
const SETTLED: Duration = Duration::from_mins(2);
/// How many edits there are at least that the API server refuses, and that the operator does.
const LEAST: [usize; 2] = [25, 11];

/// An edit: the field that it sets, and to what.
struct Edit {
    name: &'static str,
    /// The path of the field below `spec`.
    field: &'static [&'static str],
    value: Value,
    /// What the refusal must say: one for another reason shows nothing.
    words: &'static str,
}

impl Edit {
    /// A merge patch that sets the field.
    fn patch(&self, value: &Value) -> Value {
        let edit = self
            .field
            .iter()
            .rev()
            .fold(value.clone(), |inner, field| json!({ (*field): inner }));
        json!({ "spec": edit })
    }

    /// What the Region's file says of the field; null when it says nothing.
    fn in_file(&self, place: &Place) -> Outcome<Value> {
        let pointer = format!("/spec/{}", self.field.join("/"));
        Ok(place
            .document()?
            .data
            .pointer(&pointer)
            .cloned()
            .unwrap_or(Value::Null))
    }
}

/// Tries all of it.
pub async fn cannot_widen(cluster: &Cluster) -> Outcome<String> {
    let place = cluster.place(REGION)?;
    cluster.settled(REGION, SETTLED).await?;
    region::grant(cluster).await?;
    let outcome = attempt(cluster, place).await;
    // Whatever came of it, the editor's rights go and the spec is again what the file says.
    let restored = restore(cluster, place).await;
    let revoked = region::revoke(cluster).await;
    let measured = outcome?;
    restored?;
    revoked?;
    made_anew(cluster, place).await?;
    cluster.settled(REGION, SETTLED).await?;
    Ok(measured)
}

/// A client that was let in to the object store for a moment may hold connections to it: channel 2 says so until its pods are
/// made anew, as somebody does whom the runbook tells.
async fn made_anew(cluster: &Cluster, place: &Place) -> Outcome {
    let (namespace, set) = (place.names.namespace(), place.names.object_store());
    let told = |region: &Region| {
        controls::rows(region)
            .any(|row| row.id == "2" && row.evidence.contains("connections of before"))
    };
    // Of this spec: an edit of before may have been told of, and the way was opened and shut anew since.
    let is_of_this = |region: &Region| {
        let status = region.status.as_ref();
        status.and_then(|it| it.observed_generation) == region.metadata.generation
    };
    cluster
        .region_until(REGION, "row 2 to tell of connections", NOTICED, |region| {
            seen_if(is_of_this(region) && told(region), || {
                "it does not".to_owned()
            })
        })
        .await?;
    // A pod that is made before that may be connected to anew, and does not count.
    let now = cluster.regions().get(REGION).await?;
    let ways = now.status.and_then(|it| it.residency?.ways);
    let shut = ways.iter().flat_map(|ways| &ways.shut);
    let closed = shut.map(|it| ways::closed_at(it.since));
    if let Some(closed) = closed.max() {
        let left = closed.duration_since(Timestamp::now());
        tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await;
    }
    let api = Api::<Pod>::namespaced(cluster.client.clone(), &namespace);
    for pod in cluster.pods(&namespace).await? {
        let name = pod.name_any();
        if !name.starts_with(&format!("{set}-")) {
            continue;
        }
        let before = pod.uid();
        api.delete(&name, &DeleteParams::default())
            .await
            .during(format_args!("delete pod {name}"))?;
        until(&format!("pod {name} made anew"), SETTLED, || async {
            let now = api.get_opt(&name).await?;
            let ready = now.is_some_and(|pod| pod.uid() != before && is_ready(&pod));
            Ok(seen_if(ready, || "it is not ready".to_owned()))
        })
        .await?;
    }
    cluster
        .region_until(REGION, "row 2 to tell of none", SETTLED, |region| {
            seen_if(!told(region), || "it does".to_owned())
        })
        .await
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|it| it.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

async fn attempt(cluster: &Cluster, place: &Place) -> Outcome<String> {
    let (by_admission, by_plan) = (refused(), not_accepted());
    ensure(
        by_admission.len() >= LEAST[0] && by_plan.len() >= LEAST[1],
        || "the table has lost rows".to_owned(),
    )?;
    may_edit(cluster).await?;
    for row in &by_admission {
        match Ask::merge(PATH, row.patch(&row.value))
            .dry(&cluster.client, region::WHO)
            .await?
        {
            Answer::Refused(_, message) if message.contains(row.words) => {}
            other => {
                return Err(Failure::new(format!(
                    "{}: {other:?}, expected a refusal that says {:?}",
                    row.name, row.words
                )));
            }
        }
    }
    in_anothers_name(cluster).await?;
    let mut slowest = Duration::ZERO;
    for row in &by_plan {
        let started = Instant::now();
        taken(cluster, row.name, &row.patch(&row.value)).await?;
        let seen = refused_by_operator(cluster, row).await;
        slowest = slowest.max(started.elapsed());
        let opened = opened(cluster, place).await;
        taken(cluster, row.name, &row.patch(&row.in_file(place)?)).await?;
        seen?;
        opened?;
    }
    accepted(cluster).await?;
    let strangers = every_namespace(cluster, place).await?;
    Ok(format!(
        "{} edits refused by the API server, {} by the operator (the slowest after {:.1} s), {strangers} connections of \
         namespaces that are not the Region's",
        by_admission.len() + 1,
        by_plan.len(),
        slowest.as_secs_f64()
    ))
}

/// Waits until the API server knows the editor's rights: what it refuses for want of them shows nothing.
async fn may_edit(cluster: &Cluster) -> Outcome {
    until("the editor's rights", NOTICED, || async {
        let nothing = Ask::merge(PATH, json!({ "spec": {} }));
        Ok(match nothing.dry(&cluster.client, region::WHO).await? {
            Answer::Taken(_) => Look::Seen(()),
            Answer::Refused(_, message) => Look::NotYet(message),
        })
    })
    .await
}

/// An approver answers under its own name alone.
async fn in_anothers_name(cluster: &Cluster) -> Outcome {
    let patch =
        json!({ "spec": { "residency": { "exceptions": exception("45", region::PERSON) } } });
    let answer = Ask::merge(PATH, patch)
        .dry(
            &cluster.client,
            crate::cases::residency::controls::approver(),
        )
        .await?;
    let right = matches!(&answer, Answer::Refused(_, message)
        if message.contains(&format!("set its approvedBy to {APPROVER}")));
    ensure(right, || {
        format!("an exception in another's name: {answer:?}")
    })
}

/// Writes an edit as the editor.
async fn taken(cluster: &Cluster, name: &str, patch: &Value) -> Outcome {
    match Ask::merge(PATH, patch.clone())
        .send(&cluster.client, region::WHO)
        .await?
    {
        Answer::Taken(_) => Ok(()),
        Answer::Refused(code, message) => Err(Failure::new(format!(
            "{name}: is for the operator to refuse, and the API server did: {code} {message}"
        ))),
    }
}

async fn refused_by_operator(cluster: &Cluster, row: &Edit) -> Outcome {
    cluster
        .region_until(REGION, row.name, NOTICED, |region| {
            let message = region
                .status
                .iter()
                .flat_map(|status| &status.conditions)
                .find(|condition| condition.type_ == "Accepted")
                .map_or("", |condition| condition.message.as_str());
            match condition(region, "Accepted") {
                Some((status, _)) if status == "False" && message.contains(row.words) => {
                    Look::Seen(())
                }
                other => Look::NotYet(format!("{other:?} {message}")),
            }
        })
        .await
}

async fn accepted(cluster: &Cluster) -> Outcome {
    cluster
        .region_until(REGION, "Accepted=True", NOTICED, |region| {
            match condition(region, "Accepted") {
                Some((status, _)) if status == "True" => Look::Seen(()),
                other => Look::NotYet(format!("{other:?}")),
            }
        })
        .await
}

async fn policies(cluster: &Cluster, place: &Place) -> Outcome<Vec<NetworkPolicy>> {
    let api = Api::<NetworkPolicy>::namespaced(cluster.client.clone(), &place.names.namespace());
    let listed = api.list(&ListParams::default()).await;
    Ok(listed.during("list the NetworkPolicies")?.items)
}

/// No policy leads to an address that is not one of the API server's.
async fn opened(cluster: &Cluster, place: &Place) -> Outcome {
    for policy in policies(cluster, place).await? {
        let text = serde_json::to_string(&policy)?;
        let name = policy.metadata.name.unwrap_or_default();
        ensure(name != "external" && !text.contains("198.51."), || {
            format!("NetworkPolicy {name} was made: {text}")
        })?;
    }
    Ok(())
}

/// A selector that finds every namespace there is lets in those of the Region alone.
async fn every_namespace(cluster: &Cluster, place: &Place) -> Outcome<String> {
    let row = edit(
        "every namespace that has a name",
        CLIENTS,
        json!([{ "name": "all", "to": ["Postgres", "ObjectStore"], "namespaceSelector": { "matchExpressions": [
            { "key": "kubernetes.io/metadata.name", "operator": "Exists" }] } }]),
        "",
    );
    taken(cluster, row.name, &row.patch(&row.value)).await?;
    let outcome = strangers(cluster, place).await;
    taken(cluster, row.name, &row.patch(&row.in_file(place)?)).await?;
    outcome
}

async fn strangers(cluster: &Cluster, place: &Place) -> Outcome<String> {
    until("the policies with that client", NOTICED, || async {
        let found = policies(cluster, place).await?.iter().any(|policy| {
            serde_json::to_string(policy).is_ok_and(|text| {
                text.contains("\"operator\":\"Exists\"")
                    && text.contains(&format!("\"{LABEL_REGION}\":\"{REGION}\""))
            })
        });
        Ok(seen_if(found, || "the client is not in them".to_owned()))
    })
    .await?;
    let targets: Vec<Target> = [
        (place.names.postgres_rw(), 5432),
        (place.names.object_store(), 9000),
    ]
    .map(|(service, port)| Target {
        host: format!("{service}.{}.svc", place.names.namespace()),
        port,
        served: false,
    })
    .into();
    let (stranger, client) = (Stand::stranger(&place.location), Stand::allowed(place));
    let (of_stranger, of_client) = futures::try_join!(
        access::reach(cluster, &stranger, &targets),
        access::reach(cluster, &client, &targets),
    )?;
    for (target, answer) in targets.iter().zip(&of_stranger) {
        ensure(answer == "no answer", || {
            format!("a stranger tried {}:{}: {answer}", target.host, target.port)
        })?;
    }
    // The same pods' Region lets its own client in: that nothing answers shows nothing.
    ensure(of_client.iter().all(|answer| answer == "open"), || {
        format!("the Region's own client: {of_client:?}")
    })?;
    Ok(format!("0 of {}", targets.len()))
}

/// Puts every field that is edited back to what the Region's file says.
async fn restore(cluster: &Cluster, place: &Place) -> Outcome {
    for row in refused().into_iter().chain(not_accepted()) {
        if [EXTERNAL, CLIENTS, ROLES, DATABASES].contains(&row.field) {
            let patch = row.patch(&row.in_file(place)?);
            match Ask::merge(PATH, patch)
                .send(&cluster.client, Who::Own)
                .await?
            {
                Answer::Taken(_) => {}
                Answer::Refused(code, message) => {
                    return Err(Failure::new(format!("{}: {code} {message}", row.name)));
                }
            }
        }
    }
    Ok(())
}
