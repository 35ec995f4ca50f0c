//! Whether WAL arrives in the Region's bucket and what can be restored from it, from everything that was observed:
//! the Jobs of the archive, the store and the primary. No I/O.

use bailiwick_api::duration;
use bailiwick_api::region::{BackupRecord, RegionStatus};
use jiff::{SignedDuration, Timestamp};

use crate::facts::{Facts, Observed};
use crate::patroni::job_result;
use crate::plan::Plan;
use crate::sql;

/// What the archive does. The reasons are closed words: they go into the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Archive {
    /// WAL arrives.
    Working {
        /// A moment to which a restore is possible at least.
        latest_restorable: Option<Timestamp>,
    },
    /// WAL does not arrive.
    Failing {
        /// Why, as far as can be told.
        reason: &'static str,
        /// Since when.
        since: Timestamp,
    },
    /// It could not be told.
    Unknown {
        /// Why.
        reason: &'static str,
    },
}

/// What the archive does.
#[must_use]
pub fn archive(plan: &Plan, facts: &Facts, status: Option<&RegionStatus>) -> Archive {
    if let Observed::Failed(_) = &facts.store {
        return Archive::Failing {
            reason: "ObjectStoreUnavailable",
            since: facts.now,
        };
    }
    let stanza = plan.names.stanza_job(plan.incarnation);
    let made = facts.jobs.get(&stanza).is_some_and(|job| job.succeeded);
    let known = status.and_then(|status| status.backup.as_ref());
    if !made && known.is_none_or(|backup| backup.repos.iter().all(|repo| repo.last_full.is_none()))
    {
        return Archive::Unknown {
            reason: "StanzaPending",
        };
    }
    let Some(seen) = facts.postgres.seen() else {
        return Archive::Unknown { reason: "NotRead" };
    };
    let rpo = SignedDuration::from_secs(duration::seconds(&plan.spec.backup.rpo).unwrap_or(300));
    match sql::archive_health(&seen.archiver, seen.in_recovery, rpo) {
        sql::ArchiverHealth::Working => Archive::Working {
            latest_restorable: sql::latest_restorable(
                &seen.archiver,
                known.and_then(|backup| backup.latest_restorable),
            ),
        },
        sql::ArchiverHealth::Failing { reason, since } => Archive::Failing {
            reason: reason.as_str(),
            since,
        },
        sql::ArchiverHealth::Unknown => Archive::Unknown { reason: "NotRead" },
    }
}

/// The first full backup of this incarnation, as its Job reported it.
#[must_use]
pub fn full_backup(plan: &Plan, facts: &Facts) -> Option<BackupRecord> {
    let result = job_result(facts, &plan.names.first_backup_job(plan.incarnation))?;
    Some(BackupRecord {
        label: result.label?,
        at: result.stop?,
        bytes: result.stored_bytes.or(result.bytes).unwrap_or_default(),
    })
}
