//! A Region that is deleted leaves its data behind, and the same Region takes it up again; another Region of its name
//! does not. I/O: the API server and client pods.

mod knocking;
pub mod variants;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bailiwick_api::region::Region;
use bailiwick_model::names::{LABEL_MANAGED_BY, LABEL_REGION, MANAGED_BY};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use knocking::Knocking;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams};
use serde_json::{Value, json};

use super::access::BUCKET;
use crate::client::{self, Script, Stand};
use crate::cluster::{Cluster, Place, condition, kind};
use crate::failure::{Failure, Outcome, While, ensure};
use crate::wait::{Look, seen_if, until};
use crate::writer::{logins, prepare, run_name};

/// How long pods and children may take to go: a member writes its last checkpoint first.
const GONE: Duration = Duration::from_mins(4);
/// How long a Region may take to serve its old data again.
const BACK: Duration = Duration::from_mins(5);
/// The Region that is deleted.
const REGION: &str = "es";

/// What stays of a Region: its volumes and Secrets by uid, its database by identifier, and what is in it.
#[derive(Debug, PartialEq)]
pub(super) struct Remains {
    claims: BTreeMap<String, String>,
    secrets: BTreeMap<String, String>,
}

impl Remains {
    async fn of(cluster: &Cluster, place: &Place) -> Outcome<Self> {
        let uids = async |resource| -> Outcome<BTreeMap<String, String>> {
            Ok(namespaced(cluster, place, &resource)
                .list_metadata(&ListParams::default())
                .await?
                .into_iter()
                .map(|object| (object.name_any(), object.uid().unwrap_or_default()))
                .collect())
        };
        let remains = Self {
            claims: uids(ApiResource::erase::<PersistentVolumeClaim>(&())).await?,
            secrets: uids(ApiResource::erase::<Secret>(&())).await?,
        };
        // Two members and a server of the store; keys, certificates and logins.
        ensure(
            remains.claims.len() >= 3 && remains.secrets.len() >= 10,
            || format!("{} has only {remains:?}", place.region),
        )?;
        Ok(remains)
    }
}

fn namespaced(cluster: &Cluster, place: &Place, resource: &ApiResource) -> Api<DynamicObject> {
    Api::namespaced_with(cluster.client.clone(), &place.names.namespace(), resource)
}

fn system_identifier(region: &Region) -> Outcome<String> {
    region
        .status
        .as_ref()
        .and_then(|status| status.postgres.as_ref())
        .and_then(|postgres| postgres.system_identifier.clone())
        .ok_or_else(|| Failure::new("status.postgres.systemIdentifier is not set"))
}

/// Rows and an object, left or looked for.
async fn trace(
    cluster: &Cluster,
    place: &Place,
    run: &str,
    leave: bool,
    remove: bool,
) -> Outcome<Value> {
    let [_, writer, _] = logins(&place.names);
    let user = place.names.object_store_user(BUCKET);
    client::hand_over(cluster, place, &writer).await?;
    client::hand_over(cluster, place, &user).await?;
    let script = Script {
        name: "keep",
        told: json!({ "writer": writer, "user": user, "bucket": BUCKET, "run": run,
            "leave": leave, "remove": remove }),
        secrets: vec![writer, user],
    };
    let found = client::run(
        cluster,
        &Stand::allowed(place),
        &script,
        Duration::from_mins(1),
    )
    .await?;
    ensure(
        found["rows"] == 1000 && found["object"] == 200 && found["same"] == true,
        || format!("found {found} of 1000 rows and an object"),
    )?;
    Ok(found)
}

/// Takes away a Region of another jurisdiction that an earlier run left under a name of the overlay.
pub async fn remove_foreign(cluster: &Cluster, place: &Place) -> Outcome {
    let regions = cluster.regions();
    match regions.get_opt(&place.region).await? {
        Some(region) if region.spec.residency.jurisdiction != place.jurisdiction => {
            regions
                .delete(&place.region, &DeleteParams::default())
                .await?;
            gone_but_for_policies(cluster, place).await
        }
        _ => Ok(()),
    }
}

/// Takes the protection off, as whoever applies the file does.
async fn unprotect(cluster: &Cluster, place: &Place) -> Outcome {
    let mut region = place.document()?;
    region.data["spec"]["lifecycle"]["deletionProtection"] = json!(false);
    cluster.apply(&[region]).await
}

/// Waits until a Region and all that it owned are gone.
async fn gone(cluster: &Cluster, place: &Place) -> Outcome {
    let regions = cluster.regions();
    until("the Region to go", GONE, || async {
        Ok(seen_if(
            regions.get_opt(&place.region).await?.is_none(),
            || "it is there".to_owned(),
        ))
    })
    .await?;
    until("the Region's children to go", GONE, || async {
        let left = children(cluster, place).await?;
        Ok(seen_if(left.is_empty(), || left.join(", ")))
    })
    .await
}

