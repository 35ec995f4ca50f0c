//! What each condition of a Region should be, where it is shown, and what to do when it is not. A table; no I/O.

use serde::Serialize;

use crate::advice;

/// A part of a Region in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Section {
    /// Whether the spec is accepted and in force.
    Spec,
    /// Whether the data stays in its place.
    Residency,
    /// Whether the boundary holds.
    Network,
    /// The database.
    Postgres,
    /// The object store.
    ObjectStore,
    /// WAL and backups.
    Archive,
    /// Certificates.
    Certificates,
    /// Whether everything does its work.
    Operation,
}

impl Section {
    /// Every section, in the order in which they are shown.
    pub const ALL: [Self; 8] = [
        Self::Spec,
        Self::Residency,
        Self::Network,
        Self::Postgres,
        Self::ObjectStore,
        Self::Archive,
        Self::Certificates,
        Self::Operation,
    ];
}

/// What a condition should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// `True`; anything else is wrong.
    True,
    /// `False`; anything else is wrong.
    False,
    /// Preferably `False`; `True` is a state of transition or somebody's will, and not wrong.
    Rather,
}

/// What a condition should be, where it is shown, and what to do when it is not.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Its type.
    pub type_: &'static str,
    /// What it should be.
    pub wanted: Wanted,
    /// Where it is shown.
    pub section: Section,
    /// What to do first; `{}` stands for the Region's name.
    pub action: &'static str,
    /// The file that says more.
    pub runbook: &'static str,
}

const fn expected(
    type_: &'static str,
    wanted: Wanted,
    section: Section,
    action: &'static str,
    runbook: &'static str,
) -> Expected {
    Expected {
        type_,
        wanted,
        section,
        action,
        runbook,
    }
}

const AUDIT: &str = "kubectl bailiwick residency audit {}";
const RESIDENCY: &str = "docs/runbooks/residency-enforced.md";
const READY: &str = "docs/runbooks/ready.md";

/// Every condition that the operator sets, the more telling of a section first.
pub const CONDITIONS: &[Expected] = &[
    expected(
        "Accepted",
        Wanted::True,
        Section::Spec,
        "mend the named fields and apply the Region again",
        "docs/runbooks/accepted.md",
    ),
    expected(
        "Paused",
        Wanted::Rather,
        Section::Spec,
        "set spec.lifecycle.paused to false when the operator shall act again",
        READY,
    ),
    expected(
        "Hibernated",
        Wanted::Rather,
        Section::Spec,
        "set spec.lifecycle.hibernated to false to wake it",
        READY,
    ),
    expected(
        "Progressing",
        Wanted::Rather,
        Section::Spec,
        "see condition Degraded: the API server did not let the operator work",
        READY,
    ),
    expected(
        "ResidencyEnforced",
        Wanted::True,
        Section::Residency,
        AUDIT,
        RESIDENCY,
    ),
    expected(
        "Quarantined",
        Wanted::False,
        Section::Residency,
        "read its message, close the channel that it names: clients are let in again by themselves",
        "docs/runbooks/quarantined.md",
    ),
    expected(
        "EvidenceRecorded",
        Wanted::True,
        Section::Residency,
        "kubectl get region {} -o jsonpath='{.status.residency.evidence}' names the record that must be there",
        "docs/runbooks/evidence-recorded.md",
    ),
    expected(
        "PlacementEnforced",
        Wanted::True,
        Section::Residency,
        AUDIT,
        RESIDENCY,
    ),
    expected(
        "StorageResident",
        Wanted::True,
        Section::Residency,
        AUDIT,
        RESIDENCY,
    ),
    expected(
        "BackupsResident",
        Wanted::True,
        Section::Residency,
        AUDIT,
        RESIDENCY,
    ),
    expected(
        "ObjectStoreContained",
        Wanted::True,
        Section::Residency,
        AUDIT,
        RESIDENCY,
    ),
    expected(
        "NetworkEnforced",
        Wanted::True,
        Section::Network,
        "read the newest canary: kubectl -n {} get pods -l app.kubernetes.io/name=canary",
        "docs/runbooks/network-enforced.md",
    ),
    expected(
        "PostgresAvailable",
        Wanted::True,
        Section::Postgres,
        "kubectl -n {} get pods -l app.kubernetes.io/name=postgres",
        "docs/runbooks/postgres-available.md",
    ),
    expected(
        "PendingRestart",
        Wanted::False,
        Section::Postgres,
        "wait for the rolling restart, or see why it does not come",
        "docs/runbooks/pending-restart.md",
    ),
    expected(
        "ObjectStoreAvailable",
        Wanted::True,
        Section::ObjectStore,
        "kubectl -n {} get pods -l app.kubernetes.io/name=object-store",
        "docs/runbooks/object-store-available.md",
    ),
    expected(
        "WALArchiving",
        Wanted::True,
        Section::Archive,
        "see that the object store serves, then the primary's log: kubectl -n {} logs {}-pg-0",
        "docs/runbooks/wal-archiving.md",
    ),
    expected(
        "CertificatesValid",
        Wanted::True,
        Section::Certificates,
        "see that the operator runs and may write Secrets in namespace {}",
        "docs/runbooks/certificates-valid.md",
    ),
    expected(
        "Degraded",
        Wanted::False,
        Section::Operation,
        "the message names the part that does not do its work",
        "docs/runbooks/degraded.md",
    ),
    expected(
        "Ready",
        Wanted::True,
        Section::Operation,
        "the reason names the condition to look at",
        READY,
    ),
];

impl Expected {
    /// What to do for the Region of this name when the condition has this reason, with the file that says more.
    #[must_use]
    pub fn next(&self, region: &str, reason: &str) -> String {
        let (action, runbook) = advice::of(self.type_, reason)
            .map_or((self.action, self.runbook), |advice| {
                (advice.action, advice.runbook)
            });
        format!("{} (see {runbook})", action.replace("{}", region))
    }
}
