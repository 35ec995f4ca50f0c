//! Controls are taken away one by one on the live cluster, and each time the channels that lean on it say so in time. I/O:
//! bindings of admission policies, a node's label and a Region's exceptions, each put back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bailiwick_api::region::{ChannelState, Region};
use bailiwick_model::names::NODE_REGION;
use bailiwick_model::policy;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::cluster::{Cluster, condition};
use crate::failure::{Failure, Outcome, While, ensure};
use crate::request::{Answer, Ask, Who};
use crate::wait::{Look, until};

/// How soon what is broken must show.
const NOTICED: Duration = Duration::from_secs(30);
/// How soon an exception that has expired must block.
const EXPIRED: Duration = Duration::from_mins(1);
/// These keep Regions and namespaces from being deleted; no data leaves by that.
///
/// Without the one on exceptions none counts: a Region that has none shows nothing of it.
pub const NO_CHANNEL: [&str; 3] = [
    "bailiwick-namespace-deletion",
    "bailiwick-region-deletion",
    "bailiwick-residency-exceptions",
];
/// Who may grant exceptions.
pub const APPROVER: &str = "e2e-residency-approver";

/// The approver, as the API server knows it.
pub const fn approver() -> Who {
    Who::Member(APPROVER, "bailiwick:residency-approvers")
}

/// The node of `tr`.
const NODE: &str = "tr-1";
/// A channel that is watched and not closed, so that an exception for it counts.
const WATCHED: &str = "45";

/// The channels whose finding names something.
pub fn found(region: &Region, what: &str) -> BTreeSet<String> {
    rows(region)
        .filter(|row| row.finding.as_ref().is_some_and(|it| it.contains(what)))
        .map(|row| row.id.clone())
        .collect()
}

/// What a Region's status says of each channel.
pub fn rows(region: &Region) -> impl Iterator<Item = &bailiwick_api::region::ChannelStatus> {
    region
        .status
        .iter()
        .filter_map(|status| status.residency.as_ref())
        .flat_map(|residency| &residency.channels)
}

/// Waits until a Region's residency is enforced again.
pub async fn enforced(cluster: &Cluster, region: &str) -> Outcome {
    cluster
        .region_until(
            region,
            "ResidencyEnforced=True",
            NOTICED,
            |region| match condition(region, "ResidencyEnforced") {
                Some((status, _)) if status == "True" => Look::Seen(()),
                other => Look::NotYet(format!("{other:?}")),
            },
        )
        .await
}

/// Each admission policy loses its binding: the rows that lean on it flip, and come back with it.
pub async fn policies(cluster: &Cluster) -> Outcome<String> {
    let api = Api::<ValidatingAdmissionPolicyBinding>::all(cluster.client.clone());
    let mut slowest = Duration::ZERO;
    let mut flipped = BTreeSet::new();
    let mut removed = 0;
    enforced(cluster, "tr").await?;
    for name in policy::names().filter(|name| !NO_CHANNEL.contains(name)) {
        api.delete(name, &DeleteParams::default())
            .await
            .during(format_args!("remove the binding of {name}"))?;
        let started = Instant::now();
        let noticed = cluster
            .region_until("tr", name, NOTICED, |region| {
                let ids = found(region, &format!("{name} "));
                let denied = condition(region, "ResidencyEnforced");
                if ids.is_empty() || denied != Some(("False".to_owned(), "ChannelOpen".to_owned()))
                {
                    Look::NotYet(format!("{ids:?}, {denied:?}"))
                } else {
                    Look::Seen(ids)
                }
            })
            .await;
        slowest = slowest.max(started.elapsed());
        // Whatever was noticed, it is bound again.
        bind(cluster, name).await?;
        flipped.extend(noticed?);
        enforced(cluster, "tr").await?;
        removed += 1;
    }
    ensure(removed >= 20 && flipped.len() >= 10, || {
        format!("only {removed} policies, and rows {flipped:?}")
    })?;
    Ok(format!(
        "{removed} policies unbound one by one, the slowest noticed after {:.1} s; rows {}",
        slowest.as_secs_f64(),
        flipped.into_iter().collect::<Vec<_>>().join(", ")
    ))
}

