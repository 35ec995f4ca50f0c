//! The conditions of the archive and of certificates. What was planned and seen in, verdicts out; no I/O.

use bailiwick_api::region::RegionStatus;

use crate::archive::Archive;
use crate::condition::{CREDENTIALS_REPLACED, State, Verdict};
use crate::facts::Facts;
use crate::outcome::Applied;
use crate::rotation;

pub(crate) fn archive(applied: &Applied<'_>) -> Verdict {
    if applied.plan.spec.lifecycle.hibernated {
        return Verdict::new(
            State::Unknown,
            "Hibernated",
            "Nothing is written, so nothing is archived.",
        );
    }
    match &applied.archive {
        Archive::Failing { reason, .. }
            if let Some(replaced) = rotation::store_root(applied.plan, applied.facts)
                .or_else(|| rotation::archive_user(applied.plan, applied.facts)) =>
        {
            let message = format!("{replaced}. WAL does not arrive in the bucket: {reason}.");
            Verdict::new(State::False, CREDENTIALS_REPLACED, message)
        }
        Archive::Working { .. } => Verdict::new(
            State::True,
            "Archiving",
            "WAL arrives in the Region's own bucket.",
        ),
        Archive::Failing { reason, .. } => Verdict::new(
            State::False,
            reason,
            "WAL does not arrive in the bucket and collects on the primary's volume; see the object store's condition.",
        ),
        Archive::Unknown { reason } => Verdict::new(
            State::Unknown,
            reason,
            "Whether WAL is archived could not be read: see condition PostgresAvailable.",
        ),
    }
}

pub(crate) fn certificates(status: &RegionStatus, facts: &Facts) -> Verdict {
    match status
        .certificates
        .as_ref()
        .and_then(|certificates| certificates.soonest_expiry)
    {
        Some(expiry) if expiry > facts.now => Verdict::new(
            State::True,
            "Valid",
            "Certificates are valid and renewed before they expire.",
        ),
        Some(_) => Verdict::new(
            State::False,
            "Expired",
            "A certificate has expired: see status.certificates.",
        ),
        None => Verdict::new(
            State::Unknown,
            "NotRead",
            "The certificates have not been read yet.",
        ),
    }
}
