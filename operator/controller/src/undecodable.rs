//! What is done of a Region that cannot be decoded: its status is mended and tells of it, and what was accepted of it last
//! is reconciled in its place. Decides nothing.

use std::ops::ControlFlow;

use bailiwick_api::region::Region;
use bailiwick_api::violation::Violation;
use bailiwick_model::names::{FIELD_MANAGER, FINALIZER, Names};
use bailiwick_model::region_object::Undecodable;
use bailiwick_model::requeue::STEP_REQUEUE;
use bailiwick_model::resync::RESYNC_PERIOD;
use bailiwick_model::status;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use serde::Deserialize as _;

use crate::accepted::recall_accepted;
use crate::context::Context;
use crate::error::Error;

/// The Region with the spec that was accepted last, and why the newest is not decoded: it is reconciled in its place, as
/// when a spec is refused. Where there is none, or it is being deleted, it is only told, and then when to reconcile again.
///
/// # Errors
/// [`Error::NotLeader`], [`Error::Observe`] when what was accepted could not be read, or [`Error::Status`] when that could
/// not be told.
pub async fn stand_in(
    undecodable: &Undecodable,
    ctx: &Context,
    now: Timestamp,
) -> Result<ControlFlow<Action, (Region, Violation)>, Error> {
    ctx.lease.check()?;
    if mend_status(undecodable, ctx, now).await? {
        // Such an event wakes nobody.
        return Ok(ControlFlow::Break(Action::requeue(STEP_REQUEUE)));
    }
    let told = async || tell_undecodable(undecodable, ctx, now).await;
    if undecodable.metadata.deletion_timestamp.is_some() {
        return told().await.map(ControlFlow::Break);
    }
    match tended_instead(undecodable, ctx).await {
        Ok(Some(region)) => {
            let violation = undecodable.violation();
            tracing::warn!(
                region = region.name_any(),
                field = violation.field,
                cause = undecodable.cause,
                "the Region cannot be decoded: the spec that was accepted last is tended"
            );
            Ok(ControlFlow::Continue((region, violation)))
        }
        Ok(None) => told().await.map(ControlFlow::Break),
        Err(error) => {
            told().await?;
            Err(error)
        }
    }
}

/// Takes what does not decode out of the status of a Region, which the next look then writes anew. Whether there was
/// something.
async fn mend_status(
    undecodable: &Undecodable,
    ctx: &Context,
    now: Timestamp,
) -> Result<bool, Error> {
    let metadata = &undecodable.metadata;
    let region = metadata.name.as_deref().unwrap_or_default();
    let known = {
        let remembered = ctx.memory(region);
        let mut memory = remembered.lock().await;
        memory.is_of(metadata.uid.as_ref());
        memory.breach.clone()
    };
    let Some(found) = status::unreadable(&undecodable.status, known.as_ref(), now) else {
        return Ok(false);
    };
    tracing::warn!(
        region,
        fields = found.fields.join(", "),
        "the status cannot be decoded: what does not decode is taken out, and it is written anew"
    );
    let api: Api<DynamicObject> =
        Api::all_with(ctx.client.clone(), &ApiResource::erase::<Region>(&()));
    let patch = serde_json::json!({
        // What somebody wrote in between is not written over.
        "metadata": { "uid": metadata.uid, "resourceVersion": metadata.resource_version },
        "status": found.patch,
    });
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    api.patch_status(region, &parameters, &Patch::Merge(&patch))
        .await
        .map_err(|source| Error::Status {
            source: Box::new(source),
        })?;
    ctx.metrics.writes.inc();
    Ok(true)
}

/// The Region with the spec that was accepted last; none where there is none, or where that is not safe.
async fn tended_instead(undecodable: &Undecodable, ctx: &Context) -> Result<Option<Region>, Error> {
    let metadata = &undecodable.metadata;
    let remembered = ctx.memory(metadata.name.as_deref().unwrap_or_default());
    let mut memory = remembered.lock().await;
    memory.is_of(metadata.uid.as_ref());
    recall_accepted(ctx, metadata, &mut memory).await?;
    let accepted = memory.accepted.as_ref();
    Ok(accepted.and_then(|accepted| undecodable.tended_by(accepted)))
}

/// Says in the status of a Region that it cannot be decoded, and what was seen of it counts no more. The rest of the
/// status stays as it is: without a spec there is nothing to look at.
///
/// # Errors
/// [`Error::NotLeader`], or [`Error::Status`] when it could not be written.
async fn tell_undecodable(
    undecodable: &Undecodable,
    ctx: &Context,
    now: Timestamp,
) -> Result<Action, Error> {
    ctx.lease.check()?;
    let Undecodable {
        metadata,
        status: before,
        field,
        cause,
        spec: _,
    } = undecodable;
    let deleting = metadata.deletion_timestamp.is_some();
    if deleting
        && !metadata
            .finalizers
            .iter()
            .flatten()
            .any(|finalizer| finalizer == FINALIZER)
    {
        // It goes, or somebody else's finalizer holds it.
        return Ok(Action::await_change());
    }
    let region = metadata.name.as_deref().unwrap_or_default();
    tracing::warn!(region, field, cause, "the Region cannot be decoded");
    let conditions: Vec<Condition> = before["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|condition| Condition::deserialize(condition).ok())
        .collect();
    let violation = undecodable.violation();
    let names = deleting.then(|| Names::new(region));
    let next = status::undecodable(
        &conditions,
        metadata.generation,
        &violation,
        names.as_ref(),
        now,
    );
    if next != conditions {
        let mut status = before.clone();
        status["conditions"] = serde_json::json!(next);
        let api: Api<DynamicObject> =
            Api::all_with(ctx.client.clone(), &ApiResource::erase::<Region>(&()));
        let patch = serde_json::json!({
            "apiVersion": Region::api_version(&()),
            "kind": Region::kind(&()),
            // What somebody wrote in between is not written over: the status was not decoded either.
            "metadata": { "name": region, "uid": metadata.uid, "resourceVersion": metadata.resource_version },
            "status": status,
        });
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        api.patch_status(region, &parameters, &Patch::Apply(&patch))
            .await
            .map_err(|source| Error::Status {
                source: Box::new(source),
            })?;
        ctx.metrics.writes.inc();
    }
    Ok(Action::requeue(RESYNC_PERIOD))
}