pub async fn relabel(cluster: &Cluster, location: &str) -> Outcome {
    let patch = json!({ "metadata": { "labels": { NODE_REGION: location } } });
    Api::<Node>::all(cluster.client.clone())
        .patch(NODE, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .during(format_args!("label node {NODE} with {location}"))?;
    Ok(())
}

/// A node that says it is elsewhere: what runs and lies on it is told of, and nothing is moved.
pub async fn node(cluster: &Cluster) -> Outcome<String> {
    let place = cluster.place("tr")?;
    let elsewhere = &cluster.place("es")?.location;
    let pods = |pods: Vec<k8s_openapi::api::core::v1::Pod>| -> BTreeSet<Option<String>> {
        pods.into_iter()
            .filter(|pod| {
                pod.metadata
                    .owner_references
                    .iter()
                    .flatten()
                    .any(|owner| owner.kind == "StatefulSet")
            })
            .map(|pod| pod.metadata.uid)
            .collect()
    };
    let before = pods(cluster.pods(&place.names.namespace()).await?);
    relabel(cluster, elsewhere).await?;
    let started = Instant::now();
    let noticed = cluster
        .region_until("tr", "rows 12 and 13", NOTICED, |region| {
            let ids = found(region, elsewhere);
            if ["12", "13"].iter().all(|id| ids.contains(*id)) {
                Look::Seen(())
            } else {
                Look::NotYet(format!("{ids:?}"))
            }
        })
        .await;
    let seconds = started.elapsed().as_secs_f64();
    relabel(cluster, &place.location).await?;
    noticed?;
    enforced(cluster, "tr").await?;
    let after = pods(cluster.pods(&place.names.namespace()).await?);
    ensure(before == after, || {
        "pods were made anew: something was moved".to_owned()
    })?;
    Ok(format!(
        "rows 12 and 13 open after {seconds:.1} s, nothing moved"
    ))
}

async fn except(cluster: &Cluster, exceptions: serde_json::Value) -> Outcome {
    let patch = json!({ "spec": { "residency": { "exceptions": exceptions } } });
    let ask = Ask::merge("/apis/bailiwick.dev/v1alpha1/regions/tr", patch);
    match ask.send(&cluster.client, approver()).await? {
        Answer::Taken(_) => Ok(()),
        Answer::Refused(code, message) => Err(Failure::new(format!(
            "write the exceptions of tr: {code} {message}"
        ))),
    }
}

/// An exception counts until it expires and blocks then, without anybody touching the Region.
pub async fn exception(cluster: &Cluster) -> Outcome<String> {
    let state = |region: &Region| {
        rows(region)
            .find(|row| row.id == WATCHED)
            .map(|row| row.state)
    };
    let expires = Timestamp::now() + SignedDuration::from_secs(25);
    except(
        cluster,
        json!([{
            "channel": WATCHED, "reason": "the end-to-end suite", "approvedBy": APPROVER, "expires": expires,
        }]),
    )
    .await?;
    let outcome = async {
        cluster
            .region_until("tr", "the exception", NOTICED, |region| {
                match state(region) {
                    Some(ChannelState::Exception) => Look::Seen(()),
                    other => Look::NotYet(format!("{other:?}")),
                }
            })
            .await?;
        enforced(cluster, "tr").await?;
        cluster
            .region_until("tr", "the end of the exception", EXPIRED, |region| {
                let denied = condition(region, "ResidencyEnforced");
                if denied == Some(("False".to_owned(), "ExceptionExpired".to_owned())) {
                    Look::Seen(Timestamp::now())
                } else {
                    Look::NotYet(format!("{denied:?}"))
                }
            })
            .await
    }
    .await;
    except(cluster, serde_json::Value::Null).await?;
    let blocked = outcome?;
    enforced(cluster, "tr").await?;
    Ok(format!(
        "an exception blocked {} s after it had expired",
        blocked.duration_since(expires).as_secs()
    ))
}

/// Binds an admission policy, as it is shipped, unless it is bound.
pub async fn bind(cluster: &Cluster, name: &str) -> Outcome {
    let binding = serde_json::from_value(json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": name }, "spec": { "policyName": name, "validationActions": ["Deny"] },
    }))?;
    let api = Api::<ValidatingAdmissionPolicyBinding>::all(cluster.client.clone());
    match api.create(&PostParams::default(), &binding).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        Err(error) => Err(error).during(format_args!("bind {name} again")),
    }
}

/// Binds every admission policy that is not bound.
pub async fn bind_again(cluster: &Cluster) -> Outcome {
    let bound: BTreeSet<String> =
        Api::<ValidatingAdmissionPolicyBinding>::all(cluster.client.clone())
            .list_metadata(&ListParams::default())
            .await?
            .into_iter()
            .filter_map(|binding| binding.metadata.name)
            .collect();
    for name in policy::names().filter(|name| !bound.contains(*name)) {
        bind(cluster, name).await?;
    }
    Ok(())
}

/// Puts the node's label and the bindings back, if an earlier run left others.
pub async fn restore(cluster: &Cluster) -> Outcome {
    bind_again(cluster).await?;
    let place = cluster.place("tr")?;
    until("the node's label", NOTICED, || async {
        relabel(cluster, &place.location).await?;
        Ok(Look::Seen(()))
    })
    .await
}
