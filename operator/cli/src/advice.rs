//! What to do about a condition whose reason tells more than its type. A table; no I/O.

/// What to do about a condition of a type that has this reason.
#[derive(Clone, Copy, Debug)]
pub struct Advice {
    /// The condition's type.
    pub type_: &'static str,
    /// Its reason.
    pub reason: &'static str,
    /// What to do first; `{}` stands for the Region's name.
    pub action: &'static str,
    /// The file that says more, with the heading where it has one for this.
    pub runbook: &'static str,
}

const fn advice(
    type_: &'static str,
    reason: &'static str,
    action: &'static str,
    runbook: &'static str,
) -> Advice {
    Advice {
        type_,
        reason,
        action,
        runbook,
    }
}

const ACCEPTED: &str = "docs/runbooks/accepted.md";
const DEGRADED: &str = "docs/runbooks/degraded.md";
const POSTGRES: &str = "docs/runbooks/postgres-available.md";
const READY: &str = "docs/runbooks/ready.md";
const REPLACED: &str = "docs/runbooks/replaced-credentials.md";

const WAIT: &str = "wait; kubectl -n {} get pods shows what it waits for";
const POSTGRES_PODS: &str =
    "kubectl -n {} get pods -l app.kubernetes.io/name=postgres -L role -o wide";
const STORE_PODS: &str = "kubectl -n {} get pods -l app.kubernetes.io/name=object-store";
const OPERATOR_LOG: &str = "kubectl -n bailiwick-system logs deploy/bailiwick-operator --tail=50";

