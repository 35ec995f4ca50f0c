//! Channels of the object store, as its own settings were read back.

use std::fmt::Display;

use super::network::admission;
use super::{Sight, Verdict, counted};
use crate::facts::Observed;
use crate::facts::repository::{Marker, ReadBack};
use crate::facts::store::{BucketOutlet, Lifecycle, StoreFacts};
use crate::repository::MARKER;
use crate::store::{Drift, drift};

fn store<'a>(sight: &Sight<'a>) -> Result<&'a StoreFacts, Verdict> {
    match &sight.facts.store {
        Observed::Seen(seen) => Ok(seen),
        // The condition ObjectStoreAvailable tells the cause.
        Observed::Failed(unread) => Err(Verdict::unseen(format!(
            "store: {}",
            unread.failure.as_str()
        ))),
        Observed::NotAsked => Err(Verdict::unseen("store: not asked")),
    }
}

/// Enforced when nothing of a channel drifted and no bucket has such an outlet.
fn nothing(
    sight: &Sight<'_>,
    channel: u8,
    outlet: impl Fn(&BucketOutlet) -> bool,
    evidence: &str,
) -> Verdict {
    let seen = match store(sight) {
        Ok(seen) => seen,
        Err(verdict) => return verdict,
    };
    if let Some(found) = drift(sight.plan, seen)
        .into_iter()
        .find(|drift: &Drift| drift.channel() == Some(channel))
    {
        return if found.leaks() {
            Verdict::leaking(evidence, sentence(&found))
        } else {
            Verdict::open(evidence, sentence(&found))
        };
    }
    for (name, bucket) in &seen.buckets {
        if let Some(found) = bucket.outlets.iter().find(|found| outlet(found)) {
            // The operator removes it in this look, which stops more than shutting the Region off would.
            return Verdict::open(
                evidence,
                format!("bucket {name} has {found}, expected none; the operator removes it"),
            );
        }
    }
    Verdict::enforced(format!("store: {evidence}"))
}

fn sentence(what: &impl Display) -> String {
    what.to_string()
}

pub(super) fn repository(sight: &Sight<'_>) -> Verdict {
    let backup = sight.plan.backup_bucket.place();
    nothing(sight, 17, |_| false, "region")
        .and(|| match store(sight) {
            Ok(seen) if seen.buckets.contains_key(&backup.name) => marked(seen, &backup.name),
            Ok(_) => Verdict::unknown("the repository's bucket was not seen"),
            Err(verdict) => verdict,
        })
        .and(|| written(&sight.facts.archived, &backup.name))
}

/// Whether what Postgres archives arrives in the Region's own bucket, wherever pgBackRest was told to write.
fn written(archived: &Observed<ReadBack>, bucket: &str) -> Verdict {
    match archived {
        Observed::Seen(ReadBack { found: true, .. }) => Verdict::enforced("WAL read back"),
        Observed::Seen(ReadBack { recent: true, .. }) => Verdict::open(
            "WAL",
            format!(
                "the newest WAL that Postgres archived is not in bucket {bucket} of the Region's store, expected it there: \
                 pgBackRest may write elsewhere; see docs/runbooks/repository-marker.md"
            ),
        ),
        // It may have been expired since.
        Observed::Seen(_) => Verdict::unknown("no WAL was archived of late"),
        Observed::Failed(unread) => Verdict::unknown(format!("WAL: {unread}")),
        Observed::NotAsked => Verdict::unknown("no WAL was read back yet"),
    }
}

/// Whether the repository bears the Region's own marker. One that is another's is among what drifted.
fn marked(seen: &StoreFacts, bucket: &str) -> Verdict {
    match &seen.marker {
        Observed::Seen(Marker::Ours) => {
            Verdict::enforced(format!("bucket {bucket} bears its marker"))
        }
        Observed::Seen(Marker::Missing) => {
            Verdict::unknown(format!("bucket {bucket} is without object {MARKER}"))
        }
        Observed::Seen(Marker::Foreign(_)) => {
            Verdict::unknown(format!("bucket {bucket} bears another marker"))
        }
        Observed::Failed(unread) => Verdict::unknown(format!("object {MARKER}: {unread}")),
        Observed::NotAsked => Verdict::unknown(format!("object {MARKER}: not looked for")),
    }
}

pub(super) fn replication(sight: &Sight<'_>) -> Verdict {
    nothing(
        sight,
        18,
        |outlet| matches!(outlet, BucketOutlet::Replication | BucketOutlet::Target(_)),
        "no replication, no remote target",
    )
}

pub(super) fn tiers(sight: &Sight<'_>) -> Verdict {
    nothing(sight, 19, |_| false, "no tier")
}

pub(super) fn notifications(sight: &Sight<'_>) -> Verdict {
    nothing(
        sight,
        20,
        |outlet| matches!(outlet, BucketOutlet::Notification),
        "no notification, no identity provider",
    )
}

pub(super) fn anonymous(sight: &Sight<'_>) -> Verdict {
    nothing(
        sight,
        21,
        |outlet| matches!(outlet, BucketOutlet::Policy),
        "no bucket policy",
    )
    .and(|| match store(sight) {
        Ok(seen) if seen.users_listed => Verdict::enforced("no user that nobody made"),
        Ok(_) => Verdict::unknown("the store's users were not listed"),
        Err(verdict) => verdict,
    })
}

pub(super) fn backup_key(sight: &Sight<'_>) -> Verdict {
    let name = sight.plan.names.backup_key();
    let Some(secret) = sight.facts.secrets.get(&name) else {
        return Verdict::unknown(format!("Secret {name} was not read"));
    };
    if secret.replicated {
        return Verdict::open(
            format!("Secret {name}"),
            format!(
                "Secret {name} has an annotation that lets a controller copy it; remove it and make a new key"
            ),
        );
    }
    // What keeps such an annotation off in between two readings of the Secret.
    Verdict::enforced(format!("Secret {name}")).and(|| admission(sight, &["secrets"]))
}

/// What is kept of what was erased, and for how long, is the spec's; that it is so is read back.
pub(super) fn residue(sight: &Sight<'_>) -> Verdict {
    let seen = match store(sight) {
        Ok(seen) => seen,
        Err(verdict) => return verdict,
    };
    let other = seen
        .buckets
        .iter()
        .find(|(_, bucket)| bucket.lifecycle == Lifecycle::Other);
    if let Some((name, _)) = other {
        return Verdict::open(
            "lifecycles",
            format!(
                "bucket {name} has a lifecycle that is not of the spec, so what was erased may stay; the operator \
                 replaces it"
            ),
        );
    }
    Verdict::audited(format!(
        "lifecycle of {}",
        counted(seen.buckets.len(), "bucket")
    ))
}