/// Waits until a Region is gone, and of what it had all but the network policies, which nobody had the right to remove.
async fn gone_but_for_policies(cluster: &Cluster, place: &Place) -> Outcome {
    let regions = cluster.regions();
    until("the Region and all but its fence to go", GONE, || async {
        let region = regions.get_opt(&place.region).await?;
        let mut left = children(cluster, place).await?;
        left.retain(|object| !object.starts_with("NetworkPolicy "));
        Ok(seen_if(region.is_none() && left.is_empty(), || {
            format!(
                "the Region is there: {}; {}",
                region.is_some(),
                left.join(", ")
            )
        }))
    })
    .await
}

/// What the operator owns in a Region's data namespace, volumes and Secrets apart.
async fn children(cluster: &Cluster, place: &Place) -> Outcome<Vec<String>> {
    let ours = ListParams::default().labels(&format!(
        "{LABEL_MANAGED_BY}={MANAGED_BY},{LABEL_REGION}={}",
        place.region
    ));
    let mut left = Vec::new();
    for resource in [
        ApiResource::erase::<StatefulSet>(&()),
        ApiResource::erase::<Pod>(&()),
        ApiResource::erase::<Service>(&()),
        ApiResource::erase::<NetworkPolicy>(&()),
        ApiResource::erase::<PodDisruptionBudget>(&()),
    ] {
        let found = namespaced(cluster, place, &resource)
            .list_metadata(&ours)
            .await?;
        left.extend(
            found
                .into_iter()
                .map(|object| format!("{} {}", resource.kind, object.name_any())),
        );
    }
    Ok(left)
}

/// Patroni's own ConfigMaps are data: without them a stale member could win.
async fn patroni_remembers(cluster: &Cluster, place: &Place) -> Outcome {
    let scope = place.names.postgres();
    let maps = namespaced(cluster, place, &ApiResource::erase::<ConfigMap>(&()));
    for name in ["config", "leader"].map(|part| format!("{scope}-{part}")) {
        ensure(maps.get_metadata_opt(&name).await?.is_some(), || {
            format!("ConfigMap {name}, which Patroni keeps its state in, is gone")
        })?;
    }
    Ok(())
}

/// Waits until the Region is served again, and checks that it is the same data.
pub(super) async fn readopted(
    cluster: &Cluster,
    place: &Place,
    before: &(Remains, String, Value),
    run: &str,
) -> Outcome {
    let (remains, identifier, found) = before;
    let region = cluster.settled(&place.region, BACK).await?;
    let now = Remains::of(cluster, place).await?;
    ensure(now == *remains, || {
        format!("volumes and Secrets are {now:?}, before {remains:?}")
    })?;
    let system = system_identifier(&region)?;
    ensure(system == *identifier, || {
        format!("the database is {system}, before {identifier}")
    })?;
    let again = trace(cluster, place, run, false, true).await?;
    ensure(again == *found, || format!("found {again}, left {found}"))
}

pub(super) async fn before(
    cluster: &Cluster,
    place: &Place,
    run: &str,
) -> Outcome<(Remains, String, Value)> {
    let region = cluster.settled(&place.region, BACK).await?;
    prepare(cluster, place).await?;
    let found = trace(cluster, place, run, true, false).await?;
    Ok((
        Remains::of(cluster, place).await?,
        system_identifier(&region)?,
        found,
    ))
}

/// Deletes the Region alone: refused while it is protected, then its data stays and is taken up again.
pub async fn region(cluster: &Cluster) -> Outcome<String> {
    let place = cluster.place(REGION)?;
    let run = run_name("region-deleted");
    let before = before(cluster, place, &run).await?;
    let regions = cluster.regions();
    match regions
        .delete(&place.region, &DeleteParams::default())
        .await
    {
        Err(kube::Error::Api(status)) if status.message.contains("is protected") => {}
        Err(error) => return Err(error).during("a refusal that names the protection"),
        Ok(_) => return Err(Failure::new("a protected Region was deleted")),
    }
    unprotect(cluster, place).await?;
    let knocking = Knocking::begin(cluster, place).await?;
    let started = Instant::now();
    regions
        .delete(&place.region, &DeleteParams::default())
        .await?;
    gone(cluster, place).await?;
    let went = started.elapsed().as_secs_f64();
    let tries = knocking.end(place).await?;
    let stayed = Remains::of(cluster, place).await?;
    ensure(stayed == before.0, || {
        format!("{stayed:?} stayed of {:?}", before.0)
    })?;
    patroni_remembers(cluster, place).await?;
    let started = Instant::now();
    cluster.apply(&place.documents).await?;
    readopted(cluster, place, &before, &run).await?;
    Ok(format!(
        "{} volumes, {} Secrets, 1000 rows and an object stayed; gone in {went:.0} s, of {tries} tries to get outside meanwhile 0 \
         arrived; back and checked in {:.0} s",
        before.0.claims.len(),
        before.0.secrets.len(),
        started.elapsed().as_secs_f64()
    ))
}

