//! The end of a Region: what is still there of it is read, what `retire` of the model says is done, and the finalizer goes
//! last. I/O: the API server, and one record into the Region's own evidence log.

use std::time::{Duration, Instant};

use bailiwick_api::region::{EvidenceStatus, Region};
use bailiwick_model::evidence::Entry;
use bailiwick_model::evidence::entry::Name;
use bailiwick_model::names::{FIELD_MANAGER, FINALIZER, LABEL_NAME, LABEL_REGION, Names};
use bailiwick_model::region_object::RegionObject;
use bailiwick_model::retire::{
    Blocker, Phase, Remains, Remnant, RemnantPod, RetireStep, Retirement, removal_of_policies,
    retirement,
};
use bailiwick_model::status;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, ApiResource, ListParams, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;
use kube::{Resource, ResourceExt};
use serde_json::json;

use crate::context::{Context, Memory};
use crate::error::Error;
use crate::observe::{missing_rights, read_all_secrets};
use crate::systems::Access;
use crate::telemetry::Ending;
use crate::watch::Object;
use crate::write_status::patch_status;
use crate::{apply, events};

/// When a Region that is being deleted is looked at again, beside the events of its children.
const AGAIN: Duration = Duration::from_secs(3);
/// How long one attempt to record the deletion may take.
const RECORD: Duration = Duration::from_secs(20);

/// Makes sure that the Region is not gone before its pods are: nothing is applied before this. `held` are its versions before
/// and after the finalizer was written: a cache that still has the one before says nothing of it.
///
/// # Errors
/// [`Error::Apply`] when it could not be written.
pub async fn hold(
    ctx: &Context,
    region: &Region,
    held: &mut Option<[Option<String>; 2]>,
) -> Result<(), Error> {
    let before = region.resource_version();
    let late = held.as_ref().is_some_and(|held| held[0] == before);
    if late
        || region
            .finalizers()
            .iter()
            .any(|finalizer| finalizer == FINALIZER)
    {
        return Ok(());
    }
    let mut finalizers = region.finalizers().to_vec();
    finalizers.push(FINALIZER.to_owned());
    let after = set_finalizers(ctx, region, &finalizers).await?;
    *held = Some([before, after.resource_version()]);
    Ok(())
}

/// Replaces the finalizers of the very version of the Region that they were read from.
async fn set_finalizers(
    ctx: &Context,
    region: &Region,
    finalizers: &[String],
) -> Result<RegionObject, Error> {
    ctx.lease.check()?;
    let api: Api<RegionObject> = Api::all(ctx.client.clone());
    let patch = json!({"metadata": {
        "uid": region.uid(), "resourceVersion": region.resource_version(), "finalizers": finalizers,
    }});
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patched = api
        .patch(&region.name_any(), &parameters, &Patch::Merge(&patch))
        .await
        .map_err(|source| Error::Apply {
            object: format!("the finalizer of Region/{}", region.name_any()),
            source: Box::new(source),
        })?;
    ctx.metrics.writes.inc();
    Ok(patched)
}

/// One look at a Region that is being deleted.
///
/// # Errors
/// Any [`Error`]; it is in the condition `DeletionBlocked` by then, unless it is the status that could not be written.
pub async fn retire(
    ctx: &Context,
    region: &Region,
    memory: &mut Memory,
    now: Timestamp,
) -> Result<Action, Error> {
    if !region
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == FINALIZER)
    {
        // It goes, or somebody else's finalizer holds it.
        return Ok(Action::await_change());
    }
    let started = Instant::now();
    let looked = look(ctx, region, memory, now).await;
    // The bindings may have gone in the midst of it.
    if let Err(error) = &looked
        && error.status().is_some_and(kube::core::Status::is_forbidden)
        && !is_delegated(ctx, region, memory).await
    {
        tracing::warn!(
            region = region.name_any(),
            error = error as &dyn std::error::Error,
            "the rights to take the Region down are gone"
        );
        release(ctx, region, Phase::NotDelegated).await?;
        return Ok(Action::await_change());
    }
    let (phase, blocker, error) = match looked {
        Ok((Phase::Gone | Phase::NotDelegated, _)) => return Ok(Action::await_change()),
        Ok((phase, blocker)) => (phase, blocker, None),
        // The watch is a moment behind.
        Err(error) if error.status().is_some_and(kube::core::Status::is_conflict) => {
            return Err(error);
        }
        Err(error) => {
            let phase = memory
                .ending
                .phase
                .map_or(Phase::Recording, |(phase, _)| phase);
            let blocker = Blocker {
                reason: error.metric_label(),
                message: format!(
                    "{}; it is tried again. See docs/runbooks/deletion-blocked.md.",
                    error.summary()
                ),
            };
            (phase, Some(blocker), Some(error))
        }
    };
    let status = status::retiring(
        region,
        phase,
        blocker.as_ref(),
        memory.ended_log.clone(),
        now,
    );
    if region.status.as_ref() != Some(&status) {
        patch_status(ctx, region, &status).await?;
    }
    let ending = Ending {
        outcome: "deleting",
        error: error.as_ref().map_or("", Error::metric_label),
    };
    ctx.metrics.reconciled(
        &region.name_any(),
        ending,
        started.elapsed(),
        Some(&status),
        0,
    );
    error.map_or_else(|| Ok(Action::requeue(AGAIN)), Err)
}

