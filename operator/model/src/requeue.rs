//! When a Region is reconciled again, and whether its status can wait until then. What a reconcile came to in, durations
//! out. No I/O, no clock.

use std::time::Duration;

use bailiwick_api::region::{Assurance, BreachStatus, Region, RegionStatus};
use bailiwick_api::violation::Reason;
use jiff::SignedDuration;

use crate::channel::channels;
use crate::reconciled::{AppliedPlan, Reconciled};
use crate::resync::RESYNC_PERIOD;
use crate::status::is_true;

/// When a settled Region is reconciled again: what stands behind S3, SQL and Patroni sends no events, and archiving that
/// fails must show within a minute. Such a reconcile sends nothing to the API server.
pub const STEADY_REQUEUE: Duration = Duration::from_secs(15);
/// When a Region that is not settled is reconciled again, beside the events of its children.
pub const UNREADY_REQUEUE: Duration = Duration::from_secs(3);
/// When a Region is reconciled again after steps that may allow others.
pub const STEP_REQUEUE: Duration = Duration::from_millis(500);
/// How many reconciles in a row that did steps may leave the status to the next one.
const MAX_DEFERRED_WRITES: u32 = 4;
/// How soon at most a Region is reconciled for the metadata of its Secrets: it keeps this from spinning.
const MIN_METADATA_REQUEUE: Duration = Duration::from_secs(1);
/// How soon at most what only a change can mend is tried again.
const MIN_ON_CHANGE: Duration = Duration::from_secs(30);

/// When to try again after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// At once: somebody else wrote in between.
    Soon,
    /// Later, doubling each time.
    Later,
    /// When something changes: trying again alone would not help.
    OnChange,
}

/// How long to wait after the n-th failure in a row: doubling from one second to five minutes.
#[must_use]
pub fn backoff(failures: u32) -> Duration {
    Duration::from_secs(1_u64.checked_shl(failures.min(9)).unwrap_or(512).min(300))
}

/// When to reconcile after an error of this class, `failures` being how many there were in a row.
#[must_use]
pub fn after_error(retry: Retry, failures: u32) -> Duration {
    match retry {
        Retry::Soon => STEP_REQUEUE,
        Retry::Later => backoff(failures),
        Retry::OnChange => backoff(failures).max(MIN_ON_CHANGE),
    }
}

/// How many reconciles in a row had a step that failed or an object that was refused, after `before` such ones.
#[must_use]
pub fn hindered_in_a_row(reconciled: &Reconciled, before: u32) -> u32 {
    match reconciled {
        Reconciled::Applied(applied) if applied.is_hindered() => before.saturating_add(1),
        Reconciled::Applied(_) | Reconciled::Refused(_) => 0,
    }
}

/// When to reconcile again. `status` is the new one; `hindered` tells how many reconciles in a row were hindered, and
/// `until_metadata` how long it is until the metadata of Secrets is due.
#[must_use]
pub fn after(
    reconciled: &Reconciled,
    status: &RegionStatus,
    hindered: u32,
    until_metadata: SignedDuration,
) -> Duration {
    match reconciled {
        // Bindings are not watched, and the API server takes a moment to heed them.
        Reconciled::Refused(violations)
            if violations
                .iter()
                .any(|violation| violation.reason == Reason::NotDelegated) =>
        {
            STEADY_REQUEUE
        }
        Reconciled::Refused(_) => RESYNC_PERIOD,
        // In time to see an edit of a Secret.
        Reconciled::Applied(applied) => after_applied(applied, status, hindered)
            .min(until_metadata.unsigned_abs().max(MIN_METADATA_REQUEUE)),
    }
}

/// What keeps failing is tried ever later, but no later than a settled Region is reconciled again.
fn after_applied(applied: &AppliedPlan, status: &RegionStatus, hindered: u32) -> Duration {
    if applied.is_hindered() {
        backoff(hindered).clamp(UNREADY_REQUEUE, STEADY_REQUEUE)
    } else if applied.writes > 0 || applied.steps_due() > 0 {
        STEP_REQUEUE
    } else if !is_true(status, "Ready") || is_true(status, "Progressing") {
        UNREADY_REQUEUE
    } else {
        STEADY_REQUEUE
    }
}

/// Whether the status is left to the next reconcile, `deferred` times in a row so far: something was done, and the one that
/// follows at once will know what became of it, so that a status in between would be a write for nothing. A spec that the
/// status does not speak of yet is told of at once, and so is a step that failed, and a channel that stood open: the step
/// may have shut it by the next reconcile, and nobody would ever be told.
#[must_use]
pub fn defers_status(reconciled: &Reconciled, region: &Region, deferred: u32) -> bool {
    let (Reconciled::Applied(applied), Some(status)) = (reconciled, &region.status) else {
        return false;
    };
    deferred < MAX_DEFERRED_WRITES
        && status.observed_generation == region.metadata.generation
        && applied.writes > 0
        && !applied.is_hindered()
        && !found_open(applied, status)
}

/// Whether a channel was found open, or a breach began or ended, that the status does not tell of.
fn found_open(applied: &AppliedPlan, status: &RegionStatus) -> bool {
    let told = status.residency.as_ref();
    let breach = told.map_or_else(BreachStatus::default, |residency| residency.breach.clone());
    if breach != applied.plan.breach {
        return true;
    }
    // How much the cluster gives decides about what is unknown, not about what stands open.
    channels(&applied.plan, &applied.facts, Assurance::Simulated)
        .open
        .iter()
        .any(|(id, finding)| {
            !told.is_some_and(|residency| {
                residency
                    .channels
                    .iter()
                    .any(|row| row.id == id.to_string() && row.finding.as_ref() == Some(finding))
            })
        })
}
