//! What the status takes over from the facts. What could not be read keeps its last value. No I/O.

use bailiwick_api::region::{
    BackupStatus, CertificatesStatus, InstanceStatus, ObjectStoreStatus, PostgresStatus,
    RegionStatus, RepoStatus, WalArchiveStatus,
};
use jiff::SignedDuration;

use crate::archive::Archive;
use crate::facts::patroni::{MemberRole, PatroniFacts};
use crate::facts::{Facts, Observed};
use crate::names::NODE_REGION;
use crate::outcome::Applied;
use crate::{sql, store};

/// Whether what the spec asks for in Postgres and in the object store is all there; none when either was not read.
pub(super) fn is_provisioned(applied: &Applied<'_>) -> Option<bool> {
    let Applied { plan, facts, .. } = applied;
    if !facts.refused.is_empty() {
        return Some(false);
    }
    let (postgres, store) = (facts.postgres.seen()?, facts.store.seen()?);
    // A server that replays takes no steps, which says nothing of what it lacks.
    (!postgres.in_recovery)
        .then(|| sql::steps(plan, postgres).is_empty() && store::steps(plan, store).is_empty())
}

/// The newest generation that was provisioned, by the status before and by this look. A status of an operator that did not
/// say so yet says it by `Ready`.
pub(super) fn provisioned(status: &RegionStatus, applied: &Applied<'_>) -> Option<i64> {
    if is_provisioned(applied) == Some(true) {
        return applied.plan.generation;
    }
    status.provisioned_generation.or_else(|| {
        let ready = status.conditions.iter().find(|it| it.type_ == "Ready")?;
        (ready.status == "True").then_some(ready.observed_generation)?
    })
}

/// Takes the facts over. What could not be read keeps its last value: a failed read is not an empty one.
pub(super) fn record(status: &mut RegionStatus, applied: &Applied<'_>) {
    let Applied { plan, facts, .. } = applied;

    status.provisioned_generation = provisioned(status, applied);
    let mut postgres = status.postgres.clone().unwrap_or_default();
    postgres.incarnation = Some(plan.incarnation);
    if let Observed::Seen(patroni) = &facts.patroni {
        postgres.primary = patroni.primary().map(str::to_owned);
        if patroni.system_identifier.is_some() {
            postgres
                .system_identifier
                .clone_from(&patroni.system_identifier);
        }
        postgres.instances = instances(patroni, facts);
    } else if plan.spec.lifecycle.hibernated {
        postgres.primary = None;
        postgres.instances.clear();
    }
    if facts.postgres.seen().is_some() {
        postgres.retained.clone_from(&applied.retained.postgres);
        (postgres.secrets_to_delete).clone_from(&applied.retained.secrets_to_delete);
    }
    status.postgres = Some(PostgresStatus { ..postgres });

    let store_set = facts.stateful_sets.get(&plan.names.object_store());
    let retained = if facts.store.seen().is_some() {
        applied.retained.object_store.clone()
    } else {
        status
            .object_store
            .as_ref()
            .map(|store| store.retained.clone())
            .unwrap_or_default()
    };
    status.object_store = Some(ObjectStoreStatus {
        ready: store_set.map_or(0, |set| set.ready),
        endpoint: plan.names.object_store_endpoint(),
        retained,
    });

    let mut backup = status.backup.clone().unwrap_or_default();
    let failing_since = match &applied.archive {
        Archive::Failing { since, .. } => {
            let known = backup
                .wal_archive
                .as_ref()
                .and_then(|wal| wal.failing_since);
            Some(known.unwrap_or(*since))
        }
        Archive::Working { .. } => None,
        Archive::Unknown { .. } => backup
            .wal_archive
            .as_ref()
            .and_then(|wal| wal.failing_since),
    };
    backup.wal_archive = Some(WalArchiveStatus { failing_since });
    if let Archive::Working {
        latest_restorable: Some(latest),
    } = &applied.archive
    {
        // Five-minute steps: a status that moves with every WAL file would wake everybody for nothing.
        let known = backup.latest_restorable;
        if known.is_none_or(|known| latest.duration_since(known) >= SignedDuration::from_mins(5)) {
            backup.latest_restorable = Some(*latest);
        }
    }
    let known_full = backup.repos.first().and_then(|repo| repo.last_full.clone());
    backup.repos = plan
        .spec
        .backup
        .repos
        .iter()
        .take(1)
        .map(|repo| RepoStatus {
            name: repo.name.clone(),
            location: plan.backup_bucket.location().to_owned(),
            stanza: plan.names.stanza(plan.incarnation),
            last_full: applied.full_backup.clone().or_else(|| known_full.clone()),
        })
        .collect();
    if backup
        .repos
        .first()
        .is_none_or(|repo| repo.last_full.is_none())
    {
        // WAL without a backup under it restores nothing.
        backup.latest_restorable = None;
    }
    status.backup = Some(BackupStatus { ..backup });

    let soonest = facts
        .secrets
        .values()
        .filter_map(|secret| secret.certificate.as_ref())
        .map(|certificate| certificate.not_after)
        .min();
    if soonest.is_some() {
        status.certificates = Some(CertificatesStatus {
            soonest_expiry: soonest,
        });
    }
}

pub(super) fn instances(patroni: &PatroniFacts, facts: &Facts) -> Vec<InstanceStatus> {
    patroni
        .members
        .iter()
        .map(|(name, member)| {
            let node = facts.pods.live.get(name).and_then(|pod| pod.node.clone());
            InstanceStatus {
                name: name.clone(),
                role: match member.role {
                    MemberRole::Primary => "Primary",
                    MemberRole::SyncStandby => "SyncStandby",
                    MemberRole::Replica => "Replica",
                }
                .to_owned(),
                state: member.state.clone(),
                node_location: node
                    .as_ref()
                    .and_then(|node| facts.nodes.get(node))
                    .and_then(|labels| labels.get(NODE_REGION))
                    .cloned(),
                node,
                timeline: member.timeline,
                pending_restart: member.pending_restart,
            }
        })
        .collect()
}