/// Whether the API server still says that the operator has its rights in the Region's namespaces. One refused call does not
/// say that they are gone; nor does an access review without an answer.
async fn is_delegated(ctx: &Context, region: &Region, memory: &mut Memory) -> bool {
    memory.delegated = false;
    match missing_rights(ctx, &Names::of(region), memory).await {
        Ok(missing) => missing.is_empty(),
        Err(error) => {
            tracing::warn!(
                region = region.name_any(),
                error = &error as &dyn std::error::Error,
                "whether the rights are gone is not known"
            );
            true
        }
    }
}

/// Reads, decides and does: returns how far it is and what keeps it.
async fn look(
    ctx: &Context,
    region: &Region,
    memory: &mut Memory,
    now: Timestamp,
) -> Result<(Phase, Option<Blocker>), Error> {
    let names = Names::of(region);
    // Rights may go at any time: whoever deletes the whole file takes them first.
    memory.delegated = false;
    let delegated = missing_rights(ctx, &names, memory).await?.is_empty();
    let logged = region
        .status
        .as_ref()
        .and_then(|status| status.residency.as_ref())
        .is_some_and(|residency| residency.evidence.is_some());
    let mut remains = Remains {
        now,
        delegated,
        unrecorded: logged && !memory.ending.recorded,
        waited: memory
            .ending
            .phase
            .map_or(SignedDuration::ZERO, |(_, since)| {
                SignedDuration::try_from(since.elapsed()).unwrap_or(SignedDuration::MAX)
            }),
        objects: objects(ctx, names.region()),
        pods: if delegated {
            pods(ctx, &names).await?
        } else {
            Vec::new()
        },
    };
    let mut next = retirement(&names, &remains);
    if next.phase == Phase::Recording {
        record(ctx, region, &names, memory, now).await?;
        if memory.ending.recorded {
            // On in the same look: an operator that ends after each look would else record for ever.
            remains.unrecorded = false;
            next = retirement(&names, &remains);
        }
    }
    let Retirement {
        phase,
        steps,
        blocker,
    } = next;
    if memory
        .ending
        .phase
        .is_none_or(|(before, _)| before != phase)
    {
        memory.ending.phase = Some((phase, Instant::now()));
        tracing::info!(region = names.region(), phase = phase.as_str(), "deleting");
    }
    for step in &steps {
        ctx.lease.check()?;
        match step {
            // It was tried above.
            RetireStep::Record => {}
            RetireStep::Delete(remnant) => {
                let object = Object {
                    namespace: remnant.namespace.clone(),
                    name: remnant.name.clone(),
                };
                apply::delete(ctx, &resource_of(remnant.kind), &object, &remnant.uid).await?;
                ctx.metrics.writes.inc();
            }
            RetireStep::Release => release(ctx, region, phase).await?,
        }
    }
    Ok((phase, blocker))
}

fn resource_of(kind: &str) -> ApiResource {
    match kind {
        "CronJob" => ApiResource::erase::<CronJob>(&()),
        "Job" => ApiResource::erase::<Job>(&()),
        "StatefulSet" => ApiResource::erase::<StatefulSet>(&()),
        "NetworkPolicy" => ApiResource::erase::<NetworkPolicy>(&()),
        _ => ApiResource::erase::<Pod>(&()),
    }
}

