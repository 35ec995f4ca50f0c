//! Writes a Region's status if it changed, after its evidence, and takes out what others wrote into it. What a reconcile
//! came to in, requests to the API server out.

use std::sync::Arc;

use bailiwick_api::region::{Region, RegionStatus};
use bailiwick_api::violation::Violation;
use bailiwick_model::names::FIELD_MANAGER;
use bailiwick_model::outcome::Outcome;
use bailiwick_model::reconciled::Reconciled;
use bailiwick_model::region_object::RegionObject;
use bailiwick_model::{requeue, status};
use jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::{Resource, ResourceExt};

use crate::context::{Context, Memory};
use crate::error::Error;
use crate::events;
use crate::record::record_evidence;

/// Tells in the status what a reconcile came to, unless that is left to the next one; returns the status as it is then.
/// `undecodable` says why the newest spec was not tried.
///
/// # Errors
/// [`Error::Status`], or [`Error::NotLeader`] when the Lease was lost.
pub async fn update_status(
    ctx: &Context,
    region: &Region,
    memory: &mut Memory,
    reconciled: &Result<Reconciled, Error>,
    undecodable: Option<&Violation>,
    now: Timestamp,
) -> Result<RegionStatus, Error> {
    match reconciled {
        Ok(reconciled) if requeue::defers_status(reconciled, region, memory.deferred) => {
            memory.deferred += 1;
            Ok(region.status.clone().unwrap_or_default())
        }
        Ok(reconciled) => {
            memory.deferred = 0;
            let outcome = reconciled.outcome(region.status.as_ref());
            write_status(ctx, region, memory, &outcome, now).await
        }
        Err(error) => {
            let (reason, message) = (error.metric_label(), error.summary());
            tracing::warn!(
                region = region.name_any(),
                reason,
                error = message,
                "reconcile failed"
            );
            let outcome = Outcome::Failed {
                reason,
                message: &message,
                refused: undecodable.map_or(&[], std::slice::from_ref),
            };
            write_status(ctx, region, memory, &outcome, now).await
        }
    }
}

/// Writes the status if it differs, and an Event if a condition that people are woken for flipped.
async fn write_status(
    ctx: &Context,
    region: &Region,
    memory: &mut Memory,
    outcome: &Outcome<'_>,
    now: Timestamp,
) -> Result<RegionStatus, Error> {
    let mut status = status::status(region, outcome, now);
    record_evidence(ctx, region, memory, outcome, &mut status, now).await;
    let judged = matches!(outcome, Outcome::Applied(_));
    if region.status.as_ref() == Some(&status) {
        memory.is_told(&status, judged);
        return Ok(status);
    }
    patch_status(ctx, region, &status).await?;
    memory.written = Some((region.resource_version(), status.clone()));
    memory.is_told(&status, judged);
    events::publish_flips(ctx, region, &status).await;
    Ok(status)
}

/// The Region with the status that we wrote last, as long as the cache does not show the effect of that write: what
/// is already written would else be written again, and what must be taken back would be taken for never written.
#[must_use]
pub fn with_written_status(mut region: Arc<Region>, memory: &mut Memory) -> Arc<Region> {
    let Some((version, status)) = &memory.written else {
        return region;
    };
    let now = region.resource_version();
    let held = memory.held.as_ref().is_some_and(|held| held.contains(&now));
    if *version != now && !held {
        memory.written = None;
    } else if region.status.as_ref() != Some(status) {
        Arc::make_mut(&mut region).status = Some(status.clone());
    }
    region
}

/// Sends a status to the API server.
///
/// # Errors
/// [`Error::Status`], or [`Error::NotLeader`] when the Lease was lost.
pub async fn patch_status(
    ctx: &Context,
    region: &Region,
    status: &RegionStatus,
) -> Result<(), Error> {
    ctx.lease.check()?;
    // The spec of the answer may not decode.
    let api: Api<RegionObject> = Api::all(ctx.client.clone());
    let name = region.name_any();
    let unwritten = |source: kube::Error| Error::Status {
        source: Box::new(source),
    };
    let patch = serde_json::json!({
        "apiVersion": Region::api_version(&()),
        "kind": Region::kind(&()),
        "metadata": { "name": name, "uid": region.uid() },
        "status": status,
    });
    let apply = PatchParams::apply(FIELD_MANAGER).force();
    let answer = api
        .patch_status(&name, &apply, &Patch::Apply(&patch))
        .await
        .map_err(unwritten)?;
    ctx.metrics.writes.inc();
    let RegionObject::Decoded(written) = answer else {
        return Ok(());
    };
    // What others wrote stays when a status is applied: nobody would take it out, and it may be a lie.
    let foreign = status::foreign(written.status.as_ref(), status)
        .map_err(|error| unwritten(kube::Error::SerdeError(error)))?;
    if let Some(foreign) = foreign {
        tracing::warn!(
            region = name,
            "somebody else wrote into the status: what is not the operator's is taken out"
        );
        ctx.lease.check()?;
        let patch = serde_json::json!({
            "metadata": { "uid": written.uid(), "resourceVersion": written.resource_version() },
            "status": foreign,
        });
        let merge = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        api.patch_status(&name, &merge, &Patch::Merge(&patch))
            .await
            .map_err(unwritten)?;
        ctx.metrics.writes.inc();
    }
    Ok(())
}