/// Deletes the whole file; then a Region of its name and another jurisdiction must not take the data up, and the
/// file itself must.
pub async fn file(cluster: &Cluster) -> Outcome<String> {
    let place = cluster.place(REGION)?;
    let run = run_name("file-deleted");
    let before = before(cluster, place, &run).await?;
    unprotect(cluster, place).await?;
    let knocking = Knocking::begin(cluster, place).await?;
    delete_file(cluster, place).await?;
    // Its rights go with the file, so that it lets the Region go and the fence stays.
    gone_but_for_policies(cluster, place).await?;
    let tries = knocking.end(place).await?;
    let stayed = Remains::of(cluster, place).await?;
    ensure(stayed == before.0, || {
        format!("{stayed:?} stayed of {:?}", before.0)
    })?;
    patroni_remembers(cluster, place).await?;
    let reason = foreign(cluster, place).await?;
    let stayed = Remains::of(cluster, place).await?;
    ensure(stayed == before.0, || {
        format!("{stayed:?} stayed of {:?}", before.0)
    })?;
    let started = Instant::now();
    cluster.apply(&place.documents).await?;
    readopted(cluster, place, &before, &run).await?;
    Ok(format!(
        "all stayed; of {tries} tries to get outside meanwhile 0 arrived; a Region of another jurisdiction was refused ({reason}); \
         back and checked in {:.0} s",
        started.elapsed().as_secs_f64()
    ))
}

/// What `kubectl delete -f` does: every document in order, whatever becomes of the one before.
async fn delete_file(cluster: &Cluster, place: &Place) -> Outcome {
    let mut kept = 0;
    for document in &place.documents {
        let api = cluster.api_of(document)?;
        let name = document.name_any();
        if kind(document) != "Namespace" {
            api.delete(&name, &DeleteParams::default())
                .await
                .during(&name)?;
            continue;
        }
        // Tried first without effect: a namespace that is not protected would take all data with it.
        for parameters in [DeleteParams::default().dry_run(), DeleteParams::default()] {
            match api.delete(&name, &parameters).await {
                Err(kube::Error::Api(status))
                    if status.message.contains("holds data of Region") => {}
                Err(error) => return Err(error).during(&name),
                Ok(_) => return Err(Failure::new(format!("namespace {name} may be deleted"))),
            }
        }
        kept += 1;
    }
    ensure(kept == 3, || {
        format!("{kept} namespaces are in the file, expected 3")
    })
}

/// A Region of the same name for the other jurisdiction, with all the rights that the file gives.
async fn foreign(cluster: &Cluster, place: &Place) -> Outcome<String> {
    let other = cluster
        .places
        .iter()
        .find(|other| other.region != place.region)
        .ok_or_else(|| Failure::new("there is only one Region"))?;
    let rights: Vec<DynamicObject> = place
        .documents
        .iter()
        .filter(|document| kind(document) != "Region")
        .cloned()
        .collect();
    cluster.apply(&rights).await?;
    let mut region = other.document()?;
    region.metadata.name = Some(place.region.clone());
    region.data["spec"]["lifecycle"] = json!({ "deletionProtection": false });
    cluster.apply(&[region]).await?;
    let (reason, message) = cluster
        .region_until(
            &place.region,
            "Accepted=False",
            Duration::from_secs(30),
            |region| {
                let message = region
                    .status
                    .iter()
                    .flat_map(|status| &status.conditions)
                    .find(|condition| condition.type_ == "Accepted")
                    .map_or_else(String::new, |condition| condition.message.clone());
                match condition(region, "Accepted") {
                    Some((status, reason)) if status == "False" => Look::Seen((reason, message)),
                    other => Look::NotYet(format!("{other:?}")),
                }
            },
        )
        .await?;
    ensure(
        ["NotDelegated", "ForeignVolume"].contains(&reason.as_str())
            && message.contains("spec.residency.jurisdiction")
            && message.contains("holds data of"),
        || format!("Accepted=False with {reason}: {message}"),
    )?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut made = children(cluster, place).await?;
    // The fence of the one before stands.
    made.retain(|object| !object.starts_with("NetworkPolicy "));
    ensure(made.is_empty(), || {
        format!("the Region of another jurisdiction got {}", made.join(", "))
    })?;
    cluster
        .regions()
        .delete(&place.region, &DeleteParams::default())
        .await?;
    gone_but_for_policies(cluster, place).await?;
    Ok(reason)
}
