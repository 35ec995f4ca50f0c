//! Makes a Region what its plan says: boundary, Secrets, objects, pruning and steps, in this order. Writes to the API server
//! and to the systems behind it; the plan says what.

use std::collections::BTreeSet;

use bailiwick_api::region::Region;
use bailiwick_model::desired::{desired, desired_while_paused};
use bailiwick_model::facts::{Facts, RefusedObject};
use bailiwick_model::plan::Plan;
use bailiwick_model::reconciled::AppliedPlan;
use bailiwick_model::secret;
use bailiwick_model::steps::steps;
use jiff::Timestamp;

use crate::context::{Context, Memory};
use crate::error::Error;
use crate::observe::{network_policies, secret_facts, stateful_sets};
use crate::perform::perform;
use crate::refusals::Refusals;
use crate::{apply, mint, retire};

/// The status of HTTP of a right that is not there.
const FORBIDDEN: u16 = 403;

/// Makes a Region what its plan says: boundary, Secrets, objects and steps.
///
/// # Errors
/// Any [`Error`] that says nothing of one object alone.
pub async fn converge(
    ctx: &Context,
    region: &Region,
    memory: &mut Memory,
    (plan, mut facts): (Plan, Facts),
    now: Timestamp,
) -> Result<AppliedPlan, Error> {
    // Before anything is applied, and of a paused Region as well: without it the fence could go before what it fences.
    retire::hold(ctx, region, &mut memory.held).await?;
    if plan.spec.lifecycle.paused {
        return shut_off_while_paused(ctx, region, memory, (plan, facts), now).await;
    }
    let due = secret::due(&plan.secrets, &facts);
    let (mut writes, refused) = write_objects(ctx, &plan, &due, memory, now).await?;
    let plan = take_refusals(region, plan, &mut facts, memory, refused);
    if writes > 0 {
        // One that was just put right had told of the pods of somebody else's template: no member is restarted for those.
        facts.stateful_sets = stateful_sets(ctx, &plan.names);
    }
    let steps = steps(&plan, &facts);
    let (done, failed) = perform(ctx, region, &plan, memory, &steps).await?;
    writes += done;
    remember_answers(&plan, &facts, &mut memory.answered);
    ctx.metrics
        .writes
        .inc_by(u64::try_from(writes).unwrap_or_default());
    if !due.is_empty() {
        // The status speaks of the Secrets as they are now: the next look would else write it once more.
        facts.secrets = secret_facts(&plan.names, &plan.spec, memory);
        facts.remembered.clone_from(memory.credentials.gone());
    }
    facts.network_policies = network_policies(ctx, plan.names.region());
    // The look that follows a change reads what it changed.
    if writes > 0 && due.iter().any(|(_, due)| *due == secret::Due::Renewal) {
        memory.last_resync = None;
    }
    facts.now = now;
    Ok(AppliedPlan {
        plan,
        facts,
        writes,
        steps: steps.len(),
        failed,
        refused: Vec::new(),
    })
}

/// Applies the objects of a Region, makes its Secrets and prunes what is not wanted any more; returns how many writes were
/// sent, and what was refused. Manifests take more memory than anything else of a reconcile: they are there while it has
/// its turn, not while hundreds of others wait for theirs, or for a system that does not answer.
async fn write_objects(
    ctx: &Context,
    plan: &Plan,
    due: &[(secret::SecretWanted, secret::Due)],
    memory: &mut Memory,
    now: Timestamp,
) -> Result<(usize, Vec<RefusedObject>), Error> {
    let _turn = ctx.turn().await;
    let mut refused = Refusals {
        nothing_waits: plan.spec.lifecycle.hibernated,
        ..Refusals::default()
    };
    let (name, look) = (plan.names.region(), memory.resync);
    let manifests = desired(plan);
    // The boundary stands before anything that it surrounds.
    let boundary = manifests
        .iter()
        .take_while(|manifest| manifest.resource.kind == "NetworkPolicy")
        .count();
    let (boundary, rest) = manifests.split_at(boundary);
    let (records, credentials) = (&mut memory.records, &mut memory.credentials);
    let mut writes = apply::apply(ctx, name, records, boundary, look, &mut refused).await?;
    writes += mint::mint(ctx, plan, due, credentials, now, &mut refused).await?;
    writes += apply::apply(ctx, name, records, rest, look, &mut refused).await?;
    writes += apply::prune(ctx, name, records, &manifests, &mut refused).await?;
    Ok((writes, refused.objects))
}

/// Takes up what the API server refused of a reconcile's writes; returns the plan that is judged and gone on with.
fn take_refusals(
    region: &Region,
    plan: Plan,
    facts: &mut Facts,
    memory: &mut Memory,
    refused: Vec<RefusedObject>,
) -> Plan {
    if refused.iter().any(|it| it.code == Some(FORBIDDEN)) {
        // It may be the rights that are gone: they are asked for again.
        memory.delegated = false;
    }
    facts.refused = refused;
    plan.after_refusals(region, facts)
}

/// What is done of a Region that is paused: it is shut off for a leak, and else nothing.
async fn shut_off_while_paused(
    ctx: &Context,
    region: &Region,
    memory: &mut Memory,
    (plan, mut facts): (Plan, Facts),
    now: Timestamp,
) -> Result<AppliedPlan, Error> {
    let name = plan.names.region();
    let turn = ctx.turn().await;
    let manifests = desired_while_paused(&plan);
    let mut refused = Refusals::default();
    let (records, look) = (&mut memory.records, memory.resync);
    let mut writes = apply::apply(ctx, name, records, &manifests, look, &mut refused).await?;
    drop((turn, manifests));
    let plan = take_refusals(region, plan, &mut facts, memory, refused.objects);
    let name = plan.names.region();
    let steps = steps(&plan, &facts);
    let (done, failed) = perform(ctx, region, &plan, memory, &steps).await?;
    writes += done;
    ctx.metrics
        .writes
        .inc_by(u64::try_from(writes).unwrap_or_default());
    // Nothing is repaired now; what is missing is told.
    facts.absent = apply::absent(ctx, name, &desired(&plan));
    facts.now = now;
    Ok(AppliedPlan {
        plan,
        facts,
        writes,
        steps: steps.len(),
        failed,
        refused: Vec::new(),
    })
}

/// Takes up which systems answered.
fn remember_answers(plan: &Plan, facts: &Facts, answered: &mut BTreeSet<String>) {
    if plan.spec.lifecycle.hibernated {
        // When it wakes, silence means that it starts.
        answered.clear();
    }
    for (set, answers) in [
        (plan.names.object_store(), facts.store.seen().is_some()),
        (plan.names.postgres(), facts.patroni.seen().is_some()),
    ] {
        if answers {
            answered.insert(set);
        }
    }
}