/// What the watches hold of the Region and must go, in all its namespaces.
fn objects(ctx: &Context, region: &str) -> Vec<Remnant> {
    let watched = &ctx.watched;
    let remnant = |kind: &'static str, object: Object, uid: String| Remnant {
        kind,
        namespace: object.namespace,
        name: object.name,
        uid,
    };
    let mut found = Vec::new();
    for (kind, facts) in [
        ("CronJob", &watched.cron_jobs),
        ("NetworkPolicy", &watched.network_policies),
    ] {
        found.extend(
            facts
                .of(region)
                .into_iter()
                .map(|(object, version)| remnant(kind, object, version.uid)),
        );
    }
    found.extend(
        watched
            .jobs
            .of(region)
            .into_iter()
            .map(|(object, job)| remnant("Job", object, job.uid)),
    );
    found.extend(
        watched
            .stateful_sets
            .of(region)
            .into_iter()
            .map(|(object, (version, _))| remnant("StatefulSet", object, version.uid)),
    );
    found
}

/// The Region's pods as the API server has them now: a watch may be late, and the fence must not go before the last one.
async fn pods(ctx: &Context, names: &Names) -> Result<Vec<RemnantPod>, Error> {
    let of_the_region = ListParams::default().labels(&format!("{LABEL_REGION}={}", names.region()));
    let mut found = Vec::new();
    for namespace in names.namespaces() {
        let api: Api<Pod> = Api::namespaced(ctx.client.clone(), &namespace);
        let pods = api
            .list(&of_the_region)
            .await
            .map_err(|source| Error::Observe {
                what: format!("the pods in namespace {namespace}"),
                source: Box::new(source),
            })?;
        found.extend(pods.into_iter().map(|pod| RemnantPod {
            object: Remnant {
                kind: "Pod",
                namespace: namespace.clone(),
                name: pod.name_any(),
                uid: pod.uid().unwrap_or_default(),
            },
            component: pod.labels().get(LABEL_NAME).cloned().unwrap_or_default(),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            ends: pod.meta().deletion_timestamp.as_ref().map(|time| time.0),
        }));
    }
    Ok(found)
}

/// Writes the deletion into the evidence log, with what waits for it. What the store does not take is tried again, until
/// the model says that it was waited for long enough.
async fn record(
    ctx: &Context,
    region: &Region,
    names: &Names,
    memory: &mut Memory,
    now: Timestamp,
) -> Result<(), Error> {
    if memory.credentials.secret(&names.evidence_key()).is_none() {
        read_all_secrets(ctx, region, names, memory).await?;
    }
    let asked = region
        .meta()
        .deletion_timestamp
        .as_ref()
        .map_or(now, |time| time.0);
    let mut entries = memory.recorder.entries().to_vec();
    match Name::new(region.uid().unwrap_or_default()) {
        Ok(region) => entries.push(Entry::RegionDeleted { region, asked }),
        Err(error) => tracing::error!(%error, "the Region's uid is no name"),
    }
    let known: Option<EvidenceStatus> = memory.ended_log.clone().or_else(|| {
        let residency = region.status.as_ref()?.residency.as_ref()?;
        residency.evidence.clone()
    });
    let access = Access {
        region,
        names,
        credentials: &memory.credentials,
    };
    let recorded = ctx.systems.record(access, known.as_ref(), &entries, now);
    match tokio::time::timeout(RECORD, recorded).await {
        Ok(Ok(end)) => {
            memory.recorder.all_are_recorded();
            memory.ended_log = Some(end);
            memory.ending.recorded = true;
        }
        Ok(Err(error)) => tracing::warn!(
            region = names.region(),
            error = &error as &dyn std::error::Error,
            "the deletion is not in the evidence log yet"
        ),
        Err(_) => tracing::warn!(
            region = names.region(),
            "the deletion is not in the evidence log yet: the store did not answer"
        ),
    }
    Ok(())
}

/// Lets the Region go, and tells what stays.
async fn release(ctx: &Context, region: &Region, phase: Phase) -> Result<(), Error> {
    let names = Names::of(region);
    let (type_, reason, note) = if phase == Phase::NotDelegated {
        (
            EventType::Warning,
            "DeletedWithoutRights",
            format!(
                "The operator had no rights in the Region's namespaces any more: the garbage collector takes what runs, and the \
                 network policies stay, which harms nobody. Once no pod is left, remove them with: {}",
                removal_of_policies(&names)
            ),
        )
    } else {
        (
            EventType::Normal,
            "Deleted",
            "Postgres, the object store and then the network policies are gone. Volumes, Secrets and namespaces stay."
                .to_owned(),
        )
    };
    let left: Vec<String> = region
        .finalizers()
        .iter()
        .filter(|finalizer| *finalizer != FINALIZER)
        .cloned()
        .collect();
    set_finalizers(ctx, region, &left).await?;
    tracing::info!(region = names.region(), reason, note, "a Region ended");
    events::publish(ctx, region, type_, reason, note).await;
    Ok(())
}