/// The reasons that ask for something else than their condition does by itself.
pub const ADVICE: &[Advice] = &[
    advice(
        "Accepted",
        "NotThisCluster",
        "create it in the cluster of its location, or start the operator with that --location",
        ACCEPTED,
    ),
    advice(
        "Accepted",
        "NotDelegated",
        "apply the whole file that kubectl bailiwick new prints, namespaces and bindings included",
        ACCEPTED,
    ),
    advice(
        "Accepted",
        "OutsideJurisdiction",
        "name a place in an allowed location in each named field, and apply the Region again",
        ACCEPTED,
    ),
    advice(
        "Accepted",
        "NotFound",
        "make the object that the message names, or name another and apply the Region again",
        ACCEPTED,
    ),
    advice(
        "Accepted",
        "ForeignVolume",
        "kubectl -n {} get pvc --show-labels; find out whose the volume is before you touch it",
        ACCEPTED,
    ),
    advice(
        "Accepted",
        "KeyMissing",
        "put the copy of the named Secret back: a new key does not read old data",
        ACCEPTED,
    ),
    advice(
        "Accepted",
        "FenceResponderMissing",
        "kubectl -n bailiwick-fence get pods,endpointslices; without any, apply platform/fence",
        ACCEPTED,
    ),
    advice("Progressing", "PodsStarting", WAIT, READY),
    advice("Progressing", "VolumesGrowing", WAIT, READY),
    advice("Progressing", "StepsDue", WAIT, READY),
    advice("Progressing", "MembersLeaving", WAIT, READY),
    advice("Progressing", "CredentialsReplaced", WAIT, REPLACED),
    advice(
        "Progressing",
        "ScaleDownWaits",
        POSTGRES_PODS,
        "docs/runbooks/postgres-available.md#fewer-members",
    ),
    advice(
        "ResidencyEnforced",
        "ExceptionExpired",
        "close the channel, or have its exception in spec.residency.exceptions approved anew",
        "docs/runbooks/residency-enforced.md#false-exceptionexpired",
    ),
    advice(
        "ObjectStoreContained",
        "NotRead",
        STORE_PODS,
        "docs/runbooks/object-store-available.md",
    ),
    advice(
        "ObjectStoreContained",
        "LeadsOut",
        "undo in the store what the message names",
        "docs/runbooks/residency-enforced.md#false-leadsout-objectstorecontained",
    ),
    advice(
        "ResidencyEnforced",
        "LeakFound",
        "read the message of condition Quarantined, and close the channel that it names",
        "docs/runbooks/residency-enforced.md#false-leakfound",
    ),
    advice(
        "EvidenceRecorded",
        "Waiting",
        STORE_PODS,
        "docs/runbooks/evidence-recorded.md",
    ),
    advice(
        "PostgresAvailable",
        "CredentialsReplaced",
        "put the passwords from before back into Secret {}-pg-internal, or set its own in the database",
        "docs/runbooks/replaced-credentials.md#passwords-inside-postgres",
    ),
    advice(
        "PostgresAvailable",
        "NoPrimary",
        "kubectl -n {} get pods -l app.kubernetes.io/name=postgres -L role; Patroni elects one within a minute",
        "docs/runbooks/postgres-available.md#no-member-becomes-primary",
    ),
    advice(
        "PendingRestart",
        "SettingRefused",
        "take the named setting out of where it stands (the spec, ALTER SYSTEM or Patroni's configuration): no member is \
         restarted until then",
        "docs/runbooks/pending-restart.md#settingrefused",
    ),
    advice(
        "PendingRestart",
        "NotInForce",
        "kubectl -n {} logs {}-pg-0 --tail=50 (of the primary) shows what Patroni did not take",
        "docs/runbooks/pending-restart.md#notinforce",
    ),
    advice("PendingRestart", "NotRead", POSTGRES_PODS, POSTGRES),
    advice(
        "ObjectStoreAvailable",
        "CredentialsReplaced",
        WAIT,
        REPLACED,
    ),
    advice("WALArchiving", "CredentialsReplaced", WAIT, REPLACED),
    advice(
        "Degraded",
        "CredentialsReplaced",
        "put the passwords from before back into Secret {}-pg-internal, or set its own in the database",
        "docs/runbooks/replaced-credentials.md#passwords-inside-postgres",
    ),
    advice("Degraded", "StepFailed", OPERATOR_LOG, DEGRADED),
    advice(
        "Degraded",
        "ObjectRefused",
        "find out what refuses the object that the message names: an admission policy, a webhook, a quota, or a right that is gone",
        DEGRADED,
    ),
    advice(
        "Degraded",
        "SecretValueMissing",
        "give the named key a value, or delete the named Secret: it is made anew",
        DEGRADED,
    ),
    advice(
        "Degraded",
        "WALArchivingFailing",
        "see condition WALArchiving",
        "docs/runbooks/wal-archiving.md",
    ),
    advice(
        "Degraded",
        "ObjectStoreDrifted",
        "undo in the store what was done by hand: the message names each difference",
        DEGRADED,
    ),
    advice(
        "Degraded",
        "VolumeCannotGrow",
        "kubectl get storageclass; set allowVolumeExpansion where the driver can, or move the data to a Region of another class",
        DEGRADED,
    ),
    advice(
        "Degraded",
        "FailoverPaused",
        "end it with patronictl resume in a member",
        DEGRADED,
    ),
    advice(
        "Degraded",
        "ScaleDownWaits",
        POSTGRES_PODS,
        "docs/runbooks/postgres-available.md#fewer-members",
    ),
    advice(
        "Degraded",
        "MembersMissing",
        POSTGRES_PODS,
        "docs/runbooks/degraded.md#membersmissing",
    ),
    advice("Degraded", "NoSyncStandby", POSTGRES_PODS, DEGRADED),
    advice(
        "Degraded",
        "PostgresDrifted",
        "run the statements that the message names, as a superuser",
        DEGRADED,
    ),
    advice(
        "Ready",
        "NotAccepted",
        "mend what condition Accepted names",
        ACCEPTED,
    ),
    advice(
        "Ready",
        "Quarantined",
        "close the channel that condition Quarantined names",
        "docs/runbooks/quarantined.md",
    ),
    advice("Ready", "PostgresUnavailable", POSTGRES_PODS, POSTGRES),
    advice(
        "Ready",
        "ObjectStoreUnavailable",
        STORE_PODS,
        "docs/runbooks/object-store-available.md",
    ),
    advice(
        "Ready",
        "AssuranceTooLow",
        "kubectl bailiwick residency audit {}; run it where nodes, volumes and the control plane are as it asks",
        READY,
    ),
    advice("Ready", "Provisioning", WAIT, READY),
];

/// What to do about a condition of this type and reason; none when its type says it all.
#[must_use]
pub fn of(type_: &str, reason: &str) -> Option<&'static Advice> {
    ADVICE
        .iter()
        .find(|advice| advice.type_ == type_ && advice.reason == reason)
}
