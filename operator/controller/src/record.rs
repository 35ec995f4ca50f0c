//! Appends what waits for a Region's evidence log, and puts its new end into the status. What is due is the model's.

use bailiwick_api::region::{Region, RegionStatus};
use bailiwick_model::evidence::recorder::{Appended, Due};
use bailiwick_model::names::Names;
use bailiwick_model::outcome::Outcome;
use bailiwick_model::status;
use jiff::Timestamp;
use kube::ResourceExt;

use crate::cause;
use crate::context::{Context, Memory};
use crate::evidence::EvidenceError;
use crate::systems::Access;

/// Records what changed of the residency, and what was seen for the first time, in the Region's own log, and its new end in
/// the status. What cannot be recorded now is kept and tried again with the next reconcile.
pub async fn record_evidence(
    ctx: &Context,
    region: &Region,
    memory: &mut Memory,
    outcome: &Outcome<'_>,
    status: &mut RegionStatus,
    now: Timestamp,
) {
    let due = memory.recorder.take_up(region, outcome, status, now);
    if memory.recorder.is_full() {
        tracing::error!(
            region = region.name_any(),
            waiting = memory.recorder.entries().len(),
            "evidence waits: no more of it is kept until the log takes some"
        );
    }
    let recording = match due {
        Due::Nothing => return,
        Due::Told(recording) => recording,
        Due::Append { alone } => {
            let appended = append(ctx, region, memory, status, now).await;
            memory.recorder.settle(status, appended, alone, now)
        }
    };
    status::evidence_recorded(status, region.metadata.generation, recording, now);
}

/// Appends the entries that wait, after the end that the status holds.
async fn append(
    ctx: &Context,
    region: &Region,
    memory: &Memory,
    status: &RegionStatus,
    now: Timestamp,
) -> Appended {
    let names = Names::of(region);
    let access = Access {
        region,
        names: &names,
        credentials: &memory.credentials,
    };
    let known = status
        .residency
        .as_ref()
        .and_then(|it| it.evidence.as_ref());
    let entries = memory.recorder.entries();
    match ctx.systems.record(access, known, entries, now).await {
        Ok(end) => Appended::Whole(end),
        Err(error) => {
            tracing::warn!(
                region = region.name_any(),
                error = &error as &dyn std::error::Error,
                "evidence was not recorded"
            );
            match error {
                EvidenceError::Store {
                    end,
                    written,
                    failure,
                    source,
                    ..
                } => Appended::Part {
                    end,
                    written,
                    unread: cause::unread(failure, source.as_deref()),
                },
                EvidenceError::Broken { .. } => Appended::Broken,
            }
        }
    }
}
