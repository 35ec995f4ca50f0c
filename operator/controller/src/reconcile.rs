//! The corridor: one Region in, and for it observe, plan, desired, apply, steps, status, write and when to reconcile again.
//! All decisions are the model's.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use bailiwick_api::region::{Region, RegionStatus};
use bailiwick_api::violation::Violation;
use bailiwick_model::accepted::{AcceptedSpec, is_of_place};
use bailiwick_model::planner::plan;
use bailiwick_model::reconciled::{AppliedPlan, Reconciled};
use bailiwick_model::region_object::RegionObject;
use bailiwick_model::{fence, requeue, resync};
use jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};

use crate::accepted::recall_accepted;
use crate::context::{Context, Memory};
use crate::converge::converge;
use crate::error::Error;
use crate::observe::observe;
use crate::retire::retire;
use crate::telemetry::Ending;
use crate::undecodable;
use crate::write_status::{update_status, with_written_status};

/// One reconcile of one Region.
///
/// # Errors
/// Any [`Error`]; its outcome is in the status by then, unless it is the status that could not be written.
pub async fn reconcile(object: Arc<RegionObject>, ctx: Arc<Context>) -> Result<Action, Error> {
    let now = Timestamp::now();
    let (region, undecodable) = match object.as_ref() {
        RegionObject::Decoded(region) => (region.clone(), None),
        RegionObject::Undecodable(undecodable) => {
            match undecodable::stand_in(undecodable, &ctx, now).await? {
                ControlFlow::Continue((region, violation)) => (Arc::new(region), Some(violation)),
                ControlFlow::Break(action) => return Ok(action),
            }
        }
    };
    with_memory(region, undecodable, &ctx, now).await
}

/// [`reconcile`] of a Region that was decoded, at a given time.
///
/// # Errors
/// As [`reconcile`].
pub async fn reconcile_at(
    region: Arc<Region>,
    ctx: Arc<Context>,
    now: Timestamp,
) -> Result<Action, Error> {
    with_memory(region, None, &ctx, now).await
}

/// Reconciles a Region, or what is tended in its place, with what is remembered of it; then `undecodable` says why.
async fn with_memory(
    region: Arc<Region>,
    undecodable: Option<Violation>,
    ctx: &Context,
    now: Timestamp,
) -> Result<Action, Error> {
    ctx.lease.check()?;
    let name = region.name_any();
    let remembered = ctx.memory(&name);
    let mut memory = remembered.lock().await;
    memory.is_of(region.uid().as_ref());
    let region = with_written_status(region, &mut memory);
    let next = if region.meta().deletion_timestamp.is_some() {
        retire(ctx, &region, &mut memory, now).await
    } else {
        reconcile_region(ctx, &region, &mut memory, undecodable, now).await
    };
    memory.failures = match &next {
        Ok(_) => 0,
        Err(_) => memory.failures.saturating_add(1),
    };
    if !ctx.remembers(&name, &remembered) {
        // It went while it was reconciled: what was left behind goes after it.
        ctx.forget(&name);
    }
    next
}

/// The corridor: observe, plan, desired, apply, steps, status, write, requeue.
async fn reconcile_region(
    ctx: &Context,
    region: &Region,
    memory: &mut Memory,
    undecodable: Option<Violation>,
    now: Timestamp,
) -> Result<Action, Error> {
    let started = Instant::now();
    let reconciled = match &undecodable {
        Some(violation) => Box::pin(tend(ctx, region, memory, vec![violation.clone()], now)).await,
        None => match observe(ctx, region, memory, now).await {
            Ok(facts) => {
                (ctx.metrics).start_window(&region.name_any(), fence::start_window(&facts));
                match plan(region, &ctx.platform, &facts) {
                    // Desired, apply, steps.
                    Ok(plan) => Box::pin(converge(ctx, region, memory, (plan, facts), now))
                        .await
                        .map(|applied| accepted(region, memory, applied)),
                    Err(violations) => Box::pin(tend(ctx, region, memory, violations, now)).await,
                }
            }
            Err(error) => Err(error),
        },
    };
    let status = update_status(ctx, region, memory, &reconciled, undecodable.as_ref(), now).await;
    ctx.metrics.reconciled(
        &region.name_any(),
        ending(&reconciled),
        started.elapsed(),
        status.as_ref().ok(),
        reconciled.as_ref().map_or(0, Reconciled::violations),
    );
    requeue(memory, reconciled, status, now)
}

/// When to reconcile again.
///
/// # Errors
/// Why there was no reconcile, or else why the status could not be written.
fn requeue(
    memory: &mut Memory,
    reconciled: Result<Reconciled, Error>,
    status: Result<RegionStatus, Error>,
    now: Timestamp,
) -> Result<Action, Error> {
    match (reconciled, status) {
        (Ok(reconciled), Ok(status)) => {
            memory.hindered = requeue::hindered_in_a_row(&reconciled, memory.hindered);
            let until_metadata = resync::until_secret_metadata(memory.last_glance, now);
            let next = requeue::after(&reconciled, &status, memory.hindered, until_metadata);
            Ok(Action::requeue(next))
        }
        (Err(error), _) | (Ok(_), Err(error)) => {
            if error.status().is_some_and(kube::core::Status::is_forbidden) {
                memory.delegated = false;
            }
            Err(error)
        }
    }
}

/// How a reconcile ended, for the metrics.
fn ending(reconciled: &Result<Reconciled, Error>) -> Ending {
    let (outcome, error) = match reconciled {
        Ok(reconciled) => reconciled.labels(),
        Err(error) => ("failed", error.metric_label()),
    };
    Ending { outcome, error }
}

/// Remembers the spec of a plan that was applied. What was refused in part is not what is in force.
fn accepted(region: &Region, memory: &mut Memory, applied: AppliedPlan) -> Reconciled {
    if applied.facts.refused.is_empty() {
        memory.accepted = AcceptedSpec::of(region);
    }
    Reconciled::Applied(Box::new(applied))
}

/// Reconciles a Region whose spec is refused: the spec that was accepted last is tended, where that is safe.
async fn tend(
    ctx: &Context,
    region: &Region,
    memory: &mut Memory,
    violations: Vec<Violation>,
    now: Timestamp,
) -> Result<Reconciled, Error> {
    if is_of_place(&violations) {
        return Ok(Reconciled::Refused(violations));
    }
    recall_accepted(ctx, &region.metadata, memory).await?;
    let accepted = memory.accepted.as_ref();
    let in_force = accepted.map(|accepted| accepted.generation);
    let Some(region) = accepted.and_then(|accepted| accepted.in_place_of(region, &violations))
    else {
        return Ok(Reconciled::Refused(violations));
    };
    // What is read follows from the spec, too: Secrets, users.
    let facts = observe(ctx, &region, memory, now).await?;
    let Ok(mut plan) = plan(&region, &ctx.platform, &facts) else {
        return Ok(Reconciled::Refused(violations));
    };
    plan.generation = in_force;
    let applied = Box::pin(converge(ctx, &region, memory, (plan, facts), now)).await?;
    Ok(Reconciled::Applied(Box::new(AppliedPlan {
        refused: violations,
        ..applied
    })))
}
